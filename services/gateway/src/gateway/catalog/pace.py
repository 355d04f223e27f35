"""How fast an import goes and when it will end, reckoned from samples of its progress. No I/O.

A sample is (seconds since 1970, files that had their end by then); the `batches` table keeps the
last ones, about two seconds apart.

The time left is files left / rate. Its spread is an 80 % prediction interval for the time that a
Poisson process takes for R further events when n were seen: the ratio of the two times has an F
distribution (Hahn & Meeker, Statistical Intervals, 1991, 7.6), here in its log-normal
approximation, sigma^2 = 1/n + 1/R. Files don't end like raindrops: big ones come together, copies
go fast. So both n and R count phi times less, phi being Pearson's estimate of the dispersion over
the windows between samples (McCullagh & Nelder, Generalized Linear Models, 1989, 4.5), at least 1.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Final

Sample = tuple[float, float]
"""Seconds since 1970, files ended."""

RECENT_S: Final = 30.0
"""The rate that is shown is that of so long."""

_HORIZON_S: Final = 120.0
"""The time left is reckoned from so long, or longer where fewer than _ENOUGH files ended."""

_ENOUGH: Final = 20
_FEWEST: Final = 5
"""Files that must have ended before anything is said of the time left."""

_FEWEST_WINDOWS: Final = 3
_NARROWEST_S: Final = 1.0
"""A window that is shorter says nothing of its own and counts with its neighbour."""

_STILL: Final = 10.0
"""No file for so many times the usual gap (and RECENT_S): it stands still, nothing is known."""

_Z: Final = 1.2816
"""Of the normal distribution: 10 % lie below -z, 10 % above z."""

_WIDEST: Final = 10.0
"""The ends of the spread are at most so many times less or more than the time itself."""

_SOONEST_S: Final = 0.1
"""It is not over before it is."""


@dataclass(frozen=True, slots=True)
class Left:
    """Seconds to the end: 8 times of 10 it will be between `low` and `high`."""

    seconds: float
    low: float
    high: float


def recent_rate(samples: Sequence[Sample], now: float, done: float) -> float | None:
    """Files a second over the last 30 s, over less where there is not more; None at the start."""
    base = _base(samples, now - RECENT_S, done)
    return _rate(base, (now, done)) if base and now - base[0] >= _NARROWEST_S else None


def time_left(samples: Sequence[Sample], now: float, done: float, files: float) -> Left | None:
    """Seconds until `files` more have ended (at least one is taken to be left); None while too
    little is known, and while nothing moves."""
    points = [*_horizon(samples, now, done), (now, done)]
    ended = done - points[0][1]
    windows = _windows(points)
    if ended < _FEWEST or len(windows) < _FEWEST_WINDOWS:
        return None
    rate = _rate(points[0], points[-1])
    moved = next(at for at, count in points if count == done)
    if now - moved > max(RECENT_S, _STILL / rate):
        return None
    left = max(1.0, files)
    phi = _dispersion(windows, rate)
    spread = _Z * math.sqrt(phi * (1 / ended + 1 / left))
    factor = math.exp(min(spread, math.log(_WIDEST)))
    seconds = max(_SOONEST_S, left / rate)
    return Left(seconds, max(_SOONEST_S, seconds / factor), seconds * factor)


def _base(samples: Sequence[Sample], until: float, done: float) -> Sample | None:
    """The last sample that is so old, else the oldest."""
    usable = [each for each in samples if each[1] <= done]
    old = [each for each in usable if each[0] <= until]
    return old[-1] if old else next(iter(usable), None)


def _horizon(samples: Sequence[Sample], now: float, done: float) -> Sequence[Sample]:
    """The samples that the time left is reckoned from: of two minutes and 20 files, else all."""
    usable = [each for each in samples if each[0] < now and each[1] <= done]
    for start in range(len(usable) - 1, 0, -1):
        at, count = usable[start]
        if at <= now - _HORIZON_S and done - count >= _ENOUGH:
            return usable[start:]
    return usable


def _windows(points: Sequence[Sample]) -> list[Sample]:
    """Widths in seconds and files ended, between the points."""
    windows: list[Sample] = []
    for (from_at, from_count), (at, count) in pairwise(points):
        width, ended = at - from_at, count - from_count
        if windows and min(width, windows[-1][0]) < _NARROWEST_S:
            before = windows.pop()
            width, ended = before[0] + width, before[1] + ended
        windows.append((width, ended))
    return windows


def _rate(first: Sample, last: Sample) -> float:
    return (last[1] - first[1]) / (last[0] - first[0])


def _dispersion(windows: Sequence[Sample], rate: float) -> float:
    chi_squared = sum((ended - rate * width) ** 2 / (rate * width) for width, ended in windows)
    return max(1.0, chi_squared / (len(windows) - 1))
