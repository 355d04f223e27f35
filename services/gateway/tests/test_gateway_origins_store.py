"""What is read from object stores."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from moto.s3.models import S3Backend
from obstore.exceptions import PermissionDeniedError

from gateway.origins import Origin, OriginMeans, UnreadableError, open_origin
from gateway.origins.files import Seen
from s3_kit import bucket_for, loopback_s3
from streamkit import Busy, ObjectStore, Reject, Retry


@pytest.fixture(scope="module")
def s3() -> Iterator[S3Backend]:
    with loopback_s3() as holding:
        yield holding


def an_origin(uri: str, objects: ObjectStore | None = None, **location: object) -> Origin:
    means = OriginMeans(objects or ObjectStore("memory:///", [uri]))
    return open_origin("store", [uri], {"uri": uri, **location}, means)


def paths(origin: Origin) -> list[str]:
    return [seen.path for seen in origin.walk()]


def told(origin: Origin) -> list[tuple[str, str | None]]:
    return [(one.path, None if one.problem is None else one.problem.code) for one in origin.walk()]


def reason(origin: Origin, path: str, limit: int = 100) -> str:
    with pytest.raises(UnreadableError) as refused:
        origin.read(path, limit)
    return refused.value.problem.code


def test_a_prefix_of_a_bucket_is_read_in_the_order_of_its_keys(
    s3: S3Backend, request: pytest.FixtureRequest
) -> None:
    bucket = bucket_for(s3, request.node.name)
    keys = ["2024/", "2024/a.JPG", "2024/b b+é.jpg", "2024/raw/c.jpg", "2024/.x/d.jpg", "2024.jpg"]
    for key in keys:
        s3.put_object(bucket, key, key.encode() if not key.endswith("/") else b"")
    uri = f"s3://{bucket}/2024"

    origin = an_origin(uri)
    assert paths(origin) == ["a.JPG", "b b+é.jpg", "raw/c.jpg"]
    assert list(origin.count()) == list(origin.walk())
    for path in paths(origin):
        assert origin.read(path, 100) == f"2024/{path}".encode()
    assert all(seen.version for seen in origin.walk())
    assert reason(origin, "a.JPG", 5) == "file_too_large"
    assert paths(an_origin(uri, include=["*.jpg"], exclude=["raw/"])) == ["a.JPG", "b b+é.jpg"]
    assert ".x/d.jpg" in paths(an_origin(uri, hidden=True))

    s3.delete_object(bucket, "2024/a.JPG")
    assert reason(origin, "a.JPG") == "file_missing"
    origin.close()


def test_a_bucket_that_is_not_there_is_one_file_that_cannot_be_read(s3: S3Backend) -> None:
    origin = an_origin("s3://no-such-bucket/x")
    assert told(origin) == [("s3://no-such-bucket/x", "store_missing")]


def test_a_key_that_is_no_path_is_named(s3: S3Backend, request: pytest.FixtureRequest) -> None:
    bucket = bucket_for(s3, request.node.name)
    s3.put_object(bucket, "a//b.jpg", b"photo")
    assert told(an_origin(f"s3://{bucket}")) == [(f"s3://{bucket}", "store_unlistable")]


def test_a_folder_of_a_store_is_read_like_any_prefix(tmp_path: Path) -> None:
    inbox = tmp_path / "inbox"
    (inbox / "x").mkdir(parents=True)
    (inbox / "x" / "é %20.jpg").write_bytes(b"photo")
    (inbox / "link.jpg").symlink_to("/etc/passwd")
    (inbox / b"caf\xe9.jpg".decode("utf-8", "surrogateescape")).write_bytes(b"odd")
    objects = ObjectStore(f"file://{tmp_path}/objects", [f"file://{inbox}"])

    origin = an_origin(f"file://{inbox}", objects)
    odd, plain = told(origin)
    assert odd[1] == "file_unreadable"  # no address can name it
    assert plain == ("x/é %20.jpg", None)
    assert origin.read(plain[0], 100) == b"photo"
    assert reason(origin, "link.jpg") == "outside_stores"
    assert reason(origin, "../secret") == "outside_stores"
    assert told(an_origin(f"file://{inbox}/nowhere", objects)) == [
        (f"file://{inbox}/nowhere", "store_missing")
    ]
    assert told(an_origin(f"file://{tmp_path}", objects)) == [
        (f"file://{tmp_path}", "outside_stores")
    ]


class Troubled(ObjectStore):
    """A store that answers with an error."""

    error: Exception | None = None

    def get(self, uri: str, *, limit: int) -> bytes:
        if self.error:
            raise self.error
        return super().get(uri, limit=limit)

    def list(self, uri: str) -> Iterator[Seen]:  # type: ignore[override]
        yield Seen("a.jpg", version="1")
        if self.error:
            raise self.error


def test_a_store_that_is_away_is_waited_for() -> None:
    objects = Troubled("memory:///")
    objects.put("a.jpg", b"photo")
    origin = an_origin("memory:///", objects)
    objects.error = Retry("no answer")
    walk = origin.walk()
    assert next(walk).path == "a.jpg"
    with pytest.raises(Busy):
        next(walk)
    with pytest.raises(Busy):
        origin.read("a.jpg", 100)
    objects.error = None
    assert paths(origin) == ["a.jpg"]


def test_a_store_that_refuses_us_is_a_reason_for_a_person() -> None:
    objects = Troubled("memory:///")
    origin = an_origin("memory:///", objects)
    objects.error = Retry("403")
    objects.error.__cause__ = PermissionDeniedError("403")
    assert reason(origin, "a.jpg") == "file_forbidden"
    objects.error = Reject("store_forbidden", "The store does not let Darkroom list it.")
    assert told(origin) == [("a.jpg", None), ("memory:///", "store_forbidden")]
