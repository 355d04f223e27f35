"""What every OCR engine is."""

from collections.abc import Generator
from dataclasses import dataclass
from typing import Protocol

from ocr.geometry import Quad
from stagekit import Photo


@dataclass(frozen=True, slots=True)
class TextWord:
    """A word, how sure the engine is (0 to 1), and its corners."""

    text: str
    confidence: float
    polygon: Quad


@dataclass(frozen=True, slots=True)
class TextLine:
    """A line as the engine found it, its corners, and its words in order.

    Corners go clockwise from the top left of the text, as fractions of the photo: of a line that
    stands on its head, the first corner lies at the bottom right.
    """

    text: str
    confidence: float
    polygon: Quad
    words: tuple[TextWord, ...]


Reading = Generator[None, None, list[TextLine]]
"""A photo being read in slices: at each `yield` other work may go first, or close it."""


class OcrEngine(Protocol):
    """A loaded and warmed model. Called from one thread; blocks."""

    @property
    def name(self) -> str:
        """Of the engine, as parts show it."""

    @property
    def model_version(self) -> str:
        """Names all that changes its answers: the weights, and options that are not the default."""

    def read(self, photo: Photo) -> Reading:
        """Returns the lines of a photo, in reading order; none where is no text.

        Yields every 100 ms or so, where the model allows it; other photos may be read meanwhile.
        Raises Retry where memory is short, Reject (`engine_failed`) for a photo that the model
        can't take.
        """
