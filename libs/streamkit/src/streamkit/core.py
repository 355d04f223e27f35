"""The core of a worker: what happens comes in as events, decisions go out through ports.

It has no thread and reads no clock but the one that it is given, so a test or a simulation steps
it as well as a real worker does: `handle` events, then `turn`, then wait until `next_at` at most.
"""

import heapq
import itertools
import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

import structlog

from streamkit.dispatch import Dispatcher, Slot
from streamkit.errors import Reject
from streamkit.events import (
    Assigned,
    Controlled,
    Delivered,
    Drain,
    Event,
    FeedClosed,
    Lost,
    Records,
    Revoking,
    Stop,
    Woken,
)
from streamkit.feed import Feed
from streamkit.gate import Gate
from streamkit.items import Claim, Item, LaneState, Source, Waiting
from streamkit.job import Job
from streamkit.outside import Outside
from streamkit.policy import Policy
from streamkit.ports import EngineGone, EngineReady, EngineResults
from streamkit.records import Partition, Taken
from streamkit.retry import Origin, RetryPlan
from streamkit.settle import Settler
from streamkit.steering import Steering
from streamkit.tracker import OffsetTracker

_log = structlog.get_logger("streamkit.core")

RETRY = "retry"
"""Name of the feed of retry topics."""

_STORE_S = 0.05
_CHECK_S = 1.0
_EARLY = 64
"""Records of one partition of a retry topic that wait here; then the partition stands still until
the first is due."""

_RETRY_ROOM = 2_000


def _nothing(_event: Event, _now: float) -> None:
    """Only that the core turns."""


class EngineLoadError(RuntimeError):
    """The handlers can't be loaded: a setting or an installation has to be put right."""


class Leaving:
    """Partitions that are to go once nothing of them is in hand, or at the deadline."""

    def __init__(self, drain: Drain, claims: Sequence[Claim], deadline: float) -> None:
        self.drain = drain
        self.claims = claims
        self.deadline = deadline


class Core:
    """See the module. Not thread-safe."""

    def __init__(self, job: Job, policy: Policy, slots: Sequence[Slot], outside: Outside) -> None:
        self._job = job
        self._policy = policy
        self._outside = outside
        self._clock = outside.clock
        self._meter = outside.meter
        self._retries = RetryPlan(job.service, policy.retry_tiers)
        self._lanes = {lane.name: LaneState(lane) for lane in job.lanes}
        self._topics = {lane.name: frozenset(lane.topics) for lane in job.lanes}
        self._sources: dict[str, Source] = {}
        self._leaving: list[Leaving] = []
        self._timers: list[tuple[float, int, Callable[[], None]]] = []
        self._ids = itertools.count(1)
        self._steering = Steering(job.service, policy.stage_rate, self._lanes, outside)
        self._stopping = False
        self._failed = False
        self._next_store = self._next_check = 0.0
        self._open_feeds: Callable[[], Iterable[Feed]] | None = None
        gate = self._gate = Gate(outside.meter)
        self._dispatcher = Dispatcher(slots, self._lanes, policy, gate, outside.meter, job.batching)
        self._settler = Settler(job, policy, outside, gate, self._retries, self.later)
        self._acts: Mapping[type[Event], Callable[[Any, float], None]] = {
            Records: self._records,
            EngineResults: self._results,
            Delivered: self._delivered,
            EngineReady: self._engine_ready,
            EngineGone: self._engine_gone,
            Assigned: self._assigned,
            Revoking: self._revoking,
            Lost: self._lost,
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
        self._dispatcher.start()

    def waiting_for(self) -> list[str]:
        """What readiness still lacks; empty when every lane has its partitions."""
        lacking = self._dispatcher.waiting_for()
        if self._open_feeds is not None:
            return lacking or ["starting"]
        return lacking + [
            f"partitions of {name}" for name, one in [*self._sources.items()] if not one.assigned
        ]

    @property
    def over(self) -> bool:
        """Whether it was stopped and everything has left."""
        return self._stopping and all(one.closed for one in self._sources.values())

    def later(self, seconds: float, then: Callable[[], None]) -> None:
        """Call `then` in a turn after so many seconds."""
        due = self._clock.monotonic() + seconds
        heapq.heappush(self._timers, (due, next(self._ids), then))

    def next_at(self) -> float:
        """Monotonic second at which to turn again though nothing has happened."""
        now = self._clock.monotonic()
        times = [self._next_check, *(one.deadline for one in self._leaving)]
        if self._timers:
            times.append(self._timers[0][0])
        if any(source.dirty for source in self._sources.values()):
            times.append(self._next_store)
        times += [one.waiting[0].due for one in self._sources.values() if one.waiting]
        for at in (self._gate.next_at(now), self._dispatcher.next_at(now)):
            if at is not None:
                times.append(at)
        return min(times)

    def handle(self, event: Event) -> None:
        """Take note of what happened; a turn acts on it. Raises what ends the worker:
        HandlerDefectError, EngineLoadError, ProducerLostError, a feed's error."""
        self._acts[type(event)](event, self._clock.monotonic())

    def handle_leaving(self, event: Event) -> None:
        """Like handle, for a worker that has failed: engines are not listened to any more, and
        nothing is raised; what is finished is still committed."""
        self._failed = True
        if isinstance(event, FeedClosed):
            event = event._replace(error=None)
        elif isinstance(event, Delivered):
            event = Delivered([one for one in event.deliveries if one.error is None])
        if not isinstance(event, EngineReady | EngineResults | EngineGone | Controlled):
            self.handle(event)

    def turn(self) -> None:
        """Act on what has happened and on what is due."""
        now = self._clock.monotonic()
        while self._timers and self._timers[0][0] <= now:
            heapq.heappop(self._timers)[2]()
        for source in self._sources.values():
            if source.waiting:
                self._due(source, now)
        if not self._stopping:
            self._dispatcher.fill(now)
        self._settler.tell()
        self._drained(now)
        self._allow()
        if now >= self._next_store:
            self._next_store = now + _STORE_S
            self._store()
            self._settler.flush_metrics()
        if now >= self._next_check:
            self._next_check = now + _CHECK_S
            self._check(now)

    def close(self) -> None:
        """End the engines; to be called when it is over, or has failed."""
        self._dispatcher.close(2.0)
        self._settler.flush_metrics()
        self._steering.close()

    # -- partitions come and go -----------------------------------------------------------------

    def _join_groups(self) -> None:
        if self._open_feeds is None or self._dispatcher.waiting_for():
            return
        if self._stopping:
            return
        for feed in self._open_feeds():
            lane = self._lanes.get(feed.name)
            feed.capacity = self._policy.lane_records if lane else _RETRY_ROOM
            self._sources[feed.name] = Source(feed, lane)
        self._open_feeds = None
        self._allow()

    def _assigned(self, event: Assigned, _now: float) -> None:
        source = self._sources[event.feed]
        source.epoch += 1
        source.assigned = True
        for partition in event.partitions:
            stale = source.claims.get(partition)
            if stale is not None:
                self._release(source, [stale])
            window = self._policy.window if source.lane else _RETRY_ROOM
            tracker = OffsetTracker(partition, source.epoch, window)
            source.claims[partition] = Claim(source, tracker)
        # What was held of an earlier claim may reach the feed only now.
        source.feed.free(event.partitions)
        self._meter.rebalance(event.feed, "assigned")

    def _revoking(self, event: Revoking, now: float) -> None:
        """Stop what has not begun of these partitions; the rest may end within the deadline."""
        source = self._sources[event.feed]
        claims = [source.claims[one] for one in event.partitions if one in source.claims]
        for claim in claims:
            claim.leaving = True
        self._forget(source, lambda item: item.claim.leaving)
        if any(item.claim.leaving for item in self._dispatcher.active()):
            self._dispatcher.recall()
        deadline = now + self._policy.drain_s / (2 if self._failed else 1)
        self._leaving.append(Leaving(event.drain, claims, deadline))
        self._meter.rebalance(event.feed, "revoked")

    def _drained(self, now: float) -> None:
        """Let go of partitions that nothing is in hand of any more."""
        if not self._leaving:
            return
        busy = {id(item.claim) for item in self._settler.active()}
        if not self._failed:
            busy |= {id(item.claim) for item in self._dispatcher.active()}
        for leaving in list(self._leaving):
            late = now >= leaving.deadline
            if not late and any(id(claim) in busy for claim in leaving.claims):
                continue
            self._leaving.remove(leaving)
            if not leaving.claims:
                leaving.drain.answer({})
                continue
            source = leaving.claims[0].source
            if late:
                self._meter.drain_overrun(source.feed.name)
                _log.warning("drain_overrun", lane=source.feed.name)
            # The whole position: what was handed to the feed to commit may still wait there.
            offsets = {one.tracker.partition: at for one in leaving.claims
                       if (at := one.tracker.position()) is not None}  # fmt: skip
            self._release(source, leaving.claims)
            leaving.drain.answer(offsets)

    def _lost(self, event: Lost, _now: float) -> None:
        source = self._sources[event.feed]
        self._release(source, [source.claims[p] for p in event.partitions if p in source.claims])
        self._meter.rebalance(event.feed, "lost")

    def _release(self, source: Source, claims: Sequence[Claim]) -> None:
        """These are not ours any more: what comes late of them is dropped."""
        for claim in claims:
            claim.leaving = True
            claim.tracker.close()
            partition = claim.tracker.partition
            if source.claims.get(partition) is claim:
                del source.claims[partition]
                source.dirty.discard(partition)
                source.held.discard(partition)
                source.early.pop(partition, None)
        self._forget(source, lambda item: item.gone)

    def _forget(self, source: Source, unwanted: Callable[[Item], bool]) -> None:
        lanes = [source.lane] if source.lane else self._lanes.values()
        for lane in lanes:
            lane.drop(unwanted)
        if source.waiting:
            source.waiting = [one for one in source.waiting if not unwanted(one.item)]
            heapq.heapify(source.waiting)

    def _feed_closed(self, event: FeedClosed, _now: float) -> None:
        if event.error is not None:
            raise event.error
        if event.feed in self._sources:  # else it is the publisher's thread that broke
            self._sources[event.feed].closed = True

    def _stop(self, _event: Stop, _now: float) -> None:
        self._stopping = True
        self._dispatcher.recall()
        for source in self._sources.values():
            source.feed.end()

    # -- records --------------------------------------------------------------------------------

    def _records(self, event: Records, now: float) -> None:
        source = self._sources[event.feed]
        source.received += len(event.records)
        claims, ids, lane = source.claims, self._ids, source.lane
        claim: Claim | None = None
        for record in event.records:
            place = (record.topic, record.partition)
            if claim is None or claim.tracker.partition != place:
                claim = claims.get(place)  # type: ignore[call-overload] # a Partition is a tuple
                if claim is None:
                    continue
            if claim.leaving or not claim.tracker.take(record.offset):
                continue
            if lane is not None:
                lane.put(Item(next(ids), lane, record, 1, claim, record.offset, now))
            else:
                self._returned(source, record, claim, now)
        self._hold_full(source)

    def _hold_full(self, source: Source) -> None:
        """Fetch nothing of partitions whose oldest record holds up too many."""
        for partition, claim in source.claims.items():
            if partition not in source.held and claim.tracker.full:
                source.held.add(partition)
                source.feed.hold([partition])
                _log.warning("window_full", lane=source.feed.name, partition=partition)

    def _returned(self, source: Source, record: Taken, claim: Claim, now: float) -> None:
        """A record comes out of a retry topic."""
        self._settler.broker_is_at(record.timestamp_ms)
        read = self._retries.read(record, self._topics)
        if isinstance(read, Reject):
            # Its letter says where it first came from, if that can be read, so that a replay of it
            # has a chance: of a topic that the next version takes again, say.
            known = self._retries.origin(record, self._topics) or Origin(record, "")
            lane = self._lanes.get(known.lane) or next(reversed(self._lanes.values()))
            item = Item(next(self._ids), lane, known.record, 1, claim, record.offset, now)
            self._settler.bury_unread(item, read.code, read.message)
            return
        lane = self._lanes[read.lane]
        item = Item(next(self._ids), lane, read.record, read.attempt, claim, record.offset, now)
        wait_s = self._retries.wait_s(record.topic, read, self._settler.broker_now_ms())
        if wait_s <= 0:
            lane.put(item)
            return
        heapq.heappush(source.waiting, Waiting(now + wait_s, item.id, item))
        partition = claim.tracker.partition
        source.early[partition] = source.early.get(partition, 0) + 1
        if source.early[partition] >= _EARLY and partition not in source.held:
            source.held.add(partition)
            source.feed.hold([partition])

    def _due(self, source: Source, now: float) -> None:
        """Records whose time has come go back to their lanes."""
        while source.waiting and source.waiting[0].due <= now:
            item = heapq.heappop(source.waiting).item
            item.since = now
            item.lane.put(item)
            partition = item.claim.tracker.partition
            source.early[partition] = source.early.get(partition, 1) - 1

    def _allow(self) -> None:
        """Tell every feed how much more it may bring."""
        for source in self._sources.values():
            lane = source.lane
            if lane is None:
                source.feed.allow(source.received + _RETRY_ROOM)
            else:
                room = self._policy.lane_records - lane.waiting
                if lane.bytes > self._policy.lane_bytes:
                    room = 0
                source.feed.allow(source.received + max(0, room))

    def _store(self) -> None:
        """Have finished work committed, and go on with partitions that stood still."""
        for source in self._sources.values():
            if source.dirty:
                offsets = {}
                for partition in source.dirty:
                    claim = source.claims.get(partition)
                    if claim is None:
                        continue
                    offset = claim.tracker.committable()
                    if offset is not None:
                        offsets[partition] = offset
                        claim.tracker.committed(offset)
                source.dirty.clear()
                if offsets:
                    source.feed.store(offsets)
            if source.held:
                self._free(source)

    def _free(self, source: Source) -> None:
        freed = [
            partition
            for partition in source.held
            if partition not in source.claims
            or (
                not source.claims[partition].tracker.full
                and source.early.get(partition, 0) < _EARLY
            )
        ]
        if freed:
            source.held.difference_update(freed)
            source.feed.free(freed)

    # -- engines, settings ----------------------------------------------------------------------

    def _engine_ready(self, event: EngineReady, _now: float) -> None:
        self._dispatcher.ready(event.engine)
        self._join_groups()

    def _results(self, event: EngineResults, now: float) -> None:
        found = self._dispatcher.results(event.engine, event.results, now)
        self._settler.settle(found, self._dispatcher.halve, event.engine, now)

    def _delivered(self, event: Delivered, now: float) -> None:
        self._settler.delivered(event.deliveries, now)

    def _controlled(self, event: Controlled, _now: float) -> None:
        self._steering.set(event.control)

    def _engine_gone(self, event: EngineGone, _now: float) -> None:
        if event.fatal:
            raise EngineLoadError(event.why)
        items = self._dispatcher.gone(event)
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
        for item in itertools.chain(heads, self._dispatcher.active(), self._settler.active()):
            stamp = item.record.timestamp_ms / 1000
            first[item.lane.name] = min(first.get(item.lane.name, math.inf), stamp)
        now = self._clock.time()
        return {name: max(0.0, now - stamp) for name, stamp in first.items()}

    def partitions(self) -> Mapping[str, Sequence[Partition]]:
        """What each feed has, for status pages and tests."""
        return {name: sorted(one.claims) for name, one in self._sources.items()}
