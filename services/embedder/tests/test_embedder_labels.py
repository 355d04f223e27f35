"""Heads in the embedder: whose they are, what is loaded, what they look at."""

from pathlib import Path

import numpy as np
import pytest

from darkroom_schemas.heads import FILE, head_name
from embedder.app import EMBEDDER
from embedder.labels import labelling, load, owner_of, vectors
from embedder.settings import Settings
from heads import Head, Rejection
from stagekit import Version, VersionError

VERSION = Version("head@0123456789ab", "head", {})


def head(*labels: str, offset: float = 40.0) -> Head:
    """Knows pictures by the axis that they lie on."""
    means = np.eye(len(labels), dtype=np.float32)
    bias = np.zeros(len(labels), np.float32)
    return Head(labels, "stub@1", 30 * means, bias, means, 1.0, Rejection(0.0, 0.0, offset))


def test_a_head_s_labels_of_a_vector_best_first(tmp_path: Path) -> None:
    head("cat", "dog").save(tmp_path / FILE)
    loaded = load(VERSION, tmp_path)
    seen = vectors({"vector": [0.6, 0.8], "labels": []})

    (best, other) = loaded.labels(seen)

    assert loaded.model_version == "stub@1"
    assert (best[0], other[0]) == ("dog", "cat")
    assert best[1] == pytest.approx(1 / (1 + np.exp(-6)), rel=1e-4)


def test_a_head_for_which_none_is_likelier_than_not_gives_none(tmp_path: Path) -> None:
    head("cat", "dog", offset=-0.1).save(tmp_path / FILE)
    assert load(VERSION, tmp_path).labels(vectors({"vector": [1.0, 0.0]})) == []


def test_what_is_no_head_is_told_in_a_sentence(tmp_path: Path) -> None:
    (tmp_path / FILE).write_bytes(b"\x80\x04 a pickle")
    with pytest.raises(VersionError, match="no safetensors file"):
        load(VERSION, tmp_path)
    with pytest.raises(VersionError, match=r"its engine is head, its file head\.safetensors"):
        load(VERSION, None)
    with pytest.raises(VersionError, match="is no head"):
        load(Version("siglip@0123456789ab", "siglip", {}), tmp_path)


def test_a_head_belongs_to_the_owner_in_its_name() -> None:
    assert owner_of(head_name("ann", "pets")) == "ann"
    assert owner_of("embedder") is None


def test_how_many_heads_are_held_is_a_setting() -> None:
    assert EMBEDDER.labelling is labelling
    assert labelling(Settings(heads_most=7)).most == 7
