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
    Object,
    Objects,
    Schemas,
    described,
    read_manifest,
    write_manifest,
)
from gateway.backup.registry import Registry, differing
from gateway.backup.restoring import restore_schemas, verify
from gateway.originals import original_key
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
    found = list(objects.copy_out(store, folder, objects.listed_before(folder)))
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


@pytest.mark.parametrize("key", ["renditions/a", original_key(hashlib.sha256(b"true").hexdigest())])
def test_what_was_damaged_in_the_backup_is_fetched_again(
    store: ObjectStore, folder: Path, key: str
) -> None:
    store.put(key, b"true")
    backed_up(store, folder)
    (folder / "objects" / key).write_bytes(b"evil")
    backed_up(store, folder)
    assert (folder / "objects" / key).read_bytes() == b"true"
    verify(folder, silent)


def test_what_no_listing_tells_of_is_fetched_unless_its_name_says_what_it_is(
    store: ObjectStore, folder: Path
) -> None:
    """A backup was broken off; or its listing is damaged, too."""
    named = original_key(hashlib.sha256(b"true").hexdigest())
    for key in ("a", named):
        store.put(key, b"true")
    (manifest, listing) = (backed_up(store, folder), folder / "objects.jsonl")
    kept = (folder / "objects" / named).stat().st_ino
    (folder / "objects" / "a").write_bytes(b"evil")
    evil = hashlib.sha256(b"evil").hexdigest()
    true = manifest.objects.listing.sha256
    listing.write_text(listing.read_text().replace(named[-64:], evil))
    assert described(folder, listing.name).sha256 != true
    backed_up(store, folder)
    assert (folder / "objects" / "a").read_bytes() == b"true"
    assert (folder / "objects" / named).stat().st_ino == kept


def test_an_original_that_the_store_has_damaged_does_not_replace_the_good_one(
    store: ObjectStore, folder: Path, tmp_path: Path
) -> None:
    key = original_key(hashlib.sha256(b"true").hexdigest())
    store.put(key, b"true")
    backed_up(store, folder)
    (tmp_path / "store" / key).write_bytes(b"cut")
    assert list(objects.copy_out(store, folder, {})) == []
    saved = objects.kept(folder, key, {})
    assert saved == Object(key=key, bytes=4, sha256=key[-64:])
    assert [file.name for file in (folder / "objects" / key).parent.iterdir()] == [key[-64:]]


@pytest.mark.parametrize("listed", ["as it lies", "as it was"])
def test_a_good_original_is_not_replaced_by_damaged_bytes(
    store: ObjectStore, folder: Path, tmp_path: Path, listed: str
) -> None:
    true, evil = (hashlib.sha256(data).hexdigest() for data in (b"true", b"evil"))
    key = original_key(true)
    for number, state in enumerate((b"true", b"none", None)):
        place = ObjectStore(f"file://{tmp_path}/{number}")
        if state is not None:
            place.put(key, state)
        file = folder / "objects" / key
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(b"evil")
        one = Object(key=key, bytes=4, sha256=evil if listed == "as it lies" else true)
        if state == b"true":
            assert list(objects.copy_in(place, folder, [one])) == [one]
        else:
            with pytest.raises(BackupError, match="damaged"):
                list(objects.copy_in(place, folder, [one]))
        found = tmp_path / str(number) / key
        assert (found.read_bytes() if found.exists() else None) == state
        with pytest.raises(BackupError, match="damaged"):
            list(objects.checked(folder, [one]))


def test_what_is_being_written_is_not_backed_up(
    store: ObjectStore, folder: Path, tmp_path: Path
) -> None:
    store.put("a", b"a")
    (tmp_path / "store" / "b#1").write_bytes(b"half")
    assert [one.key for one in objects.copy_out(store, folder, {})] == ["a"]


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


class Apicurio:
    """A registry that is empty until it is filled."""

    def __init__(self, **subjects: int) -> None:
        self.subjects = subjects
        self.filled = b""

    def __call__(self, request: httpx.Request) -> httpx.Response:
        path = request.url.path
        if path.endswith("/admin/import"):
            self.filled, self.subjects = request.content, {"a": 7}
            return httpx.Response(204)
        if path.endswith("/subjects"):
            return httpx.Response(200, json=list(self.subjects))
        if path.endswith("/versions"):
            return httpx.Response(200, json=[1])
        return httpx.Response(200, json={"id": self.subjects[path.split("/")[-3]]})


def with_schemas(store: ObjectStore, folder: Path) -> None:
    (folder / "registry.zip").write_bytes(b"zip")
    schemas = Schemas(file=described(folder, "registry.zip"), ids={"a": {1: 7}})
    write_manifest(folder, backed_up(store, folder).model_copy(update={"schemas": schemas}))


def test_schemas_alone_come_back_with_their_ids(store: ObjectStore, folder: Path) -> None:
    with_schemas(store, folder)
    apicurio = Apicurio()
    registry = Registry(REGISTRY, httpx.MockTransport(apicurio))
    for _ in range(2):  # what is there is left
        restore_schemas(folder, registry, silent)
        assert apicurio.filled == b"zip"
        apicurio.filled = b"zip"
    other = Registry(REGISTRY, httpx.MockTransport(Apicurio(a=1)))
    with pytest.raises(BackupError, match="other ids than the backup for a 1"):
        restore_schemas(folder, other, silent)


def test_schemas_that_are_damaged_or_not_there_are_not_put_back(
    store: ObjectStore, folder: Path
) -> None:
    apicurio = Apicurio()
    registry = Registry(REGISTRY, httpx.MockTransport(apicurio))
    backed_up(store, folder)
    with pytest.raises(BackupError, match="has no schemas"):
        restore_schemas(folder, registry, silent)
    with_schemas(store, folder)
    (folder / "registry.zip").write_bytes(b"zap")
    with pytest.raises(BackupError, match="damaged"):
        restore_schemas(folder, registry, silent)
    assert apicurio.filled == b""


def test_another_id_is_seen_and_a_further_version_is_none_of_it() -> None:
    wanted = {"a": {1: 7, 2: 8}, "b": {1: 9}}
    assert differing({"a": {1: 7, 2: 8, 3: 11}, "b": {1: 9}, "c": {1: 12}}, wanted) == []
    assert differing({"a": {1: 7, 2: 9}}, wanted) == ["a 2", "b 1"]
