"""Harm to a world's workers, their broker and their Redis, by chance; and a record of it."""

import math
import os
import random
import signal
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import datetime
from typing import Final

from darkroom_cli.stack import Stack
from darkroom_cli.supervision.state import Phase, StackState
from streamkit import PublishError
from worker_audit import Audit, Committed, Harm
from worker_process import WorkerProcess, until
from worker_tasks import LANES
from worker_world import Task, World

PER_SECOND: Final = 170

SESSION_S: Final = 10.0
"""After so long without a word the broker gives a member's partitions to others."""

UNDER_WAY_S: Final = 2 * SESSION_S
"""So long after a worker was harmed may arrive what it did before it learned of that."""


@dataclass
class Chaos:
    """Does harm to a world's workers, and remembers what it did."""

    world: World
    stack: Stack
    protocol: str
    chance: random.Random
    audit: Audit
    broker_end: signal.Signals = signal.SIGKILL
    harms: list[Harm] = field(default_factory=list)
    faults: list[float] = field(default_factory=list)
    slots: dict[str, WorkerProcess] = field(default_factory=dict)
    stopped: dict[str, tuple[float, float, Committed]] = field(default_factory=dict)
    """Slots whose workers stand still: until when, since when, and what was committed then."""
    absent: dict[str, float] = field(default_factory=dict)
    """Slots without a worker, and when they shall have one again."""
    ended: list[str] = field(default_factory=list)
    """Workers that ended by themselves."""
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
        self.tell(f"{name} joins")
        return worker

    def kill(self) -> None:
        """`kill -9` of a worker, which comes back after a second."""
        slot = self._victim()
        worker = self.slots.pop(slot)
        now = time.time()
        worker.kill()
        # What it has sent by then the broker may come to append much later.
        self._harm("kill", worker, now, math.inf, self.audit.last_committed())
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
        self.tell(f"{worker.name} leaves")
        committed, now = self.audit.last_committed(), time.time()
        self.faults.append(now)
        assert worker.stop() == 0
        if any(worker.lines(event) for event in ("commit_failed", "close_unanswered")):
            # While a group waits for a member that was killed in a rebalance, the broker takes no
            # commit, and who leaves then says so after 5 s.
            self._harm("leave", worker, now, math.inf, committed)
        self.absent[slot] = time.monotonic() + 2.0

    def restart_broker(self) -> None:
        """End the broker as `broker_end` says; its supervisor starts it again. After SIGKILL that
        takes 10 s longer, since the broker waits for its own session to end."""
        before = self.stack.wait_until(is_up("kafka", 0), 60, "it is up").process("kafka").restarts
        committed, now = self.audit.last_committed(), time.time()
        os.kill(self.stack.pid("kafka"), self.broker_end)
        self.tell(f"the broker gets {self.broker_end.name}")
        self.stack.wait_until(is_up("kafka", before + 1), 60, "it is back")
        self.tell("the broker is back")
        for worker in self.slots.values():
            # Its group may hear from it too late, which it learns within a session.
            self._harm("broker", worker, now, time.time() + UNDER_WAY_S, committed)
        self.faults.append(time.time())

    def restart_redis(self) -> None:
        """`kill -9` of Redis."""
        os.kill(self.stack.pid("redis"), signal.SIGKILL)
        self.tell("Redis is killed")

    def tend(self) -> None:
        """What has become due: workers that go on, and that come back, as their supervisor has
        those do that ended by themselves."""
        now = time.monotonic()
        for slot in [slot for slot, worker in self.slots.items() if worker.ended]:
            worker = self.slots.pop(slot)
            reasons = [line.get("reason") for line in worker.lines("failed")]
            self.ended.append(f"{worker.name} ended by itself: {worker.code()} {reasons}")
            self.tell(self.ended[-1])
            self._harm("end", worker, time.time(), math.inf, self.audit.last_committed())
            self.absent[slot] = now + 1.0
        for slot in [slot for slot, (at, *_) in self.stopped.items() if at <= now]:
            _, since, committed = self.stopped.pop(slot)
            self.slots[slot].send(signal.SIGCONT)
            self.tell(f"{self.slots[slot].name} goes on")
            # It takes a moment until it learns that it has lost its partitions.
            self._harm("stop", self.slots[slot], since, time.time() + UNDER_WAY_S, committed)
        for slot in [slot for slot, at in self.absent.items() if at <= now]:
            del self.absent[slot]
            self.start(slot)

    def losses(self) -> Sequence[Harm]:
        """What workers say themselves: their partitions were taken from them, whoever's fault that
        was (a machine that stood still, say). What they have in hand then is done once more."""
        return [
            Harm(
                "loss",
                worker.name,
                at,
                at + UNDER_WAY_S,
                self.audit.committed_before(at - SESSION_S),
            )
            for worker in self.world.workers
            for line in worker.lines("lost")
            for at in [datetime.fromisoformat(line["timestamp"]).timestamp()]
        ]

    def _stop(self, seconds: float) -> None:
        slot = self._victim()
        self.tell(f"{self.slots[slot].name} is stopped for {seconds:.1f} s")
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
        self.tell(f"{what}: {worker.name}")

    def tell(self, what: str) -> None:
        """A line of the story."""
        self.story.append(f"{time.strftime('%H:%M:%S')} {what}")


def is_up(name: str, restarts: int) -> Callable[[StackState], bool]:
    """Whether a program answers, after so many restarts."""

    def holds(state: StackState) -> bool:
        process = state.process(name)
        return process.phase is Phase.READY and process.restarts >= restarts

    return holds


@contextmanager
def asking(world: World, tasks: Sequence[Task]) -> Iterator[Future[None]]:
    """Publish these at a steady pace, from another thread. At the end it is stopped; what went
    wrong in it is raised."""
    over = threading.Event()

    def publish() -> None:
        began, sent = time.monotonic(), 0
        while sent < len(tasks) and not over.wait(0.1):
            due = min(len(tasks), int(PER_SECOND * (time.monotonic() - began)))
            if due > sent:
                try:
                    world.ask(*tasks[sent:due])
                except PublishError:  # the broker is away for long: all of them again
                    continue
                sent = due

    with ThreadPoolExecutor(1) as pool:
        asked = pool.submit(publish)
        try:
            yield asked
        finally:
            over.set()
            asked.result()


def tasks_for(chance: random.Random, count: int) -> list[Task]:
    """Mostly work, some of it urgent; a few fail once or twice, a few for good."""
    tasks = []
    for number in range(count):
        lane = "high" if chance.random() < 0.1 else "batch"
        do, amount = chance.choices([("wait", 4), ("retry", 1), ("retry", 2), ("reject", "")],
                                    [96, 2, 1, 1])[0]  # fmt: skip
        tasks.append(Task(f"{number}", do, amount, lane))
    return tasks


def all_is_committed(chaos: Chaos) -> bool:
    """Whether the groups have committed all that there is."""
    committed = chaos.audit.last_committed()
    ends = chaos.world.ends(*LANES.values())
    return all(committed.get(place, 0) == end for place, end in ends.items())
