"""What operators set by the api door: in the catalog, on the topic, and at a real worker."""

import json
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import httpx
import pytest
from typer.testing import CliRunner

from api_door import api_door, door_settings
from darkroom_cli.app import build
from darkroom_schemas import names
from gateway import db
from gateway.catalog import controls
from gateway.catalog.keys import KeyRequest, NewKey, make_key
from gateway.catalog.outbox import Outbox
from gateway.control.relay import Relay
from infrastructure import Infrastructure
from streamkit import Codec
from streamkit.control import Control, control_of
from worker_process import WorkerProcess, until
from worker_tasks import SERVICE
from worker_world import Places, Task, World

TOPIC = names.OPS_CONTROL
CONTROLS = "/v1/operations/controls"
BATCH = f"{CONTROLS}/ocr/batch"


def published(conn: db.Conn, codec: Codec) -> list[tuple[str, Control | None]]:
    """What the outbox has for the topic, by its key; None for a tombstone."""
    rows = conn.execute("SELECT key, value FROM outbox WHERE topic = %s ORDER BY id", (TOPIC,))
    return [(row["key"], told(codec, row["value"])) for row in rows]


def told(codec: Codec, value: bytes | None) -> Control | None:
    return None if value is None else control_of(codec.decode(TOPIC, value))


def audited(conn: db.Conn) -> list[tuple[str, str, str, dict[str, Any]]]:
    rows = conn.execute("SELECT who, what, subject, detail FROM audit ORDER BY id")
    return [(row["who"], row["what"], row["subject"], row["detail"]) for row in rows]


def change(conn: db.Conn, outbox: Outbox, target: str = "ocr/batch", **changes: Any) -> Any:
    return controls.change(conn, outbox, target, changes, "ada")


def test_what_is_set_is_merged_told_and_written_down(
    conn: db.Conn, outbox: Outbox, codec: Codec
) -> None:
    change(conn, outbox, rate="20/s", reason="a shared GPU")
    held = change(conn, outbox, paused=True, reason="a new disk")

    assert controls.controls(conn, "") == [held]
    assert (held.service, held.lane, held.owner) == ("ocr", "batch", "ada")
    rated = Control("ocr/batch", rate="20/s", owner="ada", reason="a shared GPU")
    paused = Control("ocr/batch", rate="20/s", paused=True, owner="ada", reason="a new disk")
    assert published(conn, codec) == [("ocr/batch", rated), ("ocr/batch", paused)]
    first, second = audited(conn)
    detail = {"rate": "20/s", "reason": "a shared GPU"}
    assert first == ("ada", "control.changed", "ocr/batch", detail)
    assert second[3] == {"paused": True, "reason": "a new disk"}


def test_when_nothing_is_set_any_more_the_topic_has_a_tombstone(
    conn: db.Conn, outbox: Outbox, codec: Codec
) -> None:
    change(conn, outbox, paused=True, reason="a new disk")
    change(conn, outbox, concurrency=2)
    change(conn, outbox, paused=False)
    assert published(conn, codec)[-1][1] is not None, "the concurrency holds"
    change(conn, outbox, concurrency=None)
    assert published(conn, codec)[-1] == ("ocr/batch", None)
    assert controls.controls(conn, "") == []

    change(conn, outbox, rate="5/s")
    controls.remove(conn, outbox, "ocr/batch", "ben")
    assert published(conn, codec)[-1] == ("ocr/batch", None)
    assert audited(conn)[-1] == ("ben", "control.removed", "ocr/batch", {})


def test_what_was_written_into_the_topic_by_others_can_be_taken_back(
    conn: db.Conn, outbox: Outbox, codec: Codec
) -> None:
    controls.remove(conn, outbox, "ocr", "ada")
    assert published(conn, codec) == [("ocr", None)]


def test_a_pause_that_is_over_holds_nothing_any_more(
    conn: db.Conn, outbox: Outbox, codec: Codec
) -> None:
    past = datetime.now(UTC) - timedelta(seconds=1)
    change(conn, outbox, paused=True, paused_until=past, reason="a new disk")
    change(conn, outbox, "intake", paused=True, paused_until=past, rate="5/s", reason="tests")
    (intake,) = controls.controls(conn, "")
    assert (intake.target, intake.paused, intake.paused_until) == ("intake", False, None)
    change(conn, outbox, concurrency=3)
    assert published(conn, codec)[-1][1] == Control(
        "ocr/batch", concurrency=3, owner="ada", reason="a new disk"
    )


def test_a_change_that_is_not_committed_is_not_told(
    conn: db.Conn, outbox: Outbox, codec: Codec
) -> None:
    with pytest.raises(RuntimeError), conn.transaction():  # noqa: PT012
        change(conn, outbox, rate="5/s")
        raise RuntimeError
    assert published(conn, codec) == []
    assert controls.controls(conn, "") == []


def test_changes_at_once_lose_nothing_of_each_other(
    database: str, conn: db.Conn, outbox: Outbox, codec: Codec
) -> None:
    wanted: list[dict[str, Any]] = [{"rate": "7/s"}, {"concurrency": 3}, {"reason": "tests"}]
    wanted += [{"paused": True}]
    for round_ in range(5):
        target, together = f"ocr/{round_}", threading.Barrier(len(wanted))

        def one(
            changes: dict[str, Any], target: str = target, gate: threading.Barrier = together
        ) -> None:
            with db.connect(database, name="operator") as own:
                gate.wait(20)
                change(own, outbox, target, **changes)

        with ThreadPoolExecutor(len(wanted)) as people:
            list(people.map(one, wanted))
    held = controls.controls(conn, "")
    # A reason that comes before anything is set belongs to nothing.
    assert {(one.rate, one.concurrency, one.paused) for one in held} == {("7/s", 3, True)}
    assert len(held) == 5
    last = dict(published(conn, codec))
    assert last == {
        one.target: Control(
            one.target, "7/s", paused=True, concurrency=3, owner="ada", reason=one.reason
        )
        for one in held
    }


# -- by the door --------------------------------------------------------------------------------


@pytest.fixture
def key(conn: db.Conn) -> Callable[[str], NewKey]:
    def make(role: Any) -> NewKey:
        return make_key(conn, "", KeyRequest(name=f"a-{role}", role=role), "test")

    return make


def as_(made: NewKey) -> dict[str, str]:
    return {"Authorization": f"Bearer {made.token}"}


def test_an_operator_sets_changes_and_takes_back(client: httpx.Client, conn: db.Conn) -> None:
    body = {"pause_s": 600, "reason": "a new disk", "by": "mia"}
    paused = client.patch(BATCH, json=body)
    assert paused.status_code == 200
    assert (paused.json()["target"], paused.json()["owner"]) == ("ocr/batch", "mia")
    ends_in = datetime.fromisoformat(paused.json()["paused_until"]) - datetime.now(UTC)
    assert timedelta(seconds=500) < ends_in <= timedelta(seconds=600)

    assert client.patch(f"{CONTROLS}/ocr", json={"rate": "20/s"}).json()["lane"] is None
    listed = client.get(CONTROLS).json()["items"]
    assert [one["target"] for one in listed] == ["ocr", "ocr/batch"]
    assert listed[1] == paused.json()

    resumed = client.patch(BATCH, json={"paused": False}).json()
    assert (resumed["paused"], resumed["paused_until"]) == (False, None)
    gone = client.delete(f"{CONTROLS}/ocr?by=mia").json()
    assert (gone["rate"], gone["owner"]) == (None, "mia")
    assert client.get(CONTROLS).json() == {"items": []}
    told = [(who, what, subject) for who, what, subject, _ in audited(conn)]
    assert told == [
        ("mia", "control.changed", "ocr/batch"),
        ("local", "control.changed", "ocr"),
        ("local", "control.changed", "ocr/batch"),
        ("mia", "control.removed", "ocr"),
    ]


def test_a_key_acts_in_its_own_name_and_only_an_admins(
    client: httpx.Client, key: Callable[[str], NewKey]
) -> None:
    viewer, trainer, admin = (as_(key(role)) for role in ("viewer", "trainer", "admin"))
    body = {"paused": True, "reason": "tests", "by": "mia"}
    for refused in (
        client.patch(BATCH, json=body, headers=trainer),
        client.delete(f"{CONTROLS}/ocr", headers=trainer),
    ):
        assert (refused.status_code, refused.json()["needed"]) == (403, "admin")
    assert client.get(CONTROLS, headers=viewer).json() == {"items": []}
    assert client.patch(BATCH, json=body, headers=admin).json()["owner"] == "key:a-admin"
    assert len(client.get(CONTROLS, headers=viewer).json()["items"]) == 1


@pytest.mark.parametrize(
    ("path", "status", "code", "words"),
    [
        ("aggregator", 409, "obeys_nothing", "aggregator can't be paused"),
        ("orc", 404, "unknown_target", "ocr, embedder, trainer, gateway are there"),
        ("ocr/bulk", 404, "unknown_target", "it has high, default, batch, learning"),
    ],
)
def test_who_obeys_nothing_is_told_of(
    client: httpx.Client, conn: db.Conn, path: str, status: int, code: str, words: str
) -> None:
    for answer in (
        client.patch(f"{CONTROLS}/{path}", json={"rate": "5/s"}),
        client.delete(f"{CONTROLS}/{path}"),
    ):
        assert (answer.status_code, answer.json()["code"]) == (status, code)
        assert words in answer.json()["detail"]
    refused = client.patch(f"{CONTROLS}/{path}", json={"paused": True})
    assert "say a `reason`" in refused.json()["detail"]
    assert audited(conn) == []


def test_the_command_does_the_same(door: str, conn: db.Conn) -> None:
    def told(*words: str) -> str:
        done = CliRunner().invoke(build("ops"), ["ops", *words, "--url", door])
        assert done.exit_code == 0, done.output
        return done.stdout

    assert "nothing is set" in told("resume", "ocr")
    paused = told("pause", "ocr/batch", "--for", "10m", "--reason", "a new disk", "--by", "mia")
    assert paused.startswith("ocr/batch: paused until 20")
    assert paused.endswith("; by mia (a new disk)\n")
    assert "5/s in all workers together, 2 at a time" in (
        told("rate", "ocr", "5/s", "--by", "mia") and told("concurrency", "ocr", "2")
    )
    assert len(json.loads(told("controls", "--json"))) == 2
    assert told("tasks", "--state", "failed") == "Nothing fits.\n"
    refused = CliRunner().invoke(
        build("ops"), ["ops", "pause", "aggregator", "--reason", "x", "--url", door]
    )
    assert refused.exit_code == 1
    assert "aggregator can't be paused" in refused.stderr


# -- at a worker --------------------------------------------------------------------------------


@pytest.fixture
def world(infrastructure: Infrastructure, tmp_path: Path) -> Iterator[World]:
    places = Places(infrastructure.kafka, infrastructure.registry, infrastructure.redis)
    world = World(places, tmp_path, partitions=2)
    yield world
    world.close()


class Operator:
    """One at a door of the worker's installation."""

    def __init__(self, http: httpx.Client, conn: db.Conn, world: World) -> None:
        self._http, self._conn = http, conn
        self._relay = Relay(world.publisher.publish_raw)

    def does(self, method: str, path: str, **body: Any) -> dict[str, Any]:
        """The answer, once the relay has told the workers."""
        answer = self._http.request(method, f"{CONTROLS}/{path}", json=body or None)
        assert answer.status_code == 200, answer.text
        assert self._relay.turn(self._conn) == 1
        control: dict[str, Any] = answer.json()
        return control

    def sees(self) -> list[str]:
        """What holds."""
        return [one["target"] for one in self._http.get(CONTROLS).json()["items"]]


@pytest.fixture
def operator(
    infrastructure: Infrastructure,
    database: str,
    conn: db.Conn,
    world: World,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> Iterator[Operator]:
    monkeypatch.setattr(controls, "LANES", {**controls.LANES, SERVICE: ("high", "batch")})
    own = {"registry": infrastructure.registry, "topic_prefix": world.prefix}
    settings = door_settings(infrastructure, database, tmp_path, **own)
    with api_door(settings) as url, httpx.Client(base_url=url, timeout=20) as http:
        yield Operator(http, conn, world)


def paused(worker: WorkerProcess, lane: str = "batch") -> float:
    return worker.metric("darkroom_paused", lane=lane)


def test_a_worker_obeys_what_is_set_by_the_door(world: World, operator: Operator) -> None:
    worker = world.worker().ready()
    operator.does("PATCH", f"{SERVICE}/batch", paused=True, reason="a new disk", by="mia")
    until(lambda: paused(worker) == 1, "the lane is paused")
    world.ask(Task("held"), Task("urgent", lane="high"))
    world.await_done("urgent")
    assert world.names() == ["urgent"]
    (line,) = worker.lines("lane_paused")
    assert (line["lane"], line["owner"], line["reason"]) == ("batch", "mia", "a new disk")

    operator.does("PATCH", f"{SERVICE}/batch", paused=False)
    world.await_done("held")
    assert operator.sees() == []

    operator.does("PATCH", SERVICE, rate="20/s", concurrency=2)
    until(lambda: worker.metric("darkroom_rate_limit", lane="high") == 20, "it is held to a rate")
    until(lambda: worker.metric("darkroom_concurrency_limit", lane="batch") == 2, "and bounded")
    operator.does("DELETE", SERVICE)
    until(lambda: worker.metric("darkroom_rate_limit", lane="high") == 0, "nothing holds")
    keys = [(record.key, record.value is None) for record in world.all_of(TOPIC)]
    assert keys == [
        (f"{SERVICE}/batch".encode(), False),
        (f"{SERVICE}/batch".encode(), True),
        (SERVICE.encode(), False),
        (SERVICE.encode(), True),
    ]


def test_a_pause_ends_by_itself_at_the_worker_and_at_the_door(
    world: World, operator: Operator
) -> None:
    worker = world.worker().ready()
    operator.does("PATCH", f"{SERVICE}/batch", pause_s=5, reason="a new disk")
    assert operator.sees() == [f"{SERVICE}/batch"]
    until(lambda: paused(worker) == 1, "the lane is paused")
    world.ask(Task("held"))
    world.await_done("held")
    until(lambda: operator.sees() == [], "nothing holds any more")
