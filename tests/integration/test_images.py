"""What each Dockerfile installs, installed in a clean environment, and run there."""

import json
import os
import socket
import subprocess
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from runpy import run_path
from typing import Final
from urllib.parse import urlsplit
from uuid import uuid4

import httpx
import psycopg
import pytest

from dockerfile import ROOT, Building, environment, last, stages
from infrastructure import Infrastructure
from worker_process import until

pytestmark = [pytest.mark.timeout(300), pytest.mark.long]

FILES: Final = {
    file.parent.name: file
    for file in (*ROOT.glob("services/*/Dockerfile"), ROOT / "libs/cli/Dockerfile")
}
DOORS: Final[Mapping[str, tuple[tuple[str, ...], ...]]] = {
    "gateway": (("api",), ("recorder",), ("control",))
}
READY: Final = run_path(str(ROOT / "deploy/images/healthy.py"))["ready"]
STAGES: Final = ("detector", "ocr", "embedder")


def free_port() -> int:
    with socket.socket() as server:
        server.bind(("127.0.0.1", 0))
        return int(server.getsockname()[1])


@dataclass(frozen=True, slots=True)
class Container:
    """A service as its image runs it: its entrypoint, in its environment, with nothing else."""

    image: str
    venv: Path
    folder: Path
    settings: Mapping[str, str]
    arguments: tuple[str, ...] = ()
    port: int = field(default_factory=free_port)

    @property
    def log(self) -> Path:
        return self.folder / f"{'-'.join((self.image, *self.arguments))}.log"

    def start(self) -> "subprocess.Popen[bytes]":
        stage = stages(FILES[self.image])[-1]
        python, *entry = last(stage, "ENTRYPOINT")
        arguments = self.arguments or last(stage, "CMD")
        own = {
            "HOME": str(self.folder),
            "DARKROOM_CACHE": str(self.folder / "cache"),
            "DARKROOM_SPOOL": str(self.folder / "spool"),
            "DARKROOM_MODELS_CACHE": str(self.folder / "models"),
            "DARKROOM_HEALTH_PORT": str(self.port),
            "DARKROOM_API_PORT": str(self.port),
        }
        with self.log.open("wb") as log:
            return subprocess.Popen(
                (self.venv / "bin" / python, *entry, *arguments),
                cwd=self.folder,
                env={**environment(stage), **self.settings, **own, "PATH": os.defpath},
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
            )

    def is_healthy(self) -> bool:
        """What the image's HEALTHCHECK says, asked at the port that this one has here."""
        check = last(stages(FILES[self.image])[-1], "HEALTHCHECK")
        python, script = self.venv / "bin" / "python", self.venv / Path(check[3]).name
        asked = (python, "-I", "-S", script, str(self.port))
        return subprocess.run(asked, check=False).returncode == 0


@pytest.fixture(scope="module")
def venvs(tmp_path_factory: pytest.TempPathFactory) -> Mapping[str, Path]:
    """The environment of each image."""
    building = Building(tmp_path_factory.mktemp("images"))
    with ThreadPoolExecutor(2) as pool:
        made = pool.map(lambda name: building.installed(FILES[name], name), FILES)
        return dict(zip(FILES, made, strict=True))


@pytest.fixture(scope="module")
def settings(
    infrastructure: Infrastructure, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Mapping[str, str]]:
    """Where a system of its own is, of which nothing is there yet."""
    name = f"images_{uuid4().hex}"
    with psycopg.connect(infrastructure.database, autocommit=True) as conn:
        conn.execute(f'CREATE DATABASE "{name}"')
        yield {
            "DARKROOM_KAFKA": infrastructure.kafka,
            "DARKROOM_REGISTRY": infrastructure.registry,
            "DARKROOM_DATABASE": urlsplit(infrastructure.database)
            ._replace(path=f"/{name}")
            .geturl(),
            "DARKROOM_REDIS": infrastructure.redis,
            "DARKROOM_OBJECTS": tmp_path_factory.mktemp("objects").as_uri(),
            "DARKROOM_TOPIC_PREFIX": f"{name}.",
            "DARKROOM_API_HOST": "127.0.0.1",
            "DARKROOM_HEALTH_HOST": "127.0.0.1",
        }
        conn.execute(f'DROP DATABASE "{name}" WITH (FORCE)')


def test_an_image_holds_what_its_service_needs_to_start_and_stop(
    venvs: Mapping[str, Path], settings: Mapping[str, str], tmp_path: Path
) -> None:
    def container(image: str, *arguments: str) -> Container:
        folder = tmp_path / "-".join((image, *arguments))
        folder.mkdir()
        return Container(image, venvs[image], folder, settings, arguments)

    steps = (
        container("cli", "topics", "apply"),
        container("cli", "schemas", "apply"),
        container("gateway", "migrate"),
    )
    for step, process in [(step, step.start()) for step in steps]:
        assert process.wait(120) == 0, step.log.read_text(encoding="utf-8")

    services = [
        container(image, *door)
        for image in FILES
        if image != "cli"
        for door in DOORS.get(image, ((),))
    ]
    with ExitStack() as ends:
        running = [(service, service.start()) for service in services]
        for _, process in running:
            ends.callback(process.wait)
            ends.callback(process.kill)
        for service, process in running:
            until(partial(_is_up, service, process), f"{service.log.stem} is ready")
        api = next(service for service in services if service.arguments == ("api",))
        asked = {"Accept": "text/html"}
        page = httpx.get(f"http://127.0.0.1:{api.port}/", headers=asked, timeout=20)
        assert "<html" in page.text
        for _, process in running:
            process.terminate()
        ended = {service.log.stem: process.wait(30) for service, process in running}
        assert ended == dict.fromkeys(ended, 0)
    loaded = {
        service.image
        for service in services
        for line in service.log.read_text(encoding="utf-8").splitlines()
        if line.startswith("{") and json.loads(line)["event"] == "engine"
    }
    assert loaded == set(STAGES)


def _is_up(service: Container, process: "subprocess.Popen[bytes]") -> bool:
    assert process.poll() is None, service.log.read_text(encoding="utf-8")
    # Without a process for each look; the check itself is run once it should say yes.
    return READY(service.port) and service.is_healthy()


def test_an_image_lists_what_is_in_it(venvs: Mapping[str, Path]) -> None:
    for name, venv in venvs.items():
        told = json.loads((venv / "sbom.cdx.json").read_text(encoding="utf-8"))
        packages = {part["name"].replace("_", "-") for part in told["components"]}
        assert {f"darkroom-{name}", "pydantic", "confluent-kafka"} <= packages
        assert "torch" not in packages
