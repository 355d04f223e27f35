"""Pictures and texts in one space, by tiny checkpoints of SigLIP; and the choice of an engine."""

from pathlib import Path
from typing import Any

import huggingface_hub.constants
import numpy as np
import pytest
from structlog.testing import capture_logs

import tiny_checkpoints
from backbones import BackboneError
from embedder.engines import EmbedderEngine, TextEmbedder, load
from embedder.engines.siglip import SiglipEngine
from embedder.settings import Settings
from streamkit import EngineLoadError, Reject, Retry
from tiny_checkpoints import photograph

TEXTS = ("a photo of a cat", "the red car", "Blue House")


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny_checkpoints.siglip(tmp_path_factory.mktemp("made") / "siglip")


def _settings(*flags: str) -> Settings:
    return Settings.from_command_line("embedder", ["--embedder-device=cpu", *flags])


@pytest.fixture(scope="module")
def engine(folder: Path) -> SiglipEngine:
    engine = load(_settings("--embedder-engine=siglip", f"--embedder-checkpoint={folder}"))
    assert isinstance(engine, SiglipEngine)
    return engine


def test_pictures_and_texts_have_vectors_of_one_length_and_dimension(engine: SiglipEngine) -> None:
    vectors = [*engine.embed([photograph(), photograph(seed=1)]), *engine.embed_texts(TEXTS)]
    for vector in vectors:
        assert vector.shape == (engine.dimension,)
        assert vector.dtype == np.float32
        assert float(np.linalg.norm(vector)) == pytest.approx(1.0, abs=1e-6)


def test_texts_are_ranked_as_the_network_ranks_them(engine: SiglipEngine, folder: Path) -> None:
    import torch
    import transformers

    library: Any = transformers

    photos = [photograph(seed=seed) for seed in range(3)]
    inputs = library.AutoProcessor.from_pretrained(folder)(
        text=list(TEXTS), images=photos, padding="max_length", max_length=64, return_tensors="pt"
    )
    network = library.AutoModel.from_pretrained(folder).eval()
    with torch.inference_mode():
        answer = network(**inputs)
    expected = (answer.logits_per_image - network.logit_bias) / network.logit_scale.exp()
    cosines = np.array(engine.embed(photos)) @ np.array(engine.embed_texts(TEXTS)).T
    np.testing.assert_allclose(cosines, expected.detach().numpy(), atol=1e-5)


def test_a_photo_has_the_same_vector_alone_and_among_others(engine: SiglipEngine) -> None:
    photo = photograph(seed=4)
    among = engine.embed([photograph(), photo])[1]
    np.testing.assert_allclose(engine.embed([photo])[0], among, atol=1e-5)


def test_nothing_has_no_vectors(engine: SiglipEngine) -> None:
    assert (engine.embed([]), engine.embed_texts([])) == ([], [])


def test_it_can_embed_texts_and_the_packaged_engine_says_that_it_can_not(
    engine: SiglipEngine,
) -> None:
    packaged: EmbedderEngine = load(_settings("--embedder-engine=efficientnet-lite0"))
    assert isinstance(engine, TextEmbedder)
    assert not isinstance(packaged, TextEmbedder)


def test_the_version_names_the_checkpoint(engine: SiglipEngine) -> None:
    assert engine.name == "siglip"
    assert engine.model_version.startswith("siglip@")


@pytest.mark.parametrize(
    ("raised", "instruction"),
    [(MemoryError("17 GB"), Retry), (BackboneError("bad kernel"), Reject)],
)
def test_a_lack_of_memory_is_retried_and_any_other_failure_rejects(
    engine: SiglipEngine,
    monkeypatch: pytest.MonkeyPatch,
    raised: Exception,
    instruction: type[Exception],
) -> None:
    def fail(_: object) -> object:
        raise raised

    towers = type("Towers", (), {"images": staticmethod(fail), "texts": staticmethod(fail)})
    monkeypatch.setattr(engine, "_siglip", towers)
    with pytest.raises(instruction, match=r"too little memory|engine_failed"):
        engine.embed([photograph()])
    with pytest.raises(instruction, match=r"too little memory|engine_failed"):
        engine.embed_texts(["cat"])


@pytest.fixture
def _nothing_cached(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(huggingface_hub.HfApi, "model_info", lambda *_, **__: pytest.fail("asked"))


@pytest.mark.usefixtures("_nothing_cached")
def test_auto_takes_the_checkpoint_that_loads_and_else_the_packaged_weights(folder: Path) -> None:
    flags = {
        f"--embedder-checkpoint={folder}": ("siglip", f"{folder} loads: the setting names it"),
        f"--embedder-checkpoint=owner/name@{'0' * 40}": ("efficientnet-lite0", "not on this"),
        "--embedder-checkpoint=/no/folder": ("efficientnet-lite0", "There is no folder"),
        "--embedder-checkpoint=": ("efficientnet-lite0", "no checkpoint is named"),
    }
    for flag, (name, why) in flags.items():
        with capture_logs() as logs:
            assert load(_settings(flag)).name == name
        (line,) = [log for log in logs if log["event"] == "engine"]
        assert why in line["why"]


@pytest.mark.parametrize("flag", ["--embedder-checkpoint=", "--embedder-checkpoint=/no/folder"])
def test_what_the_settings_name_wrongly_is_a_sentence(flag: str) -> None:
    with pytest.raises(EngineLoadError, match=r"needs weights|There is no folder"):
        load(_settings("--embedder-engine=siglip", flag))
