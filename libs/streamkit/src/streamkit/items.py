"""What the core keeps: records under way, where they came from, what waits in each lane."""

import itertools
import math
from collections import deque
from collections.abc import Callable
from typing import NamedTuple

from streamkit.feed import Feed
from streamkit.job import Lane
from streamkit.messages import Failure
from streamkit.rate import Bucket
from streamkit.records import Partition, RawRecord, Taken
from streamkit.tracker import OffsetTracker


class Claim:
    """A partition that is ours for one assignment. A new assignment is a new claim, so whatever
    comes late for an old one finds its tracker closed."""

    __slots__ = ("begun", "leaving", "limit", "source", "tracker")

    def __init__(self, source: "Source", tracker: OffsetTracker) -> None:
        self.source = source
        self.tracker = tracker
        self.leaving = False
        self.begun = -1
        """While it leaves: the highest offset of which work has begun. What lies below that is
        still worked on, or what is finished behind it would be done again."""
        self.limit = math.inf
        """While it leaves: the lowest offset that can't be finished now. What lies behind it is
        done again in any case."""


class Chunk:
    """What an engine was given at once, to know when it is over."""

    __slots__ = ("given", "left", "ms", "predicted_ms", "size")

    def __init__(self, size: int, predicted_ms: float, given: float) -> None:
        self.size = self.left = size
        self.given = given
        """When (monotonic seconds)."""
        self.ms = 0.0
        self.predicted_ms = predicted_ms


class Item:
    """A record under way, from being taken until it is done with.

    `record` is the record as its handler shall see it; `offset` is its own in the claim's
    partition, which is a retry topic's after the first attempt. `alone`: it goes to an engine by
    itself, since an engine died with it among others.
    """

    __slots__ = (
        "acks",
        "alone",
        "asked",
        "attempt",
        "choices",
        "chunk",
        "claim",
        "failure",
        "id",
        "lane",
        "late",
        "ms",
        "offset",
        "outcome",
        "probe",
        "probes",
        "record",
        "records",
        "rounds",
        "sent",
        "since",
        "tries",
    )

    def __init__(
        self,
        number: int,
        lane: "LaneState",
        record: Taken,
        attempt: int,
        claim: Claim,
        offset: int,
        since: float,
    ) -> None:
        self.id = number
        self.lane = lane
        self.record = record
        self.attempt = attempt
        self.claim = claim
        self.offset = offset
        self.since = since
        self.alone = False
        self.late = False
        """Whether it began when its partition was to go already."""
        self.probe = False
        self.probes = 0
        """How often it failed as the one that probes a breaker."""
        self.failure: Failure | None = None
        self.asked = 0
        """How often its last words were asked for, and none came."""
        self.rounds = 0
        """How often its events could not be published, although each time tried several times."""
        self.acks = 0
        """How much the broker had acknowledged when it first did not take this."""
        self.ms = 0.0
        self.chunk: Chunk | None = None
        self.choices: list[tuple[RawRecord, ...]] = []
        self.records: tuple[RawRecord, ...] = ()
        self.outcome = "done"
        self.sent = 0.0
        self.tries = 0

    @property
    def gone(self) -> bool:
        """Whether another worker has it by now."""
        return self.claim.tracker.closed

    @property
    def left(self) -> bool:
        """Whether it is left to the next worker: its partition goes, and nothing that lies behind
        it has begun. Of one that was given up only the last words are lacking: they are still
        said."""
        claim = self.claim
        return self.gone or (claim.leaving and self.offset > claim.begun and self.failure is None)

    @property
    def size(self) -> int:
        """Bytes that it holds, about."""
        return len(self.record.value or b"") + 256


class LaneState:
    """What waits in a lane, and what is set for it."""

    __slots__ = (
        "bucket",
        "bytes",
        "holders",
        "in_engine",
        "keys",
        "lane",
        "limit",
        "name",
        "paused",
        "per_s",
        "queue",
    )

    def __init__(self, lane: Lane) -> None:
        self.lane = lane
        self.name = lane.name
        self.queue: deque[Item] = deque()
        self.bytes = 0
        self.in_engine = 0
        self.limit = lane.concurrency
        self.paused = False
        self.bucket: Bucket | None = None
        self.per_s = 0.0
        """Its rate; 0: none is set."""
        self.keys: dict[bytes | None, deque[Item]] = {}
        """In an ordered lane: what waits behind the one item of a key that may go."""
        self.holders: set[int] = set()
        """The ids of those items."""

    @property
    def waiting(self) -> int:
        """How many items wait, those behind others of their key too."""
        return len(self.queue) + sum(map(len, self.keys.values()))

    def put(self, item: Item) -> None:
        """Let an item wait its turn; in an ordered lane behind those of its key."""
        if self.lane.ordered:
            behind = self.keys.get(item.record.key)
            if behind is not None:
                behind.append(item)
                self.bytes += item.size
                return
            self.keys[item.record.key] = deque()
            self.holders.add(item.id)
        self.queue.append(item)
        self.bytes += item.size

    def put_back(self, items: list[Item]) -> None:
        """Have items worked on next, in their order; they keep their keys."""
        self.queue.extendleft(reversed(items))
        self.bytes += sum(item.size for item in items)

    def put_last(self, items: list[Item]) -> None:
        """Have items wait behind all others; they keep their keys."""
        self.queue.extend(items)
        self.bytes += sum(item.size for item in items)

    def pop(self) -> Item:
        """The next item."""
        item = self.queue.popleft()
        self.bytes -= item.size
        return item

    def over(self, item: Item) -> None:
        """An item is done with: in an ordered lane its key's next one may go."""
        if item.id not in self.holders:
            return
        self.holders.remove(item.id)
        behind = self.keys[item.record.key]
        if behind:
            following = behind.popleft()
            self.queue.append(following)
            self.holders.add(following.id)
        else:
            del self.keys[item.record.key]

    def drop(self, unwanted: Callable[[Item], bool]) -> list[Item]:
        """Take out what fits `unwanted`, and give it."""
        dropped = [item for item in self.queue if unwanted(item)]
        if dropped:
            self.queue = deque(item for item in self.queue if not unwanted(item))
        for key, behind in list(self.keys.items()):
            self.keys[key] = deque(item for item in behind if not unwanted(item))
        waiting = itertools.chain(self.queue, *self.keys.values())
        self.bytes = sum(item.size for item in waiting)
        for item in dropped:
            self.over(item)
        return dropped


class Waiting(NamedTuple):
    """A record that is not due yet, but for the chance in its delay from `earliest` on."""

    due: float
    number: int
    item: Item
    earliest: float


class Source:
    """A feed and the partitions that it has. `lane` is None for the retry topics' feed."""

    def __init__(self, feed: Feed, lane: LaneState | None) -> None:
        self.feed = feed
        self.lane = lane
        self.claims: dict[Partition, Claim] = {}
        self.received = 0
        self.epoch = 0
        self.assigned = False
        self.closed = False
        self.dirty: set[Partition] = set()
        self.held: set[Partition] = set()
        self.waiting: list[Waiting] = []
        """Of the retry topics: a heap by due time (monotonic seconds)."""
        self.early: dict[Partition, int] = {}
        """How many wait of each partition."""
