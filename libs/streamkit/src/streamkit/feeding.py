"""What comes in: records of partitions, while those are ours; and what is committed of them."""

import heapq
import itertools
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Final

import structlog

from streamkit.dispatch import Dispatcher
from streamkit.errors import Reject
from streamkit.events import Assigned, Drain, Lost, Records, Revoking
from streamkit.feed import Feed
from streamkit.items import Claim, Item, LaneState, Source, Waiting
from streamkit.metrics import Meter
from streamkit.policy import Policy
from streamkit.records import Partition, Taken
from streamkit.retry import Origin, RetryPlan
from streamkit.settle import Settler
from streamkit.tracker import OffsetTracker

_log = structlog.get_logger("streamkit.feeding")

_EARLY: Final = 64
"""Records of one partition of a retry topic that wait here; then the partition stands still until
the first is due."""

_RETRY_ROOM: Final = 2_000

_PATIENCE_S: Final = 1.0
"""So long partitions that are to go wait for records that lie before what is finished. A lane that
is paused or slowed down, or a dependency that is away, may keep those back for long."""


class Leaving:
    """Partitions that are to go once nothing of them is in hand, or at the deadline. Until
    `patient_until`, what lies before something finished counts as in hand."""

    def __init__(
        self, drain: Drain, claims: Sequence[Claim], patient_until: float, deadline: float
    ) -> None:
        self.drain = drain
        self.claims = claims
        self.patient_until = patient_until
        self.deadline = deadline


class Feeding:
    """Keeps what each feed has, and lets go of it in good order. Not thread-safe."""

    def __init__(
        self,
        lanes: Mapping[str, LaneState],
        policy: Policy,
        retries: RetryPlan,
        settler: Settler,
        engines: Dispatcher,
        ids: Iterator[int],
    ) -> None:
        self.sources: dict[str, Source] = {}
        self.failed = False
        """Whether engines are not listened to any more: what they have in hand is given up."""
        self._lanes = lanes
        self._topics = {name: frozenset(lane.lane.topics) for name, lane in lanes.items()}
        self._policy = policy
        self._retries = retries
        self._settler = settler
        self._engines = engines
        self._meter: Meter = settler.meter
        self._ids = ids
        self._leaving: list[Leaving] = []
        self._going: list[Claim] = []
        """Claims that leave and wait for what lies before something finished."""
        self._stopping = False

    def open(self, feeds: Iterable[Feed]) -> None:
        """Begin with these."""
        for feed in feeds:
            lane = self._lanes.get(feed.name)
            feed.capacity = self._policy.lane_records if lane else _EARLY
            self.sources[feed.name] = Source(feed, lane)
        self.allow()

    def deadlines(self) -> Iterator[float]:
        """Moments (monotonic) at which something is due though nothing happens."""
        for leaving in self._leaving:
            yield leaving.deadline
            if self._waits(leaving):
                yield leaving.patient_until
        for source in self.sources.values():
            if source.waiting:
                yield source.waiting[0].due

    def unassigned(self) -> list[str]:
        """Feeds whose groups have not said yet what they have. From any thread."""
        return [name for name, one in [*self.sources.items()] if not one.assigned]

    def waiting(self) -> Iterator[Item]:
        """Records of retry topics that are not due yet."""
        for source in self.sources.values():
            yield from (one.item for one in source.waiting)

    @property
    def dirty(self) -> bool:
        """Whether something is finished that is yet to be committed."""
        return any(source.dirty for source in self.sources.values())

    def assigned(self, event: Assigned, _now: float) -> None:
        source = self.sources[event.feed]
        source.epoch += 1
        source.assigned = True
        for partition in event.partitions:
            stale = source.claims.get(partition)
            if stale is not None:
                self._release(source, [stale])
            window = self._policy.window if source.lane else _RETRY_ROOM
            tracker = OffsetTracker(partition, source.epoch, window)
            claim = source.claims[partition] = Claim(source, tracker)
            claim.leaving = self._stopping
        # What was held of an earlier claim may reach the feed only now.
        source.feed.free(event.partitions)
        self._meter.rebalance(event.feed, "assigned")

    def revoking(self, event: Revoking, now: float) -> None:
        """Stop what has not begun of these partitions; the rest may end within the deadline."""
        source = self.sources[event.feed]
        claims = [source.claims[one] for one in event.partitions if one in source.claims]
        self._leave(claims, now)
        patience = 0.0 if self.failed else min(_PATIENCE_S, self._policy.drain_s / 2)
        deadline = now + self._policy.drain_s / (2 if self.failed else 1)
        self._leaving.append(Leaving(event.drain, claims, now + patience, deadline))
        self._meter.rebalance(event.feed, "revoked")

    def stop(self, now: float) -> None:
        """Begin with nothing new: all partitions are to go."""
        self._stopping = True
        self._leave([one for source in self.sources.values() for one in source.claims.values()],
                    now)  # fmt: skip
        for source in self.sources.values():
            source.feed.end()

    def _leave(self, claims: Sequence[Claim], now: float) -> None:
        for claim in claims:
            if not claim.leaving:
                claim.leaving = True
                self._going.append(claim)
        self.narrow((), now)
        if any(item.claim.leaving for item in self._engines.active()):
            self._engines.recall()

    def narrow(self, ended: Iterable[Item], now: float) -> None:
        """Let go of what has not begun of partitions that leave, and lies behind all that has;
        what has just `ended` in an engine is among the latter."""
        if not self._going:
            return
        sources = {id(claim.source): claim.source for claim in self._going}.values()
        not_yet = (one.item for source in sources for one in source.waiting if one.earliest > now)
        for item in itertools.chain(not_yet, self._settler.resting()):
            if item.claim.leaving:
                item.claim.limit = min(item.claim.limit, item.offset)
        for claim in self._going:
            claim.begun = claim.tracker.reached()
        settler, engines = self._settler, self._engines
        hands = (engines.active(), engines.unsaid(), settler.active(), settler.resending(), ended)
        for item in itertools.chain(*hands):
            if item.claim.leaving:
                item.claim.begun = max(item.claim.begun, item.offset)
        for claim in self._going:
            claim.begun = int(min(claim.begun, claim.limit - 1))
        for source in sources:
            self._forget(source, lambda item: item.left)
            # These have waited for their tier: only the chance in their delay is not over.
            early = [one.item for one in source.waiting if one.item.claim.leaving]
            source.waiting = [one for one in source.waiting if not one.item.claim.leaving]
            heapq.heapify(source.waiting)
            for item in sorted(early, key=lambda item: item.id):
                self._is_due(source, item, now)

    def _waits(self, leaving: Leaving) -> bool:
        """Whether something is unfinished that lies before what has begun."""
        return any(
            at is not None and at <= one.begun
            for one in leaving.claims
            if (at := one.tracker.position()) is not None
        )

    def drained(self, now: float) -> None:
        """Let go of partitions that nothing is in hand of any more."""
        if not self._leaving:
            return
        busy = {id(item.claim) for item in self._settler.active()}
        if not self.failed:
            # What began late is waited for as patiently as what waits: see `_waits`.
            busy |= {id(item.claim) for item in self._engines.active() if not item.late}
            busy |= {id(item.claim) for item in self._engines.unsaid()}
        for leaving in list(self._leaving):
            late = now >= leaving.deadline
            if self._waits(leaving):
                if not self.failed and now < leaving.patient_until:
                    continue
                self._lose_patience(leaving)
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

    def _lose_patience(self, leaving: Leaving) -> None:
        """Only what is in hand is still waited for."""
        for claim in leaving.claims:
            claim.begun = -1
        self._going = [one for one in self._going if one not in leaving.claims]
        if leaving.claims:
            self._forget(leaving.claims[0].source, lambda item: item.left)

    def lost(self, event: Lost, _now: float) -> None:
        source = self.sources[event.feed]
        self._release(source, [source.claims[p] for p in event.partitions if p in source.claims])
        self._meter.rebalance(event.feed, "lost")

    def _release(self, source: Source, claims: Sequence[Claim]) -> None:
        """These are not ours any more: what comes late of them is dropped."""
        for claim in claims:
            claim.leaving = True
            claim.tracker.close()
            partition = claim.tracker.partition
            if claim in self._going:
                self._going.remove(claim)
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
        self._settler.forget(unwanted)
        if source.waiting:
            source.waiting = [one for one in source.waiting if not unwanted(one.item)]
            heapq.heapify(source.waiting)

    # -- records --------------------------------------------------------------------------------

    def records(self, event: Records, now: float) -> None:
        source = self.sources[event.feed]
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
            lane = self._lanes.get(known.lane) or [*self._lanes.values()][-1]
            item = Item(next(self._ids), lane, known.record, 1, claim, record.offset, now)
            self._settler.bury_unread(item, read.code, read.message)
            return
        lane = self._lanes[read.lane]
        item = Item(next(self._ids), lane, read.record, read.attempt, claim, record.offset, now)
        wait_s = self._retries.wait_s(record.topic, read, self._settler.broker_now_ms())
        if wait_s <= 0:
            lane.put(item)
            return
        least_s = self._retries.least_wait_s(record, self._settler.broker_now_ms())
        heapq.heappush(source.waiting, Waiting(now + wait_s, item.id, item, now + least_s))
        partition = claim.tracker.partition
        source.early[partition] = source.early.get(partition, 0) + 1
        if source.early[partition] >= _EARLY and partition not in source.held:
            source.held.add(partition)
            source.feed.hold([partition])

    def due(self, now: float) -> None:
        """Records whose time has come go back to their lanes."""
        for source in self.sources.values():
            if source.waiting:
                self._come_due(source, now)

    def _come_due(self, source: Source, now: float) -> None:
        while source.waiting and source.waiting[0].due <= now:
            self._is_due(source, heapq.heappop(source.waiting).item, now)

    def _is_due(self, source: Source, item: Item, now: float) -> None:
        item.since = now
        item.lane.put(item)
        partition = item.claim.tracker.partition
        source.early[partition] = source.early.get(partition, 1) - 1

    def allow(self) -> None:
        """Tell every feed how much more it may bring."""
        for source in self.sources.values():
            lane = source.lane
            unfinished = sum(claim.tracker.in_flight for claim in source.claims.values())
            if lane is None:
                # Few at a time, so that a partition is held before much is read ahead of it; and
                # what isn't due yet is bounded by that, and must not make other tiers late.
                room = min(_EARLY, _RETRY_ROOM - unfinished + sum(source.early.values()))
            else:
                room = self._policy.lane_records - unfinished
                if lane.bytes > self._policy.lane_bytes:
                    room = 0
            source.feed.allow(source.received + max(0, room))

    def store(self) -> None:
        """Have finished work committed, and go on with partitions that stood still."""
        for source in self.sources.values():
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

    def partitions(self) -> Mapping[str, Sequence[Partition]]:
        """What each feed has, for status pages and tests."""
        return {name: sorted(one.claims) for name, one in self.sources.items()}
