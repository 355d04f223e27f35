"""When a photo shows none of the labels."""

from typing import Final

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import minimize

from heads import Rejection
from trainer.logistic import Doubles

_PULL: Final = 0.5
"""Against being surer than the evidence is."""


def rule(fits: Doubles, strangers: Doubles, most_rejected: float) -> Rejection:
    """Fitted to the evidence (n, 2) of photos that show a label and of photos that show none, all
    of them new to the heads that saw them; both kinds weigh the same. Neither a nearer label nor
    higher odds ever make `none` likelier. At most this share of `fits` is refused.
    """
    seen = np.concatenate([fits, strangers])
    middle, spread = seen.mean(axis=0), np.maximum(seen.std(axis=0), 1e-6)
    scaled = (seen - middle) / spread
    # Platt's targets: not quite 1 and 0, as if there had been one more of each
    wanted = np.repeat(
        [(len(fits) + 1) / (len(fits) + 2), 1 / (len(strangers) + 2)], [len(fits), len(strangers)]
    )
    weights = np.repeat([0.5 / len(fits), 0.5 / len(strangers)], [len(fits), len(strangers)])
    near, odds, offset = _logistic(scaled, wanted, weights * len(seen))
    told = np.sort(scaled[: len(fits)] @ [near, odds] + offset)
    offset -= min(0.0, float(told[int(most_rejected * len(told))]))
    near, odds = near / spread[0], odds / spread[1]
    return Rejection(float(near), float(odds), float(offset - near * middle[0] - odds * middle[1]))


def by_distance(means: Doubles, alone: float) -> Rejection:
    """Where no photo could be held out: what is as far from every label as labels are from each
    other shows none. With one label only, a cosine of `alone` is the border."""
    cosines = (means @ means.T)[np.triu_indices(len(means), 1)]
    border = float(cosines.mean()) if len(cosines) else alone
    near = 10.0 / max(1.0 - border, 0.1)
    return Rejection(near, 0.0, -near * border)


BY_ODDS: Final = Rejection(0.0, 2.0, 0.0)
"""Where there are examples of `none`, but no photo of a label could be held out: `none` if it is
likelier than all labels together, by logits of the usual temperature."""


def _logistic(evidence: Doubles, wanted: Doubles, weights: Doubles) -> NDArray[np.float64]:
    def cost(at: Doubles) -> tuple[float, Doubles]:
        sums = evidence @ at[:2] + at[2]
        losses = np.logaddexp(0, sums) - wanted * sums
        apart = weights * (1 / (1 + np.exp(-sums)) - wanted)
        slope = np.array([*(apart @ evidence + 2 * _PULL * at[:2]), apart.sum()])
        return float(weights @ losses + _PULL * (at[:2] ** 2).sum()), slope

    bounds = [(0.0, None), (0.0, None), (None, None)]
    found = minimize(cost, np.array([1.0, 1.0, 0.0]), jac=True, method="L-BFGS-B", bounds=bounds)
    best: Doubles = found.x
    return best
