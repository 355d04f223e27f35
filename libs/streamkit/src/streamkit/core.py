"""The core of a worker: what happens comes in as events, decisions go out through ports.

It has no thread and reads no clock but the one that it is given, so a test or a simulation steps
it as well as a real worker does: `handle` events, then `turn`, then wait until `next_at` at most.
"""

import heapq
import itertools
import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

from streamkit.dispatch import Dispatcher, Slot
from streamkit.engines import EngineLoadError
from streamkit.events import (
    Assigned,
    Controlled,
    Delivered,
    Event,
    FeedClosed,
    Lost,
    Records,
    Revoking,
    Stop,
    Woken,
)
from streamkit.feed import Feed
from streamkit.feeding import Feeding
from streamkit.gate import Gate
from streamkit.items import Item, LaneState
from streamkit.job import Job
from streamkit.outside import Outside
from streamkit.policy import Policy
from streamkit.ports import EngineGone, EngineReady, EngineResults
from streamkit.records import Partition
from streamkit.retry import RetryPlan
from streamkit.settle import Settler
from streamkit.standing import (
    MOST_TASKS,
    LaneStanding,
    Pulse,
    Standing,
    State,
    Task,
    readable_key,
)
from streamkit.steering import Steering

RETRY = "retry"
"""Name of the feed of retry topics."""

_STORE_S = 0.05
_CHECK_S = 1.0


def _nothing(_event: Event, _now: float) -> None:
    """Only that the core turns."""


class Core:
    """See the module. Not thread-safe."""

    def __init__(self, job: Job, policy: Policy, slots: Sequence[Slot], outside: Outside) -> None:
        self._clock = outside.clock
        self._meter = outside.meter
        self._lanes = {lane.name: LaneState(lane) for lane in job.lanes}
        self._timers: list[tuple[float, int, Callable[[], None]]] = []
        self._ids = itertools.count(1)
        self._steering = Steering(job.service, policy.stage_rate, self._lanes, outside)
        self._stopping = False
        self._next_store = self._next_check = 0.0
        self._turned = self._clock.monotonic()
        self._open_feeds: Callable[[], Iterable[Feed]] | None = None
        self._pulse: Pulse | None = None
        if outside.tell is not None:
            self._pulse = Pulse(outside.tell, policy.heartbeat_s, self.standing)
        gate = self._gate = Gate(outside.meter)
        self._dispatcher = Dispatcher(slots, self._lanes, policy, gate, outside.meter, job.batching)
        retries = RetryPlan(job.service, policy.retry_tiers)
        self._settler = Settler(job, policy, outside, gate, retries, self.later)
        self._feeding = Feeding(
            self._lanes, policy, retries, self._settler, self._dispatcher, self._ids
        )
        self._acts: Mapping[type[Event], Callable[[Any, float], None]] = {
            Records: self._feeding.records,
            EngineResults: self._results,
            Delivered: self._delivered,
            EngineReady: self._engine_ready,
            EngineGone: self._engine_gone,
            Assigned: self._feeding.assigned,
            Revoking: self._feeding.revoking,
            Lost: self._feeding.lost,
            Controlled: self._controlled,
            FeedClosed: self._feed_closed,
            Stop: self._stop,
            Woken: _nothing,
        }

    # -- from outside ---------------------------------------------------------------------------

    def start(self, open_feeds: Callable[[], Iterable[Feed]]) -> None:
        """Load the engines; `open_feeds` joins the groups once they take work, so that no
        partition waits for a model to load."""
        self._open_feeds = open_feeds
        self._steering.apply()
        self._dispatcher.start(self._clock.monotonic())

    def waiting_for(self) -> list[str]:
        """What readiness still lacks; empty when every lane has its partitions."""
        lacking = self._dispatcher.waiting_for()
        if self._open_feeds is not None:
            return lacking or ["starting"]
        return lacking + [f"partitions of {name}" for name in self._feeding.unassigned()]

    @property
    def over(self) -> bool:
        """Whether it was stopped and everything has left."""
        return self._stopping and all(one.closed for one in self._feeding.sources.values())

    def later(self, seconds: float, then: Callable[[], None]) -> None:
        """Call `then` in a turn after so many seconds."""
        due = self._clock.monotonic() + seconds
        heapq.heappush(self._timers, (due, next(self._ids), then))

    def next_at(self) -> float:
        """Monotonic second at which to turn again though nothing has happened."""
        times = [self._next_check, *self._feeding.deadlines()]
        if self._pulse is not None:
            times.append(self._pulse.next_at())
        if self._timers:
            times.append(self._timers[0][0])
        if self._feeding.dirty:
            times.append(self._next_store)
        others = (self._gate.next_at(self._turned), self._dispatcher.next_at(self._turned))
        return min([*times, *(at for at in others if at is not None)])

    def handle(self, event: Event) -> None:
        """Take note of what happened; a turn acts on it. Raises what ends the worker:
        HandlerDefectError, EngineLoadError, ProducerLostError, a feed's error."""
        self._acts[type(event)](event, self._clock.monotonic())

    def handle_leaving(self, event: Event) -> None:
        """Like handle, for a worker that has failed: engines are not listened to any more, and
        nothing is raised; what is finished is still committed."""
        self._feeding.failed = True
        if isinstance(event, FeedClosed):
            event = event._replace(error=None)
        elif isinstance(event, Delivered):
            event = Delivered([one for one in event.deliveries if one.error is None])
        if not isinstance(event, EngineReady | EngineResults | EngineGone | Controlled):
            self.handle(event)

    def turn(self) -> None:
        """Act on what has happened and on what is due."""
        now = self._turned = self._clock.monotonic()
        while self._timers and self._timers[0][0] <= now:
            heapq.heappop(self._timers)[2]()
        self._feeding.due(now)
        if not self._feeding.failed:
            self._dispatcher.fill(now)
            if self._stopping:
                self._dispatcher.have_said(now)
        self._settler.tell()
        self._feeding.drained(now)
        self._feeding.allow()
        if now >= self._next_store:
            self._next_store = now + _STORE_S
            self._feeding.store()
            self._settler.flush_metrics()
        if now >= self._next_check:
            self._next_check = now + _CHECK_S
            self._check(now)
        if self._pulse is not None:
            self._pulse.turn(self._state, now)

    def close(self) -> None:
        """End the engines; to be called when it is over, or has failed."""
        self._dispatcher.close(2.0)
        self._settler.flush_metrics()
        self._steering.close()
        if self._pulse is not None:
            self._pulse.last()

    # -- partitions come and go -----------------------------------------------------------------

    def _join_groups(self) -> None:
        if self._open_feeds is None or self._dispatcher.waiting_for():
            return
        if self._stopping:
            return
        self._feeding.open(self._open_feeds())
        self._open_feeds = None

    def _feed_closed(self, event: FeedClosed, _now: float) -> None:
        if event.error is not None:
            raise event.error
        if event.feed in self._feeding.sources:  # else it is the publisher's thread that broke
            self._feeding.sources[event.feed].closed = True

    def _stop(self, _event: Stop, now: float) -> None:
        self._stopping = True
        self._feeding.stop(now)

    # -- engines, settings ----------------------------------------------------------------------

    def _engine_ready(self, event: EngineReady, _now: float) -> None:
        self._dispatcher.ready(event.engine)
        self._join_groups()

    def _results(self, event: EngineResults, now: float) -> None:
        found = self._dispatcher.results(event.engine, event.results, now)
        # What comes back from an engine has not begun, unlike what it said something of.
        self._feeding.narrow((item for item, one in found if one.kind != "returned"), now)
        self._settler.settle(found, self._dispatcher.halve, event.engine, now)

    def _delivered(self, event: Delivered, now: float) -> None:
        self._settler.delivered(event.deliveries, now)

    def _controlled(self, event: Controlled, _now: float) -> None:
        self._steering.set(event.control)

    def _engine_gone(self, event: EngineGone, now: float) -> None:
        if event.fatal:
            raise EngineLoadError(event.why)
        items = self._dispatcher.gone(event, now)
        self._settler.lost(items, event.why)

    def _check(self, now: float) -> None:
        self._steering.apply()
        self._dispatcher.check(now)
        oldest: Mapping[str, float] = self._oldest()
        for name, lane in self._lanes.items():
            self._meter.in_flight(name, lane.in_engine)
            self._meter.oldest(name, oldest.get(name, 0.0))

    def _oldest(self) -> dict[str, float]:
        """Seconds since the oldest record under way in each lane was published."""
        first: dict[str, float] = {}
        heads = (lane.queue[0] for lane in self._lanes.values() if lane.queue)
        settler = self._settler
        held = (settler.active(), settler.resending(), settler.resting(), self._feeding.waiting())
        for item in itertools.chain(heads, self._dispatcher.active(), *held):
            stamp = item.record.timestamp_ms / 1000
            if stamp <= 0:  # its producer gave none
                continue
            first[item.lane.name] = min(first.get(item.lane.name, math.inf), stamp)
        now = self._clock.time()
        return {name: max(0.0, now - stamp) for name, stamp in first.items()}

    def partitions(self) -> Mapping[str, Sequence[Partition]]:
        """What each feed has, for status pages and tests."""
        return self._feeding.partitions()

    @property
    def _state(self) -> State:
        if self._stopping:
            return "stopping"
        return "working" if self._open_feeds is None else "starting"

    def standing(self, state: State) -> Standing:
        """How it stands now."""
        self._settler.flush_metrics()
        now, now_s = self._clock.monotonic(), self._clock.time()
        partitions = self.partitions()
        return Standing(
            state,
            tuple(self._lane(lane, partitions.get(lane.name, ())) for lane in self._lanes.values()),
            tuple(
                _task(item, slot.name, now_s - (now - given))
                for slot, item, given in self._dispatcher.oldest(MOST_TASKS)
            ),
        )

    def _lane(self, lane: LaneState, partitions: Sequence[Partition]) -> LaneStanding:
        done, failed = self._settler.finished(lane.name)
        return LaneStanding(
            lane=lane.name,
            partitions=tuple(partitions),
            waiting=lane.waiting,
            in_engine=lane.in_engine,
            concurrency=lane.limit or None,
            rate=lane.per_s or None,
            paused=lane.paused,
            done=done,
            failed=failed,
        )


def _task(item: Item, engine: str, since: float) -> Task:
    record = item.record
    return Task(
        lane=item.lane.name,
        topic=record.topic,
        partition=record.partition,
        offset=record.offset,
        key=readable_key(record.key),
        attempt=item.attempt,
        engine=engine,
        since=since,
    )
