"""EfficientNet-Lite0: ImageNet-1k labels and features to compare pictures by."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final, Protocol

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from backbones import cuda, preprocessing, weights
from backbones.architecture import CLASSES, FEATURES, SIDE

_MOST: Final = 16
"""Pictures in one pass, so that memory stays bounded; larger batches are no faster."""


@dataclass(frozen=True, slots=True)
class Output:
    """Of a batch of n pictures, float32: features (n, 1280), logits (n, 1000)."""

    features: NDArray[np.float32]
    logits: NDArray[np.float32]


class _Network(Protocol):
    @property
    def device(self) -> str: ...

    def __call__(
        self, batch: NDArray[np.float32]
    ) -> tuple[NDArray[np.float32], NDArray[np.float32]]: ...


class EfficientNetLite0:
    """The packaged network on one device. Calls block; not to be shared between threads.

    Offline always: weights come from a package. ONNX Runtime computes it on a CPU, torch on CUDA.
    Running it raises MemoryError where host or device memory is short, BackboneError for whatever
    else is refused.
    """

    name: Final = "efficientnet-lite0"
    dimension: Final = FEATURES

    def __init__(self, device: str = "auto", threads: int = 0) -> None:
        """`device`: `auto` (CUDA where there is one), `cpu`, `cuda`, `cuda:1`, …

        `threads`: on a CPU; 0 leaves it to OMP_NUM_THREADS, else all cores. Raises WeightsError.
        """
        path = weights.weight_file()
        self.model_version = weights.version_of(path)
        self._network = _network(weights.load(path), device, threads)

    @property
    def device(self) -> str:
        """Where it runs, such as `cpu` or `cuda:0`."""
        return self._network.device

    def warm_up(self) -> None:
        """Run once, so that the first photo does not pay for lazily made kernels."""
        self([Image.new("RGB", (SIDE, SIDE))])

    def __call__(self, images: Sequence[Image.Image]) -> Output:
        """Features and logits of pictures of any size and mode (made RGB)."""
        features = np.empty((len(images), FEATURES), np.float32)
        logits = np.empty((len(images), CLASSES), np.float32)
        for start in range(0, len(images), _MOST):
            rows = slice(start, start + _MOST)
            features[rows], logits[rows] = self._network(preprocessing.to_batch(images[rows]))
        return Output(features, logits)

    def features(self, images: Sequence[Image.Image]) -> NDArray[np.float32]:
        """Pooled features (n, 1280), as they are: not of unit length."""
        return self(images).features

    def logits(self, images: Sequence[Image.Image]) -> NDArray[np.float32]:
        """One number per ImageNet-1k class, (n, 1000); softmax gives probabilities."""
        return self(images).logits


def _network(packaged: weights.Weights, device: str, threads: int) -> _Network:
    if cuda.meant(device):
        from backbones import devices
        from backbones.torch_network import TorchNetwork

        return TorchNetwork(packaged, devices.ready(device, threads))
    from backbones.onnx_network import OnnxNetwork

    return OnnxNetwork(packaged, threads)
