"""EfficientNet-Lite0: ImageNet-1k labels, grouped into categories. No boxes, no captions."""

from collections.abc import Sequence
from typing import Final

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from backbones import BackboneError, EfficientNetLite0, imagenet_labels
from detector.categories import CATEGORY_OF_CLASS, best_category
from detector.engines import Detection, Label
from streamkit import Reject, Retry


class EfficientNetLite0Engine:
    """See DetectorEngine. Probabilities are the network's own softmax, not calibrated."""

    name: Final = EfficientNetLite0.name

    def __init__(self, backbone: EfficientNetLite0, labels: int) -> None:
        self.model_version = backbone.model_version
        self._backbone = backbone
        self._labels = labels

    @classmethod
    def load(cls, device: str, threads: int, labels: int) -> "EfficientNetLite0Engine":
        """The engine on `device`, warmed up; `labels` are kept of each photo."""
        backbone = EfficientNetLite0(device, threads)
        backbone.warm_up()
        return cls(backbone, labels)

    def detect(self, images: Sequence[Image.Image]) -> list[Detection]:
        """See DetectorEngine."""
        try:
            logits = self._backbone.logits(images)
        except MemoryError as error:
            raise Retry("The machine has too little memory left for this photo.") from error
        except BackboneError as error:
            raise Reject("engine_failed", "The model could not look at this photo.") from error
        return [self._detection(probabilities) for probabilities in softmax(logits)]

    def _detection(self, probabilities: NDArray[np.float64]) -> Detection:
        best = np.argsort(-probabilities, kind="stable")[: self._labels]
        names = imagenet_labels()
        return Detection(
            category=best_category(probabilities, CATEGORY_OF_CLASS),
            labels=tuple(Label(names[i], float(probabilities[i])) for i in best),
        )


def softmax(logits: NDArray[np.float32]) -> NDArray[np.float64]:
    """Probabilities of each row, at temperature 1."""
    powers = np.exp(logits.astype(np.float64) - logits.max(axis=1, keepdims=True))
    rows: NDArray[np.float64] = powers / powers.sum(axis=1, keepdims=True)
    return rows
