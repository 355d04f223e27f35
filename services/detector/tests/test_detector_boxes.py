"""Boxes of tiny checkpoints, held against transformers' own pipelines."""

import io
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest
import torch
from PIL import Image

import tiny_checkpoints
import tiny_detectors
from backbones import CheckpointError, find
from detector.engines import DetectedObject, boxes
from detector.engines.boxes import TransformersBoxes
from imaging import open_upright_rgb
from tiny_checkpoints import photograph

CPU = torch.device("cpu")
ASKED = ("cat", "dog", "red car")
KNOWN = (
    tiny_detectors.detr,
    tiny_detectors.conditional_detr,
    tiny_detectors.yolos,
    tiny_detectors.rt_detr,
    tiny_detectors.rt_detr_v2,
    tiny_detectors.d_fine,
)
PHOTOS = (photograph(), photograph(40, 70, seed=1), photograph(120, 33, seed=2))

Corners = tuple[str, float, int, int, int, int]


def _finder(folder: Path, threshold: float = 0.0, most: int = 300) -> TransformersBoxes:
    network = boxes.load(find(str(folder)), CPU, ASKED)
    return TransformersBoxes(network, threshold=threshold, most=most)


@pytest.fixture(scope="module", params=KNOWN, ids=lambda make: make.__name__)
def known(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    make: Callable[[Path], Path] = request.param
    return make(tmp_path_factory.mktemp("made") / make.__name__)


@pytest.fixture(scope="module")
def owl(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny_checkpoints.owlv2(tmp_path_factory.mktemp("made") / "owlv2")


@pytest.fixture(scope="module", params=["known", "owl"])
def folder(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    made = tmp_path_factory.mktemp("made")
    if request.param == "owl":
        return tiny_checkpoints.owlv2(made / "owlv2")
    return tiny_detectors.detr(made / "detr")


def _corners(answer: dict[str, Any], image: Image.Image) -> tuple[float, ...]:
    """Of a pipeline's answer, in whole pixels, cut off where the picture ends."""
    box, (width, height) = answer["box"], image.size
    across = (min(max(box[side], 0), width) for side in ("xmin", "xmax"))
    down = (min(max(box[side], 0), height) for side in ("ymin", "ymax"))
    return (*across, *down)


def _same(found: Sequence[DetectedObject], answers: list[dict[str, Any]], of: Image.Image) -> None:
    """Same names, scores within 1e-5, and boxes within the pixel that the pipeline rounds to."""
    best_first = sorted(answers, key=lambda answer: -answer["score"])
    inside = [it for it in best_first if _area(_corners(it, of)) > 0]
    assert len(inside) <= len(found) <= len(answers)
    rest = list(found)
    for answer in inside:
        match = next(thing for thing in rest if abs(thing.confidence - answer["score"]) < 1e-5)
        rest.remove(match)
        assert match.name == answer["label"]
        mine = (
            match.x * of.width,
            (match.x + match.width) * of.width,
            match.y * of.height,
            (match.y + match.height) * of.height,
        )
        assert mine == pytest.approx(_corners(answer, of), abs=1.001)


def _area(corners: tuple[float, ...]) -> float:
    left, right, top, bottom = corners
    return (right - left) * (bottom - top)


def test_boxes_are_those_of_transformers_pipeline(known: Path) -> None:
    from transformers import pipeline

    ask, finder = pipeline("object-detection", model=str(known)), _finder(known)
    for photo, found in zip(PHOTOS, finder.find(PHOTOS), strict=True):
        answers = ask(photo, threshold=0.0)
        assert len(answers) >= 10
        _same(found, answers, photo)


@pytest.mark.parametrize("asked", ASKED)
def test_things_that_are_asked_for_are_those_of_transformers_pipeline(
    owl: Path, asked: str
) -> None:
    from transformers import pipeline

    ask = pipeline("zero-shot-object-detection", model=str(owl))
    network = boxes.load(find(str(owl)), CPU, [asked])
    finder = TransformersBoxes(network, threshold=0.0, most=300)
    for photo, found in zip(PHOTOS, finder.find(PHOTOS), strict=True):
        _same(found, ask(photo, candidate_labels=[asked], threshold=0.0), photo)


def test_of_several_things_that_a_box_could_be_the_likeliest_is_told(owl: Path) -> None:
    """The pipeline asks for one after the other, and tells a box for each."""
    from transformers import pipeline

    answers = pipeline("zero-shot-object-detection", model=str(owl))(
        PHOTOS[0], candidate_labels=list(ASKED), threshold=0.0
    )
    best: dict[tuple[int, ...], tuple[float, str]] = {}
    for answer in answers:
        place = tuple(answer["box"].values())
        best[place] = max(best.get(place, (0.0, "")), (answer["score"], answer["label"]))
    (found,) = _finder(owl).find([PHOTOS[0]])
    assert found
    for thing in found:
        score, name = min(best.values(), key=lambda it: abs(it[0] - thing.confidence))
        assert thing.name == name
        assert thing.confidence == pytest.approx(score, abs=1e-5)


def test_every_box_lies_within_the_photo_and_the_surest_go_first(folder: Path) -> None:
    for found in _finder(folder).find(PHOTOS):
        assert found
        scores = [thing.confidence for thing in found]
        assert scores == sorted(scores, reverse=True)
        for thing in found:
            assert 0 <= thing.x < thing.x + thing.width <= 1 + 1e-9
            assert 0 <= thing.y < thing.y + thing.height <= 1 + 1e-9


def test_unsure_boxes_are_not_told_and_of_the_others_only_so_many(folder: Path) -> None:
    (every,) = _finder(folder).find([PHOTOS[0]])
    middle = every[len(every) // 2].confidence
    (sure,) = _finder(folder, threshold=middle).find([PHOTOS[0]])
    assert sure == every[: len(sure)]
    assert 0 < len(sure) < len(every)
    (few,) = _finder(folder, most=2).find([PHOTOS[0]])
    assert few == every[:2]


def test_a_photo_has_the_same_boxes_alone_and_among_others(folder: Path) -> None:
    finder = _finder(folder)
    together = finder.find(PHOTOS)
    assert [finder.find([photo])[0] for photo in PHOTOS] == together


@pytest.mark.parametrize("size", [(1, 1), (1, 10_000), (10_000, 1), (3, 1), (2, 3)])
def test_every_shape_can_be_looked_at(
    folder: Path, size: tuple[int, int], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(boxes, "_LONGEST", 256)  # else OWLv2 spends seconds on smoothing
    (found,) = _finder(folder).find([Image.new("RGB", size, "orange")])
    assert all(thing.x + thing.width <= 1 + 1e-9 for thing in found)
    assert all(thing.y + thing.height <= 1 + 1e-9 for thing in found)


def test_a_strip_is_padded_below_or_to_its_right_and_nothing_else_is() -> None:
    assert boxes.within_bounds(PHOTOS[0]) == (PHOTOS[0], PHOTOS[0].size)
    strip, size = boxes.within_bounds(Image.new("RGB", (1000, 10), "white"))
    assert (strip.size, size) == ((1000, 63), (1000, 10))
    assert strip.getpixel((999, 9)) == (255, 255, 255)
    assert strip.getpixel((0, 10)) == (0, 0, 0)
    assert boxes.within_bounds(Image.new("RGB", (10, 1000)))[0].size == (63, 1000)


def test_what_is_larger_than_a_rendition_is_scaled_down_first() -> None:
    assert boxes.within_bounds(Image.new("RGB", (4096, 1024)))[1] == (2048, 512)
    strip, size = boxes.within_bounds(Image.new("RGB", (10_000, 1)))
    assert (strip.size, size) == ((2048, 128), (2048, 1))


def test_boxes_are_cut_off_at_the_edges_and_those_outside_left_out() -> None:
    found = {
        "scores": torch.tensor([0.5, 0.9, 0.7]),
        "boxes": torch.tensor([[-10.0, -5, 50, 25], [150, 0, 250, 50], [210, 0, 300, 50]]),
    }
    things = boxes.objects(found, ["cat", "dog", "car"], (200, 50), most=9)
    assert [(it.name, it.x, it.y, it.width, it.height) for it in things] == [
        ("dog", 0.75, 0.0, 0.25, 1.0),
        ("cat", 0.0, 0.0, 0.25, 0.5),
    ]


def test_boxes_of_a_photo_that_was_turned_are_those_of_the_upright_one(folder: Path) -> None:
    stored, exif = io.BytesIO(), Image.Exif()
    exif[0x0112] = 6  # the camera was held on its side
    PHOTOS[0].transpose(Image.Transpose.ROTATE_90).save(stored, "PNG", exif=exif)
    finder = _finder(folder)
    assert finder.find([open_upright_rgb(stored.getvalue())]) == finder.find([PHOTOS[0]])


def test_the_engine_is_named_after_its_kind_and_its_version_after_the_folder(folder: Path) -> None:
    finder = _finder(folder)
    assert finder.name == folder.name
    assert finder.model_version == find(str(folder)).version


def test_a_checkpoint_that_finds_no_boxes_is_refused(tmp_path: Path) -> None:
    folder = tiny_checkpoints.blip(tmp_path / "blip")
    with pytest.raises(CheckpointError, match="can't be loaded as AutoModelForObjectDetection"):
        _finder(folder)
