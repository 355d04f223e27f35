"""Which offsets of a partition are done with, and so how far the group may commit.

Records finish in any order; Kafka keeps one number per partition. The number that loses nothing
is the lowest offset that is not finished: everything below it is. It is neither the highest
offset seen nor the highest finished, with which a crash loses whatever was still under way.
"""

from collections import deque

from streamkit.records import Partition


class OffsetTracker:
    """The offsets of one partition during one assignment to this worker.

    A new assignment (`epoch`) has a new tracker, so that nothing of an old one can be mistaken for
    it. Pure bookkeeping, O(1) per record (amortised), and not thread-safe: one thread owns it.
    """

    __slots__ = (
        "_closed",
        "_committed",
        "_highest",
        "_open",
        "_order",
        "_window",
        "epoch",
        "partition",
    )

    def __init__(self, partition: Partition, epoch: int, window: int = 10_000) -> None:
        self.partition = partition
        self.epoch = epoch
        self._window = window
        self._highest = -1
        self._committed = 0
        self._order: deque[int] = deque()
        self._open: set[int] = set()
        self._closed = False

    def take(self, offset: int) -> bool:
        """Begin with a record. False if it is to be ignored: it was taken before (a redelivery
        within the epoch), or the epoch has ended.

        Offsets rise, with gaps where the log was compacted or has transaction markers.
        """
        highest = self._highest
        if offset <= highest or self._closed:
            return False
        if highest < 0:
            self._committed = offset
        self._highest = offset
        self._order.append(offset)
        self._open.add(offset)
        return True

    def complete(self, offset: int) -> None:
        """A record is done with. In any order; once more, or after `close`, changes nothing."""
        unfinished = self._open
        if offset not in unfinished:
            return
        unfinished.remove(offset)
        order = self._order
        while order and order[0] not in unfinished:
            order.popleft()

    def position(self) -> int | None:
        """The offset of the next record to read, once this worker is gone; None if it took none.

        Everything below it is done with; it never falls. After `close` there is none: the
        partition may be another worker's by then.
        """
        if self._closed or self._highest < 0:
            return None
        return self._order[0] if self._order else self._highest + 1

    def committable(self) -> int | None:
        """The position, if it is one to commit; None if there is nothing new."""
        position = self.position()
        return position if position is not None and position > self._committed else None

    def committed(self, offset: int) -> None:
        """This much was handed to the consumer to commit."""
        self._committed = max(self._committed, offset)

    def reached(self) -> int:
        """The highest offset that is done with though one below it is not; -1 if there is none."""
        done = (offset for offset in reversed(self._order) if offset not in self._open)
        return next(done, -1)

    @property
    def in_flight(self) -> int:
        """How many were taken and are not done with; 0 after `close`."""
        return len(self._open)

    @property
    def full(self) -> bool:
        """Whether the oldest unfinished record lies `window` offsets or more behind the newest:
        nothing more should be taken, or a restart would repeat ever more."""
        order = self._order
        return bool(order) and self._highest - order[0] >= self._window

    @property
    def closed(self) -> bool:
        """Whether the epoch has ended."""
        return self._closed

    def close(self) -> None:
        """End the epoch: what finishes later is of no account any more."""
        self._closed = True
        self._order.clear()
        self._open.clear()
