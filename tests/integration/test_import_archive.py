"""Archives through the real api door, worked on as the control door does."""

import io
import tarfile
import zipfile
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import httpx
import pytest

from api_door import door_settings
from gateway import db
from gateway.catalog.outbox import Outbox
from gateway.control.archives import forget_strays
from gateway.origins.archive_store import keep_archive
from gateway.settings import Settings
from import_kit import batch_row, items, make_means, taken_up, to_the_end
from infrastructure import Infrastructure
from streamkit import ObjectStore

LIMIT = 20_000


@pytest.fixture
def settings(infrastructure: Infrastructure, database: str, tmp_path: Path) -> Settings:
    return door_settings(
        infrastructure,
        database,
        tmp_path,
        spool=tmp_path / "spool",
        archive_max_bytes=LIMIT,
        photo_max_bytes=1000,
        outbox_limit=20,
    )


@pytest.fixture
def objects(settings: Settings) -> ObjectStore:
    return ObjectStore(settings.objects)


def zipped(files: dict[str, bytes]) -> bytes:
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, data in files.items():
            archive.writestr(name, data)
    return packed.getvalue()


def tarred(files: dict[str, bytes]) -> bytes:
    packed = io.BytesIO()
    with tarfile.open(fileobj=packed, mode="w:gz") as archive:
        for name, data in files.items():
            info = tarfile.TarInfo(name)
            info.size = len(data)
            archive.addfile(info, io.BytesIO(data))
    return packed.getvalue()


def send(client: httpx.Client, content: bytes, **query: Any) -> httpx.Response:
    return client.post("/v1/imports/archive", params=query, content=content)


def refused(answer: httpx.Response, status: int, code: str) -> None:
    assert (answer.status_code, answer.json()["code"]) == (status, code), answer.text


def archives(settings: Settings) -> list[Path]:
    folder = Path(settings.objects.removeprefix("file://")) / "archives"
    return list(folder.glob("*")) + list(settings.spool.glob("*"))


def told(conn: db.Conn, batch_id: str) -> dict[str, str]:
    return {item["path"]: item["code"] or item["state"] for item in items(conn, batch_id)}


def test_an_archive_is_imported_file_by_file(
    client: httpx.Client, conn: db.Conn, outbox: Outbox, objects: ObjectStore
) -> None:
    content = zipped(
        {
            "2024/a.jpg": b"one",
            "2024/b.JPG": b"two",
            "2024/again.jpg": b"one",
            "../evil.jpg": b"out",
            "2024/huge.jpg": bytes(5000),
            "2024/raw/c.jpg": b"three",
            "notes.txt": b"text",
            "__MACOSX/2024/._a.jpg": b"mac",
        }
    )
    answer = send(client, content, name="../My photos.zip", include="*.jpg", exclude="raw/")
    assert answer.status_code == 202, answer.text
    batch_id = answer.json()["batch_id"]
    row = batch_row(conn, batch_id)
    assert (row["kind"], row["lane"], row["roots"]) == ("archive", "batch", ["My photos.zip"])

    to_the_end(taken_up(conn, batch_id, make_means(outbox, objects)))
    assert told(conn, batch_id) == {
        "2024/a.jpg": "submitted",
        "2024/b.JPG": "submitted",
        "2024/again.jpg": "duplicate",
        "../evil.jpg": "path_escapes",
        "2024/huge.jpg": "file_too_large",
    }
    assert batch_row(conn, batch_id)["expected"] == 5
    shown = client.get(f"/v1/imports/{batch_id}").json()
    assert (shown["found"], shown["rejected"]) == (5, 2)


def test_an_import_that_was_killed_goes_on_at_the_file_where_it_stood(
    client: httpx.Client, conn: db.Conn, outbox: Outbox, objects: ObjectStore
) -> None:
    files = {f"{number}.jpg": b"%d" % number for number in range(7)}
    batch_id = send(client, tarred(files), name="p.tar.gz", lane="learning").json()["batch_id"]
    means = make_means(outbox, objects)
    for _ in files:  # each time another runner, for one file
        taken_up(conn, batch_id, means).step(1)
    to_the_end(taken_up(conn, batch_id, means))
    assert [item["path"] for item in items(conn, batch_id)] == list(files)


def test_an_archive_that_is_cut_off_says_so_behind_what_it_holds(
    client: httpx.Client, conn: db.Conn, outbox: Outbox, objects: ObjectStore
) -> None:
    packed = io.BytesIO()
    with tarfile.open(fileobj=packed, mode="w") as archive:
        for name in ("a.jpg", "b.jpg"):
            info = tarfile.TarInfo(name)
            info.size = 3
            archive.addfile(info, io.BytesIO(name.encode()[:3]))
    batch_id = send(client, packed.getvalue()[:1536], name="p.tar").json()["batch_id"]
    to_the_end(taken_up(conn, batch_id, make_means(outbox, objects)))
    assert told(conn, batch_id) == {
        "a.jpg": "submitted",
        "b.jpg": "archive_broken",
        "p.tar": "archive_broken",
    }


def test_what_cannot_be_an_import_is_refused_and_nothing_is_kept(
    client: httpx.Client, settings: Settings, conn: db.Conn
) -> None:
    refused(send(client, b"\xff\xd8\xff\xe0" * 500), 415, "not_an_archive")
    refused(send(client, b""), 415, "not_an_archive")
    refused(send(client, bytes(LIMIT + 1)), 413, "file_too_large")
    unknown_length = client.post("/v1/imports/archive", content=iter([bytes(LIMIT), b"x"]))
    refused(unknown_length, 413, "file_too_large")
    refused(send(client, zipped({}), include="!a"), 422, "invalid_request")
    refused(send(client, zipped({}), lane="nowhere"), 422, "invalid_request")
    assert archives(settings) == []
    assert conn.execute("SELECT FROM batches").fetchall() == []


def test_an_archive_that_the_catalog_has_no_room_for_is_not_kept(
    client: httpx.Client, settings: Settings, conn: db.Conn
) -> None:
    with conn.transaction():
        conn.execute(
            "INSERT INTO outbox (event_id, topic, key, value, headers)"
            " SELECT gen_random_uuid(), 't', '', '', '{}' FROM generate_series(1, 20)"
        )
    refused(send(client, zipped({"a.jpg": b"photo"})), 503, "outbox_full")
    assert archives(settings) == []


def test_archives_that_no_import_names_go_after_a_day(
    client: httpx.Client, settings: Settings, conn: db.Conn, objects: ObjectStore, tmp_path: Path
) -> None:
    assert forget_strays(conn, objects) == 0
    assert send(client, zipped({"a.jpg": b"photo"})).status_code == 202
    (tmp_path / "stray").write_bytes(b"archive")
    keep_archive(objects, tmp_path / "stray")
    assert len(archives(settings)) == 2

    assert forget_strays(conn, objects) == 0
    later = datetime.now(UTC) + timedelta(days=1, minutes=1)
    assert forget_strays(conn, objects, lambda: later) == 1
    assert forget_strays(conn, objects, lambda: later) == 0
    (used,) = archives(settings)
    (row,) = conn.execute("SELECT location FROM batches").fetchall()
    assert row["location"]["uri"] == f"file://{used}"
