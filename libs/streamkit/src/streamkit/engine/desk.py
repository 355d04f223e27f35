"""Records to messages, events to records."""

from collections.abc import Iterable, Mapping
from typing import Any, Protocol

from streamkit.engine.work import Work
from streamkit.errors import Reject
from streamkit.headers import event_headers, readable
from streamkit.messages import Emit, Message
from streamkit.records import RawRecord


class Codes(Protocol):
    """What an engine needs of a codec; see Codec."""

    def encode(self, topic: str, value: Mapping[str, Any]) -> bytes:
        """A record's value. Raises ValueError or TypeError if it doesn't fit the topic, Busy."""

    def decode(self, topic: str, data: bytes | None) -> dict[str, Any]:
        """A record's value, decoded. Raises Reject, Busy."""


class Desk:
    """Decodes what comes in and encodes what goes out, in the name of `source` (the service)."""

    def __init__(self, codec: Codes, source: str) -> None:
        self._codec = codec
        self._source = source

    def message(self, work: Work, span: str = "") -> Message:
        """The record as its handler sees it, whose work is the traceparent `span`. Raises Reject,
        Busy."""
        record = work.record
        try:
            key = (record.key or b"").decode()
        except UnicodeDecodeError as error:
            raise Reject("bad_key", "The key is not UTF-8 text.") from error
        return Message(
            record.topic,
            work.lane,
            key,
            self._codec.decode(record.topic, record.value),
            readable(record.headers),
            record.partition,
            record.offset,
            record.timestamp_ms,
            work.attempt,
            span,
        )

    def records(self, events: Iterable[Emit], span: str) -> tuple[RawRecord, ...]:
        """The records of `events`, which carry the traceparent `span`.

        Raises ValueError or TypeError for an event that doesn't fit its topic, Busy.
        """
        encode, source = self._codec.encode, self._source
        return tuple(
            [
                RawRecord(
                    emit.topic,
                    emit.key.encode(),
                    encode(emit.topic, emit.value),
                    event_headers(emit, source=source, span=span),
                )
                for emit in events
            ]
        )
