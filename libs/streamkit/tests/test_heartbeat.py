"""Heartbeats are published by a thread of their own, and whatever is away holds nobody up."""

import os
import socket
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

import pytest
import structlog
from structlog.testing import capture_logs

from streamkit import heartbeat as heartbeats
from streamkit.errors import Busy
from streamkit.heartbeat import TOPIC, HeartbeatMeans, Heartbeats, Identity, gone, heartbeat
from streamkit.messages import Emit
from streamkit.ports import Delivery
from streamkit.publishing import ProducerLostError, PublishError
from streamkit.records import Partition, RawRecord
from streamkit.settings import WorkerSettings
from streamkit.standing import LaneStanding, Standing, Task
from streamkit.testing.clock import EPOCH, FakeClock
from streamkit.usage import Usage, Used

DEADLINE_S = 20.0
NOW = EPOCH + 60.25
USED = Used(0.5, 1.5, 0.25, 1_000)

BATCH = LaneStanding(
    "batch",
    (Partition("said.batch", 0), Partition("said.batch", 3)),
    waiting=7,
    in_engine=2,
    concurrency=2,
    rate=2.5,
    paused=True,
    done=11,
    failed=1,
)
TASK = Task("batch", "said.batch", 3, 41, "photo", 2, "bulk", EPOCH + 59)
WORKING = Standing("working", (LaneStanding("high"), BATCH), (TASK,))


def moment(seconds: float) -> datetime:
    return datetime.fromtimestamp(seconds, UTC)


def value(standing: Standing = WORKING) -> Mapping[str, Any]:
    who = Identity("ocr", "0.1.0", EPOCH, "stage-2", 4711)
    return heartbeat(who, standing, USED, NOW, 5.0)


# -- the event ------------------------------------------------------------------------------------


def test_a_heartbeat_says_who_it_is_and_what_it_uses() -> None:
    said = value()
    assert (said["worker"], said["service"], said["version"]) == (
        "ocr@stage-2:4711",
        "ocr",
        "0.1.0",
    )
    assert (said["host"], said["pid"], said["state"], said["every_s"]) == (
        "stage-2",
        4711,
        "working",
        5.0,
    )
    assert (said["started_at"], said["reported_at"]) == (moment(EPOCH), moment(NOW))
    assert (said["cpu"], said["cpu_cores"], said["memory"], said["memory_bytes"]) == USED


def test_a_heartbeat_says_its_lanes_and_what_is_worked_on() -> None:
    said = value()
    assert said["lanes"][1] == {
        "lane": "batch",
        "partitions": [
            {"topic": "said.batch", "partition": 0},
            {"topic": "said.batch", "partition": 3},
        ],
        "waiting": 7,
        "in_engine": 2,
        "concurrency": 2,
        "rate": 2.5,
        "paused": True,
        "done": 11,
        "failed": 1,
    }
    assert said["work"] == [
        {
            "lane": "batch",
            "topic": "said.batch",
            "partition": 3,
            "offset": 41,
            "key": "photo",
            "attempt": 2,
            "engine": "bulk",
            "since": moment(EPOCH + 59),
        }
    ]


def test_who_is_gone_has_nothing_and_has_done_so_much() -> None:
    lanes = (LaneStanding("high"), LaneStanding("batch", (), 0, 0, 2, 2.5, True, 11, 1))
    assert gone(WORKING) == Standing("gone", lanes)


@pytest.mark.parametrize("seconds", [0, -1, 61])
def test_heartbeats_are_every_minute_at_least(seconds: float) -> None:
    with pytest.raises(ValueError, match="heartbeat_s"):
        WorkerSettings.model_validate({"heartbeat_s": seconds})


# -- publishing -----------------------------------------------------------------------------------


class Broker:
    """A Producer; what it does with what is sent, the test says."""

    def __init__(self) -> None:
        self.sent: list[RawRecord] = []
        self.answer: Exception | None = None
        self.first_answer: Exception | None = None
        self.silent = False
        self.flushed: list[float] = []
        self.closed = 0
        self._decided: list[Delivery] = []

    def send(self, ticket: int, records: Sequence[RawRecord], *, urgent: bool = False) -> None:
        self.sent += records
        if not self.silent:
            answer, self.first_answer = self.first_answer or self.answer, None
            self._decided.append(Delivery(ticket, answer, 0))

    def poll(self, timeout_s: float) -> list[Delivery]:
        assert timeout_s == 0, "nothing is waited for"
        decided, self._decided = self._decided, []
        return decided

    def flush(self, timeout_s: float) -> None:
        self.flushed.append(timeout_s)

    def close(self) -> None:
        self.closed += 1


class Measured(Usage):
    """Always the same."""

    def __init__(self) -> None:
        """Nothing is read."""

    def measure(self) -> Used:
        return USED


class Bench:
    """Heartbeats, and what they are published with. `step` lets the thread say what it was told."""

    def __init__(self) -> None:
        self.broker = Broker()
        self.producers = 0
        self.values: list[Mapping[str, Any]] = []
        self.failing: Exception | None = None
        self.encoding = threading.Event()
        self.go_on = threading.Event()
        self.go_on.set()
        means = HeartbeatMeans(self._producer, self._encode, Measured)
        self.clock = FakeClock()
        self.beats = Heartbeats("ocr", "0.1.0", 5.0, means, self.clock)

    def _producer(self) -> Broker:
        self.producers += 1
        return self.broker

    def _encode(self, emit: Emit) -> RawRecord:
        self.encoding.set()
        assert self.go_on.wait(DEADLINE_S)
        if self.failing is not None:
            raise self.failing
        assert emit.topic == TOPIC
        assert emit.key == emit.value["worker"]
        self.values.append(emit.value)
        return RawRecord(emit.topic, emit.key.encode(), b"", [])

    def held(self) -> None:
        """Wait until the thread is in the midst of a heartbeat, which does not go on."""
        assert self.encoding.wait(DEADLINE_S)

    def step(self, standing: Standing) -> None:
        """Tell, and wait until the thread has looked at it."""
        self.encoding.clear()
        self.beats.tell(standing)
        self.held()

    def states(self) -> list[str]:
        return [one["state"] for one in self.values]


@pytest.fixture
def bench() -> Bench:
    return Bench()


@pytest.fixture
def log(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[Any]]:
    monkeypatch.setattr(heartbeats, "_log", structlog.get_logger("test"))
    with capture_logs() as lines:
        yield lines


def events(log: Sequence[Mapping[str, Any]]) -> list[str]:
    return [line["event"] for line in log]


def test_it_begins_by_saying_that_it_starts_and_ends_by_saying_that_it_is_gone(
    bench: Bench,
) -> None:
    with bench.beats as beats:
        beats.tell(WORKING)
    assert bench.states() == ["starting", "working", "gone"]
    assert bench.values[0]["lanes"] == bench.values[2]["work"] == []
    assert bench.values[2]["lanes"][1]["done"] == 11
    assert (bench.broker.flushed, bench.broker.closed) == ([1.0], 1)


def test_what_waits_is_only_the_latest_of_each_state(bench: Bench) -> None:
    bench.go_on.clear()
    with bench.beats as beats:
        bench.held()
        for done in range(1_000):
            bench.clock.now = float(done)
            beats.tell(Standing("working", (LaneStanding("batch", done=done),)))
        beats.tell(Standing("stopping"))
        bench.go_on.set()
    assert bench.states() == ["starting", "working", "stopping", "gone"]
    assert bench.values[1]["lanes"][0]["done"] == 999
    assert bench.values[1]["reported_at"] == moment(EPOCH + 999), "when it was so"


def unreachable(bench: Bench) -> None:
    bench.failing = Busy("no registry", dependency="schema registry")


def unacknowledged(bench: Bench) -> None:
    bench.broker.answer = PublishError("no acknowledgement")


@pytest.mark.parametrize("break_it", [unreachable, unacknowledged])
def test_what_cannot_be_published_is_said_once_until_one_gets_through(
    bench: Bench, log: list[Any], break_it: Callable[[Bench], None]
) -> None:
    with bench.beats:
        bench.held()
        break_it(bench)
        for _ in range(5):
            bench.step(WORKING)
        bench.failing = bench.broker.answer = None
        for _ in range(5):
            bench.step(WORKING)
        break_it(bench)
        for _ in range(5):
            bench.step(WORKING)
    assert events(log) == ["heartbeat_lost", "heartbeats_again", "heartbeat_lost"]
    assert log[0]["log_level"] == "warning"


def test_while_the_broker_acknowledges_nothing_only_some_are_under_way(
    bench: Bench, log: list[Any]
) -> None:
    bench.broker.silent = True
    with bench.beats:
        bench.held()
        for _ in range(20):
            bench.beats.tell(WORKING)
            with bench.beats._news:
                while bench.beats._pending:
                    bench.beats._news.wait(0.01)
    assert len(bench.broker.sent) == 8
    assert events(log) == ["heartbeat_lost"]


def test_a_producer_that_is_lost_is_replaced(bench: Bench) -> None:
    bench.broker.first_answer = ProducerLostError("fatal")
    with bench.beats:
        bench.held()
        bench.step(WORKING)
        bench.step(WORKING)
    assert (bench.producers, bench.broker.closed) == (2, 2)


def test_an_end_waits_no_longer_than_it_may_for_a_registry_that_does_not_answer(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(heartbeats, "_CLOSE_S", 0.01)
    bench.go_on.clear()
    with bench.beats:
        bench.held()
    assert bench.values == []
    bench.go_on.set()
    bench.beats._thread.join(DEADLINE_S)
    assert bench.states() == ["starting", "gone"]


def test_a_failure_passes_through(bench: Bench) -> None:
    with pytest.raises(ZeroDivisionError), bench.beats:
        raise ZeroDivisionError
    assert bench.states()[-1] == "gone"


def test_the_identity_is_that_of_the_process() -> None:
    assert Identity("ocr", "1", EPOCH).worker == f"ocr@{socket.gethostname()}:{os.getpid()}"
