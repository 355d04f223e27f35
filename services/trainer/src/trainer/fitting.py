"""A head from examples."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray
from threadpoolctl import threadpool_limits

from heads import Head, Rejection
from trainer.calibration import loss, temperature
from trainer.examples import Examples, ExamplesError
from trainer.folds import ALWAYS_TAUGHT, Numbers, folds, held_out
from trainer.logistic import Doubles, fitted
from trainer.policy import USUAL, Policy
from trainer.rejection import BY_ODDS, by_distance, rule

Pause = Callable[[], None]
"""Called between steps of some seconds at most; what it raises ends the work."""

_ALONE: Final = 0.5
_LEFT_OUT: Final = 5
"""Parts that labels are left out in, to see how strangers look."""
_NO_WORSE: Final = 1e-3


def nothing() -> None:
    """Where there is nobody to ask whether to go on."""


@dataclass(frozen=True, slots=True)
class Trained:
    """A head and how it came about; `chosen_by`: examples that strength and temperature were chosen
    by, 0 if there were too few."""

    head: Head
    strength: float
    chosen_by: int


@dataclass(frozen=True, slots=True)
class _Ground:
    """Examples in the coordinates of the space that they span: there are fewer of these than an
    embedding has numbers, and logistic regression with a quadratic penalty is the same in both."""

    examples: Examples
    vectors: Doubles
    back: Doubles
    targets: Numbers
    weights: Doubles
    policy: Policy
    pause: Pause

    @property
    def labels(self) -> int:
        return len(self.examples.names)

    def some(self, chosen: NDArray[np.bool_], strength: float) -> tuple[Doubles, Doubles]:
        """Weights and bias of a head of these."""
        self.pause()
        return fitted(self.vectors[chosen], self.targets[chosen], self.weights[chosen], strength)


def fit(
    examples: Examples,
    model_version: str,
    policy: Policy = USUAL,
    seed: int = 0,
    pause: Pause = nothing,
) -> Trained:
    """The head of these examples: the same for the same, whatever their order.

    Raises ExamplesError if no label has an example.
    """
    if not examples.names:
        raise ExamplesError("There is no example of any label.")
    # more threads add in another order, and wait for each other where matrices are small
    with threadpool_limits(1):
        return _fit(examples, model_version, policy, seed, pause)


def _fit(
    examples: Examples, model_version: str, policy: Policy, seed: int, pause: Pause
) -> Trained:
    ground = _ground(examples, policy, pause)
    of_folds = folds(examples, policy, seed)
    strength, divisor, chosen_by = _chosen(ground, of_folds)
    rows, bias = ground.some(np.ones(len(examples), np.bool_), strength)
    means = _means(ground.vectors, ground)
    head = Head(
        labels=examples.names,
        model_version=model_version,
        weights=(rows @ ground.back).astype(np.float32),
        bias=bias.astype(np.float32),
        means=_unit(means @ ground.back).astype(np.float32),
        temperature=divisor,
        rejection=_rejection(ground, of_folds, strength, seed),
    )
    return Trained(head, strength, chosen_by)


def _ground(examples: Examples, policy: Policy, pause: Pause) -> _Ground:
    vectors = examples.vectors.astype(np.float64)
    back = np.eye(vectors.shape[1])
    if len(vectors) < vectors.shape[1]:
        _, sizes, basis = np.linalg.svd(vectors, full_matrices=False)
        back = basis[sizes > sizes[0] * 1e-9]
        vectors = vectors @ back.T
    weights = examples.weights.astype(np.float64)
    return _Ground(examples, vectors, back, examples.targets, weights, policy, pause)


def _chosen(ground: _Ground, of_folds: Numbers) -> tuple[float, float, int]:
    """Strength and temperature under which what was held out is likeliest, and of how many."""
    policy = ground.policy
    judged = (of_folds != ALWAYS_TAUGHT) & (ground.targets < ground.labels)
    if not judged.any() or ground.labels < 2:
        return policy.usual_strength, policy.usual_temperature, 0
    best, choice = np.inf, (policy.usual_strength, policy.usual_temperature)
    right, weights = ground.targets[judged], ground.weights[judged]
    for strength in sorted(policy.strengths):
        logits = _unseen(ground, of_folds, strength)[judged, : ground.labels]
        divisor = temperature(logits, right, weights, policy.usual_temperature)
        cost = loss(logits, right, weights, divisor)
        if cost < best - _NO_WORSE:
            best, choice = cost, (strength, divisor)
    return *choice, int(judged.sum())


def _unseen(ground: _Ground, of_folds: Numbers, strength: float) -> Doubles:
    """Logits of everything that is held out, by heads that were not shown it; else nan."""
    logits = np.full((len(of_folds), int(ground.targets.max()) + 1), np.nan)
    for out in held_out(of_folds):
        rows, bias = ground.some(~out, strength)
        logits[out] = ground.vectors[out] @ rows.T + bias
    return logits


def _rejection(ground: _Ground, of_folds: Numbers, strength: float, seed: int) -> Rejection:
    """Fitted to how examples look to heads that don't know them: those of labels that such a head
    was taught fit; those of labels that were kept from it, and of `none`, do not."""
    fits, strangers = _evidence(ground, of_folds, strength, seed)
    if not len(fits) or not len(strangers):
        if _knows_none(ground):
            return BY_ODDS
        return by_distance(_unit(_means(ground.vectors, ground)), _ALONE)
    return rule(fits, strangers, ground.policy.most_rejected)


def _evidence(
    ground: _Ground, of_folds: Numbers, strength: float, seed: int
) -> tuple[Doubles, Doubles]:
    is_none = ground.targets == ground.labels
    if _knows_none(ground):
        return _told(ground, of_folds, strength, is_none)
    fits, strangers = [np.empty((0, 2))], [np.empty((0, 2))]
    for out, hidden in _hidings(ground, of_folds, seed):
        taught = ~(out | hidden)
        names = np.unique(ground.targets[taught])
        if not len(names):
            continue
        rows, bias, means = _taught(ground, taught, strength)
        fitting = out & np.isin(ground.targets, names) & ~hidden
        fits.append(_look(ground.vectors[fitting], rows, bias, means))
        strangers.append(_look(ground.vectors[hidden], rows, bias, means))
    return np.concatenate(fits), np.concatenate(strangers)


def _knows_none(ground: _Ground) -> bool:
    return int((ground.targets == ground.labels).sum()) >= ground.policy.least_none


def _told(
    ground: _Ground, of_folds: Numbers, strength: float, is_none: NDArray[np.bool_]
) -> tuple[Doubles, Doubles]:
    """As heads that know `none` see what they were not shown."""
    fits, strangers = [np.empty((0, 2))], [np.empty((0, 2))]
    for out in held_out(of_folds):
        rows, bias = ground.some(~out, strength)
        means = _unit(_means(ground.vectors, ground, ~out))
        evidence = _look(ground.vectors, rows, bias, means, ground.labels)
        fits.append(evidence[out & ~is_none])
        strangers.append(evidence[out & is_none])
    return np.concatenate(fits), np.concatenate(strangers)


def _hidings(
    ground: _Ground, of_folds: Numbers, seed: int
) -> list[tuple[NDArray[np.bool_], NDArray[np.bool_]]]:
    """In each round: what is held out, and what is of labels (or none) that are kept secret."""
    draw = np.random.default_rng((seed, 1))
    rounds = min(_LEFT_OUT, max(ground.labels, 1))
    parts = draw.permutation(ground.labels) % rounds
    part_of = np.append(parts, 0)
    is_none = ground.targets == ground.labels
    places = np.where(of_folds == ALWAYS_TAUGHT, ALWAYS_TAUGHT, of_folds % rounds)
    if ground.labels == 1:
        return [(out, is_none) for out in held_out(of_folds)]
    return [(places == turn, is_none | (part_of[ground.targets] == turn)) for turn in range(rounds)]


def _taught(
    ground: _Ground, taught: NDArray[np.bool_], strength: float
) -> tuple[Doubles, Doubles, Doubles]:
    """Weights, bias and means of a head that knows some labels only."""
    ground.pause()
    names, targets = np.unique(ground.targets[taught], return_inverse=True)
    vectors, weights = ground.vectors[taught], ground.weights[taught]
    rows, bias = fitted(vectors, targets, weights, strength)
    means = _averages(vectors, targets, weights, len(names))
    return rows, bias, _unit(means)


def _look(
    vectors: Doubles, rows: Doubles, bias: Doubles, means: Doubles, labels: int | None = None
) -> Doubles:
    """What `heads.Head.logits` calls evidence; `labels`: rows before that of `none`."""
    logits = vectors @ rows.T + bias
    odds = np.logaddexp.reduce(logits[:, :labels], axis=1)
    if labels is not None:
        odds = odds - logits[:, labels]
    return np.stack([(vectors @ means.T).max(axis=1), odds], axis=1)


def _means(vectors: Doubles, ground: _Ground, chosen: NDArray[np.bool_] | None = None) -> Doubles:
    is_label = ground.targets < ground.labels
    among = is_label if chosen is None else is_label & chosen
    return _averages(vectors[among], ground.targets[among], ground.weights[among], ground.labels)


def _averages(vectors: Doubles, targets: Numbers, weights: Doubles, labels: int) -> Doubles:
    sums = np.zeros((labels, vectors.shape[1]))
    np.add.at(sums, targets, vectors * weights[:, None])
    return sums


def _unit(vectors: Doubles) -> Doubles:
    scaled: Doubles = vectors / np.linalg.norm(vectors, axis=1, keepdims=True)
    return scaled
