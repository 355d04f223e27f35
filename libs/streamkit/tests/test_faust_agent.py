"""An agent works on what is its own, in order, and has it committed when it is delivered."""

import asyncio
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from datetime import UTC, datetime
from typing import Any

import pytest
from aiokafka.errors import KafkaError

from streamkit.errors import Busy
from streamkit.faust import agent as agents
from streamkit.faust import sweeping
from streamkit.faust.agent import Agent
from streamkit.faust.folding import Batch, Fold, Outgoing, Service
from streamkit.faust.inbox import Chunk
from streamkit.faust.states import State, from_json
from streamkit.faust.sweeping import Sweeper
from streamkit.messages import Emit
from streamkit.metrics import Meter


class Progress:
    """A consumer whose epoch ends when the test says so."""

    def __init__(self) -> None:
        self.epoch = 1
        self.committed: dict[Any, int] = {}

    def finished(self, epoch: int, offsets: Mapping[Any, int]) -> None:
        self.committed.update(offsets)


class Folding:
    """Takes two records at a time; those that are to wait are busy once."""

    lane = "test"

    def __init__(self) -> None:
        self.worked: list[Any] = []
        self.busy: set[int] = set()
        self.defect = False
        self.pace_s = 0.0
        self.finished: list[int] = []
        self.busy_finishing = 0

    def work(self, waiting: Any, batch: Batch) -> None:
        for _ in range(2):
            if not waiting:
                return
            place, record = waiting[0]
            if record in self.busy:
                self.busy.discard(record)
                raise Busy("away")
            if self.defect:
                raise ValueError("a defect")
            self.worked.append(record)
            batch.offsets[place] = record + 1
            batch.stamps.setdefault("done", []).append(0)
            waiting.popleft()

    def over(self, batch: Batch, ms: float) -> None:
        pass

    def finish(self, batch: Batch) -> None:
        if self.busy_finishing:
            self.busy_finishing -= 1
            raise Busy("away")
        self.finished.append(len(batch.stamps.get("done", [])))


class Delivery:
    """Delivers at once, or when the test lets it."""

    def __init__(self) -> None:
        self.stuck = False
        self.open = asyncio.Event()
        self.open.set()
        self.delivered: list[dict[Any, int]] = []
        self.second = asyncio.Event()

    async def deliver(self, batch: Batch, ours: Callable[[], bool]) -> bool:
        await self.open.wait()
        self.delivered.append(dict(batch.offsets))
        if len(self.delivered) == 2:
            self.second.set()
        return ours()


class Bench:
    """An agent and what it works with."""

    def __init__(self) -> None:
        self.progress, self.folding, self.delivery = Progress(), Folding(), Delivery()
        meter = Meter("agent-test", ["test"])
        self.agent = Agent(
            self.folding,  # type: ignore[arg-type]
            Service("agent-test", "1", "dlq", meter),
            self.delivery,  # type: ignore[arg-type]
            lambda: self.progress,
            most=10,
        )

    def put(self, *records: int, epoch: int = 1) -> None:
        self.agent.inbox.put(Chunk("place", epoch, list(records)))

    @contextmanager
    def running(self) -> Iterator[asyncio.Task[None]]:
        task = asyncio.create_task(self.agent.run())
        yield task
        task.cancel()


async def settle() -> None:
    for _ in range(30):
        await asyncio.sleep(0)


@pytest.fixture
async def bench(monkeypatch: pytest.MonkeyPatch) -> Bench:
    monkeypatch.setattr(agents, "delay_s", lambda _times: 0.0)
    return Bench()


async def test_what_is_delivered_is_committed_in_order(bench: Bench) -> None:
    bench.put(1, 2, 3)
    with bench.running():
        await settle()
    assert bench.folding.worked == [1, 2, 3]
    assert bench.delivery.delivered == [{"place": 3}, {"place": 4}]
    assert bench.progress.committed == {"place": 4}


async def test_what_is_of_an_earlier_epoch_is_left_alone(bench: Bench) -> None:
    bench.put(1, 2, epoch=0)
    bench.put(3)
    with bench.running():
        await settle()
    assert bench.folding.worked == [3]


async def test_what_is_not_delivered_in_its_epoch_is_not_committed(bench: Bench) -> None:
    bench.delivery.open.clear()
    bench.put(1, 2, 3)
    with bench.running():
        await settle()
        bench.progress.epoch = 2
        bench.delivery.open.set()
        await settle()
    assert bench.folding.worked == [1, 2]
    assert bench.progress.committed == {}


async def test_it_knows_what_waits_what_it_has_in_hand_and_what_is_over(bench: Bench) -> None:
    bench.delivery.open.clear()
    bench.put(1, 2, 3)
    with bench.running():
        await settle()
        bench.put(4)
        assert (bench.agent.waiting, bench.agent.in_hand, bench.agent.outcomes.total()) == (1, 3, 0)
        bench.delivery.open.set()
        await settle()
    assert (bench.agent.waiting, bench.agent.in_hand) == (0, 0)
    assert bench.agent.outcomes == {"done": 4}


async def test_what_was_worked_out_is_delivered_while_the_next_record_has_to_wait(
    bench: Bench,
) -> None:
    bench.folding.busy = {2}
    bench.put(1, 2, 3)
    with bench.running():
        await settle()
    assert bench.delivery.delivered == [{"place": 2}, {"place": 4}]
    assert bench.folding.worked == [1, 2, 3]


async def test_a_record_that_waits_first_delivers_nothing(bench: Bench) -> None:
    bench.folding.busy = {1}
    bench.put(1)
    with bench.running():
        await settle()
    assert bench.delivery.delivered == [{"place": 2}]


async def test_what_its_states_are_told_as_is_worked_out_once_the_registry_answers(
    bench: Bench,
) -> None:
    bench.folding.busy_finishing = 2
    bench.put(1)
    with bench.running():
        await settle()
    assert bench.folding.finished == [1]
    assert bench.progress.committed == {"place": 2}


async def test_a_fold_with_a_pace_works_on_all_that_waits_together(bench: Bench) -> None:
    bench.folding.pace_s = 3600.0
    bench.put(1, 2, 3, 4, 5)
    with bench.running():
        await settle()
    assert bench.folding.worked == [1, 2, 3, 4, 5]
    assert bench.folding.finished == [5]
    assert bench.delivery.delivered == [{"place": 6}]


async def test_between_two_works_of_a_fold_with_a_pace_is_so_much_time(bench: Bench) -> None:
    bench.folding.pace_s = 0.2
    begun = asyncio.get_running_loop().time()
    with bench.running():
        for record in (1, 2, 3):
            bench.put(record)
            await settle()
        assert bench.folding.worked == [1]
        async with asyncio.timeout(10):
            await bench.delivery.second.wait()
    assert asyncio.get_running_loop().time() - begun >= 0.19
    assert bench.folding.finished == [1, 2]


async def test_what_waits_for_its_time_is_not_acknowledged(bench: Bench) -> None:
    bench.folding.pace_s = 3600.0
    bench.put(1)
    with bench.running():
        await settle()
        bench.put(2)
        await settle()
        await bench.agent.close(1.0)
    assert bench.progress.committed == {"place": 2}


async def test_a_pace_holds_up_no_more_records_than_are_worked_on_at_a_time(bench: Bench) -> None:
    bench.folding.pace_s = 3600.0
    bench.put(1)
    with bench.running():
        await settle()
        bench.put(*range(2, 11))
        await settle()
        assert bench.folding.worked == [1]
        bench.put(11)
        await settle()
    assert bench.folding.worked == list(range(1, 12))


async def test_a_defect_ends_it(bench: Bench) -> None:
    bench.folding.defect = True
    bench.put(1)
    with bench.running() as task:
        await settle()
        assert isinstance(task.exception(), ValueError)
    assert bench.progress.committed == {}


async def test_closing_waits_for_what_is_in_hand_and_begins_nothing_more(bench: Bench) -> None:
    bench.delivery.open.clear()
    bench.put(1)
    with bench.running():
        await settle()
        closing = asyncio.create_task(bench.agent.close(5))
        bench.put(2)
        await settle()
        assert not closing.done()
        bench.delivery.open.set()
        await closing
        await settle()
    assert bench.folding.worked == [1]
    assert bench.progress.committed == {"place": 2}


async def test_closing_gives_up_waiting_after_its_time(bench: Bench) -> None:
    bench.delivery.open.clear()
    bench.put(1)
    with bench.running():
        await settle()
        await bench.agent.close(0.01)


async def test_closing_what_is_idle_takes_no_time(bench: Bench) -> None:
    with bench.running():
        await bench.agent.close(0.01)


NOW = datetime(2026, 11, 24, tzinfo=UTC)


class States:
    """A table of some states."""

    def __init__(self, count: int) -> None:
        self.count = count

    def entries(self) -> Iterator[tuple[bytes, bytes]]:
        for number in range(self.count):
            yield str(number).encode(), b'{"n": %d}' % number


class Ticks:
    """Publishes; or fails."""

    lane = "test"

    def __init__(self) -> None:
        self.published: list[str] = []
        self.errors: list[Exception] = []
        self.done = asyncio.Event()

    async def publish(self, events: Any) -> None:
        if self.errors:
            raise self.errors.pop(0)
        some = list(events)
        assert len({event.topic for event in some}) == 1
        self.published += [event.key.decode() for event in some]
        self.done.set()

    def event(self, emit: Emit) -> Outgoing:
        return Outgoing(emit.topic, None, emit.key.encode(), b"", [])

    def state(self, stored: bytes) -> State:
        return from_json(stored)


def sweeper(ticks: Ticks, count: int = 3, *, due: bool = True, active: bool = True) -> Sweeper:
    def odd(states: Any, now: datetime) -> Iterator[Emit]:
        assert now >= NOW
        return (Emit("tick", key, {}, key) for key, state in states if state["n"] % 2)

    fold = Fold(
        lane="test",
        table="t",
        topics=(),
        partitions=1,
        step=lambda *_: (None, ()),
        due=odd if due else None,
        sweep_s=0.0,
    )
    table: Any = States(count)
    both: Any = ticks
    return Sweeper(fold, both, table, both, lambda: active)


async def test_a_sweep_publishes_a_tick_for_every_key_that_is_due() -> None:
    ticks = Ticks()
    await sweeper(ticks, 1_100).sweep(NOW)
    assert ticks.published == [str(number) for number in range(1, 1_100, 2)]


async def test_ticks_of_a_topic_are_there_before_those_of_the_next_are_sent() -> None:
    ticks = Ticks()
    sweeps = sweeper(ticks, 2)
    sweeps._due = lambda _states, _now: [
        Emit(topic, key, {}, key) for topic, key in (("a", "1"), ("a", "2"), ("b", "3"))
    ]
    await sweeps.sweep(NOW)
    assert ticks.published == ["1", "2", "3"]
    ticks.errors = [KafkaError("away")]
    with pytest.raises(KafkaError):
        await sweeps.sweep(NOW)
    assert ticks.published == ["1", "2", "3"]


async def test_without_partitions_and_tables_nothing_is_swept() -> None:
    ticks = Ticks()
    await sweeper(ticks, active=False).sweep(NOW)
    assert ticks.published == []


async def test_what_a_sweep_could_not_publish_the_next_one_does(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(sweeping, "_FIRST_S", 0.0)
    ticks = Ticks()
    ticks.errors = [KafkaError("away"), Busy("away too")]
    running = asyncio.create_task(sweeper(ticks).run())
    async with asyncio.timeout(10):
        await ticks.done.wait()
    running.cancel()
    assert ticks.errors == []


async def test_a_fold_that_does_not_care_for_the_time_is_not_swept() -> None:
    ticks = Ticks()
    async with asyncio.timeout(10):
        await sweeper(ticks, due=False).run()
    assert ticks.published == []
