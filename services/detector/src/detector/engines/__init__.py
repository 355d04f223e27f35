"""What every detector engine is, and which ones there are."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Final, Protocol

from PIL import Image

from detector.settings import Settings
from streamkit import load_engine


@dataclass(frozen=True, slots=True)
class Label:
    """What the photo shows, with a probability from 0 to 1."""

    name: str
    confidence: float


@dataclass(frozen=True, slots=True)
class DetectedObject:
    """One thing and its box: left, top, width, height as fractions of the upright photo."""

    name: str
    confidence: float
    x: float
    y: float
    width: float
    height: float


@dataclass(frozen=True, slots=True)
class Detection:
    """What an engine found in one photo; `labels` best first.

    `category` and `caption` are None and `objects` empty where the engine has no such skill.
    `calibrated`: whether the confidences were calibrated on labelled photos.
    """

    category: str | None
    labels: tuple[Label, ...]
    objects: tuple[DetectedObject, ...] = ()
    caption: str | None = None
    calibrated: bool = False


class DetectorEngine(Protocol):
    """A loaded and warmed model. Called from one thread; blocks."""

    @property
    def name(self) -> str:
        """Of the engine, as parts show it."""

    @property
    def model_version(self) -> str:
        """Names the weights: another version may answer otherwise."""

    def detect(self, images: Sequence[Image.Image]) -> list[Detection]:
        """One Detection per upright RGB picture, in their order; equal input, equal output.

        Raises Retry where memory is short, Reject (`engine_failed`) for a picture that the model
        can't take.
        """


EngineFactory = Callable[[Settings], DetectorEngine]


def _efficientnet_lite0(settings: Settings) -> DetectorEngine:
    from detector.engines.efficientnet_lite0 import EfficientNetLite0Engine

    return EfficientNetLite0Engine.load(
        settings.detector_device, settings.detector_threads, settings.detector_labels
    )


ENGINES: Final[Mapping[str, EngineFactory]] = {"efficientnet-lite0": _efficientnet_lite0}
"""The built-in engines by name."""


DEFAULT: Final = ("efficientnet-lite0", "its weights come with the installation")
"""What `auto` means, and why."""


def load(settings: Settings) -> DetectorEngine:
    """The engine that the settings name, loaded.

    `package.module:factory` is called with the settings. Raises UnknownEngineError.
    """
    return load_engine(settings.detector_engine, ENGINES, settings, default=DEFAULT)
