"""Labels on embeddings of unit length."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from hashlib import sha256
from pathlib import Path
from typing import Final, TypeVar

import numpy as np
from numpy.typing import NDArray

from heads import file
from heads.file import Content, HeadError

Floats = NDArray[np.float32]
_Number = TypeVar("_Number", np.float32, np.float64)

_LENGTH_WITHIN: Final = 1e-2
"""An embedding's length may differ from 1 by this much: of what was stored in half precision."""


@dataclass(frozen=True, slots=True)
class Rejection:
    """When a photo shows none of the labels.

    `near`: weight of the cosine to the nearest label's mean. `odds`: weight of what all labels'
    logits come to together, less the logit of `none` if the head learned one. `offset` is added.
    The logistic function of the sum is the probability that any label fits.
    """

    near: float
    odds: float
    offset: float


@dataclass(frozen=True, slots=True, eq=False)
class Predictions:
    """Of n embeddings: `confidences` (n, labels), and `none` (n), which is the rest up to 1."""

    labels: tuple[str, ...]
    confidences: Floats
    none: Floats

    def best(self) -> list[tuple[str | None, float]]:
        """The likeliest label of each and its confidence; None where `none` is likelier than not.

        Whether any label fits is decided first, then which: where two labels share the confidence,
        that is no reason to say `none`.
        """
        first = self.confidences.argmax(axis=1)
        return [
            (None, float(none)) if none > 0.5 else (self.labels[at], float(row[at]))
            for at, row, none in zip(first, self.confidences, self.none, strict=True)
        ]


@dataclass(frozen=True, eq=False)
class Head:
    """A linear classifier on embeddings of one model.

    `weights` (rows, dimension) and `bias` (rows) give logits: a row per label in the order of
    `labels`, and one more for `none` if there were examples of it. `means` (labels, dimension) are
    the labels' mean embeddings, of unit length. The labels' logits are divided by `temperature`.
    `model_version` is that of the embeddings: no others can be told apart by it. Its arrays are
    never changed. Raises HeadError for what does not fit together.
    """

    labels: tuple[str, ...]
    model_version: str
    weights: Floats
    bias: Floats
    means: Floats
    temperature: float
    rejection: Rejection

    def __post_init__(self) -> None:
        file.check(self._content())

    @property
    def dimension(self) -> int:
        """Numbers in an embedding."""
        return int(self.weights.shape[1])

    @property
    def knows_none(self) -> bool:
        """Whether it was given examples of `none`."""
        return len(self.weights) > len(self.labels)

    def logits(self, vectors: Floats) -> tuple[Floats, Floats]:
        """Of n embeddings: a logit per label (n, labels), not yet divided by the temperature, and
        what `Rejection` weighs (n, 2). Raises HeadError for what are no such embeddings."""
        self._refuse(vectors)
        rows = vectors @ self.weights.T + self.bias
        count = len(self.labels)
        odds = _log_sum(rows[:, :count])
        if self.knows_none:
            odds = odds - rows[:, count]
        near = (vectors @ self.means.T).max(axis=1)
        return rows[:, :count], np.stack([near, odds], axis=1)

    def predict(self, vectors: Floats) -> Predictions:
        """Confidences of n embeddings (n, dimension) of unit length.

        Raises HeadError for what are no such embeddings.
        """
        logits, evidence = self.logits(vectors)
        rule = self.rejection
        weights = np.array([rule.near, rule.odds], np.float64)
        fits = _logistic(evidence.astype(np.float64) @ weights + rule.offset)
        scaled = logits.astype(np.float64) / self.temperature
        shares = np.exp(scaled - _log_sum(scaled)[:, None])
        none = (1.0 - fits).astype(np.float32)
        return Predictions(self.labels, (shares * fits[:, None]).astype(np.float32), none)

    @cached_property
    def data(self) -> bytes:
        """The file's bytes: the same for the same head."""
        return file.packed(self._content())

    @cached_property
    def version(self) -> str:
        """SHA-256 of the file's bytes, in hex."""
        return sha256(self.data).hexdigest()

    def save(self, path: Path) -> None:
        """Write the file so that nobody ever reads half of it."""
        fresh = path.with_name(f".{path.name}.new")
        fresh.write_bytes(self.data)
        fresh.replace(path)

    @classmethod
    def load(cls, path: Path) -> "Head":
        """From a file. Raises HeadError, OSError."""
        return cls.of(path.read_bytes())

    @classmethod
    def of(cls, data: bytes) -> "Head":
        """From a file's bytes. Raises HeadError for anything that is not a whole head."""
        content = file.unpacked(data)
        return cls(
            labels=content.labels,
            model_version=content.model_version,
            weights=content.weights,
            bias=content.bias,
            means=content.means,
            temperature=content.temperature,
            rejection=Rejection(*content.rejection),
        )

    def _content(self) -> Content:
        rule = self.rejection
        return Content(
            labels=self.labels,
            model_version=self.model_version,
            weights=self.weights,
            bias=self.bias,
            means=self.means,
            temperature=self.temperature,
            rejection=(rule.near, rule.odds, rule.offset),
        )

    def _refuse(self, vectors: Floats) -> None:
        if vectors.ndim != 2 or vectors.shape[1] != self.dimension:
            raise HeadError(
                f"The head takes embeddings of {self.dimension} numbers, of {self.model_version};"
                f" these are {_shape(vectors.shape)}."
            )
        lengths = np.sqrt(np.einsum("nd,nd->n", vectors, vectors, dtype=np.float64))
        wrong = np.flatnonzero(~(np.abs(lengths - 1.0) <= _LENGTH_WITHIN))
        if len(wrong):
            raise HeadError(
                f"Embedding {wrong[0]} is not of length 1 but {lengths[wrong[0]]:g}"
                f" ({len(wrong)} of {len(vectors)} are wrong)."
            )


def _shape(shape: Sequence[int]) -> str:
    return " x ".join(str(one) for one in shape) or "a number"


def _log_sum(rows: NDArray[_Number]) -> NDArray[_Number]:
    """The logarithm of the sum of exponentials of each row."""
    most = rows.max(axis=1)
    summed: NDArray[_Number] = most + np.log(np.exp(rows - most[:, None]).sum(axis=1))
    return summed


def _logistic(values: NDArray[np.float64]) -> NDArray[np.float64]:
    far: NDArray[np.float64] = np.exp(-np.abs(values))
    return np.where(values >= 0, 1 / (1 + far), far / (1 + far))
