"""What became of imports, as the events of the aggregator say it; contracts as in `results`.

The first end of a file and the first completion of an import stand; totals only grow.
"""

from collections.abc import Mapping
from operator import itemgetter
from typing import Any, Final

from psycopg.types.json import Jsonb

from darkroom_schemas import ids
from darkroom_schemas.events import BatchCompleted, BatchPhotoEnded, BatchProgressed
from gateway.catalog import notices
from gateway.catalog.completions import completion_notice
from gateway.db import Conn


def record_end(conn: Conn, *events: BatchPhotoEnded) -> None:
    """Submitted files have their ends."""
    # Sorting keeps the events of one file in their order: the first of them is the one that counts.
    ordered = sorted(events, key=itemgetter("batch_id", "index"))
    with conn.cursor() as cursor:
        cursor.executemany(
            "UPDATE batch_items SET ended = %(end)s, partial = %(partial)s,"
            " ended_at = %(ended_at)s WHERE batch_id = %(batch_id)s AND index = %(index)s"
            " AND state = 'submitted' AND ended IS NULL",
            ordered,
        )


def record_progress(conn: Conn, *events: BatchProgressed) -> None:
    """Where imports stand; an event that says less than what is known is passed over."""
    values: list[dict[str, Any]] = [
        {
            "batch_id": event["batch_id"],
            "found": event["found"],
            "ended": event["accepted"] + event["rejected"],
            "totals": Jsonb(_totals(event, event["pending"], event["sealed"])),
        }
        for event in events
    ]
    with conn.cursor() as cursor:
        cursor.executemany(
            """
            UPDATE batches SET totals = %(totals)s WHERE batch_id = %(batch_id)s
            AND completed_at IS NULL AND (totals IS NULL OR (
                (totals ->> 'found')::bigint <= %(found)s
                AND (totals ->> 'accepted')::bigint + (totals ->> 'rejected')::bigint
                    <= %(ended)s))
            """,
            sorted(values, key=itemgetter("batch_id")),
        )


def record_completion(conn: Conn, *events: BatchCompleted) -> None:
    """Imports are over; whoever runs them is told."""
    for event in sorted(events, key=itemgetter("batch_id")):
        failed = event["rejected"] + event["partial"] > 0
        batch = conn.execute(
            _COMPLETE,
            {
                "batch_id": event["batch_id"],
                "totals": Jsonb(_totals(event, 0, True)),
                "completed_at": event["completed_at"],
                "state": "completed_with_failures" if failed else "completed",
            },
        ).fetchone()
        if batch is not None:
            _tell(conn, event, batch)


_COMPLETE: Final = """
UPDATE batches SET totals = %(totals)s, completed_at = %(completed_at)s, sealed = true,
    state = CASE WHEN cancelled_at IS NULL THEN %(state)s ELSE 'cancelled' END
WHERE batch_id = %(batch_id)s AND completed_at IS NULL
RETURNING owner, state, kind, location, roots, source_id, cancelled_by
"""


def _tell(conn: Conn, event: BatchCompleted, batch: Mapping[str, Any]) -> None:
    """Add the notice, if there is anything to tell: a source is looked through again and again."""
    if batch["source_id"] is not None and event["accepted"] + event["rejected"] == 0:
        return
    reasons = _reasons(conn, event["batch_id"]) if event["rejected"] else {}
    notice = completion_notice(event, batch, reasons)
    notices.add_notice(
        conn,
        kind="batch_completed",
        service="gateway",
        subject=event["batch_id"],
        severity=notice.severity,
        title=notice.title,
        detail=notice.detail,
        owner=str(batch["owner"]),
        notice_id=ids.batch_event_id(event["batch_id"], "notice:completed"),
    )


def _reasons(conn: Conn, batch_id: str) -> dict[str, int]:
    """Why files were rejected, as sentences, and how often: the most frequent ones, so far as
    they are recorded."""
    rows = conn.execute(
        """
        SELECT coalesce(i.message, r.message) AS reason, count(*) AS files
        FROM batch_items i
        LEFT JOIN LATERAL (
            SELECT message FROM rejections x WHERE x.analysis_id = i.analysis_id
            ORDER BY revision DESC LIMIT 1) r ON i.state = 'submitted'
        WHERE i.batch_id = %s AND (i.state = 'refused' OR i.ended = 'rejected')
          AND coalesce(i.message, r.message) IS NOT NULL
        GROUP BY 1 ORDER BY files DESC, reason LIMIT 3
        """,
        (batch_id,),
    )
    return {row["reason"]: row["files"] for row in rows}


def _totals(event: BatchProgressed | BatchCompleted, pending: int, sealed: bool) -> dict[str, Any]:
    counts = (
        *("found", "duplicates", "accepted", "auto_labeled", "suggested", "review"),
        *("rejected", "cancelled", "partial"),
    )
    values: Mapping[str, Any] = event
    return {**{name: values[name] for name in counts}, "pending": pending, "sealed": sealed}
