"""How sure a head may be, and whether it is as often right as it says."""

from typing import Final

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import minimize_scalar
from scipy.special import log_softmax

from trainer.logistic import Doubles, Numbers

_BINS: Final = 10
_BETWEEN: Final = (1e-2, 1e2)
_PULL: Final = 5.0
"""How many answers the usual temperature counts for: a handful of examples says little."""


def temperature(logits: Doubles, targets: Numbers, weights: Doubles, usual: float) -> float:
    """By what logits are divided so that the softmax of them is as likely as it can be."""

    def cost(log: float) -> float:
        return loss(logits, targets, weights, float(np.exp(log))) + _PULL * float(
            log - np.log(usual)
        ) ** 2 / max(float(weights.sum()), 1.0)

    if not len(targets) or logits.shape[1] < 2:
        return usual
    bounds = tuple(np.log(_BETWEEN))
    return float(np.exp(minimize_scalar(cost, bounds=bounds, method="bounded").x))


def loss(logits: Doubles, targets: Numbers, weights: Doubles, divisor: float) -> float:
    """Mean of what the right labels' probabilities lack, in nats."""
    told = log_softmax(logits / divisor, axis=1)[np.arange(len(targets)), targets]
    return float(-(told * weights).sum() / weights.sum())


def calibration_error(confidences: Doubles, right: NDArray[np.bool_]) -> float:
    """Expected calibration error: of answers about as sure as each other, by how much the share of
    right ones differs from what they say, in the mean (10 bins of equal width)."""
    if not len(confidences):
        return 0.0
    bins = np.minimum((confidences * _BINS).astype(np.int64), _BINS - 1)
    apart = np.bincount(bins, confidences - right.astype(np.float64), _BINS)
    return float(np.abs(apart).sum() / len(confidences))


def wilson(right: int, of: int) -> tuple[float, float]:
    """Between what a share lies in 95 of 100 samples like this one (Wilson, 1927)."""
    if of == 0:
        return 0.0, 1.0
    z, share = 1.959964, right / of
    middle = (share + z * z / (2 * of)) / (1 + z * z / of)
    half = z / (1 + z * z / of) * np.sqrt(share * (1 - share) / of + z * z / (4 * of * of))
    return max(0.0, float(middle - half)), min(1.0, float(middle + half))
