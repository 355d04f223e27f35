"""`darkroom bench` runs a benchmark as a program of its own and hands on how it went."""

from collections.abc import Sequence
from pathlib import Path

import pytest
from typer.testing import CliRunner

from darkroom_cli.app import build
from darkroom_cli.commands import bench
from darkroom_cli.errors import SetupError
from darkroom_cli.modules import run_module


def program(folder: Path, text: str) -> None:
    (folder / "measure.py").write_text(text, encoding="utf-8")


def test_the_exit_code_is_the_benchmarks(tmp_path: Path) -> None:
    program(tmp_path, "import sys; sys.exit(len(sys.argv))")
    assert run_module("measure", ["--quick", "--check"], tmp_path) == 3


def test_it_runs_at_the_root_of_the_checkout(tmp_path: Path) -> None:
    program(tmp_path, "import pathlib, sys; sys.exit(not pathlib.Path('measure.py').is_file())")
    assert run_module("measure", [], tmp_path) == 0


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> list[Sequence[str]]:
    """What the benchmark would be run with."""
    calls: list[Sequence[str]] = []

    def note(module: str, arguments: Sequence[str], _root: Path) -> int:
        calls.append((module, *arguments))
        return 0

    monkeypatch.setattr(bench, "run_module", note)
    return calls


def test_options_are_handed_on(asked: list[Sequence[str]], tmp_path: Path) -> None:
    file = tmp_path / "result.json"
    options = ["--quick", "--check", "--only", "stage", "--only", "latency", "--json", str(file)]
    result = CliRunner().invoke(build(), ["bench", "runtime", *options])
    assert result.exit_code == 0, result.output
    told = ("--quick", "--check", "--json", str(file.resolve()), "--only", "stage", "latency")
    assert asked == [("bench.runtime", *told)]


def test_parts_of_the_models_are_handed_on(asked: list[Sequence[str]], tmp_path: Path) -> None:
    file = tmp_path / "result.json"
    options = ["--quick", "--check", "--only", "text", "--only", "people", "--json", str(file)]
    result = CliRunner().invoke(build(), ["bench", "models", *options])
    assert result.exit_code == 0, result.output
    told = ("--quick", "--check", "--json", str(file.resolve()), "--only", "text", "people")
    assert asked == [("bench.models", *told)]


def test_how_many_photos_are_imported_is_handed_on(
    asked: list[Sequence[str]], tmp_path: Path
) -> None:
    file = tmp_path / "result.json"
    options = ["--photos", "2000", "--check", "--json", str(file)]
    result = CliRunner().invoke(build(), ["bench", "import", *options])
    assert result.exit_code == 0, result.output
    told = ("--photos", "2000", "--check", "--json", str(file.resolve()))
    assert asked == [("bench.imports", *told)]


def test_whose_photos_are_learned_from_is_handed_on(
    asked: list[Sequence[str]], tmp_path: Path
) -> None:
    file = tmp_path / "result.json"
    options = ["--folder", str(tmp_path), "--quick", "--check", "--json", str(file)]
    result = CliRunner().invoke(build(), ["bench", "learning", *options])
    assert result.exit_code == 0, result.output
    told = ("--folder", str(tmp_path.resolve()), "--quick", "--check", "--json", str(file))
    assert asked == [("bench.learning", *told)]


def test_labelled_photos_that_are_not_there_are_told_before_anything_runs(
    asked: list[Sequence[str]], tmp_path: Path
) -> None:
    options = ["--folder", str(tmp_path / "none")]
    result = CliRunner().invoke(build(), ["bench", "learning", *options])
    assert isinstance(result.exception, SetupError)
    assert asked == []


@pytest.mark.parametrize("benchmark", ["runtime", "models"])
def test_an_unknown_part_is_refused(asked: list[Sequence[str]], benchmark: str) -> None:
    result = CliRunner().invoke(build(), ["bench", benchmark, "--only", "everything"])
    assert result.exit_code == 2
    assert asked == []


@pytest.mark.parametrize("benchmark", ["runtime", "import", "models", "learning"])
def test_a_folder_that_is_not_there_is_told_before_anything_runs(
    asked: list[Sequence[str]], tmp_path: Path, benchmark: str
) -> None:
    result = CliRunner().invoke(
        build(), ["bench", benchmark, "--json", str(tmp_path / "none" / "result.json")]
    )
    assert isinstance(result.exception, SetupError)
    assert asked == []
