"""EfficientNet-Lite0 by torch: where there is CUDA."""

from typing import cast

import numpy as np
import torch
from torch import Tensor, nn

from backbones.architecture import CLASSES, FEATURES, Block, Convolution, blocks
from backbones.devices import moved, precision, torch_errors
from backbones.weights import Layer, Numbers, Weights


class TorchNetwork:
    """Pictures as numbers in, features and logits out. Raises MemoryError and BackboneError."""

    def __init__(self, weights: Weights, device: torch.device) -> None:
        """On the device, in channels-last order: tensor cores want it so."""
        network = _Network()
        layers = [m for m in network.backbone.modules() if isinstance(m, nn.Conv2d)]
        for layer, numbers in zip(layers, weights.convolutions, strict=True):
            _fill(layer, numbers)
        _fill(network.classifier, weights.classifier)
        self._device = device
        network.eval().requires_grad_(False).to(memory_format=torch.channels_last)
        self._network = network.to(device)

    @property
    def device(self) -> str:
        """Where it runs, such as `cpu` or `cuda:0`."""
        return str(self._device)

    def __call__(self, batch: Numbers) -> tuple[Numbers, Numbers]:
        """(n, 3, 224, 224) → (n, 1280), (n, 1000)."""
        with torch.inference_mode(), torch_errors():
            pixels = torch.from_numpy(batch).contiguous(memory_format=torch.channels_last)
            with precision(self._device):
                features = self._network(moved(pixels, self._device))
                logits = self._network.classifier(features)
            return features.float().cpu().numpy(), logits.float().cpu().numpy()


class _Network(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.backbone = nn.Sequential(*(_Block(block) for block in blocks()))
        self.classifier = nn.Linear(FEATURES, CLASSES)

    def forward(self, x: Tensor) -> Tensor:
        return cast(Tensor, self.backbone(x)).mean(dim=(2, 3))


class _Block(nn.Module):
    def __init__(self, block: Block) -> None:
        super().__init__()
        self.layers = nn.Sequential(*(m for each in block.convolutions for m in _modules(each)))
        self.residual = block.residual

    def forward(self, x: Tensor) -> Tensor:
        y = cast(Tensor, self.layers(x))
        return x + y if self.residual else y


def _modules(convolution: Convolution) -> list[nn.Module]:
    before, behind = convolution.padding
    padded = before != behind
    modules: list[nn.Module] = [nn.ZeroPad2d((before, behind, before, behind))] if padded else []
    modules.append(
        nn.Conv2d(
            convolution.inputs,
            convolution.outputs,
            convolution.kernel,
            convolution.stride,
            0 if padded else before,
            groups=convolution.groups,
        )
    )
    return [*modules, nn.ReLU6()] if convolution.active else modules


def _fill(module: nn.Conv2d | nn.Linear, numbers: Layer) -> None:
    for parameter, values in ((module.weight, numbers.weight), (module.bias, numbers.bias)):
        cast(Tensor, parameter).data.copy_(torch.from_numpy(np.array(values)))
