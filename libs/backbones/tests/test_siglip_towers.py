"""SigLIP's towers on tiny checkpoints, held against transformers' own pipeline."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

import tiny_checkpoints
import tiny_detectors
from backbones import BackboneError, CheckpointError, find
from backbones.siglip import Siglip
from tiny_checkpoints import photograph

LABELS = ("cat", "dog", "red car", "house")
KINDS = (
    tiny_checkpoints.siglip,
    tiny_checkpoints.siglip2_of_a_fixed_resolution,
    tiny_checkpoints.siglip2_of_any_shape,
)


@pytest.fixture(scope="module", params=KINDS, ids=lambda make: make.__name__)
def folder(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    make: Callable[[Path], Path] = request.param
    return make(tmp_path_factory.mktemp("made") / make.__name__)


@pytest.fixture(scope="module")
def towers(folder: Path) -> Siglip:
    return Siglip.load(find(str(folder)), torch.device("cpu"))


def _pipeline(folder: Path, images: list[Image.Image]) -> np.ndarray[Any, Any]:
    """Scores of LABELS for each picture."""
    from transformers import pipeline

    ask = pipeline("zero-shot-image-classification", model=str(folder))
    answers = [
        ask(image, candidate_labels=list(LABELS), hypothesis_template="a photo of a {}.")
        for image in images
    ]
    by_name = [{answer["label"]: answer["score"] for answer in each} for each in answers]
    return np.array([[scores[label] for label in LABELS] for scores in by_name])


def _probabilities(towers: Siglip, images: list[Image.Image]) -> np.ndarray[Any, Any]:
    texts = towers.texts([f"a photo of a {label}." for label in LABELS])
    logits = towers.fit.logits(towers.images(images), texts)
    return 1.0 / (1.0 + np.exp(-logits.astype(np.float64)))


def test_pictures_and_texts_fit_as_transformers_pipeline_says(towers: Siglip, folder: Path) -> None:
    images = [photograph(), photograph(40, 70, seed=1), photograph(33, 31, seed=2)]
    expected = _pipeline(folder, images)
    assert np.ptp(expected) > 0.03
    np.testing.assert_allclose(_probabilities(towers, images), expected, atol=1e-5)


def test_vectors_have_unit_length_and_the_dimension_that_is_told(towers: Siglip) -> None:
    vectors = towers.images([photograph(), photograph(seed=1)])
    assert vectors.shape == (2, towers.images.dimension)
    assert vectors.dtype == np.float32
    np.testing.assert_allclose(np.linalg.norm(vectors, axis=1), 1.0, atol=1e-6)
    np.testing.assert_allclose(np.linalg.norm(towers.texts(["cat"]), axis=1), 1.0, atol=1e-6)


def test_a_picture_has_the_same_vector_alone_and_among_many(towers: Siglip) -> None:
    many = [photograph(seed=seed) for seed in range(18)]
    together = towers.images(many)
    assert together.shape[0] == 18
    for at in (0, 15, 16, 17):
        np.testing.assert_allclose(towers.images([many[at]])[0], together[at], atol=1e-5)


def test_texts_are_the_same_in_capitals_alone_and_among_many(towers: Siglip) -> None:
    many = [f"{word} {other}" for word in ("cat", "dog", "car") for other in ("a", "of", "the")] * 8
    together = towers.texts(many)
    assert together.shape[0] == 72
    np.testing.assert_allclose(towers.texts([many[65].upper()])[0], together[65], atol=1e-5)


def test_a_text_longer_than_the_network_takes_is_cut(towers: Siglip) -> None:
    assert np.isfinite(towers.texts(["cat dog " * 500])).all()


def test_nothing_gives_no_rows(towers: Siglip) -> None:
    assert towers.images([]).shape == (0, towers.images.dimension)
    assert towers.texts([]).shape[0] == 0


@pytest.mark.parametrize("size", [(1, 1), (3, 1), (1, 3), (1, 10_000), (10_000, 1), (2, 3)])
def test_every_shape_has_a_vector(towers: Siglip, size: tuple[int, int]) -> None:
    (vector,) = towers.images([Image.new("RGB", size, "orange")])
    assert float(np.linalg.norm(vector)) == pytest.approx(1.0, abs=1e-5)


def test_a_tiny_picture_is_not_mistaken_for_one_with_its_channels_first(towers: Siglip) -> None:
    """Of 3 rows: red, green and blue ones; read the wrong way round they would be grey."""
    rows = np.zeros((3, 9, 3), np.uint8)
    rows[0, :, 0] = rows[1, :, 1] = rows[2, :, 2] = 255
    small = Image.fromarray(rows)
    large = small.resize((90, 30), Image.Resampling.NEAREST)
    grey = Image.new("RGB", (9, 3), (85, 85, 85))
    own, near, far = towers.images([small, large, grey])
    assert float(own @ near) > float(own @ far)


def test_the_version_names_the_folder_and_its_content(towers: Siglip, folder: Path) -> None:
    assert towers.version == find(str(folder)).version
    assert towers.version.startswith(f"{folder.name}@")


def test_a_lack_of_memory_and_other_failures_are_told_apart(
    towers: Siglip, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fails(error: Exception) -> Callable[..., Any]:
        def fail(**_: object) -> Any:
            raise error

        return fail

    monkeypatch.setattr(towers.images, "_features", fails(torch.OutOfMemoryError("CUDA")))
    with pytest.raises(MemoryError):
        towers.images([photograph()])
    monkeypatch.setattr(towers.images, "_features", fails(RuntimeError("a kernel failed")))
    with pytest.raises(BackboneError, match="a kernel failed"):
        towers.images([photograph()])


def test_a_checkpoint_of_another_kind_is_refused(tmp_path: Path) -> None:
    folder = tiny_detectors.detr(tmp_path / "detr")
    with pytest.raises(CheckpointError, match=r"kind 'detr', not SigLIP"):
        Siglip.load(find(str(folder)), torch.device("cpu"))
