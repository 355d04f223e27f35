"""Which work goes to which engine, when; and what becomes of it when an engine goes."""

import heapq
import itertools
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Final

import structlog

from streamkit.engine.work import Result, Work
from streamkit.gate import Gate
from streamkit.items import Chunk, Item, LaneState
from streamkit.job import HIGH, Batching
from streamkit.metrics import Meter
from streamkit.policy import Policy
from streamkit.ports import Engine, EngineGone
from streamkit.scheduler import Scheduler
from streamkit.sizer import Pace, Sizer

_log = structlog.get_logger("streamkit.dispatch")

_LONG_MS: Final = 100.0
"""An engine that works for so long loses little while it waits for more."""


class Slot:
    """An engine and what it has in hand. `lanes` are those that it is there for."""

    def __init__(self, engine: Engine, lanes: frozenset[str], *, lazy: bool = False) -> None:
        self.engine = engine
        self.name = engine.name
        self.lanes = lanes
        self.lazy = lazy
        self.started = False
        self.loading_since = 0.0
        self.ready = False
        self.in_hand: dict[int, Item] = {}
        self.chunks = 0
        self.long = False
        """Whether its last chunk is one that nothing should wait behind."""
        self.head_since = 0.0
        self.count = 0
        self.why = ""
        """Why it is being replaced, if it is."""
        self.trouble = ""
        """Why it ended before it was ready, the last time."""
        self.replaced = False
        """Whether that was said to the engine: else its end is one of its own."""

    @property
    def ahead(self) -> int:
        """Chunks that it may hold: one to work on and, where lanes don't meet, one to go on with;
        where high work may come it would have to wait for both. And nothing waits behind long
        work: another engine may be free before."""
        return 1 if self.long or (HIGH in self.lanes and len(self.lanes) > 1) else 2

    def holds(self, lane: str) -> bool:
        """Whether it has work of that lane."""
        return any(item.lane.name == lane for item in self.in_hand.values())


class Dispatcher:
    """Fills engines with the work of lanes: by weight, by age, within all bounds."""

    def __init__(
        self,
        slots: Sequence[Slot],
        lanes: Mapping[str, LaneState],
        policy: Policy,
        gate: Gate,
        meter: Meter,
        batching: Batching | None,
    ) -> None:
        self.slots = {slot.name: slot for slot in slots}
        self._lanes = lanes
        self._policy = policy
        self._gate = gate
        self._meter = meter
        self._batching = batching
        self._scheduler = Scheduler(policy.weights, age_limit_s=policy.age_limit_s)
        self._paces: dict[str, Pace] = defaultdict(Pace)
        self._sizers: dict[str, Sizer] = {}
        if batching is not None:
            self._sizers = {
                slot.name: Sizer(largest=batching.largest, budget_ms=batching.budget_ms)
                for slot in slots
            }

    # -- giving out -----------------------------------------------------------------------------

    def start(self, now: float) -> None:
        """Start the engines, but for lazy ones."""
        for slot in self.slots.values():
            if not slot.lazy:
                self._start(slot, now)

    def ready(self, name: str) -> None:
        """An engine takes work."""
        self.slots[name].ready, self.slots[name].trouble = True, ""
        self._meter.engine_ready(name, True)

    def waiting_for(self) -> list[str]:
        """Engines that are yet to load, for people."""
        return [
            f"engine {one.name}" + (f": {one.trouble}" if one.trouble else "")
            for one in self.slots.values()
            if one.started and not one.ready
        ]

    def fill(self, now: float) -> None:
        """Give work to every engine that has room: to each one's hands first."""
        for slot in self.slots.values():
            if not slot.started and self._wanted(slot):
                self._start(slot, now)
            self._fill_up(slot, 1, now)
        for slot in self.slots.values():
            self._fill_up(slot, slot.ahead, now)
            self._press(slot, now)
            if slot.ready and slot.why and not slot.in_hand:
                self._replace(slot, slot.why)

    def unsaid(self) -> Iterable[Item]:
        """What was given up and waits for its last words."""
        for lane in self._lanes.values():
            yield from (item for item in lane.queue if item.failure is not None)

    def have_said(self, now: float) -> None:
        """Have the last words said of what was given up; nothing else begins."""
        for slot in self.slots.values():
            for lane in self._serves(slot):
                waits = bool(lane.queue) and lane.queue[0].failure is not None
                if waits and slot.ready and not slot.in_hand and self._count(slot, lane, now):
                    self._give(slot, self._take(lane, 1, now), now)

    def _fill_up(self, slot: Slot, chunks: int, now: float) -> None:
        while slot.ready and not slot.why and slot.chunks < chunks:
            items = self._next(slot, self._waiting(slot), now)
            if not items:
                return
            self._give(slot, items, now)

    def _press(self, slot: Slot, now: float) -> None:
        """Give high work to an engine that is busy with other work, before whose next record or
        slice it goes; unless it is the turn of another lane by the weights."""
        lane = self._lanes.get(HIGH)
        if lane is None or not lane.queue or not slot.ready or slot.why:
            return
        waiting = self._waiting(slot)
        if HIGH not in waiting or slot.holds(HIGH):
            return
        waiting |= {item.lane.name: slot.head_since for item in slot.in_hand.values()}
        if self._scheduler.choose(waiting, now) == HIGH:
            items = self._next(slot, {HIGH: lane.queue[0].since}, now)
            if items:
                self._give(slot, items, now)

    def next_at(self, filled: float) -> float | None:
        """When to fill again though nothing happened since it was `filled` last: a micro-batch has
        waited long enough, or a rate lets more begin. Of what was so by then it had its chance."""
        times: list[float] = []
        for lane in self._lanes.values():
            if lane.queue and self._batching is not None:
                times.append(self._closes_at(lane, self._batching))
            if lane.queue and lane.bucket is not None:
                times.append(lane.bucket.next_at())
        return min((at for at in times if at > filled), default=None)

    def _start(self, slot: Slot, now: float) -> None:
        slot.started = True
        slot.loading_since = now
        self._meter.engine_ready(slot.name, False)
        slot.engine.start()

    def _wanted(self, slot: Slot) -> bool:
        return any(self._lanes[name].queue for name in slot.lanes)

    def _serves(self, slot: Slot) -> Iterable[LaneState]:
        """Its lanes; and those whose own engine is not there, rather than let them wait."""
        for name, lane in self._lanes.items():
            if name in slot.lanes or not any(
                one.ready for one in self.slots.values() if name in one.lanes
            ):
                yield lane

    def _waiting(self, slot: Slot) -> dict[str, float]:
        """Lanes that have work for an engine, and since when."""
        return {
            lane.name: lane.queue[0].since
            for lane in self._serves(slot)
            if lane.queue
            # Last words are said whatever is set: what finished behind them waits for them.
            and (lane.queue[0].failure is not None or not lane.paused)
            and (not lane.limit or lane.in_engine < lane.limit)
        }

    def _next(self, slot: Slot, waiting: dict[str, float], now: float) -> list[Item]:
        """The next chunk for an engine; empty if there is nothing that it may have."""
        if slot.in_hand and next(iter(slot.in_hand.values())).alone:
            return []
        while waiting:
            name = self._scheduler.choose(waiting, now)
            if name is None or (slot.in_hand and self._lanes[name].queue[0].alone):
                break
            count = self._count(slot, self._lanes[name], now)
            if count:
                return self._take(self._lanes[name], count, now)
            del waiting[name]
        return []

    def _count(self, slot: Slot, lane: LaneState, now: float) -> int:
        """How many of a lane's records make the next chunk."""
        head = lane.queue[0]
        if head.alone or head.failure is not None:
            most = 1
        elif self._batching is not None:
            most = self._batch(slot, lane, self._batching, now)
        else:
            most = self._paces[lane.name].records_within(
                self._policy.chunk_ms, self._policy.chunk_records
            )
        if lane.limit:
            most = min(most, lane.limit - lane.in_engine)
        most = self._gate.room(min(most, len(lane.queue)), now, urgent=lane.name == HIGH)
        if most and lane.bucket is not None and head.failure is None:
            most = lane.bucket.take(_plain(lane, most))
        return most

    def _batch(self, slot: Slot, lane: LaneState, batching: Batching, now: float) -> int:
        """Size of the next micro-batch; 0 while it is worth waiting for more records."""
        size = self._sizers[slot.name].size()
        full = len(lane.queue) >= size
        if full or lane.name == HIGH or now >= self._closes_at(lane, batching):
            return size
        return 0

    def _closes_at(self, lane: LaneState, batching: Batching) -> float:
        return lane.queue[0].since + batching.wait_ms / 1000

    def _take(self, lane: LaneState, count: int, now: float) -> list[Item]:
        items: list[Item] = []
        while len(items) < count and lane.queue:
            head = lane.queue[0]
            if items and (head.alone or head.failure is not None):
                break
            items.append(lane.pop())
        lane.in_engine += len(items)
        items[0].probe = self._gate.probe(now, urgent=lane.name == HIGH)
        return items

    def _give(self, slot: Slot, items: list[Item], now: float) -> None:
        lane = items[0].lane
        if self._batching is not None:
            predicted = self._sizers[slot.name].predicted_ms(len(items)) / len(items)
            self._meter.batch(slot.name, len(items), self._batching.largest)
        else:
            predicted = self._paces[lane.name].ms
        self._scheduler.charge(lane.name, predicted * len(items))
        chunk = Chunk(len(items), predicted, now)
        slot.long = chunk.size * predicted >= _LONG_MS
        if not slot.in_hand:
            slot.head_since = now
        for item in items:
            item.chunk = chunk
            item.late = item.claim.leaving and item.failure is None
            slot.in_hand[item.id] = item
        slot.chunks += 1
        slot.count += len(items)
        slot.engine.submit(
            [Work(one.id, one.lane.name, one.attempt, one.record, one.failure) for one in items]
        )
        if self._policy.records_per_process and slot.count >= self._policy.records_per_process:
            slot.why = slot.why or "recycled"

    # -- taking back ----------------------------------------------------------------------------

    def results(self, name: str, results: Sequence[Result], now: float) -> list[
        tuple[Item, Result]
    ]:  # fmt: skip
        """The items that these results are about; those that were given up on are left out."""
        slot = self.slots[name]
        found: list[tuple[Item, Result]] = []
        spent: dict[str, list[float]] = {}
        for result in results:
            item = slot.in_hand.pop(result.id, None)
            if item is None:
                continue
            lane, chunk = item.lane, item.chunk
            lane.in_engine -= 1
            found.append((item, result))
            if chunk is not None:
                self._over(slot, chunk, result)
                self._scheduler.charge(lane.name, result.ms - chunk.predicted_ms)
            if result.kind != "returned":
                spent.setdefault(lane.name, []).append(result.ms)
        slot.head_since = now
        for lane_name, times in spent.items():
            total_ms = sum(times)
            self._meter.worked(name, lane_name, total_ms / 1000)
            if self._batching is None:
                self._paces[lane_name].observe(len(times), total_ms)
        return found

    def _over(self, slot: Slot, chunk: Chunk, result: Result) -> None:
        chunk.left -= 1
        chunk.ms += result.ms
        if chunk.left == 0:
            slot.chunks -= 1
            if self._batching is not None and result.kind == "done":
                self._sizers[slot.name].observe(chunk.size, chunk.ms)

    def halve(self, item: Item, engine: str) -> bool:
        """A micro-batch was too large; whether it can be smaller."""
        if item.chunk is None or item.chunk.size == 1 or not self._sizers:
            return False
        if self._sizers[engine].size() >= item.chunk.size:
            self._sizers[engine].halve()
        return True

    def gone(self, event: EngineGone, now: float) -> list[Item]:
        """An engine ended with these in hand, in their order."""
        slot = self.slots[event.engine]
        slot.loading_since = now
        if not slot.ready:
            slot.trouble = event.why
        if not slot.replaced:
            self._meter.engine_restarted(slot.name, "died" if slot.ready else "load_failed")
        self._meter.engine_ready(slot.name, False)
        slot.replaced = False
        items = [slot.in_hand.pop(one) for one in event.unfinished if one in slot.in_hand]
        items += slot.in_hand.values()
        slot.in_hand.clear()
        for item in items:
            item.lane.in_engine -= 1
        slot.ready, slot.chunks, slot.count, slot.why = False, 0, 0, ""
        return items

    def recall(self) -> None:
        """Have every engine hand back what it has not begun."""
        for slot in self.slots.values():
            if slot.in_hand:
                slot.engine.recall()

    # -- limits ---------------------------------------------------------------------------------

    def check(self, now: float) -> None:
        """Replace engines that work too long on a record or hold too much memory."""
        limit = self._policy.engine_memory
        for slot in self.slots.values():
            if not slot.ready:
                if slot.started and now - slot.loading_since > self._policy.load_deadline_s:
                    _log.error("load_deadline", engine=slot.name)
                    slot.loading_since = now
                    self._replace(slot, "loading")
                continue
            if slot.in_hand and now - slot.head_since > self._policy.hard_deadline_s:
                _log.error("hard_deadline", engine=slot.name, records=len(slot.in_hand))
                self._replace(slot, "deadline")
                continue
            used = slot.engine.memory_bytes()
            self._meter.engine_memory(slot.name, used)
            if limit and used > limit and not slot.why:
                _log.warning("memory_ceiling", engine=slot.name, bytes=used, limit=limit)
                slot.why = "memory"

    def _replace(self, slot: Slot, why: str) -> None:
        slot.ready = False
        slot.replaced = True
        self._meter.engine_ready(slot.name, False)
        self._meter.engine_restarted(slot.name, why)
        slot.engine.replace(why)

    def oldest(self, most: int) -> Iterator[tuple[Slot, Item, float]]:
        """What engines have in hand, with the engine and when (monotonic seconds) it was given to
        it; the oldest first, `most` at most."""
        of_each = (
            [(item.chunk.given, slot, item) for item in slot.in_hand.values() if item.chunk]
            for slot in self.slots.values()
        )
        in_order = heapq.merge(*of_each, key=lambda one: one[0])
        return ((slot, item, given) for given, slot, item in itertools.islice(in_order, most))

    def active(self) -> Iterable[Item]:
        """All that engines have in hand."""
        for slot in self.slots.values():
            yield from slot.in_hand.values()

    def close(self, timeout_s: float) -> None:
        """End all engines, each within that time; at once what still works after the drain."""
        for slot in self.slots.values():
            if slot.started:
                slot.engine.close(0.0 if slot.in_hand else timeout_s)


def _plain(lane: LaneState, most: int) -> int:
    """How many of a lane's first `most` records may go together: tokens are taken for those."""
    if lane.queue[0].alone:
        return 1
    count = 0
    for item in itertools.islice(lane.queue, most):
        if item.alone or item.failure is not None:
            break
        count += 1
    return count
