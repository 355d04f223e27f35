"""Workers and a day of measurements, from real topics into a real catalog and out by the door."""

import json
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import uuid4

import httpx
import pytest
from confluent_kafka import Producer
from confluent_kafka.admin import AdminClient, NewTopic  # type: ignore[attr-defined]
from prometheus_client import REGISTRY
from psycopg.types.json import Jsonb
from structlog.testing import capture_logs
from typer.testing import CliRunner

from api_door import api_door
from catalog_seed import Look, Seed, picture
from darkroom_cli.app import build
from darkroom_cli.contracts import Subjects
from darkroom_schemas import avro, catalogue
from darkroom_schemas.names import OPS_WORKER
from gateway import db, locks
from gateway.catalog import operations, samples, workers
from gateway.catalog.workers import Worker
from gateway.control.duty import Duty
from gateway.control.operations import Operations
from gateway.settings import Settings
from infrastructure import Infrastructure
from streamkit import Codec, SchemaIds

OWNER = "owner"
DEADLINE_S = 30.0
REGISTERED = "operations."


def heartbeat(worker: str = "ocr@studio:1", **changes: Any) -> dict[str, Any]:
    """What a worker says: one lane with two partitions, and a record in its engine."""
    now = datetime.now(UTC)
    lane = {
        "lane": "batch",
        "partitions": [
            {"topic": "photo.analysis-requested.batch.v1", "partition": n} for n in (0, 1)
        ],
        **{"waiting": 7, "in_engine": 1, "concurrency": 2, "rate": 20.0},
        **{"paused": False, "done": 12, "failed": 1},
    }
    task = {
        **{"lane": "batch", "topic": "photo.analysis-requested.batch.v1", "partition": 1},
        **{"offset": 40, "key": "a photo", "attempt": 2, "engine": "bulk", "since": now},
    }
    said = {
        **{"worker": worker, "service": worker.partition("@")[0], "host": "studio", "pid": 1},
        **{"version": "0.1.0", "state": "working", "started_at": now, "reported_at": now},
        **{"every_s": 5.0, "cpu": 0.5, "cpu_cores": 2.0, "memory": 0.25, "memory_bytes": 10**9},
        **{"lanes": [lane], "work": [task]},
    }
    return {**said, **changes}


def heard(**changes: Any) -> workers.Heartbeat:
    return workers.Heartbeat.model_validate(heartbeat(**changes))


class Rig:
    """The topic of heartbeats, under a prefix of the test's own."""

    def __init__(self, infrastructure: Infrastructure, database: str, codec: Codec) -> None:
        self.kafka, self.database, self.codec = infrastructure.kafka, database, codec
        self.prefix = f"t{uuid4().hex[:8]}."
        self._producer = Producer({"bootstrap.servers": self.kafka})
        self.operations = Operations(self.kafka, codec.decode, prefix=self.prefix)

    def make_topic(self) -> None:
        topic = NewTopic(self.prefix + OPS_WORKER, catalogue.load()[OPS_WORKER].partitions)
        admin = AdminClient({"bootstrap.servers": self.kafka})
        admin.create_topics([topic])[topic.topic].result(20)

    def say(self, value: Mapping[str, Any] | bytes, *, key: str = "", ago_s: float = 0) -> None:
        """Publish, and wait until it is there."""
        name = key or (value["worker"] if isinstance(value, Mapping) else "junk")
        said = value if isinstance(value, bytes) else self.codec.encode(OPS_WORKER, value)
        at = int((time.time() - ago_s) * 1000)
        self._producer.produce(self.prefix + OPS_WORKER, said, name, timestamp=at)
        assert self._producer.flush(20) == 0

    @contextmanager
    def working(self) -> Iterator[None]:
        """A control door's duty, until the context ends."""
        stop = threading.Event()
        duty = Duty(
            "operations",
            locks.OPERATIONS,
            lambda: db.connect(self.database, name="operations"),
            self.operations.work,
        )
        thread = threading.Thread(target=duty.run, args=(stop,))
        thread.start()
        try:
            yield
        finally:
            stop.set()
            thread.join(DEADLINE_S)
            assert not thread.is_alive()


@pytest.fixture(scope="module")
def registered(infrastructure: Infrastructure, tmp_path_factory: pytest.TempPathFactory) -> Codec:
    """A codec of the real registry."""
    subjects = Subjects(infrastructure.registry, catalogue.load(), REGISTERED)
    assert all(one.good for one in subjects.apply())
    cache = tmp_path_factory.mktemp("ids")
    return Codec(SchemaIds(infrastructure.registry, cache), avro.schema_of, REGISTERED)


@pytest.fixture
def rig(infrastructure: Infrastructure, database: str, registered: Codec) -> Rig:
    return Rig(infrastructure, database, registered)


def eventually(look: Callable[[], Any]) -> Any:
    """What `look` gives once that is something."""
    until = time.monotonic() + DEADLINE_S
    while not (found := look()):
        assert time.monotonic() < until, "it does not come"
        threading.Event().wait(0.05)
    return found


def known(conn: db.Conn) -> dict[str, Worker]:
    return {one.worker: one for one in workers.workers(conn, OWNER)}


def silence(conn: db.Conn, seconds: float) -> None:
    """As if nothing had been heard for so long."""
    conn.execute("UPDATE workers SET seen_at = now() - make_interval(secs => %s)", (seconds,))


def shown(service: str, state: str) -> float | None:
    labels = {"service": service, "state": state}
    return REGISTRY.get_sample_value("darkroom_gateway_workers", labels)


def test_what_workers_say_appears_and_the_last_word_holds(rig: Rig, conn: db.Conn) -> None:
    rig.make_topic()
    rig.say(heartbeat("ocr@studio:1", state="starting", lanes=[], work=[]))
    rig.say(heartbeat("detector@attic:7", cpu=0.9))
    with rig.working():
        eventually(lambda: len(known(conn)) == 2)
        said = heartbeat("ocr@studio:1")
        rig.say(said)
        one = eventually(lambda: (w := known(conn)["ocr@studio:1"]).state == "working" and w)
        assert shown("detector", "working") == 1
    assert shown("detector", "working") is None, "who does not lead shows nothing"
    assert (one.missing, one.works, one.lanes[0].rate) == (False, True, 20)
    assert [part.partition for part in one.lanes[0].partitions] == [0, 1]
    assert (one.work[0].key, one.work[0].attempt) == ("a photo", 2)
    millis = said["reported_at"].replace(microsecond=said["reported_at"].microsecond // 1000 * 1000)
    assert one.reported_at == millis
    assert abs((one.seen_at - datetime.now(UTC)).total_seconds()) < DEADLINE_S
    assert [one.cpu for one in workers.workers(conn, OWNER, "detector")] == [0.9]


def test_who_is_silent_is_missing_and_who_has_gone_is_not(rig: Rig, conn: db.Conn) -> None:
    workers.note(conn, [heard(), heard(worker="ocr@studio:2", state="gone")])
    silence(conn, 10)
    assert not known(conn)["ocr@studio:1"].missing, "three heartbeats of 5 s are not over"
    silence(conn, 16)
    found = known(conn)
    assert {name: one.missing for name, one in found.items()} == {
        "ocr@studio:1": True,
        "ocr@studio:2": False,
    }
    assert not any(one.works for one in found.values())
    assert found["ocr@studio:1"].silent_s >= 16
    assert workers.counts(conn) == {("ocr", "missing"): 1, ("ocr", "gone"): 1}
    rig.operations.turn(conn, [heard()])
    assert not known(conn)["ocr@studio:1"].missing, "it is back"
    assert (shown("ocr", "working"), shown("ocr", "gone")) == (1, 1)
    assert shown("ocr", "missing") is None


def test_who_is_away_for_long_is_forgotten(conn: db.Conn) -> None:
    gone = heard(worker="ocr@studio:2", state="gone")
    workers.note(conn, [heard(), gone])
    silence(conn, 3_500)
    assert workers.forget(conn) == 0
    silence(conn, 3_700)
    assert workers.forget(conn) == 1
    assert known(conn).keys() == {"ocr@studio:1"}
    silence(conn, 24 * 3_600 + 100)
    assert workers.forget(conn) == 1


def test_what_can_not_be_read_is_told_once_and_passed_over(rig: Rig, conn: db.Conn) -> None:
    rig.make_topic()
    with capture_logs() as logs:
        for junk in (b"junk", b"\0\0\0\0\0junk", b""):
            rig.say(junk)
        rig.say(heartbeat("ocr@studio:3", cpu=float("nan")))
        rig.say(heartbeat("ocr@studio:4", every_s=0.0))
        rig.say(heartbeat("ocr@studio:1"), key="ocr@studio:5")
        rig.say(heartbeat("ocr@studio:6", service="a service of another"))
        rig.say(heartbeat("ocr@studio:7", host="h" * 200_000))
        rig.say(heartbeat("ocr@studio:8", host="ad\0a" + "h" * 2_000))
        with rig.working():
            eventually(lambda: "ocr@studio:8" in known(conn))
    assert known(conn).keys() == {"ocr@studio:8"}
    assert known(conn)["ocr@studio:8"].host.startswith("adah"), "what is text can be held"
    told = [line["worker"] for line in logs if line["event"] == "heartbeat_unreadable"]
    assert told == ["junk", *(f"ocr@studio:{number}" for number in range(3, 8))]


def test_only_what_was_said_lately_is_read(rig: Rig, conn: db.Conn) -> None:
    rig.make_topic()
    rig.say(heartbeat("ocr@studio:1"), ago_s=300)
    with rig.working():
        rig.say(heartbeat("ocr@studio:2"))
        eventually(lambda: known(conn))
    assert known(conn).keys() == {"ocr@studio:2"}


def test_a_door_that_starts_again_goes_on_and_revives_nobody(rig: Rig, conn: db.Conn) -> None:
    rig.make_topic()
    rig.say(heartbeat("ocr@studio:1"))
    rig.say(heartbeat("ocr@studio:2"))
    with rig.working():
        eventually(lambda: len(known(conn)) == 2)
    silence(conn, 40)
    with rig.working():
        rig.say(heartbeat("ocr@studio:2"))
        eventually(lambda: not known(conn)["ocr@studio:2"].missing)
        assert known(conn)["ocr@studio:1"].missing, "what it said last is no news"
        conn.execute(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
            " WHERE application_name = 'operations' AND datname = current_database()"
        )
        silence(conn, 40)
        rig.say(heartbeat("ocr@studio:1", cpu=0.75))
        eventually(lambda: known(conn)["ocr@studio:1"].cpu == 0.75)


def test_who_said_that_it_goes_while_nobody_listened_is_not_missing(
    rig: Rig, conn: db.Conn
) -> None:
    """An orderly stop of all, a night, and a new start: the door stopped before some others."""
    night_s = 10 * 3_600
    rig.make_topic()
    then = datetime.now(UTC) - timedelta(seconds=night_s)
    names = [f"{service}@studio:1" for service in ("ocr", "detector", "embedder")]
    workers.note(conn, [heard(worker=name, reported_at=then) for name in names])
    silence(conn, night_s)
    later = then + timedelta(seconds=2)
    for name in names:
        rig.say(heartbeat(name, reported_at=later), ago_s=night_s - 2)
    last = later + timedelta(seconds=2)
    for name in names[:2]:
        rig.say(heartbeat(name, state="gone", reported_at=last), ago_s=night_s - 4)
    rig.say(heartbeat("intake@studio:1", reported_at=last), ago_s=night_s - 4)
    rig.say(heartbeat("ocr@studio:2"))
    with rig.working():
        eventually(lambda: len(known(conn)) == 4)
        eventually(lambda: known(conn)[names[0]].state == "gone")
    found = known(conn)
    assert {name: (one.state, one.missing) for name, one in found.items()} == {
        names[0]: ("gone", False),
        names[1]: ("gone", False),
        names[2]: ("working", True),
        "ocr@studio:2": ("working", False),
    }, "who spoke long ago is not revived, and who is not known is not looked for so far back"


def test_a_clock_that_was_put_back_is_believed_and_a_little_delay_is_not(conn: db.Conn) -> None:
    now = datetime.now(UTC)
    workers.note(conn, [heard(cpu=0.1, reported_at=now)])
    workers.note(conn, [heard(cpu=0.2, reported_at=now - timedelta(seconds=50))])
    assert known(conn)["ocr@studio:1"].cpu == 0.1
    workers.note(conn, [heard(cpu=0.3, reported_at=now - timedelta(hours=1))])
    assert known(conn)["ocr@studio:1"].cpu == 0.3


def test_a_broker_without_the_topic_is_waited_for_and_measured_without(
    rig: Rig, conn: db.Conn
) -> None:
    with rig.working():
        eventually(lambda: conn.execute("SELECT 1 FROM samples").fetchone())
        rig.make_topic()
        rig.say(heartbeat())
        eventually(lambda: known(conn))


def lane_load(conn: db.Conn, lane: str = "batch", *, ago_s: float = 0, **changes: Any) -> None:
    """As the control door measured it."""
    row = {
        **{"lane": lane, "state": "warned", "records": 620, "outbox": 20, "ago": ago_s},
        "stages": Jsonb(
            [
                {"name": "intake", "records": 0, "per_s": 3.0, "oldest_s": 0, "workers": None},
                {"name": "ocr", "records": 600, "per_s": 2.5, "oldest_s": 12.5, "workers": 1},
            ]
        ),
        "retries": Jsonb({"ocr": 4}),
        **changes,
    }
    conn.execute(
        "INSERT INTO lane_loads (lane, state, records, outbox, stages, retries, retry_after_s,"
        " cause, measured_at, since) VALUES (%(lane)s, %(state)s, %(records)s, %(outbox)s,"
        " %(stages)s, %(retries)s, 0, NULL, now() - make_interval(secs => %(ago)s), now())",
        row,
    )


def letter(conn: db.Conn, number: int, covered: int | None = None) -> None:
    conn.execute(
        'INSERT INTO dead_letters (service, letter_id, partition, "offset", covered, died_at)'
        " VALUES ('ocr', %s, 0, %s, %s, now())",
        (str(number), number, covered),
    )


def sample(conn: db.Conn) -> dict[str, Any]:
    (row,) = conn.execute("SELECT at, measured FROM samples")
    assert row["at"].timestamp() % 10 == 0
    measured: dict[str, Any] = row["measured"]
    return measured


def test_a_sample_holds_what_lanes_and_workers_are(rig: Rig, conn: db.Conn, seed: Seed) -> None:
    lane_load(conn, "high", state="closed", retries=Jsonb({"ocr": 1}))
    lane_load(conn, "default")
    lane_load(conn, "batch")
    for number in range(4):
        letter(conn, number, covered=3 if number == 0 else None)
    photo = seed.requested("a.jpg", picture("#224466"))
    seed.outcome(photo, Look())
    conn.execute("UPDATE outcomes SET decided_at = now() - interval '10 seconds'")
    said = [
        heard(worker="ocr@studio:1", cpu=0.5, memory=0.25),
        heard(worker="ocr@studio:2", cpu=0.75, memory=0.125),
        heard(worker="ocr@studio:3", state="gone", cpu=1.0),
    ]
    rig.operations.turn(conn, said)
    found = sample(conn)
    assert found["lane.batch.records"] == 620
    assert (found["lane.batch.outbox"], found["lane.batch.state"]) == (20, 1)
    assert (found["lane.high.state"], found["stage.intake.batch.per_s"]) == (2, 3)
    assert [found[f"stage.ocr.batch.{what}"] for what in ("waiting", "per_s", "oldest_s")] == [
        600,
        2.5,
        12.5,
    ]
    assert [found[f"service.ocr.{what}"] for what in ("workers", "missing", "cpu", "memory")] == [
        2,
        0,
        0.75,
        0.25,
    ]
    assert found["service.ocr.memory_bytes"] == 2 * 10**9
    assert found["service.ocr.retries"] == 5, "lanes but high wait for another attempt together"
    assert (found["service.ocr.dead_letters"], found["service.intake.dead_letters"]) == (3, 0)
    assert found["service.detector.workers"] == 0
    assert "service.detector.cpu" not in found
    assert found["photos.per_s"] == round(1 / 60, 3)
    assert found["share.batch"] == 1
    assert found.keys() <= samples.OURS


def test_what_was_measured_long_ago_is_a_gap(rig: Rig, conn: db.Conn) -> None:
    lane_load(conn, ago_s=40)
    rig.operations.turn(conn)
    found = sample(conn)
    assert not [name for name in found if name.startswith(("lane.", "stage."))]
    assert "service.ocr.retries" not in found
    assert found["service.ocr.workers"] == 0


def test_who_is_missing_is_counted_apart(rig: Rig, conn: db.Conn) -> None:
    workers.note(conn, [heard(), heard(worker="mine@studio:1", service="mine")])
    silence(conn, 60)
    rig.operations.turn(conn)
    found = sample(conn)
    assert (found["service.ocr.workers"], found["service.ocr.missing"]) == (0, 1)
    assert found["service.mine.missing"] == 1
    assert "service.mine.workers" in samples.names(conn, OWNER)


def test_a_place_on_the_grid_has_one_sample_whoever_leads(rig: Rig, conn: db.Conn) -> None:
    def of(at: datetime) -> Any:
        return conn.execute("SELECT measured FROM samples WHERE at = %s", (at,)).fetchone()

    now = samples.slot(conn)
    for at in (now, now + timedelta(seconds=10)):  # one of them may begin meanwhile
        assert samples.add(conn, at, {"photos.per_s": 7})
    rig.operations.turn(conn)
    assert not samples.add(conn, now, {"photos.per_s": 8})
    assert of(now) == of(now + timedelta(seconds=10)) == {"measured": {"photos.per_s": 7}}


def fill(conn: db.Conn, since: datetime, values: list[Any], name: str) -> None:
    """A sample every ten seconds; None: a gap."""
    for place, value in enumerate(values):
        if value is not None:
            conn.execute(
                "INSERT INTO samples VALUES (%s, %s) ON CONFLICT (at)"
                " DO UPDATE SET measured = samples.measured || excluded.measured",
                (since + timedelta(seconds=10 * place), Jsonb({name: value})),
            )


def test_old_samples_go_some_at_a_time(conn: db.Conn) -> None:
    now = datetime.now(UTC)
    fill(conn, now - timedelta(hours=26), [1] * 501, "photos.per_s")
    fill(conn, now - timedelta(hours=23), [1] * 3, "photos.per_s")
    assert [samples.forget(conn) for _ in range(3)] == [500, 1, 0]
    assert conn.execute("SELECT 1 FROM samples").rowcount == 3


BEGIN = datetime(2026, 1, 1, 12, tzinfo=UTC)


def history(conn: db.Conn, names: list[str], seconds: float, points: int) -> samples.History:
    over = samples.span(BEGIN, BEGIN + timedelta(seconds=seconds), points)
    return samples.history(conn, OWNER, names, over)


def test_fewer_points_are_means_or_peaks_and_gaps_are_null(conn: db.Conn) -> None:
    fill(conn, BEGIN, [1, 2, 6, None, None, None, 8], "photos.per_s")
    fill(conn, BEGIN, [1, 2, 6, None, None, None, 8], "stage.ocr.batch.waiting")
    fill(conn, BEGIN, [None, 0.5], "service.ocr.cpu")
    names = ["stage.ocr.batch.waiting", "photos.per_s", "service.ocr.cpu"]
    all_of_it = history(conn, names, 70, 7)
    assert all_of_it.step_s == 10
    assert all_of_it.series["photos.per_s"] == [1, 2, 6, None, None, None, 8]
    few = history(conn, names, 70, 3)
    assert (few.step_s, len(few.at)) == (30, 3)
    assert few.at == [BEGIN, BEGIN + timedelta(seconds=30), BEGIN + timedelta(seconds=60)]
    assert few.series == {
        "stage.ocr.batch.waiting": [6, None, 8],
        "photos.per_s": [3, None, 8],
        "service.ocr.cpu": [0.5, None, None],
    }
    before = samples.span(BEGIN - timedelta(seconds=20), BEGIN + timedelta(seconds=20), 10)
    found = samples.history(conn, OWNER, ["photos.per_s"], before)
    assert found.series["photos.per_s"] == [None, None, 1, 2], "until is not in it"


@pytest.mark.parametrize("end", ["waiting", "oldest_s"])
def test_peaks_stay(conn: db.Conn, end: str) -> None:
    name = f"stage.ocr.high.{end}"
    fill(conn, BEGIN, [0, 90, 0], name)
    assert history(conn, [name], 30, 1).series[name] == [90]


def test_the_door_shows_all_that_goes_on(client: httpx.Client, conn: db.Conn) -> None:
    empty = client.get("/v1/operations").json()
    assert (empty["measured_at"], empty["lanes"], empty["per_s"]) == (None, [], 0)
    assert {one["name"]: one["workers"] for one in empty["services"]} == dict.fromkeys(
        operations.SERVICES, 0
    )
    lane_load(conn)
    letter(conn, 1)
    paused = heartbeat("ocr@studio:2")
    paused["lanes"][0] |= {"paused": True, "rate": None, "in_engine": 2}
    workers.note(conn, [heard(), workers.Heartbeat.model_validate(paused)])
    found = client.get("/v1/operations").json()
    assert found["measured_at"] is not None
    assert [one["lane"] for one in found["lanes"]] == ["batch"]
    (ocr,) = [one for one in found["services"] if one["name"] == "ocr"]
    assert (ocr["workers"], ocr["missing"], ocr["dead_letters"]) == (2, 0, 1)
    assert ocr["retries"] == {"high": 0, "bulk": 4}
    assert ocr["lanes"] == [
        {
            **{"lane": "batch", "waiting": 600, "per_s": 2.5, "oldest_s": 12.5, "in_engine": 3},
            **{"paused": True, "rate": 20.0, "concurrency": 2},
        }
    ]
    (detector,) = [one for one in found["services"] if one["name"] == "detector"]
    assert (detector["cpu"], detector["lanes"]) == (None, [])


def test_the_door_shows_workers(client: httpx.Client, conn: db.Conn) -> None:
    assert client.get("/v1/operations/workers").json() == {"items": []}
    nobody = client.get("/v1/operations/workers/ocr@studio:9")
    assert nobody.json()["detail"] == "There is no worker 'ocr@studio:9'; there are: none."
    workers.note(conn, [heard(), heard(worker="detector@attic:7")])
    items = client.get("/v1/operations/workers").json()["items"]
    assert [one["worker"] for one in items] == ["detector@attic:7", "ocr@studio:1"]
    only = client.get("/v1/operations/workers", params={"service": "ocr"}).json()["items"]
    assert [one["worker"] for one in only] == ["ocr@studio:1"]
    one = client.get("/v1/operations/workers/ocr@studio:1").json()
    assert one.keys() == only[0].keys()
    assert {"seen_at", "silent_s", "missing", *heartbeat()} == one.keys()
    unknown = client.get("/v1/operations/workers/ocr@studio:9")
    assert (unknown.status_code, unknown.json()["code"]) == (404, "not_found")
    assert unknown.json()["known"] == ["detector@attic:7", "ocr@studio:1"]


def test_the_door_shows_history(client: httpx.Client, conn: db.Conn) -> None:
    names = client.get("/v1/operations/history/series").json()["items"]
    assert {"photos.per_s", "lane.high.records", "service.ocr.cpu"} <= set(names)
    fill(conn, samples.slot(conn) - timedelta(seconds=10), [2, 4], "service.mine.cpu")
    query: dict[str, Any] = {"series": ["service.mine.cpu", "photos.per_s"]}
    day = client.get("/v1/operations/history", params=query).json()
    assert (day["step_s"], len(day["at"])) == (240, 360)
    mine = day["series"]["service.mine.cpu"]
    assert (mine[0], day["series"]["photos.per_s"]) == (None, [None] * 360)
    assert [value for value in mine if value] in ([3], [2, 4])
    fill(conn, BEGIN, [1, 2, 3], "photos.per_s")
    query |= {"since": BEGIN.isoformat(), "until": "2026-01-01T13:00:25+01:00", "points": 2}
    short = client.get("/v1/operations/history", params=query).json()
    assert (short["step_s"], short["series"]["photos.per_s"]) == (20, [1.5, 3])
    assert short["at"] == ["2026-01-01T12:00:00Z", "2026-01-01T12:00:20Z"]
    many = client.get("/v1/operations/history", params={"series": names[:40], "points": 2000})
    assert len(many.json()["series"]) == 40


@pytest.mark.parametrize(
    ("query", "code", "words"),
    [
        ({}, "invalid_request", "series"),
        ({"series": ["photos.per_s"] * 41}, "invalid_request", "40"),
        ({"series": "service.ocrr.cpu"}, "unknown_series", "Do you mean service.ocr.cpu?"),
        ({"series": '"; DROP TABLE samples'}, "unknown_series", "/history/series"),
        ({"series": "photos.per_s", "points": 1}, "invalid_request", "points"),
        ({"series": "photos.per_s", "points": 2001}, "invalid_request", "points"),
        ({"series": "photos.per_s", "since": "2026-01-01T00:00:00"}, "invalid_request", "since"),
        (
            {
                **{"series": "photos.per_s", "since": "2026-01-01T00:00:00Z"},
                "until": "2026-01-01T00:00:00Z",
            },
            "invalid_span",
            "`since` has to be before `until`",
        ),
        ({"series": "photos.per_s", "until": "9999-12-31T23:59:59Z"}, "invalid_span", "time"),
        ({"series": "photos.per_s", "until": "0001-01-01T00:00:00Z"}, "invalid_span", "time"),
    ],
)
def test_the_door_says_what_is_wrong(
    client: httpx.Client, query: dict[str, Any], code: str, words: str
) -> None:
    refused = client.get("/v1/operations/history", params=query)
    assert (refused.status_code, refused.json()["code"]) == (422, code)
    assert words in refused.json()["detail"]


def test_viewers_may_see_it_and_strangers_not(settings: Settings) -> None:
    strange = settings.model_copy(update={"anonymous": "none"})
    with api_door(strange) as url, httpx.Client(base_url=url, timeout=20) as client:
        for path in ("", "/workers", "/workers/x", "/history?series=photos.per_s"):
            assert client.get(f"/v1/operations{path}").status_code == 401
    viewing = settings.model_copy(update={"anonymous": "viewer"})
    with api_door(viewing) as url, httpx.Client(base_url=url, timeout=20) as client:
        for path in ("", "/workers", "/history?series=photos.per_s", "/history/series"):
            assert client.get(f"/v1/operations{path}").status_code == 200


@pytest.fixture
def darkroom(door: str) -> Callable[..., tuple[int, str]]:
    """`darkroom ops …` against the door: exit code, output."""

    def run(*words: str) -> tuple[int, str]:
        command = ["ops", *words, "--url", door]
        done = CliRunner().invoke(build("ops"), command, env={"COLUMNS": "160"})
        return done.exit_code, done.output

    return run


def test_the_command_shows_workers_stages_and_history(
    darkroom: Callable[..., tuple[int, str]], conn: db.Conn
) -> None:
    code, told = darkroom("workers")
    assert (code, "No worker has said anything" in told) == (0, True)
    lane_load(conn)
    workers.note(conn, [heard(), heard(worker="detector@attic:7")])
    silence(conn, 60)
    workers.note(conn, [heard()])
    told = darkroom("workers")[1]
    assert "detector@attic:7 is missing: it said something every 5 s" in told
    assert "ocr@studio:1 is missing" not in told
    listed = json.loads(darkroom("workers", "--service", "ocr", "--json")[1])
    assert [one["worker"] for one in listed] == ["ocr@studio:1"]
    told = darkroom("worker", "ocr@studio:1")[1]
    assert "photo.analysis-requested.batch.v1 0 1" in told
    assert "photo.analysis-requested.batch.v1/1/40" in told
    code, told = darkroom("worker", "ocr@studio:9")
    assert (code, "there are: detector@attic:7, ocr@studio:1" in told) == (1, True)
    told = darkroom("stages")[1]

    (row,) = [line for line in told.splitlines() if line.strip().startswith("ocr")]
    assert row.split()[:6] == ["ocr", "batch", "600", "2.5", "12", "s"]
    assert "20/s in all, 2 at a time" in row
    assert "detector: no worker, 1 missing" in told
    fill(conn, samples.slot(conn) - timedelta(seconds=20), [0, 5, 10], "photos.per_s")
    told = darkroom("history", "photos.per_s", "--since", "10m")[1]
    assert "▁" in told
    assert "█" in told
    code, told = darkroom("history", "photos.perhaps")
    assert (code, "There is no series 'photos.perhaps'." in told) == (1, True)
    assert "photos.per_s" in darkroom("history")[1].split()
    found = json.loads(darkroom("history", "photos.per_s", "--since", "1h", "--json")[1])
    # Where ten seconds are over between the question and the answer, one point would be too many.
    assert (found["step_s"], len(found["at"])) in ((10, 360), (20, 181))
    assert darkroom("history", "photos.per_s", "--since", "soon")[0] == 2
