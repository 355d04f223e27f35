"""Folders for labels, and what people read of labels and reviews."""

from pathlib import Path
from typing import Any

import pytest
from rich.console import Console
from typer.testing import CliRunner

from darkroom_cli import show_labels, show_precision
from darkroom_cli.app import build
from darkroom_cli.client import GatewayError
from darkroom_cli.label_folders import label_folders

HOSTILE = "[bold]x\x1b[31m"


def files(root: Path, *names: str) -> Path:
    for name in names:
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text("photo")
    return root


def test_folders_mean_labels_that_are_known_however_they_are_written(tmp_path: Path) -> None:
    root = files(tmp_path, "BUS_Ticket/1.jpg", "letter/a/1.jpg", "None/1.jpg", "beside.jpg")
    files(root, ".git/1.jpg", "hidden/.1.jpg")
    (root / "empty").mkdir()
    (root / "link").symlink_to(root / "letter")
    found = label_folders(root, ["bus ticket", "receipt"])
    assert found.folders == {
        root / "BUS_Ticket": "bus ticket",
        root / "letter": "letter",
        root / "None": None,
    }
    assert found.labels == ["bus ticket", "letter"]
    assert found.outside == ("beside.jpg",)


def test_two_spellings_of_a_new_label_are_one_label(tmp_path: Path) -> None:
    found = label_folders(files(tmp_path, "Bus_ticket/1.jpg", "bus ticket/2.jpg"), [])
    assert found.labels == ["Bus_ticket"]
    assert set(found.paths.values()) == {"Bus_ticket"}


def test_paths_are_those_that_an_import_shows(tmp_path: Path) -> None:
    found = label_folders(files(tmp_path, "back\\slash/1.jpg"), [])
    assert found.paths == {f"{tmp_path}/back\\\\slash": "back\\slash"}


@pytest.mark.parametrize("names", [(), ("1.jpg",), ("a/.b/1.jpg",)])
def test_without_folders_there_is_nothing_to_import(tmp_path: Path, names: tuple[str, ...]) -> None:
    with pytest.raises(GatewayError, match="has no folders with photos"):
        label_folders(files(tmp_path, *names), [])


def test_a_folder_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(GatewayError, match="can't be read"):
        label_folders(tmp_path / "gone", [])


def test_nothing_from_outside_reaches_the_terminal_as_it_is() -> None:
    count = {**dict.fromkeys(("person", "review", "folder", "auto", "examples"), 1)}
    verdict = {"sentence": f"Needs 1 more of `{HOSTILE}`.", "enough": False}
    a_set: Any = {"name": "s", "labels": [HOSTILE], "examples": 1, "verdict": verdict}
    a_set["warning"] = f"The version in use still gives `{HOSTILE}`."
    item: Any = {
        **{"photo_id": "p", "file_name": HOSTILE, "calibrated": False, "leased_until": "x" * 25},
        "audit": False,
        "labels": [{"name": HOSTILE, "confidence": 0.5}],
        "links": {"rendition": None, "thumbnail": "/t"},
    }
    waits: Any = {"by_label": [{"waiting": 1, "outcome": "review", "label": HOSTILE}]}
    kinds = dict.fromkeys(("answers", "confirm", "correct", "none", "skip"), 1)
    some: Any = {"answers": 9, "precision": 0.9, "low": 0.8, "high": 0.95}
    right: Any = {"label": HOSTILE, "audits": some, "asked": some}
    would: Any = {"now": "review", "then": "auto_labeled", "photos": 1, "samples": []}
    new: Any = {
        **{"label": HOSTILE, "state": "not_reached", "answers": 9, "missing": None, "now": None},
        **{"thresholds": None, "precision": 0.9, "low": 0.8, "changes": [would]},
    }
    tables = (
        show_precision.precision_table({"audits": some, "items": [right]}),
        show_precision.suggestions_table({"items": [new]}),
        show_precision.changes_table([new]),
        show_labels.sets_table([a_set]),
        show_labels.set_table({"counts": [{"label": HOSTILE, **count}]}),
        show_labels.refused_table([{"path": HOSTILE, "message": HOSTILE}] * 30),
        show_labels.reviews_table([item], "http://door"),
        show_labels.waiting_table(waits),
        show_labels.today_table({"today": [{"reviewer": HOSTILE, **kinds}]}),
        show_labels.verdict(a_set),
        show_labels.warning(a_set),
    )
    console = Console(width=200, force_terminal=True, highlight=False)
    for table in tables:
        with console.capture() as said:
            console.print(table)
        assert "\x1b[31m" not in said.get()
        assert "[bold]x\\x1b[31m" in said.get()


def test_a_reviewer_is_told_where_to_look_and_who_refused_how_much() -> None:
    item: Any = {
        **{"photo_id": "p", "file_name": None, "calibrated": True, "labels": []},
        **{"leased_until": "2026-11-24T10:02:00Z", "audit": True},
        "links": {"rendition": None, "thumbnail": "/t"},
    }
    console = Console(width=200)
    with console.capture() as said:
        console.print(show_labels.reviews_table([item], "http://door"))
        console.print(show_labels.refused_table([{"path": "x", "message": "y"}] * 30))
    for words in ("http://door/t", "audit", "nothing was found", "10:02:00", "and 10 more"):
        assert words in said.get()


def test_suggested_thresholds_say_when_photos_of_before_change(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    thresholds = {"auto_above": 0.7, "review_below": 0.5}
    would = {"now": "review", "then": "auto_labeled", "photos": 1, "samples": []}
    one = {
        **{"label": "cat", "state": "suggested", "answers": 30, "missing": None, "now": None},
        **{"thresholds": thresholds, "precision": 1.0, "low": 0.96, "changes": [would]},
    }

    class Answers:
        def policy_suggestions(self, *_: Any) -> Any:
            return {"target": 0.95, "revision": 1, "items": [one]}

        def policy(self) -> Any:
            return {"revision": 1, "policy": {**thresholds, "labels": {}}}

        def change_policy(self, _wanted: Any) -> Any:
            return {"revision": 2}

    monkeypatch.setattr("darkroom_cli.door.gateway", lambda *_: Answers())
    done = CliRunner().invoke(build("policy"), ["policy", "suggest", "--apply"])
    assert done.exit_code == 0, done.output
    said = " ".join(done.output.split())
    later = "when they are labelled again: after your own labels were learned anew, or by"
    assert f"Photos of before change {later} `darkroom reprocess`." in said
    assert f"Revision 2 routes what is handed in from now on; photos of before {later}" in said
