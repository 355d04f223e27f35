"""Which of a head's labels a photo gets: one rule for all who apply heads."""

from typing import Final

import numpy as np

from heads.head import Floats, Head

MOST: Final = 5
"""Labels that one head gives a photo."""


def labels_of(head: Head, vectors: Floats, most: int = MOST) -> list[list[tuple[str, float]]]:
    """The labels of each of n embeddings with their confidences, best first, at most so many;
    of equals in the head's order. None at all where `none` is likelier than not.

    Raises HeadError for what are no such embeddings.
    """
    found = head.predict(vectors)
    order = np.argsort(-found.confidences, axis=1, kind="stable")[:, :most]
    return [
        [] if none > 0.5 else [(found.labels[at], float(row[at])) for at in best]
        for best, row, none in zip(order, found.confidences, found.none, strict=True)
    ]
