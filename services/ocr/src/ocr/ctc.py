"""Text out of what a CTC recogniser sees in the columns of a line (Graves et al. 2006)."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from ocr.words import Recognised


def decoded(
    probabilities: NDArray[np.float32], characters: Sequence[str], width: float
) -> Recognised:
    """The likeliest character of every column, repeated ones once.

    `probabilities`: columns x classes, of which class 0 is no character and class n + 1 is
    `characters[n]`. `width`: columns that show the line; the others show what it was padded with.
    The confidence of a line is the mean of its characters'.
    """
    best = probabilities.argmax(axis=1)
    begins = np.flatnonzero((best != 0) & (best != np.concatenate(([0], best[:-1]))))
    text = "".join(characters[best[column] - 1] for column in begins)
    sure = [float(probabilities[column, best[column]]) for column in begins]
    confidence = sum(sure) / len(sure) if sure else 0.0
    visible = [int(c) for c, char in zip(begins, text, strict=True) if not char.isspace()]
    return Recognised(text, confidence, sure, visible, width)
