"""How far confidences are from what they say, measured on photos that were not fitted on."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from detector.calibration import UNCALIBRATED, Calibration
from detector.calibration_fit import NONE, Labelled, fit

FOLDS: Final = 5
MOST_BINS: Final = 15
_LEAST_IN_A_BIN: Final = 20
_SIMULATIONS: Final = 200
_SEED: Final = 7


@dataclass(frozen=True, slots=True)
class Answers:
    """What would be shown of n photos: the best answer's confidence, and whether it was right.

    "None of these" is an answer like the labels.
    """

    confidence: NDArray[np.float64]
    right: NDArray[np.bool_]

    @property
    def accuracy(self) -> float:
        """Share of right answers."""
        return float(self.right.mean())

    @property
    def error(self) -> float:
        """Expected calibration error, see `calibration_error`."""
        return calibration_error(self.confidence, self.right)


@dataclass(frozen=True, slots=True)
class Measured:
    """Answers before and after calibration. `after` is None where no photos could be held out.

    `unavoidable`: the error that perfectly calibrated answers show on so few photos, on average.
    """

    before: Answers
    after: Answers | None
    unavoidable: float


def measure(sample: Labelled, labels: Sequence[str], none_logit: float | None) -> Measured:
    """By cross-validation: each photo is answered by a fit to the other FOLDS - 1 fifths.

    Arguments as of `fit`. Groups are never divided.
    """
    before = answers(sample, labels, none_logit, UNCALIBRATED)
    after = _held_out(sample, labels, none_logit)
    shown = before if after is None else after
    return Measured(before, after, unavoidable_error(shown.confidence))


def answers(
    sample: Labelled, labels: Sequence[str], none_logit: float | None, calibration: Calibration
) -> Answers:
    """What is shown of the photos under a calibration."""
    of_labels, none = calibration.probabilities(sample.logits, labels, none_logit)
    best = of_labels.argmax(axis=1)
    sure = of_labels.max(axis=1)
    said = np.where(none > sure, NONE, best)
    return Answers(np.maximum(none, sure), said == sample.truth)


def calibration_error(confidence: NDArray[np.float64], right: NDArray[np.bool_]) -> float:
    """Expected calibration error (Naeini et al. 2015) over bins with equally many photos.

    The mean of |share of right answers - mean confidence| over the bins, weighted by their photos:
    at most MOST_BINS bins, of about 20 photos each at least. 0 is perfect; chance keeps few photos
    from it.
    """
    n = len(confidence)
    inner_edges = np.quantile(confidence, np.linspace(0, 1, _bins(n) + 1)[1:-1])
    bins = np.searchsorted(inner_edges, confidence, side="right")  # equal ones are of one bin
    return float(np.abs(np.bincount(bins, weights=right - confidence)).sum() / n)


def unavoidable_error(confidence: NDArray[np.float64]) -> float:
    """What `calibration_error` is, on average, of answers that are right just as often as said."""
    random = np.random.default_rng(_SEED)
    errors = [
        calibration_error(confidence, random.random(len(confidence)) < confidence)
        for _ in range(_SIMULATIONS)
    ]
    return float(np.mean(errors))


def _bins(n: int) -> int:
    return min(MOST_BINS, max(1, n // _LEAST_IN_A_BIN))


def _held_out(sample: Labelled, labels: Sequence[str], none_logit: float | None) -> Answers | None:
    """Each photo answered by a fit to others; None if all are of one group."""
    fold = folds(sample)
    if fold.max() == 0:
        return None
    confidence, right = np.empty(len(sample)), np.empty(len(sample), dtype=np.bool_)
    for number in range(int(fold.max()) + 1):
        held = fold == number
        fitted = fit(sample.only(~held), labels, none_logit)
        found = answers(sample.only(held), labels, none_logit, fitted)
        confidence[held], right[held] = found.confidence, found.right
    return Answers(confidence, right)


def folds(sample: Labelled) -> NDArray[np.intp]:
    """The fold of each photo (n,), from 0: groups are shuffled and dealt out, label by label."""
    groups, first = np.unique(sample.groups, return_index=True)
    shuffled = np.random.default_rng(_SEED).permutation(len(groups))
    by_label = shuffled[np.argsort(sample.truth[first][shuffled], kind="stable")]
    fold_of = np.empty(len(groups), dtype=np.intp)
    fold_of[by_label] = np.arange(len(groups)) % FOLDS
    return fold_of[np.searchsorted(groups, sample.groups)]
