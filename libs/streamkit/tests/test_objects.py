import os
from pathlib import Path

import pytest

from streamkit import ObjectStore, Reject


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
