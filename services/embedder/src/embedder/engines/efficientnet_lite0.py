"""EfficientNet-Lite0's pooled features, scaled to unit length."""

from collections.abc import Sequence
from typing import Final

import numpy as np
from PIL import Image

from backbones import BackboneError, EfficientNetLite0
from embedder.engines import Vector
from streamkit import Reject, Retry


class EfficientNetLite0Engine:
    """See EmbedderEngine. Vectors have 1,280 numbers, none below 0."""

    name: Final = EfficientNetLite0.name
    dimension: Final = EfficientNetLite0.dimension

    def __init__(self, backbone: EfficientNetLite0) -> None:
        self.model_version = backbone.model_version
        self._backbone = backbone

    @classmethod
    def load(cls, device: str, threads: int) -> "EfficientNetLite0Engine":
        """The engine on `device`, warmed up."""
        backbone = EfficientNetLite0(device, threads)
        backbone.warm_up()
        return cls(backbone)

    def embed(self, images: Sequence[Image.Image]) -> list[Vector]:
        """See EmbedderEngine."""
        try:
            features = self._backbone.features(images)
        except MemoryError as error:
            raise Retry("The machine has too little memory left for this photo.") from error
        except BackboneError as error:
            raise Reject("engine_failed", "The model could not look at this photo.") from error
        return [unit(row) for row in features]


def unit(vector: Vector) -> Vector:
    """The vector scaled to length 1. Raises Reject for one of nothing but zeros, or not finite."""
    length = float(np.linalg.norm(vector.astype(np.float64)))
    if not np.isfinite(length) or length == 0.0:
        raise Reject("engine_failed", "The model sees nothing in this photo to compare it by.")
    scaled: Vector = (vector / length).astype(np.float32)
    return scaled
