import errno
import os
from pathlib import Path

import pytest
from obstore.exceptions import GenericError

from streamkit import ObjectStore, Reject, Retry, StoreFull
from streamkit.objects import OBJECT_STORE, is_denied


def store(folder: Path) -> ObjectStore:
    return ObjectStore(f"file://{folder}/objects", [f"file://{folder}/inbox"])


def test_bytes_come_back_by_their_uri(tmp_path: Path) -> None:
    one = store_with_inbox(tmp_path)
    uri = one.put("originals/ab/abcd", b"photo")
    assert uri == f"file://{tmp_path}/objects/originals/ab/abcd"
    assert one.get(uri, limit=5) == b"photo"


def store_with_inbox(folder: Path) -> ObjectStore:
    (folder / "inbox").mkdir()
    return store(folder)


def test_a_key_that_exists_is_left_as_it_is(tmp_path: Path) -> None:
    one = store_with_inbox(tmp_path)
    one.put("k", b"first")
    assert one.get(one.put("k", b"second"), limit=10) == b"first"


@pytest.mark.parametrize(
    "said",
    [
        OSError(errno.ENOSPC, "No space left on device"),
        GenericError("Unable to copy data to file: No space left on device (os error 28)"),
    ],
)
def test_a_store_without_room_says_so(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, said: Exception
) -> None:
    def full(*_: object, **__: object) -> None:
        raise said

    monkeypatch.setattr("obstore.put", full)
    with pytest.raises(StoreFull, match="no room left") as told:
        store_with_inbox(tmp_path).put("a", b"bytes")
    assert told.value.dependency == OBJECT_STORE


def test_names_with_spaces_and_accents_are_read(tmp_path: Path) -> None:
    one = store_with_inbox(tmp_path)
    (tmp_path / "inbox" / "été 1.jpg").write_bytes(b"x")
    assert one.get(f"file://{tmp_path}/inbox/%C3%A9t%C3%A9%201.jpg", limit=1) == b"x"


@pytest.mark.parametrize(
    "uri",
    [
        "file://{base}/secret",
        "file://{base}/objects/../secret",
        "file://{base}/objects/%2e%2e/secret",
        "file://{base}/inbox/link",
        "file://{base}/objectsX/a",
        "https://example.org/a.jpg",
        "file://{base}/objects/./a",
        "file://{base}/objects//a",
        "file://{base}/objects/a/.",
        "file://{base}/objects/",
        "file://{base}/objects/a/",
        "file://{base}/inbox/pipe",
        "file://{base}/inbox",
        "file://{base}/objects/LONG",
        "/etc/passwd",
        "",
    ],
)
def test_nothing_outside_the_allowed_stores_is_read(tmp_path: Path, uri: str) -> None:
    one = store_with_inbox(tmp_path)
    (tmp_path / "secret").write_bytes(b"secret")
    (tmp_path / "inbox" / "link").symlink_to(tmp_path / "secret")
    os.mkfifo(tmp_path / "inbox" / "pipe")
    with pytest.raises(Reject) as caught:
        one.get(uri.format(base=tmp_path).replace("LONG", "n" * 300), limit=100)
    assert caught.value.code == "outside_stores"


def test_a_missing_object_is_permanent(tmp_path: Path) -> None:
    with pytest.raises(Reject) as caught:
        store_with_inbox(tmp_path).get(f"file://{tmp_path}/objects/none", limit=1)
    assert caught.value.code == "object_missing"


def test_an_object_over_the_limit_is_refused_before_it_is_read(tmp_path: Path) -> None:
    one = store_with_inbox(tmp_path)
    with pytest.raises(Reject) as caught:
        one.get(one.put("k", b"12345"), limit=4)
    assert caught.value.code == "object_too_large"


@pytest.mark.parametrize("path", ["../secret", "a/../../secret", "%2e%2e/secret", "a/./b", "a//b"])
def test_paths_that_lead_elsewhere_are_refused_in_every_kind_of_store(path: str) -> None:
    one = ObjectStore("memory:///objects")
    with pytest.raises(Reject) as caught:
        one.get(f"memory:///objects/{path}", limit=10)
    assert caught.value.code == "outside_stores"


@pytest.mark.parametrize("scheme", ["file", "memory"])
def test_an_object_can_be_read_anywhere_as_a_file(tmp_path: Path, scheme: str) -> None:
    one = ObjectStore(f"file://{tmp_path}" if scheme == "file" else "memory:///")
    uri = one.put("k", bytes(range(100)))
    with one.open(uri) as file:
        assert file.read(3) == b"\0\1\2"
        assert file.seek(-2, os.SEEK_END) == 98
        assert file.read() == b"bc"
        assert file.read(1) == b""
        assert file.seek(10) == 10
        assert file.read(2) == b"\x0a\x0b"
        assert file.seek(3, os.SEEK_CUR) == 15
        assert file.tell() == 15
    with pytest.raises(Reject, match="object_missing"):
        one.open(uri + "k")
    with pytest.raises(Reject, match="outside_stores"):
        one.open("https://example.org/a")


def test_a_large_file_is_stored_without_a_copy_and_stays_when_its_first_name_goes(
    tmp_path: Path,
) -> None:
    one = ObjectStore(f"file://{tmp_path}/objects")
    file = tmp_path / "spooled"
    file.write_bytes(b"archive")
    uri = one.put_file("archives/a", file)
    assert (tmp_path / "objects/archives/a").stat().st_ino == file.stat().st_ino
    file.unlink()
    assert one.get(uri, limit=10) == b"archive"


def test_a_file_on_another_file_system_is_copied(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refused(self: Path, target: Path) -> None:
        raise OSError(errno.EXDEV, "elsewhere")

    monkeypatch.setattr(Path, "hardlink_to", refused)
    one = ObjectStore(f"file://{tmp_path}/objects")
    (tmp_path / "spooled").write_bytes(b"archive")
    assert one.get(one.put_file("archives/a", tmp_path / "spooled"), limit=10) == b"archive"


def test_what_was_stored_can_be_removed_and_nothing_else(tmp_path: Path) -> None:
    one = store_with_inbox(tmp_path)
    (tmp_path / "inbox" / "a").write_bytes(b"theirs")
    uri = one.put("k", b"ours")
    one.delete(uri)
    one.delete(uri)
    with pytest.raises(Reject, match="object_missing"):
        one.get(uri, limit=10)
    for elsewhere in (f"file://{tmp_path}/inbox/a", f"file://{tmp_path}/secret"):
        with pytest.raises(Reject, match="outside_stores"):
            one.delete(elsewhere)
    assert (tmp_path / "inbox" / "a").exists()


def test_a_folders_objects_are_listed_in_a_stable_order_without_links(tmp_path: Path) -> None:
    one = store_with_inbox(tmp_path)
    inbox = tmp_path / "inbox"
    for name in ("b", "a/z", "a.b", "a/b/c", "é 1%.jpg", "aa/x"):
        (inbox / name).parent.mkdir(parents=True, exist_ok=True)
        (inbox / name).write_text(name)
    (inbox / "link").symlink_to(inbox / "b")
    (inbox / "folder").symlink_to(inbox / "a")

    uri = f"file://{inbox}"
    found = [listed.path for listed in one.list(uri)]
    assert found == ["a.b", "b", "é 1%.jpg", "a/z", "a/b/c", "aa/x"]
    for path in found:
        assert one.get(one.within(uri, path), limit=20) == path.encode()
    assert [listed.path for listed in one.list(f"{uri}/a")] == ["z", "b/c"]
    assert [listed.path for listed in one.list(f"{uri}/a/")] == ["z", "b/c"]

    before = next(one.list(uri)).version
    (inbox / "a.b").write_text("longer than it was")
    assert next(one.list(uri)).version != before


@pytest.mark.parametrize(
    ("uri", "code"),
    [
        ("file://{base}", "outside_stores"),
        ("file://{base}/inboxX", "outside_stores"),
        ("file://{base}/inbox/../secret", "outside_stores"),
        ("file://{base}/inbox/%2e%2e", "outside_stores"),
        ("file://{base}/inbox/link", "outside_stores"),
        ("file:///", "outside_stores"),
        ("", "outside_stores"),
        ("file://{base}/inbox/nowhere", "object_missing"),
        ("file://{base}/inbox/file", "object_missing"),
    ],
)
def test_nothing_outside_the_allowed_stores_is_listed(tmp_path: Path, uri: str, code: str) -> None:
    one = store_with_inbox(tmp_path)
    (tmp_path / "inbox" / "file").touch()
    (tmp_path / "inbox" / "link").symlink_to(tmp_path)
    with pytest.raises(Reject, match=code):
        list(one.list(uri.format(base=tmp_path)))


def test_a_memory_store_lists_what_lies_below_whole_names() -> None:
    one = ObjectStore("memory:///")
    for key in ("a/1", "a/2", "ab/3"):
        one.put(key, b"x")
    assert [listed.path for listed in one.list("memory:///a")] == ["1", "2"]
    assert len(list(one.list("memory:///"))) == 3


def test_a_failure_that_is_no_refusal_is_not_called_one() -> None:
    assert not is_denied(Retry("no"))
