"""Poisoned photos: one group in the inbox; after the cure its replay leaves the inbox empty."""

import json
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pytest
from PIL import Image

from darkroom_cli.stack import Stack
from import_watch import rows, start_import, stub_environment
from poison import POISON

POISONED = 200
GOOD = 300
"""More than that, so that the dead letters are no surge: most records succeed."""

WITHIN_S = 180.0


def until(true: Callable[[], Any], what: str) -> Any:
    deadline = time.monotonic() + WITHIN_S
    while not (found := true()):
        assert time.monotonic() < deadline, what
        time.sleep(0.2)
    return found


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Photos of which two in five are blue."""
    made = tmp_path_factory.mktemp("photos")
    chance = np.random.default_rng(1)
    for number in range(POISONED + GOOD):
        pixels = chance.integers(0, 40, (48, 64, 3), dtype=np.uint8)
        pixels[..., 2] += 210 if number % 5 < 2 else 0
        Image.fromarray(pixels).save(made / f"{number:03}.png")
    return made


@pytest.fixture(scope="module")
def poison(tmp_path_factory: pytest.TempPathFactory) -> Path:
    file = tmp_path_factory.mktemp("poison") / "there"
    file.touch()
    return file


@pytest.fixture(scope="module")
def stack(tmp_path_factory: pytest.TempPathFactory, folder: Path, poison: Path) -> Iterator[Stack]:
    env = stub_environment(folder) | {
        "DARKROOM_DETECTOR_ENGINE": "poison:detector",
        "DARKROOM_IMPORT_IN_FLIGHT": "100",
        POISON: str(poison),
    }
    with Stack(tmp_path_factory.mktemp("data"), env=env) as running:
        yield running


def darkroom(stack: Stack, *arguments: str) -> tuple[int, Any]:
    command = [sys.executable, "-m", "darkroom_cli", "failures", *arguments, "--json"]
    command += ["--url", stack.addresses["api"]]
    done = subprocess.run(command, capture_output=True, text=True, timeout=240, check=False)
    assert done.stdout, done.stderr
    return done.returncode, json.loads(done.stdout)


def test_the_cure_and_a_replay_leave_the_inbox_empty_with_changed_outcomes(
    stack: Stack, folder: Path, poison: Path
) -> None:
    batch = start_import(stack, folder)
    with httpx.Client(base_url=stack.addresses["api"], timeout=30) as api:

        def over() -> Any:
            found = api.get(f"/v1/imports/{batch}").json()
            return found if found["completed_at"] else None

        end = until(over, "the import ends")
        assert (end["accepted"], end["partial"]) == (POISONED + GOOD, POISONED)

        _, inbox = darkroom(stack, "list")
        (group,) = inbox["groups"]
        assert (group["stage"], group["code"], group["count"]) == (
            "detector",
            "engine_failed",
            POISONED,
        )
        assert group["reason"] == "The stub can't bear blue."
        assert group["cure"]
        assert all(one["thumbnail"] for one in group["examples"])
        thumbnail = api.get(group["examples"][0]["thumbnail"])
        assert thumbnail.headers["content-type"] == "image/jpeg"

        # Without the cure nothing changes, and that is told.
        code, few = darkroom(stack, "replay", "--stage", "detector", "--limit", "3", "--yes")
        assert (code, few["failed_again"], few["changed"]) == (1, 3, 0)

        poison.unlink()
        code, replay = darkroom(
            stack, "replay", "--stage", "detector", "--code", "engine_failed", "--yes"
        )
        assert (code, replay["state"], replay["total"]) == (0, "done", POISONED)
        assert replay["changed"] == POISONED

        _, inbox = darkroom(stack, "list")
        assert (inbox["count"], inbox["groups"], inbox["letters"]) == (0, [], [])
        shown = api.get(f"/v1/imports/{batch}").json()
        assert (shown["repaired"], shown["failures"]) == (POISONED, [])
    last = rows(
        stack,
        "SELECT revision, partial, count(*) AS photos FROM (SELECT DISTINCT ON (analysis_id) *"
        " FROM outcomes ORDER BY analysis_id, revision DESC) o GROUP BY 1, 2 ORDER BY 1",
    )
    assert [(row["revision"], row["partial"], row["photos"]) for row in last] == [
        (1, False, GOOD),
        (2, False, POISONED),
    ]
    assert rows(stack, "SELECT count(*) AS n FROM photos")[0]["n"] == POISONED + GOOD
    assert rows(stack, "SELECT count(*) AS n FROM analyses")[0]["n"] == POISONED + GOOD

    def marked() -> bool:
        found = rows(
            stack,
            'SELECT count(*) AS n FROM dead_letters WHERE "offset" > coalesce(covered, -1)',
        )
        known = rows(stack, "SELECT count(*) AS n FROM dead_letters")
        return bool(known[0]["n"] >= POISONED) and found[0]["n"] == 0

    until(marked, "the dead letters are marked as done with, too")
