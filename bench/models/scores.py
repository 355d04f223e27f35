"""How right answers are. Pure."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

_RESAMPLES: Final = 2_000
_COVERED: Final = 95.0


@dataclass(frozen=True, slots=True)
class Errors:
    """Of one piece of text: edits that make the read text the true one, of so many characters."""

    edits: int
    characters: int


@dataclass(frozen=True, slots=True)
class Interval:
    """A figure, and between what it lies in 95 of 100 samples like this one; `n` pieces."""

    value: float
    low: float
    high: float
    n: int


def errors(true: str, read: str) -> Errors:
    """Characters inserted, deleted and exchanged (Levenshtein); any white space is one space."""
    wanted, found = (" ".join(text.split()) for text in (true, read))
    return Errors(edits(wanted, found), len(wanted))


def edits(one: str, other: str) -> int:
    """The least number of insertions, deletions and exchanges that make one the other.

    Row by row of the usual table (Wagner and Fischer, 1974); what an insertion costs runs along a
    row as a running minimum.
    """
    codes = np.frombuffer(other.encode("utf-32-le"), np.uint32)
    places = np.arange(len(codes) + 1)
    row = places.copy()
    for number, char in enumerate(one, 1):
        exchanged = row[:-1] + (codes != ord(char))
        deleted = row + 1
        deleted[0] = number
        deleted[1:] = np.minimum(deleted[1:], exchanged)
        row = np.minimum.accumulate(deleted - places) + places
    return int(row[-1])


def error_rate(pieces: Sequence[Errors]) -> float:
    """Edits by characters of all pieces together. Raises ValueError if there are no characters."""
    characters = sum(one.characters for one in pieces)
    if not characters:
        raise ValueError("no characters")
    return sum(one.edits for one in pieces) / characters


def error_rate_interval(pieces: Sequence[Errors], seed: int) -> Interval:
    """The error rate with its bootstrap interval: pieces are drawn anew, with replacement."""
    table = _table(pieces)

    def rate(drawn: NDArray[np.int64]) -> float:
        told, of = table[drawn].sum(axis=0)
        return float(told / of)

    return _bootstrapped(rate, len(pieces), seed)


def difference_interval(ours: Sequence[Errors], theirs: Sequence[Errors], seed: int) -> Interval:
    """Our error rate less theirs, on the same pieces in the same order: drawn as pairs, so that
    what is hard for both is no noise. Raises ValueError if they are not the same."""
    if [one.characters for one in ours] != [one.characters for one in theirs]:
        raise ValueError("these are not the same pieces")
    mine, other = _table(ours), _table(theirs)

    def difference(drawn: NDArray[np.int64]) -> float:
        of = mine[drawn, 1].sum()
        return float((mine[drawn, 0].sum() - other[drawn, 0].sum()) / of)

    return _bootstrapped(difference, len(ours), seed)


def share_right(answers: Sequence[Sequence[str]], right: Sequence[frozenset[str]], k: int) -> float:
    """Share of pictures of which one of the `k` first answers is right."""
    hits = [bool(set(told[:k]) & names) for told, names in zip(answers, right, strict=True)]
    return sum(hits) / len(hits)


def _table(pieces: Sequence[Errors]) -> NDArray[np.int64]:
    if not sum(one.characters for one in pieces):
        raise ValueError("no characters")
    return np.array([(one.edits, one.characters) for one in pieces], np.int64)


def _bootstrapped(figure: Callable[[NDArray[np.int64]], float], pieces: int, seed: int) -> Interval:
    """Percentiles of the figure over samples (Efron, 1979)."""
    draw = np.random.default_rng(seed)
    found = [figure(draw.integers(pieces, size=pieces)) for _ in range(_RESAMPLES)]
    rest = (100 - _COVERED) / 2
    low, high = np.percentile(found, (rest, 100 - rest))
    return Interval(figure(np.arange(pieces)), float(low), float(high), pieces)
