"""A submission, and the services around intake, in memory."""

import io
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

import pytest
from PIL import Image

from darkroom_schemas.ids import LOCAL_OWNER, photo_id
from imaging import sha256_hex
from streamkit import Message, Reject, Retry

OWN_STORE = "file:///objects"


@dataclass
class MemoryStore:
    """As streamkit.ObjectStore, with troubles on demand."""

    objects: dict[str, bytes] = field(default_factory=dict)
    troubles: list[Exception] = field(default_factory=list)
    fetched: int = 0

    def get(self, uri: str, *, limit: int) -> bytes:
        self.fetched += 1
        if self.troubles:
            raise self.troubles.pop(0)
        if uri not in self.objects:
            raise Reject("object_missing", "The file is not in the store.")
        return self.objects[uri]

    def put(self, key: str, data: bytes) -> str:
        if self.troubles:
            raise self.troubles.pop(0)
        self.objects.setdefault(f"{OWN_STORE}/{key}", data)
        return f"{OWN_STORE}/{key}"


@pytest.fixture
def store() -> MemoryStore:
    return MemoryStore()


@pytest.fixture
def broken_disk() -> Retry:
    return Retry("the object store failed: /secret/path")


@pytest.fixture
def photo() -> bytes:
    """A small upright JPEG: its own rendition."""
    file = io.BytesIO()
    Image.new("RGB", (40, 30), (200, 30, 90)).save(file, "JPEG")
    return file.getvalue()


@pytest.fixture
def submitted(store: MemoryStore) -> Callable[..., Message]:
    """A record about bytes that lie in our own store; any field can be given another value."""

    def made(
        data: bytes, *, lane: str = "default", key: str | None = None, **other: Any
    ) -> Message:
        sha256 = sha256_hex(data)
        value = {
            "owner": LOCAL_OWNER,
            "photo_id": photo_id(LOCAL_OWNER, sha256),
            "submission_id": "holiday-17",
            "analysis_id": None,
            "revision": None,
            "policy_revision": None,
            "lane": lane,
            "source_uri": f"{OWN_STORE}/originals/{sha256[:2]}/{sha256}",
            "sha256": sha256,
            "byte_size": len(data),
            "file_name": "beach.jpg",
            "submitted_at": datetime(2026, 11, 24, 12, 0, 0, 250_000, tzinfo=UTC),
            **other,
        }
        store.objects[value["source_uri"]] = data
        key = key or value["photo_id"]
        return Message(f"photo.submitted.{lane}.v1", lane, key, value, {}, 0, 0, 0)

    return made
