"""Heads out of the object store."""

from hashlib import sha256

import numpy as np
import pytest

from gateway.control import head_files
from gateway.control.head_files import HeadFiles
from heads import Head, Rejection
from streamkit import Reject, Retry

HEAD = Head(
    labels=("receipt",),
    model_version="stub@1",
    weights=np.ones((1, 2), np.float32),
    bias=np.zeros(1, np.float32),
    means=np.array([[1, 0]], np.float32),
    temperature=1.0,
    rejection=Rejection(0, 0, 1),
)


class Store:
    """Bytes by URI, and how often they were asked for."""

    def __init__(self, **kept: bytes) -> None:
        self.kept = kept
        self.asked: list[str] = []
        self.trouble: Exception | None = None

    def get(self, uri: str, *, limit: int) -> bytes:
        assert limit >= len(HEAD.data)
        self.asked.append(uri)
        if self.trouble is not None:
            raise self.trouble
        return self.kept[uri]


def test_a_head_is_fetched_once() -> None:
    store = Store(a=HEAD.data)
    files = HeadFiles(store)
    assert files.of(HEAD.version, "a") is files.of(HEAD.version, "a")
    assert store.asked == ["a"]


@pytest.mark.parametrize("trouble", [Reject("object_missing", "Gone."), Retry("away")])
def test_one_that_cannot_be_had_is_fetched_again_later(trouble: Exception) -> None:
    store, now = Store(a=HEAD.data), 0.0
    files = HeadFiles(store, lambda: now)
    store.trouble = trouble
    assert files.of(HEAD.version, "a") is None
    store.trouble = None
    now = head_files._AGAIN_S - 1
    assert files.of(HEAD.version, "a") is None
    assert len(store.asked) == 1
    now = head_files._AGAIN_S
    assert files.of(HEAD.version, "a") is not None


@pytest.mark.parametrize("hashed", [HEAD.data, b"no head"])
def test_a_file_that_is_another_one_or_no_head_is_none(hashed: bytes) -> None:
    store = Store(a=b"no head")
    assert HeadFiles(store).of(sha256(hashed).hexdigest(), "a") is None


def test_no_more_are_kept_than_so_many(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(head_files, "_MOST", 1)
    other = Head(
        labels=("menu",),
        **{name: getattr(HEAD, name) for name in ("model_version", "weights", "bias", "means")},
        temperature=1.0,
        rejection=HEAD.rejection,
    )
    store = Store(a=HEAD.data, b=other.data)
    files = HeadFiles(store)
    for uri, head in (("a", HEAD), ("b", other), ("b", other), ("a", HEAD)):
        found = files.of(head.version, uri)
        assert found is not None
        assert found.labels == head.labels
    assert store.asked == ["a", "b", "a"]
