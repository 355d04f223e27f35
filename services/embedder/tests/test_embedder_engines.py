"""The choice of an engine, and the built-in one on real photographs."""

import importlib.util
from pathlib import Path

import numpy as np
import pytest
from PIL import Image, ImageOps

from backbones import BackboneError, EfficientNetLite0
from embedder.engines import EmbedderEngine, load
from embedder.engines.efficientnet_lite0 import EfficientNetLite0Engine
from embedder.engines.vectors import unit
from embedder.settings import Settings
from streamkit import Reject, Retry, UnknownEngineError


def _photo(name: str) -> Image.Image:
    spec = importlib.util.find_spec("skimage")
    assert spec is not None
    assert spec.submodule_search_locations is not None
    return Image.open(Path(spec.submodule_search_locations[0]) / "data" / name).convert("RGB")


def _settings(*flags: str) -> Settings:
    return Settings.from_command_line("embedder", list(flags))


@pytest.fixture(scope="module")
def engine() -> EmbedderEngine:
    return load(_settings("--embedder-device=cpu"))


def test_auto_is_the_engine_whose_weights_are_installed(engine: EmbedderEngine) -> None:
    assert engine.name == "efficientnet-lite0"
    assert engine.model_version.startswith("efficientnet-lite0@")
    assert engine.dimension == 1280


def test_vectors_have_the_promised_dimension_and_unit_length(engine: EmbedderEngine) -> None:
    (vector,) = engine.embed([_photo("coffee.png")])
    assert vector.shape == (engine.dimension,)
    assert vector.dtype == np.float32
    assert float(np.linalg.norm(vector)) == pytest.approx(1.0, abs=1e-5)


def test_a_photo_is_nearer_to_its_smaller_mirrored_copy_than_to_another(
    engine: EmbedderEngine,
) -> None:
    chelsea = _photo("chelsea.png")
    copy = ImageOps.mirror(chelsea).resize((226, 150))
    own, near, far = engine.embed([chelsea, copy, _photo("coffee.png")])
    assert float(own @ near) > 0.8
    assert float(own @ far) < 0.5


def test_the_same_photo_gives_the_same_vector_alone_and_among_others(
    engine: EmbedderEngine,
) -> None:
    photo, other = _photo("chelsea.png"), _photo("coffee.png")
    (alone,) = engine.embed([photo])
    (again,) = engine.embed([photo])
    among = engine.embed([other, photo])[1]
    np.testing.assert_array_equal(alone, again)
    np.testing.assert_allclose(alone, among, atol=1e-5)


COSINES = (
    ("astronaut.png", "coffee.png", 0.19),
    ("astronaut.png", "motorcycle_left.png", 0.29),
    ("chelsea.png", "coffee.png", 0.09),
    ("rocket.jpg", "motorcycle_left.png", 0.18),
)


@pytest.mark.parametrize(("one", "other", "cosine"), COSINES)
def test_the_sample_photographs_are_as_alike_as_they_were(
    engine: EmbedderEngine, one: str, other: str, cosine: float
) -> None:
    first, second = engine.embed([_photo(one), _photo(other)])
    assert float(first @ second) == pytest.approx(cosine, abs=0.02)


@pytest.mark.parametrize("color", ["black", "white"])
def test_a_picture_of_nothing_still_has_a_vector(engine: EmbedderEngine, color: str) -> None:
    (vector,) = engine.embed([Image.new("RGB", (1, 1), color)])
    assert float(np.linalg.norm(vector)) == pytest.approx(1.0, abs=1e-5)


@pytest.mark.parametrize("value", [0.0, float("nan"), float("inf")])
def test_features_without_a_direction_reject_the_photo(value: float) -> None:
    with pytest.raises(Reject, match="engine_failed"):
        unit(np.full(4, value, np.float32))


def test_an_unknown_engine_is_refused_with_those_that_exist() -> None:
    with pytest.raises(
        UnknownEngineError, match="'clip' is not known; choose efficientnet-lite0, siglip"
    ):
        load(_settings("--embedder-engine=clip"))


def test_another_engine_is_made_by_its_factory_from_the_settings(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    module = "class Engine:\n    name = 'mine'\n    model_version = 'mine@1'\n    dimension = 3\n"
    factory = "def make(settings):\n    assert settings.embedder_threads == 2\n    return Engine()"
    (tmp_path / "an_embedder_of_mine.py").write_text(module + factory)
    monkeypatch.syspath_prepend(tmp_path)
    settings = _settings("--embedder-engine=an_embedder_of_mine:make", "--embedder-threads=2")
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
        EfficientNetLite0Engine(Failing()).embed([Image.new("RGB", (8, 8))])
