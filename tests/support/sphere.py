"""Embeddings whose structure is known: clusters on the sphere, one around each label's middle."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from trainer.examples import Examples, Label

DIMENSION = 32

Floats = NDArray[np.float32]


def unit(rows: NDArray[np.floating]) -> Floats:
    """Each of length 1."""
    return np.asarray(rows / np.linalg.norm(rows, axis=1, keepdims=True), np.float32)


def middles(labels: int, seed: int = 0, dimension: int = DIMENSION) -> Floats:
    """Of the clusters; about at right angles to each other."""
    return unit(np.random.default_rng((seed, 0)).normal(size=(labels, dimension)))


def around(middle: Floats, count: int, seed: int, width: float = 0.5) -> Floats:
    """As wide as the clusters are apart with a width of about 1."""
    noise = np.random.default_rng((seed, 1)).normal(size=(count, len(middle)))
    return unit(middle + width * noise / np.sqrt(len(middle)))


def clusters(
    labels: Sequence[Label],
    each: int,
    seed: int = 0,
    width: float = 0.5,
    among: Floats | None = None,
) -> Examples:
    """`each` examples of every label, with keys such as `cat-3`; `none` is anywhere at all."""
    places = middles(len(labels), seed) if among is None else among
    keys: list[str] = []
    told: list[Label] = []
    vectors: list[Floats] = []
    for number, label in enumerate(labels):
        keys += [f"{label or 'none'}-{one}" for one in range(each)]
        told += [label] * each
        if label is None:
            anywhere = np.random.default_rng((seed, 2)).normal(size=(each, places.shape[1]))
            vectors.append(unit(anywhere))
        else:
            vectors.append(around(places[number], each, 100 * seed + number, width))
    return Examples.of(keys, told, np.concatenate(vectors))


def with_labels(examples: Examples, labels: Sequence[Label]) -> Examples:
    """The same with other labels."""
    return Examples.of(examples.keys, labels, examples.vectors, examples.weights.tolist())
