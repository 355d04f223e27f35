"""One record through decode, step, table and encode: everything or nothing."""

import json
import math
import zlib
from collections import deque
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import pytest
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.trace import format_span_id

from streamkit import tracing
from streamkit.errors import Busy, Reject
from streamkit.faust import folding as folding_
from streamkit.faust.folding import LARGEST_RECORD, Batch, Fold, Folding, Service
from streamkit.faust.lazily import LazyHeaders, LazyValue
from streamkit.faust.states import as_json, deflated
from streamkit.messages import Emit
from streamkit.metrics import Meter
from streamkit.spans import Recorder

TRACE = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"


class JsonCodec:
    """Values as JSON; counts what it decodes."""

    def __init__(self) -> None:
        self.decoded = 0

    def encode(self, _topic: str, value: Mapping[str, Any]) -> bytes:
        return json.dumps(value).encode()

    def decode(self, _topic: str, data: bytes | None) -> dict[str, Any]:
        self.decoded += 1
        if data is None:
            raise Reject("undecodable", "It is nothing.")
        if data == b"busy":
            raise Busy("the registry is away")
        return dict(json.loads(data))


class Table(dict[bytes, bytes]):
    """A table as a fold needs it."""

    def read(self, key: bytes) -> bytes | None:
        return self.get(key)

    def write(self, _partition: int, key: bytes, value: bytes | None) -> None:
        if value is None:
            self.pop(key, None)
        else:
            self[key] = value


@dataclass
class Record:
    """A consumed record as aiokafka gives it."""

    value: bytes | None
    key: bytes | None = b"k"
    topic: str = "t.said"
    headers: list[tuple[str, bytes | None]] = field(default_factory=list)
    partition: int = 3
    offset: int = 17
    timestamp: int = 1_000


def add(
    state: dict[str, Any] | None,
    topic: str,
    key: str,
    value: Mapping[str, Any],
    headers: Mapping[str, str],
) -> tuple[dict[str, Any] | None, Sequence[Emit]]:
    """Sums up; every value is told on, under the key that it names."""
    assert topic == "said"
    if value.get("forget"):
        return None, ()
    total = (state or {"total": 0})["total"] + value["n"]
    emits = [Emit("sum", to, {"total": total}, f"{key}-{total}") for to in value.get("tell", ())]
    return {"total": total, "note": value.get("note", "")}, emits


@pytest.fixture
def codec() -> JsonCodec:
    return JsonCodec()


@pytest.fixture
def table() -> Table:
    return Table()


@pytest.fixture
def folding(table: Table, codec: JsonCodec) -> Folding:
    fold = Fold(lane="sums", table="sums", topics=("said",), partitions=4, step=add)
    service = Service("adder", "1.2", "adder.dlq", Meter("adder"))
    return Folding(fold, service, table, codec, "t.")  # type: ignore[arg-type]


def record(n: float, *tell: str, **more: Any) -> Record:
    value = {"n": n, "tell": tell, **more}
    return Record(json.dumps(value).encode())


def worked(folding: Folding, *records: Record) -> Batch:
    batch = Batch()
    waiting = deque(("place", one) for one in records)
    folding.work(waiting, batch)
    assert not waiting
    folding.finish(batch)
    return batch


def code(batch: Batch) -> str:
    """Why a single record was given up."""
    (letter,) = batch.events
    assert letter.topic == "adder.dlq"
    assert batch.changes == {}
    return dict(letter.headers)["dl_code"].decode()


def test_a_record_changes_its_state_and_publishes_its_events(
    folding: Folding, table: Table
) -> None:
    cause = record(2, "k", "other")
    cause.headers = [("traceparent", TRACE.encode())]
    batch = worked(folding, cause)
    stored = b'{"total":2,"note":""}'
    assert table == {b"k": stored}
    assert batch.changes == {3: {b"k": stored}}
    assert batch.offsets == {"place": 18}
    assert batch.stamps == {"done": [1_000]}
    first, second = batch.events
    assert (first.topic, first.key, first.value) == ("sum", b"k", b'{"total": 2}')
    assert (first.beside, second.beside) == (3, None)
    headers = dict(first.headers)
    assert (headers["ce_id"], headers["ce_source"]) == (b"k-2", b"/darkroom/adder")
    assert headers["traceparent"].startswith(TRACE[:35].encode())


def test_of_several_changes_of_a_key_only_the_last_is_to_be_published(
    folding: Folding, table: Table
) -> None:
    batch = worked(folding, record(1), record(2), record(3))
    assert batch.changes == {3: {b"k": b'{"total":6,"note":""}'}}
    assert worked(folding, record(1, "k")).events[0].value == b'{"total": 7}'


def test_a_state_that_is_nothing_any_more_is_removed(folding: Folding, table: Table) -> None:
    worked(folding, record(1))
    batch = worked(folding, record(1), record(0, forget=True))
    assert (table, batch.changes) == ({}, {3: {b"k": None}})
    assert worked(folding, record(5, "k")).events[0].value == b'{"total": 5}'


@pytest.mark.parametrize(
    ("poison", "wanted"),
    [
        (Record(None), "undecodable"),
        (Record(b"{}", key=None), "bad_key"),
        (Record(b'{"n": 1}', key=b"\xff\xfe"), "bad_key"),
        (record(1, note="x" * LARGEST_RECORD), "too_large"),
        (record(1, "y" * LARGEST_RECORD), "too_large"),
        (record(math.nan), "impossible_record"),
    ],
)
def test_what_can_not_be_is_a_dead_letter_and_changes_nothing(
    folding: Folding, table: Table, poison: Record, wanted: str
) -> None:
    batch = worked(folding, poison)
    assert code(batch) == wanted
    assert table == {}
    assert batch.offsets == {"place": 18}
    assert batch.stamps == {"dead_letter": [1_000]}


def test_a_dead_letter_is_the_original_with_where_from_and_why(folding: Folding) -> None:
    poison = Record(None, headers=[("theirs", b"1"), ("empty", None)])
    (letter,) = worked(folding, poison).events
    assert (letter.key, letter.value, letter.beside) == (b"k", None, None)
    headers = dict(letter.headers)
    assert (headers["theirs"], headers["empty"]) == (b"1", b"")
    assert (headers["dl_topic"], headers["dl_offset"]) == (b"said", b"17")
    assert (headers["dl_service"], headers["dl_version"]) == (b"adder", b"1.2")
    assert headers["dl_message"] == b"It is nothing."


def test_a_record_that_has_to_wait_is_left_with_what_comes_after_it(folding: Folding) -> None:
    batch = Batch()
    waiting: Any = deque(("place", one) for one in (record(1), Record(b"busy"), record(2)))
    with pytest.raises(Busy):
        folding.work(waiting, batch)
    assert len(waiting) == 2
    assert batch.stamps == {"done": [1_000]}


def test_a_defect_is_raised(folding: Folding) -> None:
    with pytest.raises(KeyError):
        worked(folding, Record(b"{}"))


@pytest.mark.parametrize("limit", ["_LARGEST_BATCH", "_SLICE_S"])
def test_a_batch_ends_when_it_is_large_or_has_taken_long(
    folding: Folding, monkeypatch: pytest.MonkeyPatch, limit: str
) -> None:
    batch, waiting = Batch(), deque([("place", record(1)), ("place", record(2))])
    if limit == "_LARGEST_BATCH":
        monkeypatch.setattr(folding_, limit, 10)
    else:
        times = iter([0.0, 0.0, 1.0])
        monkeypatch.setattr("streamkit.faust.folding.time.monotonic", lambda: next(times))
    folding.work(waiting, batch)
    assert len(waiting) == 1


def test_nothing_is_in_the_table_before_the_batch_is_finished(
    folding: Folding, table: Table
) -> None:
    batch = Batch()
    folding.work(deque([("place", record(1)), ("place", record(2))]), batch)
    assert (table, batch.changes) == ({}, {})
    folding.finish(batch)
    assert table == {b"k": b'{"total":3,"note":""}'}


def told(key: str, state: Mapping[str, Any]) -> list[Emit]:
    return [Emit("told", key, {"total": state["total"]}, f"told-{state['total']}")]


def teller(table: Table, codec: Any, **options: Any) -> Folding:
    usual: dict[str, Any] = {"step": add, "tell": told}
    fold = Fold(lane="sums", table="sums", topics=("said",), partitions=4, **{**usual, **options})
    service = Service("adder", "1.2", "adder.dlq", Meter("adder"))
    return Folding(fold, service, table, codec, "t.")


def test_what_follows_from_a_state_is_told_once_for_all_records_of_its_key(
    table: Table, codec: JsonCodec
) -> None:
    other = Record(b'{"n": 7}', key=b"o")
    last = record(2)
    last.headers = [("traceparent", TRACE.encode())]
    batch = worked(teller(table, codec), record(1), other, last)
    assert [(one.topic, one.key, one.value) for one in batch.events] == [
        ("told", b"k", b'{"total": 3}'),
        ("told", b"o", b'{"total": 7}'),
    ]
    assert [one.beside for one in batch.events] == [3, 3]
    assert dict(batch.events[0].headers)["traceparent"].startswith(TRACE[:35].encode())


def test_of_a_state_that_is_nothing_any_more_nothing_is_told(
    table: Table, codec: JsonCodec
) -> None:
    batch = worked(teller(table, codec), record(1), record(0, forget=True))
    assert (batch.events, batch.changes) == ([], {3: {b"k": None}})


def test_a_registry_that_is_away_keeps_a_batch_from_being_finished_and_nothing_is_changed(
    table: Table, codec: JsonCodec, monkeypatch: pytest.MonkeyPatch
) -> None:
    folding, batch = teller(table, codec), Batch()
    folding.work(deque([("place", record(1))]), batch)

    def away(_topic: str, _value: Any) -> bytes:
        raise Busy("away")

    with monkeypatch.context() as context:
        context.setattr(codec, "encode", away)
        with pytest.raises(Busy):
            folding.finish(batch)
    assert (table, batch.changes, batch.events) == ({}, {}, [])
    folding.finish(batch)
    assert len(batch.events) == 1


def test_states_lie_packed_in_the_table_and_its_changelog(table: Table, codec: JsonCodec) -> None:
    folding = teller(table, codec, packing=deflated(lambda state: len(state["note"]) > 9))
    batch = worked(folding, record(1, note="x" * 500))
    packed = table[b"k"]
    assert batch.changes == {3: {b"k": packed}}
    assert len(packed) < 100
    assert folding.state(packed) == {"total": 1, "note": "x" * 500}
    worked(folding, record(2))
    assert table[b"k"] == b'{"total":3,"note":""}'


def test_what_states_have_in_common_takes_no_room() -> None:
    state = {"engine": "efficientnet-lite0", "n": 1}
    body = as_json(state)
    alone, together = deflated(), deflated(dictionary=as_json({**state, "n": 2}))
    packed = together.pack(state, body)
    assert len(packed) < len(alone.pack(state, body)) / 2
    assert together.unpack(packed) == alone.unpack(alone.pack(state, body)) == body
    assert together.unpack(body) == body
    with pytest.raises(zlib.error):
        alone.unpack(packed)


def test_a_bounded_state_is_made_json_once_for_all_records_of_its_key(
    table: Table, codec: JsonCodec, monkeypatch: pytest.MonkeyPatch
) -> None:
    made: list[Any] = []

    def counting(state: Any) -> bytes:
        made.append(state)
        return as_json(state)

    monkeypatch.setattr(folding_, "as_json", counting)
    folding = teller(table, codec, bounded=True)
    batch = worked(folding, record(1), record(2), record(3))
    assert batch.changes == {3: {b"k": b'{"total":6,"note":""}'}}
    assert len(made) == 1
    assert worked(folding, record(0, forget=True)).changes == {3: {b"k": None}}


def test_a_batch_weighs_what_its_last_states_weigh(folding: Folding) -> None:
    batch = worked(folding, *(record(1, note="x" * 1_000) for _ in range(100)))
    assert batch.size < 1_100


def test_a_value_that_nobody_looks_at_is_not_decoded(codec: JsonCodec) -> None:
    value = LazyValue(codec, "said", b'{"n": 1, "m": 2}')  # type: ignore[arg-type]
    assert codec.decoded == 0
    assert (value["n"], dict(value.items()), len(value)) == (1, {"n": 1, "m": 2}, 2)
    assert {**value} == {"n": 1, "m": 2}
    assert codec.decoded == 1


def test_headers_are_read_when_somebody_looks_at_them() -> None:
    headers = LazyHeaders([("a", b"1"), ("b", None)])
    assert (headers["a"], headers.get("c"), len(headers)) == ("1", None, 2)
    assert dict(headers) == {"a": "1", "b": ""}
    assert dict(LazyHeaders(None)) == {}


# -- traces ---------------------------------------------------------------------------------------


@pytest.fixture
def spans() -> Iterator[InMemorySpanExporter]:
    exporter = InMemorySpanExporter()
    tracing.use(Recorder(SimpleSpanProcessor(exporter), "adder"))
    yield exporter
    tracing.close()


def of_trace(one: Record, trace: str = TRACE) -> Record:
    one.headers = [("traceparent", trace.encode())]
    return one


def span_ids(batch: Batch) -> set[str]:
    return {dict(event.headers)["traceparent"].decode()[36:52] for event in batch.events}


def test_a_record_has_a_span_and_what_follows_from_it_carries_that(
    folding: Folding, spans: InMemorySpanExporter
) -> None:
    batch = worked(folding, of_trace(record(1, "a", "b")))
    (span,) = spans.get_finished_spans()
    assert span.name == "process said"
    assert format_span_id(span.links[0].context.span_id) == TRACE[36:52]
    assert span.context is not None
    assert span_ids(batch) == {format_span_id(span.context.span_id)}


def test_a_record_that_is_given_up_is_an_error_whose_letter_belongs_to_the_trace(
    folding: Folding, spans: InMemorySpanExporter
) -> None:
    batch = worked(folding, of_trace(Record(None)))
    handled, sent = spans.get_finished_spans()
    assert (handled.attributes or {})["error.type"] == "undecodable"
    assert sent.name == "send adder.dlq"
    assert sent.context is not None
    assert span_ids(batch) == {format_span_id(sent.context.span_id)}


def test_a_record_that_is_not_sampled_has_no_span(
    folding: Folding, spans: InMemorySpanExporter
) -> None:
    batch = worked(folding, of_trace(record(1, "a"), TRACE[:-1] + "0"))
    assert spans.get_finished_spans() == ()
    assert dict(batch.events[0].headers)["traceparent"].startswith(TRACE[:35].encode())
