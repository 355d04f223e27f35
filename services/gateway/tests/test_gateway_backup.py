"""What is checked of a backup before anything is changed; without a database."""

import hashlib
import json
from datetime import UTC, datetime
from pathlib import Path

import httpx
import pytest

from gateway.backup import objects
from gateway.backup.manifest import (
    BackupError,
    Catalog,
    File,
    Manifest,
    Objects,
    described,
    read_manifest,
    write_manifest,
)
from gateway.backup.registry import Registry, differing
from gateway.backup.restoring import verify
from streamkit import ObjectStore

REGISTRY = "http://registry/apis/ccompat/v7"


@pytest.fixture
def store(tmp_path: Path) -> ObjectStore:
    return ObjectStore(f"file://{tmp_path}/store")


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    made = tmp_path / "backup"
    made.mkdir()
    return made


def backed_up(store: ObjectStore, folder: Path, revision: str = "0001") -> Manifest:
    """A backup of these objects, and of no tables."""
    listing = folder / "objects.jsonl"
    found = list(objects.copy_out(store, folder))
    listing.write_text("".join(f"{one.model_dump_json()}\n" for one in found))
    manifest = Manifest(
        format=1,
        made_at=datetime.now(UTC),
        version="0",
        catalog=Catalog(revision=revision, postgres="180000", tables=()),
        schemas=None,
        objects=Objects(
            location=store.uri_of("").rstrip("/"),
            count=len(found),
            bytes=sum(one.bytes for one in found),
            listing=described(folder, listing.name),
            missing=0,
        ),
    )
    write_manifest(folder, manifest)
    return manifest


def silent(_step: str, _done: int, _of: int | None) -> None:
    return None


def test_objects_come_back_as_they_were_under_any_name(
    store: ObjectStore, folder: Path, tmp_path: Path
) -> None:
    keys = ("originals/ab/abc", "inbox/ein Bild (1) é%20#x?.jpg", "empty")
    for key in keys:
        target = tmp_path / "store" / key
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_bytes(key.encode() * 3 if key != "empty" else b"")
    backed_up(store, folder)
    other = ObjectStore(f"file://{tmp_path}/other")
    manifest = verify(folder, silent)
    for _ in range(2):  # what is there is left
        put = list(
            objects.copy_in(other, folder, objects.listed_in(folder, manifest.objects.listing))
        )
        assert sorted(one.key for one in put) == sorted(keys)
    for key in keys:
        expected = (tmp_path / "store" / key).read_bytes()
        assert (tmp_path / "other" / key).read_bytes() == expected


def test_an_object_that_is_not_what_was_backed_up_is_put_right(
    store: ObjectStore, folder: Path, tmp_path: Path
) -> None:
    store.put("a", b"right")
    manifest = backed_up(store, folder)
    (tmp_path / "store" / "a").write_bytes(b"wrong")
    list(objects.copy_in(store, folder, objects.listed_in(folder, manifest.objects.listing)))
    assert (tmp_path / "store" / "a").read_bytes() == b"right"


def test_a_second_backup_fetches_only_what_is_new(
    store: ObjectStore, folder: Path, tmp_path: Path
) -> None:
    store.put("old", b"old")
    backed_up(store, folder)
    kept = (folder / "objects" / "old").stat().st_ino
    store.put("new", b"new")
    assert backed_up(store, folder).objects.count == 2
    assert (folder / "objects" / "old").stat().st_ino == kept


def test_what_is_being_written_is_not_backed_up(
    store: ObjectStore, folder: Path, tmp_path: Path
) -> None:
    store.put("a", b"a")
    (tmp_path / "store" / "b#1").write_bytes(b"half")
    assert [one.key for one in objects.copy_out(store, folder)] == ["a"]


def test_a_store_without_anything_is_backed_up(store: ObjectStore, folder: Path) -> None:
    assert backed_up(store, folder).objects.count == 0
    verify(folder, silent)


@pytest.mark.parametrize("damage", [b"brok", b"short", None])
def test_a_damaged_object_is_found_before_anything_is_changed(
    store: ObjectStore, folder: Path, damage: bytes | None
) -> None:
    store.put("a", b"true")
    backed_up(store, folder)
    file = folder / "objects" / "a"
    file.unlink() if damage is None else file.write_bytes(damage)
    with pytest.raises(BackupError, match=r"damaged: .*/objects/a"):
        verify(folder, silent)


def test_a_backup_without_a_manifest_is_none(folder: Path) -> None:
    with pytest.raises(BackupError, match="no whole backup"):
        read_manifest(folder)


def test_a_backup_of_a_newer_version_is_refused(store: ObjectStore, folder: Path) -> None:
    backed_up(store, folder, revision="9999")
    with pytest.raises(BackupError, match="newer Darkroom"):
        verify(folder, silent)


def test_a_manifest_of_another_format_is_refused(store: ObjectStore, folder: Path) -> None:
    backed_up(store, folder)
    file = folder / "manifest.json"
    file.write_text(json.dumps({**json.loads(file.read_text()), "format": 2}))
    with pytest.raises(BackupError, match="does not understand"):
        read_manifest(folder)


def test_a_file_is_described_by_its_bytes(folder: Path) -> None:
    (folder / "x").write_bytes(b"abc")
    assert described(folder, "x") == File(
        path="x", bytes=3, sha256=hashlib.sha256(b"abc").hexdigest()
    )


# -- the registry ------------------------------------------------------------------------------


def test_only_apicurios_registry_is_backed_up() -> None:
    with pytest.raises(BackupError, match="not Apicurio's") as refused:
        Registry("http://registry:8081")
    assert "--without-schemas" in refused.value.cure


def test_a_registry_that_is_away_or_refuses_is_told() -> None:
    def away(_request: httpx.Request) -> httpx.Response:
        raise httpx.ConnectError("no route")

    with pytest.raises(BackupError, match="No answer"):
        Registry(REGISTRY, httpx.MockTransport(away)).ids()
    refuses = httpx.MockTransport(lambda _request: httpx.Response(403, text="no"))
    with pytest.raises(BackupError, match="403 no"):
        Registry(REGISTRY, refuses).ids()


def test_schemas_are_read_in_with_their_ids(folder: Path) -> None:
    asked: list[httpx.Request] = []

    def answer(request: httpx.Request) -> httpx.Response:
        asked.append(request)
        return httpx.Response(204)

    (folder / "registry.zip").write_bytes(b"zip")
    Registry(REGISTRY, httpx.MockTransport(answer)).fill(folder / "registry.zip")
    (request,) = asked
    assert request.url == "http://registry/apis/registry/v3/admin/import"
    assert request.headers["X-Registry-Preserve-ContentId"] == "true"
    assert request.headers["X-Registry-Preserve-GlobalId"] == "true"
    assert request.content == b"zip"


def test_another_id_is_seen_and_a_further_version_is_none_of_it() -> None:
    wanted = {"a": {1: 7, 2: 8}, "b": {1: 9}}
    assert differing({"a": {1: 7, 2: 8, 3: 11}, "b": {1: 9}, "c": {1: 12}}, wanted) == []
    assert differing({"a": {1: 7, 2: 9}}, wanted) == ["a 2", "b 1"]
