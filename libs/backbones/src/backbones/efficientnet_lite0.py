"""EfficientNet-Lite0: ImageNet-1k labels and features to compare pictures by."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Final

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image

from backbones import preprocessing, weights
from backbones.architecture import CLASSES, FEATURES, SIDE


@dataclass(frozen=True, slots=True)
class Output:
    """Of a batch of n pictures, float32: features (n, 1280), logits (n, 1000)."""

    features: NDArray[np.float32]
    logits: NDArray[np.float32]


class BackboneError(RuntimeError):
    """torch could not compute the batch, for another reason than memory."""


class EfficientNetLite0:
    """The packaged network on one device. Calls block; not to be shared between threads.

    Offline always: weights come from a package. Constructing takes 0.1 s once torch is imported
    (3 s). Running it raises MemoryError where host or device memory is short, BackboneError for
    whatever else torch refuses.
    """

    name: Final = "efficientnet-lite0"
    dimension: Final = FEATURES

    def __init__(self, device: str = "auto", threads: int = 0) -> None:
        """`device`: `auto` (CUDA where there is one), `cpu`, `cuda`, `cuda:1`, …

        `threads`: of torch in this process; 0 leaves it to torch (OMP_NUM_THREADS, else all
        cores). Raises WeightsError.
        """
        if threads:
            torch.set_num_threads(threads)
        path = weights.weight_file()
        self.model_version = weights.version_of(path)
        self._device = torch.device(_chosen(device))
        network = weights.load(path).to(self._device)
        self._network = network.to(memory_format=torch.channels_last)

    @property
    def device(self) -> str:
        """Where it runs, such as `cpu` or `cuda:0`."""
        return str(self._device)

    def warm_up(self) -> None:
        """Run once, so that the first photo does not pay for lazily made kernels."""
        self([Image.new("RGB", (SIDE, SIDE))])

    def __call__(self, images: Sequence[Image.Image]) -> Output:
        """Features and logits of pictures of any size and mode (made RGB), in one pass."""
        if not images:
            return Output(np.empty((0, FEATURES), np.float32), np.empty((0, CLASSES), np.float32))
        with torch.inference_mode(), _torch_errors():
            features = self._network(preprocessing.to_batch(images, self._device))
            logits = self._network.classifier(features)
            return Output(features.cpu().numpy(), logits.cpu().numpy())

    def features(self, images: Sequence[Image.Image]) -> NDArray[np.float32]:
        """Pooled features (n, 1280), as they are: not of unit length."""
        return self(images).features

    def logits(self, images: Sequence[Image.Image]) -> NDArray[np.float32]:
        """One number per ImageNet-1k class, (n, 1000); softmax gives probabilities."""
        return self(images).logits


def _chosen(device: str) -> str:
    if device != "auto":
        return device
    return "cuda" if torch.cuda.is_available() else "cpu"


@contextmanager
def _torch_errors() -> Iterator[None]:
    """Maps what torch raises; the CPU's allocator has no class of its own for a lack of memory."""
    try:
        yield
    except torch.OutOfMemoryError as error:
        raise MemoryError(str(error)) from error
    except RuntimeError as error:
        if "allocate memory" in str(error):
            raise MemoryError(str(error)) from error
        raise BackboneError(str(error)) from error
