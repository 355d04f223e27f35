"""A lane's way in: how much it brings, when it pauses, and that nobody waits for ever."""

import queue
import threading
import time
from collections.abc import Callable, Sequence

import pytest

from streamkit.clock import SystemClock
from streamkit.core import Core
from streamkit.dispatch import Slot
from streamkit.engine.work import Result, Work
from streamkit.events import Assigned, Drain, Event, FeedClosed, Lost, Records, Revoking, Stop
from streamkit.feed import Feed
from streamkit.job import Job, Lane
from streamkit.memory.broker import MemoryBroker
from streamkit.memory.producer import MemoryProducer
from streamkit.messages import Handlers
from streamkit.metrics import Meter
from streamkit.outside import Outside
from streamkit.policy import Policy
from streamkit.ports import (
    Consumer,
    ConsumerLostError,
    EngineEvent,
    EngineReady,
    EngineResults,
    Listener,
    Producer,
)
from streamkit.records import Offsets, Partition, Taken
from streamkit.testing import FakeClock

ONE, TWO = Partition("said", 0), Partition("said", 1)


def record(offset: int, partition: int = 0) -> Taken:
    """A record."""
    return Taken("said", partition, offset, b"key", b"value", [], 0)


class ScriptedConsumer:
    """A Consumer that has what a test puts into it, and tells what was asked of it."""

    def __init__(self, listener: Listener) -> None:
        self.listener = listener
        self.paused: set[Partition] = set()
        self.pauses: list[str] = []
        self.stored: dict[Partition, int] = {}
        self.asked: list[int] = []
        self.ready: list[Taken] = []
        self.inside: list[Callable[[], object]] = []
        self.closed = False

    def consume(self, most: int, timeout_s: float) -> list[Taken]:
        """See Consumer; first does what a test wants to happen inside of it."""
        self.asked.append(most)
        while self.inside:
            self.inside.pop(0)()
        able = [one for one in self.ready if one.place not in self.paused][:most]
        self.ready = [one for one in self.ready if one not in able]
        return able

    def store(self, offsets: Offsets) -> None:
        """See Consumer."""
        self.stored.update(offsets)

    def pause(self, partitions: Sequence[Partition]) -> None:
        """See Consumer."""
        self.paused.update(partitions)
        self.pauses.append("pause")

    def resume(self, partitions: Sequence[Partition]) -> None:
        """See Consumer."""
        self.paused.difference_update(partitions)
        self.pauses.append("resume")

    def close(self) -> None:
        """See Consumer."""
        self.closed = True

    def assign(self, *partitions: Partition) -> None:
        """Tell the listener; a new assignment begins unpaused."""
        self.paused.difference_update(partitions)
        self.listener.assigned(partitions)


class ScriptedBackend:
    """A Backend with one consumer."""

    def __init__(self) -> None:
        self.made: list[ScriptedConsumer] = []

    def consumer(self, group: str, topics: Sequence[str], listener: Listener) -> Consumer:
        """See Backend."""
        self.made.append(ScriptedConsumer(listener))
        return self.made[-1]

    def producer(self, client: str) -> Producer:
        """See Backend; there is none."""
        raise NotImplementedError

    def missing(self, topics: Sequence[str]) -> list[str]:
        """See Backend; nobody asks."""
        raise NotImplementedError


class Bench:
    """A feed on a scripted consumer, with a clock that is moved by hand."""

    def __init__(self, wait: Callable[[Drain], bool] = lambda drain: drain.over) -> None:
        self.clock = FakeClock()
        self.events: list[Event] = []
        backend = ScriptedBackend()
        self.feed = Feed("lane", backend, "group", ["said"], self.events.append, self.clock, wait)
        self.feed.capacity = 10
        self.consumer = backend.made[0]
        self.consumer.inside.append(lambda: self.consumer.assign(ONE))
        self.feed.allow(10)
        self.feed.turn(0)

    def brought(self) -> list[int]:
        """Offsets of the records that came."""
        return [r.offset for e in self.events if isinstance(e, Records) for r in e.records]

    def turn(self, seconds: float = 0.0) -> None:
        """One turn, so many seconds later."""
        self.clock.now += seconds
        self.feed.turn(0)


@pytest.fixture
def bench() -> Bench:
    """A feed that has partition ONE and may bring ten records."""
    return Bench()


# -- how much -------------------------------------------------------------------------------------


def test_a_feed_brings_what_is_allowed_and_no_more(bench: Bench) -> None:
    bench.consumer.ready = [record(offset) for offset in range(30)]
    for _ in range(5):
        bench.turn()
    assert bench.brought() == list(range(10))
    bench.feed.allow(15)
    for _ in range(5):
        bench.turn()
    assert bench.brought() == list(range(15))


def test_a_feed_without_room_leaves_its_consumer_alone_for_a_moment(bench: Bench) -> None:
    bench.consumer.ready = [record(offset) for offset in range(30)]
    bench.turn()
    asked = len(bench.consumer.asked)
    bench.turn()
    bench.feed.turn(0.01)
    assert len(bench.consumer.asked) == asked
    assert bench.consumer.pauses == []


def full(bench: Bench) -> None:
    """Have a feed be full."""
    bench.consumer.ready = [record(offset) for offset in range(30)]
    bench.turn()
    bench.turn()


def test_a_feed_that_is_full_for_a_second_pauses_and_goes_on_polling(bench: Bench) -> None:
    full(bench)
    bench.turn(0.9)
    assert bench.consumer.paused == set()
    bench.turn(0.2)
    assert bench.consumer.paused == {ONE}
    asked = len(bench.consumer.asked)
    bench.turn(0.1)
    bench.turn(0.1)
    assert len(bench.consumer.asked) == asked + 2
    assert bench.brought() == list(range(10))


def test_a_feed_that_has_room_again_within_the_second_does_not_pause(bench: Bench) -> None:
    full(bench)
    bench.turn(0.9)
    bench.feed.allow(11)
    bench.turn()
    bench.turn()
    bench.turn(0.9)
    assert bench.consumer.pauses == []


def test_a_pause_lasts_two_seconds_and_until_half_is_worked_off(bench: Bench) -> None:
    full(bench)
    bench.turn(1.1)
    bench.feed.allow(20)
    bench.turn(1.9)
    assert bench.consumer.paused == {ONE}
    bench.turn(0.2)
    assert bench.consumer.paused == set()
    assert bench.consumer.pauses == ["pause", "resume"]


def test_a_pause_goes_on_while_little_is_worked_off(bench: Bench) -> None:
    full(bench)
    bench.turn(1.1)
    bench.feed.allow(14)
    bench.turn(60)
    assert bench.consumer.paused == {ONE}
    bench.feed.allow(15)
    bench.turn()
    assert bench.consumer.paused == set()


def test_partitions_that_come_during_a_pause_are_paused_too(bench: Bench) -> None:
    full(bench)
    bench.turn(1.1)
    bench.consumer.inside.append(lambda: bench.consumer.assign(TWO))
    bench.turn()
    bench.turn()
    assert bench.consumer.paused == {ONE, TWO}


def test_a_partition_that_comes_back_during_a_pause_is_paused_again(bench: Bench) -> None:
    full(bench)
    bench.turn(1.1)
    bench.consumer.inside.append(lambda: bench.feed.lost([ONE]))
    bench.consumer.inside.append(lambda: bench.consumer.assign(ONE))
    bench.turn()
    bench.turn()
    assert bench.consumer.paused == {ONE}


def test_a_partition_that_is_assigned_once_more_during_a_pause_is_paused_again(
    bench: Bench,
) -> None:
    full(bench)
    bench.turn(1.1)
    bench.consumer.inside.append(lambda: bench.consumer.assign(ONE))
    bench.turn()
    bench.turn()
    assert bench.consumer.paused == {ONE}


# -- partitions that stand still ------------------------------------------------------------------


def test_a_held_partition_brings_nothing_until_it_is_freed(bench: Bench) -> None:
    bench.consumer.inside.append(lambda: bench.consumer.assign(TWO))
    bench.turn()
    bench.consumer.ready = [record(0), record(0, partition=1)]
    bench.feed.hold([ONE])
    bench.turn()
    places = [r.place for e in bench.events if isinstance(e, Records) for r in e.records]
    assert places == [TWO]
    bench.feed.free([ONE])
    bench.turn()
    assert bench.brought() == [0, 0]


def test_a_hold_on_a_partition_that_has_gone_is_no_matter(bench: Bench) -> None:
    bench.feed.hold([TWO])
    bench.turn()
    assert bench.consumer.pauses == []


def test_a_hold_ends_with_the_assignment(bench: Bench) -> None:
    bench.feed.hold([ONE])
    bench.turn()
    bench.consumer.inside.append(lambda: bench.feed.lost([ONE]))
    bench.turn()
    bench.consumer.inside.append(lambda: bench.consumer.assign(ONE))
    bench.turn()
    bench.turn()
    assert bench.consumer.paused == set()


def test_a_held_partition_stays_so_after_a_pause_for_fullness(bench: Bench) -> None:
    bench.consumer.inside.append(lambda: bench.consumer.assign(TWO))
    bench.turn()
    bench.feed.hold([TWO])
    full(bench)
    bench.turn(1.1)
    assert bench.consumer.paused == {ONE, TWO}
    bench.feed.allow(20)
    bench.turn(2.1)
    assert bench.consumer.paused == {TWO}


# -- what the group does --------------------------------------------------------------------------


def test_offsets_to_store_reach_the_consumer(bench: Bench) -> None:
    bench.feed.store({ONE: 7})
    bench.turn()
    assert bench.consumer.stored == {ONE: 7}


def test_what_the_core_answers_is_committed_when_partitions_go() -> None:
    def answer(drain: Drain) -> bool:
        drain.answer({ONE: 5})
        return True

    bench = Bench(answer)
    assert bench.feed.revoked([ONE]) == {ONE: 5}
    revoking = bench.events[-1]
    assert isinstance(revoking, Revoking)
    assert (revoking.feed, revoking.partitions) == ("lane", (ONE,))


def test_a_core_that_does_not_answer_holds_a_rebalance_up_for_a_while_only() -> None:
    bench = Bench(lambda _drain: False)
    assert bench.feed.revoked([ONE]) == {}


def test_lost_partitions_are_told_of(bench: Bench) -> None:
    bench.feed.lost([ONE])
    assert bench.events[-1] == Lost("lane", (ONE,))
    assert isinstance(bench.events[0], Assigned)


# -- its thread -----------------------------------------------------------------------------------


def test_a_feed_ends_when_it_is_told_to(bench: Bench) -> None:
    bench.feed.end()
    bench.feed.hold([ONE])
    bench.feed.run()
    assert bench.consumer.closed
    assert bench.events[-1] == FeedClosed("lane", None)


def test_a_full_feed_ends_when_it_is_told_to(bench: Bench) -> None:
    full(bench)
    thread = threading.Thread(target=bench.feed.run, daemon=True)
    thread.start()
    bench.feed.end()
    thread.join(10)
    assert not thread.is_alive()
    assert bench.events[-1] == FeedClosed("lane", None)


def test_a_full_feed_wakes_up_when_it_is_allowed_more(bench: Bench) -> None:
    full(bench)
    thread = threading.Thread(target=bench.feed.run, daemon=True)
    thread.start()
    bench.feed.allow(20)
    deadline = time.monotonic() + 10
    while len(bench.brought()) < 20 and time.monotonic() < deadline:
        threading.Event().wait(0.005)
    bench.feed.end()
    thread.join(10)
    assert bench.brought() == list(range(20))


def test_what_breaks_a_feed_is_told_to_the_core(bench: Bench) -> None:
    def fail() -> None:
        raise ConsumerLostError("no rights")

    bench.consumer.inside.append(fail)
    bench.feed.run()
    closed = bench.events[-1]
    assert isinstance(closed, FeedClosed)
    assert isinstance(closed.error, ConsumerLostError)


# -- with real threads ----------------------------------------------------------------------------

RECORDS = 10_000


class RestlessConsumer:
    """A Consumer whose group takes its partitions away and gives them back every 10 ms."""

    def __init__(self, listener: Listener) -> None:
        self.committed = {ONE: 0, TWO: 0}
        self.rebalances = 0
        self._listener = listener
        self._positions: dict[Partition, int] = {}
        self._assigned_at = 0.0

    def consume(self, most: int, timeout_s: float) -> list[Taken]:
        """See Consumer."""
        if not self._positions:
            self._positions = dict(self.committed)
            self._assigned_at = time.monotonic()
            self._listener.assigned([ONE, TWO])
        elif time.monotonic() - self._assigned_at > 0.01:
            self._give_up()
        found = []
        for place, position in self._positions.items():
            last = min(position + most // 2, RECORDS)
            found += [record(offset, place.number) for offset in range(position, last)]
            self._positions[place] = last
        if not found:
            threading.Event().wait(0.001)
        return found

    def store(self, offsets: Offsets) -> None:
        """See Consumer."""
        self.committed.update(offsets)

    def pause(self, partitions: Sequence[Partition]) -> None:
        """See Consumer."""

    def resume(self, partitions: Sequence[Partition]) -> None:
        """See Consumer."""

    def close(self) -> None:
        """See Consumer."""
        self._give_up()

    def _give_up(self) -> None:
        self.rebalances += 1
        self.committed.update(self._listener.revoked(list(self._positions)))
        self._positions = {}


class RestlessBackend:
    """A Backend of a RestlessConsumer."""

    consumer_made: RestlessConsumer

    def consumer(self, group: str, topics: Sequence[str], listener: Listener) -> Consumer:
        """See Backend."""
        self.consumer_made = RestlessConsumer(listener)
        return self.consumer_made

    def producer(self, client: str) -> Producer:
        """See Backend; there is none."""
        raise NotImplementedError

    def missing(self, topics: Sequence[str]) -> list[str]:
        """See Backend; nobody asks."""
        raise NotImplementedError


class Hands:
    """An Engine in a thread of its own; every record is done, without events."""

    name = "all"

    def __init__(self, report: Callable[[EngineEvent], None]) -> None:
        self.done: set[tuple[int, int]] = set()
        self._report = report
        self._works: queue.SimpleQueue[Sequence[Work] | None] = queue.SimpleQueue()
        self._thread = threading.Thread(target=self._run, daemon=True)

    def start(self) -> None:
        """See Engine."""
        self._thread.start()
        self._report(EngineReady(self.name, 0.0))

    def submit(self, works: Sequence[Work]) -> None:
        """See Engine."""
        self._works.put(works)

    def recall(self) -> None:
        """See Engine; it hands nothing back, which it may."""

    def replace(self, why: str) -> None:
        """See Engine; nothing replaces it here."""

    def memory_bytes(self) -> int:
        """See Engine."""
        return 0

    def close(self, timeout_s: float) -> None:
        """See Engine."""
        self._works.put(None)
        self._thread.join(timeout_s)

    def _run(self) -> None:
        while (works := self._works.get()) is not None:
            self.done.update((one.record.partition, one.record.offset) for one in works)
            results = [Result(one.id, "done", 0.01) for one in works]
            self._report(EngineResults(self.name, results))


def test_rebalances_and_work_at_the_same_time_never_wait_for_each_other() -> None:
    inbox: queue.SimpleQueue[Event] = queue.SimpleQueue()
    backend, clock, unanswered = RestlessBackend(), SystemClock(), list[Drain]()

    def wait(drain: Drain) -> bool:
        answered = drain.wait(10.0)
        if not answered:
            unanswered.append(drain)
        return answered

    feed = Feed("batch", backend, "group", ["said"], inbox.put, clock, wait)
    thread = threading.Thread(target=feed.run, daemon=True)
    hands = Hands(inbox.put)
    job = Job("restless", "1", (Lane("batch", ("said",)),), lambda: Handlers({}), "dlq")
    outside = Outside(clock, MemoryProducer(MemoryBroker(clock)), Meter("restless", ["batch"]))
    slot = Slot(hands, frozenset({"batch"}))
    core = Core(job, Policy(lane_records=200, retry_tiers=()), [slot], outside)

    def turn() -> None:
        try:
            core.handle(inbox.get(timeout=0.01))
            for _ in range(inbox.qsize()):
                core.handle(inbox.get_nowait())
        except queue.Empty:
            pass
        core.turn()

    core.start(lambda: [feed])
    thread.start()
    consumer, deadline = backend.consumer_made, time.monotonic() + 30
    while min(consumer.committed.values()) < RECORDS and time.monotonic() < deadline:
        turn()
    core.handle(Stop())
    while not core.over and time.monotonic() < deadline:
        turn()
    core.close()
    assert core.over
    assert unanswered == []
    assert consumer.rebalances > 3
    assert consumer.committed == {ONE: RECORDS, TWO: RECORDS}
    assert len(hands.done) == 2 * RECORDS
