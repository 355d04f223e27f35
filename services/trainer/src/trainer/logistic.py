"""Logistic regression of several labels."""

from typing import Final

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import minimize

Doubles = NDArray[np.float64]
Numbers = NDArray[np.int64]

_ITERATIONS: Final = 500
_CLOSE: Final = 1e-6


def balanced(targets: Numbers, weights: Doubles) -> Doubles:
    """The weights, scaled so that every label weighs the same, and all together their number."""
    totals = np.bincount(targets, weights)
    labels = np.count_nonzero(totals)
    scaled: Doubles = weights * len(targets) / (labels * totals[targets])
    return scaled


def fitted(
    vectors: Doubles, targets: Numbers, weights: Doubles, strength: float
) -> tuple[Doubles, Doubles]:
    """Weights (labels, d) and bias (labels) that give logits; each label from 0 on occurs.

    They make `strength` times the loss of the examples, plus half of the squares of the weights, as
    small as can be: the larger the strength, the closer the examples are followed.
    """
    labels, size = int(targets.max()) + 1, vectors.shape[1]
    if labels == 1:
        return np.zeros((1, size)), np.zeros(1)
    of_each = balanced(targets, weights) / len(targets)
    pull = 1.0 / (strength * len(targets))
    places = np.arange(len(targets))
    extended = np.column_stack([vectors, np.ones(len(vectors))])

    def cost(at: Doubles) -> tuple[float, Doubles]:
        rows = at.reshape(labels, size + 1)
        logits = extended @ rows.T
        logits -= logits.max(axis=1, keepdims=True)
        shares = np.exp(logits)
        sums = shares.sum(axis=1)
        losses = np.log(sums) - logits[places, targets]
        shares /= sums[:, None]
        shares[places, targets] -= 1.0
        slope = (shares * of_each[:, None]).T @ extended
        slope[:, :size] += pull * rows[:, :size]
        penalty = 0.5 * pull * float((rows[:, :size] ** 2).sum())
        return float(of_each @ losses) + penalty, slope.ravel()

    start = np.zeros(labels * (size + 1))
    options = {"maxiter": _ITERATIONS, "gtol": _CLOSE, "ftol": 1e-12, "maxcor": 20}
    best = minimize(cost, start, jac=True, method="L-BFGS-B", options=options).x
    rows = best.reshape(labels, size + 1)
    return rows[:, :size], rows[:, size]
