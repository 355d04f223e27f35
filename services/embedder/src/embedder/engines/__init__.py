"""What every embedder engine is. `embedder.engines.choice` finds them by the settings."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Protocol, runtime_checkable

import numpy as np
from numpy.typing import NDArray
from PIL import Image

if TYPE_CHECKING:
    from embedder.settings import Settings

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


@runtime_checkable
class TextEmbedder(Protocol):
    """What an engine is besides, if texts can be compared with its pictures."""

    def embed_texts(self, texts: Sequence[str]) -> list[Vector]:
        """One vector of unit length per text, in their order: the better a text describes a
        picture, the larger the dot product of their vectors. Long texts are cut.

        Raises Retry where memory is short, Reject (`engine_failed`) for what the model can't take.
        """


def names() -> tuple[str, ...]:
    """Of the built-in engines."""
    from embedder.engines import choice

    return tuple(choice.ENGINES)


def load(settings: "Settings") -> EmbedderEngine:
    """The engine that the settings name, loaded.

    `package.module:factory` is called with the settings. Raises UnknownEngineError, and
    EngineLoadError where the weights can't be had.
    """
    from embedder.engines import choice

    return choice.load(settings)
