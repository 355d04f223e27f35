"""What is old goes; how the last day went is reckoned."""

from pathlib import Path
from typing import Any
from uuid import UUID, uuid4

import pytest
from psycopg.types.json import Jsonb

from catalog_seed import OWNER, Look, Seed, picture
from gateway import db
from gateway.catalog import statistics
from gateway.catalog.imports import begin_import
from gateway.catalog.notices import add_notice
from gateway.catalog.outbox import Outbox
from gateway.control.job_run import JobContext
from gateway.control.tidying import (
    cancel_uploads,
    forget_archives,
    forget_lessons,
    retention_job,
    statistics_job,
)
from streamkit import ObjectStore

CONTEXT = JobContext("retention")


def begin(conn: db.Conn, outbox: Outbox, kind: Any, **location: str) -> UUID:
    made = begin_import(
        conn, outbox, owner=OWNER, lane="batch", kind=kind, roots=["x"], location=location
    )
    return UUID(made)


def state(conn: db.Conn, batch_id: UUID) -> str:
    row = conn.execute("SELECT state FROM batches WHERE batch_id = %s", (batch_id,)).fetchone()
    return str(row and row["state"])


def age(conn: db.Conn, batch_id: UUID, days: int) -> None:
    conn.execute(
        "UPDATE batches SET started_at = now() - make_interval(days => %s) WHERE batch_id = %s",
        (days, batch_id),
    )


def test_uploads_that_nobody_goes_on_with_are_cancelled(conn: db.Conn, outbox: Outbox) -> None:
    left, slow, young, folder = (
        begin(conn, outbox, kind) for kind in ("upload", "upload", "upload", "folder")
    )
    for one in (left, slow, folder):
        age(conn, one, 8)
    for one, days in ((left, 8), (slow, 1)):
        conn.execute(
            "INSERT INTO batch_items (batch_id, index, path, state, code, message, recorded_at)"
            " VALUES (%s, 0, 'a', 'refused', 'x', 'x', now() - make_interval(days => %s))",
            (one, days),
        )
    assert cancel_uploads(conn, CONTEXT, 7) == 1
    states = [state(conn, one) for one in (left, slow, young, folder)]
    assert states == ["cancelling", "scanning", "scanning", "scanning"]
    assert cancel_uploads(conn, CONTEXT, 7) == 0


def test_what_trainings_learned_from_goes_but_heads_and_reports_stay(
    conn: db.Conn, store: ObjectStore
) -> None:
    old, young, waiting, empty = (str(uuid4()) for _ in range(4))
    for request_id, ended_days in ((old, 8), (young, 6), (waiting, None), (empty, 8)):
        conn.execute(
            "INSERT INTO trainings (request_id, owner, model, reason, state, requested_at,"
            " prepared_at, ended_at) VALUES (%s, %s, %s, 'person', 'candidate', now(), now(),"
            " now() - make_interval(days => %s))",
            (request_id, OWNER, request_id, ended_days),
        )
        if request_id != empty:
            for name in ("manifest-1.json", "vectors-1.npy", "head-1.safetensors", "report-1.json"):
                store.put(f"trainings/{request_id}/{name}", b"x")
    assert forget_lessons(conn, CONTEXT, store) == 2
    assert forget_lessons(conn, CONTEXT, store) == 0

    def left(request_id: str) -> list[str]:
        return [one.path for one in store.list(store.uri_of(f"trainings/{request_id}"))]

    assert left(old) == ["head-1.safetensors", "report-1.json"]
    assert len(left(young)) == len(left(waiting)) == 4


def test_archives_go_once_their_imports_are_over(
    conn: db.Conn, outbox: Outbox, store: ObjectStore
) -> None:
    uris = [store.put(f"archives/{name}", b"zip") for name in ("over", "open")]
    over, _open = (begin(conn, outbox, "archive", uri=uri, name="a.zip") for uri in uris)
    conn.execute("UPDATE batches SET state = 'completed' WHERE batch_id = %s", (over,))
    for forgotten in (1, 0):
        assert forget_archives(conn, CONTEXT, store) == forgotten
    assert [listed.path for listed in store.list(uris[0].removesuffix("/over"))] == ["open"]


def test_old_notices_go_and_young_ones_stay(
    conn: db.Conn, outbox: Outbox, store: ObjectStore
) -> None:
    told = {"kind": "x", "service": "x", "subject": "x", "severity": "info", "title": "x"}
    for name in ("old", "young"):
        add_notice(conn, **told, detail=name, notice_id=str(uuid4()))  # type: ignore[arg-type]
    conn.execute("UPDATE notices SET recorded_at = now() - interval '91 days' WHERE detail = 'old'")
    report = retention_job(store, keep_days=90, upload_days=7).run(conn, CONTEXT)
    assert {what: gone for what, gone in report.items() if gone} == {"notices": 1}
    assert conn.execute("SELECT detail FROM notices").fetchall() == [{"detail": "young"}]


def test_the_last_day_in_numbers(conn: db.Conn, tmp_path: Path) -> None:
    seed = Seed(conn, tmp_path)
    seed.analyzed("a.jpg", picture("#111111"))
    unsure = seed.analyzed("b.jpg", picture("#222222"), Look(labels=(("dog", 0.6),)))
    seed.analyzed("c.jpg", picture("#333333"), Look(labels=(("dog", 0.4),), outcome="review"))
    old = seed.analyzed("d.jpg", picture("#444444"))
    seed.rejected("e.jpg", "image_truncated", "The file ends too early.")
    conn.execute(
        "UPDATE outcomes SET decided_at = now() - interval '2 days' WHERE photo_id = %s",
        (old.photo_id,),
    )
    batch = seed.batch([unsure], {})
    conn.execute(
        "INSERT INTO batch_items (batch_id, index, path, state, code, message)"
        " VALUES (%s, 1, 'f', 'refused', 'file_forbidden', 'No permission.')",
        (batch,),
    )
    day = statistics.last_day(conn)
    assert (day.total, day.success, day.failed) == (5, 3, 2)
    assert (day.auto_labeled, day.review, day.rejected, day.refused) == (2, 1, 1, 1)
    assert day.success_rate == pytest.approx(0.6)
    assert [(one.label, one.count, one.review) for one in day.labels] == [
        ("dog", 2, 1),
        ("tabby", 1, 0),
    ]
    assert {(one.kind, one.code, one.count) for one in day.reasons} == {
        ("rejected", "image_truncated", 1),
        ("refused", "file_forbidden", 1),
    }
    assert day.durations["batch"].of == 3
    assert 0 < day.durations["batch"].p50 <= day.durations["batch"].p95
    report = statistics_job().run(conn, JobContext("statistics"))
    assert conn.execute("SELECT %s AS report", (Jsonb(report),)).fetchone() is not None


def test_a_day_of_nothing_has_no_rate(conn: db.Conn) -> None:
    day = statistics.last_day(conn)
    assert (day.total, day.success_rate, day.labels, day.durations) == (0, None, [], {})
