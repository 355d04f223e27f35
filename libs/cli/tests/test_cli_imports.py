"""The words `import` and `imports`: options, output, exit codes."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console
from typer.testing import CliRunner

from darkroom_cli.app import build
from darkroom_cli.client import Gateway, GatewayAwayError
from darkroom_cli.show_imports import imports_table

ID = "5f0c4a7e-3a53-5b0f-9a55-0d7f0f4f2a11"
OTHER = "5f9c4a7e-3a53-5b0f-9a55-0d7f0f4f2a12"
HOSTILE = "[bold]x\x1b[31m"


def batch(**more: Any) -> dict[str, Any]:
    none = ("auto_labeled", "suggested", "rejected", "duplicates", "cancelled", "partial")
    unknown = ("rate", "eta_s", "eta_low_s", "eta_high_s", "paused_by", "paused_until", "waits_for")
    return {
        **dict.fromkeys((*none, "repaired", "pending", "in_flight", "failures_of"), 0),
        **dict.fromkeys(unknown),
        "batch_id": ID,
        "title": HOSTILE,
        "roots": ["/photos"],
        "state": "completed",
        "expected": 1,
        "found": 1,
        "accepted": 1,
        "review": 1,
        "failures": [],
        "elapsed_s": 3.0,
        **more,
    }


FAILURES = {
    "reasons": [
        {
            **{"kind": "stage_failed", "stage": "ocr", "code": "gave_up"},
            **{"message": HOSTILE, "count": 2, "paths": [f"/a/{HOSTILE}"]},
        }
    ],
    "items": [
        {
            **{"index": 0, "path": "/a/b", "kind": "rejected", "stage": None},
            **{"code": "x", "message": "It is torn.", "photo_id": None},
        }
    ],
    "next": "more",
}


class FakeGateway(Gateway):
    """Answers that a test sets, and what it was asked."""

    def __init__(self) -> None:
        self.asked: list[tuple[Any, ...]] = []
        self.standing: Any = batch()
        self.pieces: list[Any] = [b"index,path\r\n"]

    def start_import(self, *asked: Any) -> dict[str, Any]:
        self.asked.append(("folder", *asked))
        return batch(state="scanning")

    def start_store(self, *asked: Any) -> dict[str, Any]:
        self.asked.append(("store", *asked))
        return batch(state="scanning")

    def start_archive(self, *asked: Any) -> dict[str, Any]:
        self.asked.append(("archive", *asked))
        return batch(state="scanning")

    def batch(self, batch_id: str) -> dict[str, Any]:
        if isinstance(self.standing, BaseException):
            raise self.standing
        return dict(self.standing)

    def imports(self, limit: int) -> list[dict[str, Any]]:
        return [batch(), batch(batch_id=OTHER, state="running", expected=None)]

    def items(self, batch_id: str) -> Iterator[dict[str, Any]]:
        yield {
            **{"index": 0, "path": f"/a/{HOSTILE}", "status": "rejected", "photo": None},
            **{"duplicate_of": None, "duplicate_of_path": None, "error": {"message": "torn"}},
        }

    def command(self, *asked: Any) -> dict[str, Any]:
        self.asked.append(asked)
        return batch(state="paused", paused_by="ada")

    def failures(self, batch_id: str, limit: int) -> dict[str, Any]:
        return FAILURES

    def report(self, batch_id: str, form: str) -> Iterator[bytes]:
        self.asked.append((batch_id, form))
        for piece in self.pieces:
            if isinstance(piece, Exception):
                raise piece
            yield piece


@pytest.fixture
def gateway(monkeypatch: pytest.MonkeyPatch) -> FakeGateway:
    fake = FakeGateway()
    monkeypatch.setattr("darkroom_cli.door.gateway", lambda _url, _data: fake)
    return fake


def run(*words: str) -> tuple[int, str]:
    result = CliRunner().invoke(build(), list(words))
    return result.exit_code, result.output


def test_an_import_is_watched_to_its_end_and_told(gateway: FakeGateway, tmp_path: Path) -> None:
    code, out = run("import", str(tmp_path), "--include", "*.jpg", "--hidden")
    assert code == 0
    assert gateway.asked == [
        ("folder", [tmp_path], "batch", {"include": ["*.jpg"], "exclude": [], "hidden": True})
    ]
    assert "completed: 1 of 1 files" in out
    assert out.endswith(
        "1 files: 0 auto-labelled, 0 suggested, 1 to review, 0 rejected, 0 duplicates\n"
    )


def test_its_json_has_the_import_and_every_file(gateway: FakeGateway, tmp_path: Path) -> None:
    code, out = run("import", str(tmp_path), "--json")
    told = json.loads(out)
    assert (code, told["batch"]["batch_id"]) == (0, ID)
    assert [each["index"] for each in told["photos"]] == [0]


def test_a_detached_one_is_named_with_how_to_watch_and_cancel_it(
    gateway: FakeGateway, tmp_path: Path
) -> None:
    code, out = run("import", str(tmp_path), "--detach")
    assert code == 0
    for part in (ID, "darkroom imports show 5f0c4a7e --follow", "darkroom imports cancel 5f0c4a7e"):
        assert part in out
    assert json.loads(run("import", str(tmp_path), "-d", "--json")[1])["batch"]["batch_id"] == ID


def test_ctrl_c_ends_the_watching_and_says_that_the_import_goes_on(
    gateway: FakeGateway, tmp_path: Path
) -> None:
    gateway.standing = KeyboardInterrupt()
    code, out = run("import", str(tmp_path))
    assert code == 130
    assert "The import goes on" in out
    assert "darkroom imports cancel 5f0c4a7e" in out


@pytest.mark.parametrize(
    ("state", "code"), [("completed", 0), ("completed_with_failures", 0), ("cancelled", 1)]
)
def test_the_exit_code_says_whether_it_was_cancelled(
    gateway: FakeGateway, tmp_path: Path, state: str, code: int
) -> None:
    gateway.standing = batch(state=state)
    assert run("import", str(tmp_path))[0] == code
    assert run("imports", "show", ID, "--follow")[0] == code


def test_archives_and_stores_are_asked_for(gateway: FakeGateway, tmp_path: Path) -> None:
    archive = tmp_path / "trip.zip"
    archive.write_bytes(b"PK")
    assert run("import", "--archive", str(archive), "--exclude", "raw/*")[0] == 0
    assert run("import", "--store", "s3://b/2026", "--lane", "default")[0] == 0
    none = {"include": [], "exclude": [], "hidden": False}
    assert gateway.asked == [
        ("archive", archive, "batch", none | {"exclude": ["raw/*"]}),
        ("store", "s3://b/2026", "default", none),
    ]


@pytest.mark.parametrize(
    "words",
    [
        (),
        (".", "--store", "s3://b"),
        ("--upload", "--store", "s3://b"),
        (".", "--upload", "--include", "*.jpg"),
    ],
    ids=["nothing", "two origins", "an upload of a store", "an upload with patterns"],
)
def test_what_does_not_go_together_is_refused(gateway: FakeGateway, words: tuple[str, ...]) -> None:
    code, _ = run("import", *words)
    assert (code, gateway.asked) == (2, [])


@pytest.mark.parametrize(("text", "meant"), [("last", ID), ("5f0c", ID), (OTHER, OTHER)])
def test_an_import_is_named_by_its_id_its_beginning_or_last(
    gateway: FakeGateway, text: str, meant: str
) -> None:
    code, _ = run("imports", "cancel", text)
    assert (code, gateway.asked[0][:2]) == (0, (meant, "cancel"))
    assert gateway.asked[0][2]["by"]


@pytest.mark.parametrize("text", ["5f", "zzz"])
def test_what_names_none_or_two_is_refused(gateway: FakeGateway, text: str) -> None:
    code, out = run("imports", "pause", text)
    assert (code, gateway.asked) == (1, [])
    assert "see `darkroom imports list`" in out


def test_a_pause_may_end_by_itself(gateway: FakeGateway) -> None:
    code, out = run("imports", "pause", "last", "--minutes", "90")
    assert (code, gateway.asked[0][2]["for_s"]) == (0, 5400)
    assert "paused by ada" in out
    assert "for_s" not in str(run("imports", "resume", "last")) + str(gateway.asked[1])


@pytest.mark.parametrize("words", [("list",), ("show", ID), ("failures", ID)])
def test_names_are_shown_and_never_obeyed(gateway: FakeGateway, words: tuple[str, ...]) -> None:
    gateway.standing = batch(failures=FAILURES["reasons"], rejected=2)
    code, out = run("imports", *words)
    assert code == 0
    assert r"[bold]x\x1b[31m" in out.replace("\n", "")
    assert "\x1b" not in out
    code, out = run("imports", *words, "--json")
    assert code == 0
    json.loads(out)


def test_a_report_is_written_wholly_or_not_at_all(gateway: FakeGateway, tmp_path: Path) -> None:
    file = tmp_path / "report.csv"
    assert run("imports", "report", ID, str(file))[0] == 0
    assert file.read_bytes() == b"index,path\r\n"
    assert run("imports", "report", "last")[1] == "index,path\n"
    gateway.pieces = [b"half", GatewayAwayError("the report was broken off")]
    code, out = run("imports", "report", ID, str(file))
    assert (code, file.read_bytes()) == (1, b"index,path\r\n")
    assert "broken off" in out
    assert list(tmp_path.iterdir()) == [file]
    assert run("imports", "report", ID, str(tmp_path / "report.pdf"))[0] == 2
    assert gateway.asked[0] == (ID, "csv")


def test_at_eighty_columns_the_pace_of_an_import_is_still_read() -> None:
    state = {"state": "completed_with_failures", "expected": 12_345, "elapsed_s": 6.0}
    console = Console(width=80)
    with console.capture() as said:
        console.print(imports_table([batch(title="/home/ada/photos of the summer", **state)]))
    lines = said.get().splitlines()
    assert max(len(one) for one in lines) <= 80
    (row,) = (one for one in lines if ID[:8] in one)
    assert "/home/ada/ph" in row
    assert row.rstrip().endswith("took 6 s")
