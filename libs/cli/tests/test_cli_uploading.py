"""What is uploaded, and how it goes on, against a gateway that the test makes up."""

import hashlib
import json
import os
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import httpx
import pytest

from darkroom_cli import uploading
from darkroom_cli.client import Gateway, GatewayError, RefusedError
from darkroom_cli.local_files import looked_at, shown, walk
from darkroom_cli.uploading import Progress, upload

BATCH = "8a3f7c9e-4e8c-4a57-9d57-0f4d9b1f6c21"
OTHER = "11111111-4e8c-4a57-9d57-0f4d9b1f6c21"


class MadeUp:
    """A gateway in memory; `trouble` may answer in its place."""

    def __init__(self) -> None:
        self.recorded: dict[str, str] = {}
        self.refused: dict[str, str] = {}
        self.begun: list[dict[str, Any]] = []
        self.state = "scanning"
        self.in_flight, self.window = 0, 100
        self.most_in_flight = 0
        self.trouble: Callable[[httpx.Request], httpx.Response | None] = lambda _: None
        self._lock = threading.Lock()

    def answer(self, request: httpx.Request) -> httpx.Response:
        trouble = self.trouble(request)
        if trouble is not None:
            return trouble
        content = request.read()
        with self._lock:
            return self._answer(request, content)

    def _answer(self, request: httpx.Request, content: bytes) -> httpx.Response:
        path = request.url.path
        if path == "/v1/imports":
            self.begun.append(json.loads(content))
            self.state = "scanning"
            return httpx.Response(202, json={"batch_id": BATCH})
        if path.endswith("/missing"):
            return self._missing(json.loads(content)["files"])
        if path.endswith("/files"):
            self.recorded[request.url.params["path"]] = hashlib.sha256(content).hexdigest()
            self.in_flight += 1
            self.most_in_flight = max(self.most_in_flight, self.in_flight)
            return httpx.Response(200, json={"in_flight": self.in_flight, "window": self.window})
        if path.endswith("/seal"):
            self.state = "running"
        if not path.startswith(f"/v1/imports/{BATCH}"):
            return problem(404, "not_found")
        return httpx.Response(200, json={"kind": "upload", "state": self.state})

    def _missing(self, files: list[dict[str, Any]]) -> httpx.Response:
        if not files:
            self.in_flight = max(0, self.in_flight - 2)  # time goes by
        standings = []
        for file in files:
            if "problem" in file:
                self.refused[file["path"]] = file["problem"]["code"]
            known = self.recorded.get(file["path"])
            standing = "missing" if known is None else "path_taken"
            if "problem" in file or known == file["sha256"]:
                standing = "recorded"
            standings.append({"path": file["path"], "standing": standing})
        pace = {"in_flight": self.in_flight, "window": self.window}
        return httpx.Response(200, json={"files": standings, **pace})


def problem(status: int, code: str) -> httpx.Response:
    body = {"title": code, "detail": f"{code}.", "code": code}
    return httpx.Response(status, json=body, headers={"Retry-After": "0"})


@pytest.fixture
def made_up() -> MadeUp:
    return MadeUp()


@pytest.fixture
def gateway(made_up: MadeUp) -> Gateway:
    gateway = Gateway("http://photos.home:8080")
    transport = httpx.MockTransport(made_up.answer)
    gateway._http = httpx.Client(base_url=gateway.url, transport=transport)
    return gateway


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    monkeypatch.setattr(uploading, "_FULL_S", 0.001)
    monkeypatch.setattr(uploading, "_PAGE", 3)
    made = tmp_path / "Pictures"
    (made / "sub").mkdir(parents=True)
    for number in range(7):
        (made / "sub" / f"{number}.jpg").write_text(f"photo {number}")
    return made


def silent(_progress: Progress) -> None:
    pass


def remembered(tmp_path: Path) -> int:
    state = tmp_path / "state" / "darkroom" / "uploads"
    return len(list(state.iterdir())) if state.is_dir() else 0


def test_every_file_is_sent_and_the_import_sealed(
    gateway: Gateway, made_up: MadeUp, folder: Path, tmp_path: Path
) -> None:
    seen: list[Progress] = []
    assert upload(gateway, [folder], "batch", seen.append) == BATCH

    assert made_up.begun == [{"kind": "upload", "name": "Pictures", "expected": 7, "lane": "batch"}]
    assert made_up.recorded == {
        f"{folder}/sub/{number}.jpg": hashlib.sha256(f"photo {number}".encode()).hexdigest()
        for number in range(7)
    }
    assert made_up.state == "running"
    assert (seen[-1].files, seen[-1].offered, seen[-1].sent) == (7, 7, 7)
    assert seen[-1].sent_bytes == 7 * len("photo 0")
    assert remembered(tmp_path) == 0


def test_no_more_is_sent_than_the_gateway_wants(
    gateway: Gateway, made_up: MadeUp, folder: Path
) -> None:
    made_up.window = 3
    upload(gateway, [folder], "batch", silent)

    assert len(made_up.recorded) == 7
    assert made_up.most_in_flight <= 3


def test_what_may_pass_is_waited_for(gateway: Gateway, made_up: MadeUp, folder: Path) -> None:
    troubles = iter(
        [
            None,
            problem(503, "outbox_full"),
            problem(409, "import_paused"),
            None,
            problem(503, "import_full"),
            problem(429, "slow_down"),
            httpx.Response(502, headers={"Retry-After": "0"}),
        ]
    )
    made_up.trouble = lambda _: next(troubles, None)
    waited: list[str | None] = []
    upload(gateway, [folder], "batch", lambda progress: waited.append(progress.waiting))

    assert len(made_up.recorded) == 7
    assert "the import is paused" in waited
    assert waited[-1] is None


def test_what_is_waited_for_is_told_though_another_thread_found_it_out_first(
    gateway: Gateway, made_up: MadeUp
) -> None:
    troubles = iter([problem(503, "full"), problem(503, "full")])
    made_up.trouble = lambda _: next(troubles, None)
    seen: list[str | None] = []
    sending = uploading._Sending(
        gateway, Progress(1), lambda progress: seen.append(progress.waiting)
    )
    other = threading.Thread(target=sending._waiting, args=("full.",))
    other.start()
    other.join()
    assert seen == []
    sending.patiently(lambda: gateway.missing(BATCH, []))
    assert seen == ["full.", None]


def test_what_does_not_pass_is_told_and_the_same_command_goes_on(
    gateway: Gateway, made_up: MadeUp, folder: Path, tmp_path: Path
) -> None:
    def trouble(request: httpx.Request) -> httpx.Response | None:
        third = request.url.path.endswith("/files") and len(made_up.recorded) >= 2
        return problem(422, "invalid_request") if third else None

    made_up.trouble = trouble
    with pytest.raises(RefusedError, match="invalid_request"):
        upload(gateway, [folder], "batch", silent)
    assert remembered(tmp_path) == 1

    made_up.trouble = lambda _: None
    seen: list[Progress] = []
    assert upload(gateway, [folder], "batch", seen.append) == BATCH
    assert len(made_up.begun) == 1
    assert seen[-1].sent == 7 - 2
    assert len(made_up.recorded) == 7


@pytest.mark.parametrize("state", ["cancelled", "running", None])
def test_an_import_that_takes_nothing_more_is_begun_anew(
    gateway: Gateway, made_up: MadeUp, folder: Path, tmp_path: Path, state: str | None
) -> None:
    made_up.trouble = lambda request: (
        problem(422, "odd") if request.url.path.endswith("/missing") else None
    )
    with pytest.raises(GatewayError):
        upload(gateway, [folder], "batch", silent)
    made_up.trouble = lambda _: None
    if state is None:
        (file,) = (tmp_path / "state" / "darkroom" / "uploads").iterdir()
        file.write_text(json.dumps({"batch_id": OTHER}))
    else:
        made_up.state = state
    upload(gateway, [folder], "batch", silent)
    assert len(made_up.begun) == 2


def test_a_file_that_can_not_be_read_is_told_to_the_gateway(
    gateway: Gateway, made_up: MadeUp, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    vanishing = folder / "sub" / "3.jpg"

    def trouble(request: httpx.Request) -> httpx.Response | None:
        if request.url.path.endswith("/missing"):
            vanishing.unlink(missing_ok=True)  # after it was hashed
        return None

    made_up.trouble = trouble
    seen: list[Progress] = []
    monkeypatch.setattr(uploading, "_PAGE", 100)
    nowhere = folder / "nowhere.jpg"
    upload(gateway, [folder, nowhere], "batch", seen.append)

    assert made_up.refused == {str(vanishing): "file_missing", str(nowhere): "file_missing"}
    assert (seen[-1].unreadable, len(made_up.recorded)) == (2, 6)


def test_a_file_that_changed_under_its_path_is_told(
    gateway: Gateway, made_up: MadeUp, folder: Path
) -> None:
    path = f"{folder}/sub/2.jpg"
    made_up.recorded[path] = "0" * 64
    seen: list[Progress] = []
    upload(gateway, [folder], "batch", seen.append)
    assert seen[-1].changed == (path,)


def test_an_interrupt_ends_at_once(gateway: Gateway, made_up: MadeUp, folder: Path) -> None:
    made_up.trouble = lambda request: (
        problem(503, "import_full") if request.url.path.endswith("/files") else None
    )

    def interrupt(_progress: Progress) -> None:
        raise KeyboardInterrupt

    done = threading.Event()

    def uploads() -> None:
        with pytest.raises(KeyboardInterrupt):
            upload(gateway, [folder], "batch", interrupt)
        done.set()

    thread = threading.Thread(target=uploads)
    thread.start()
    thread.join(10)
    assert done.is_set()


def test_files_are_those_of_a_folders_import(tmp_path: Path) -> None:
    folder = tmp_path / "photos"
    (folder / "b").mkdir(parents=True)
    (folder / ".hidden").mkdir()
    for name in ("b/z.jpg", "b/a.jpg", "c.jpg", ".x.jpg", ".hidden/y.jpg", "a.jpg"):
        (folder / name).write_text(name)
    (folder / "link.jpg").symlink_to(folder / "a.jpg")
    (folder / "link").symlink_to(folder / "b")
    os.mkfifo(folder / "pipe")

    roots = [folder / "b", folder, folder / "c.jpg"]
    found = [seen.removeprefix(f"{folder}/") for seen in walk(roots) if isinstance(seen, str)]
    assert found == ["b/a.jpg", "b/z.jpg", "a.jpg", "c.jpg"]


def test_odd_names_and_odd_files_are_shown(tmp_path: Path) -> None:
    assert shown(os.fsdecode(b"/caf\xe9\\x.jpg")) == r"/caf\xe9\\x.jpg"
    (tmp_path / "pipe").mkdir()
    os.mkfifo(tmp_path / "pipe" / "p")
    looked = looked_at(str(tmp_path / "pipe" / "p"))
    assert looked.problem is not None
    assert looked.problem.code == "not_a_file"
    (tmp_path / "link").symlink_to(tmp_path)
    linked = looked_at(str(tmp_path / "link"))
    assert linked.problem is not None
    assert linked.problem.code == "not_a_file"
