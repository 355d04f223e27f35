"""`darkroom demo --stop`, as a new user runs it."""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import psutil
import pytest


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("demo")


@pytest.fixture(scope="module")
def report(data: Path) -> dict[str, Any]:
    out = data / "demo.json"
    command = [sys.executable, "-m", "darkroom_cli", "demo", "--stop"]
    command += ["--data", str(data / "home"), "--json", str(out)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=240, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    found: dict[str, Any] = json.loads(out.read_text(encoding="utf-8"))
    return found


def named(report: dict[str, Any], part: str) -> dict[str, Any]:
    (photo,) = [p for p in report["photos"] if part in Path(p["path"]).name]
    return dict(photo)


def test_every_file_ends_and_the_sums_hold(report: dict[str, Any]) -> None:
    batch = report["batch"]
    assert batch["found"] == len(report["photos"])
    assert batch["found"] == batch["duplicates"] + batch["rejected"] + batch["accepted"]
    assert batch["accepted"] == batch["auto_labeled"] + batch["suggested"] + batch["review"]
    assert batch["partial"] == 0
    assert batch["accepted"] >= 13


def test_a_cat_is_a_cat_and_coffee_is_coffee(report: dict[str, Any]) -> None:
    assert "cat" in named(report, "chelsea")["labels"][0]["name"].lower()
    assert named(report, "coffee")["labels"][0]["name"] in ("espresso", "cup")


def test_the_turned_document_reads_as_the_upright_one(report: dict[str, Any]) -> None:
    upright, turned = named(report, "document.jpg"), named(report, "document-turned")
    assert "Invoice 4711 of 12 March" in upright["text"]
    assert turned["text"] == upright["text"]


def test_every_bad_file_is_refused_with_a_reason_of_its_own(report: dict[str, Any]) -> None:
    rejected = [photo for photo in report["photos"] if photo["status"] == "rejected"]
    assert len({photo["error"]["code"] for photo in rejected}) == len(rejected) == 4
    assert len({photo["error"]["message"] for photo in rejected}) == 4


def test_a_duplicate_names_its_original_and_has_no_labels_of_its_own(
    report: dict[str, Any],
) -> None:
    (duplicate,) = [photo for photo in report["photos"] if photo["status"] == "duplicate"]
    assert "astronaut" in duplicate["duplicate_of"]
    assert duplicate["labels"] is None


def test_the_report_tells_versions_times_and_memory(report: dict[str, Any]) -> None:
    assert set(report["components"]) == {"kafka", "registry", "postgres", "redis"}
    assert all(report["components"].values())
    assert 0 < report["ready_s"] < report["total_s"] < 240
    assert {"kafka", "detector", "gateway-api"} <= set(report["pss_mb"])
    assert 500 < sum(report["pss_mb"].values()) < 5 * 1024


def test_no_process_is_left(report: dict[str, Any], data: Path) -> None:
    left = [
        process.pid
        for process in psutil.process_iter(["cmdline", "environ"])
        if str(data) in " ".join(process.info["cmdline"] or [])
        or str(data) in (process.info["environ"] or {}).get("DARKROOM_HOME", "")
    ]
    assert left == []
