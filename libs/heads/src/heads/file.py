"""The file that a head is kept in: safetensors, all but the tensors as JSON in its metadata."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray
from safetensors import SafetensorError
from safetensors.numpy import load, save

FORMAT: Final = 1
"""Raised when a file means something else than before."""

_KEY: Final = "darkroom.head"
"""The only key of the metadata: safetensors writes several in any order."""
_NAMES: Final = ("weights", "bias", "means")
_MOST_BYTES: Final = 1 << 28
"""256 MB: 10,000 labels on vectors of 3,000 numbers are less."""
_LENGTH_WITHIN: Final = 1e-3

Floats = NDArray[np.float32]


class HeadError(ValueError):
    """This is no head, or nothing that it can be applied to; says why."""


@dataclass(frozen=True, slots=True, eq=False)
class Content:
    """A head's parts; see heads.Head."""

    labels: tuple[str, ...]
    model_version: str
    weights: Floats
    bias: Floats
    means: Floats
    temperature: float
    rejection: tuple[float, float, float]


def packed(content: Content) -> bytes:
    """The file: the same bytes for the same content."""
    about = {
        "format": FORMAT,
        "labels": content.labels,
        "model_version": content.model_version,
        "rejection": content.rejection,
        "temperature": content.temperature,
    }
    text = json.dumps(about, sort_keys=True, separators=(",", ":"), ensure_ascii=False)
    tensors = {name: np.ascontiguousarray(getattr(content, name)) for name in _NAMES}
    return save(tensors, {_KEY: text})


def unpacked(data: bytes) -> Content:
    """What `packed` made these bytes of. Raises HeadError; the content is not yet checked."""
    if len(data) > _MOST_BYTES:
        raise HeadError(f"A head has at most {_MOST_BYTES:,} bytes, this has {len(data):,}.")
    try:
        tensors = load(data)
    except (SafetensorError, ValueError, KeyError, TypeError) as error:
        raise HeadError(f"This is no safetensors file, or a damaged one: {error}.") from error
    about = _about(data)
    missing = [name for name in _NAMES if name not in tensors]
    if missing or len(tensors) != len(_NAMES):
        raise HeadError(
            f"A head has the tensors {', '.join(_NAMES)}; this has"
            f" {', '.join(sorted(tensors)) or 'none'}."
        )
    wrong = [name for name in _NAMES if tensors[name].dtype != np.float32]
    if wrong:
        raise HeadError(f"The tensor {wrong[0]} is of {tensors[wrong[0]].dtype}, not of float32.")
    return Content(
        weights=tensors["weights"],
        bias=tensors["bias"],
        means=tensors["means"],
        **_parts(about),
    )


def check(content: Content) -> None:
    """Raises HeadError for parts that do not make a head."""
    _check_labels(content.labels)
    if not content.model_version:
        raise HeadError("A head names the model version of its embeddings.")
    _check_shapes(content)
    for name in _NAMES:
        if not np.isfinite(getattr(content, name)).all():
            raise HeadError(f"The tensor {name} has numbers that are not finite.")
    lengths = np.linalg.norm(content.means.astype(np.float64), axis=1)
    if (np.abs(lengths - 1) > _LENGTH_WITHIN).any():
        raise HeadError("The labels' means are not of length 1.")
    if not (np.isfinite(content.temperature) and content.temperature > 0):
        raise HeadError(f"A temperature is a number above 0, not {content.temperature}.")
    if not np.isfinite(content.rejection).all():
        raise HeadError("The rule for none has numbers that are not finite.")


def _check_labels(labels: tuple[str, ...]) -> None:
    if not labels:
        raise HeadError("A head has at least one label.")
    if not all(labels) or len(set(labels)) != len(labels):
        raise HeadError("A head's labels have names, and each another.")
    if "none" in labels:
        raise HeadError("No label is called none: that is what fits no label.")


def _check_shapes(content: Content) -> None:
    count = len(content.labels)
    if content.weights.ndim != 2 or len(content.weights) not in (count, count + 1):
        raise HeadError(
            f"Weights of shape {content.weights.shape} are not those of {count} labels, with none"
            " or without."
        )
    rows, dimension = content.weights.shape
    for name, wanted in (("bias", (rows,)), ("means", (count, dimension))):
        shape = getattr(content, name).shape
        if shape != wanted:
            raise HeadError(f"The tensor {name} has the shape {shape} instead of {wanted}.")
    if not dimension:
        raise HeadError("Embeddings have at least one number.")


def _about(data: bytes) -> Mapping[str, Any]:
    """The metadata. The header is known to be sound: the tensors were read by it."""
    length = int.from_bytes(data[:8], "little")
    header = json.loads(data[8 : 8 + length])
    try:
        about = json.loads(header["__metadata__"][_KEY])
        found = about["format"]
    except (KeyError, TypeError, ValueError) as error:
        raise HeadError("This is a safetensors file, but not of a head.") from error
    if found != FORMAT:
        raise HeadError(f"This head has the format {found}; known is {FORMAT}.")
    parts: Mapping[str, Any] = about
    return parts


def _parts(about: Mapping[str, Any]) -> dict[str, Any]:
    try:
        labels, version = about["labels"], about["model_version"]
        if not isinstance(version, str) or not all(isinstance(one, str) for one in labels):
            raise TypeError("names are text")
        near, odds, offset = (float(one) for one in about["rejection"])
        return {
            "labels": tuple(labels),
            "model_version": version,
            "temperature": float(about["temperature"]),
            "rejection": (near, odds, offset),
        }
    except (KeyError, TypeError, ValueError) as error:
        raise HeadError(f"The head's metadata are incomplete: {error}.") from error
