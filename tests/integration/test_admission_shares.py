"""What is let in follows the load of the workers: from their heartbeats to the doors' answers."""

import asyncio
import json
from collections import Counter
from collections.abc import AsyncIterator, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import Any
from unittest.mock import MagicMock
from uuid import uuid4

import httpx
import pytest
from prometheus_client import REGISTRY
from typer.testing import CliRunner, Result

from api_door import door_settings
from darkroom_cli.app import build
from gateway import db
from gateway.adapting import HOLD_S, NOBODY_SAYS, Marks, Usage
from gateway.api.app import build_api
from gateway.catalog import shares
from gateway.control.app import _admission, build_control
from gateway.control.shares import EVERY_S, AdmissionShares
from gateway.settings import Settings
from infrastructure import Infrastructure
from streamkit import Codec

LANES = ("default", "learning", "batch", "high")
HOST = "http://127.0.0.1"
OWNER = "owner"
MARKS = Marks()


class Control:
    """The duty of a control door, whose time the test moves."""

    def __init__(self, conn: db.Conn, marks: Marks | None = MARKS) -> None:
        self.conn = conn
        self.now = 1_000.0
        self.duty = AdmissionShares(LANES, marks)
        self.duty.begin(conn)

    def look_for(self, seconds: float) -> dict[str, float]:
        """Looks until so many seconds have passed since the first of them; what holds then."""
        until = self.now + seconds
        while self.now <= until:
            self.duty.turn(self.conn, self.now)
            self.now += EVERY_S
        return holding(self.conn)


def holding(conn: db.Conn) -> dict[str, float]:
    return {share.lane: share.share for share in shares.shares(conn, OWNER)}


def beats(conn: db.Conn, cpu: float, memory: float = 0.4, **more: Any) -> None:
    """A worker has said how busy it is, so many seconds ago."""
    row = {"worker": "detector@a:1", "state": "working", "ago_s": 0, "every_s": 3, **more}
    conn.execute(
        "INSERT INTO workers (worker, service, state, cpu, memory, every_s, said, seen_at)"
        " VALUES (%(worker)s, 'detector', %(state)s, %(cpu)s, %(memory)s, %(every_s)s, '{}',"
        " now() - make_interval(secs => %(ago_s)s)) ON CONFLICT (worker) DO UPDATE SET"
        " state = excluded.state, cpu = excluded.cpu, memory = excluded.memory,"
        " every_s = excluded.every_s, seen_at = excluded.seen_at",
        row | {"cpu": cpu, "memory": memory},
    )


def analysed(conn: db.Conn, took_s: float, ago_s: float = 1.0, **more: Any) -> None:
    """A photo had its outcome so many seconds after it was handed in."""
    row = {"submission": f"api:{uuid4()}", "lane": "high", "revision": 1, **more}
    row |= {"id": uuid4(), "took_s": took_s, "ago_s": ago_s}
    conn.execute(
        "INSERT INTO analyses (analysis_id, photo_id, owner, submission_id, lane, submitted_at)"
        " VALUES (%(id)s, %(id)s, %(id)s, %(submission)s, %(lane)s,"
        " now() - make_interval(secs => %(ago_s)s + %(took_s)s))",
        row,
    )
    conn.execute(
        "INSERT INTO outcomes (analysis_id, revision, photo_id, owner, policy_revision, lane,"
        " outcome, calibrated, labels, partial, failed_stages, parts, reason, decided_at, event_id)"
        " VALUES (%(id)s, %(revision)s, %(id)s, %(id)s, 1, %(lane)s, 'review', false, '[]', false,"
        " '{}', '[]', '', now() - make_interval(secs => %(ago_s)s), %(id)s)",
        row,
    )


def test_busy_workers_have_less_let_in_and_the_highest_lane_last(conn: db.Conn) -> None:
    control = Control(conn)
    beats(conn, 0.95)
    assert control.look_for(HOLD_S) == {"high": 1, "default": 0.5, "batch": 1, "learning": 1}
    default = next(one for one in shares.shares(conn, OWNER) if one.lane == "default")
    assert (default.measured, default.cause) == (0.5, "the workers' CPU is at 95 %")
    assert default.why == default.cause
    assert default.pinned is None
    assert control.look_for(120) == {"high": 1, "default": 0.5, "batch": 0.5, "learning": 0.5}
    named = REGISTRY.get_sample_value
    assert named("darkroom_admission_share", {"lane": "default"}) == 0.5
    assert named("darkroom_workers_usage", {"resource": "cpu"}) == pytest.approx(0.95)
    for _ in range(20):
        analysed(conn, 14.0)
    assert control.look_for(HOLD_S)["high"] == 0.5


def test_who_takes_over_goes_on_where_the_other_one_was(conn: db.Conn) -> None:
    beats(conn, 0.95)
    before = Control(conn)
    before.look_for(2 * HOLD_S)
    since = {one.lane: one.since for one in shares.shares(conn, OWNER)}
    successor = Control(conn)
    assert successor.look_for(0) == {"high": 1, "default": 0.5, "batch": 1, "learning": 0.5}
    after = {one.lane: one for one in shares.shares(conn, OWNER)}
    assert {lane: one.since for lane, one in after.items()} == since
    assert after["learning"].cause == "the workers' CPU is at 95 %"
    assert successor.look_for(HOLD_S)["batch"] == 0.5

    conn.execute("UPDATE admission_shares SET measured_at = now() - interval '31 seconds'")
    assert set(holding(conn).values()) == {1}, "what was measured long ago says nothing"
    assert {one.cause for one in shares.shares(conn, OWNER)} == {shares.UNMEASURED}
    assert set(Control(conn).look_for(0).values()) == {1}


def test_workers_that_are_silent_starting_or_gone_say_nothing(conn: db.Conn) -> None:
    assert shares.usage(conn) is None
    beats(conn, 0.95, ago_s=9.5)
    beats(conn, 0.95, worker="ocr@a:2", state="starting")
    beats(conn, 0.95, worker="ocr@a:3", state="gone")
    assert shares.usage(conn) is None
    control = Control(conn)
    assert set(control.look_for(HOLD_S).values()) == {1}
    assert {one.cause for one in shares.shares(conn, OWNER)} == {NOBODY_SAYS}
    beats(conn, 0.5, 0.75, worker="ocr@a:4", state="stopping")
    beats(conn, 0.75, 0.25, worker="ocr@a:5", every_s=60, ago_s=100)
    assert shares.usage(conn) == Usage(0.75, 0.75)


def test_without_adapting_what_is_configured_holds_but_for_what_somebody_set(
    conn: db.Conn,
) -> None:
    beats(conn, 0.95)
    Control(conn).look_for(HOLD_S)
    control = Control(conn, None)
    assert set(control.look_for(0).values()) == {1}
    shares.pin(conn, OWNER, "batch", 0.5, None, ("ada", "why"))
    assert control.look_for(600) == {"high": 1, "default": 1, "batch": 0.5, "learning": 1}


def test_how_long_single_photos_take(conn: db.Conn) -> None:
    assert shares.high_p95_s(conn) is None
    analysed(conn, 900, ago_s=301)
    analysed(conn, 900, submission="import:1:2")
    analysed(conn, 900, lane="default")
    analysed(conn, 900, revision=2)
    assert shares.high_p95_s(conn) is None
    for seconds in range(1, 20):
        analysed(conn, seconds)
    assert shares.high_p95_s(conn) is None, "a few that took long are no objective missed"
    for seconds in (20, 21):
        analysed(conn, seconds)
    assert shares.high_p95_s(conn) == pytest.approx(20, abs=0.2)


def test_how_long_they_take_is_found_by_an_index(conn: db.Conn) -> None:
    conn.execute(
        "INSERT INTO outcomes (analysis_id, revision, photo_id, owner, policy_revision, lane,"
        " outcome, calibrated, labels, partial, failed_stages, parts, reason, decided_at, event_id)"
        " SELECT id, 1, id, id, 1, 'high', 'review', false, '[]', false, '{}', '[]', '',"
        " now() - make_interval(secs => n), id"
        " FROM (SELECT n, gen_random_uuid() AS id FROM generate_series(1, 20000) AS n) AS many"
    )
    conn.execute("ANALYZE outcomes")
    query = f"EXPLAIN {shares._HIGH_P95}"
    plan = conn.execute(query, {"lately_s": 300.0, "photos": 2_000}).fetchall()
    lines = "\n".join(row["QUERY PLAN"] for row in plan)
    assert "outcomes_high" in lines
    assert "Seq Scan on outcomes" not in lines


def test_the_control_door_has_the_duty_in_the_order_of_weights(
    settings: Settings, codec: Codec
) -> None:
    control = build_control(settings, codec, MagicMock())
    assert "shares" in {duty.name for duty in control._duties}
    assert tuple(_admission(settings)._lanes) == LANES
    weights = {"lane_weights": "high=1,batch=2,default=3,learning=4"}
    other = _admission(settings.model_copy(update=weights))
    assert tuple(other._lanes) == ("batch", "default", "learning", "high")


@pytest.fixture
def settings(infrastructure: Infrastructure, database: str, tmp_path: Path) -> Settings:
    # An hour's quota: nothing comes back while the test runs.
    return door_settings(infrastructure, database, tmp_path, rate_single="30/h", rate_imports="4/h")


@asynccontextmanager
async def replicas(settings: Settings, number: int) -> AsyncIterator[list[httpx.AsyncClient]]:
    """Clients of so many api doors with the same settings; no server lies between."""
    pool = db.open_pool(settings.database, name="test-api")
    try:
        async with AsyncExitStack() as stack:
            clients = []
            for _ in range(number):
                app: Any = build_api(settings, pool).config.app
                await stack.enter_async_context(app.router.lifespan_context(app))
                client = httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url=HOST)
                clients.append(await stack.enter_async_context(client))
            yield clients
    finally:
        pool.close()


async def hand_in(client: httpx.AsyncClient, lane: str) -> httpx.Response:
    return await client.post("/v1/photos", params={"lane": lane}, content=b"no photo")


def statuses(answers: list[httpx.Response]) -> Mapping[int, int]:
    return Counter(answer.status_code for answer in answers)


async def test_two_replicas_let_in_exactly_half_together(settings: Settings, conn: db.Conn) -> None:
    beats(conn, 0.95)
    Control(conn).look_for(HOLD_S)
    async with replicas(settings, 2) as (one, two):
        both = [each for each in (one, two) for _ in range(25)]
        answers = await asyncio.gather(*(hand_in(each, "default") for each in both))
        assert statuses(answers) == {415: 15, 429: 35}
        assert {each.headers["RateLimit-Policy"] for each in answers} == {'"single";q=15;w=3600'}
        left = [each.headers["RateLimit"] for each in answers if each.status_code == 415]
        assert len(set(left)) == 15, "each took another one"
        refused = next(each for each in answers if each.status_code == 429)
        assert 200 < int(refused.headers["Retry-After"]) <= 240
        assert refused.json()["detail"].startswith(
            "The limit is 15 single photos an hour on lane default, half of what is configured:"
            " the workers' CPU is at 95 %. Try again in 2"
        )


async def test_two_replicas_let_in_exactly_twice_as_much_together(
    settings: Settings, conn: db.Conn
) -> None:
    shares.pin(conn, OWNER, "high", 2, 60, ("ada", "A quiet night"))
    async with replicas(settings, 2) as (one, two):
        both = [each for each in (one, two) for _ in range(40)]
        answers = await asyncio.gather(*(hand_in(each, "high") for each in both))
        assert statuses(answers) == {415: 60, 429: 20}
        assert {each.headers["RateLimit-Policy"] for each in answers} == {'"single";q=60;w=3600'}
        assert (await hand_in(one, "default")).status_code == 429, "they take from the same"


async def test_lanes_take_from_one_quota_each_at_its_price(
    settings: Settings, conn: db.Conn
) -> None:
    shares.pin(conn, OWNER, "default", 0.5, None, ("ada", "why"))
    shares.pin(conn, OWNER, "batch", 0.5, None, ("ada", "why"))
    async with replicas(settings, 2) as (one, two):
        assert statuses([await hand_in(one, "default") for _ in range(10)]) == {415: 10}
        answers = [await hand_in(two, "high") for _ in range(12)]
        assert statuses(answers) == {415: 10, 429: 2}
        assert answers[0].headers["RateLimit"].startswith('"single";r=9;')
        imports = [await each.post("/v1/imports", json={}) for each in (one, two) * 2]
        assert statuses(imports) == {422: 2, 429: 2}


def test_a_share_is_set_shown_and_taken_back(client: httpx.Client, conn: db.Conn) -> None:
    beats(conn, 0.95)
    Control(conn).look_for(HOLD_S)
    body = {"share": 2, "for_s": 3600, "reason": "The film festival", "by": "ada"}
    pinned = client.put("/v1/load/default/share", json=body).json()
    assert (pinned["share"], pinned["measured"], pinned["pinned"]) == (2, 0.5, 2)
    assert (pinned["pinned_by"], pinned["pinned_reason"]) == ("ada", "The film festival")
    admission = client.get("/v1/load").json()["admission"]
    assert [one["lane"] for one in admission] == ["high", "default", "batch", "learning"]
    assert admission[1] == pinned

    answer = client.post("/v1/photos", params={"lane": "default"}, content=b"no photo")
    assert answer.headers["RateLimit-Policy"] == '"single";q=60;w=3600', "at once at this door"
    unpinned = client.request("DELETE", "/v1/load/default/share", params={"by": "bob"}).json()
    assert (unpinned["share"], unpinned["pinned"], unpinned["pinned_by"]) == (0.5, None, None)
    assert client.delete("/v1/load/default/share").status_code == 200
    audited = client.get("/v1/audit", params={"what": "share"}).json()["items"]
    assert [(one["who"], one["what"], one["subject"]) for one in audited] == [
        ("bob", "share.unpinned", "default"),
        ("ada", "share.pinned", "default"),
    ]
    assert audited[1]["detail"]["share"] == 2
    assert audited[1]["detail"]["until"] == pinned["pinned_until"].replace("Z", "+00:00")


def test_what_was_set_holds_as_long_as_it_should(conn: db.Conn) -> None:
    shares.pin(conn, OWNER, "default", 0.5, 60, ("ada", "why"))
    assert holding(conn)["default"] == 0.5
    conn.execute("UPDATE admission_shares SET pinned_until = now()")
    default = next(one for one in shares.shares(conn, OWNER) if one.lane == "default")
    assert (default.share, default.pinned, default.pinned_by) == (1, None, None)
    shares.pin(conn, OWNER, "default", 1, None, ("ada", "why"))
    beats(conn, 0.95)
    assert Control(conn).look_for(HOLD_S)["default"] == 1
    default = next(one for one in shares.shares(conn, OWNER) if one.lane == "default")
    assert (default.measured, default.why) == (0.5, None)


@pytest.mark.parametrize(
    ("path", "body"),
    [
        ("/v1/load/default/share", {"share": 3, "reason": "why"}),
        ("/v1/load/default/share", {"share": 2}),
        ("/v1/load/default/share", {"share": 2, "for_s": 0, "reason": "why"}),
        ("/v1/load/other/share", {"share": 2, "reason": "why"}),
    ],
)
def test_what_is_no_share_is_refused(client: httpx.Client, path: str, body: Any) -> None:
    assert client.put(path, json=body).status_code == 422


def said(door: str, *words: str) -> Result:
    """What the command says."""
    return CliRunner().invoke(build("load"), ["load", *words, "--url", door])


def test_the_command_sets_shows_and_takes_back(client: httpx.Client, conn: db.Conn) -> None:
    door = str(client.base_url)
    assert "is the control door running" in said(door).output
    pinned = said(door, "pin", "batch", "0.5", "--for", "2h", "--reason", "nightly backup")
    assert pinned.exit_code == 0, pinned.output
    assert pinned.output.startswith("Half of what is configured is let in of lane batch until ")
    shown = said(door).output
    assert "batch: half of what is configured is let in until" in shown
    assert "nightly backup" in shown
    told = json.loads(said(door, "--json").stdout)["admission"]
    assert [one["share"] for one in told] == [1, 1, 0.5, 1]
    unpinned = json.loads(said(door, "unpin", "batch", "--json").stdout)
    assert (unpinned["share"], unpinned["pinned"]) == (1, None)
    assert "batch: " not in said(door).output
    assert said(door, "unpin", "batch").output == ("What is configured is let in of lane batch.\n")


@pytest.mark.parametrize(
    "words",
    [
        ("pin", "batch", "3", "--reason", "why"),
        ("pin", "batch", "0.5"),
        ("pin", "batch", "0.5", "--reason", "why", "--for", "soon"),
        ("pin", "other", "0.5", "--reason", "why"),
    ],
)
def test_the_command_refuses_what_is_no_share(words: tuple[str, ...]) -> None:
    assert said(HOST, *words).exit_code == 2
