"""The loop, over a source and a publisher in memory."""

import threading
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any

import pytest

from streamkit import Busy, Emit, Failure, Job, Lane, Message, RawRecord, Reject, Retry, Worker
from streamkit.backoff import delay_s
from streamkit.lanes import Source, Taken

HIGH, BULK = Lane("high", ("asked.high",)), Lane("bulk", ("asked.bulk",))


def taken(topic: str, offset: int, value: bytes = b"x") -> Taken:
    return Taken(topic, 0, offset, b"key", value, [("traceparent", b"tp")], 0)


@dataclass
class MemorySource:
    lane: Lane
    records: list[Taken]
    trail: list[str]
    assigned: bool = True
    held: bool = False
    polls: int = 0
    early: int = 0
    """Records that come though the lane is held: they were fetched before."""

    def poll(self, timeout_s: float) -> Taken | None:
        self.polls += 1
        if not self.records or (self.held and not self.early):
            return None
        if self.held:
            self.early -= 1
        return self.records.pop(0)

    def done(self, record: Taken) -> None:
        self.trail.append(f"done {record.topic} {record.offset}")

    def hold(self) -> None:
        self.held = True

    def give_back(self, record: Taken) -> None:
        self.trail.append(f"give back {record.offset}")
        self.records.insert(0, record)

    def release(self) -> None:
        self.held = False

    def close(self) -> None:
        self.trail.append(f"close {self.lane.name}")


class PlainCodec:
    def decode(self, topic: str, data: bytes | None) -> dict[str, Any]:
        if data == b"junk":
            raise Reject("undecodable", "It is junk.")
        return {"text": (data or b"").decode()}


@dataclass
class MemoryPublisher:
    trail: list[str]
    failures: int = 0
    refused: tuple[str, ...] = ()
    records: list[RawRecord] = field(default_factory=list)

    def publish(self, emits: Sequence[Emit], traceparent: str | None = None) -> None:
        self.publish_raw(self.encode(emit, traceparent) for emit in emits)

    def encode(self, emit: Emit, traceparent: str | None = None) -> RawRecord:
        return RawRecord(emit.topic, emit.key.encode(), emit.id.encode(), [])

    def publish_raw(self, records: Iterable[RawRecord]) -> None:
        if self.failures:
            self.failures -= 1
            raise Busy("the broker is away")
        given = list(records)
        for record in given:
            if record.topic in self.refused and record.value is not None:
                raise Reject("too_large", "It is too large.")
        for record in given:
            self.trail.append(f"publish {record.topic}")
            self.records.append(record)

    def close(self) -> None:
        self.trail.append("close publisher")


@dataclass
class Bench:
    """A worker on records in memory; it stops when all are over."""

    handler: Callable[[Message], Sequence[Emit]]
    high: list[Taken] = field(default_factory=list)
    bulk: list[Taken] = field(default_factory=list)
    attempts: int = 3
    failures: int = 0
    refused: tuple[str, ...] = ()
    early: int = 0
    trail: list[str] = field(default_factory=list)
    sources: dict[str, MemorySource] = field(default_factory=dict)
    given_up: list[Failure] = field(default_factory=list)

    def run(self) -> "Bench":
        stop, left = threading.Event(), len(self.high) + len(self.bulk)
        self.publisher = MemoryPublisher(self.trail, self.failures, self.refused)

        def open_lane(lane: Lane) -> Source:
            source = MemorySource(lane, self.high if lane is HIGH else self.bulk, self.trail)
            source.early = self.early
            self.sources[lane.name] = source
            finish = source.done

            def done(record: Taken) -> None:
                nonlocal left
                finish(record)
                left -= 1
                if left == 0:
                    stop.set()

            source.done = done  # type: ignore[method-assign]
            return source

        def give_up(message: Message, failure: Failure) -> Sequence[Emit]:
            self.given_up.append(failure)
            return [Emit("gave.up", message.key, {}, "1")]

        handlers = {topic: self.handler for lane in (HIGH, BULK) for topic in lane.topics}
        job = Job("stage", "1.0", (HIGH, BULK), handlers, "stage.dlq", give_up)
        Worker(job, self.attempts, PlainCodec(), self.publisher, open_lane).run(stop)
        return self


@pytest.fixture(autouse=True)
def _no_waiting(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("streamkit.worker.delay_s", lambda _attempt: 0.0)


def echo(message: Message) -> Sequence[Emit]:
    return [Emit("answered", message.key, {"text": message.value["text"]}, "id")]


def failing(errors: list[Exception]) -> Callable[[Message], Sequence[Emit]]:
    def handler(message: Message) -> Sequence[Emit]:
        if errors:
            raise errors.pop(0)
        return echo(message)

    return handler


def test_events_are_published_before_the_record_is_acknowledged() -> None:
    bench = Bench(echo, bulk=[taken("asked.bulk", 7)]).run()
    assert bench.trail[:2] == ["publish answered", "done asked.bulk 7"]


def test_the_highest_lane_goes_first() -> None:
    bulk = [taken("asked.bulk", n) for n in range(2)]
    bench = Bench(echo, high=[taken("asked.high", 0)], bulk=bulk).run()
    done = [line for line in bench.trail if line.startswith("done")]
    assert done == ["done asked.high 0", "done asked.bulk 0", "done asked.bulk 1"]


def test_a_rejected_record_goes_to_the_dead_letters_at_once() -> None:
    bench = Bench(failing([Reject("bad", "It is bad.")]), bulk=[taken("asked.bulk", 0)]).run()
    assert bench.given_up == [Failure("bad", "It is bad.", 1)]
    assert bench.trail[:3] == ["publish gave.up", "publish stage.dlq", "done asked.bulk 0"]


def test_a_dead_letter_keeps_the_bytes_and_says_where_from_and_why() -> None:
    record = taken("asked.bulk", 5, b"\x00raw")
    bench = Bench(failing([Reject("bad", "It is bad.")]), bulk=[record]).run()
    letter = bench.publisher.records[-1]
    headers = dict(letter.headers)
    assert (letter.key, letter.value, headers["traceparent"]) == (b"key", b"\x00raw", b"tp")
    assert headers["dl_topic"] == b"asked.bulk"
    assert headers["dl_offset"] == b"5"
    assert (headers["dl_code"], headers["dl_message"]) == (b"bad", b"It is bad.")


def test_an_undecodable_record_is_a_dead_letter_and_the_next_is_worked_on() -> None:
    records = [taken("asked.bulk", 0, b"junk"), taken("asked.bulk", 1)]
    bench = Bench(echo, bulk=records).run()
    assert bench.trail[:2] == ["publish stage.dlq", "done asked.bulk 0"]
    assert bench.given_up == []
    assert bench.trail[2:4] == ["publish answered", "done asked.bulk 1"]


def test_a_transient_error_is_tried_again() -> None:
    bench = Bench(failing([Retry("a"), Retry("b")]), bulk=[taken("asked.bulk", 0)]).run()
    assert bench.trail[:2] == ["publish answered", "done asked.bulk 0"]


def test_attempts_are_bounded_and_end_in_the_dead_letters() -> None:
    errors: list[Exception] = [Retry("the disk failed")] * 3
    bench = Bench(failing(errors), bulk=[taken("asked.bulk", 0)]).run()
    assert bench.given_up == [Failure("gave_up", "the disk failed", 3)]


def test_an_absent_dependency_is_waited_for_without_counting_attempts() -> None:
    errors: list[Exception] = [Busy("away")] * 20
    bench = Bench(failing(errors), bulk=[taken("asked.bulk", 0)]).run()
    assert bench.given_up == []
    assert bench.trail[0] == "publish answered"


def test_a_record_is_not_acknowledged_while_the_broker_takes_nothing() -> None:
    bench = Bench(echo, bulk=[taken("asked.bulk", 0)], failures=4).run()
    assert bench.trail[:2] == ["publish answered", "done asked.bulk 0"]


def test_a_dead_letter_that_can_not_be_published_is_tried_until_it_can() -> None:
    errors: list[Exception] = [Reject("bad", "It is bad.")]
    bench = Bench(failing(errors), bulk=[taken("asked.bulk", 0)], failures=3).run()
    assert "publish stage.dlq" in bench.trail
    assert bench.trail.index("publish stage.dlq") < bench.trail.index("done asked.bulk 0")


def test_an_unexpected_exception_stops_the_worker_and_acknowledges_nothing() -> None:
    bench = Bench(failing([ZeroDivisionError()]), bulk=[taken("asked.bulk", 0)])
    with pytest.raises(ZeroDivisionError):
        bench.run()
    assert bench.trail == ["close high", "close bulk", "close publisher"]


def test_a_worker_that_is_stopped_while_waiting_leaves_the_record_unacknowledged() -> None:
    stop = threading.Event()
    trail: list[str] = []

    def handler(_message: Message) -> Sequence[Emit]:
        stop.set()
        raise Busy("away")

    job = Job("stage", "1", (BULK,), {"asked.bulk": handler}, "stage.dlq")
    source = MemorySource(BULK, [taken("asked.bulk", 0)], trail)
    Worker(job, 3, PlainCodec(), MemoryPublisher(trail), lambda _lane: source).run(stop)
    assert trail == ["close bulk", "close publisher"]


def test_records_fetched_before_a_wait_are_worked_on_after_it_in_order(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("streamkit.worker.delay_s", lambda _attempt: 0.12)
    records = [taken("asked.bulk", n) for n in range(4)]
    bench = Bench(failing([Retry("a")]), bulk=records, early=2).run()
    done = [line for line in bench.trail if line.startswith("done")]
    assert done == [f"done asked.bulk {n}" for n in range(4)]
    assert "give back 2" in bench.trail


def test_nothing_is_fetched_during_a_wait(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("streamkit.worker.delay_s", lambda _attempt: 0.12)
    bench = Bench(failing([Retry("a")]), bulk=[taken("asked.bulk", n) for n in range(3)]).run()
    assert not any(line.startswith("give back") for line in bench.trail)
    assert not bench.sources["bulk"].held


def test_a_lane_that_has_to_wait_is_polled_all_the_same() -> None:
    high = [taken("asked.high", n) for n in range(50)]
    bench = Bench(echo, high=high, bulk=[taken("asked.bulk", n) for n in range(2)]).run()
    assert bench.sources["high"].polls >= 50
    before = bench.trail.index("done asked.bulk 0")
    assert bench.trail.index("done asked.high 49") < before
    assert bench.sources["bulk"].polls >= 2


def test_the_work_is_not_done_again_while_only_the_broker_is_away() -> None:
    calls: list[str] = []

    def handler(message: Message) -> Sequence[Emit]:
        calls.append(message.topic)
        return echo(message)

    Bench(handler, bulk=[taken("asked.bulk", 0)], failures=5).run()
    assert calls == ["asked.bulk"]


def test_an_event_that_no_broker_takes_is_a_dead_letter() -> None:
    bench = Bench(echo, bulk=[taken("asked.bulk", 0)], refused=("answered",)).run()
    assert bench.given_up == [Failure("too_large", "It is too large.", 1)]
    assert bench.trail[:3] == ["publish gave.up", "publish stage.dlq", "done asked.bulk 0"]


def test_a_dead_letter_goes_without_what_no_broker_takes() -> None:
    errors: list[Exception] = [Reject("bad", "It is bad.")] * 2
    words = Bench(failing(errors[:1]), bulk=[taken("asked.bulk", 0)], refused=("gave.up",)).run()
    assert words.trail[:2] == ["publish stage.dlq", "done asked.bulk 0"]
    assert words.publisher.records[0].value == b"x"
    value = Bench(failing(errors[1:]), bulk=[taken("asked.bulk", 0)], refused=("stage.dlq",)).run()
    assert value.publisher.records[-1].value is None
    assert dict(value.publisher.records[-1].headers)["dl_offset"] == b"0"


@pytest.mark.parametrize("attempt", [1, 2, 3, 10, 5000])
def test_waits_grow_and_are_bounded(attempt: int) -> None:
    longest = min(5.0, 0.2 * 2 ** min(attempt - 1, 16))
    assert longest / 2 <= delay_s(attempt) <= longest
