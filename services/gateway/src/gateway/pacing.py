"""How many photos of an import may be under way at once: so many that none waits for long. No I/O.

Little's law (Little, "A Proof for the Queuing Formula L = λW", 1961): of photos that end at a rate
λ, L = λW are under way when each takes W from submission to end. So a window of rate × wait_s
holds the wait at wait_s, whatever slows the pipeline down; while it is quicker than that, the
window grows until it is.
"""

import math
from dataclasses import dataclass, field
from typing import Final

LEAST: Final = 8
"""Photos that may always be under way: enough to find out that things go fast again."""

_SHARED: Final = 4
"""All imports together may have so many times under way what one may: many imports at once must
not fill the lanes so that single photos are refused."""

_MEMORY: Final = 1.0
"""In units of wait_s: how long what was seen counts, as the time constant of an exponential."""

_PRIOR_S: Final = 1.0
"""At the start, the rate for which the least is right counts as if it had been seen for so long."""


@dataclass(slots=True)
class Pacer:
    """The window of one import, between `least` and `most` (the smaller one counts).

    Times are seconds of any clock that only goes forward.
    """

    most: int
    wait_s: float
    now: float
    in_flight: int = 0
    least: int = LEAST
    _ended: float = field(init=False)
    _seconds: float = field(init=False, default=_PRIOR_S)

    def __post_init__(self) -> None:
        self._ended = self.least / self.wait_s * _PRIOR_S

    def saw(self, now: float, ended: int, in_flight: int) -> None:
        """`ended` photos had their end since the last time, `in_flight` are under way now.

        Time in which nothing was under way says nothing of the pipeline and does not count.
        """
        elapsed = max(0.0, now - self.now)
        if self.in_flight > 0 or ended > 0:
            fades = math.exp(-elapsed / (self.wait_s * _MEMORY))
            self._ended = self._ended * fades + ended
            self._seconds = self._seconds * fades + elapsed
        self.now, self.in_flight = now, in_flight

    @property
    def rate(self) -> float:
        """Photos a second, lately."""
        return self._ended / self._seconds

    @property
    def next_end_s(self) -> float:
        """Seconds from one end to the next, on average."""
        return self._seconds / self._ended if self._ended else math.inf

    @property
    def window(self) -> int:
        """Photos that may be under way."""
        return min(self.most, max(self.least, round(self.rate * self.wait_s)))


def share(most: int, imports: int) -> int:
    """Photos that each of so many imports may have under way, where one may have `most`."""
    return max(LEAST, _SHARED * most // max(1, imports))
