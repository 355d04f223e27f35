"""What in the catalog waits for something that may have been missed; contracts as in `read`.

Bounded: each function reads at most `limit` rows, or one import. Nothing here says that something
is wrong: whatever it finds may be merely slow, which `control/reconcile.py` finds out.
"""

from collections.abc import Collection, Mapping
from dataclasses import dataclass, fields
from datetime import UTC, datetime, timedelta
from typing import Any, Final, LiteralString
from uuid import UUID

from gateway.db import Conn

_ENDED: LiteralString = """
(a.cancelled_at IS NOT NULL
  OR EXISTS (SELECT FROM rejections r WHERE r.analysis_id = a.analysis_id)
  OR EXISTS (SELECT FROM outcomes o WHERE o.analysis_id = a.analysis_id))
"""
"""Of an analysis `a`."""

_MENDED: LiteralString = """
EXISTS (SELECT FROM outcomes o WHERE o.analysis_id = a.analysis_id AND o.partial
  AND NOT EXISTS (SELECT FROM outcomes x
    WHERE x.analysis_id = a.analysis_id AND x.revision > o.revision)
  AND EXISTS (SELECT FROM parts y WHERE y.analysis_id = a.analysis_id
    AND y.revision = a.revision AND y.stage = ANY(o.failed_stages)))
"""
"""Of an analysis `a`: a part came after a partial outcome, which nothing has superseded."""


@dataclass(frozen=True, slots=True)
class Place:
    """A place among all analyses, in the order in which they were submitted."""

    submitted_at: datetime
    analysis_id: UUID


BEGINNING: Final = Place(datetime(1, 1, 1, tzinfo=UTC), UUID(int=0))


def place_of(seconds_ago: float) -> Place:
    """The place of an analysis that was submitted so long ago."""
    return Place(datetime.now(UTC) - timedelta(seconds=seconds_ago), UUID(int=0))


_SLICE: LiteralString = (
    "SELECT a.submitted_at, a.analysis_id, NOT "  # noqa: S608  # literals only
    + _ENDED
    + " OR "
    + _MENDED
    + """ AS waits FROM analyses a
WHERE (a.submitted_at, a.analysis_id) > (%(at)s, %(id)s)
  AND a.submitted_at < now() - make_interval(secs => %(grace)s)
ORDER BY a.submitted_at, a.analysis_id LIMIT %(limit)s
"""
)


def waiting_among(
    conn: Conn, after: Place, grace_s: float, limit: int
) -> tuple[list[str], Place | None]:
    """Of the `limit` analyses after a place those that wait for an outcome; where to go on.

    That is None when the last of those that are older than `grace_s` was among them.
    """
    rows = conn.execute(
        _SLICE,
        {"at": after.submitted_at, "id": after.analysis_id, "grace": grace_s, "limit": limit},
    ).fetchall()
    waits = [str(row["analysis_id"]) for row in rows if row["waits"]]
    if len(rows) < limit:
        return waits, None
    return waits, Place(rows[-1]["submitted_at"], rows[-1]["analysis_id"])


@dataclass(frozen=True, slots=True)
class Waiting:
    """An analysis that waits for an outcome: how many seconds, and what its stages said so far.

    `requested_s` is None while intake has not answered; `quiet_s` counts from the last part or
    failure, None before the first. `mended`: it has a partial outcome, and a part that came later.
    """

    analysis_id: str
    photo_id: str
    owner: str
    revision: int
    policy_revision: int
    lane: str
    submitted_s: float
    requested_s: float | None
    quiet_s: float | None
    parts: frozenset[str]
    failed: frozenset[str]
    mended: bool = False


_WAITING: LiteralString = (
    "SELECT *, extract(epoch FROM now() - at)::float8 AS quiet_s FROM (SELECT "  # noqa: S608
    + _MENDED
    + """ AS mended, """
    + _ENDED
    + """ AS ended,
  a.analysis_id::text, a.photo_id::text, a.owner::text, a.revision, a.policy_revision, a.lane,
  extract(epoch FROM now() - a.submitted_at)::float8 AS submitted_s,
  extract(epoch FROM now() - a.requested_at)::float8 AS requested_s,
  greatest(p.at, f.at) AS at, coalesce(p.stages, '{}') AS parts, coalesce(f.stages, '{}') AS failed
FROM analyses a
LEFT JOIN LATERAL (SELECT array_agg(stage) AS stages, max(finished_at) AS at FROM parts y
  WHERE y.analysis_id = a.analysis_id AND y.revision = a.revision) p ON true
LEFT JOIN LATERAL (SELECT array_agg(stage) AS stages, max(failed_at) AS at FROM stage_failures y
  WHERE y.analysis_id = a.analysis_id AND y.revision = a.revision) f ON true
WHERE a.analysis_id = ANY(%(ids)s::uuid[])) each WHERE mended OR NOT ended
"""
)


def standings(conn: Conn, ids: Collection[str]) -> list[Waiting]:
    """Those of the analyses that wait for an outcome."""
    return [_waiting(row) for row in conn.execute(_WAITING, {"ids": list(ids)})]


def _waiting(row: Mapping[str, Any]) -> Waiting:
    values = {field.name: row[field.name] for field in fields(Waiting)}
    sets: dict[str, Any] = {name: frozenset(row[name]) for name in ("parts", "failed")}
    return Waiting(**{**values, **sets})


@dataclass(frozen=True, slots=True)
class OpenEnd:
    """A file of an import that has no end though the catalog knows what it came to."""

    batch_id: str
    index: int


_OPEN_ENDS: LiteralString = """
SELECT i.batch_id::text, i.index
FROM batch_items i JOIN batches b USING (batch_id)
LEFT JOIN analyses a ON a.analysis_id = i.analysis_id
WHERE i.state = 'submitted' AND i.ended IS NULL AND (
  (b.sealed AND b.cancelled_at < now() - make_interval(secs => %(grace)s))
  OR a.cancelled_at < now() - make_interval(secs => %(grace)s)
  OR EXISTS (SELECT FROM outcomes o WHERE o.analysis_id = i.analysis_id
    AND o.decided_at < now() - make_interval(secs => %(grace)s))
  OR EXISTS (SELECT FROM rejections r WHERE r.analysis_id = i.analysis_id
    AND r.rejected_at < now() - make_interval(secs => %(grace)s)))
LIMIT %(limit)s
"""


def open_ends(conn: Conn, grace_s: float, limit: int) -> list[OpenEnd]:
    """Files whose photos ended longer than `grace_s` ago, and which were not told to have."""
    rows = conn.execute(_OPEN_ENDS, {"grace": grace_s, "limit": limit})
    return [OpenEnd(**row) for row in rows]


_SILENT: LiteralString = """
SELECT b.batch_id::text FROM batches b
WHERE b.sealed AND b.completed_at IS NULL
  AND NOT EXISTS (SELECT FROM batch_items i WHERE i.batch_id = b.batch_id
    AND i.state = 'submitted' AND i.ended IS NULL)
ORDER BY b.started_at, b.batch_id LIMIT %(limit)s
"""


def silent_batches(conn: Conn, limit: int) -> list[str]:
    """Imports of which every file has its end, and which are not completed."""
    return [row["batch_id"] for row in conn.execute(_SILENT, {"limit": limit})]


def completed_batches(conn: Conn, without: Collection[str], days: int, limit: int) -> list[str]:
    """Imports with files that were completed in the last days, and are none of those."""
    rows = conn.execute(
        """
        SELECT batch_id::text FROM batches
        WHERE completed_at > now() - make_interval(days => %s) AND submitted > 0
          AND batch_id <> ALL(%s::uuid[])
        ORDER BY completed_at DESC, batch_id LIMIT %s
        """,
        (days, list(without), limit),
    )
    return [row["batch_id"] for row in rows]


_ENDS: Final = ("auto_labeled", "suggested", "review", "rejected", "cancelled", "partial")


def totals_differ(conn: Conn, batch_id: str) -> bool:
    """Whether the ends of an import's files are others than its totals say; reads the import."""
    row = conn.execute(
        """
        SELECT b.totals, b.refused, i.* FROM batches b, LATERAL (
          SELECT count(*) FILTER (WHERE ended = 'auto_labeled') AS auto_labeled,
            count(*) FILTER (WHERE ended = 'suggested') AS suggested,
            count(*) FILTER (WHERE ended = 'review') AS review,
            count(*) FILTER (WHERE ended = 'rejected') AS rejected,
            count(*) FILTER (WHERE ended = 'cancelled') AS cancelled,
            count(*) FILTER (WHERE partial) AS partial
          FROM batch_items WHERE batch_id = b.batch_id AND state = 'submitted') i
        WHERE b.batch_id = %s
        """,
        (batch_id,),
    ).fetchone()
    if row is None or row["totals"] is None:
        return False
    told: Mapping[str, Any] = row["totals"]
    counted = {name: row[name] for name in _ENDS}
    counted["rejected"] += row["refused"]
    return any(counted[name] != told[name] for name in _ENDS)


def started_at(conn: Conn, batch_id: str) -> datetime:
    """When an import began; raises LookupError if there is none."""
    row = conn.execute("SELECT started_at FROM batches WHERE batch_id = %s", (batch_id,)).fetchone()
    if row is None:
        raise LookupError(batch_id)
    moment: datetime = row["started_at"]
    return moment


def follow_ends(conn: Conn, events: Collection[Mapping[str, Any]]) -> int:
    """Set the ends of files as these events (batch.photo-ended) say; returns how many changed."""
    changed = 0
    for event in events:
        changed += conn.execute(
            """
            UPDATE batch_items SET ended = %(end)s, partial = %(partial)s, ended_at = %(ended_at)s
            WHERE batch_id = %(batch_id)s AND index = %(index)s AND state = 'submitted'
              AND (ended IS DISTINCT FROM %(end)s OR partial <> %(partial)s)
            """,
            event,
        ).rowcount
    return changed


def ends_of(conn: Conn, batch_id: str) -> dict[int, str]:
    """What the catalog says each submitted file of an import came to, "" where nothing; of a
    partial outcome with a plus after it. Some 100 bytes a file."""
    rows = conn.execute(
        "SELECT index, coalesce(ended, '') AS ended, partial FROM batch_items"
        " WHERE batch_id = %s AND state = 'submitted'",
        (batch_id,),
    )
    return {row["index"]: end_text(row["ended"], row["partial"]) for row in rows}


def end_text(end: str, partial: bool) -> str:
    """An end as `ends_of` writes it."""
    return f"{end}+" if partial else end
