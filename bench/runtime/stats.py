"""Numbers out of times. Pure."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

STEADY: Final = (0.1, 0.9)
"""The part of a run, in shares of its outcomes, over which a rate is measured."""


@dataclass(frozen=True, slots=True)
class Window:
    """The steady part of a run: from when until when, and how many came in it."""

    began: float
    ended: float
    count: int

    @property
    def rate(self) -> float:
        """How many a second."""
        return self.count / (self.ended - self.began)


def steady(times: Sequence[float], shares: tuple[float, float] = STEADY) -> Window:
    """Between the moments when the first and the second share of all had come.

    `times` is when each came, in any order. Raises ValueError for times that have no such part:
    too few, or all at one moment.
    """
    ordered = sorted(times)
    first, last = (min(int(len(ordered) * share), len(ordered) - 1) for share in shares)
    if last <= first or ordered[last] <= ordered[first]:
        raise ValueError(f"{len(ordered)} times have no steady part")
    return Window(ordered[first], ordered[last], last - first)


def percentile(values: Sequence[float], q: float) -> float:
    """The q-th percentile (0 to 100), linear between the two nearest values.

    Raises ValueError if there are none.
    """
    if not values:
        raise ValueError("no values")
    ordered = sorted(values)
    place = (len(ordered) - 1) * q / 100
    low = int(place)
    high = min(low + 1, len(ordered) - 1)
    return ordered[low] + (ordered[high] - ordered[low]) * (place - low)


def median(values: Sequence[float]) -> float:
    """The middle one, or the mean of the middle two."""
    return percentile(values, 50)


def spread(values: Sequence[float]) -> float:
    """How far apart the extremes are, as a share of the median; 0 for a single value."""
    return (max(values) - min(values)) / median(values)


def at(samples: Sequence[tuple[float, float]], moment: float) -> float:
    """A growing quantity at a moment, out of (moment, value) samples in order: linear between."""
    if not samples:
        raise ValueError("no samples")
    before = samples[0]
    for sample in samples:
        if sample[0] >= moment:
            span = sample[0] - before[0]
            share = (moment - before[0]) / span if span > 0 else 1.0
            return before[1] + (sample[1] - before[1]) * max(0.0, share)
        before = sample
    return before[1]
