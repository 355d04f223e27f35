"""Jobs of the control door that keep the catalog small, and tell how the day went."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Final
from uuid import UUID

import structlog

from gateway.catalog import import_commands, photo_forgetting, statistics
from gateway.catalog.audit import audit, forget_audit
from gateway.catalog.import_commands import ImportStateError
from gateway.catalog.imports import FINAL
from gateway.catalog.jobs import forget_runs
from gateway.catalog.keys import forget_sessions
from gateway.catalog.model_reports import forget_replicas
from gateway.catalog.notices import forget_notices
from gateway.catalog.schedules import STATISTICS
from gateway.control.archives import forget_strays
from gateway.control.job_run import Job, JobContext
from gateway.db import Conn
from streamkit import ObjectStore, Reject

_log = structlog.get_logger("gateway.schedules")

RETENTION: Final = "retention"

_AT_ONCE: Final = 500

_LESSON_DAYS: Final = 7
_LESSON: Final = ("manifest-", "vectors-", "folds/")
"""What a training learned from, below its folder."""


def statistics_job() -> Job:
    """Every hour, how the last 24 went; the report is what `GET /v1/statistics` answers."""

    def run(conn: Conn, _context: JobContext) -> Mapping[str, Any]:
        return statistics.last_day(conn).model_dump(mode="json")

    return Job(STATISTICS, "5 * * * *", run, time_limit_s=600.0)


@dataclass(frozen=True, slots=True)
class Kept:
    """For how many days what is kept; 0: for good."""

    notices: int = 90
    audit: int = 0
    photos: int = 0
    uploads: int = 7
    """Without a file, until an upload is cancelled."""


def retention_job(objects: ObjectStore, kept: Kept) -> Job:
    """Every day: what is old and of no use any more, or shall not be kept."""

    def run(conn: Conn, context: JobContext) -> Mapping[str, Any]:
        report = {
            "notices": forget_notices(conn, kept.notices),
            "runs": forget_runs(conn, kept.notices),
            "audit": forget_audit(conn, kept.audit) if kept.audit else 0,
            "sessions": forget_sessions(conn),
            "replicas": forget_replicas(conn),
            "uploads": cancel_uploads(conn, context, kept.uploads),
        }
        # The last, since the store may be away.
        report["archives"] = forget_archives(conn, context, objects)
        report["lessons"] = forget_lessons(conn, context, objects)
        report["photos"] = forget_photos(conn, context, objects, kept.photos) if kept.photos else 0
        return report | {"strays": forget_strays(conn, objects)}

    return Job(RETENTION, "10 3 * * *", run, time_limit_s=3_600.0)


def forget_photos(conn: Conn, context: JobContext, objects: ObjectStore, days: int) -> int:
    """Delete photos that were handed in so long ago, with all that is known of them; how many.

    Bytes go first, so that a kill leaves none that nothing names: the next run finds the photo
    again. Raises Retry, psycopg.Error.
    """
    forgotten = 0
    while True:
        context.check()
        with conn.transaction():
            page = photo_forgetting.old(conn, days, _AT_ONCE)
            ours = [uri for uri in photo_forgetting.unshared(conn, page) if objects.is_own(uri)]
            for uri in ours:
                objects.delete(uri)
            photo_forgetting.forget(conn, page)
            if page:
                audit(conn, RETENTION, "photos.forgotten", "photos", {"count": len(page)})
        if again := photo_forgetting.named(conn, ours):
            _log.error("handed_in_while_forgotten", uris=again)
        forgotten += len(page)
        if len(page) < _AT_ONCE:
            return forgotten


def cancel_uploads(conn: Conn, context: JobContext, days: int) -> int:
    """Cancel imports that a client began to upload, and has sent nothing to for so long."""
    idle = conn.execute(
        """
        SELECT b.batch_id, b.owner FROM batches b
        WHERE b.kind = 'upload' AND b.state IN ('scanning', 'paused') AND NOT b.sealed
          AND greatest(b.started_at, (SELECT i.recorded_at FROM batch_items i
            WHERE i.batch_id = b.batch_id ORDER BY i.index DESC LIMIT 1))
            < now() - make_interval(days => %s)
        """,
        (days,),
    ).fetchall()
    cancelled = 0
    for row in idle:
        context.check()
        try:
            import_commands.cancel(conn, str(row["owner"]), row["batch_id"], RETENTION)
            cancelled += 1
        except ImportStateError as error:  # it was sealed and ended in between
            _log.info("upload_over", batch_id=str(row["batch_id"]), reason=error.code)
    return cancelled


def forget_archives(conn: Conn, context: JobContext, objects: ObjectStore) -> int:
    """Delete archives whose imports are over; their photos are objects of their own."""
    forgotten = 0
    for batch_id, uri in _archives(conn):
        context.check()
        objects.delete(uri)
        conn.execute(
            "UPDATE batches SET location = location || '{\"forgotten\": true}' WHERE batch_id = %s",
            (batch_id,),
        )
        forgotten += 1
    return forgotten


def forget_lessons(conn: Conn, context: JobContext, objects: ObjectStore) -> int:
    """Delete what trainings learned from that ended days ago; heads and reports stay. How many."""
    forgotten = 0
    while rows := conn.execute(
        "SELECT request_id::text FROM trainings WHERE prepared_at IS NOT NULL AND tidied_at IS NULL"
        " AND ended_at < now() - make_interval(days => %s) LIMIT %s",
        (_LESSON_DAYS, _AT_ONCE),
    ).fetchall():
        for row in rows:
            context.check()
            _forget_lesson(objects, f"trainings/{row['request_id']}")
            conn.execute(
                "UPDATE trainings SET tidied_at = now() WHERE request_id = %s", (row["request_id"],)
            )
        forgotten += len(rows)
    return forgotten


def _forget_lesson(objects: ObjectStore, key: str) -> None:
    folder = objects.uri_of(key)
    try:
        names = [listed.path for listed in objects.list(folder)]
    except Reject as error:
        if error.code == "object_missing":
            return
        raise
    for name in names:
        if name.startswith(_LESSON):
            objects.delete(objects.within(folder, name))


def _archives(conn: Conn) -> Iterator[tuple[UUID, str]]:
    """Those that are over and still lie there; the row says it once one is deleted."""
    while rows := conn.execute(
        "SELECT batch_id, location ->> 'uri' AS uri FROM batches WHERE kind = 'archive'"
        " AND state = ANY(%s) AND NOT location ? 'forgotten' LIMIT %s",
        (list(FINAL), _AT_ONCE),
    ).fetchall():
        yield from ((row["batch_id"], row["uri"]) for row in rows)
