"""How much of each lane is not done yet, how fast that goes, and whether more is taken in. No I/O.

A lane's load is what waits in the outbox, what intake has yet to look at, and what the most loaded
of the stages has yet to do: a photo waits in all stages at once, so their sum would count it often.
"""

import math
from collections import deque
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Final

RATE_S: Final = 10.0
"""The rate is that of so many last seconds, at least: "lately"."""

RATE_RECORDS: Final = 20
"""And of so many last records, at least: fewer say too little."""

MOST_RATE_S: Final = 120.0

STOOD_STILL_RECORDS: Final = 5
"""Who has done nothing for the time that so many records take does nothing any more."""

LEAST_RETRY_S: Final = 1
MOST_RETRY_S: Final = 3_600
STUCK_RETRY_S: Final = 60
"""When to come back if nothing is done at all: nobody can know."""

LOOK_RETRY_S: Final = 3
"""When to come back if the next look will know more."""

_MOST_MARKS: Final = 1_000


class Intake(StrEnum):
    """Whether a lane takes new work in."""

    OPEN = "open"
    WARNED = "warned"
    CLOSED = "closed"

    @property
    def number(self) -> int:
        """As metrics and plots have it: the fuller, the higher."""
        return list(Intake).index(self)


@dataclass(frozen=True, slots=True)
class Limits:
    """Records of a lane from which on it is warned of, and from which on new ones are refused.

    A lane that is closed opens again below the first: else it would open and close all the time.
    """

    warn_at: int
    refuse_at: int

    def after(self, before: Intake, records: int) -> Intake:
        """The state that so many records lead to from the state before."""
        if records >= self.refuse_at or (before is Intake.CLOSED and records >= self.warn_at):
            return Intake.CLOSED
        return Intake.WARNED if records >= self.warn_at else Intake.OPEN

    def exceeded(self, state: Intake, records: int) -> bool:
        """Whether so many records lead to a fuller state than this one."""
        return self.after(state, records).number > state.number


@dataclass(frozen=True, slots=True)
class Progress:
    """What a group has yet to do of a lane: records, and how many it has done ever (its committed
    offsets, summed); `workers` None: not asked."""

    records: int
    done: int
    workers: int | None = None


@dataclass(frozen=True, slots=True)
class StageLoad:
    """A stage's share of a lane. `per_s`: records it does a second, lately; `oldest_s`: seconds
    that the first of them waits, 0 if none does."""

    name: str
    records: int
    per_s: float
    oldest_s: float
    workers: int | None

    @property
    def behind(self) -> bool:
        """Whether it had work at the look before as well: else its rate is that of what came in,
        and that it has finished none of it means nothing."""
        return self.records > 0 and self.oldest_s > 0

    @property
    def stands_still(self) -> bool:
        """Whether nobody does what waits."""
        return (self.workers == 0 and self.records > 0) or (self.behind and self.per_s <= 0)


@dataclass(frozen=True, slots=True)
class Fresh:
    """What came in since the last look: records, and how many seconds that is ago."""

    records: int
    seconds: float


@dataclass(frozen=True, slots=True)
class LaneLoad:
    """A lane at one moment. `retry_after_s`: when it may be open again, if it is closed; `cause`
    says why it is not open, for people."""

    lane: str
    state: Intake
    outbox: int
    stages: Sequence[StageLoad]
    records: int
    retry_after_s: int
    cause: str | None

    @property
    def most(self) -> StageLoad:
        """The stage with most to do."""
        return max(self.stages, key=lambda stage: stage.records)


@dataclass(slots=True)
class Watched:
    """What is remembered of a stage's lane, to know its rate and the age of its oldest record.

    Times are seconds of any clock that only goes forward.
    """

    _done: deque[tuple[float, int]] = field(default_factory=deque)
    _published: deque[tuple[float, int]] = field(default_factory=deque)
    _moved_at: float = -math.inf
    _resumed: bool = False

    def saw(self, now: float, progress: Progress) -> None:
        """So it is now."""
        self._note_done(now, progress.done)
        total = progress.done + progress.records
        if not self._published or total > self._published[-1][1]:
            if len(self._published) == _MOST_MARKS:  # halve how exactly old ones are known
                self._published = deque(list(self._published)[::2])
            self._published.append((now, total))
        while len(self._published) > 1 and self._published[0][1] <= progress.done:
            self._published.popleft()

    def per_s(self) -> float:
        """Records done a second, lately."""
        (then, before), (now, done) = self._done[0], self._done[-1]
        if done == before:
            return 0.0
        each_s = (self._moved_at - then) / (done - before)
        stands_still = now - self._moved_at > max(RATE_S, STOOD_STILL_RECORDS * each_s)
        return 0.0 if stands_still else (done - before) / (now - then)

    def oldest_s(self, now: float, progress: Progress) -> float:
        """Seconds since the first record that is not done was seen: a lower bound where it was
        there before this watch began."""
        if not progress.records:
            return 0.0
        later = (at for at, total in self._published if total > progress.done)
        return now - next(later, now)

    def _note_done(self, now: float, done: int) -> None:
        marks = self._done
        if marks and done < marks[-1][1]:  # offsets went back: somebody has them done again
            marks.clear()
        if marks and done > marks[-1][1]:
            stood_still = self.per_s() == 0
            if stood_still or self._resumed:
                # How long it stood still says nothing of how fast it goes; nor does the look in
                # which it went on, since it began somewhere in between.
                last = marks.pop()
                marks.clear()
                marks.append(last)
            self._resumed = stood_still
            self._moved_at = now
        marks.append((now, done))
        while len(marks) > 2 and self._is_enough(now, done, marks[1]):
            marks.popleft()

    def _is_enough(self, now: float, done: int, mark: tuple[float, int]) -> bool:
        """Whether what came after a mark is enough for a rate."""
        seconds = now - mark[0]
        return seconds >= RATE_S and (done - mark[1] >= RATE_RECORDS or seconds >= MOST_RATE_S)


class Lanes:
    """All lanes, look after look. `stages` in the order of the work, intake first."""

    def __init__(self, stages: Sequence[str], limits: Limits) -> None:
        self._stages, self._limits = stages, limits
        self._watched: dict[tuple[str, str], Watched] = {}
        self._states: dict[str, Intake] = {}

    def restore(self, states: Mapping[str, Intake]) -> None:
        """Go on from what holds: another watcher may have ended there, or a door closed a lane."""
        self._states.update(states)

    def saw(self, now: float, lane: str, outbox: int, found: Mapping[str, Progress]) -> LaneLoad:
        """The lane's load, of what was found of each stage."""
        stages = [self._stage(now, lane, name, found[name]) for name in self._stages]
        first, *others = stages
        records = outbox + first.records + max((one.records for one in others), default=0)
        before = self._states.get(lane, Intake.OPEN)
        state = self._states[lane] = self._limits.after(before, records)
        open_now = state is Intake.OPEN
        return LaneLoad(
            lane,
            state,
            outbox,
            stages,
            records,
            0 if state is not Intake.CLOSED else retry_after_s(records, stages, self._limits),
            None if open_now else cause(lane, records, outbox, stages),
        )

    def _stage(self, now: float, lane: str, name: str, progress: Progress) -> StageLoad:
        watched = self._watched.setdefault((lane, name), Watched())
        watched.saw(now, progress)
        oldest_s = watched.oldest_s(now, progress)
        per_s = 0.0 if progress.workers == 0 else watched.per_s()
        return StageLoad(name, progress.records, per_s, oldest_s, progress.workers)


def filled(
    lane: str, records: int, fresh: Fresh, outbox: int, stages: Sequence[StageLoad], limits: Limits
) -> LaneLoad:
    """A lane that must be warned of or closed since it was measured, by what was handed in: so many
    records wait now, and of its outbox and stages what was measured.

    What is fresh belongs to no stage yet. If it is most of what waits, no stage is to blame, unless
    one stood still already.
    """
    if fresh.records * 2 > records and not any(stage.stands_still for stage in stages):
        rates = [stage.per_s for stage in stages if stage.behind]
        after_s = _opens_in(records, min(rates), limits) if rates else LOOK_RETRY_S
        why = (
            f"{records:,} photos of lane {lane} wait; {fresh.records:,} came in within the last"
            f" {max(1, math.ceil(fresh.seconds))} s."
        )
    else:
        after_s = retry_after_s(records, stages, limits)
        why = cause(lane, records, outbox, stages)
    state = limits.after(Intake.OPEN, records)
    return LaneLoad(
        lane, state, outbox, stages, records, after_s if state is Intake.CLOSED else 0, why
    )


def retry_after_s(records: int, stages: Sequence[StageLoad], limits: Limits) -> int:
    """Seconds until a lane is open again, if it goes on as it does."""
    per_s = _slowest(stages).per_s
    return STUCK_RETRY_S if per_s <= 0 else _opens_in(records, per_s, limits)


def _opens_in(records: int, per_s: float, limits: Limits) -> int:
    seconds = math.ceil((records - limits.warn_at + 1) / per_s)
    return max(LEAST_RETRY_S, min(MOST_RETRY_S, seconds))


def _slowest(stages: Sequence[StageLoad]) -> StageLoad:
    """Whom a lane waits for: a stage that does not run, though most may lie before another one
    still; else the one with most to do."""
    return max(stages, key=lambda stage: (stage.workers == 0 and stage.records > 0, stage.records))


def cause(lane: str, records: int, outbox: int, stages: Sequence[StageLoad]) -> str:
    """Why so much waits, and what is to be done about it, for people."""
    most = _slowest(stages)
    waiting = f"{records:,} photos of lane {lane} wait"
    if outbox > max(stage.records for stage in stages):
        return f"{waiting}, {outbox:,} of them for Kafka. Is it up, and is the control door?"
    what = f"{waiting}, {most.records:,} of them for {most.name}"
    if most.workers == 0:
        return f"{most.name} is not running: {waiting}."
    if most.per_s > 0:
        return f"{what}, which does {most.per_s:,.1f} a second."
    return f"{what}, which finishes none: it may be paused, load a model, or lack what it needs."
