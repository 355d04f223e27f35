"""From answers to a threshold: above which confidence a label is right often enough."""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import ceil
from typing import Final

from gateway.catalog.precision_shapes import wilson

LEAST: Final = 20
"""Answers about labels above a threshold without which nothing is said of it."""

BANDS: Final = 20
"""Of confidence, all of the same width."""

_GRID: Final = 100
"""Thresholds have two decimals."""

_MOST_MISSING: Final = 10_000

Stratum = tuple[bool, int]
"""Whether labels were given without asking, and their band."""


@dataclass(frozen=True, slots=True)
class Answered:
    """What somebody said of a label; `audit`: it was given without asking, and drawn by lot."""

    confidence: float
    right: bool
    audit: bool

    @property
    def stratum(self) -> Stratum:
        """Labels as this one is."""
        return self.audit, band(self.confidence)


@dataclass(frozen=True, slots=True)
class Found:
    """The lowest threshold above which labels are right often enough, or None; then `missing` more
    answers would do if all were right (None: there is no telling). `precision` and the `low` end
    of its interval are those above it, else above the best threshold."""

    auto_above: float | None
    missing: int | None
    precision: float | None = None
    low: float | None = None


def band(confidence: float) -> int:
    """Which band a confidence is in."""
    return min(int(confidence * BANDS), BANDS - 1)


def lowest(answers: Sequence[Answered], photos: Mapping[Stratum, int], target: float) -> Found:
    """The lowest threshold whose precision is at least `target`, with 95 % certainty.

    `photos` are all that have the label, by stratum. Each answer stands for as many of them as
    there are for each answered one of its stratum: audits for many, since few labels that are given
    without asking are audited, and photos that were asked about for the others that wait.
    """
    if len(answers) < LEAST:
        return Found(None, LEAST - len(answers))
    answered = Counter(one.stratum for one in answers)
    weights = {at: max(photos.get(at, 0), count) / count for at, count in answered.items()}
    ordered = sorted(answers, key=lambda one: -one.confidence)
    best: _Sum | None = None
    found: tuple[float, _Sum] | None = None
    total = _Sum()
    for number, one in enumerate(ordered, 1):
        total = total.and_one(weights[one.stratum], one.right)
        last = number == len(ordered)
        border = _below(one.confidence)
        if number < LEAST or not (last or ordered[number].confidence <= border):
            continue  # the threshold would be in the middle of equals
        if best is None or total.low > best.low:
            best = total
        if total.low >= target and border >= 0:
            found = border, total
    if found:
        return Found(found[0], 0, found[1].share, found[1].low)
    if best is None:
        return Found(None, None)
    return Found(None, _missing(best, target), best.share, best.low)


def _below(confidence: float) -> float:
    """The largest threshold of two decimals that this confidence is above."""
    return (ceil(round(confidence * _GRID, 9)) - 1) / _GRID


@dataclass(frozen=True, slots=True)
class _Sum:
    """Weighted answers; they are as telling as `answers` that all weigh the same (Kish)."""

    weight: float = 0.0
    squares: float = 0.0
    right: float = 0.0

    def and_one(self, weight: float, right: bool) -> "_Sum":
        return _Sum(
            self.weight + weight, self.squares + weight * weight, self.right + weight * right
        )

    @property
    def share(self) -> float:
        return self.right / self.weight

    @property
    def answers(self) -> float:
        return self.weight * self.weight / self.squares

    @property
    def low(self) -> float:
        return wilson(self.share * self.answers, self.answers)[0]


def _missing(best: _Sum, target: float) -> int | None:
    answers, right = best.answers, best.share * best.answers
    few, many = 0, _MOST_MISSING
    if wilson(right + many, answers + many)[0] < target:
        return None
    while many - few > 1:
        middle = (few + many) // 2
        enough = wilson(right + middle, answers + middle)[0] >= target
        few, many = (few, middle) if enough else (middle, many)
    return many
