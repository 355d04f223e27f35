"""What every embedder engine is, and which ones there are."""

from collections.abc import Callable, Mapping, Sequence
from typing import Final, Protocol

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from embedder.settings import Settings
from streamkit import load_engine

Vector = NDArray[np.float32]


class EmbedderEngine(Protocol):
    """A loaded and warmed model. Called from one thread; blocks."""

    @property
    def name(self) -> str:
        """Of the engine, as parts show it."""

    @property
    def model_version(self) -> str:
        """Names the weights: only vectors of one version can be compared."""

    @property
    def dimension(self) -> int:
        """Numbers in a vector."""

    def embed(self, images: Sequence[Image.Image]) -> list[Vector]:
        """One vector of unit length per upright RGB picture, in their order; equal input, equal
        output. The dot product of two is their cosine: 1 for the same picture.

        Raises Retry where memory is short, Reject (`engine_failed`) for a picture that the model
        can't take.
        """


EngineFactory = Callable[[Settings], EmbedderEngine]


def _efficientnet_lite0(settings: Settings) -> EmbedderEngine:
    from embedder.engines.efficientnet_lite0 import EfficientNetLite0Engine

    return EfficientNetLite0Engine.load(settings.embedder_device, settings.embedder_threads)


ENGINES: Final[Mapping[str, EngineFactory]] = {"efficientnet-lite0": _efficientnet_lite0}
"""The built-in engines by name."""


DEFAULT: Final = ("efficientnet-lite0", "its weights come with the installation")
"""What `auto` means, and why."""


def load(settings: Settings) -> EmbedderEngine:
    """The engine that the settings name, loaded.

    `package.module:factory` is called with the settings. Raises UnknownEngineError.
    """
    return load_engine(settings.embedder_engine, ENGINES, settings, default=DEFAULT)
