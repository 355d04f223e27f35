"""Labels by SigLIP and captions by BLIP, of tiny checkpoints."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

import tiny_checkpoints
from backbones import CheckpointError, find
from backbones.siglip import Siglip
from detector.calibration import NONE_OF_THESE
from detector.engines.caption import MOST_TOKENS, BlipCaptioner
from detector.engines.composed import ComposedEngine
from detector.engines.siglip import SiglipLabeller, text_features
from detector.label_lists import LabelList
from tiny_checkpoints import photograph

CPU = torch.device("cpu")
LABELS = LabelList(("cat", "dog", "red car", "house"), ("animal", "animal", "", "building"))
PHOTOS = [photograph(), photograph(40, 70, seed=1)]


@pytest.fixture(scope="module")
def siglip(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny_checkpoints.siglip(tmp_path_factory.mktemp("made") / "siglip")


@pytest.fixture(scope="module")
def blip(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny_checkpoints.blip(tmp_path_factory.mktemp("made") / "blip")


def _labeller(folder: Path, *prompts: str) -> SiglipLabeller:
    return SiglipLabeller.load(find(str(folder)), CPU, LABELS, prompts)


def test_labels_are_as_likely_as_transformers_pipeline_says(siglip: Path) -> None:
    from transformers import pipeline

    ask = pipeline("zero-shot-image-classification", model=str(siglip))
    logits = _labeller(siglip, "a photo of {}.").logits(PHOTOS)
    for photo, row in zip(PHOTOS, logits, strict=True):
        answers = ask(
            photo, candidate_labels=list(LABELS.names), hypothesis_template="a photo of {}."
        )
        scores = {answer["label"]: answer["score"] for answer in answers}
        expected = [scores[name] for name in LABELS.names]
        np.testing.assert_allclose(1 / (1 + np.exp(-row.astype(float))), expected, atol=1e-5)


def test_a_label_is_the_mean_of_its_prompts(siglip: Path) -> None:
    texts = Siglip.load(find(str(siglip)), CPU).texts
    one, other, both = (
        text_features(texts, ("cat", "dog"), prompts)
        for prompts in (["a {}"], ["the {}"], ["a {}", "the {}"])
    )
    mean = one + other
    np.testing.assert_allclose(both, mean / np.linalg.norm(mean, axis=1, keepdims=True), atol=1e-6)
    assert np.abs(one - other).max() > 0.01


def test_none_of_these_is_as_likely_as_a_label_that_neither_fits_nor_not(siglip: Path) -> None:
    labeller = _labeller(siglip, "a photo of {}.")
    engine = ComposedEngine(labeller, kept=9)
    for found, logits in zip(engine.detect(PHOTOS), labeller.logits(PHOTOS), strict=True):
        confidences = {label.name: label.confidence for label in found.labels}
        weights = np.exp(logits.astype(float))
        assert confidences[NONE_OF_THESE] == pytest.approx(1 / (1 + weights.sum()))
        assert confidences["dog"] == pytest.approx(weights[1] / (1 + weights.sum()))
        assert not found.calibrated


def test_other_prompts_are_another_version(siglip: Path) -> None:
    one, other = (_labeller(siglip, prompt).model_version for prompt in ("{}", "a photo of {}"))
    assert one != other
    assert one == _labeller(siglip, "{}").model_version


def test_the_category_is_the_users_own(siglip: Path) -> None:
    labeller = _labeller(siglip, "{}")
    assert labeller.category(np.array([0.3, 0.3, 0.1, 0.2])) == "animal"
    assert labeller.category(np.array([0.1, 0.1, 0.6, 0.1])) is None
    assert labeller.category(np.array([0.1, 0.0, 0.0, 0.2])) is None
    assert labeller.category(np.array([0.0, 0.0, 0.2, 0.7])) == "building"


def test_the_labeller_keeps_only_the_tower_that_it_needs(siglip: Path) -> None:
    labeller = _labeller(siglip, "{}")
    held = {type(value).__name__ for value in vars(labeller).values()}
    assert "ImageTower" in held
    assert not held & {"TextTower", "Siglip"}


def test_captions_are_what_the_network_generates(blip: Path) -> None:
    import transformers

    library: Any = transformers
    network = library.BlipForConditionalGeneration.from_pretrained(blip).eval()
    tokenizer = library.AutoTokenizer.from_pretrained(blip)
    processor = library.AutoImageProcessor.from_pretrained(blip)
    photos = [photograph(seed=seed) for seed in range(3)]
    captions = BlipCaptioner(find(str(blip)), CPU).captions(photos)
    assert len(set(captions)) > 1
    for photo, caption in zip(photos, captions, strict=True):
        pixels = processor(images=[photo], return_tensors="pt")
        with torch.inference_mode():
            tokens = network.generate(**pixels, max_new_tokens=MOST_TOKENS, do_sample=False)
        assert caption == tokenizer.decode(tokens[0], skip_special_tokens=True).strip()
        assert len(caption.split()) <= MOST_TOKENS


@pytest.mark.parametrize("size", [(1, 1), (1, 10_000), (10_000, 1)])
def test_every_shape_has_labels_and_a_caption(
    siglip: Path, blip: Path, size: tuple[int, int]
) -> None:
    image = Image.new("RGB", size, "orange")
    assert np.isfinite(_labeller(siglip, "{}").logits([image])).all()
    assert len(BlipCaptioner(find(str(blip)), CPU).captions([image])) == 1


def test_a_checkpoint_that_writes_no_captions_is_refused(siglip: Path) -> None:
    with pytest.raises(CheckpointError, match="BlipForConditionalGeneration"):
        BlipCaptioner(find(str(siglip)), CPU)
