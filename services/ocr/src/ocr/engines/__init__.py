"""What every OCR engine is, and which ones there are."""

from collections.abc import Callable, Generator, Mapping
from dataclasses import dataclass
from typing import Final, Protocol

from PIL import Image

from ocr.geometry import Quad
from ocr.settings import Settings
from streamkit import load_engine


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
"""A picture being read in slices: at each `yield` other work may go first, or close it."""


class OcrEngine(Protocol):
    """A loaded and warmed model. Called from one thread; blocks."""

    @property
    def name(self) -> str:
        """Of the engine, as parts show it."""

    @property
    def model_version(self) -> str:
        """Names the weights: another version may answer otherwise."""

    def read(self, image: Image.Image) -> Reading:
        """Returns the lines of an upright RGB picture, in reading order; none where is no text.

        Yields every 100 ms or so, where the model allows it; other pictures may be read meanwhile.
        Raises Retry where memory is short, Reject (`engine_failed`) for a picture that the model
        can't take.
        """


EngineFactory = Callable[[Settings], OcrEngine]


def _rapidocr(settings: Settings) -> OcrEngine:
    from ocr.engines.rapidocr_engine import RapidOcrEngine

    return RapidOcrEngine.load(
        settings.ocr_threads, settings.ocr_detection_side, settings.ocr_min_confidence
    )


ENGINES: Final[Mapping[str, EngineFactory]] = {"rapidocr": _rapidocr}
"""The built-in engines by name."""


DEFAULT: Final = ("rapidocr", "its weights come with the installation")
"""What `auto` means, and why."""


def load(settings: Settings) -> OcrEngine:
    """The engine that the settings name, loaded.

    `package.module:factory` is called with the settings. Raises UnknownEngineError.
    """
    return load_engine(settings.ocr_engine, ENGINES, settings, default=DEFAULT)
