"""A lane's way in: its consumer, how much it may bring, and which partitions stand still."""

import queue
from collections.abc import Callable, Sequence
from typing import Final

import structlog

from streamkit.clock import Clock
from streamkit.events import Assigned, Drain, Event, FeedClosed, Lost, Records, Revoking
from streamkit.ports import Backend
from streamkit.records import Offsets, Partition

_log = structlog.get_logger("streamkit.feed")

FULL_S: Final = 1.0
"""So long a feed may be full before its partitions are paused. A pause throws away what was
prefetched, so pausing for less costs more than it saves (measured: 70 times slower)."""

PAUSED_S: Final = 2.0
"""So long a pause for fullness lasts at least."""

_MOST: Final = 500
_WAIT_S: Final = 0.05


class Feed:
    """Consumes one group's records and posts them to the core. A Listener of its consumer.

    `turn` and `close` are called by one thread, the feed's; `allow`, `hold`, `free`, `store` and
    `end` by the core. `wait` waits for a Drain to be answered; whoever steps core and feed in one
    thread brings another one.
    """

    def __init__(
        self,
        name: str,
        backend: Backend,
        group: str,
        topics: Sequence[str],
        post: Callable[[Event], None],
        clock: Clock,
        wait: Callable[[Drain], bool],
    ) -> None:
        self.name = name
        self.capacity = 0
        self.ended = False
        self._post = post
        self._clock = clock
        self._wait = wait
        self._allowed = 0
        self._brought = 0
        self._orders: queue.SimpleQueue[Callable[[], None]] = queue.SimpleQueue()
        self._assigned: set[Partition] = set()
        self._held: set[Partition] = set()
        self._paused: set[Partition] = set()
        self._full_since: float | None = None
        self._paused_since: float | None = None
        self._consumer = backend.consumer(group, topics, self)

    # -- called by the core ---------------------------------------------------------------------

    def allow(self, total: int) -> None:
        """Bring records until, counted from the start, there were `total`."""
        was_full = self._brought >= self._allowed
        self._allowed = total
        if was_full and total > self._brought:
            self._orders.put(_nothing)

    def hold(self, partitions: Sequence[Partition]) -> None:
        """Fetch nothing of these until `free`."""
        self._orders.put(lambda: self._held.update(partitions))

    def free(self, partitions: Sequence[Partition]) -> None:
        """Fetch them again."""
        self._orders.put(lambda: self._held.difference_update(partitions))

    def store(self, offsets: Offsets) -> None:
        """Have these committed soon."""
        self._orders.put(lambda: self._consumer.store(offsets))

    def end(self) -> None:
        """Leave the group at the next turn."""
        self._orders.put(self._end)

    @property
    def ordered(self) -> bool:
        """Whether it has yet to do what it was told."""
        return not self._orders.empty()

    # -- called by the feed's thread ------------------------------------------------------------

    def turn(self, timeout_s: float) -> None:
        """Do what was ordered, then bring what is there, waiting up to `timeout_s`."""
        self._obey()
        if self.ended:
            return
        self._pace()
        room = self._allowed - self._brought
        if room <= 0 and self._paused_since is None:
            self._rest(min(timeout_s, _WAIT_S))
            return
        records = self._consumer.consume(max(1, min(room, _MOST)), timeout_s)
        if records:
            self._brought += len(records)
            self._post(Records(self.name, records))

    def run(self) -> None:
        """Turn until ended; the body of the feed's thread."""
        error: BaseException | None = None
        try:
            while not self.ended:
                self.turn(0.1)
        except BaseException as caught:  # noqa: BLE001 - handed to the core, which raises it
            error = caught
        self._post(FeedClosed(self.name, error))

    def _obey(self) -> None:
        changed = False
        while not self._orders.empty():
            self._orders.get()()
            changed = True
        if changed and not self.ended:
            self._apply()

    def _rest(self, timeout_s: float) -> None:
        try:
            order = self._orders.get(timeout=timeout_s) if timeout_s else None
        except queue.Empty:
            return
        if order is not None:
            order()
            if not self.ended:
                self._apply()

    def _end(self) -> None:
        self._consumer.close()
        self.ended = True

    def _pace(self) -> None:
        """Pause everything when full for long; go on after a while, once half is worked off."""
        now, room = self._clock.monotonic(), self._allowed - self._brought
        if self._paused_since is not None:
            if now - self._paused_since >= PAUSED_S and room >= self.capacity / 2:
                self._paused_since = self._full_since = None
                self._apply()
        elif room > 0:
            self._full_since = None
        elif self._full_since is None:
            self._full_since = now
        elif now - self._full_since >= FULL_S:
            self._paused_since = now
            self._apply()

    def _apply(self) -> None:
        """Make the consumer's pauses what is wanted."""
        everything = self._paused_since is not None
        wanted = self._assigned if everything else self._assigned & self._held
        pause, resume = wanted - self._paused, self._paused - wanted
        if pause:
            self._consumer.pause(sorted(pause))
        if resume:
            self._consumer.resume(sorted(resume))
        self._paused = set(wanted)

    # -- called by the consumer, in the feed's thread -------------------------------------------

    def assigned(self, partitions: Sequence[Partition]) -> None:
        """See Listener. A new assignment begins unpaused, so pauses are applied again."""
        self._assigned.update(partitions)
        self._paused.difference_update(partitions)
        self._post(Assigned(self.name, tuple(partitions)))
        _log.info("assigned", lane=self.name, partitions=_listed(partitions))
        self._orders.put(_nothing)

    def revoked(self, partitions: Sequence[Partition]) -> Offsets:
        """See Listener. Blocks until the core has drained them, within its own deadline."""
        drain = Drain()
        self._post(Revoking(self.name, tuple(partitions), drain))
        if not self._wait(drain):
            _log.error("drain_unanswered", lane=self.name, partitions=_listed(partitions))
        self._gone(partitions)
        _log.info("revoked", lane=self.name, partitions=_listed(partitions))
        return drain.offsets

    def lost(self, partitions: Sequence[Partition]) -> None:
        """See Listener."""
        self._post(Lost(self.name, tuple(partitions)))
        self._gone(partitions)
        _log.warning("lost", lane=self.name, partitions=_listed(partitions))

    def _gone(self, partitions: Sequence[Partition]) -> None:
        self._assigned.difference_update(partitions)
        self._paused.difference_update(partitions)
        self._held.difference_update(partitions)


def _nothing() -> None:
    """An order that wakes the feed and has its pauses applied."""


def _listed(partitions: Sequence[Partition]) -> list[str]:
    return [f"{topic}/{number}" for topic, number in sorted(partitions)]
