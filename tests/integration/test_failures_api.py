"""The inbox of failures by REST and by the command."""

import json
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from structlog.testing import capture_logs
from typer.testing import CliRunner

from catalog_seed import Look, Seed, Seeded, picture
from darkroom_cli.app import build
from gateway import db
from gateway.catalog import audit
from gateway.catalog.outbox import Outbox
from gateway.control.replays import Replayer

Darkroom = Callable[..., tuple[int, str]]


@pytest.fixture
def darkroom(door: str) -> Darkroom:
    """`darkroom failures …` against the door: exit code, output."""

    def run(*words: str) -> tuple[int, str]:
        command = ["failures", *words, "--url", door]
        done = CliRunner().invoke(build("failures"), command, env={"COLUMNS": "200"})
        return done.exit_code, done.output

    return run


def poisoned(seed: Seed, number: int, code: str = "engine_failed") -> Seeded:
    photo = seed.requested(f"{number}.jpg", picture(f"#{number * 40:02x}2244"))
    seed.parts(photo, Look(), detector=False)
    seed.stage_failed(photo, "detector", code, "The model broke.")
    seed.outcome(photo, Look(outcome="review"), failed=("detector",))
    return photo


def mended(seed: Seed, photo: Seeded) -> None:
    seed.parts(photo, Look())
    seed.outcome(photo, Look(), revision=2)


@pytest.fixture
def control(database: str, outbox: Outbox, objects: Path) -> Iterator[list[Seeded]]:
    """A control door's replays; a detector that looks at the photos in the list once asked."""
    photos: list[Seeded] = []
    stop = threading.Event()

    def work() -> None:
        with db.connect(database, name="replays") as conn:
            replayer, made = Replayer(outbox), Seed(conn, objects)
            while not stop.wait(0.05):
                replayer.turn(conn)
                rows = conn.execute(
                    "SELECT analysis_id::text FROM failure_replay_items"
                    " WHERE sent_at IS NOT NULL AND ended_at IS NULL"
                )
                asked = {row["analysis_id"] for row in rows}
                for photo in [one for one in photos if one.analysis_id in asked]:
                    mended(made, photo)

    thread = threading.Thread(target=work)
    with capture_logs():  # they would stand amid what commands print
        thread.start()
        yield photos
        stop.set()
        thread.join(10)


def test_a_replay_is_begun_followed_and_listed(
    client: httpx.Client, seed: Seed, conn: db.Conn, outbox: Outbox
) -> None:
    photos = [poisoned(seed, number) for number in range(3)]
    seed.rejected("notes.txt", "not_an_image", "It is plain text.")
    inbox = client.get("/v1/failures").json()
    assert [(one["stage"], one["count"]) for one in inbox["groups"]] == [
        ("detector", 3),
        ("intake", 1),
    ]
    example = inbox["groups"][0]["examples"][0]
    assert client.get(example["thumbnail"]).status_code == 200
    assert inbox["groups"][1]["examples"][0]["thumbnail"] is None

    asked = {"filter": {"stage": "detector"}, "by": "ada"}
    dry = client.post("/v1/failures/replay", json={**asked, "dry_run": True})
    assert (dry.status_code, dry.json()) == (200, {"count": 3, "beyond": 0})
    begun = client.post("/v1/failures/replay", json=asked)
    assert (begun.status_code, begun.json()["state"], begun.json()["total"]) == (202, "running", 3)
    assert begun.json()["filter"]["stage"] == "detector"
    Replayer(outbox).turn(conn)
    for photo in photos:
        mended(seed, photo)
    Replayer(outbox).turn(conn)
    address = f"/v1/failures/replays/{begun.json()['replay_id']}"
    end = client.get(address).json()
    assert (end["state"], end["changed"]) == ("done", 3)
    assert end["ended_at"]
    assert client.get("/v1/failures/replays").json()["items"] == [end]
    assert client.post(f"{address}/stop").json() == end, "there was nothing left to stop"
    assert client.get("/v1/failures").json()["count"] == 1
    assert client.get(f"/v1/failures/replays/{photos[0].photo_id}").status_code == 404


def test_items_are_paged_filtered_discarded_and_restored(
    client: httpx.Client, seed: Seed, conn: db.Conn
) -> None:
    photos = [poisoned(seed, number) for number in range(5)]
    batch = seed.batch(photos[:2], {})
    seen: list[str] = []
    cursor = None
    while True:
        query = {"limit": 2, **({"cursor": cursor} if cursor else {})}
        page = client.get("/v1/failures/items", params=query).json()
        seen += [one["failure_id"] for one in page["items"]]
        cursor = page["next"]
        if cursor is None:
            break
    assert seen == [f"{one.analysis_id}:detector" for one in reversed(photos)]

    def count(**query: Any) -> int:
        answer = client.get("/v1/failures/items", params=query)
        assert answer.status_code == 200, answer.text
        return len(answer.json()["items"])

    assert (count(batch=batch), count(stage="ocr"), count(code="engine_failed")) == (2, 0, 5)
    wanted = {"filter": {"failures": seen[:2]}, "reason": "screenshots", "by": "ada"}
    assert client.post("/v1/failures/discard", json=wanted).json() == {"count": 2}
    assert (count(), count(state="discarded")) == (3, 2)
    back = {"filter": {"failures": seen[:1]}, "by": "bob"}
    assert client.post("/v1/failures/restore", json=back).json() == {"count": 1}
    assert (count(), client.get("/v1/failures").json()["discarded"]) == (4, 1)
    found, _ = audit.entries(conn, what="failures", limit=5)
    assert [(entry.who, entry.detail["count"]) for entry in found] == [("bob", 1), ("ada", 2)]


@pytest.mark.parametrize(
    ("path", "body"),
    [
        ("replay", {"filter": {"stages": "ocr"}}),
        ("replay", {"filter": {"stage": "eyes"}}),
        ("replay", {"filter": {"failures": ["x:ocr"]}}),
        ("replay", {"filter": {}, "lane": "high"}),
        ("replay", {}),
        ("discard", {"filter": {}}),
        ("discard", {"filter": {}, "reason": ""}),
    ],
)
def test_what_means_nothing_is_refused(client: httpx.Client, path: str, body: Any) -> None:
    assert client.post(f"/v1/failures/{path}", json=body).status_code == 422


def test_foreign_cursors_are_refused(client: httpx.Client) -> None:
    for cursor in ("x", "WzFd", "WyIyMDI2LTAxLTAxIiwieCJd"):
        answer = client.get("/v1/failures/items", params={"cursor": cursor})
        assert (answer.status_code, answer.json()["code"]) == (422, "invalid_cursor")


def test_the_command_shows_replays_and_discards(
    darkroom: Darkroom, seed: Seed, control: list[Seeded]
) -> None:
    assert darkroom("list") == (0, "No photo failed.\n")
    photos = [poisoned(seed, number) for number in range(3)]
    code, told = darkroom("list")
    assert "3 × The model broke." in told
    assert "What helps: " in told
    assert "Then: darkroom failures replay --stage detector --code engine_failed" in told
    short = photos[0].analysis_id[:8]
    code, told = darkroom("show", short)
    assert code == 0
    assert "0.jpg" in told
    assert "failed: engine_failed: The model broke." in told
    assert short in darkroom("list", "--each")[1]

    assert darkroom("discard", short, "--reason", "a screenshot", "--yes") == (
        0,
        "1 failure discarded.\n",
    )
    assert "a screenshot" in darkroom("list", "--state", "discarded")[1]
    assert darkroom("replay", "--all", "--dry-run") == (0, "2 failures would be tried again.\n")
    assert darkroom("restore", short) == (0, "1 failure put back.\n")

    control += photos
    code, told = darkroom("replay", "--stage", "detector", "--yes")
    assert (code, told.splitlines()[-1]) == (0, "3 failures: 3 whole now")
    assert darkroom("replay", "--all", "--yes") == (0, "0 failures would be tried again.\n")
    (replay,) = json.loads(darkroom("replays", "--json")[1])
    assert (replay["state"], replay["changed"]) == ("done", 3)
    assert darkroom("list") == (0, "No photo failed.\n")


def test_the_command_wants_to_know_which_and_why(darkroom: Darkroom, seed: Seed) -> None:
    poisoned(seed, 1)
    assert darkroom("replay")[0] == 2
    assert darkroom("discard", "--all", "--reason", " ")[0] == 2
    code, told = darkroom("show", "ffffffff")
    assert code == 1
    assert "no failure has an id that begins with 'ffffffff'" in told
    assert darkroom("list", "--stage", "eyes")[0] == 2


def test_a_replay_that_mends_nothing_ends_with_an_error(
    darkroom: Darkroom, seed: Seed, control: list[Seeded], conn: db.Conn
) -> None:
    seed.rejected("notes.txt", "not_an_image", "It is plain text.")
    code, told = darkroom("replay", "--all", "--yes", "--json")
    assert (code, json.loads(told)["impossible"]) == (1, 1)
