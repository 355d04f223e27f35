"""Dead letters: the original record byte for byte, and in headers where from and why."""

from collections.abc import Iterable
from datetime import UTC, datetime
from typing import Final
from uuid import NAMESPACE_URL, uuid5

from streamkit.messages import Failure
from streamkit.records import RawHeaders, RawRecord, Taken

PREFIX: Final = "dl_"
"""Headers that start so are ours; any that the original brought are dropped."""

_LETTERS: Final = uuid5(NAMESPACE_URL, "streamkit/dead-letters")
_MESSAGE_CHARS: Final = 1000


def letter_id(service: str, topic: str, partition: int, offset: int) -> str:
    """The same for each letter that a service writes about the record at this place."""
    return str(uuid5(_LETTERS, f"{service}/{topic}/{partition}/{offset}"))


def dead_letter(
    topic: str,
    original: Taken,
    failure: Failure,
    *,
    service: str,
    version: str,
    lane: str = "",
    now_s: float | None = None,
) -> RawRecord:
    """The record for the dead-letter `topic`.

    `lane` lets it be replayed; empty where there are no lanes. `now_s`: seconds since 1970, None
    for this machine's clock.
    """
    now = datetime.now(UTC) if now_s is None else datetime.fromtimestamp(now_s, UTC)
    about = {
        "dl_id": letter_id(service, original.topic, original.partition, original.offset),
        "dl_topic": original.topic,
        "dl_partition": str(original.partition),
        "dl_offset": str(original.offset),
        "dl_timestamp": str(original.timestamp_ms),
        "dl_lane": lane,
        "dl_code": failure.code,
        "dl_message": failure.message[:_MESSAGE_CHARS],
        "dl_attempts": str(failure.attempts),
        "dl_service": service,
        "dl_version": version,
        "dl_time": now.isoformat(timespec="milliseconds"),
    }
    named = [(name, text.encode("utf-8", "replace")) for name, text in about.items()]
    return RawRecord(topic, original.key, original.value, [*_foreign(original.headers), *named])


def without_value(letter: RawRecord) -> RawRecord:
    """The letter for a broker that refuses it as too large: its value is left where it came from,
    and a header says so."""
    return letter._replace(value=None, headers=[*letter.headers, ("dl_value", b"left")])


def _foreign(headers: Iterable[tuple[str, bytes]]) -> RawHeaders:
    return [header for header in headers if not header[0].startswith(PREFIX)]
