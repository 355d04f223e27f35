"""EfficientNet-Lite0's pooled features, scaled to unit length."""

from collections.abc import Sequence
from typing import Final

from PIL import Image

from backbones import EfficientNetLite0
from embedder.engines import Vector
from embedder.engines.vectors import instructions, unit


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
        with instructions():
            features = self._backbone.features(images)
        return [unit(row) for row in features]
