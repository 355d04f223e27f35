"""An engine of skills, with skills that answer what they are told to."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from backbones import BackboneError
from detector.calibration import NONE_OF_THESE, Calibration
from detector.engines import DetectedObject
from detector.engines.composed import ComposedEngine, ranked
from streamkit import Reject, Retry

PHOTO = Image.new("RGB", (8, 8))


@dataclass
class Labels:
    none_logit: float | None = None
    name: str = "labels"
    model_version: str = "labels@1"
    labels: tuple[str, ...] = ("cat", "dog", "car")
    error: Exception | None = None

    def logits(self, images: Sequence[Image.Image]) -> NDArray[np.float32]:
        if self.error:
            raise self.error
        rows = [[image.width, 1.0, 0.0] for image in images]
        return np.array(rows, np.float32)

    def category(self, probabilities: NDArray[np.float64]) -> str | None:
        return "animal" if probabilities[:2].sum() > 0.5 else None


@dataclass
class Boxes:
    name: str = "boxes"
    model_version: str = "boxes@2"

    def find(self, images: Sequence[Image.Image]) -> list[tuple[DetectedObject, ...]]:
        return [(DetectedObject("cat", 0.5, 0, 0, 1 / image.width, 1),) for image in images]


@dataclass
class Words:
    name: str = "words"
    model_version: str = "words@3"

    def captions(self, images: Sequence[Image.Image]) -> list[str]:
        return [f"{image.width} wide" if image.width > 1 else "" for image in images]


def test_a_labeller_alone_keeps_its_name_and_version() -> None:
    engine = ComposedEngine(Labels(), 5)
    assert (engine.name, engine.model_version) == ("labels", "labels@1")


def test_the_version_of_several_skills_names_each() -> None:
    engine = ComposedEngine(Labels(), 5, Boxes(), Words())
    assert engine.name == "labels+boxes+words"
    assert engine.model_version == "labels@1+boxes@2+words@3"


def test_what_the_skills_say_of_a_photo_is_said_together_and_in_order() -> None:
    engine = ComposedEngine(Labels(), 2, Boxes(), Words())
    wide, narrow = engine.detect([Image.new("RGB", (4, 4)), Image.new("RGB", (1, 4))])
    assert [label.name for label in wide.labels] == ["cat", "dog"]
    assert wide.labels[0].confidence == pytest.approx(np.exp(4) / (np.exp(4) + np.exp(1) + 1))
    assert (wide.category, wide.caption, wide.objects[0].width) == ("animal", "4 wide", 0.25)
    assert (narrow.caption, narrow.objects[0].width) == (None, 1.0)


def test_no_photos_have_no_answers() -> None:
    assert ComposedEngine(Labels(error=AssertionError()), 5).detect([]) == []


def test_none_of_these_has_its_place_among_the_labels() -> None:
    (found,) = ComposedEngine(Labels(none_logit=2.0), 5).detect([Image.new("RGB", (4, 4))])
    assert [label.name for label in found.labels] == ["cat", NONE_OF_THESE, "dog", "car"]
    assert sum(label.confidence for label in found.labels) == pytest.approx(1.0)


def test_a_labeller_that_can_not_tell_none_of_these_is_not_made_to() -> None:
    (found,) = ComposedEngine(Labels(), 5).detect([PHOTO])
    assert NONE_OF_THESE not in {label.name for label in found.labels}


def test_a_calibration_changes_the_confidences_and_says_so() -> None:
    hot = Calibration(temperature=10.0, n=300, model_version="labels@1")
    (plain,) = ComposedEngine(Labels(), 5).detect([PHOTO])
    (cooled,) = ComposedEngine(Labels(), 5, calibration=hot).detect([PHOTO])
    assert (plain.calibrated, cooled.calibrated) == (False, True)
    assert cooled.labels[0].confidence < plain.labels[0].confidence
    assert [it.name for it in cooled.labels] == [it.name for it in plain.labels]


def test_only_so_many_labels_are_kept_and_none_of_these_is_one_of_them() -> None:
    labels = ranked(["a", "b", "c"], np.array([0.2, 0.3, 0.1]), 0.4, kept=2)
    assert [label.name for label in labels] == [NONE_OF_THESE, "b"]


def test_of_equally_likely_labels_the_first_goes_first_and_none_of_these_last() -> None:
    labels = ranked(["a", "b", "c"], np.array([0.25, 0.25, 0.25]), 0.25, kept=4)
    assert [label.name for label in labels] == ["a", "b", "c", NONE_OF_THESE]


@pytest.mark.parametrize(
    ("raised", "instruction"),
    [(MemoryError("17 GB"), Retry), (BackboneError("bad kernel"), Reject)],
)
def test_a_lack_of_memory_is_retried_and_any_other_failure_rejects_the_photo(
    raised: Exception, instruction: type[Exception]
) -> None:
    with pytest.raises(instruction, match=r"too little memory|engine_failed"):
        ComposedEngine(Labels(error=raised), 5).detect([PHOTO])


def test_an_answer_that_is_no_number_rejects_the_photo() -> None:
    class Overflown(Labels):
        def logits(self, images: Sequence[Image.Image]) -> NDArray[np.float32]:
            return np.array([[np.nan, 1.0, np.inf]], np.float32)

    with pytest.raises(Reject, match="engine_failed"):
        ComposedEngine(Overflown(), 5).detect([PHOTO])


def test_a_defect_is_not_taken_for_a_bad_photo() -> None:
    with pytest.raises(ZeroDivisionError):
        ComposedEngine(Labels(error=ZeroDivisionError()), 5).detect([PHOTO])
