"""The choice of an engine, and the built-in one on real photographs."""

import importlib.util
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from backbones import BackboneError, EfficientNetLite0
from detector.engines import DetectorEngine, load
from detector.engines.efficientnet_lite0 import EfficientNetLite0Engine, softmax
from detector.settings import Settings
from streamkit import Reject, Retry, UnknownEngineError


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


def test_probabilities_of_large_logits_stay_finite() -> None:
    rows = softmax(np.array([[1000.0, 999.0], [-1000.0, -1000.0]], dtype=np.float32))
    np.testing.assert_allclose(rows, [[0.7310586, 0.2689414], [0.5, 0.5]], atol=1e-6)


def test_an_unknown_engine_is_refused_with_those_that_exist() -> None:
    with pytest.raises(UnknownEngineError, match="'yolo' is not known; choose efficientnet-lite0"):
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


@pytest.mark.parametrize(
    ("raised", "instruction"),
    [(MemoryError("17 GB"), Retry), (BackboneError("bad kernel"), Reject)],
)
def test_a_lack_of_memory_is_retried_and_any_other_failure_rejects_the_photo(
    raised: Exception, instruction: type[Exception]
) -> None:
    class Failing(EfficientNetLite0):
        model_version = "x"

        def __init__(self) -> None:
            pass

        def __call__(self, images: object) -> object:  # type: ignore[override]
            raise raised

    with pytest.raises(instruction, match=r"too little memory|engine_failed"):
        EfficientNetLite0Engine(Failing(), labels=5).detect([Image.new("RGB", (8, 8))])
