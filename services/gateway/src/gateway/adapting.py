"""How much of each lane is let in, for how busy the workers are. No I/O.

Where they are busy, half of what is configured is let in, one lane after the other from the lowest
one up; where they have room, twice as much, from the highest one down. So what holds for all lanes
is a single number, the level: of so many lanes twice as much is let in, or half as much if it is
negative. A step changes it by one and comes only after the load has wanted that for a while, since
it takes as long until a step is felt.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final, NamedTuple

HALF: Final = 0.5
WHOLE: Final = 1.0
DOUBLE: Final = 2.0
SHARES: Final = (HALF, WHOLE, DOUBLE)
"""Times the configured limit that may be let in."""

GAP: Final = 0.1
"""The load has to leave a mark so far behind before what it led to is taken back."""

HOLD_S: Final = 20.0
"""So long the load has to stay beyond a mark, and so far apart are two steps."""

ROOM_S: Final = 60.0
"""The same before more is let in than is configured."""

NOBODY_SAYS: Final = "no worker says how busy it is"


class Usage(NamedTuple):
    """The highest shares, 0 to 1, of CPU and memory that are in use at a worker."""

    cpu: float
    memory: float

    @property
    def most(self) -> float:
        """The highest of both."""
        return max(self)


class Measure(NamedTuple):
    """Times the configured limit that is let in; `cause` says why it is another, for people."""

    share: float
    cause: str | None


@dataclass(frozen=True, slots=True)
class Marks:
    """The load above which less is let in, and below which more; the objective of single photos of
    the highest lane: seconds in which 95 of 100 shall have their outcome."""

    above: float = 0.8
    below: float = 0.3
    high_p95_s: float = 10.0


class Adapting:
    """All lanes, look after look; `lanes` from the lowest to the highest.

    Times are seconds of any clock that only goes forward.
    """

    def __init__(self, lanes: Sequence[str], marks: Marks) -> None:
        self._lanes, self._marks = lanes, marks
        self._level = 0
        self._causes: dict[str, str | None] = {}
        self._wanted = 0
        self._since = 0.0
        self._blind = False

    def restore(self, measured: Mapping[str, Measure]) -> None:
        """Begin where another one has ended."""
        shares = [measured[lane].share if lane in measured else WHOLE for lane in self._lanes]
        self._level = -_run(shares, HALF) or _run(shares[::-1], DOUBLE)
        self._causes = {lane: one.cause for lane, one in measured.items()}

    def saw(
        self, now: float, usage: Usage | None, high_p95_s: float | None
    ) -> Mapping[str, Measure]:
        """What is let in of each lane from now on. `usage` None: no worker says; `high_p95_s`:
        seconds in which 95 of 100 single photos of the highest lane had their outcome lately."""
        self._blind = usage is None
        wanted = 0 if usage is None else self._direction(usage, high_p95_s)
        if wanted != self._wanted:
            self._wanted, self._since = wanted, now
        if usage is None:
            self._level = 0
        elif wanted and now - self._since >= (ROOM_S if self._grows(wanted) else HOLD_S):
            self._step(wanted, usage, high_p95_s)
            self._since = now
        return {lane: self._measure(number) for number, lane in enumerate(self._lanes)}

    def _direction(self, usage: Usage, high_p95_s: float | None) -> int:
        """What the load wants now: more (1), less (-1), or what there is."""
        most, above, below = usage.most, self._marks.above, self._marks.below
        if self._level > 0 and most > below + GAP:
            return -1
        if self._level <= 0 and most > above:
            return -1 if self._may_halve(high_p95_s) else 0
        if self._level < 0:
            return 1 if most < above - GAP else 0
        return 1 if most < below and self._level < len(self._lanes) else 0

    def _may_halve(self, high_p95_s: float | None) -> bool:
        """Whether there is a lane of which less can be let in: of the highest one only where that
        is of use to those who are let in."""
        if -self._level < len(self._lanes) - 1:
            return True
        misses = high_p95_s is not None and high_p95_s > self._marks.high_p95_s
        return misses and -self._level < len(self._lanes)

    def _grows(self, wanted: int) -> bool:
        return wanted > 0 and self._level >= 0

    def _step(self, wanted: int, usage: Usage, high_p95_s: float | None) -> None:
        before = [self._share(number) for number in range(len(self._lanes))]
        # What is let in beyond the limits ends with the room for it, in all lanes at once.
        self._level = 0 if self._level > 0 > wanted else self._level + wanted
        cause = _room(usage) if self._level > 0 else _strain(usage)
        if -self._level == len(self._lanes):
            wish = f"{self._marks.high_p95_s:g} s"
            cause += f", and single photos take {high_p95_s or 0:.0f} s where {wish} are wanted"
        for number, lane in enumerate(self._lanes):
            if self._share(number) != before[number]:
                self._causes[lane] = cause

    def _share(self, number: int) -> float:
        if number < -self._level:
            return HALF
        return DOUBLE if number >= len(self._lanes) - self._level else WHOLE

    def _measure(self, number: int) -> Measure:
        share = self._share(number)
        if share == WHOLE:
            return Measure(share, NOBODY_SAYS if self._blind else None)
        return Measure(share, self._causes.get(self._lanes[number]))


def _run(shares: Sequence[float], share: float) -> int:
    """How many of the first are `share`, one after the other."""
    return next((number for number, one in enumerate(shares) if one != share), len(shares))


def _strain(usage: Usage) -> str:
    what = "CPU" if usage.cpu >= usage.memory else "memory"
    return f"the workers' {what} is at {_percent(usage.most)}"


def _room(usage: Usage) -> str:
    return f"the workers' CPU is at {_percent(usage.cpu)}, their memory at {_percent(usage.memory)}"


def _percent(part: float) -> str:
    return f"{part:.0%}".replace("%", " %")
