"""An engine of skills: each looks at the picture, and their answers make one."""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from backbones import BackboneError
from detector.calibration import NONE_OF_THESE, UNCALIBRATED, Calibration
from detector.engines import BoxFinder, Captioner, Detection, Label, Labeller, Skill
from stagekit import with_options
from streamkit import Reject, Retry


@dataclass(frozen=True)
class ComposedEngine:
    """See DetectorEngine. `kept`: how many labels of a photo are told.

    `options`: what changes its answers and is in no version of its skills; see `with_options`.
    """

    labeller: Labeller
    kept: int
    boxes: BoxFinder | None = None
    caption: Captioner | None = None
    calibration: Calibration = UNCALIBRATED
    options: Mapping[str, Any] = field(default_factory=dict)

    @property
    def name(self) -> str:
        """Of its skills, joined by +."""
        return "+".join(skill.name for skill in self._skills())

    @property
    def model_version(self) -> str:
        """Of its skills, its calibration and its options, joined by +."""
        versions = [skill.model_version for skill in self._skills()]
        said = "+".join(filter(None, [*versions, self.calibration.version]))
        return with_options(said, self.options)

    def detect(self, images: Sequence[Image.Image]) -> list[Detection]:
        """See DetectorEngine."""
        if not images:
            return []
        with _instructions():
            logits = _finite(self.labeller.logits(images))
            found = self.boxes.find(images) if self.boxes else [()] * len(images)
            said = self.caption.captions(images) if self.caption else [""] * len(images)
        labels = self.labeller.labels
        probabilities, none = self.calibration.probabilities(
            logits, labels, self.labeller.none_logit
        )
        return [
            Detection(
                category=self.labeller.category(row),
                labels=ranked(labels, row, float(other), self.kept),
                objects=objects,
                caption=sentence or None,
                calibrated=self.calibration.calibrated,
            )
            for row, other, objects, sentence in zip(probabilities, none, found, said, strict=True)
        ]

    def _skills(self) -> Iterator[Skill]:
        yield self.labeller
        if self.boxes:
            yield self.boxes
        if self.caption:
            yield self.caption


def ranked(
    names: Sequence[str], probabilities: NDArray[np.float64], none: float, kept: int
) -> tuple[Label, ...]:
    """The `kept` likeliest labels, best first; of equals, the one that stands first in `names`.

    "None of these" is one of them, behind labels that are as likely; where it is impossible it is
    not told.
    """
    best = np.argsort(-probabilities, kind="stable")[:kept]
    labels = [Label(names[i], float(probabilities[i])) for i in best]
    if none > 0.0:
        labels.append(Label(NONE_OF_THESE, none))
        labels.sort(key=lambda label: -label.confidence)
    return tuple(labels[:kept])


def _finite(logits: NDArray[np.float32]) -> NDArray[np.float32]:
    if not np.isfinite(logits).all():
        raise BackboneError("the network's answer is not finite")
    return logits


@contextmanager
def _instructions() -> Iterator[None]:
    """What a skill raises, as what the worker shall do."""
    try:
        yield
    except MemoryError as error:
        raise Retry("The machine has too little memory left for this photo.") from error
    except BackboneError as error:
        raise Reject("engine_failed", "The model could not look at this photo.") from error
