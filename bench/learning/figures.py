"""Means, intervals, and how many answers were saved. Pure."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
from bench.learning.learning import Answered
from numpy.typing import NDArray

_RESAMPLES: Final = 2_000
_COVERED: Final = (2.5, 97.5)


@dataclass(frozen=True, slots=True)
class Interval:
    """A mean, and between what it lies in 95 of 100 samples of seeds like this one."""

    value: float
    low: float
    high: float


def mean_interval(values: Sequence[float], seed: int) -> Interval:
    """Bootstrapped over seeds (Efron, 1979)."""
    table = np.array(values)
    means = [float(table[drawn].mean()) for drawn in _drawn(len(table), seed)]
    low, high = np.percentile(means, _COVERED)
    return Interval(float(table.mean()), float(low), float(high))


def saved(found: Answered, after: int, seed: int) -> Interval:
    """Share of `after` answers in random order that suggested ones don't need for as much accuracy,
    of the mean over seeds; bootstrapped over seeds, both orders of a seed together."""
    random, suggested = (np.array(found.accuracy[order]) for order in ("random", "suggested"))

    def share(drawn: NDArray[np.int64]) -> float:
        goal = float(np.interp(after, found.answers, random[drawn].mean(axis=0)))
        return 1.0 - needed(found.answers, suggested[drawn].mean(axis=0).tolist(), goal) / after

    low, high = np.percentile([share(one) for one in _drawn(len(random), seed)], _COVERED)
    return Interval(share(np.arange(len(random))), float(low), float(high))


def needed(answers: Sequence[int], accuracy: Sequence[float], goal: float) -> float:
    """Answers until the accuracy first reaches the goal, in a straight line between two points;
    none give none. Where it never does: as many as there are, so that more is never claimed."""
    before, reached = 0.0, 0.0
    for count, now in zip(answers, accuracy, strict=True):
        if now >= goal:
            return before + (count - before) * (goal - reached) / max(now - reached, 1e-12)
        before, reached = float(count), now
    return float(answers[-1])


def _drawn(count: int, seed: int) -> NDArray[np.int64]:
    return np.random.default_rng(seed).integers(count, size=(_RESAMPLES, count))
