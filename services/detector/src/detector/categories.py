"""Categories that a person would sort photos into.

Those of the classes of ImageNet-1k stand in `imagenet_categories.tsv`, one line per class in the
order of the model's outputs: the label and, after a tab, its one category.
"""

from collections.abc import Sequence
from importlib import resources
from typing import Final

import numpy as np
from numpy.typing import NDArray


def _read() -> tuple[str, ...]:
    file = resources.files("detector").joinpath("imagenet_categories.tsv")
    return tuple(line.split("\t")[1] for line in file.read_text(encoding="utf-8").splitlines())


CATEGORY_OF_CLASS: Final = _read()
"""The category of each of the 1,000 classes."""


def best_category(
    probabilities: NDArray[np.float64], category_of_class: Sequence[str]
) -> str | None:
    """The category whose classes have the largest sum of probabilities.

    A photo that hovers between three breeds is still surely a dog. Of equal sums, the first name
    in the alphabet. Classes of the category "" have none: None, where these or what the
    probabilities lack to 1 outweigh every category.
    """
    names, members = np.unique(np.asarray(category_of_class), return_inverse=True)
    sums = np.bincount(members, weights=probabilities)
    best = sums.argmax()
    nothing = 1.0 - float(sums.sum())
    return None if nothing > sums[best] else str(names[best]) or None
