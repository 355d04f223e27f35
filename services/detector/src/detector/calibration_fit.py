"""Fitting a Calibration to photos whose labels are known. Pure numpy, deterministic.

One temperature for all (Guo et al. 2017, On Calibration of Modern Neural Networks, section 4.2):
the one under which what the photos show was likeliest. Two things are added to the paper. Every
number has a normal prior, so that few photos, or photos that are all right, give a moderate answer
instead of an endless one; at 200 photos it hardly matters. And "none of these" is one logit more,
whose weight is fitted with the temperature if there are photos of nothing that has a label.
"""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Final, Self

import numpy as np
from numpy.typing import NDArray

from detector.calibration import COLDEST, HOTTEST, LARGEST_LOGIT, Calibration

NONE: Final = -1
"""In place of a label's number: none of these."""

ENOUGH_OF_A_LABEL: Final = 50
"""Groups with this best label from which on it gets a temperature of its own."""

_PRIOR: Final = 1.0
"""Standard deviation of log temperature around 0: most networks are taken to need 1/7 to 7."""

_LABEL_PRIOR: Final = 0.25
"""The same of a label's around the global one: twice or half as hot is rare."""

_NONE_PRIOR: Final = 4.0
"""The same of the weight of none of these, in temperatures, around what is assumed at first."""

_FINENESS: Final = 1e-4
"""Of log temperature."""

_HALVINGS: Final = 60
_ROWS: Final = 1_024
"""Rows of logits that are reckoned with at a time, in double precision."""


@dataclass(frozen=True, slots=True)
class Labelled:
    """n photos: logits (n, k) float32 and finite, the number of the label that each shows or NONE
    (n,), and its group (n,): photos of a group tell of each other and are held out together.
    """

    logits: NDArray[np.float32]
    truth: NDArray[np.intp]
    groups: NDArray[np.intp]

    def __len__(self) -> int:
        return len(self.truth)

    def only(self, rows: NDArray[np.bool_]) -> Self:
        """Some of them."""
        return type(self)(self.logits[rows], self.truth[rows], self.groups[rows])

    @property
    def independent(self) -> int:
        """Groups: as many photos as tell something of their own."""
        return len(np.unique(self.groups))


def fit(sample: Labelled, labels: Sequence[str], none_logit: float | None) -> Calibration:
    """The likeliest temperatures, and what none of these weighs. `n` is set, its origin is not.

    `n` counts groups: a hundred photos that tell of each other are not a hundred.
    `labels` are the k names, `none_logit` is what the labeller itself gives none of these; that is
    fitted anew only if the sample has photos of none. Labels with ENOUGH_OF_A_LABEL photos get
    temperatures of their own, drawn towards the global one. Raises ValueError without photos.
    """
    if not len(sample):
        raise ValueError("nothing can be fitted to no photos")
    likelihood = _Likelihood(sample)
    if (sample.truth == NONE).any():
        temperature, none_logit = _with_none(likelihood, none_logit)
        fitted = none_logit
    else:
        temperature = _likeliest(partial(likelihood.loss, none_logit=none_logit), 0.0, _PRIOR)
        fitted = None
    return Calibration(
        temperature=temperature,
        per_label=_per_label(sample, labels, temperature, none_logit),
        none_logit=fitted,
        n=sample.independent,
    )


class _Likelihood:
    """How well temperatures explain a sample."""

    def __init__(self, sample: Labelled) -> None:
        known = sample.truth != NONE
        self._logits = sample.logits
        self._peaks = sample.logits.max(axis=1).astype(np.float64)
        self._said = float(sample.logits[known, sample.truth[known]].sum(dtype=np.float64))
        self.nones = int((~known).sum())
        self.middle = float(np.median(self._peaks))
        """The typical best logit."""

    def loss(self, temperature: float, none_logit: float | None) -> float:
        """Negative log-likelihood, in nats."""
        return self._loss(self.totals(temperature), temperature, none_logit)

    def loss_with(self, temperature: float, expected: float) -> tuple[float, float]:
        """The loss at the likeliest weight of none of these, its prior included, and that weight.

        `expected`: the weight around which it is looked for.
        """
        totals = self.totals(temperature)
        none_logit = _none_logit(totals, self.nones, temperature, expected)
        off = (none_logit - expected) / temperature / _NONE_PRIOR
        return self._loss(totals, temperature, none_logit) + off**2 / 2, none_logit

    def totals(self, temperature: float) -> NDArray[np.float64]:
        """Logarithm of each row's sum of exp(logit / temperature)."""
        sums = np.empty(len(self._peaks))
        for at in range(0, len(sums), _ROWS):
            rows = slice(at, at + _ROWS)
            below = self._logits[rows].astype(np.float64) - self._peaks[rows, None]
            sums[rows] = np.exp(below / temperature).sum(axis=1)
        totals: NDArray[np.float64] = np.log(sums) + self._peaks / temperature
        return totals

    def _loss(
        self, totals: NDArray[np.float64], temperature: float, none_logit: float | None
    ) -> float:
        if none_logit is None:
            return float(totals.sum()) - self._said / temperature
        weight = none_logit / temperature
        all_in_all = float(np.logaddexp(totals, weight).sum())
        return all_in_all - self._said / temperature - self.nones * weight


def _with_none(likelihood: _Likelihood, own: float | None) -> tuple[float, float]:
    """The likeliest temperature and weight of none of these."""
    expected = likelihood.middle if own is None else own
    temperature = _likeliest(lambda t: likelihood.loss_with(t, expected)[0], 0.0, _PRIOR)
    return temperature, likelihood.loss_with(temperature, expected)[1]


def _none_logit(
    totals: NDArray[np.float64], nones: int, temperature: float, expected: float
) -> float:
    """The weight at which as many photos show none of these as do, but for the prior's pull.

    The difference grows with the weight, so that halving finds where it is 0.
    """
    middle = expected / temperature
    reach = _NONE_PRIOR**2 * len(totals)
    low, high = middle - reach, middle + reach
    for _ in range(_HALVINGS):
        weight = (low + high) / 2
        shares = (1 + np.tanh((weight - totals) / 2)) / 2
        if float(shares.sum()) - nones + (weight - middle) / _NONE_PRIOR**2 > 0:
            high = weight
        else:
            low = weight
    return float(np.clip(low * temperature, -LARGEST_LOGIT, LARGEST_LOGIT))


def _per_label(
    sample: Labelled, labels: Sequence[str], temperature: float, none_logit: float | None
) -> dict[str, float]:
    """Temperatures of the labels that are best on enough photos."""
    best = sample.logits.argmax(axis=1)
    found = {}
    for number in np.unique(best).tolist():
        of_label = sample.only(best == number)
        if of_label.independent >= ENOUGH_OF_A_LABEL:
            loss = partial(_Likelihood(of_label).loss, none_logit=none_logit)
            found[labels[number]] = _likeliest(loss, math.log(temperature), _LABEL_PRIOR)
    return found


def _likeliest(loss: Callable[[float], float], centre: float, spread: float) -> float:
    """The temperature with the least loss and prior: the best power of 2, then golden section."""

    def cost(log: float) -> float:
        return loss(math.exp(log)) + ((log - centre) / spread) ** 2 / 2

    low, high = math.log(COLDEST), math.log(HOTTEST)
    coarse = [low, *np.arange(math.ceil(low), high, math.log(2)), high]
    at = int(np.argmin([cost(log) for log in coarse]))
    near, far = coarse[max(0, at - 1)], coarse[min(len(coarse) - 1, at + 1)]
    return math.exp(_golden(cost, near, far))


def _golden(cost: Callable[[float], float], low: float, high: float) -> float:
    """Where a function with one valley is least (Kiefer 1953)."""
    golden = (math.sqrt(5) - 1) / 2
    left, right = high - golden * (high - low), low + golden * (high - low)
    at_left, at_right = cost(left), cost(right)
    while high - low > _FINENESS:
        if at_left < at_right:
            high, right, at_right = right, left, at_left
            left = high - golden * (high - low)
            at_left = cost(left)
        else:
            low, left, at_left = left, right, at_right
            right = low + golden * (high - low)
            at_right = cost(right)
    return (low + high) / 2
