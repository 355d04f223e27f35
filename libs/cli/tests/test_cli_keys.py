"""`darkroom keys`: what the gateway's program is asked, and what is shown of its answer."""

import json
import subprocess
from typing import Any

import pytest
from typer.testing import CliRunner, Result

from darkroom_cli import app
from darkroom_cli.errors import DarkroomError

TOKEN = "dk_5f0c4a7e9b21_secret"  # noqa: S105  # opens nothing
KEY: dict[str, Any] = {
    **{"key_id": "5f0c4a7e9b21", "prefix": "dk_5f0c4a7e9b21", "name": "nas", "role": "uploader"},
    **{"owner": "local", "created_by": "ada", "created_at": "2026-11-24T10:00:00Z"},
    **{"expires_at": None, "revoked_at": None, "last_used_at": None},
}


class Program:
    """The gateway's program, made up."""

    def __init__(self, answer: Any, errors: str = "") -> None:
        self.answer, self.errors = answer, errors
        self.asked: list[dict[str, Any]] = []
        self.argv: tuple[str, ...] = ()
        self.env: dict[str, str] = {}

    def run(self, argv: tuple[str, ...], **given: Any) -> subprocess.CompletedProcess[str]:
        self.argv, self.env = argv, given["env"]
        self.asked.append(json.loads(given["input"]))
        told = self.answer if isinstance(self.answer, str) else json.dumps(self.answer)
        return subprocess.CompletedProcess(argv, 0, told, self.errors)


def run(monkeypatch: pytest.MonkeyPatch, program: Program, *words: str) -> Result:
    monkeypatch.setenv("DARKROOM_DATABASE", "postgresql://elsewhere/darkroom")
    monkeypatch.setattr("darkroom_cli.commands.keys.subprocess.run", program.run)
    return CliRunner().invoke(app.build("keys"), ["keys", *words])


def test_a_new_key_is_alone_on_standard_output(monkeypatch: pytest.MonkeyPatch) -> None:
    program = Program({**KEY, "token": TOKEN})
    made = run(monkeypatch, program, "create", "nas", "--role", "uploader", "--owner", "ada")
    assert (made.exit_code, made.stdout) == (0, f"{TOKEN}\n")
    assert TOKEN not in made.stderr
    (asked,) = program.asked
    assert asked["key"] == {"name": "nas", "role": "uploader", "owner": "ada", "expires_at": None}
    assert asked["by"]
    assert program.argv[1:] == ("-m", "gateway", "keys")
    assert program.env["DARKROOM_DATABASE"] == "postgresql://elsewhere/darkroom"


@pytest.mark.parametrize(
    "words",
    [
        ("create", "nas"),
        ("create", "nas", "--role", "boss"),
        ("create", "nas", "--role", "viewer", "--expires", "soon"),
        ("create", "nas", "--role", "viewer", "--expires", "0d"),
    ],
)
def test_what_can_be_no_key_is_not_asked_for(
    monkeypatch: pytest.MonkeyPatch, words: tuple[str, ...]
) -> None:
    program = Program({})
    assert run(monkeypatch, program, *words).exit_code == 2
    assert program.asked == []


@pytest.mark.parametrize(
    ("changes", "state"),
    [
        ({}, "holds"),
        ({"expires_at": "2999-01-01T00:00:00Z"}, "holds until 2"),
        ({"expires_at": "2020-06-01T00:00:00Z"}, "expired 2020-0"),
        ({"revoked_at": "2020-06-01T00:00:00Z"}, "revoked 2020-0"),
    ],
)
def test_the_list_says_what_holds(
    monkeypatch: pytest.MonkeyPatch, changes: dict[str, Any], state: str
) -> None:
    monkeypatch.setenv("COLUMNS", "200")
    listed = run(monkeypatch, Program({"items": [KEY | changes]}), "list")
    for text in ("nas", "dk_5f0c4a7e9b21_…", "uploader", "never", state):
        assert text in listed.stdout


def test_a_refusal_is_the_users_to_read(monkeypatch: pytest.MonkeyPatch) -> None:
    refused = run(monkeypatch, Program({"error": "there is no key nas"}), "revoke", "nas")
    assert isinstance(refused.exception, DarkroomError)
    assert refused.exception.cause == "there is no key nas"


def test_a_catalog_that_is_away_is_told_in_a_line(monkeypatch: pytest.MonkeyPatch) -> None:
    program = Program("", errors="Traceback\n  more\nOperationalError: connection refused\n")
    refused = run(monkeypatch, program, "list")
    assert isinstance(refused.exception, DarkroomError)
    assert refused.exception.cure == "OperationalError: connection refused"
