"""EfficientNet-Lite0: ImageNet-1k labels, grouped into categories."""

from collections.abc import Sequence
from typing import Final

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from backbones import EfficientNetLite0, imagenet_labels
from detector.categories import CATEGORY_OF_CLASS, best_category


class EfficientNetLite0Labeller:
    """See Labeller. It was trained on pictures that show one of its classes, so it knows no other
    answer."""

    name: Final = EfficientNetLite0.name
    labels: Final = imagenet_labels()
    none_logit: Final = None

    def __init__(self, backbone: EfficientNetLite0) -> None:
        self.model_version = backbone.model_version
        self._backbone = backbone

    @classmethod
    def load(cls, device: str, threads: int) -> "EfficientNetLite0Labeller":
        """The labeller on `device`, warmed up."""
        backbone = EfficientNetLite0(device, threads)
        backbone.warm_up()
        return cls(backbone)

    def logits(self, images: Sequence[Image.Image]) -> NDArray[np.float32]:
        """See Labeller."""
        return self._backbone.logits(images)

    def category(self, probabilities: NDArray[np.float64]) -> str | None:
        """See Labeller."""
        return best_category(probabilities, CATEGORY_OF_CLASS)
