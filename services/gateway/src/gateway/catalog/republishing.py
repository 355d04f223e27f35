"""What brokers must know, read from the catalog, for one that knows nothing (any more).

Everything is said under the id that it had: who knows it already drops it. Pages are bounded;
each function takes an open connection, blocks, and lets psycopg's errors through.
"""

from collections.abc import Sequence
from typing import Any, Final, LiteralString, NamedTuple
from uuid import UUID

from gateway.catalog import controls, models, policies, repairs, reviews
from gateway.catalog.imports import import_of, intake_event
from gateway.catalog.items import Place, joined_event
from gateway.catalog.submissions import Status, Submitted
from gateway.db import Conn
from streamkit import Emit

FIRST: Final = UUID(int=0)


class Page(NamedTuple):
    """Events, and the place to go on behind; None at the end."""

    events: Sequence[Emit]
    after: Any


def what_holds(conn: Conn) -> list[Emit]:
    """Policies, what operators have set, and which versions of models hold: of each topic that is
    read to its end before any work."""
    return [*policies.said(conn), *controls.said(conn), *models.said(conn)]


def forget_offsets(conn: Conn) -> None:
    """Have all that refers to records of before done anew; a part of the caller's transaction.

    Dead letters are read from their topics again, loads told again, photos asked for again that
    were to be embedded by another version, failures tried again, trainings prepared again that no
    trainer has begun.
    """
    for statement in _ANEW:
        conn.execute(statement)


_ANEW: Final[tuple[LiteralString, ...]] = (
    "DELETE FROM dead_letters",
    "DELETE FROM dead_letter_places",
    "DELETE FROM lane_loads",
    "DELETE FROM embedding_requests WHERE ended_at IS NULL",
    "UPDATE failure_replay_items SET sent_at = NULL"
    " WHERE ended_at IS NULL AND new_analysis_id IS NULL",
    "UPDATE trainings SET state = 'requested', note = NULL, waits_since = NULL, against = NULL,"
    " prepared_at = NULL WHERE state = 'prepared'",
)


def submissions(conn: Conn, after: UUID, limit: int) -> Page:
    """What asks for analyses that have no end."""
    rows = conn.execute(
        "SELECT analysis_id::text FROM analyses WHERE open AND cancelled_at IS NULL"
        " AND analysis_id > %s ORDER BY analysis_id LIMIT %s",
        (after, limit),
    ).fetchall()
    found = [row["analysis_id"] for row in rows]
    following = UUID(found[-1]) if len(found) == limit else None
    return Page(repairs.submission_events(conn, found), following)


def imports(conn: Conn) -> list[str]:
    """Imports that are not completed."""
    rows = conn.execute("SELECT batch_id::text FROM batches WHERE completed_at IS NULL ORDER BY 1")
    return [row["batch_id"] for row in rows]


def scan_of(conn: Conn, batch_id: str) -> list[Emit]:
    """How far the scan of an import is."""
    if sealed := repairs.last_intake(conn, batch_id):
        return sealed
    row = conn.execute("SELECT * FROM batches WHERE batch_id = %s", (batch_id,)).fetchone()
    if row is None:
        return []
    counts = {name: row[name] for name in ("found", "duplicates", "refused", "submitted")}
    return [intake_event(import_of(row), "scanning", counts)]


def memberships(conn: Conn, batch_id: str, after: int, limit: int) -> Page:
    """Which analyses an import waits for."""
    rows = conn.execute(_OPEN, (batch_id, after, limit)).fetchall()
    following = rows[-1]["index"] if len(rows) == limit else None
    return Page([_joined(row) for row in rows], following)


_OPEN: LiteralString = """
SELECT b.*, i.index, i.path, i.photo_id, i.analysis_id
FROM batch_items i JOIN batches b USING (batch_id)
WHERE i.batch_id = %s AND i.index > %s AND i.state = 'submitted' AND i.ended IS NULL
ORDER BY i.index LIMIT %s
"""


def _joined(row: dict[str, Any]) -> Emit:
    submitted = Submitted(Status.JOINED, str(row["photo_id"]), str(row["analysis_id"]))
    return joined_event(import_of(row), Place(row["index"], row["path"]), submitted)


def ends(conn: Conn, batch_id: str, after: int, limit: int) -> Page:
    """What the files of an import came to that have their ends."""
    return Page(*repairs.ended_after(conn, batch_id, after, limit))


def answers(conn: Conn, after: UUID, limit: int) -> Page:
    """What people said about photos: no machine can make it again."""
    events = reviews.said(conn, after, limit)
    return Page(events, UUID(events[-1].id) if len(events) == limit else None)
