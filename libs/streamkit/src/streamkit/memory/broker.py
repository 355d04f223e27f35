"""A broker in memory: topics, groups, committed offsets, and faults at will."""

from bisect import bisect_left
from collections.abc import Callable
from operator import attrgetter
from typing import Final

from streamkit.clock import Clock
from streamkit.errors import Reject
from streamkit.memory.groups import Group
from streamkit.memory.partitioner import partition_of
from streamkit.publishing import MAX_MESSAGE_BYTES
from streamkit.records import Partition, RawRecord, Taken

_OFFSET: Final = attrgetter("offset")


class Topic:
    """A log per partition. `append_time`: delivery tells the broker's time of appending."""

    def __init__(self, partitions: int, *, append_time: bool, largest: int) -> None:
        self.logs: list[list[Taken]] = [[] for _ in range(partitions)]
        self.ends = [0] * partitions
        self.append_time = append_time
        self.largest = largest
        self.appended: list[Taken] = []


def _at_once(_timeout_s: float) -> None:
    """Waste no time."""


class MemoryBroker:
    """Keeps everything, for ever, on the caller's clock; nothing in it is left to chance or to
    real time. Topics that nobody declared come into being with `partitions`.

    Not thread-safe. `idle` is called with the seconds that a consume or poll would wait for
    something to come: it may move the clock, or let other work happen.

    Faults, to be set by tests: `down` (nothing is answered; what is sent waits, at most for the
    producer's time-out), `drop_acks` (what is sent is appended, but the sender hears that it was
    not), `drop_sends` (it is not appended either), `refused` (topics that take no record), and
    `expel_all`.
    """

    def __init__(
        self, clock: Clock, *, partitions: int = 4, idle: Callable[[float], None] = _at_once
    ) -> None:
        self.clock = clock
        self.idle = idle
        self.drop_acks = False
        self.drop_sends = False
        self.refused: set[str] = set()
        self._down = False
        self._turns = 0
        self._partitions = partitions
        self._topics: dict[str, Topic] = {}
        self._groups: dict[str, Group] = {}

    # -- topics ---------------------------------------------------------------------------------

    def declare(
        self,
        topic: str,
        partitions: int,
        *,
        append_time: bool = False,
        largest: int = MAX_MESSAGE_BYTES,
    ) -> None:
        """Create a topic; `largest` in bytes of key and value. Raises ValueError if it exists."""
        if topic in self._topics:
            raise ValueError(f"{topic} exists")
        self._topics[topic] = Topic(partitions, append_time=append_time, largest=largest)

    def topic(self, name: str) -> Topic:
        """The topic, as declared or as it comes into being now."""
        if name not in self._topics:
            self.declare(name, self._partitions)
        return self._topics[name]

    def partitions_of(self, topic: str) -> int:
        """How many partitions a topic has."""
        return len(self.topic(topic).logs)

    def append(self, record: RawRecord) -> Taken:
        """Append a record as it is, whatever faults are set but refusal. Raises Reject."""
        topic = self.topic(record.topic)
        size = len(record.key or b"") + len(record.value or b"")
        if size > topic.largest or record.topic in self.refused:
            raise Reject("too_large", "The event is not one that the broker takes.")
        count = len(topic.logs)
        # Without a key: one partition after another.
        keyless = record.key is None
        number = len(topic.appended) % count if keyless else partition_of(record.key or b"", count)
        offset = topic.ends[number]
        taken = Taken(
            record.topic,
            number,
            offset,
            record.key,
            record.value,
            list(record.headers),
            int(self.clock.time() * 1000),
        )
        topic.ends[number] = offset + 1
        topic.logs[number].append(taken)
        topic.appended.append(taken)
        self._turns += 1
        return taken

    def skip(self, partition: Partition, offsets: int = 1) -> None:
        """Leave a gap at a partition's end, as transactions and compaction do."""
        self.topic(partition.topic).ends[partition.number] += offsets

    def read(self, partition: Partition, offset: int, most: int) -> list[Taken]:
        """Up to `most` records of a partition from `offset` on."""
        log = self.topic(partition.topic).logs[partition.number]
        start = bisect_left(log, offset, key=_OFFSET)
        return log[start : start + most]

    def records(self, topic: str) -> list[Taken]:
        """Everything in a topic, in the order of appending."""
        return list(self.topic(topic).appended)

    def end(self, partition: Partition) -> int:
        """The offset that a partition's next record will have."""
        return self.topic(partition.topic).ends[partition.number]

    # -- groups ---------------------------------------------------------------------------------

    def group(self, name: str) -> Group:
        """The group of that name."""
        if name not in self._groups:
            self._groups[name] = Group(self.clock, self.partitions_of)
        return self._groups[name]

    def committed(self, group: str) -> dict[Partition, int]:
        """What a group has committed."""
        return dict(self.group(group).committed)

    @property
    def changes(self) -> int:
        """Another number whenever there may be something new for somebody."""
        return self._turns + sum(group.changes for group in self._groups.values())

    # -- faults ---------------------------------------------------------------------------------

    @property
    def down(self) -> bool:
        """Whether nothing is answered. When the broker comes back, sessions begin anew."""
        return self._down

    @down.setter
    def down(self, down: bool) -> None:
        if self._down and not down:
            for group in self._groups.values():
                group.revive()
        self._down = down
        self._turns += 1

    def expel_all(self) -> None:
        """Forget the members of all groups, as a broker does that stood still for long."""
        for group in self._groups.values():
            group.expel_all()
