"""Backups, restores and migrations as the command asks the gateway for them."""

import json
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import typer

from darkroom_cli.commands import data
from darkroom_cli.errors import DarkroomError, StackError
from darkroom_cli.gateway_program import ask_gateway
from darkroom_cli.paths import DataFolder
from darkroom_cli.stack import Stack

DONE = {
    **{"photos": 2, "rows": 30, "objects": 4, "schemas": 5, "bytes": 6_000},
    **{"missing": 0, "missing_keys": None},
}


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> list[list[str]]:
    """What the gateway was asked; all goes well. Of a system elsewhere."""
    words: list[list[str]] = []

    def answer(some: Sequence[str], _environment: Mapping[str, str], _tell: object) -> Any:
        words.append(list(some))
        return {**DONE, "revision": "0012"}

    monkeypatch.setattr(data, "ask_gateway", answer)
    monkeypatch.setenv("DARKROOM_DATABASE", "postgresql://elsewhere/darkroom")
    return words


def test_a_system_elsewhere_is_saved_and_put_back_by_its_settings(
    asked: list[list[str]], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    data.backup(tmp_path, as_json=True)
    assert json.loads(capsys.readouterr().out)["photos"] == 2
    data.restore(tmp_path, replace=True, without_schemas=True)
    data.migrate(to="0012", lose_data=True)
    assert asked == [
        ["backup", "--folder", str(tmp_path)],
        ["restore", "--folder", str(tmp_path), "--without-schemas", "--replace"],
        ["migrate", "--to", "0012", "--lose-data"],
    ]
    assert "2 photos" in capsys.readouterr().out


def test_schemas_alone_are_put_back(
    asked: list[list[str]], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    data.restore(tmp_path, schemas_only=True)
    assert asked == [["restore", "--folder", str(tmp_path), "--schemas-only"]]
    assert capsys.readouterr().out == "5 versions of schemas have their ids\n"
    for replace in (True, False):
        with pytest.raises(typer.BadParameter):
            data.restore(tmp_path, replace, without_schemas=not replace, schemas_only=True)


def test_here_they_are_put_back_without_a_catalog(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("DARKROOM_DATABASE", raising=False)
    began: list[Sequence[str]] = []

    @contextmanager
    def started(place: DataFolder, infrastructure: Sequence[str]) -> Iterator[Any]:
        assert place.root == tmp_path
        began.append(infrastructure)
        yield SimpleNamespace(environment={"DARKROOM_REGISTRY": "here"})

    def answer(words: Sequence[str], environment: Mapping[str, str], _tell: object) -> Any:
        assert words[-1] == "--schemas-only"
        assert environment == {"DARKROOM_REGISTRY": "here"}
        return DONE

    monkeypatch.setattr(data, "_started", started)
    monkeypatch.setattr(data, "ask_gateway", answer)
    data.restore(tmp_path / "backup", schemas_only=True, data=tmp_path)
    assert began == [("kafka", "registry")]


def test_what_does_not_run_is_no_setting(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Else the gateway would refuse it, as an address that is none."""
    addresses = {"registry": "http://here", "objects": "file:///objects"}
    monkeypatch.setattr(Stack, "addresses", addresses)
    environment = Stack(tmp_path, (), infrastructure=("registry",)).environment
    assert environment["DARKROOM_REGISTRY"] == "http://here"
    assert not environment.keys() & {"DARKROOM_REDIS", "DARKROOM_KAFKA", "DARKROOM_DATABASE"}


@pytest.mark.parametrize("number", [3, 7])
def test_objects_that_are_missing_are_told_and_end_with_a_code_of_their_own(
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
    asked: list[list[str]],
    number: int,
) -> None:
    keys = [f"originals/{each}" for each in range(number)]
    (tmp_path / "missing.txt").write_text("".join(f"{key}\n" for key in keys))
    lacking = {**DONE, "missing": number, "missing_keys": "missing.txt"}
    monkeypatch.setattr(data, "ask_gateway", lambda *_: lacking)
    with pytest.raises(typer.Exit) as ended:
        data.backup(tmp_path, as_json=True)
    assert ended.value.exit_code == 3
    said = capsys.readouterr()
    assert json.loads(said.out) == lacking
    shown = ", ".join(keys[:5]) + (", …." if number > 5 else ".")
    assert f"{number} objects that the catalog names are not in the store as" in said.err
    assert shown in said.err
    assert str(tmp_path / "missing.txt") in said.err


def test_a_stack_that_is_not_up_is_not_saved(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("DARKROOM_DATABASE", raising=False)
    with pytest.raises(StackError, match="not up"):
        data.backup(tmp_path / "backup", data=tmp_path / "home")


def test_what_is_replaced_is_moved_aside_and_not_deleted(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    home = DataFolder(tmp_path / "home")
    for folder in (*home.kept, home.run):
        folder.mkdir(parents=True)
    (home.objects / "photo").write_bytes(b"photo")
    data._set_aside(home, tmp_path / "backup")
    (aside,) = home.root.glob("before-restore-*")
    assert (aside / "objects" / "photo").read_bytes() == b"photo"
    assert not any(folder.exists() for folder in home.kept)
    assert home.run.exists()
    assert str(aside) in capsys.readouterr().err


def test_a_backup_inside_of_what_goes_is_not_moved_away_with_it(tmp_path: Path) -> None:
    home = DataFolder(tmp_path)
    home.objects.mkdir()
    with pytest.raises(DarkroomError, match="lies inside"):
        data._set_aside(home, home.objects / "backup")
    assert home.objects.exists()


# -- the program -----------------------------------------------------------------------------------


@pytest.fixture
def gateway(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A program instead of Python, which is asked as `-m gateway …`; to be written."""
    script = tmp_path / "python"
    monkeypatch.setattr(sys, "executable", str(script))
    return script


def write(script: Path, text: str) -> None:
    script.write_text(f"#!{_PYTHON}\nimport sys, json\n{text}")
    script.chmod(0o755)


_PYTHON = sys.executable


def test_progress_is_told_and_the_end_is_the_answer(gateway: Path) -> None:
    lines = [{"step": "objects", "done": 1, "of": None}, {"done": {"photos": 1}}]
    write(gateway, f"for line in {lines!r}: print(json.dumps(line))")
    heard: list[tuple[str, int, int | None]] = []
    done = ask_gateway(["backup"], {}, lambda *step: heard.append(step))
    assert done == {"photos": 1}
    assert heard == [("objects", 1, None)]


def test_an_error_has_its_cause_and_cure(gateway: Path) -> None:
    write(gateway, 'print(json.dumps({"error": "It is full.", "cure": "Make room."}))')
    with pytest.raises(DarkroomError) as raised:
        ask_gateway(["backup"], {}, lambda *_: None)
    assert (raised.value.cause, raised.value.cure) == ("It is full.", "Make room.")


def test_a_program_that_breaks_off_shows_its_last_lines(gateway: Path) -> None:
    text = 'print(json.dumps({"step": "objects", "done": 1, "of": 2}), flush=True)'
    write(gateway, f"{text}\nsys.exit('no such module')")
    with pytest.raises(DarkroomError) as raised:
        ask_gateway(["backup"], {}, lambda *_: None)
    assert "ended with 1" in raised.value.cause
    assert "no such module" in raised.value.cure
