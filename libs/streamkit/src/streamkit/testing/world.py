"""A broker in memory and workers on it, stepped by hand: no threads, no real time.

Everything that a real worker does in threads happens here in turns, in an order that depends on
nothing but what was called: the same calls give the same run.
"""

import heapq
import itertools
import random
from collections import deque
from collections.abc import Callable, Iterable, Sequence
from functools import partial
from typing import Final, Protocol

from streamkit.core import RETRY, Core
from streamkit.dispatch import Slot
from streamkit.events import Delivered, Drain, Event, FeedClosed, Stop
from streamkit.feed import Feed
from streamkit.job import HIGH, Job, group_of
from streamkit.memory.backend import MemoryBackend
from streamkit.memory.broker import MemoryBroker
from streamkit.messages import Emit
from streamkit.metrics import Meter
from streamkit.outside import Outside
from streamkit.policy import Policy
from streamkit.ports import Engine, Producer, Report
from streamkit.records import RawRecord
from streamkit.retry import RetryPlan
from streamkit.standing import Tell
from streamkit.testing.clock import FakeClock


class MakeEngine(Protocol):
    """Makes an engine of that name, which reports so."""

    def __call__(self, name: str, *, report: Report) -> Engine: ...


MakeSlots = Callable[[Callable[[str], Engine]], Sequence[Slot]]
"""Which engines a worker has for which lanes, given what makes one of a name."""


_REST_S: Final = 0.5
"""A worker that nothing happens to takes a turn so often: its consumers commit in the background,
and are heard of."""


class Steps(Protocol):
    """What takes turns in a World."""

    def step(self) -> bool:
        """Do what there is to do now; whether there was anything."""

    def next_at(self) -> float | None:
        """When there will be something to do by itself."""


class World:
    """A clock, a broker, and what lives on them."""

    def __init__(self, *, partitions: int = 4) -> None:
        self.clock = FakeClock()
        self.broker = MemoryBroker(self.clock, partitions=partitions)
        self.members: list[Steps] = []
        self._agenda: list[tuple[float, int, Callable[[], None]]] = []
        self._numbers = itertools.count()
        self._declared: set[str] = set()

    def declare(self, topic: str, partitions: int, *, append_time: bool = False) -> None:
        """Create a topic, unless that was done before."""
        if topic not in self._declared:
            self._declared.add(topic)
            self.broker.declare(topic, partitions, append_time=append_time)

    def later(self, seconds: float, then: Callable[[], None]) -> None:
        """Have `then` called when the clock has gone on so far."""
        due = self.clock.now + seconds
        heapq.heappush(self._agenda, (due, next(self._numbers), then))

    def settle(self, most: int = 100_000) -> None:
        """Step everything until nothing happens without time going on.

        Raises RuntimeError if it never comes to rest.
        """
        for _ in range(most):
            if not self.step():
                return
        raise RuntimeError("the world does not come to rest: something works without end")

    def step(self) -> bool:
        """One turn of everything; whether anything happened."""
        happened = False
        while self._agenda and self._agenda[0][0] <= self.clock.now:
            heapq.heappop(self._agenda)[2]()
            happened = True
        for member in list(self.members):
            happened = member.step() or happened
        return happened

    def advance(self, seconds: float) -> None:
        """Let time go by, and everything happen that then does.

        A worker that gives partitions up with work in hand takes its time, then it may be more.
        """
        end = self.clock.now + seconds
        self.settle()
        while (moment := self.next_at()) <= end:
            self.clock.move_to(moment)
            self.settle()
        self.clock.move_to(end)
        self.settle()

    def next_at(self) -> float:
        """The next moment at which something is due."""
        times = [at for one in self.members if (at := one.next_at()) is not None]
        if self._agenda:
            times.append(self._agenda[0][0])
        # Every step hears of all members of groups, so a second without one is too long.
        return max(min([*times, self.clock.now + 1.0]), self.clock.now + 1e-6)

    def wait_for(self, done: Callable[[], bool], timeout_s: float) -> bool:
        """Let time go by until `done`; whether it came to that."""
        end = self.clock.now + timeout_s
        while not done():
            if not self.step() and not done():
                if self.clock.now >= end:
                    return False
                self.clock.move_to(min(end, self.next_at()))
        return True


class SteppedWorker:
    """A worker in a World: the same core and feeds as a real one has."""

    def __init__(  # noqa: PLR0913 - wiring
        self,
        world: World,
        job: Job,
        make_engine: MakeEngine,
        *,
        policy: Policy | None = None,
        encode: Callable[[Emit], RawRecord] | None = None,
        slots: MakeSlots | None = None,
        tell: Tell | None = None,
        seed: int = 0,
    ) -> None:
        self.job = job
        self.frozen = False
        self.dead = False
        self._world = world
        self._policy = policy or Policy()
        self._plan = RetryPlan(job.service, self._policy.retry_tiers)
        self._inbox: deque[Event] = deque()
        self._feeds: list[Feed] = []
        self._draining: set[int] = set()
        self._due = 0.0
        self._seen = -1
        self._backend = MemoryBackend(world.broker)
        self._producer: Producer = self._backend.producer(job.service)
        self._declare_retries()
        outside = Outside(
            world.clock,
            self._producer,
            Meter(job.service, [lane.name for lane in job.lanes]),
            encode,
            tell=tell,
            chance=random.Random(seed),  # noqa: S311 - jitter
        )
        make_slots = slots or partial(slots_of, job)
        self.core = Core(
            job, self._policy, make_slots(partial(make_engine, report=self.post)), outside
        )
        self._handle = self.core.handle
        self.core.start(self._open_feeds)
        world.members.append(self)

    def post(self, event: Event) -> None:
        """Tell the core."""
        self._inbox.append(event)

    def stop(self) -> None:
        """Ask it to drain and leave, as SIGTERM does."""
        self.post(Stop())

    def kill(self) -> None:
        """End it as kill -9 does: nothing is said, committed or handed back."""
        self.dead = True
        self._leave()

    def leave(self) -> None:
        """Have it leave after a failure, as a real one does once its core has raised."""
        self._handle = self.core.handle_leaving
        self.core.handle(Stop())

    @property
    def over(self) -> bool:
        """Whether it has drained and left."""
        return self.core.over

    def step(self) -> bool:
        """See Steps."""
        if self.frozen or self.dead or self.core.over or self._nothing_to_do():
            return False
        happened = self._pump()
        for feed in list(self._feeds):
            if id(feed) not in self._draining and not feed.ended:
                self._turn(feed)
        happened = self._pump() or happened
        now = self._world.clock.now
        self._due = max(now + 1e-3, min(now + _REST_S, self.core.next_at()))
        if self.core.over:
            self._leave()
        return happened

    def next_at(self) -> float | None:
        """See Steps."""
        if self.frozen or self.core.over:
            return None
        return self._due

    def _leave(self) -> None:
        if self in self._world.members:
            self._world.members.remove(self)

    def _nothing_to_do(self) -> bool:
        """Whether it is as it was after the last step: most of the time, for most workers."""
        self._hear_of_deliveries()
        if self._inbox or self._world.clock.now >= self._due or any(f.ordered for f in self._feeds):
            return False
        seen, self._seen = self._seen, self._world.broker.changes
        return seen == self._seen

    def _hear_of_deliveries(self) -> None:
        deliveries = self._producer.poll(0)
        if deliveries:
            self.post(Delivered(deliveries))

    def _pump(self) -> bool:
        self._hear_of_deliveries()
        happened = bool(self._inbox)
        while self._inbox:
            self._handle(self._inbox.popleft())
        self.core.turn()
        return happened or bool(self._inbox)

    def _turn(self, feed: Feed) -> None:
        self._draining.add(id(feed))
        try:
            feed.turn(0)
        finally:
            self._draining.discard(id(feed))
        if feed.ended and not self.dead:
            self.post(FeedClosed(feed.name, None))

    def _drained(self, drain: Drain) -> bool:
        """Let the world go on until the core has answered; the feed that asks stands still."""
        return self._world.wait_for(lambda: drain.over or self.dead, self._policy.drain_s + 1.0)

    def _open_feeds(self) -> Iterable[Feed]:
        wanted = [(lane.name, lane.topics) for lane in self.job.lanes]
        if self._plan.topics():
            wanted.append((RETRY, self._plan.topics()))
        for name, topics in wanted:
            group = group_of(self.job.service, name)
            feed = Feed(
                name, self._backend, group, topics, self.post, self._world.clock, self._drained
            )
            self._feeds.append(feed)
            yield feed

    def _declare_retries(self) -> None:
        for topic in self._plan.topics():
            self._world.declare(topic, 2, append_time=True)


def slots_of(job: Job, make: Callable[[str], Engine]) -> Sequence[Slot]:
    """The engines that a worker has by default: one for the lane high beside that of the others."""
    names = frozenset(lane.name for lane in job.lanes)
    if job.isolation == "thread" or HIGH not in names or len(names) == 1:
        return [Slot(make("all"), names)]
    return [Slot(make(HIGH), frozenset({HIGH})), Slot(make("bulk"), names - {HIGH})]
