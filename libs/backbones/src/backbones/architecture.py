"""EfficientNet-Lite0 for inference, its batch normalisations folded into the convolutions.

Written out here rather than taken from timm (where it is `tf_efficientnet_lite0`): importing timm
brings torchvision along, which costs each process 6 seconds and 190 MB. A test holds both equal.

Tan and Le, "EfficientNet" (2019); Liu, "Higher accuracy on vision models with EfficientNet-Lite"
(2020): B0 without squeeze-and-excite, with ReLU6, the stem and the head not scaled.
"""

from typing import Final, NamedTuple, cast

from torch import Tensor, nn

CLASSES: Final = 1000
FEATURES: Final = 1280
SIDE: Final = 224
"""Pixels of the square input."""

_STEM: Final = 32


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


def _convolution(
    inputs: int, outputs: int, kernel: int, *, stride: int = 1, groups: int = 1, active: bool = True
) -> list[nn.Module]:
    """A convolution padded as TensorFlow's SAME does, with ReLU6 if `active`.

    With stride 2, SAME pads an even side by kernel - 2 in all, the odd pixel at the end; every
    side here is even: 224, 112, 56, 28, 14. Padding symmetrically instead shifts what the weights
    see: the labels get visibly worse.
    """
    layers: list[nn.Module] = []
    padding = kernel // 2
    if stride == 2:
        before, after = (kernel - 2) // 2, (kernel - 1) // 2
        layers.append(nn.ZeroPad2d((before, after, before, after)))
        padding = 0
    layers.append(nn.Conv2d(inputs, outputs, kernel, stride, padding, groups=groups))
    if active:
        layers.append(nn.ReLU6())
    return layers


class _Block(nn.Module):
    """Inverted bottleneck: widen, filter each channel, narrow; added to its input if it fits."""

    def __init__(self, inputs: int, stage: _Stage, stride: int) -> None:
        super().__init__()
        wide = inputs * stage.expansion
        widen = _convolution(inputs, wide, 1) if stage.expansion > 1 else []
        self.layers = nn.Sequential(
            *widen,
            *_convolution(wide, wide, stage.kernel, stride=stride, groups=wide),
            *_convolution(wide, stage.channels, 1, active=False),
        )
        self.residual = stride == 1 and inputs == stage.channels

    def forward(self, x: Tensor) -> Tensor:
        y = cast(Tensor, self.layers(x))
        return x + y if self.residual else y


class Network(nn.Module):
    """(n, 3, 224, 224) float32 → features (n, 1280), and logits (n, 1000) by `classifier`."""

    def __init__(self) -> None:
        super().__init__()
        layers = _convolution(3, _STEM, 3, stride=2)
        channels = _STEM
        for stage in _STAGES:
            for number in range(stage.blocks):
                layers.append(_Block(channels, stage, stage.stride if number == 0 else 1))
                channels = stage.channels
        layers += _convolution(channels, FEATURES, 1)
        self.backbone = nn.Sequential(*layers)
        self.classifier = nn.Linear(FEATURES, CLASSES)

    def forward(self, x: Tensor) -> Tensor:
        """Pooled features."""
        return cast(Tensor, self.backbone(x)).mean(dim=(2, 3))
