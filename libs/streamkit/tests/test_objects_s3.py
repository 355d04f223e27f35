"""The same store on S3's protocol, spoken by moto."""

import os
import socket
import threading
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import urlsplit

import pytest
from moto.s3.models import S3Backend

from cut_line import line_to
from s3_kit import bucket_for, loopback_s3
from streamkit import ObjectStore, Reject, Retry
from streamkit.objects import is_denied


@pytest.fixture(scope="module")
def s3() -> Iterator[S3Backend]:
    with loopback_s3() as holding:
        yield holding


@pytest.fixture
def bucket(s3: S3Backend, request: pytest.FixtureRequest) -> str:
    return bucket_for(s3, request.node.name)


def test_a_large_file_is_sent_in_parts_and_read_anywhere(
    s3: S3Backend, bucket: str, tmp_path: Path
) -> None:
    content = os.urandom(20 << 20)
    (tmp_path / "file").write_bytes(content)
    store = ObjectStore(f"s3://{bucket}/objects")
    uri = store.put_file("archives/a", tmp_path / "file")
    assert uri == f"s3://{bucket}/objects/archives/a"
    with store.open(uri) as file:
        for place in (19 << 20, 5, 6 << 20):
            file.seek(place)
            assert file.read(100_000) == content[place : place + 100_000]
    store.delete(uri)
    with pytest.raises(Reject, match="object_missing"):
        store.open(uri)


def test_a_prefix_is_listed_in_the_order_of_keys_over_pages(s3: S3Backend, bucket: str) -> None:
    keys = [f"p/{number:04}.jpg" for number in range(1005)]
    for key in [*keys, "p.jpg", "pq/other.jpg"]:
        s3.put_object(bucket, key, b"photo")
    store = ObjectStore("memory:///", [f"s3://{bucket}"])
    found = [listed.path for listed in store.list(f"s3://{bucket}/p")]
    assert found == [key.removeprefix("p/") for key in keys]


def test_markers_of_folders_are_no_objects_and_empty_objects_are(
    s3: S3Backend, bucket: str
) -> None:
    for key in ("p/", "p/x/", "p/empty", "p/x/é ü+%20.jpg"):
        s3.put_object(bucket, key, b"photo" if key.endswith("jpg") else b"")
    uri = f"s3://{bucket}/p"
    store = ObjectStore("memory:///", [uri])
    found = [listed.path for listed in store.list(uri)]
    assert found == ["empty", "x/é ü+%20.jpg"]
    assert store.get(store.within(uri, found[1]), limit=5) == b"photo"


def test_the_version_is_that_of_the_content(s3: S3Backend, bucket: str) -> None:
    store = ObjectStore("memory:///", [f"s3://{bucket}"])
    versions = []
    for body in (b"one", b"one", b"two"):
        s3.put_object(bucket, "a", body)
        versions += [listed.version for listed in store.list(f"s3://{bucket}")]
    assert versions[0] == versions[1] != versions[2]


def test_a_key_that_is_no_path_ends_the_listing_with_its_name(s3: S3Backend, bucket: str) -> None:
    s3.put_object(bucket, "a//b.jpg", b"photo")
    store = ObjectStore("memory:///", [f"s3://{bucket}"])
    with pytest.raises(Reject, match=r"store_unlistable: .*a//b\.jpg"):
        list(store.list(f"s3://{bucket}"))


def test_a_bucket_that_is_not_there_is_told(s3: S3Backend) -> None:
    store = ObjectStore("memory:///", ["s3://no-such-bucket"])
    with pytest.raises(Reject, match="object_missing: There is no such bucket"):
        list(store.list("s3://no-such-bucket"))


ANSWER = b"HTTP/1.1 403 Forbidden\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"


@pytest.fixture
def refusing(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """An S3 that refuses everything."""
    listener = socket.create_server(("127.0.0.1", 0))

    def answer() -> None:
        while True:
            try:
                client, _ = listener.accept()
            except OSError:
                return
            with client:
                client.recv(65536)
                client.sendall(ANSWER)

    thread = threading.Thread(target=answer, daemon=True)
    thread.start()
    monkeypatch.setenv("AWS_ENDPOINT_URL", f"http://127.0.0.1:{listener.getsockname()[1]}")
    monkeypatch.setenv("AWS_ALLOW_HTTP", "true")
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "ada")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "wrong")
    yield
    listener.shutdown(socket.SHUT_RDWR)
    listener.close()
    thread.join(5)


def test_a_store_that_refuses_us_is_told_apart_from_one_that_is_away(refusing: None) -> None:
    store = ObjectStore("memory:///", ["s3://bucket"])
    with pytest.raises(Reject, match="store_forbidden"):
        list(store.list("s3://bucket"))
    with pytest.raises(Retry) as failed:
        store.get("s3://bucket/a", limit=10)
    assert is_denied(failed.value)


def test_who_wants_to_know_is_told_of_every_third_failure_in_a_row(
    s3: S3Backend, bucket: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    told: list[str] = []
    address = urlsplit(os.environ["AWS_ENDPOINT_URL"])
    with line_to(str(address.hostname), address.port or 0) as line:
        monkeypatch.setenv("AWS_ENDPOINT_URL", f"http://127.0.0.1:{line.port}")
        store = ObjectStore(f"s3://{bucket}", ["s3://elsewhere"], away=told.append)
        uri = store.put("a", b"photo")

        def fail(uri: str, times: int) -> None:
            line.cut()
            for _ in range(times):
                with pytest.raises(Retry):
                    store.get(uri, limit=10)
            line.mend()

        fail(uri, 1)
        assert line.refused == 5, "tried again four times, and then it is the caller's turn"
        fail(uri, 1)
        assert store.get(uri, limit=10) == b"photo"
        fail(uri, 2)
        with pytest.raises(Reject, match="object_missing"):
            store.get(f"{uri}b", limit=10)
        fail("s3://elsewhere/a", 3)
        assert told == []
        fail(uri, 3)
        assert len(told) == 1
        assert "the object store failed" in told[0]
        fail(uri, 3)
        assert len(told) == 2
