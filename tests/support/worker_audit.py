"""Holds what workers commit and publish against what they were asked, whatever happens to them.

An *origin* is the place (topic, partition, offset) of a record's first coming. What a worker did
with a record is one *output*: an event in the sink, or a record in a retry topic.
"""

import math
import time
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from typing import Final, NamedTuple

from confluent_kafka import KafkaException

from streamkit.headers import readable
from worker_tasks import LANES, retry_topics
from worker_world import TIERS, Done, World

Origin = tuple[str, int, int]
Committed = Mapping[tuple[str, int], int]

GROUPS: Final = (*LANES, "retry")


class Output(NamedTuple):
    """What worker `worker` said of a record at its `attempt`-th try; `at` is the broker's second.

    `place` is where it lies, if that is a retry topic, else None.
    """

    origin: Origin
    attempt: int
    worker: str
    at: float
    place: Origin | None


@dataclass(frozen=True, slots=True)
class Harm:
    """A worker (its `name`) could not finish what it had in hand: between these seconds. What its
    groups had committed before is `committed`."""

    what: str
    worker: str
    since: float
    until: float
    committed: Committed

    def excuses(self, output: Output, places: Iterable[Origin]) -> bool:
        """Whether that may be repeated: its worker had it in hand, or not yet committed."""
        return (
            output.worker == self.worker
            and output.at <= self.until
            and any(offset >= self.committed.get((t, p), 0) for t, p, offset in places)
        )


@dataclass
class Audit:
    """Looks at a world again and again; see `look`."""

    world: World
    outputs: list[Output] = field(default_factory=list)
    looks: int = 0
    _history: list[tuple[float, Committed]] = field(default_factory=list)
    """What was committed at each look, and when."""
    _committed: dict[tuple[str, int], int] = field(default_factory=dict)
    _reached: dict[Origin, float] = field(default_factory=dict)
    """Of each origin, how far it came: the attempt that waits in a retry topic, or infinity."""
    _waiting: dict[Origin, tuple[Origin, int]] = field(default_factory=dict)
    """What lies at a place of a retry topic: an origin, and the attempt that it waits for."""
    _read: dict[str, int] = field(default_factory=lambda: defaultdict(int))

    def look(self) -> None:
        """Fail if a group has committed past a record that is not finished.

        What is committed is asked first, then everything is read that was published by then. Does
        nothing while the broker is away.
        """
        asked_at = time.time()
        try:
            committed = self.committed()
            done = self._new_done()
            retries = self._new_retries()
        except KafkaException:
            return
        self.outputs += [*done, *retries]
        for place, offset in committed.items():
            before = self._committed.get(place, 0)
            for number in range(before, offset):
                assert self._finished((*place, number)), f"{place} is committed past {number}"
            self._committed[place] = max(before, offset)
        self._history.append((asked_at, committed))
        self.looks += 1

    def committed(self) -> Committed:
        """What all groups have committed. Raises KafkaException while the broker is away."""
        found = [self.world.committed(group) for group in GROUPS]
        return {place: offset for one in found for place, offset in one.items()}

    def last_committed(self) -> Committed:
        """The same; while the broker is away, what was seen at the last look."""
        try:
            return self.committed()
        except KafkaException:
            return dict(self._committed)

    def committed_before(self, at: float) -> Committed:
        """What had been committed at the last look that began before that second."""
        return next((found for began, found in reversed(self._history) if began < at), {})

    def left(self) -> str:
        """What is not yet committed of each partition: how far it is, and how far it reaches."""
        try:
            committed = self.committed()
            ends = self.world.ends(*LANES.values(), *retry_topics(TIERS))
        except KafkaException as error:
            return f"(unknown: {error})"
        left = {place: (committed.get(place, 0), end) for place, end in ends.items()}
        return f"{len(self.world.names())} events; " + ", ".join(
            f"{topic}/{number}: {now} of {end}"
            for (topic, number), (now, end) in left.items()
            if now != end
        )

    def _new_done(self) -> Sequence[Output]:
        done = self.world.all_done()[self._read["sink"] :]
        self._read["sink"] += len(done)
        for one in done:
            self._reached[origin_of(one)] = math.inf
        return [Output(origin_of(one), one.attempt, one.worker, one.at, None) for one in done]

    def _new_retries(self) -> Sequence[Output]:
        found: list[Output] = []
        for topic in retry_topics(TIERS):
            records = self.world.all_of(topic)[self._read[topic] :]
            self._read[topic] += len(records)
            for record in records:
                told = readable(record.headers)
                origin = (told["rt_topic"], int(told["rt_partition"]), int(told["rt_offset"]))
                place, attempt = (topic, record.partition, record.offset), int(told["rt_attempt"])
                self._waiting[place] = (origin, attempt)
                self._reached[origin] = max(self._reached.get(origin, 0), attempt)
                worker = told["rt_error"].rpartition(" ")[2]
                at = record.timestamp_ms / 1000
                found.append(Output(origin, attempt - 1, worker, at, place))
        return found

    def _finished(self, place: Origin) -> bool:
        origin, attempt = self._waiting.get(place, (place, 1))
        return self._reached.get(origin, 0) > attempt

    # -- at the end -----------------------------------------------------------------------------

    def repeated(self, harms: Sequence[Harm]) -> Mapping[str, int]:
        """How many outputs were repetitions, by what excuses them. Fails if one has no excuse."""
        alike: dict[tuple[Origin, int], list[Output]] = defaultdict(list)
        for one in self.outputs:
            alike[one.origin, one.attempt].append(one)
        counts: dict[str, int] = defaultdict(int)
        for (origin, attempt), outputs in alike.items():
            # A record that was sent to a retry topic twice may be done twice.
            places = self._places(origin, attempt)
            extra = len(outputs) - len(places)
            if extra <= 0:
                continue
            excuses = [
                next((harm.what for harm in harms if harm.excuses(one, places)), None)
                for one in outputs
            ]
            excused = [what for what in excuses if what is not None]
            assert len(excused) >= extra, f"{origin} is repeated for no reason: {outputs}"
            for what in excused[:extra]:
                counts[what] += 1
        return counts

    def _places(self, origin: Origin, attempt: int) -> Sequence[Origin]:
        """Where the records lay that this attempt was about."""
        if attempt == 1:
            return [origin]
        return [place for place, waits in self._waiting.items() if waits == (origin, attempt)]

    def silences(self, faults: Sequence[float]) -> Sequence[float]:
        """For each partition, the longest time without an event in the sink since the last fault,
        or since the event before if nothing happened between the two."""
        times: dict[tuple[str, int], list[float]] = defaultdict(list)
        for one in self.outputs:
            if one.place is None:
                times[one.origin[:2]].append(one.at)
        return [
            max(
                later - max([earlier, *(at for at in faults if earlier < at < later)])
                for earlier, later in pairwise(sorted(found))
            )
            for found in times.values()
        ]


def origin_of(done: Done) -> Origin:
    """Where a record lay at first."""
    return (LANES[done.lane], done.partition, done.offset)
