"""What every detector engine is made of.

A detector answers three questions, each by a skill of its own: which labels fit (Labeller), where
things are (BoxFinder), and what a sentence about the photo would be (Captioner).
`detector.engines.composed` makes an engine of them, `detector.engines.choice` finds them by the
settings.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, Protocol

import numpy as np
from numpy.typing import NDArray
from PIL import Image

if TYPE_CHECKING:
    from detector.settings import Settings


ASKED: Final = ("owlv2", "owlvit")
"""Kinds of box finders that look for the labels that they are asked for."""


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

    `category` and `caption` are None and `objects` empty where the engine has no such skill, or
    found none. `calibrated`: whether the labels' confidences were calibrated on labelled photos.
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
        """Names all that changes its answers: the weights, and options that are not the default."""

    def detect(self, images: Sequence[Image.Image]) -> list[Detection]:
        """One Detection per upright RGB picture, in their order; equal input, equal output.

        Raises Retry where memory is short, Reject (`engine_failed`) for a picture that the model
        can't take.
        """


class Skill(Protocol):
    """What skills have in common: loaded, warmed, called from one thread, blocking.

    Their methods take upright RGB pictures and answer in their order. They raise MemoryError where
    memory is short and backbones.BackboneError for pictures that the model can't take.
    """

    @property
    def name(self) -> str:
        """Of the kind of model."""

    @property
    def model_version(self) -> str:
        """Names the weights."""


class Labeller(Skill, Protocol):
    """Says how well each of its labels fits a picture."""

    @property
    def labels(self) -> tuple[str, ...]:
        """The k names, all different, in the order of the logits."""

    @property
    def none_logit(self) -> float | None:
        """What "none of these" weighs among the logits; None where the model can't tell."""

    def logits(self, images: Sequence[Image.Image]) -> NDArray[np.float32]:
        """(n, k): the larger, the better the label fits, in units of a softmax."""

    def category(self, probabilities: NDArray[np.float64]) -> str | None:
        """The category of a picture whose labels have these (k,) probabilities.

        None where that is none of the categories; what the probabilities lack to 1 says so.
        """


class BoxFinder(Skill, Protocol):
    """Says where things are."""

    def find(self, images: Sequence[Image.Image]) -> list[tuple[DetectedObject, ...]]:
        """The things of each picture, surest first; their number is bounded."""


class Captioner(Skill, Protocol):
    """Says what a picture shows, in a sentence."""

    def captions(self, images: Sequence[Image.Image]) -> list[str]:
        """A sentence of bounded length for each picture; empty where it has nothing to say."""


def names() -> tuple[str, ...]:
    """Of the built-in engines."""
    from detector.engines import choice

    return tuple(choice.ENGINES)


def load(settings: "Settings") -> DetectorEngine:
    """The engine that the settings name, loaded.

    `package.module:factory` is called with the settings. Raises UnknownEngineError,
    CheckpointError, CalibrationError and LabelListError, each of which says what to do.
    """
    from detector.engines import choice

    return choice.load(settings)


def load_labeller(settings: "Settings") -> Labeller:
    """Only what gives the labels, for whoever wants to see its logits. Raises as `load` does.

    UnknownEngineError also for an engine that is not composed of skills.
    """
    from detector.engines import choice

    return choice.load_labeller(settings)
