"""Finding checkpoints in folders, in the cache of a hub and at a hub on loopback."""

import errno
import hashlib
import json
import os
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import huggingface_hub.constants
import pytest
from huggingface_hub.errors import LocalEntryNotFoundError

from backbones import CheckpointError, Policy, find, hub

COMMIT = "0123456789abcdef0123456789abcdef01234567"
MODEL = f"owner/tiny@{COMMIT}"
OFFLINE = Policy(download=False)


def _write(folder: Path, **contents: str) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    for name, text in contents.items():
        (folder / name.replace("__", ".")).write_text(text)
    return folder


def _whole(folder: Path) -> Path:
    return _write(folder, config__json="{}", model__safetensors="weights", README__md="words")


def _manifest(folder: Path, *names: str) -> str:
    lines = [f"{hashlib.sha256((folder / it).read_bytes()).hexdigest()}  {it}\n" for it in names]
    return hashlib.sha256("".join(lines).encode()).hexdigest()


def test_a_folder_is_known_by_its_name_and_the_hash_of_what_is_read_of_it(tmp_path: Path) -> None:
    folder = _whole(tmp_path / "mine")
    found = find(str(folder))
    assert (found.name, found.folder) == ("mine", folder)
    assert found.files == ("config.json", "model.safetensors")
    assert found.sha256 == _manifest(folder, "config.json", "model.safetensors")
    assert found.version == f"mine@{found.sha256[:12]}"


def test_sha256sum_gives_the_hash_of_the_manifest(tmp_path: Path) -> None:
    folder = _whole(tmp_path / "mine")
    lines = subprocess.run(
        ["sha256sum", *find(str(folder)).files], cwd=folder, capture_output=True, check=True
    ).stdout
    assert find(str(folder)).sha256 == hashlib.sha256(lines).hexdigest()


def test_what_is_read_beside_the_weights_counts_and_a_readme_does_not(tmp_path: Path) -> None:
    folder = _whole(tmp_path / "mine")
    before = find(str(folder)).sha256
    (folder / "README.md").write_text("other words")
    assert find(str(folder)).sha256 == before
    (folder / "preprocessor_config.json").write_text("{}")
    assert find(str(folder)).sha256 != before


def test_a_pinned_checkpoint_is_taken_and_another_one_refused(tmp_path: Path) -> None:
    folder = _whole(tmp_path / "mine")
    pinned = f"{folder}#sha256:{find(str(folder)).sha256}"
    assert find(pinned).name == "mine"
    (folder / "model.safetensors").write_text("other weights")
    with pytest.raises(CheckpointError, match="is not what it was: the SHA-256 of its manifest is"):
        find(pinned)


def test_a_folder_without_a_configuration_is_no_checkpoint(tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match=r"has no config\.json"):
        find(str(_write(tmp_path / "half", model__safetensors="weights")))


def test_a_folder_without_weights_is_half_a_checkpoint(tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match=r"lacks its weights, model\.safetensors"):
        find(str(_write(tmp_path / "half", config__json="{}")))


def test_a_pickle_is_refused_unless_it_is_allowed(tmp_path: Path) -> None:
    folder = _write(tmp_path / "old", config__json="{}", pytorch_model__bin="pickle")
    with pytest.raises(CheckpointError, match=r"only as pytorch_model\.bin.*run any code"):
        find(str(folder))
    assert find(str(folder), Policy(allow_pickle=True)).files == (
        "config.json",
        "pytorch_model.bin",
    )


def test_safetensors_go_before_a_pickle_that_is_allowed(tmp_path: Path) -> None:
    folder = _whole(tmp_path / "both")
    (folder / "pytorch_model.bin").write_text("pickle")
    assert "pytorch_model.bin" not in find(str(folder), Policy(allow_pickle=True)).files


def _sharded(folder: Path, *named: str) -> Path:
    index = json.dumps({"weight_map": {f"layer{at}": name for at, name in enumerate(named)}})
    return _write(folder, config__json="{}", model__safetensors__index__json=index)


def test_all_shards_are_read_and_a_missing_one_is_named(tmp_path: Path) -> None:
    folder = _sharded(tmp_path / "large", "model-1.safetensors", "model-2.safetensors")
    (folder / "model-1.safetensors").write_text("weights")
    with pytest.raises(CheckpointError, match=r"lacks model-2\.safetensors, which model\.safe"):
        find(str(folder))
    (folder / "model-2.safetensors").write_text("weights")
    assert find(str(folder)).files == (
        "config.json",
        "model-1.safetensors",
        "model-2.safetensors",
        "model.safetensors.index.json",
    )


def test_an_index_can_not_lead_out_of_its_folder(tmp_path: Path) -> None:
    (tmp_path / "secret.safetensors").write_text("weights")
    with pytest.raises(CheckpointError, match="a file outside of its folder"):
        find(str(_sharded(tmp_path / "bad", "../secret.safetensors")))


@pytest.mark.parametrize("text", ["", "[]", "{}", '{"weight_map": []}'])
def test_a_damaged_index_is_named(tmp_path: Path, text: str) -> None:
    folder = _write(tmp_path / "bad", config__json="{}", model__safetensors__index__json=text)
    with pytest.raises(CheckpointError, match=r"index\.json is damaged"):
        find(str(folder))


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache" / "models--owner--tiny"


def test_what_was_fetched_earlier_is_found_without_a_hub(cache: Path) -> None:
    _whole(cache / "snapshots" / COMMIT)
    found = find(MODEL, OFFLINE)
    assert (found.name, found.folder) == ("tiny", cache / "snapshots" / COMMIT)


def test_a_branch_is_what_it_was_when_it_was_fetched(cache: Path) -> None:
    _whole(cache / "snapshots" / COMMIT)
    _write(cache / "refs", main=COMMIT)
    assert find("owner/tiny", Policy(allow_names=True, download=False)).name == "tiny"


def test_who_may_not_download_is_told_that_it_is_not_here(cache: Path) -> None:
    with pytest.raises(CheckpointError, match=f"{MODEL} is not on this machine"):
        find(MODEL, OFFLINE)


def test_half_a_download_is_not_taken_for_the_whole(cache: Path) -> None:
    _write(cache / "snapshots" / COMMIT, config__json="{}")
    with pytest.raises(CheckpointError, match="lacks its weights"):
        find(MODEL, OFFLINE)


class _Hub(BaseHTTPRequestHandler):
    """As much of a model hub as it takes to fetch a model of two files."""

    files = {"config.json": b"{}", "model.safetensors": b"weights", "code.py": b"import os"}  # noqa: RUF012

    def do_HEAD(self) -> None:
        self._answer(body=False)

    def do_GET(self) -> None:
        self._answer(body=True)

    def _answer(self, *, body: bool) -> None:
        name = self.path.rpartition("/")[2]
        if self.path.startswith("/api/models/owner/tiny/"):
            about = {"id": "owner/tiny", "sha": COMMIT, "siblings": self._siblings()}
            self._send(json.dumps(about).encode(), body)
        elif self.path.startswith(f"/owner/tiny/resolve/{COMMIT}/") and name in self.files:
            self._send(self.files[name], body)
        else:
            self.send_response(404)
            self.send_header("X-Error-Code", "RepoNotFound")
            self.send_header("Content-Length", "0")
            self.end_headers()

    def _siblings(self) -> list[dict[str, str]]:
        return [{"rfilename": name} for name in self.files]

    def _send(self, content: bytes, body: bool) -> None:
        self.send_response(200)
        self.send_header("Content-Length", str(len(content)))
        self.send_header("ETag", f'"{hashlib.sha1(content, usedforsecurity=False).hexdigest()}"')
        self.send_header("X-Repo-Commit", COMMIT)
        self.end_headers()
        if body:
            self.wfile.write(content)

    def log_message(self, *_: Any) -> None:
        """Not on the terminal."""


@pytest.fixture
def endpoint(monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    server = ThreadingHTTPServer(("127.0.0.1", 0), _Hub)
    thread = threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True)
    thread.start()
    address = f"http://127.0.0.1:{server.server_port}"
    _ask(address, monkeypatch)
    yield address
    server.shutdown()
    server.server_close()
    thread.join()


def _ask(address: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """The client has read its settings when it was imported."""
    monkeypatch.setattr(huggingface_hub.constants, "ENDPOINT", address)
    template = address + "/{repo_id}/resolve/{revision}/{filename}"
    monkeypatch.setattr(huggingface_hub.constants, "HUGGINGFACE_CO_URL_TEMPLATE", template)
    for name in ("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "http_proxy", "https_proxy"):
        monkeypatch.delenv(name, raising=False)


def test_a_model_is_fetched_from_a_hub_without_what_is_not_read(cache: Path, endpoint: str) -> None:
    found = find(MODEL)
    assert (found.name, found.files) == ("tiny", ("config.json", "model.safetensors"))
    assert (found.folder / "model.safetensors").read_bytes() == b"weights"
    assert not (found.folder / "code.py").exists()


def test_the_rest_of_half_a_download_is_fetched(cache: Path, endpoint: str) -> None:
    _write(cache / "snapshots" / COMMIT, config__json="{}")
    assert find(MODEL).files == ("config.json", "model.safetensors")


def test_a_model_that_the_hub_does_not_know_is_named(cache: Path, endpoint: str) -> None:
    with pytest.raises(CheckpointError, match=r"knows no owner/other, or shows it to members only"):
        find(f"owner/other@{COMMIT}")


def test_a_full_disk_is_not_taken_for_a_missing_hub(
    cache: Path, endpoint: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: object, local_files_only: bool = False, **__: object) -> str:
        if local_files_only:
            raise LocalEntryNotFoundError("not here")
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(huggingface_hub, "snapshot_download", full)
    with pytest.raises(CheckpointError, match=r"can't be stored on this machine: .*No space left"):
        find(MODEL)


def test_who_forbids_the_hub_to_the_client_is_told_how_to_go_on(
    cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_OFFLINE", True)
    with pytest.raises(CheckpointError, match=r"OfflineModeIsEnabled.*hf download owner/tiny"):
        find(MODEL)


def test_a_hub_that_never_answers_is_given_up_within_seconds(
    cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(hub, "_WAIT_S", 0.3)
    with socket.create_server(("127.0.0.1", 0)) as deaf:
        _ask(f"http://127.0.0.1:{deaf.getsockname()[1]}", monkeypatch)
        with pytest.raises(CheckpointError, match=r"can't be reached \(TimeoutError: no answer"):
            find(MODEL)


def test_without_a_hub_a_process_is_told_the_cause_and_the_cure_within_seconds(
    tmp_path: Path,
) -> None:
    with socket.create_server(("127.0.0.1", 0)) as gone:
        address = f"http://127.0.0.1:{gone.getsockname()[1]}"
    environment = {
        **{name: value for name, value in os.environ.items() if "proxy" not in name.lower()},
        "HF_ENDPOINT": address,
        "HF_HOME": str(tmp_path),
    }
    program = f"from backbones import find; find({MODEL!r})"
    started = time.monotonic()
    ended = subprocess.run(
        [sys.executable, "-c", program],
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )
    assert time.monotonic() - started < 10
    assert ended.returncode == 1
    last = ended.stderr.strip().splitlines()[-1]
    assert f"{MODEL} is not on this machine, and the model hub can't be reached" in last
    assert "ConnectError" in last
    assert f"hf download owner/tiny --revision {COMMIT} --local-dir FOLDER" in last
    assert "HF_HOME" in last
