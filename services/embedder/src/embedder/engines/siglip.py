"""SigLIP and SigLIP2: pictures and texts in one space."""

from collections.abc import Sequence
from typing import Final

import torch
from PIL import Image

from backbones.checkpoints import Checkpoint
from backbones.siglip import Siglip
from embedder.engines import Vector
from embedder.engines.vectors import instructions, unit


class SiglipEngine:
    """See EmbedderEngine and TextEmbedder."""

    name: Final = "siglip"

    def __init__(self, siglip: Siglip) -> None:
        self.model_version = siglip.version
        self.dimension = siglip.images.dimension
        self._siglip = siglip

    @classmethod
    def load(cls, checkpoint: Checkpoint, device: torch.device) -> "SiglipEngine":
        """The engine on `device`, warmed up. Raises CheckpointError."""
        return cls(Siglip.load(checkpoint, device))

    def embed(self, images: Sequence[Image.Image]) -> list[Vector]:
        """See EmbedderEngine."""
        with instructions():
            vectors = self._siglip.images(images)
        return [unit(row) for row in vectors]

    def embed_texts(self, texts: Sequence[str]) -> list[Vector]:
        """See TextEmbedder."""
        with instructions():
            vectors = self._siglip.texts(texts)
        return [unit(row) for row in vectors]
