"""The file that a head is kept in."""

import json
from collections.abc import Mapping
from hashlib import sha256
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from safetensors.numpy import load, save

from heads import Head, HeadError, Rejection

LABELS = ("receipt", "whiteboard", "Käse")


def head(**changes: Any) -> Head:
    parts: dict[str, Any] = {
        "labels": LABELS,
        "model_version": "model@1",
        "weights": np.arange(12, dtype=np.float32).reshape(3, 4),
        "bias": np.zeros(3, np.float32),
        "means": np.eye(3, 4, dtype=np.float32),
        "temperature": 0.3,
        "rejection": Rejection(3.0, 1.5, -0.1),
    }
    return Head(**(parts | changes))


def changed(
    tensors: Mapping[str, np.ndarray | None] | None = None,
    metadata: dict[str, str] | None = None,
    **about: Any,
) -> bytes:
    """A head's file with other tensors (None: without it) and other things in its metadata."""
    data = head().data
    parts = {**load(data), **(tensors or {})}
    header = json.loads(data[8 : 8 + int.from_bytes(data[:8], "little")])
    told = json.loads(header["__metadata__"]["darkroom.head"]) | about
    told = {name: value for name, value in told.items() if value is not None}
    kept = {name: tensor for name, tensor in parts.items() if tensor is not None}
    return save(kept, metadata if metadata is not None else {"darkroom.head": json.dumps(told)})


def test_a_head_comes_back_as_it_was(tmp_path: Path) -> None:
    file = tmp_path / "head.safetensors"
    head().save(file)
    back = Head.load(file)
    assert back.labels == LABELS
    assert (back.model_version, back.temperature) == ("model@1", 0.3)
    assert back.rejection == Rejection(3.0, 1.5, -0.1)
    assert np.array_equal(back.weights, head().weights)
    assert list(tmp_path.iterdir()) == [file]


def test_its_version_is_the_hash_of_its_bytes_and_the_same_for_the_same_head() -> None:
    assert head().data == head().data == Head.of(head().data).data
    assert head().version == sha256(head().data).hexdigest()


def test_another_head_has_another_version() -> None:
    versions = {
        head().version,
        head(temperature=0.31).version,
        head(labels=("a", "b", "c")).version,
        head(bias=np.ones(3, np.float32)).version,
        head(model_version="model@2").version,
    }
    assert len(versions) == 5


NAN = np.full((3, 4), np.nan, np.float32)


@pytest.mark.parametrize(
    ("data", "told"),
    [
        (b"", "no safetensors file"),
        (b"PK\x03\x04" + bytes(100), "no safetensors file"),
        (head().data[:-3], "no safetensors file"),
        (save({"weights": np.ones(3, np.float32)}), "not of a head"),
        (changed(metadata={"darkroom.head": "[]"}), "not of a head"),
        (changed(metadata={"darkroom.head": "{"}), "not of a head"),
        (changed(format=2), "has the format 2; known is 1"),
        (changed(tensors={"bias": None}), "tensors weights, bias, means"),
        (changed(tensors={"more": np.ones(3, np.float32)}), "tensors weights, bias, means"),
        (changed(tensors={"bias": np.zeros(3)}), "bias is of float64"),
        (changed(tensors={"weights": NAN}), "weights has numbers that are not finite"),
        (changed(tensors={"means": np.eye(3, 5, dtype=np.float32)}), "means has the shape"),
        (changed(tensors={"bias": np.zeros(4, np.float32)}), "bias has the shape"),
        (changed(tensors={"weights": np.ones((5, 4), np.float32)}), "not those of 3 labels"),
        (changed(tensors={"means": np.ones((3, 4), np.float32)}), "not of length 1"),
        (changed(labels=["a", "b"], tensors={"bias": np.zeros(4, np.float32)}), "bias has"),
        (changed(labels=["a", "a", "b"]), "each another"),
        (changed(labels=["a", "none", "b"]), "No label is called none"),
        (changed(labels=[]), "at least one label"),
        (changed(labels=[1, 2, 3]), "metadata are incomplete"),
        (changed(labels=None), "metadata are incomplete"),
        (changed(rejection=[1.0]), "metadata are incomplete"),
        (changed(rejection=[1.0, float("nan"), 0.0]), "rule for none"),
        (changed(temperature=0.0), "above 0"),
        (changed(temperature="hot"), "metadata are incomplete"),
        (changed(model_version=""), "model version"),
    ],
)
def test_what_is_no_whole_head_is_refused(data: bytes, told: str) -> None:
    with pytest.raises(HeadError, match=told):
        Head.of(data)


@pytest.mark.parametrize("length", range(0, 200, 7))
def test_a_file_that_is_cut_anywhere_is_refused(length: int) -> None:
    with pytest.raises(HeadError):
        Head.of(head().data[:length])
