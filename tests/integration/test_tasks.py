"""The history of tasks: states, filters, pages; and that each question is answered by an index."""

import re
from collections.abc import Callable, Mapping
from datetime import UTC, datetime, timedelta
from itertools import pairwise
from typing import Any, Final
from uuid import UUID, uuid4

import httpx
import pytest

from catalog_seed import Look, Seed, Seeded, picture
from darkroom_schemas import ids
from gateway import db, migrations
from gateway.catalog import results
from gateway.catalog.keys import KeyRequest, make_key
from gateway.catalog.tasks import Task, TaskFilter, TaskPlace, tasks

TASKS = "/v1/operations/tasks"
OWNER = ids.LOCAL_OWNER


def found(conn: db.Conn, limit: int = 200, **chosen: Any) -> list[tuple[str | None, str, str]]:
    """File, stage and state of the tasks that fit."""
    items, _ = tasks(conn, OWNER, TaskFilter(**chosen), None, limit)
    return [(task.file_name, task.stage, task.state) for task in items]


def states(conn: db.Conn, **chosen: Any) -> dict[tuple[str | None, str], str]:
    return {(name, stage): state for name, stage, state in found(conn, **chosen)}


def cancelled(conn: db.Conn, seeded: Seeded) -> None:
    conn.execute(
        "UPDATE analyses SET cancelled_at = now() WHERE analysis_id = %s", (seeded.analysis_id,)
    )


@pytest.fixture
def done(seed: Seed) -> Seeded:
    return seed.analyzed("done.jpg", picture("red"))


@pytest.fixture
def failed(seed: Seed) -> Seeded:
    seeded = seed.requested("failed.jpg", picture("green"))
    seed.parts(seeded, Look(), detector=False)
    seed.stage_failed(seeded, "detector", "engine_failed", "The engine died.")
    seed.outcome(seeded, Look(), failed=["detector"])
    return seeded


@pytest.fixture
def all_kinds(conn: db.Conn, seed: Seed, done: Seeded, failed: Seeded) -> dict[str, Seeded]:
    """A photo of each kind."""
    off = seed.requested("off.jpg", picture("blue"))
    cancelled(conn, off)
    refused = seed.rejected("refused.jpg", "not_an_image", "It is a text.")
    waiting = seed.requested("waiting.jpg", picture("white"))
    return {"done": done, "failed": failed, "off": off, "refused": refused, "waiting": waiting}


def test_a_task_is_what_its_stage_said_last(conn: db.Conn, all_kinds: dict[str, Seeded]) -> None:
    stages = ("detector", "ocr", "embedder")
    assert states(conn) == {
        **{("done.jpg", stage): "done" for stage in stages},
        **{("failed.jpg", stage): "done" for stage in ("ocr", "embedder")},
        ("failed.jpg", "detector"): "failed",
        **{("off.jpg", stage): "cancelled" for stage in stages},
        ("refused.jpg", "intake"): "failed",
        **{("waiting.jpg", stage): "waiting" for stage in stages},
    }


def test_what_is_known_of_a_task(conn: db.Conn, all_kinds: dict[str, Seeded]) -> None:
    (done,), _ = tasks(conn, OWNER, TaskFilter(state="done", stage="ocr"), None, 1)
    assert (done.ms, done.engine, done.model_version) == (4.0, "stub", "stub@1")
    assert (done.lane, done.revision, done.code, done.attempts) == ("batch", 1, None, None)
    assert done.ended_at is not None
    assert done.ended_at > done.submitted_at
    (failed,), _ = tasks(conn, OWNER, TaskFilter(code="engine_failed"), None, 10)
    assert (failed.message, failed.attempts, failed.ms) == ("The engine died.", 4, None)
    assert failed.photo_id == all_kinds["failed"].photo_id
    (refused,), _ = tasks(conn, OWNER, TaskFilter(stage="intake"), None, 10)
    assert (refused.code, refused.attempts) == ("not_an_image", None)
    waiting, _ = tasks(conn, OWNER, TaskFilter(state="waiting"), None, 10)
    assert [one.ended_at for one in waiting] == [None] * 3


def test_a_stage_that_is_tried_again_has_one_task(
    conn: db.Conn, seed: Seed, failed: Seeded
) -> None:
    seed.parts(failed, Look())
    assert states(conn, stage="detector") == {("failed.jpg", "detector"): "done"}
    again: Any = {
        **{"analysis_id": failed.analysis_id, "photo_id": failed.photo_id, "owner": OWNER},
        **{"stage": "detector", "revision": 2, "code": "deadline", "message": "It said nothing."},
        **{"attempts": 0, "failed_at": datetime.now(UTC)},
    }
    results.record_failure(conn, again)
    ((task,), _) = tasks(conn, OWNER, TaskFilter(stage="detector"), None, 10)
    assert (task.state, task.revision, task.code) == ("failed", 2, "deadline")


def test_what_a_stage_has_done_of_a_cancelled_photo_is_done(
    conn: db.Conn, seed: Seed, done: Seeded
) -> None:
    half = seed.requested("half.jpg", picture("black"))
    seed.parts(half, Look(), detector=False)
    cancelled(conn, half)
    assert states(conn, photo_id=UUID(half.photo_id)) == {
        ("half.jpg", "detector"): "cancelled",
        ("half.jpg", "ocr"): "done",
        ("half.jpg", "embedder"): "done",
    }


@pytest.mark.parametrize(
    ("chosen", "expected"),
    [
        ({"stage": "detector", "state": "done"}, {"done.jpg"}),
        ({"stage": "detector"}, {"done.jpg", "failed.jpg", "off.jpg", "waiting.jpg"}),
        ({"lane": "batch", "state": "failed"}, {"failed.jpg", "refused.jpg"}),
        ({"lane": "high"}, set()),
        ({"state": "cancelled"}, {"off.jpg"}),
        ({"model_version": "stub@1"}, {"done.jpg", "failed.jpg"}),
        ({"model_version": "stub@2"}, set()),
        ({"code": "not_an_image"}, {"refused.jpg"}),
        ({"code": "not_an_image", "stage": "ocr"}, set()),
        ({"slower_ms": 3.9}, {"done.jpg", "failed.jpg"}),
        ({"slower_ms": 4}, set()),
        ({"slower_ms": 1, "state": "failed"}, set()),
        ({"code": "engine_failed", "model_version": "stub@1"}, set()),
        ({"since": datetime(2020, 1, 1, tzinfo=UTC), "state": "waiting"}, {"waiting.jpg"}),
        ({"since": datetime(2120, 1, 1, tzinfo=UTC)}, set()),
        ({"until": datetime(2020, 1, 1, tzinfo=UTC)}, set()),
    ],
)
def test_filters(
    conn: db.Conn, all_kinds: dict[str, Seeded], chosen: dict[str, Any], expected: set[str]
) -> None:
    assert {name for name, _, _ in found(conn, **chosen)} == expected


def test_tasks_of_an_import_and_of_an_owner(
    conn: db.Conn, seed: Seed, all_kinds: dict[str, Seeded]
) -> None:
    batch = seed.batch([all_kinds["failed"], all_kinds["waiting"]], {})
    assert {name for name, _, _ in found(conn, batch_id=batch)} == {"failed.jpg", "waiting.jpg"}
    assert found(conn, batch_id=uuid4()) == []
    assert tasks(conn, str(uuid4()), TaskFilter(), None, 10) == ([], None)


def test_since_and_until_are_of_the_end(conn: db.Conn, done: Seeded) -> None:
    (task, *_), _ = tasks(conn, OWNER, TaskFilter(), None, 3)
    end = task.ended_at
    assert end is not None
    later = end + timedelta(microseconds=1)
    assert len(found(conn, stage=task.stage, since=end, until=later)) == 1
    assert found(conn, stage=task.stage, since=later) == []
    assert found(conn, stage=task.stage, until=end) == []


@pytest.mark.parametrize("chosen", [{}, {"state": "waiting"}, {"state": "done"}, {"stage": "ocr"}])
@pytest.mark.parametrize("limit", [1, 2, 7])
def test_pages_together_are_the_list(
    conn: db.Conn, all_kinds: dict[str, Seeded], chosen: dict[str, Any], limit: int
) -> None:
    # All at one moment: nothing but the rest of the order tells them apart.
    conn.execute("UPDATE parts SET finished_at = '2026-01-01'")
    conn.execute("UPDATE analyses SET submitted_at = '2026-01-01'")
    whole, none = tasks(conn, OWNER, TaskFilter(**chosen), None, 200)
    assert none is None
    walked: list[Task] = []
    place: TaskPlace | None = None
    while True:
        page, place = tasks(conn, OWNER, TaskFilter(**chosen), place, limit)
        walked += page
        if place is None:
            break
        assert len(page) == limit
    assert walked == whole
    at = [task.ended_at or task.submitted_at for task in whole]
    assert all(one >= next_ for one, next_ in pairwise(at))


# -- by the door --------------------------------------------------------------------------------


def test_the_door_walks_through_pages_and_takes_filters(
    client: httpx.Client, all_kinds: dict[str, Seeded]
) -> None:
    query: dict[str, Any] = {"limit": 5}
    walked = []
    while True:
        page = client.get(TASKS, params=query).json()
        walked += page["items"]
        if page["next"] is None:
            break
        query["cursor"] = page["next"]
    assert len(walked) == 13
    assert len({(one["analysis_id"], one["stage"]) for one in walked}) == 13
    photo = all_kinds["off"].photo_id
    one = client.get(TASKS, params={"photo_id": photo, "stage": "ocr"}).json()["items"]
    assert [(task["state"], task["file_name"]) for task in one] == [("cancelled", "off.jpg")]


@pytest.mark.parametrize(
    "query",
    [
        "stage=aggregator",
        "state=broken",
        "lane=slow",
        "since=yesterday",
        "since=2026-01-01T00:00:00",
        "slower_ms=-1",
        "slower_ms=nan",
        "code=a%00b",
        "photo_id=7",
        "limit=0",
        "limit=201",
        "cursor=bm9uZQ",
        "colour=red",
    ],
)
def test_what_can_not_be_asked_is_refused(client: httpx.Client, query: str) -> None:
    assert client.get(f"{TASKS}?{query}").status_code == 422


def test_owners_see_their_own(client: httpx.Client, conn: db.Conn, done: Seeded) -> None:
    mine = make_key(conn, "", KeyRequest(name="mine", role="viewer"), "test")
    other = make_key(conn, "", KeyRequest(name="other", role="admin", owner="ada"), "test")

    def seen(token: str) -> int:
        headers = {"Authorization": f"Bearer {token}"}
        return len(client.get(TASKS, headers=headers).json()["items"])

    assert (seen(mine.token), seen(other.token)) == (3, 0)


# -- which analyses are open --------------------------------------------------------------------


def open_files(conn: db.Conn) -> set[str]:
    return {row["file_name"] for row in conn.execute("SELECT file_name FROM analyses WHERE open")}


def test_an_analysis_is_open_until_its_outcome_whichever_comes_first(
    conn: db.Conn, seed: Seed, all_kinds: dict[str, Seeded], example: Callable[..., dict[str, Any]]
) -> None:
    assert open_files(conn) == {"off.jpg", "waiting.jpg"}
    late = seed.analyzed("late.jpg", picture("pink"))
    row = conn.execute(
        "DELETE FROM analyses WHERE analysis_id = %s RETURNING *", (late.analysis_id,)
    ).fetchone()
    assert row is not None
    conn.execute(
        "INSERT INTO analyses (analysis_id, photo_id, owner, submission_id, lane, submitted_at)"
        " VALUES (%(analysis_id)s, %(photo_id)s, %(owner)s, 'seed', 'batch', now())",
        row,
    )
    (again,) = conn.execute(
        "SELECT open FROM analyses WHERE analysis_id = %s", (late.analysis_id,)
    ).fetchall()
    assert again["open"] is False


def test_a_decided_analysis_that_was_left_open_does_not_wait(conn: db.Conn, done: Seeded) -> None:
    conn.execute("UPDATE analyses SET open = true")
    conn.execute("DELETE FROM parts WHERE stage = 'ocr'")
    assert found(conn, state="waiting") == []


def test_the_migration_tells_open_analyses_of_a_catalog_that_is_there(
    database: str, conn: db.Conn, all_kinds: dict[str, Seeded]
) -> None:
    migrations.migrate(database, "0007", lose_data=True)
    migrations.upgrade(database)
    assert open_files(conn) == {"off.jpg", "waiting.jpg"}


# -- among very many ----------------------------------------------------------------------------

MANY: Final = 20_000
EPOCH: Final = datetime(2026, 1, 1, tzinfo=UTC)

_ANALYSES: Final = """
INSERT INTO analyses (analysis_id, photo_id, owner, submission_id, lane, submitted_at, cancelled_at)
SELECT md5('a' || n)::uuid, md5('p' || n)::uuid, %(owner)s, 'x',
  CASE WHEN n %% 2000 = 7 THEN 'high' ELSE 'batch' END, at,
  CASE WHEN n %% 1000 = 3 THEN at + interval '1 minute' END
FROM generate_series(1, %(many)s) n, LATERAL (SELECT %(at)s + n * interval '1 second' AS at) x
"""
_PARTS: Final = """
INSERT INTO parts (analysis_id, stage, revision, photo_id, owner, engine, model_version, ms,
  finished_at, body, words)
SELECT md5('a' || n)::uuid, stage, 1, md5('p' || n)::uuid, %(owner)s, 'stub',
  CASE WHEN n < 20 THEN 'old@1' ELSE 'new@1' END, CASE WHEN n = 30 THEN 9000 ELSE 5 END,
  %(at)s + n * interval '1 second' + interval '1 minute', '{}', ''
FROM generate_series(1, %(many)s) n, unnest(ARRAY['detector', 'ocr', 'embedder']) stage
WHERE n %% 1000 NOT IN (2, 3) AND NOT (n %% 50 = 5 AND stage = 'ocr')
"""
_FAILURES: Final = """
INSERT INTO stage_failures (analysis_id, stage, revision, photo_id, owner, code, message, attempts,
  failed_at)
SELECT md5('a' || n)::uuid, 'ocr', 1, md5('p' || n)::uuid, %(owner)s,
  CASE WHEN n < 100 THEN 'rare' ELSE 'engine_failed' END, 'It died.', 4,
  %(at)s + n * interval '1 second' + interval '1 minute'
FROM generate_series(1, %(many)s) n WHERE n %% 50 = 5
"""
_REJECTIONS: Final = """
INSERT INTO rejections (analysis_id, revision, photo_id, owner, code, message, rejected_at)
SELECT md5('a' || n)::uuid, 1, md5('p' || n)::uuid, %(owner)s, 'not_an_image', 'It is a text.',
  %(at)s + n * interval '1 second'
FROM generate_series(1, %(many)s) n WHERE n %% 20 = 0
"""
_OUTCOMES: Final = """
INSERT INTO outcomes (analysis_id, revision, photo_id, owner, policy_revision, lane, outcome,
  calibrated, labels, partial, failed_stages, parts, reason, decided_at, event_id)
SELECT md5('a' || n)::uuid, 1, md5('p' || n)::uuid, %(owner)s, 1, 'batch', 'review', false, '[]',
  false, '{}', '[]', 'x', %(at)s + n * interval '1 second', md5('e' || n)::uuid
FROM generate_series(1, %(many)s) n WHERE n %% 1000 NOT IN (2, 3)
"""
_BATCHES: Final = """
WITH made AS (
  INSERT INTO batches (batch_id, owner, lane, state, roots, started_at)
  SELECT md5('b' || n)::uuid, %(owner)s, 'batch', 'running', '[]', now()
  FROM generate_series(0, %(many)s / 100) n)
INSERT INTO batch_items (batch_id, index, path, state, photo_id, analysis_id)
SELECT md5('b' || n / 100)::uuid, n, n::text, 'submitted', md5('p' || n)::uuid, md5('a' || n)::uuid
FROM generate_series(1, %(many)s) n
"""


@pytest.fixture
def crowd(conn: db.Conn) -> None:
    """Very many analyses."""
    given = {"owner": OWNER, "at": EPOCH, "many": MANY}
    for statement in (_ANALYSES, _PARTS, _FAILURES, _REJECTIONS, _OUTCOMES, _BATCHES):
        conn.execute(statement, given)
    conn.execute("VACUUM ANALYZE")


class Explaining:
    """A connection that also keeps how PostgreSQL answers."""

    def __init__(self, conn: db.Conn) -> None:
        self._conn = conn
        self.plan = ""

    def execute(self, query: Any, arguments: Mapping[str, Any], **how: Any) -> Any:
        """See psycopg."""
        explained = self._conn.execute("EXPLAIN ANALYZE " + query, arguments, **how)
        self.plan = "\n".join(row["QUERY PLAN"] for row in explained)
        return self._conn.execute(query, arguments, **how)


_LOOKED_AT: Final = re.compile(r"actual time=[\d.]+ rows=([\d.]+) loops=(\d+)")

MIDDLE: Final = EPOCH + timedelta(seconds=MANY // 2)


def test_every_question_is_answered_from_an_index(conn: db.Conn, crowd: None) -> None:
    (known,) = conn.execute(
        "SELECT md5('b3')::uuid AS batch, md5('p500')::uuid AS photo"
    ).fetchall()
    questions: list[tuple[dict[str, Any], str]] = [
        ({}, "parts_finished"),
        ({"stage": "ocr"}, "parts_finished"),
        ({"stage": "intake"}, "rejections_recent"),
        ({"state": "done"}, "parts_finished"),
        ({"state": "failed"}, "stage_failures_recent"),
        ({"state": "cancelled"}, "analyses_cancelled"),
        ({"state": "waiting"}, "analyses_open"),
        ({"lane": "high", "state": "done"}, "analyses_by_lane"),
        ({"lane": "batch", "state": "done"}, "parts_finished"),
        ({"since": MIDDLE}, "parts_finished"),
        ({"until": MIDDLE}, "parts_finished"),
        ({"photo_id": known["photo"]}, "analyses_of_photo"),
        ({"batch_id": known["batch"], "state": "done"}, "batch_items_"),
        ({"model_version": "old@1"}, "parts_by_model"),
        ({"model_version": "new@1"}, "parts_"),
        ({"code": "rare"}, "stage_failures_by_code"),
        ({"slower_ms": 1000}, "parts_slow"),
    ]
    for chosen, index in questions:
        spy: Any = Explaining(conn)
        first, place = tasks(spy, OWNER, TaskFilter(**chosen), None, 20)
        assert first, chosen
        plans = [spy.plan]
        if place is not None:
            assert tasks(spy, OWNER, TaskFilter(**chosen), place, 20)[0], chosen
            plans.append(spy.plan)
        for plan in plans:
            assert index in plan, (chosen, plan)
            # Small tables may be read whole; none that has a row for each analysis.
            assert not re.search(r"Seq Scan on (parts|analyses|outcomes)", plan), (chosen, plan)
            looked = max(float(rows) * int(loops) for rows, loops in _LOOKED_AT.findall(plan))
            assert looked < MANY / 10, (chosen, looked, plan)
