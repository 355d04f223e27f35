"""What a fold does with records: decode, step, write the table, encode. No Kafka in it."""

import json
import time
from collections import deque
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Final, NamedTuple, Protocol

import structlog

from streamkit.codec import Codec
from streamkit.deadletters import dead_letter
from streamkit.errors import Reject
from streamkit.faust.inbox import Record
from streamkit.faust.lazily import LazyHeaders, LazyValue
from streamkit.headers import event_headers
from streamkit.messages import Emit, Failure
from streamkit.metrics import Meter
from streamkit.records import RawHeaders, Taken

_log = structlog.get_logger("streamkit.faust.folding")

LARGEST_RECORD: Final = 1_000_000
"""Bytes of key, value and headers of what is published, changelogs included: what a broker takes by
default is 1,048,588 with the framing. A dead letter may be larger; its topic is declared so."""

_SURELY_SMALL: Final = LARGEST_RECORD - 100_000
"""Bytes of key and value; the headers of an event never are so large as the rest."""

_SLICE_S: Final = 0.05
"""What is published together takes no longer to work out; the event loop waits so long."""

_SLICE_BYTES: Final = 8_000_000
"""Nor is it larger."""

State = dict[str, Any]
StepFunction = Callable[
    [State | None, str, str, Mapping[str, Any], Mapping[str, str]],
    tuple[State | None, Sequence[Emit]],
]
"""State of a key (None: none yet), topic, key, value and headers of a record to the next state
(None: none any more) and what to publish. Without I/O; does not change the state it is given, which
is JSON. Raises Reject for a record that can't be."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Fold:
    """States by key, each folded out of the records with that key on some topics.

    `lane` names it in metrics and logs, `table` its table; `topics`, which have `partitions` each,
    are without the prefix. `due` gives the ticks to publish at a moment for the states there are.
    """

    lane: str
    table: str
    topics: tuple[str, ...]
    partitions: int
    step: StepFunction
    due: Callable[[Iterable[tuple[str, State]], datetime], Iterable[Emit]] | None = None


class Table(Protocol):
    """What a fold needs of a table."""

    def read(self, key: bytes) -> bytes | None:
        """The value of a key."""

    def write(self, partition: int, key: bytes, value: bytes | None) -> None:
        """Set or remove it."""


class Outgoing(NamedTuple):
    """A record to publish; `topic` without the prefix.

    `beside` is the partition of the record that caused it, if both have the same key: it is the
    right one wherever the topic has as many partitions. None: the key decides.
    """

    topic: str
    beside: int | None
    key: bytes | None
    value: bytes | None
    headers: RawHeaders


@dataclass(slots=True)
class Batch:
    """Records that are finished together, and what they came to.

    `changes` has the last value of each key, by partition; `offsets` what to read next of each
    partition; `stamps` the records' own time stamps (ms), by what became of them.
    """

    changes: dict[int, dict[bytes, bytes | None]] = field(default_factory=dict)
    events: list[Outgoing] = field(default_factory=list)
    offsets: dict[Any, int] = field(default_factory=dict)
    stamps: dict[str, list[int]] = field(default_factory=dict)
    states: dict[bytes, State | None] = field(default_factory=dict)
    size: int = 0


@dataclass(frozen=True, slots=True)
class Service:
    """Who does it."""

    name: str
    version: str
    dead_letters: str
    meter: Meter


class Folding:
    """Works out a fold's records; `table` is changed at once, all else is left to the caller."""

    def __init__(
        self, fold: Fold, service: Service, table: Table, codec: Codec, prefix: str = ""
    ) -> None:
        self.lane = fold.lane
        self._step = fold.step
        self._service = service
        self._table = table
        self._codec = codec
        self._topics = {prefix + topic: topic for topic in fold.topics}

    def work(self, waiting: deque[tuple[Any, Record]], batch: Batch) -> None:
        """Move records, with the partitions that they are of, from `waiting` into the batch.

        Ends when nothing waits or the batch is large enough. Raises Busy if the registry is needed
        and away: the record that needs it then still is the first to wait.
        """
        until = time.monotonic() + _SLICE_S
        while waiting and batch.size < _SLICE_BYTES and time.monotonic() < until:
            place, record = waiting[0]
            try:
                self._fold(record, batch)
                outcome = "done"
            except Reject as reason:
                self._give_up(record, reason, batch)
                outcome = "dead_letter"
            batch.offsets[place] = record.offset + 1
            batch.stamps.setdefault(outcome, []).append(record.timestamp)
            waiting.popleft()

    def _fold(self, record: Record, batch: Batch) -> None:
        """Raises Reject or Busy before anything is changed."""
        key, partition = record.key, record.partition
        text = _text(key)
        value = LazyValue(self._codec, self._topics[record.topic], record.value)
        headers = LazyHeaders(record.headers)
        state, emits = self._step(self._state(key, batch), value.topic, text, value, headers)
        body = None if state is None else _body(state)
        _check_size("the state", key, body, None)
        events = [self._event(emit, text, partition, headers) for emit in emits]
        self._table.write(partition, key, body)
        batch.states[key] = state
        batch.changes.setdefault(partition, {})[key] = body
        batch.events += events
        batch.size += len(body or b"") + sum(len(event.value or b"") for event in events)

    def _state(self, key: bytes, batch: Batch) -> State | None:
        if key in batch.states:
            return batch.states[key]
        stored = self._table.read(key)
        return None if stored is None else json.loads(stored)

    def _event(self, emit: Emit, key: str, partition: int, headers: LazyHeaders) -> Outgoing:
        event = self.event(emit, headers.get("traceparent"))
        _check_size(emit.topic, event.key or b"", event.value, event.headers)
        return event._replace(beside=partition) if emit.key == key else event

    def event(self, emit: Emit, traceparent: str | None = None) -> Outgoing:
        """An event, encoded. Raises Busy, and ValueError or TypeError for a defect."""
        body = self._codec.encode(emit.topic, emit.value)
        headers = event_headers(emit, source=self._service.name, traceparent=traceparent)
        return Outgoing(emit.topic, None, emit.key.encode(), body, headers)

    def _give_up(self, record: Record, reason: Reject, batch: Batch) -> None:
        """Put the record's dead letter into the batch."""
        service = self._service
        topic = self._topics[record.topic]
        service.meter.dead_letter(self.lane, reason.code)
        _log.error(
            "dead_letter",
            lane=self.lane,
            code=reason.code,
            reason=reason.message,
            topic=topic,
            partition=record.partition,
            offset=record.offset,
        )
        original = Taken(
            topic=topic,
            partition=record.partition,
            offset=record.offset,
            key=record.key,
            value=record.value,
            headers=[(name, value or b"") for name, value in record.headers],
            timestamp_ms=record.timestamp,
        )
        letter = dead_letter(
            service.dead_letters,
            original,
            Failure(reason.code, reason.message, 1),
            service=service.name,
            version=service.version,
        )
        batch.events.append(Outgoing(letter.topic, None, letter.key, letter.value, letter.headers))


def _text(key: bytes | None) -> str:
    if key is None:
        raise Reject("bad_key", "The record has no key.")
    try:
        return key.decode()
    except UnicodeDecodeError as error:
        raise Reject("bad_key", "The key is not UTF-8 text.") from error


def _body(state: State) -> bytes:
    try:
        return _encode(state).encode()
    except ValueError as error:
        raise Reject("impossible_record", f"It makes a state that is no JSON: {error}.") from error


_encode: Final = json.JSONEncoder(separators=(",", ":"), allow_nan=False).encode


def _check_size(what: str, key: bytes, value: bytes | None, headers: RawHeaders | None) -> None:
    size = len(key) + len(value or b"")
    if size > _SURELY_SMALL:
        size += sum(len(name) + len(text) for name, text in headers or ())
    if size > LARGEST_RECORD:
        message = f"{what} would have {size:,} bytes; {LARGEST_RECORD:,} are allowed."
        raise Reject("too_large", message)
