"""Examples of labels: embeddings of photos of which someone said what they show."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float32]
Label = str | None
"""None: none of the labels."""

FULL_WEIGHT: Final = 1.0
"""Of what a person said. What a head labelled weighs less: it teaches, but judges nothing."""

_LENGTH_WITHIN: Final = 1e-2


class ExamplesError(ValueError):
    """These can't be examples; says why."""


@dataclass(frozen=True, slots=True, eq=False)
class Examples:
    """In the order of labels and keys, whatever order they were given in.

    `keys` name them, each another; `vectors` (n, d) are of unit length; `weights` (n) are above 0,
    1 being a person's word.
    """

    keys: tuple[str, ...]
    labels: tuple[Label, ...]
    vectors: Floats
    weights: Floats

    @classmethod
    def of(
        cls,
        keys: Sequence[str],
        labels: Sequence[Label],
        vectors: Floats,
        weights: Sequence[float] | None = None,
    ) -> "Examples":
        """Raises ExamplesError for what does not fit together, or is poisoned."""
        told = np.ones(len(keys)) if weights is None else np.asarray(weights)
        _check(keys, labels, vectors, told)
        bad = poisoned(keys, vectors)
        if bad:
            key, why = next(iter(bad.items()))
            raise ExamplesError(f"Example {key}: {why} ({len(bad)} of {len(keys)} are poisoned).")
        order = sorted(range(len(keys)), key=lambda at: (labels[at] is None, labels[at], keys[at]))
        return cls(
            tuple(keys[at] for at in order),
            tuple(labels[at] for at in order),
            np.asarray(vectors[order], np.float32),
            told[order].astype(np.float32),
        )

    def __len__(self) -> int:
        return len(self.keys)

    @property
    def names(self) -> tuple[str, ...]:
        """The labels that there are examples of, `none` not among them."""
        return tuple(sorted({label for label in self.labels if label is not None}))

    @property
    def targets(self) -> NDArray[np.int64]:
        """Each one's label by its number in `names`; `none` is the number after the last."""
        numbers: dict[Label, int] = {name: at for at, name in enumerate(self.names)}
        numbers[None] = len(numbers)
        return np.array([numbers[label] for label in self.labels], np.int64)

    @property
    def judges(self) -> NDArray[np.bool_]:
        """Which a person gave."""
        return self.weights >= FULL_WEIGHT

    def some(self, chosen: NDArray[np.bool_]) -> "Examples":
        """These of them."""
        places = np.flatnonzero(chosen)
        return Examples(
            tuple(self.keys[at] for at in places),
            tuple(self.labels[at] for at in places),
            self.vectors[places],
            self.weights[places],
        )


def poisoned(keys: Sequence[str], vectors: Floats) -> Mapping[str, str]:
    """Which of them nothing can be learned from, and why: to leave them out, and to say so."""
    found = {}
    lengths = np.sqrt(np.einsum("nd,nd->n", vectors, vectors, dtype=np.float64))
    for key, length in zip(keys, lengths, strict=True):
        if not np.isfinite(length):
            found[key] = "its embedding has numbers that are not finite"
        elif abs(length - 1) > _LENGTH_WITHIN:
            found[key] = f"its embedding is not of length 1 but {length:g}"
    return found


def _check(
    keys: Sequence[str], labels: Sequence[Label], vectors: Floats, weights: NDArray[np.float64]
) -> None:
    if vectors.ndim != 2 or not len(keys) == len(labels) == len(vectors) == len(weights):
        raise ExamplesError("Keys, labels, vectors and weights are not of the same number.")
    if len(set(keys)) != len(keys):
        raise ExamplesError("Two examples have the same key.")
    if any(label in {"", "none"} for label in labels):
        raise ExamplesError("A label has a name, and not none: that is what fits no label.")
    if not (np.isfinite(weights).all() and (weights > 0).all()):
        raise ExamplesError("Weights are numbers above 0.")
