"""Who is held out together.

Near copies of one picture are held out together: otherwise a head would be judged by what it was
shown. Each label's examples are spread over all folds.
"""

from collections.abc import Iterable
from typing import Final

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import coo_matrix
from scipy.sparse.csgraph import connected_components

from trainer.examples import Examples, Floats
from trainer.policy import Policy

ALWAYS_TAUGHT: Final = -1
"""The fold of what is never held out, since nothing else shows its label."""

Numbers = NDArray[np.int64]

_ROWS: Final = 1024
"""Compared with all others at once, so that memory stays bounded."""


def copies(vectors: Floats, cosine: float) -> Numbers:
    """A number for each vector, the same for those that near copies connect; counted from the
    first on."""
    firsts, seconds = [], []
    for start in range(0, len(vectors), _ROWS):
        near = vectors[start : start + _ROWS] @ vectors.T > cosine
        one, other = np.nonzero(near)
        firsts.append(one + start)
        seconds.append(other)
    if not firsts:
        return np.empty(0, np.int64)
    rows, columns = np.concatenate(firsts), np.concatenate(seconds)
    graph = coo_matrix((np.ones(len(rows), np.bool_), (rows, columns)), (len(vectors),) * 2)
    _, found = connected_components(graph, directed=False)
    return _in_order(found)


def folds(examples: Examples, policy: Policy, seed: int) -> Numbers:
    """The fold in which each is held out, or ALWAYS_TAUGHT."""
    groups = copies(examples.vectors, policy.copy_cosine)
    targets = examples.targets
    of_label = [set(groups[targets == number].tolist()) for number in np.unique(targets)]
    kept = {one for label in of_label if len(label) < 2 for one in label}
    free = [one for one in range(groups.max(initial=-1) + 1) if one not in kept]
    most = len(free) if len(examples) <= policy.tiny else policy.folds
    placed = _spread(groups, targets, free, min(most, len(free)), seed)
    return np.array([placed.get(one, ALWAYS_TAUGHT) for one in groups.tolist()], np.int64)


def held_out(of_folds: Numbers) -> Iterable[NDArray[np.bool_]]:
    """Each fold in turn."""
    for number in range(int(of_folds.max(initial=-1)) + 1):
        yield of_folds == number


def _spread(
    groups: Numbers, targets: Numbers, free: list[int], count: int, seed: int
) -> dict[int, int]:
    """A fold for every free group: large ones first, each where its labels are fewest."""
    draw = np.random.default_rng(seed)
    members = {one: targets[groups == one] for one in free}
    chance = dict(zip(free, draw.permutation(len(free)).tolist(), strict=True))
    order = sorted(free, key=lambda one: (-len(members[one]), chance[one]))
    there = np.zeros((max(count, 1), int(targets.max(initial=0)) + 1), np.int64)
    placed = {}
    for one in order:
        alike = there[:, np.unique(members[one])].sum(axis=1)
        fold = int(np.lexsort((there.sum(axis=1), alike))[0])
        np.add.at(there[fold], members[one], 1)
        placed[one] = fold
    return placed


def _in_order(found: Numbers) -> Numbers:
    _, first, back = np.unique(found, return_index=True, return_inverse=True)
    rank = np.empty(len(first), np.int64)
    rank[np.argsort(first)] = np.arange(len(first))
    return rank[back]
