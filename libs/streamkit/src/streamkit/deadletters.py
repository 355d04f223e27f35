"""Dead letters: the original record byte for byte, and in headers where from and why."""

from collections.abc import Iterable
from datetime import UTC, datetime
from typing import Final

from streamkit.headers import RawHeaders
from streamkit.lanes import Taken
from streamkit.messages import Failure
from streamkit.publisher import RawRecord

PREFIX: Final = "dl_"
"""Headers that start so are ours; any that the original brought are dropped."""


def dead_letter(
    topic: str, original: Taken, failure: Failure, *, service: str, version: str
) -> RawRecord:
    """The record for the dead-letter `topic`."""
    about = {
        "dl_topic": original.topic,
        "dl_partition": str(original.partition),
        "dl_offset": str(original.offset),
        "dl_code": failure.code,
        "dl_message": failure.message[:1000],
        "dl_attempts": str(failure.attempts),
        "dl_service": service,
        "dl_version": version,
        "dl_time": datetime.now(UTC).isoformat(timespec="milliseconds"),
    }
    headers = [*_foreign(original.headers), *((k, v.encode()) for k, v in about.items())]
    return RawRecord(topic, original.key, original.value, headers)


def _foreign(headers: Iterable[tuple[str, bytes]]) -> RawHeaders:
    return [(name, value) for name, value in headers if not name.startswith(PREFIX)]
