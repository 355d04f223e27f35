"""Imports that are uploaded, and the commands of imports, through the real api door."""

import hashlib
import os
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any
from uuid import uuid4

import httpx
import pytest

from api_door import api_door, door_settings
from darkroom_cli import uploading
from darkroom_cli.client import Gateway
from darkroom_cli.uploading import Progress, upload
from darkroom_schemas import ids
from gateway import db
from gateway.catalog.outbox import Outbox
from gateway.catalog.submissions import Submission, submit_photo
from gateway.settings import Settings
from import_kit import Example, batch_row, end, items, until
from infrastructure import Infrastructure

WINDOW = 3


@pytest.fixture
def settings(infrastructure: Infrastructure, database: str, tmp_path: Path) -> Settings:
    (tmp_path / "store").mkdir()
    return door_settings(
        infrastructure,
        database,
        tmp_path,
        stores=(f"file://{tmp_path}/store",),
        import_roots=(tmp_path,),
        import_in_flight=WINDOW,
        photo_max_bytes=1000,
    )


def begun(client: httpx.Client, **changes: Any) -> str:
    answer = client.post("/v1/imports", json={"kind": "upload", "name": "Pictures", **changes})
    assert answer.status_code == 202, answer.text
    return str(answer.json()["batch_id"])


def offered(path: str, content: bytes) -> dict[str, Any]:
    return {
        "path": path,
        "sha256": hashlib.sha256(content).hexdigest(),
        "byte_size": len(content),
    }


def offer(client: httpx.Client, batch_id: str, *files: dict[str, Any]) -> list[str]:
    answer = client.post(f"/v1/imports/{batch_id}/missing", json={"files": files})
    assert answer.status_code == 200, answer.text
    assert [one["path"] for one in answer.json()["files"]] == [file["path"] for file in files]
    return [one["standing"] for one in answer.json()["files"]]


def send(client: httpx.Client, batch_id: str, path: str, content: bytes) -> httpx.Response:
    return client.put(f"/v1/imports/{batch_id}/files", params={"path": path}, content=content)


def refused(answer: httpx.Response, status: int, code: str) -> None:
    assert (answer.status_code, answer.json()["code"]) == (status, code), answer.text


def known(conn: db.Conn, outbox: Outbox, content: bytes, owner: str) -> dict[str, Any]:
    """A photo that was handed in before."""
    answer = submit_photo(
        conn,
        outbox,
        Submission(
            owner=owner,
            sha256=hashlib.sha256(content).hexdigest(),
            source_uri="file:///objects/x",
            byte_size=len(content),
            file_name=None,
            lane="high",
            submission_id=str(uuid4()),
        ),
    )
    return {"photo_id": answer.photo_id, "analysis_id": answer.analysis_id}


# --- files -----------------------------------------------------------------------------------


def test_files_are_sent_once_and_the_import_is_sealed(
    client: httpx.Client, conn: db.Conn, tmp_path: Path
) -> None:
    batch_id = begun(client, expected=2)
    assert offer(client, batch_id, offered("a.jpg", b"1"), offered("b/c.jpg", b"2")) == [
        "missing",
        "missing",
    ]
    first = send(client, batch_id, "a.jpg", b"1")
    assert first.status_code == 200, first.text
    assert (first.json()["index"], first.json()["status"]) == (0, "submitted")
    again = send(client, batch_id, "a.jpg", b"1").json()
    assert (again["index"], again["photo_id"]) == (0, first.json()["photo_id"])
    refused(send(client, batch_id, "a.jpg", b"other"), 409, "path_taken")
    assert offer(
        client,
        batch_id,
        offered("a.jpg", b"1"),
        offered("a.jpg", b"other"),
        offered("b/c.jpg", b"2"),
    ) == ["recorded", "path_taken", "missing"]
    send(client, batch_id, "b/c.jpg", b"2")

    for _ in range(2):
        sealed = client.post(f"/v1/imports/{batch_id}/seal")
        assert sealed.status_code == 200, sealed.text
        assert (sealed.json()["state"], sealed.json()["found"]) == ("running", 2)
    refused(send(client, batch_id, "d.jpg", b"3"), 409, "import_sealed")
    recorded = items(conn, batch_id)
    assert [(item["path"], item["byte_size"]) for item in recorded] == [
        ("a.jpg", 1),
        ("b/c.jpg", 1),
    ]
    digest = hashlib.sha256(b"2").hexdigest()
    assert (tmp_path / "objects" / "originals" / digest[:2] / digest).read_bytes() == b"2"


def test_a_known_photo_needs_no_bytes_but_only_of_the_same_owner(
    client: httpx.Client, conn: db.Conn, outbox: Outbox, example: Example
) -> None:
    done = known(conn, outbox, b"done", ids.LOCAL_OWNER)
    end(conn, example, done)
    waiting = known(conn, outbox, b"waiting", ids.LOCAL_OWNER)
    known(conn, outbox, b"theirs", str(uuid4()))
    batch_id = begun(client)

    assert offer(
        client,
        batch_id,
        offered("done.jpg", b"done"),
        offered("waiting.jpg", b"waiting"),
        offered("theirs.jpg", b"theirs"),
        offered("again.jpg", b"waiting"),
    ) == ["recorded", "recorded", "missing", "recorded"]
    recorded = {item["path"]: item for item in items(conn, batch_id)}
    assert {path: item["state"] for path, item in recorded.items()} == {
        "done.jpg": "duplicate",
        "waiting.jpg": "submitted",
        "again.jpg": "duplicate",
    }
    assert str(recorded["waiting.jpg"]["analysis_id"]) == waiting["analysis_id"]


def test_what_the_client_can_not_send_is_part_of_the_import(
    client: httpx.Client, conn: db.Conn
) -> None:
    batch_id = begun(client)
    gone = {"path": "gone", "problem": {"code": "file_missing", "message": "It is gone."}}
    large = {**offered("large", b""), "byte_size": 1001}

    for _ in range(2):
        assert offer(client, batch_id, gone, large) == ["recorded", "recorded"]
    assert [(item["state"], item["code"], item["message"]) for item in items(conn, batch_id)] == [
        ("refused", "file_missing", "It is gone."),
        ("refused", "file_too_large", "It has 1001 bytes; the limit is 1000."),
    ]
    assert send(client, batch_id, "larger", b"x" * 1001).status_code == 413
    assert send(client, batch_id, "largest", b"x" * 1_000_001).status_code == 413


def test_far_more_than_the_window_is_refused_until_photos_have_ended(
    client: httpx.Client, conn: db.Conn, example: Example
) -> None:
    batch_id = begun(client)
    sent = [send(client, batch_id, str(number), str(number).encode()) for number in range(7)]
    assert [answer.status_code for answer in sent] == [200] * 6 + [503]
    refused(sent[-1], 503, "import_full")
    assert sent[-1].headers["retry-after"] == "1"
    assert (sent[0].json()["in_flight"], sent[0].json()["window"]) == (1, WINDOW)

    end(conn, example, items(conn, batch_id)[0])
    assert send(client, batch_id, "6", b"6").status_code == 200


def test_files_that_come_at_once_stand_in_a_row(
    client: httpx.Client, conn: db.Conn, settings: Settings
) -> None:
    batch_id = begun(client)

    def both(number: int) -> tuple[int, int]:
        same = f"file-{number // 2}"
        answers = [send(client, batch_id, same, b"the same bytes") for _ in range(2)]
        return answers[0].json()["index"], answers[1].json()["index"]

    with ThreadPoolExecutor(8) as pool:
        indices = list(pool.map(both, range(40)))
    assert {one for one, _ in indices} == set(range(20))
    assert all(one == other for one, other in indices)
    assert [item["index"] for item in items(conn, batch_id)] == list(range(20))
    assert batch_row(conn, batch_id)["state"] == "scanning"


def test_an_import_that_takes_no_files_says_why(client: httpx.Client, tmp_path: Path) -> None:
    batch_id = begun(client)
    assert client.post(f"/v1/imports/{batch_id}/pause").json()["state"] == "paused"
    refused(send(client, batch_id, "a", b"1"), 409, "import_paused")
    refused(client.post(f"/v1/imports/{batch_id}/seal"), 409, "import_paused")
    assert client.post(f"/v1/imports/{batch_id}/resume").json()["state"] == "scanning"
    assert client.post(f"/v1/imports/{batch_id}/cancel").json()["state"] == "cancelling"
    refused(client.post(f"/v1/imports/{batch_id}/missing", json={"files": []}), 409, "import_over")
    refused(client.post(f"/v1/imports/{batch_id}/seal"), 409, "import_over")

    folder = client.post("/v1/imports", json={"paths": [str(tmp_path)]}).json()["batch_id"]
    refused(send(client, folder, "a", b"1"), 409, "not_an_upload")
    refused(client.post(f"/v1/imports/{folder}/seal"), 409, "not_an_upload")
    refused(send(client, str(uuid4()), "a", b"1"), 404, "not_found")


@pytest.mark.parametrize(
    "file",
    [
        {"path": "a"},
        {"path": "a", "sha256": "x" * 64},
        {"path": "", "sha256": "0" * 64},
        {"path": "a\0b", "sha256": "0" * 64},
        {"path": "a", "sha256": "0" * 64, "byte_size": -1},
        {"path": "a", "problem": {"code": "strange", "message": "?"}},
    ],
)
def test_a_file_that_is_badly_described_is_refused(
    client: httpx.Client, file: dict[str, Any]
) -> None:
    batch_id = begun(client)
    answer = client.post(f"/v1/imports/{batch_id}/missing", json={"files": [file]})
    refused(answer, 422, "invalid_request")


# --- commands --------------------------------------------------------------------------------


def test_imports_are_paused_resumed_cancelled_and_listed_by_state(
    client: httpx.Client, conn: db.Conn, tmp_path: Path
) -> None:
    one, two = (
        client.post("/v1/imports", json={"paths": [str(tmp_path)]}).json()["batch_id"]
        for _ in range(2)
    )
    paused = client.post(f"/v1/imports/{one}/pause", json={"for_s": 60, "by": "ada"}).json()
    assert (paused["state"], paused["paused_by"]) == ("paused", "ada")
    assert paused["paused_until"] is not None
    client.post(f"/v1/imports/{two}/cancel", json={"by": "ben"})

    def listed(*wanted: str) -> set[str]:
        answer = client.get("/v1/imports", params={"state": list(wanted)})
        return {batch["batch_id"] for batch in answer.json()["items"]}

    assert listed("paused") == {one}
    assert listed("paused", "cancelling") == {one, two}
    assert listed("running") == set()
    assert client.post(f"/v1/imports/{one}/resume").json()["paused_until"] is None
    who = [(row["who"], row["what"]) for row in conn.execute("SELECT * FROM audit ORDER BY id")]
    assert who == [
        ("ada", "import.paused"),
        ("ben", "import.cancelled"),
        ("local", "import.resumed"),
    ]
    for command in ("pause", "resume", "cancel"):
        refused(client.post(f"/v1/imports/{uuid4()}/{command}"), 404, "not_found")
    conn.execute("UPDATE batches SET state = 'running', sealed = true WHERE batch_id = %s", (one,))
    refused(client.post(f"/v1/imports/{one}/pause"), 409, "import_sealed")
    both = {"for_s": 1, "until": "2030-01-01T00:00:00Z"}
    refused(client.post(f"/v1/imports/{one}/pause", json=both), 422, "invalid_request")


def test_what_is_taken_is_part_of_the_import(
    client: httpx.Client, conn: db.Conn, tmp_path: Path
) -> None:
    taken = {"include": ["*.jpg"], "exclude": ["raw/"], "hidden": True}
    folder = client.post("/v1/imports", json={"paths": [str(tmp_path)], **taken}).json()
    row = batch_row(conn, folder["batch_id"])
    assert (row["kind"], row["location"]) == ("folder", taken)

    uri = f"file://{tmp_path}/store"
    store = client.post("/v1/imports", json={"kind": "store", "uri": uri}).json()
    row = batch_row(conn, store["batch_id"])
    assert (row["kind"], row["location"]["uri"], row["roots"]) == ("store", uri, [uri])
    outside = {"kind": "store", "uri": "s3://elsewhere/x"}
    refused(client.post("/v1/imports", json=outside), 403, "outside_stores")
    odd = {"paths": [str(tmp_path)], "include": ["!x"]}
    refused(client.post("/v1/imports", json=odd), 422, "invalid_request")


# --- the command -----------------------------------------------------------------------------


@pytest.fixture
def photos(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder of 10 files that are taken and two that are not."""
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    monkeypatch.setattr(uploading, "_PAGE", 4)
    folder = tmp_path / "photos"
    (folder / "sub").mkdir(parents=True)
    for number in range(8):
        (folder / "sub" / f"{number}.jpg").write_text(f"photo {number}")
    (folder / "large.jpg").write_bytes(b"x" * 2000)
    Path(os.fsdecode(os.fsencode(folder) + b"/caf\xe9.jpg")).write_text("coffee")
    (folder / ".hidden.jpg").write_text("hidden")
    (folder / "link.jpg").symlink_to(folder / "large.jpg")
    return folder


@pytest.fixture
def stages(database: str, example: Example) -> Iterator[None]:
    """Every photo has its outcome a moment after it was recorded."""
    stop = threading.Event()

    def working() -> None:
        with db.connect(database, name="stages") as own:
            while not stop.wait(0.05):
                for row in own.execute(
                    "SELECT * FROM batch_items WHERE state = 'submitted' AND ended IS NULL"
                ).fetchall():
                    end(own, example, row)

    thread = threading.Thread(target=working)
    thread.start()
    yield
    stop.set()
    thread.join(10)


class Report:
    """What an upload tells; interrupts it once `files` are sent."""

    def __init__(self, files: int = 10**9, then: Callable[[], None] | None = None) -> None:
        self.last = Progress(0)
        self._files, self._then = files, then

    def __call__(self, progress: Progress) -> None:
        self.last = progress
        if progress.sent >= self._files:
            self._files = 10**9
            if self._then is None:
                raise KeyboardInterrupt
            self._then()


def check_uploaded(conn: db.Conn, batch_id: str, photos: Path) -> None:
    row = batch_row(conn, batch_id)
    assert (row["state"], row["kind"], row["roots"]) == ("running", "upload", ["photos"])
    assert (row["found"], row["refused"], row["submitted"]) == (10, 1, 9)
    names = {
        item["path"].removeprefix(f"{photos}/"): item["state"] for item in items(conn, batch_id)
    }
    assert names == {
        **{f"sub/{number}.jpg": "submitted" for number in range(8)},
        "large.jpg": "refused",
        r"caf\xe9.jpg": "submitted",
    }


@pytest.mark.usefixtures("stages")
def test_a_folder_is_uploaded_and_an_interrupted_upload_goes_on(
    door: str, conn: db.Conn, photos: Path, tmp_path: Path
) -> None:
    gateway, interrupted = Gateway(door), Report(3)
    with pytest.raises(KeyboardInterrupt):
        upload(gateway, [photos], "batch", interrupted)
    (first,) = conn.execute("SELECT batch_id, expected FROM batches").fetchall()
    assert first["expected"] == 10
    before = len([item for item in items(conn, first["batch_id"]) if item["photo_id"]])

    finished = Report()
    batch_id = upload(gateway, [photos], "batch", finished)
    assert batch_id == str(first["batch_id"])
    assert finished.last.sent == 9 - before
    assert finished.last.offered == finished.last.files == 10
    check_uploaded(conn, batch_id, photos)
    assert list((tmp_path / "state" / "darkroom" / "uploads").iterdir()) == []

    again = Report()
    other = upload(gateway, [photos], "batch", again)
    assert other != batch_id
    assert again.last.sent == 0
    row = batch_row(conn, other)
    assert (row["found"], row["refused"], row["duplicates"]) == (10, 1, 9)


@pytest.mark.usefixtures("stages")
def test_an_upload_outlives_a_gateway_that_is_started_anew(
    settings: Settings, conn: db.Conn, photos: Path
) -> None:
    report = Report()
    done: list[str] = []
    with api_door(settings) as url:
        gateway = Gateway(url)
        thread = threading.Thread(
            target=lambda: done.append(upload(gateway, [photos], "batch", report))
        )
        thread.start()
        until(lambda: report.last.sent, "the first file is sent")
    until(lambda: report.last.waiting or done, "the upload waits")
    with api_door(settings):
        thread.join(30)
    check_uploaded(conn, done[0], photos)


@pytest.mark.usefixtures("stages")
def test_a_paused_upload_waits_and_a_changed_file_is_told(
    door: str, client: httpx.Client, conn: db.Conn, photos: Path
) -> None:
    gateway = Gateway(door)
    with pytest.raises(KeyboardInterrupt):
        upload(gateway, [photos], "batch", Report(1))
    (row,) = conn.execute("SELECT batch_id FROM batches").fetchall()
    batch_id = str(row["batch_id"])
    sent = next(item for item in items(conn, batch_id) if item["path"].endswith(".jpg"))
    changed = os.fsencode(photos) + b"/caf\xe9.jpg" if "caf" in sent["path"] else sent["path"]
    Path(os.fsdecode(changed)).write_text("changed since")
    client.post(f"/v1/imports/{batch_id}/pause")

    report = Report()
    thread = threading.Thread(target=upload, args=(gateway, [photos], "batch", report))
    thread.start()
    until(lambda: report.last.waiting == "the import is paused", "the upload waits")
    client.post(f"/v1/imports/{batch_id}/resume")
    thread.join(30)
    assert report.last.waiting is None
    assert report.last.changed == (sent["path"],)
    assert batch_row(conn, batch_id)["found"] == 10
