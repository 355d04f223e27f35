"""Workers that are killed, stopped, joined and left while they work; a broker and a Redis too."""

import os
import random
import signal
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

import pytest

from darkroom_cli.stack import Stack
from darkroom_cli.supervision.state import Phase, StackState
from worker_audit import Audit, Committed, Harm
from worker_process import WorkerProcess, until
from worker_tasks import LANES
from worker_world import Places, Task, World

RECORDS: Final = 5000
PER_SECOND: Final = 150
SLOTS: Final = ("a", "b", "c")

AGAIN_S: Final = 15.0
"""So long after a kill work goes on, at the latest: a session of 10 s, and a rebalance."""

FAULT_EVERY_S: Final = 3.0


@pytest.fixture(scope="module")
def stack(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    """A broker, a registry and a Redis that the tests may kill."""
    wanted = ("redis", "kafka", "registry")
    with Stack(tmp_path_factory.mktemp("stack"), services=(), infrastructure=wanted) as stack:
        yield stack


@pytest.fixture
def world(stack: Stack, tmp_path: Path) -> Iterator[World]:
    places = Places(*(stack.address(name) for name in ("kafka", "registry", "redis")))
    world = World(places, tmp_path, partitions=6)
    yield world
    world.close()


@contextmanager
def asking(world: World, tasks: Sequence[Task]) -> Iterator[threading.Thread]:
    """Publish these at a steady pace, from another thread."""
    over = threading.Event()

    def publish() -> None:
        began, sent = time.monotonic(), 0
        while sent < len(tasks) and not over.wait(0.1):
            due = min(len(tasks), int(PER_SECOND * (time.monotonic() - began)))
            if due > sent:
                world.ask(*tasks[sent:due])
                sent = due

    thread = threading.Thread(target=publish)
    thread.start()
    try:
        yield thread
    finally:
        over.set()
        thread.join()


def tasks_for(chance: random.Random, count: int) -> list[Task]:
    """Mostly work, some of it urgent; a few fail once or twice, a few for good."""
    tasks = []
    for number in range(count):
        lane = "high" if chance.random() < 0.1 else "batch"
        do, amount = chance.choices([("wait", 4), ("retry", 1), ("retry", 2), ("reject", "")],
                                    [96, 2, 1, 1])[0]  # fmt: skip
        tasks.append(Task(f"{number}", do, amount, lane))
    return tasks


@dataclass
class Chaos:
    """Does harm to a world's workers, and remembers what it did."""

    world: World
    stack: Stack
    protocol: str
    chance: random.Random
    audit: Audit
    harms: list[Harm] = field(default_factory=list)
    faults: list[float] = field(default_factory=list)
    killed: list[float] = field(default_factory=list)
    slots: dict[str, WorkerProcess] = field(default_factory=dict)
    stopped: dict[str, tuple[float, float, Committed]] = field(default_factory=dict)
    """Slots whose workers stand still: until when, since when, and what was committed then."""
    absent: dict[str, float] = field(default_factory=dict)
    """Slots without a worker, and when they shall have one again."""
    story: list[str] = field(default_factory=list)

    def start(self, slot: str) -> WorkerProcess:
        """Have a worker join."""
        name = f"{slot}-{len(self.world.workers)}"
        worker = self.world.worker(
            name,
            group_protocol=self.protocol,
            # A static member, where there is such a thing: its partitions come back with it.
            group_member=slot if self.protocol == "classic" else "",
            lane_records=200,
            stage_rate="2000/s",
        )
        self.slots[slot] = worker
        self._tell(f"{name} joins")
        return worker

    def kill(self) -> None:
        """`kill -9` of a worker, which comes back after a second."""
        slot = self._victim()
        worker = self.slots.pop(slot)
        now = time.time()
        worker.kill()
        self.killed.append(now)
        self._harm("kill", worker, now, now + 1.0, self.audit.last_committed())
        self.absent[slot] = time.monotonic() + 1.0

    def stop_short(self) -> None:
        """A worker stands still for less than a session."""
        self._stop(self.chance.uniform(2, 5))

    def stop_long(self) -> None:
        """A worker stands still, loses its partitions, and goes on."""
        self._stop(12.5)

    def leave(self) -> None:
        """A worker is asked to stop, and does; it comes back after two seconds."""
        until(self._at_work, "somebody is at work")
        slot = self.chance.choice(self._at_work())
        worker = self.slots.pop(slot)
        self._tell(f"{worker.name} leaves")
        self.faults.append(time.time())
        assert worker.stop(timeout_s=10) == 0
        self.absent[slot] = time.monotonic() + 2.0

    def restart_broker(self) -> None:
        """`kill -9` of the broker, which its supervisor starts again."""
        before = self.stack.wait_until(is_up("kafka", 0), 60, "it is up").process("kafka").restarts
        committed, now = self.audit.last_committed(), time.time()
        os.kill(self.stack.pid("kafka"), signal.SIGKILL)
        self._tell("the broker is killed")
        self.stack.wait_until(is_up("kafka", before + 1), 60, "it is back")
        self._tell("the broker is back")
        for worker in self.slots.values():
            self._harm("broker", worker, now, time.time() + AGAIN_S, committed)
        self.faults.append(time.time())

    def restart_redis(self) -> None:
        """`kill -9` of Redis."""
        os.kill(self.stack.pid("redis"), signal.SIGKILL)
        self._tell("Redis is killed")

    def tend(self) -> None:
        """What has become due: workers that go on, and that come back."""
        now = time.monotonic()
        for slot in [slot for slot, (at, *_) in self.stopped.items() if at <= now]:
            _, since, committed = self.stopped.pop(slot)
            self.slots[slot].send(signal.SIGCONT)
            self._tell(f"{self.slots[slot].name} goes on")
            # It takes a moment until it learns that it has lost its partitions.
            self._harm("stop", self.slots[slot], since, time.time() + 5.0, committed)
            self.faults.append(time.time())
        for slot in [slot for slot, at in self.absent.items() if at <= now]:
            del self.absent[slot]
            self.start(slot)

    def _stop(self, seconds: float) -> None:
        slot = self._victim()
        self._tell(f"{self.slots[slot].name} is stopped for {seconds:.1f} s")
        self.slots[slot].send(signal.SIGSTOP)
        now = time.time()
        self.stopped[slot] = (time.monotonic() + seconds, now, self.audit.last_committed())

    def _victim(self) -> str:
        return self.chance.choice(sorted(self.slots.keys() - self.stopped.keys()))

    def _at_work(self) -> list[str]:
        going = sorted(self.slots.keys() - self.stopped.keys())
        return [slot for slot in going if self.slots[slot].lines("assigned")]

    def _harm(
        self, what: str, worker: WorkerProcess, since: float, till: float, committed: Committed
    ) -> None:
        self.faults.append(since)
        self.harms.append(Harm(what, worker.name, since, till, committed))
        self._tell(f"{what}: {worker.name}")

    def _tell(self, what: str) -> None:
        self.story.append(f"{time.strftime('%H:%M:%S')} {what}")


def is_up(name: str, restarts: int) -> Callable[[StackState], bool]:
    """Whether a program answers, after so many restarts."""

    def holds(state: StackState) -> bool:
        process = state.process(name)
        return process.phase is Phase.READY and process.restarts >= restarts

    return holds


def a_schedule(chaos: Chaos) -> list[Callable[[], None]]:
    """What happens, in a random order; the long stop early, so that it ends in time."""
    acts = [chaos.kill] * 4 + [chaos.stop_short, chaos.leave]
    acts += [chaos.restart_broker, chaos.restart_redis]
    chaos.chance.shuffle(acts)
    return [*acts[:2], chaos.stop_long, *acts[2:]]


@pytest.mark.parametrize("protocol", ["consumer", "classic"])
def test_whatever_happens_to_workers_nothing_is_lost_and_work_goes_on(
    world: World, stack: Stack, protocol: str
) -> None:
    seed = int(os.environ.get("CHAOS_SEED", random.randrange(10_000)))
    chance = random.Random(seed)
    chaos = Chaos(world, stack, protocol, chance, Audit(world))
    try:
        run(chaos, tasks_for(chance, RECORDS))
    finally:
        # Shown if the test fails; CHAOS_SEED makes the same choices again.
        print(f"CHAOS_SEED={seed}", *chaos.story, sep="\n")  # noqa: T201


def run(chaos: Chaos, tasks: Sequence[Task]) -> None:
    world, audit = chaos.world, chaos.audit
    chaos.start("a").ready()
    acts = a_schedule(chaos)
    with asking(world, tasks) as thread:
        chaos.absent = {"b": time.monotonic() + 1.0, "c": time.monotonic() + 3.0}
        next_at = time.monotonic() + 6.0
        while acts or thread.is_alive():
            chaos.tend()
            if acts and time.monotonic() >= next_at:
                acts.pop(0)()
                next_at = time.monotonic() + FAULT_EVERY_S
            audit.look()
            time.sleep(0.1)
    names = {task.name for task in tasks}

    def all_is_done() -> bool:
        chaos.tend()
        return names <= set(world.names())

    until(all_is_done, "nothing is lost")
    until(lambda: all_is_committed(chaos), "all is committed", 20)
    audit.look()
    repeated = audit.repeated(chaos.harms)
    failed = {one.name for one in world.done() if one.failure}
    assert failed == {task.name for task in tasks if task.do == "reject"}
    silences = audit.silences(chaos.faults)
    assert max(silences) <= AGAIN_S
    chaos.story.append(f"repeated {dict(repeated)}, silences {silences}, looks {audit.looks}")


def all_is_committed(chaos: Chaos) -> bool:
    """Whether the groups have committed all that there is."""
    committed = chaos.audit.last_committed()
    ends = chaos.world.ends(*LANES.values())
    return all(committed.get(place, 0) == end for place, end in ends.items())


# -- without violence ---------------------------------------------------------------------------


@pytest.mark.parametrize("protocol", ["consumer", "classic"])
def test_a_group_is_restarted_one_by_one_under_load_with_nothing_lost_and_nothing_twice(
    world: World, stack: Stack, protocol: str
) -> None:
    chaos = Chaos(world, stack, protocol, random.Random(1), Audit(world))
    for worker in [chaos.start(slot) for slot in SLOTS]:
        worker.ready()
    tasks = tasks_for(chaos.chance, RECORDS)
    with asking(world, tasks):
        until(lambda: len(world.names()) > 100, "they work")
        for slot in SLOTS:
            before = len(world.names())
            assert chaos.slots[slot].stop(timeout_s=10) == 0
            chaos.start(slot).ready()
            chaos.audit.look()
            until(lambda: len(world.names()) > before + 100, "work goes on")  # noqa: B023
    asked = len(world.all_of(LANES["batch"])) + len(world.all_of(LANES["high"]))
    until(lambda: len(world.names()) >= asked, "all is done")
    until(lambda: all_is_committed(chaos), "all is committed", 20)
    chaos.audit.look()
    assert chaos.audit.repeated([]) == {}
    assert set(Counter(one.id for one in world.all_done()).values()) == {1}
    assert len(world.done()) == asked
