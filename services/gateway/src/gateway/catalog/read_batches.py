"""Reading imports and their files from the catalog; contracts as in `read`."""

from collections.abc import Mapping, Sequence
from typing import Any, Final, LiteralString
from uuid import UUID

from gateway.catalog import pace
from gateway.catalog.read import photos_by_id
from gateway.catalog.read_failures import Failing, failing
from gateway.catalog.shapes import Batch, Item, Photo, Reason
from gateway.catalog.titles import title_of
from gateway.db import Conn

OVER: Final = frozenset({"completed", "completed_with_failures", "cancelled"})
"""States that an import does not leave."""

_CALLED_OFF: Final = frozenset({"cancelling", "cancelled"})

_BATCH: LiteralString = (
    "SELECT b.*, EXTRACT(epoch FROM now())::float8 AS now,"
    " EXTRACT(epoch FROM coalesce(b.completed_at, now()) - b.started_at)::float8"
    " AS elapsed_s FROM batches b WHERE b.owner = %(owner)s"
)


def batch(conn: Conn, owner: str, batch_id: UUID) -> Batch | None:
    """The owner's import with this id."""
    found = batches_by_id(conn, owner, [batch_id])
    return found.get(batch_id)


def batches_by_id(conn: Conn, owner: str, ids: Sequence[UUID]) -> dict[UUID, Batch]:
    """Those of the imports that the catalog has."""
    query = _BATCH + " AND b.batch_id = ANY(%(ids)s)"
    rows = conn.execute(query, {"owner": owner, "ids": list(ids)}).fetchall()
    return {UUID(each.batch_id): each for each in _shown(conn, rows)}


def batches(conn: Conn, owner: str, limit: int, states: Sequence[str] | None = None) -> list[Batch]:
    """The newest imports, at most `limit`, in one of these states or in any."""
    query = _BATCH + " AND (%(states)s::text[] IS NULL OR b.state = ANY(%(states)s))"
    query += " ORDER BY b.started_at DESC, b.batch_id LIMIT %(limit)s"
    states = None if states is None else list(states)
    rows = conn.execute(query, {"owner": owner, "limit": limit, "states": states}).fetchall()
    return _shown(conn, rows)


def _shown(conn: Conn, rows: Sequence[Mapping[str, Any]]) -> list[Batch]:
    ids = [row["batch_id"] for row in rows if _has_failures(row)]
    failed = failing(conn, ids)
    return [batch_shown(row, failed.get(row["batch_id"], Failing())) for row in rows]


def _has_failures(row: Mapping[str, Any]) -> bool:
    totals: Mapping[str, int] = row["totals"] or {}
    return bool(row["refused"] or totals.get("rejected") or totals.get("partial"))


def batch_shown(row: Mapping[str, Any], failed: Failing) -> Batch:
    """The view of a row: the scan's counts from control, the ends from the recorded totals.

    The two are written by different processes, so `pending` is never below 0 while one is ahead.
    """
    totals: Mapping[str, int] = row["totals"] or {}
    ends = {name: totals.get(name, 0) for name in _ENDS}
    accepted = totals.get("accepted", 0)
    rejected = max(totals.get("rejected", 0), row["refused"])
    found = max(row["found"], totals.get("found", 0))
    duplicates = max(row["duplicates"], totals.get("duplicates", 0))
    done = duplicates + rejected + accepted
    over = row["state"] in OVER
    pending = 0 if over else max(0, found - done)
    # One that was cancelled has left out some of its files, which are told by this.
    final = row["state"] not in _CALLED_OFF and (row["sealed"] or over)
    expected = found if final else row["expected"]
    expected = None if expected is None else max(expected, found)
    flying = max(0, row["submitted"] - accepted - rejected + row["refused"])
    return Batch(
        batch_id=str(row["batch_id"]),
        title=title_of(row["kind"], row["roots"], row["location"]),
        expected=expected,
        found=found,
        duplicates=duplicates,
        rejected=rejected,
        accepted=accepted,
        pending=pending,
        in_flight=min(pending, flying),
        repaired=failed.repaired,
        failures=failed.reasons[:_REASONS],
        failures_of=failed.looked_at,
        elapsed_s=round(max(0.0, row["elapsed_s"]), 3),
        **{name: row[name] for name in _AS_THEY_ARE},
        **ends,
        **_pace(row, done, expected),
    )


def _pace(row: Mapping[str, Any], done: int, expected: int | None) -> dict[str, float | None]:
    """Rate and time left, while it moves."""
    elapsed = row["elapsed_s"]
    overall = done / elapsed if elapsed > 0 else None
    told: dict[str, float | None] = dict.fromkeys(
        ("rate", "eta_s", "eta_low_s", "eta_high_s"), None
    )
    if row["state"] in _MOVING:
        samples = [(at, count) for at, count in row["samples"]]
        told["rate"] = pace.recent_rate(samples, row["now"], done)
        left = None
        if expected is not None:
            left = pace.time_left(samples, row["now"], done, expected - done)
        if left is not None:
            told |= {"eta_s": left.seconds, "eta_low_s": left.low, "eta_high_s": left.high}
    told["rate_overall"] = overall
    return {name: None if one is None else round(one, 3) for name, one in told.items()}


_MOVING: Final = frozenset({"scanning", "running"})
_REASONS: Final = 20
"""Of an import, wherever it is shown; `read_failures.reasons` has all."""

_ENDS: Final = ("auto_labeled", "suggested", "review", "cancelled", "partial")
_AS_THEY_ARE: Final = (
    *("state", "kind", "lane", "roots", "sealed", "waits_for", "started_at", "completed_at"),
    *("paused_by", "paused_at", "paused_until", "cancelled_by", "cancelled_at"),
)

DUPLICATE_OF_PATH: LiteralString = """
CASE WHEN i.state = 'duplicate' THEN coalesce(
  (SELECT j.path FROM batch_items j WHERE j.batch_id = i.batch_id
     AND j.photo_id = i.duplicate_of AND j.index < i.index ORDER BY j.index LIMIT 1),
  (SELECT j.path FROM batch_items j JOIN batches k USING (batch_id)
     WHERE j.photo_id = i.duplicate_of AND j.batch_id <> i.batch_id AND k.owner = b.owner
     ORDER BY j.state DESC, k.started_at LIMIT 1),
  (SELECT p.file_name FROM photos p WHERE p.photo_id = i.duplicate_of AND p.owner = b.owner)
) END AS duplicate_of_path
"""
"""Of an item `i` of a batch `b`: a file with the same bytes, the first such one of the batch."""

_ITEMS: LiteralString = (
    """
SELECT * FROM (
  SELECT i.index, i.path, i.state, i.photo_id, i.duplicate_of,
    coalesce(i.code, r.code) AS code, coalesce(i.message, r.message) AS message,
    CASE WHEN i.state = 'duplicate' THEN 'duplicate' WHEN i.ended = 'cancelled' THEN 'cancelled'
         WHEN i.state = 'refused' OR r.code IS NOT NULL THEN 'rejected' ELSE 'live' END AS kind,
"""  # noqa: S608  # literals only
    + DUPLICATE_OF_PATH
    + """
  FROM batch_items i JOIN batches b USING (batch_id)
  LEFT JOIN LATERAL (
    SELECT x.code, x.message FROM rejections x
    WHERE x.analysis_id = i.analysis_id AND i.state = 'submitted'
    ORDER BY x.revision DESC LIMIT 1) r ON true
  WHERE b.owner = %(owner)s AND i.batch_id = %(batch)s AND i.index > %(after)s
) item
WHERE %(kind)s::text IS NULL OR item.kind = %(kind)s
ORDER BY item.index LIMIT %(limit)s
"""
)


def items(  # one argument per part of the question
    conn: Conn,
    owner: str,
    batch_id: UUID,
    *,
    kind: str | None,
    after: int,
    limit: int,
) -> tuple[list[Item], int | None]:
    """Files of an import with an index above `after`, and the index to go on from.

    `kind` restricts them to `duplicate` or `rejected` ones.
    """
    arguments = {"owner": owner, "batch": batch_id, "kind": kind, "after": after}
    rows = conn.execute(_ITEMS, {**arguments, "limit": limit + 1}).fetchall()
    here = rows[:limit]
    live = [row["photo_id"] for row in here if row["kind"] == "live"]
    found = photos_by_id(conn, owner, live)
    next_index = here[-1]["index"] if len(rows) > limit else None
    return [_item(row, found.get(row["photo_id"])) for row in here], next_index


def _item(row: Mapping[str, Any], photo: Photo | None) -> Item:
    kind = row["kind"]
    if kind == "live":
        # Its own analysis was not refused; a photo that reads "rejected" is of another one.
        # One that is not kept any more had its end.
        kind = "analyzed" if photo is None or photo.status == "analyzed" else "pending"
    refused = kind == "rejected"
    duplicate = row["duplicate_of"] if kind == "duplicate" else None
    return Item(
        index=row["index"],
        path=row["path"],
        status=kind,
        photo_id=str(row["photo_id"]) if row["photo_id"] else None,
        duplicate_of=str(duplicate) if duplicate else None,
        duplicate_of_path=row["duplicate_of_path"],
        error=Reason(code=row["code"], message=row["message"]) if refused else None,
        photo=photo if kind in ("analyzed", "pending") else None,
    )
