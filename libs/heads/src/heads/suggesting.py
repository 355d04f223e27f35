"""Which photos a person should be asked about next, so that as many answers teach more."""

from typing import Final

import numpy as np
from numpy.typing import NDArray

from heads.head import Floats, Head

_ROWS: Final = 8_192
"""Looked at at once, so that memory stays bounded."""
_MOST: Final = 2_048
"""Candidates: the most uncertain, and as many again by chance."""
_COMPARED: Final = 512
"""Candidates that are compared with all others at once."""
_NEIGHBOUR: Final = 3
"""How like this neighbour, counted from the nearest, a photo is, tells whether it is one of a kind.
A mean over all photos would have the common asked about again and again, and the rare never."""


def suggest(
    vectors: Floats,
    count: int,
    doubts: NDArray[np.float64] | None,
    known: Floats,
    seed: int = 0,
) -> list[int]:
    """Places in `vectors` (n, d) of at most `count` photos, the most telling one first.

    Each choice has the largest product of how doubtful the photo is (`doubts`, from 0 to 1, such as
    `uncertainty`; None: all alike), how far it is from all that are chosen or `known` (k, d)
    already, and how like its neighbours it is: what resembles nothing teaches nothing about the
    rest. 100,000 photos take seconds.
    """
    if not len(vectors) or count < 1:
        return []
    draw = np.random.default_rng(seed)
    doubts = np.ones(len(vectors)) if doubts is None else doubts
    places = _candidates(doubts, draw)
    among = np.asarray(vectors[places], np.float32)
    worth = doubts[places] * _company(among)
    chosen = _spread(among, worth, known, min(count, len(places)))
    return [int(place) for place in places[chosen]]


def uncertainty(vectors: Floats, *heads: Head) -> NDArray[np.float64]:
    """1 less the margin between the two likeliest answers, `none` being one.

    Of several heads it is that of the one that gives its best label the most confidence: a person
    is asked about that label, so it is that head which learns from what they say. Others may well
    be sure that none of theirs fits, or doubt what they have never seen.
    """
    found = np.empty(len(vectors))
    for start in range(0, len(vectors), _ROWS):
        rows = np.asarray(vectors[start : start + _ROWS], np.float32)
        best = np.full(len(rows), -1.0)
        for head in heads:
            told = head.predict(rows)
            shares = np.column_stack([told.confidences, told.none])
            two = np.partition(shares, -2, axis=1)[:, -2:]
            surest = told.confidences.max(axis=1)
            found[start : start + _ROWS] = np.where(
                surest > best, 1.0 - (two[:, 1] - two[:, 0]), found[start : start + _ROWS]
            )
            best = np.maximum(best, surest)
    return found


def _candidates(doubts: NDArray[np.float64], draw: np.random.Generator) -> NDArray[np.int64]:
    if len(doubts) <= 2 * _MOST:
        return np.arange(len(doubts))
    most = np.argpartition(doubts, -_MOST)[-_MOST:]
    rest = np.setdiff1d(np.arange(len(doubts)), most)
    return np.sort(np.concatenate([most, draw.choice(rest, _MOST, replace=False)]))


def _company(among: Floats) -> NDArray[np.float64]:
    """The cosine of each to its third nearest neighbour."""
    found = np.empty(len(among))
    place = min(_NEIGHBOUR, len(among) - 1)
    for start in range(0, len(among), _COMPARED):
        cosines = among[start : start + _COMPARED] @ among.T
        nearest = np.partition(cosines, len(among) - 1 - place, axis=1)  # itself is the nearest
        found[start : start + _COMPARED] = nearest[:, len(among) - 1 - place]
    return np.maximum(found, 1e-3)


def _spread(
    among: Floats, worth: NDArray[np.float64], known: Floats, count: int
) -> NDArray[np.int64]:
    """Greedy: each the best of those that are left, less so the nearer it is to one before."""
    nearest = np.full(len(among), -1.0)
    for start in range(0, len(known), _ROWS):
        cosines = among @ np.asarray(known[start : start + _ROWS], np.float32).T
        nearest = np.maximum(nearest, cosines.max(axis=1))
    left = np.ones(len(among), np.bool_)
    chosen = np.empty(count, np.int64)
    for turn in range(count):
        value = np.where(left, worth * np.maximum(1.0 - nearest, 1e-9), -1.0)
        best = int(value.argmax())
        chosen[turn], left[best] = best, False
        nearest = np.maximum(nearest, among @ among[best])
    return chosen
