"""The choice of an engine, and the built-in one on real photographs."""

import importlib.util
from pathlib import Path

import pytest
from PIL import Image

from detector.engines import DetectorEngine, load
from detector.settings import Settings
from imaging import open_upright_rgb
from streamkit import UnknownEngineError


def _photo(name: str) -> Image.Image:
    spec = importlib.util.find_spec("skimage")
    assert spec is not None
    assert spec.submodule_search_locations is not None
    return Image.open(Path(spec.submodule_search_locations[0]) / "data" / name).convert("RGB")


def _settings(*flags: str) -> Settings:
    return Settings.from_command_line("detector", list(flags))


@pytest.fixture(scope="module")
def engine() -> DetectorEngine:
    return load(_settings("--detector-device=cpu"))


def test_auto_is_the_engine_whose_weights_are_installed(engine: DetectorEngine) -> None:
    assert engine.name == "efficientnet-lite0"
    assert engine.model_version.startswith("efficientnet-lite0@")


def test_coffee_is_an_espresso_and_a_drink(engine: DetectorEngine) -> None:
    (found,) = engine.detect([_photo("coffee.png")])
    assert found.labels[0].name == "espresso"
    assert found.labels[0].confidence == pytest.approx(0.95, abs=0.03)
    assert found.category == "food or drink"


GOLDEN = (
    ("skimage", "data/astronaut.png", "football helmet", 0.162, "vehicle"),
    ("skimage", "data/coffee.png", "espresso", 0.951, "food or drink"),
    ("skimage", "data/chelsea.png", "tiger cat", 0.385, "cat"),
    ("skimage", "data/rocket.jpg", "missile", 0.286, "weapon or armour"),
    ("skimage", "data/motorcycle_left.png", "moped", 0.487, "vehicle"),
    ("skimage", "data/camera.png", "tripod", 0.937, "tool"),
    ("sklearn", "datasets/images/china.jpg", "palace", 0.313, "building or place"),
    ("sklearn", "datasets/images/flower.jpg", "daisy", 0.358, "plant or fungus"),
    ("matplotlib", "mpl-data/sample_data/grace_hopper.jpg", "academic gown", 0.244, "clothing"),
)
"""What the packaged weights say of the sample photographs, right or wrong."""


@pytest.mark.parametrize(("package", "path", "label", "confidence", "category"), GOLDEN)
def test_the_sample_photographs_are_what_they_were(
    engine: DetectorEngine, package: str, path: str, label: str, confidence: float, category: str
) -> None:
    spec = importlib.util.find_spec(package)
    assert spec is not None
    assert spec.submodule_search_locations is not None
    data = (Path(spec.submodule_search_locations[0]) / path).read_bytes()
    (found,) = engine.detect([open_upright_rgb(data)])
    confidences = {each.name: each.confidence for each in found.labels}
    assert confidences[label] == pytest.approx(confidence, abs=0.02)
    assert confidences[label] >= max(confidences.values()) - 0.02
    assert found.category is not None
    assert found.category.startswith(category)


def test_chelsea_is_a_cat_although_no_single_breed_is_sure(engine: DetectorEngine) -> None:
    (found,) = engine.detect([_photo("chelsea.png")])
    assert "cat" in found.labels[0].name
    assert found.labels[0].confidence < 0.5
    assert found.category == "cat"


def test_labels_are_five_probabilities_best_first(engine: DetectorEngine) -> None:
    (found,) = engine.detect([_photo("rocket.jpg")])
    confidences = [label.confidence for label in found.labels]
    assert len(confidences) == 5
    assert confidences == sorted(confidences, reverse=True)
    assert 0 < sum(confidences) <= 1


def test_it_says_that_it_finds_no_boxes_writes_no_caption_and_is_not_calibrated(
    engine: DetectorEngine,
) -> None:
    (found,) = engine.detect([_photo("coffee.png")])
    assert (found.objects, found.caption, found.calibrated) == ((), None, False)


def test_photos_are_answered_in_their_order(engine: DetectorEngine) -> None:
    both = engine.detect([_photo("coffee.png"), _photo("chelsea.png")])
    assert [found.category for found in both] == ["food or drink", "cat"]


def test_an_unknown_engine_is_refused_with_those_that_exist() -> None:
    with pytest.raises(
        UnknownEngineError, match="'yolo' is not known; choose efficientnet-lite0, siglip"
    ):
        load(_settings("--detector-engine=yolo"))


def test_another_engine_is_made_by_its_factory_from_the_settings(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    module = "class Engine:\n    name = 'mine'\n    model_version = 'mine@1'\n"
    factory = "def make(settings):\n    assert settings.detector_labels == 3\n    return Engine()\n"
    (tmp_path / "a_detector_of_mine.py").write_text(module + factory)
    monkeypatch.syspath_prepend(tmp_path)
    settings = _settings("--detector-engine=a_detector_of_mine:make", "--detector-labels=3")
    assert load(settings).name == "mine"
