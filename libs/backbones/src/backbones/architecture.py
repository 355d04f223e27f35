"""The layers of EfficientNet-Lite0 for inference, batch normalisations folded into convolutions.

Only their description: `torch_network` and `onnx_network` make it run. Written out here rather than
taken from timm (where it is `tf_efficientnet_lite0`): importing timm brings torch and torchvision
along. A test holds all of them equal.

Tan and Le, "EfficientNet" (2019); Liu, "Higher accuracy on vision models with EfficientNet-Lite"
(2020): B0 without squeeze-and-excite, with ReLU6, the stem and the head not scaled.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final, NamedTuple

CLASSES: Final = 1000
FEATURES: Final = 1280
SIDE: Final = 224
"""Pixels of the square input."""

_STEM: Final = 32


@dataclass(frozen=True, slots=True)
class Convolution:
    """Padded as TensorFlow's SAME does, with a bias, and with ReLU6 behind it if `active`."""

    inputs: int
    outputs: int
    kernel: int
    stride: int = 1
    groups: int = 1
    active: bool = True

    @property
    def padding(self) -> tuple[int, int]:
        """Pixels before and behind, on both axes.

        With stride 2, SAME pads an even side by kernel - 2 in all, the odd pixel at the end; every
        side here is even: 224, 112, 56, 28, 14. Padding symmetrically instead shifts what the
        weights see: the labels get visibly worse.
        """
        whole = self.kernel - self.stride
        return whole // 2, whole - whole // 2

    @property
    def shape(self) -> tuple[int, int, int, int]:
        """Of its weights."""
        return self.outputs, self.inputs // self.groups, self.kernel, self.kernel


@dataclass(frozen=True, slots=True)
class Block:
    """Convolutions one behind the other; `residual`: their input is added to what they give."""

    convolutions: tuple[Convolution, ...]
    residual: bool = False


class _Stage(NamedTuple):
    blocks: int
    kernel: int
    stride: int
    expansion: int
    channels: int


_STAGES: Final = (
    _Stage(1, 3, 1, 1, 16),
    _Stage(2, 3, 2, 6, 24),
    _Stage(2, 5, 2, 6, 40),
    _Stage(3, 3, 2, 6, 80),
    _Stage(3, 5, 1, 6, 112),
    _Stage(4, 5, 2, 6, 192),
    _Stage(1, 3, 1, 6, 320),
)


def blocks() -> Iterator[Block]:
    """From the picture to what is averaged over its places: FEATURES channels."""
    yield Block((Convolution(3, _STEM, 3, stride=2),))
    channels = _STEM
    for stage in _STAGES:
        for number in range(stage.blocks):
            yield _bottleneck(channels, stage, stage.stride if number == 0 else 1)
            channels = stage.channels
    yield Block((Convolution(channels, FEATURES, 1),))


def _bottleneck(inputs: int, stage: _Stage, stride: int) -> Block:
    """Inverted: widen, filter each channel, narrow."""
    wide = inputs * stage.expansion
    widen = (Convolution(inputs, wide, 1),) if stage.expansion > 1 else ()
    each = Convolution(wide, wide, stage.kernel, stride=stride, groups=wide)
    narrow = Convolution(wide, stage.channels, 1, active=False)
    return Block((*widen, each, narrow), residual=stride == 1 and inputs == stage.channels)
