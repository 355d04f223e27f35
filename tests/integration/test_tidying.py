"""What is old goes; how the last day went is reckoned."""

from pathlib import Path
from typing import Any
from uuid import UUID, uuid4

import pytest
from psycopg.types.json import Jsonb

from catalog_seed import OWNER, Look, Seed, Seeded, picture
from filled_tables import ID, fill
from gateway import db
from gateway.catalog import photo_forgetting, read_batches, statistics
from gateway.catalog.imports import begin_import
from gateway.catalog.notices import add_notice
from gateway.catalog.outbox import Outbox
from gateway.control.job_run import JobContext
from gateway.control.tidying import (
    Kept,
    cancel_uploads,
    forget_archives,
    forget_lessons,
    forget_photos,
    retention_job,
    statistics_job,
)
from streamkit import ObjectStore, Retry

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
    report = retention_job(store, Kept()).run(conn, CONTEXT)
    assert {what: gone for what, gone in report.items() if gone} == {"notices": 1}
    assert conn.execute("SELECT detail FROM notices").fetchall() == [{"detail": "young"}]


def test_the_audit_log_is_kept_for_good_unless_somebody_says_otherwise(
    conn: db.Conn, store: ObjectStore
) -> None:
    for name, days in (("old", 31), ("young", 29)):
        conn.execute(
            "INSERT INTO audit (who, what, subject, at) VALUES ('ada', 'x', %s,"
            " now() - make_interval(days => %s))",
            (name, days),
        )
    assert retention_job(store, Kept()).run(conn, CONTEXT)["audit"] == 0
    assert retention_job(store, Kept(audit=30)).run(conn, CONTEXT)["audit"] == 1
    assert conn.execute("SELECT subject FROM audit").fetchall() == [{"subject": "young"}]


# -- photos --------------------------------------------------------------------------------------


def aged(conn: db.Conn, days: int, *photos: Seeded) -> None:
    """These photos were handed in so long ago."""
    ids = [photo.photo_id for photo in photos]
    for table, column in (("photos", "created_at"), ("analyses", "submitted_at")):
        conn.execute(
            f"UPDATE {table} SET {column} = now() - make_interval(days => %s)"  # noqa: S608
            " WHERE photo_id = ANY(%s::uuid[])",
            (days, ids),
        )


def left(conn: db.Conn) -> set[str]:
    return {row["file_name"] for row in conn.execute("SELECT file_name FROM photos").fetchall()}


def test_photos_are_kept_for_good_unless_somebody_says_otherwise(
    conn: db.Conn, store: ObjectStore, seed: Seed
) -> None:
    aged(conn, 4_000, seed.analyzed("a.jpg", picture()))
    assert retention_job(store, Kept()).run(conn, CONTEXT)["photos"] == 0
    assert left(conn) == {"a.jpg"}


def test_an_old_photo_goes_with_its_bytes_and_all_that_is_known_of_it(
    conn: db.Conn, store: ObjectStore, seed: Seed, objects: Path
) -> None:
    old = seed.analyzed("old.jpg", picture("#110000"), Look(text="secret"))
    young = seed.analyzed("young.jpg", picture("#220000"))
    aged(conn, 31, old)
    aged(conn, 29, young)
    fill_about(conn, old)
    assert forget_photos(conn, CONTEXT, store, 30) == 1
    assert left(conn) == {"young.jpg"}
    assert len(list(objects.iterdir())) == 1
    for table in photo_forgetting.FORGOTTEN:
        rows = conn.execute(f"SELECT FROM {table} WHERE photo_id = %s", (old.photo_id,))
        assert rows.rowcount == 0, table
    assert conn.execute("SELECT FROM failure_discards").rowcount == 0
    assert forget_photos(conn, CONTEXT, store, 30) == 0


def fill_about(conn: db.Conn, photo: Seeded) -> None:
    """A row about the photo in every table that can have one."""
    fill(conn)
    conn.execute("SET session_replication_role = replica")
    for table in photo_forgetting.FORGOTTEN:
        conn.execute(
            f"UPDATE {table} SET photo_id = %s WHERE photo_id = %s"  # noqa: S608
            f" AND NOT EXISTS (SELECT FROM {table} WHERE photo_id = %s)",
            (photo.photo_id, ID, photo.photo_id),
        )
    conn.execute("UPDATE failure_discards SET analysis_id = %s", (photo.analysis_id,))
    conn.execute("SET session_replication_role = origin")
    conn.execute("DELETE FROM photos WHERE photo_id = %s", (ID,))


def test_every_table_that_names_photos_forgets_them_or_says_why_not(conn: db.Conn) -> None:
    rows = conn.execute(
        "SELECT table_name FROM information_schema.columns"
        " WHERE table_schema = current_schema() AND column_name = 'photo_id'"
    )
    named = {row["table_name"] for row in rows.fetchall()}
    assert named == {*photo_forgetting.FORGOTTEN, *photo_forgetting.STAYING}


def test_what_somebody_waits_for_is_not_forgotten(
    conn: db.Conn, store: ObjectStore, seed: Seed
) -> None:
    open_ = seed.requested("open.jpg", picture("#110000"))
    again = seed.analyzed("again.jpg", picture("#220000"))
    imported = seed.analyzed("imported.jpg", picture("#330000"))
    seed.batch([imported], {})
    aged(conn, 31, open_, again, imported)
    conn.execute("UPDATE analyses SET submitted_at = now() WHERE photo_id = %s", (again.photo_id,))
    assert forget_photos(conn, CONTEXT, store, 30) == 0
    conn.execute("UPDATE batches SET completed_at = now()")
    assert forget_photos(conn, CONTEXT, store, 30) == 1
    assert left(conn) == {"open.jpg", "again.jpg"}


def test_bytes_that_another_owner_has_too_are_kept(
    conn: db.Conn, store: ObjectStore, seed: Seed, objects: Path
) -> None:
    old = seed.analyzed("old.jpg", picture())
    conn.execute(
        "INSERT INTO photos (photo_id, owner, sha256, source_uri, file_name)"
        " SELECT gen_random_uuid(), gen_random_uuid(), sha256, source_uri, 'other.jpg' FROM photos"
    )
    aged(conn, 31, old)
    assert forget_photos(conn, CONTEXT, store, 30) == 1
    assert left(conn) == {"other.jpg"}
    assert len(list(objects.iterdir())) == 1


def test_bytes_in_other_stores_are_not_ours_to_delete(
    conn: db.Conn, seed: Seed, objects: Path, tmp_path: Path
) -> None:
    aged(conn, 31, seed.analyzed("old.jpg", picture()))
    elsewhere = ObjectStore(f"file://{tmp_path}/elsewhere", [f"file://{objects}"])
    assert forget_photos(conn, CONTEXT, elsewhere, 30) == 1
    assert len(list(objects.iterdir())) == 1


def test_a_photo_whose_bytes_can_not_be_deleted_stays(
    conn: db.Conn, seed: Seed, objects: Path
) -> None:
    class Away(ObjectStore):
        def delete(self, uri: str) -> None:
            raise Retry("away", dependency="object store")

    aged(conn, 31, seed.analyzed("old.jpg", picture()))
    with pytest.raises(Retry):
        forget_photos(conn, CONTEXT, Away(f"file://{objects}"), 30)
    assert left(conn) == {"old.jpg"}


def test_an_import_is_shown_still_when_its_photos_are_forgotten(
    conn: db.Conn, store: ObjectStore, seed: Seed
) -> None:
    old = seed.analyzed("old.jpg", picture())
    batch = seed.batch([old], {})
    seed.ended(batch, 0, "auto_labeled")
    conn.execute("UPDATE batches SET completed_at = now(), state = 'completed'")
    aged(conn, 31, old)
    assert forget_photos(conn, CONTEXT, store, 30) == 1
    (item,), _ = read_batches.items(conn, OWNER, UUID(batch), kind=None, after=-1, limit=10)
    assert (item.path, item.status, item.photo) == ("/photos/trip/old.jpg", "analyzed", None)


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
