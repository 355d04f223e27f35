"""What a fold does with records: decode, step, write the table, encode. No Kafka in it."""

import time
from collections import Counter, deque
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import TYPE_CHECKING, Any, Final, NamedTuple

import structlog

from streamkit.codec import Codec
from streamkit.deadletters import dead_letter
from streamkit.engine.work import Work
from streamkit.errors import Busy, Reject
from streamkit.faust.inbox import Record
from streamkit.faust.lazily import LazyHeaders, LazyValue
from streamkit.faust.states import PLAIN, Packing, State, Table, as_json, from_json
from streamkit.first_letters import FirstLetters
from streamkit.headers import event_headers, next_span
from streamkit.logs import RecordLines
from streamkit.messages import Emit, Failure
from streamkit.metrics import Meter
from streamkit.notices import FIRST_DEAD_LETTER
from streamkit.records import RawHeaders, Taken
from streamkit.tracing import begin, forwarded, published, recording
from streamkit.traffic import count

if TYPE_CHECKING:
    from streamkit.spans import Span

_log = structlog.get_logger("streamkit.faust.folding")

LARGEST_RECORD: Final = 1_000_000
"""Bytes of key, value and headers of what is published, changelogs included: what a broker takes by
default is 1,048,588 with the framing. A dead letter may be larger; its topic is declared so."""

_SURELY_SMALL: Final = LARGEST_RECORD - 100_000
"""Bytes of key and value; the headers of an event never are so large as the rest."""

_SLICE_S: Final = 0.05
"""What is worked out at once takes no longer; the event loop waits so long."""

_LARGEST_BATCH: Final = 8_000_000
"""Bytes that are published together, about."""

StepFunction = Callable[
    [State | None, str, str, Mapping[str, Any], Mapping[str, str]],
    tuple[State | None, Sequence[Emit]],
]
"""State of a key (None: none yet), topic, key, value and headers of a record to the next state
(None: none any more) and what to publish. Without I/O; does not change the state it is given, which
is JSON. Raises Reject for a record that can't be."""


TellFunction = Callable[[str, State], Iterable[Emit]]
"""Key and state to what is to be published of it. Pure; no event is larger than LARGEST_RECORD."""

DueFunction = Callable[[Iterable[tuple[str, State]], datetime], Iterable[Emit]]
"""States by key and the time to the ticks that are due, in the order in which the broker shall have
them: those of a topic are acknowledged before the next one's are sent."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Fold:
    """States by key, each folded out of the records with that key on some topics.

    `lane` names it in metrics and logs, `table` its table; `topics`, which have `partitions` each,
    are without the prefix. What `step` publishes follows from a record. `tell` says what follows
    from the state alone: it is asked once for all records of a key that are worked on together.

    With a `pace_s` the fold works at most once in so many seconds, unless more records wait than
    are worked on at a time: a state is written, and told of, that often. Nothing is acknowledged
    before it is worked on, and the first record after a pause does not wait.

    `packing` makes states smaller in the table. With `bounded`, `step` itself sees to it that a
    state is JSON and never too large: it is not looked at after each record. `due` gives the ticks
    to publish at a moment for the states there are, and is asked every `sweep_s` seconds.
    """

    lane: str
    table: str
    topics: tuple[str, ...]
    partitions: int
    step: StepFunction
    tell: TellFunction | None = None
    pace_s: float = 0.0
    packing: Packing = PLAIN
    bounded: bool = False
    due: DueFunction | None = None
    sweep_s: float = 15.0


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


CameOf = tuple[LazyHeaders, str | None]
"""A record's headers, and the traceparent of its handling if that is recorded."""


class Touched(NamedTuple):
    """The state of a key that records of a batch have changed, as JSON too if that was made, and of
    the last of them the partition and what of it says what came of it."""

    state: State | None
    body: bytes | None
    partition: int
    came_of: CameOf


@dataclass(slots=True)
class Batch:
    """Records that are finished together, and what they came to.

    `changes` has the last value of each key, by partition; `offsets` what to read next of each
    partition; `done` the records, with what became of each; `stamps` their own time stamps (ms), by
    what became of them.
    """

    changes: dict[int, dict[bytes, bytes | None]] = field(default_factory=dict)
    events: list[Outgoing] = field(default_factory=list)
    offsets: dict[Any, int] = field(default_factory=dict)
    stamps: dict[str, list[int]] = field(default_factory=dict)
    touched: dict[bytes, Touched] = field(default_factory=dict)
    done: list[tuple[Record, str]] = field(default_factory=list)
    size: int = 0

    @property
    def full(self) -> bool:
        """Whether it is large enough to be published."""
        return self.size >= _LARGEST_BATCH


@dataclass(frozen=True, slots=True)
class Service:
    """Who does it."""

    name: str
    version: str
    dead_letters: str
    meter: Meter
    first_letters: FirstLetters | None = None
    """Says which dead letters are told by a notice; None: nobody is to be told."""


class Folding:
    """Works out a fold's records: first `work`, as often as it takes, then `finish`."""

    def __init__(
        self, fold: Fold, service: Service, table: Table, codec: Codec, prefix: str = ""
    ) -> None:
        self.lane = fold.lane
        self.pace_s = fold.pace_s
        self._step = fold.step
        self._tell = fold.tell
        self._packing = fold.packing
        self._bounded = fold.bounded
        self._service = service
        self._table = table
        self._codec = codec
        self._topics = {prefix + topic: topic for topic in fold.topics}
        self._lines = RecordLines()

    def over(self, batch: Batch, ms: float) -> None:
        """A batch was delivered and took so long: count its records, and write their lines."""
        topics = Counter(record.topic for record, _ in batch.done)
        for name, records in topics.items():
            count("consumed", self._topics[name], records)
        for record, outcome in batch.done:
            if self._lines.wants(self._topics[record.topic]):
                said = f', "lane": "{self.lane}", "outcome": "{outcome}"'
                self._lines.add("handled", self._taken(record), said, ms)
        self._lines.flush()

    def work(self, waiting: deque[tuple[Any, Record]], batch: Batch) -> None:
        """Move records, with the partitions that they are of, from `waiting` into the batch.

        Ends when nothing waits, the batch is full or a time slice is over. Changes nothing but the
        batch. Raises Busy if the registry is needed and away: the record that needs it then still
        is the first to wait.
        """
        until = time.monotonic() + _SLICE_S
        while waiting and not batch.full and time.monotonic() < until:
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
            batch.done.append((record, outcome))

    def finish(self, batch: Batch) -> None:
        """Add what the states are told as, and write them to the table: it can be published then.

        Raises Busy, with nothing changed, if the registry is needed and away.
        """
        told = [
            event for key, touched in batch.touched.items() for event in self._told(key, touched)
        ]
        for key, (state, body, partition, _) in batch.touched.items():
            value = None
            if state is not None:
                value = self._packing.pack(state, as_json(state) if body is None else body)
            self._table.write(partition, key, value)
            batch.changes.setdefault(partition, {})[key] = value
        batch.events += told

    def state(self, stored: bytes) -> State:
        """A state out of what the table has of it."""
        return from_json(self._packing.unpack(stored))

    def _fold(self, record: Record, batch: Batch) -> None:
        """Raises Reject or Busy before anything is changed."""
        headers = LazyHeaders(record.headers)
        traced = self._traced(record, headers) if recording() else None
        if traced is None:
            self._stepped(record, headers, None, batch)
            return
        span, open_span = traced
        try:
            self._stepped(record, headers, span, batch)
        except Reject as reason:
            open_span.end("reject", reason.code, reason.message)
            raise
        except Busy:
            open_span.end("returned")
            raise
        open_span.end("done")

    def _traced(self, record: Record, headers: LazyHeaders) -> "tuple[str, Span] | None":
        """The traceparent and the span of a record's handling, if it is recorded."""
        cause = headers.get("traceparent")
        span = next_span(cause)
        begun = begin(Work(0, self.lane, 1, self._taken(record)), span, cause)
        return None if begun is None else (span, begun)

    def _taken(self, record: Record) -> Taken:
        return Taken(
            topic=self._topics[record.topic],
            partition=record.partition,
            offset=record.offset,
            key=record.key,
            value=record.value,
            headers=[(name, value or b"") for name, value in record.headers],
            timestamp_ms=record.timestamp,
        )

    def _stepped(
        self, record: Record, headers: LazyHeaders, span: str | None, batch: Batch
    ) -> None:
        """Raises Reject or Busy before anything is changed."""
        key, partition = record.key, record.partition
        text = _text(key)
        value = LazyValue(self._codec, self._topics[record.topic], record.value)
        state, emits = self._step(self._known(key, batch), value.topic, text, value, headers)
        body = None if state is None or self._bounded else _body(state)
        _check_size("the state", key, body, None)
        events = [self._event(emit, text, partition, (headers, span)) for emit in emits]
        earlier = batch.touched.get(key)
        batch.touched[key] = Touched(state, body, partition, (headers, span))
        batch.events += events
        batch.size += len(body or b"") + sum(len(event.value or b"") for event in events)
        if earlier is not None:
            batch.size -= len(earlier.body or b"")

    def _known(self, key: bytes, batch: Batch) -> State | None:
        if key in batch.touched:
            return batch.touched[key].state
        stored = self._table.read(key)
        return None if stored is None else self.state(stored)

    def _told(self, key: bytes, touched: Touched) -> Iterator[Outgoing]:
        if self._tell is not None and touched.state is not None:
            text = key.decode()
            for emit in self._tell(text, touched.state):
                yield self._event(emit, text, touched.partition, touched.came_of)

    def _event(self, emit: Emit, key: str, partition: int, came_of: CameOf) -> Outgoing:
        headers, span = came_of
        event = self._encoded(emit, span or next_span(headers.get("traceparent")))
        _check_size(emit.topic, event.key or b"", event.value, event.headers)
        return event._replace(beside=partition) if emit.key == key else event

    def event(self, emit: Emit) -> Outgoing:
        """An event that no record caused, encoded. Raises Busy, and ValueError or TypeError for a
        defect."""
        return self._encoded(emit, published(emit.topic))

    def _encoded(self, emit: Emit, span: str) -> Outgoing:
        body = self._codec.encode(emit.topic, emit.value)
        headers = event_headers(emit, source=self._service.name, span=span)
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
        original = self._taken(record)
        failure = Failure(reason.code, reason.message, 1)
        if service.first_letters is not None:
            first = service.first_letters.told(failure, time.time())
            if first is not None:
                service.meter.noticed(FIRST_DEAD_LETTER)
                batch.events.append(self.event(first))
        letter = forwarded(
            dead_letter(
                service.dead_letters,
                original,
                failure,
                service=service.name,
                version=service.version,
            )
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
        return as_json(state)
    except ValueError as error:
        raise Reject("impossible_record", f"It makes a state that is no JSON: {error}.") from error


def _check_size(what: str, key: bytes, value: bytes | None, headers: RawHeaders | None) -> None:
    size = len(key) + len(value or b"")
    if size > _SURELY_SMALL:
        size += sum(len(name) + len(text) for name, text in headers or ())
    if size > LARGEST_RECORD:
        message = f"{what} would have {size:,} bytes; {LARGEST_RECORD:,} are allowed."
        raise Reject("too_large", message)
