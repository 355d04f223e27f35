"""The launcher's setup: when it is needed, and how its failures read."""

import importlib.util
import json
import os
import subprocess
import sys
from pathlib import Path
from types import ModuleType

import pytest

from darkroom_cli.paths import repository_root


@pytest.fixture
def bootstrap(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    """The launcher's module, looking at a small checkout of its own."""
    path = repository_root() / "deploy" / "local" / "bootstrap.py"
    spec = importlib.util.spec_from_file_location("bootstrap", path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    root = tmp_path / "checkout"
    for name in ("requirements", "libs/one", "deploy", ".venv/bin"):
        (root / name).mkdir(parents=True)
    (root / "pyproject.toml").write_text('[tool.uv.workspace]\nmembers = ["libs/*"]\n')
    for name in ("requirements/all.txt", "requirements/bootstrap.txt", "libs/one/pyproject.toml"):
        (root / name).write_text("")
    (root / "deploy" / "bootstrap.py").write_text("")
    (root / ".venv/bin/python").symlink_to(sys.executable)
    monkeypatch.setattr(module, "ROOT", root)
    monkeypatch.setattr(module, "__file__", str(root / "deploy" / "bootstrap.py"))
    for name, place in {
        "VENV": ".venv",
        "PYTHON": ".venv/bin/python",
        "STAMP": ".venv/darkroom-stamp.json",
        "LOG": ".venv/setup.log",
        "LOCKED_PACKAGES": "requirements/all.txt",
        "INSTALLER": "requirements/bootstrap.txt",
    }.items():
        monkeypatch.setattr(module, name, root / place)
    return module


def test_a_stamped_environment_is_current_until_an_input_changes(bootstrap: ModuleType) -> None:
    assert not bootstrap.is_current()
    bootstrap.STAMP.write_text(json.dumps(bootstrap.wanted_stamp()))
    assert bootstrap.is_current()
    bootstrap.LOCKED_PACKAGES.write_text("more==1\n")
    assert not bootstrap.is_current()


def test_what_is_imported_is_compiled_once(
    bootstrap: ModuleType, monkeypatch: pytest.MonkeyPatch
) -> None:
    found: list[bool] = []

    def become(_program: object, _arguments: object) -> None:
        found.append("PYTHONDONTWRITEBYTECODE" in os.environ)

    monkeypatch.setenv("PYTHONDONTWRITEBYTECODE", "1")
    monkeypatch.setattr("os.execv", become)
    bootstrap.become_darkroom()
    assert found == [False]


def test_a_new_package_of_ours_makes_the_environment_stale(bootstrap: ModuleType) -> None:
    bootstrap.STAMP.write_text(json.dumps(bootstrap.wanted_stamp()))
    (bootstrap.ROOT / "libs" / "two").mkdir()
    (bootstrap.ROOT / "libs" / "two" / "pyproject.toml").write_text("")
    assert [folder.name for folder in bootstrap.members()] == ["one", "two"]
    assert not bootstrap.is_current()


@pytest.mark.parametrize("stamp", ["{}", "", "[1]", '{"root": "/elsewhere"}'])
def test_an_unfinished_or_alien_environment_is_not_current(
    bootstrap: ModuleType, stamp: str
) -> None:
    bootstrap.STAMP.write_text(stamp)
    assert not bootstrap.is_current()


def test_an_environment_whose_python_is_gone_is_not_current(bootstrap: ModuleType) -> None:
    bootstrap.STAMP.write_text(json.dumps(bootstrap.wanted_stamp()))
    bootstrap.PYTHON.unlink()
    bootstrap.PYTHON.symlink_to("/nowhere/python3")
    assert not bootstrap.is_current()


@pytest.mark.parametrize(
    ("output", "cause"),
    [
        ("error: dns error: failed to lookup address", "the first start needs the network"),
        ("OSError: [Errno 28] No space left on device", "the disk is full"),
        ("hash mismatch", "failed:\nhash mismatch"),
    ],
)
def test_a_failed_step_is_explained(bootstrap: ModuleType, output: str, cause: str) -> None:
    error = bootstrap.explained("installing", output)
    assert cause in error.cause
    assert error.cure


def test_a_failed_step_ends_the_setup_with_the_programs_own_words(bootstrap: ModuleType) -> None:
    with pytest.raises(bootstrap.SetupError, match="trouble") as caught:
        bootstrap.run(1, "trying", (sys.executable, "-c", "raise SystemExit('trouble')"))
    assert str(bootstrap.LOG) in caught.value.cure


def test_an_old_python_is_refused_with_what_to_install(tmp_path: Path) -> None:
    for name in ("python3", "python3.14", "python3.13", "python3.12", "python3.11", "python"):
        fake = tmp_path / name
        fake.write_text('#!/bin/sh\n[ "$1" = --version ] && echo Python 3.9.2 && exit 0\nexit 1\n')
        fake.chmod(0o755)
    result = subprocess.run(
        (str(repository_root() / "darkroom"), "status"),
        env={"PATH": f"{tmp_path}:/usr/bin:/bin"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert result.returncode == 1
    assert "this machine has Python 3.9.2" in result.stderr
    assert "apt-get install python3" in result.stderr


def test_the_installer_is_pinned_as_in_the_whole_list() -> None:
    root = repository_root() / "requirements"
    lines = (root / "bootstrap.txt").read_text().splitlines()
    pins = [line for line in lines if line and not line.startswith("#")]
    assert pins[0].startswith("uv==")
    assert "\n".join(pins) in (root / "all.txt").read_text()
