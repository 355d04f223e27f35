"""The Dockerfiles, and what is pinned for them."""

import re
import subprocess
import sys
import threading
import tomllib
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from typing import Final

import pytest

from dockerfile import ROOT, Instruction, environment, last, stages

FILES: Final = sorted((*ROOT.glob("services/*/Dockerfile"), ROOT / "libs/cli/Dockerfile"))
REQUIREMENTS: Final = ROOT / "requirements"
WITH_TORCH: Final = {"detector", "embedder", "ocr"}
HEAVY: Final = {"torch", "torchvision", "transformers", "triton", "easyocr", "nvidia-cudnn-cu13"}


def pins(file: Path) -> dict[str, str]:
    """Package → version."""
    found = re.findall(r"^([a-z0-9._-]+)==([^ ;\\]+)", file.read_text(encoding="utf-8"), re.M)
    return dict(found)


def copied(stage: list[Instruction]) -> Iterator[str]:
    """What a stage takes of the checkout."""
    for one in stage:
        if one.word == "COPY" and not any(flag.startswith("--from") for flag in one.flags):
            yield from one.text.split()[:-1]


def test_the_dockerfiles_are_those_of_the_recipe() -> None:
    command = (sys.executable, "deploy/images/generate.py", "--check")
    done = subprocess.run(command, cwd=ROOT, check=False, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


def test_every_service_has_one() -> None:
    services = {file.parent.name for file in ROOT.glob("services/*/pyproject.toml")}
    assert {file.parent.name for file in FILES} == {*services, "cli"}


def test_hadolint_has_nothing_to_say() -> None:
    command = (str(Path(sys.executable).with_name("hadolint")), *map(str, FILES))
    done = subprocess.run(command, check=False, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.parametrize("file", FILES, ids=lambda file: file.parent.name)
def test_what_is_copied_is_there(file: Path) -> None:
    for stage in stages(file):
        for source in copied(stage):
            variants = ("cpu", "cuda") if "${VARIANT}" in source else ("",)
            for variant in variants:
                assert (ROOT / source.replace("${VARIANT}", variant)).exists(), source


def test_what_is_copied_is_not_kept_from_the_builder() -> None:
    lines = (ROOT / ".dockerignore").read_text(encoding="utf-8").splitlines()
    let_in = [line[1:].partition("*")[0].rstrip("/") for line in lines if line.startswith("!")]
    for file in FILES:
        for stage in stages(file):
            for source in copied(stage):
                assert any(source.startswith(place) for place in let_in), source


@pytest.mark.parametrize("file", FILES, ids=lambda file: file.parent.name)
def test_an_image_runs_one_program_as_nobody_in_particular(file: Path) -> None:
    build, run = stages(file)
    assert last(run, "USER") == ["10001:10001"]
    assert last(run, "STOPSIGNAL") == ["SIGTERM"]
    entry = next(one.text for one in run if one.word == "ENTRYPOINT")
    assert entry.startswith("[")
    labels = " ".join(last(run, "LABEL"))
    assert "org.opencontainers.image.licenses=Apache-2.0" in labels
    assert last(run, "HEALTHCHECK")
    installs = [one.text for one in build if one.word == "RUN" and "install" in one.text]
    assert all("--require-hashes" in text or "--no-deps" in text for text in installs)
    assert environment(run)["PYTHONDONTWRITEBYTECODE"] == "1"


def test_an_image_has_the_versions_that_were_tested() -> None:
    tested = pins(REQUIREMENTS / "all.txt")
    files = [REQUIREMENTS / "tools.txt", *REQUIREMENTS.glob("*/*.txt")]
    for file in files:
        for package, version in pins(file).items():
            # Of two versions for two Pythons either is one that was tested.
            both = re.findall(
                rf"^{re.escape(package)}==([^ ;\\]+)",
                (REQUIREMENTS / "all.txt").read_text(encoding="utf-8"),
                re.M,
            )
            assert package in tested, f"{file.parent.name}/{file.name}: {package}"
            assert version in both, f"{file.parent.name}/{file.name}: {package}=={version}"


def test_torch_is_only_where_it_was_asked_for() -> None:
    for file in REQUIREMENTS.glob("cpu/*.txt"):
        assert not HEAVY & set(pins(file)), file.name
    assert {file.stem for file in REQUIREMENTS.glob("cuda/*.txt")} == WITH_TORCH
    assert all("torch" in pins(file) for file in REQUIREMENTS.glob("cuda/*.txt"))


@pytest.mark.parametrize("file", FILES, ids=lambda file: file.parent.name)
def test_all_is_pinned_that_the_packages_of_an_image_ask_for(file: Path) -> None:
    pinned = set(pins(REQUIREMENTS / "cpu" / f"{file.parent.name}.txt"))
    held = [source for source in copied(stages(file)[0]) if (ROOT / source).is_dir()]
    for folder in held:
        project = tomllib.loads((ROOT / folder / "pyproject.toml").read_text(encoding="utf-8"))
        for dependency in project["project"]["dependencies"]:
            name = re.split(r"[\[<>=~; ]", dependency)[0].lower()
            if not name.startswith("darkroom-"):
                assert name in pinned, f"{folder} needs {name}"


@pytest.mark.parametrize(("status", "code"), [(200, 0), (503, 1)])
def test_a_container_is_healthy_while_its_service_is_ready(status: int, code: int) -> None:
    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(status if self.path == "/readyz" else 404)
            self.end_headers()

        def log_message(self, *_: object) -> None:
            pass

    with HTTPServer(("127.0.0.1", 0), Handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        # Of two ports one is enough: a door of the gateway has either.
        script = str(ROOT / "deploy/images/healthy.py")
        asked = (sys.executable, "-I", "-S", script, "1", str(server.server_port))
        assert subprocess.run(asked, check=False).returncode == code
        server.shutdown()
