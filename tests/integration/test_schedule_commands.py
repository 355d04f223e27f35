"""Schedules and sources as people use them: the command and REST, in front of a door that leads."""

import json
import threading
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import httpx
import pytest
from structlog.testing import capture_logs
from typer.testing import CliRunner

from api_door import api_door, door_settings
from darkroom_cli.app import build
from darkroom_cli.commands.sources import name_of
from gateway import db, locks
from gateway.catalog.outbox import Outbox
from gateway.catalog.schedules import SYNC
from gateway.control.duty import Duty
from gateway.control.job_run import Job
from gateway.control.schedules import Schedules
from gateway.control.sync import Sync
from gateway.control.tidying import Kept, retention_job, statistics_job
from gateway.origins import OriginMeans, open_origin
from import_kit import fill
from infrastructure import Infrastructure
from streamkit import ObjectStore

Darkroom = Callable[..., tuple[int, str]]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    made = tmp_path / "My Photos"
    made.mkdir()
    fill(made, a="1", b="2")
    return made


@pytest.fixture
def door(
    infrastructure: Infrastructure, database: str, outbox: Outbox, tmp_path: Path
) -> Iterator[str]:
    """The api door, and a control door with its jobs."""
    (tmp_path / "shelf").mkdir()
    settings = door_settings(
        infrastructure,
        database,
        tmp_path,
        stores=(f"file://{tmp_path}/shelf",),
        import_roots=(tmp_path,),
    )
    store = ObjectStore(settings.objects, settings.stores)
    sync = Sync(outbox, partial(open_origin, means=OriginMeans(store)), settle_s=0)
    connect = partial(db.connect, database, name="test-job")
    jobs = (statistics_job(), retention_job(store, Kept()))
    schedules = Schedules(connect, jobs, {SYNC: Job("sync:*", "", sync.run)})
    stop = threading.Event()
    leads = Duty("schedules", locks.SCHEDULES, connect, schedules.work)
    thread = threading.Thread(target=leads.run, args=(stop,))
    try:
        with capture_logs(), api_door(settings) as url:  # logs would stand in the output
            thread.start()
            yield url
    finally:
        stop.set()
        thread.join(10)
        assert not thread.is_alive()


@pytest.fixture
def client(door: str) -> Iterator[httpx.Client]:
    with httpx.Client(base_url=door, timeout=20) as client:
        yield client


@pytest.fixture
def darkroom(door: str, tmp_path: Path) -> Darkroom:
    """Run the command; its exit code and what it printed."""

    def run(*words: str) -> tuple[int, str]:
        env = {"DARKROOM_URL": door, "DARKROOM_HOME": str(tmp_path / "none"), "COLUMNS": "200"}
        result = CliRunner().invoke(build(), list(words), env=env)
        return result.exit_code, result.output

    return run


def as_json(told: tuple[int, str]) -> Any:
    code, text = told
    assert code == 0, text
    return json.loads(text)


def test_a_job_is_run_looked_at_and_given_another_time(darkroom: Darkroom) -> None:
    run = as_json(darkroom("schedules", "run", "statistics", "--wait", "--by", "ada", "--json"))
    assert (run["state"], run["reason"], run["asked_by"]) == ("done", "person", "ada")
    code, text = darkroom("schedules", "set", "retention", "30 4 * * *")
    assert (code, "At 04:30 every day" in text) == (0, True)
    assert darkroom("schedules", "disable", "retention")[0] == 0
    listed = as_json(darkroom("schedules", "list", "--json"))
    assert {(job["name"], job["schedule"], job["enabled"]) for job in listed} == {
        ("retention", "30 4 * * *", False),
        ("statistics", "5 * * * *", True),
    }
    assert "disabled" in darkroom("schedules", "list")[1]
    assert "At 04:30" in darkroom("schedules", "enable", "retention")[1]
    assert [
        one["state"] for one in as_json(darkroom("schedules", "history", "statistics", "--json"))
    ] == ["done"]
    assert "ada" in darkroom("schedules", "history", "statistics")[1]
    assert "not run yet" in darkroom("schedules", "history", "retention")[1]
    changes = as_json(darkroom("audit", "schedule", "--json"))
    assert [one["what"] for one in changes] == ["schedule.changed"] * 3 + ["schedule.asked"]


@pytest.mark.parametrize(
    "words",
    [
        ("schedules", "run", "nothing"),
        ("schedules", "history", "nothing"),
        ("schedules", "set", "statistics", "every day"),
        ("schedules", "set", "statistics", "0 0 30 2 *"),
        ("sources", "show", "nothing"),
        ("sources", "add", "/"),
        ("sources", "add", "s3://bucket/a"),
    ],
)
def test_what_can_not_be_is_refused_in_a_sentence(darkroom: Darkroom, words: list[str]) -> None:
    code, text = darkroom(*words)
    assert code == 1
    assert text.startswith("darkroom: ")
    assert len(text.splitlines()) == 1


def test_statistics_are_there_once_they_were_reckoned(
    darkroom: Darkroom, client: httpx.Client
) -> None:
    assert client.get("/v1/statistics").json()["code"] == "not_reckoned"
    darkroom("schedules", "run", "statistics", "--wait")
    told = client.get("/v1/statistics").json()
    assert (told["statistics"]["total"], told["statistics"]["success_rate"]) == (0, None)


def test_a_source_from_its_beginning_to_its_end(
    darkroom: Darkroom, client: httpx.Client, folder: Path, conn: db.Conn
) -> None:
    source = as_json(
        darkroom(
            "sources", "add", str(folder), "--schedule", "*/15 * * * *", "--by", "ada", "--json"
        )
    )
    assert (source["name"], source["place"], source["kind"]) == ("My-Photos", str(folder), "folder")
    job, name = source["job"]["name"], source["name"]
    run = as_json(darkroom("sources", "run", name, "--wait", "--json"))
    reports = [one["report"] for one in as_json(darkroom("schedules", "history", job, "--json"))]
    assert sorted(report["new"] for report in reports) in ([2], [0, 2])
    assert run["state"] == "done"
    (batch,) = client.get("/v1/imports").json()["items"]
    assert (batch["kind"], batch["lane"], batch["state"]) == ("folder", "default", "scanning")

    (folder / "b.jpg").unlink()
    code, text = darkroom("sources", "run", name, "--wait")
    assert (code, "1 as they were, 1 gone" in text) == (0, True)
    shown = as_json(darkroom("sources", "show", name, "--json"))
    assert (shown["source"]["files"], shown["source"]["gone"]) == (1, 1)
    assert "Every 15th minute" in darkroom("sources", "show", name)[1]
    assert "1 (1 gone)" in darkroom("sources", "list")[1]

    assert darkroom("schedules", "set", job, "0 * * * *")[0] == 1  # it is the source's
    changed = as_json(
        darkroom("sources", "set", name, "--by-hand", "--deletions", "forget", "--json")
    )
    assert (changed["job"]["schedule"], changed["deletions"]) == (None, "forget")
    assert "disabled" in darkroom("sources", "disable", name)[1]

    code, text = darkroom("sources", "remove", name)
    assert (code, "Cancel that" in text) == (1, True)
    conn.execute("UPDATE batches SET state = 'running', sealed = true")
    assert darkroom("sources", "remove", name)[0] == 0
    assert as_json(darkroom("sources", "list", "--json")) == []
    assert client.get("/v1/schedules").json()["items"][0]["name"] == "retention"


def test_a_drive_that_went_fails_the_look_and_is_told(
    darkroom: Darkroom, folder: Path, conn: db.Conn
) -> None:
    darkroom("sources", "add", str(folder), "--name", "nas")
    code, text = darkroom("sources", "run", "nas", "--wait")
    assert code == 0, text
    folder.rename(folder.parent / "elsewhere")
    code, text = darkroom("sources", "run", "nas", "--wait")
    assert (code, "can't be looked through" in text) == (1, True)
    (notice,) = conn.execute("SELECT kind, subject FROM notices").fetchall()
    assert notice == {"kind": "job_failed", "subject": "sync:nas"}


def test_a_store_is_a_source_too(darkroom: Darkroom, tmp_path: Path) -> None:
    fill(tmp_path / "shelf", a="1")
    source = as_json(darkroom("sources", "add", f"file://{tmp_path}/shelf", "--json"))
    assert (source["name"], source["kind"]) == ("shelf", "store")
    assert darkroom("sources", "add", f"file://{tmp_path}/shelf")[0] == 1  # the name is taken


@pytest.mark.parametrize(
    "body",
    [
        {"name": "a b", "path": "/x"},
        {"name": "a"},
        {"name": "a", "path": "/x", "uri": "s3://x"},
        {"name": "a", "path": "/x", "schedule": "* * * * * *"},
        {"name": "a", "path": "/x", "deletions": "delete"},
        {"name": "a", "path": "/x", "include": ["/"]},
    ],
)
def test_a_source_that_makes_no_sense_is_not_added(
    client: httpx.Client, body: dict[str, Any]
) -> None:
    assert client.post("/v1/sources", json=body).status_code == 422
    assert client.get("/v1/sources").json() == {"items": []}


def test_a_history_goes_on_where_a_page_ended(client: httpx.Client, conn: db.Conn) -> None:
    for day in range(1, 4):
        conn.execute(
            "INSERT INTO job_runs (run_id, job, reason, due_at, started_at, ended_at, state)"
            " SELECT gen_random_uuid(), 'statistics', 'schedule', at, at, at, 'done'"
            " FROM (SELECT make_date(2026, 1, %s)::timestamptz AS at) d",
            (day,),
        )
    address = "/v1/schedules/statistics/runs"
    first = client.get(address, params={"limit": 2}).json()
    second = client.get(address, params={"limit": 2, "cursor": first["next"]}).json()
    assert [len(first["items"]), len(second["items"]), second["next"]] == [2, 1, None]
    assert client.get(address, params={"cursor": "x"}).json()["code"] == "invalid_cursor"


@pytest.mark.parametrize(
    ("place", "name"),
    [
        ("/mnt/My Photos", "My-Photos"),
        ("s3://bucket/2026/", "2026"),
        ("/", "source"),
        ("/é", "source"),
    ],
)
def test_a_source_is_named_like_its_place(place: str, name: str) -> None:
    assert name_of(place) == name
