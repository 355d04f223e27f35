"""An import as a whole: what became of every file, and how it went in numbers; as in `read`.

`statistics` reads all of the import and takes seconds for a million files: it is for a person who
asks, not for progress.
"""

from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final, LiteralString
from uuid import UUID

from gateway.catalog import read_batches
from gateway.catalog.read_batches import DUPLICATE_OF_PATH
from gateway.catalog.report_shapes import LabelCount, Spread, Statistics
from gateway.db import Conn

_LABELS: Final = 200
"""Labels that are listed; the rarest ones of more are left out."""

_SAMPLE: Final = 20_000
"""Files whose durations are looked at; their 95th percentile is then right within 0.2 points."""


@dataclass(frozen=True, slots=True)
class Line:
    """What became of one file.

    `end` is what the import counts it as: refused, duplicate, rejected, cancelled, an outcome, or
    pending. `outcome`, label and confidence are as they are now: after a repair they may be other
    ones. `code` and `reason` say why it failed, or why stages did.
    """

    index: int
    path: str
    end: str
    outcome: str | None
    label: str | None
    confidence: float | None
    calibrated: bool | None
    category: str | None
    partial: bool
    repaired: bool
    code: str | None
    reason: str | None
    duplicate_of: str | None
    duplicate_of_path: str | None
    photo_id: str | None
    analysis_id: str | None
    recorded_at: datetime
    ended_at: datetime | None
    thumbnail: str | None


_LINES: LiteralString = (
    """
SELECT i.index, i.path, i.photo_id::text, i.analysis_id::text, i.recorded_at, i.ended_at,
  CASE WHEN i.state <> 'submitted' THEN i.state ELSE coalesce(i.ended, 'pending') END AS end,
  o.outcome, o.label, o.confidence, o.calibrated, o.category, i.partial,
  i.partial AND o.partial IS FALSE AS repaired,
  coalesce(i.code, r.code, f.code, d.code) AS code,
  coalesce(i.message, r.message, f.message, 'The same bytes were refused: ' || d.message) AS reason,
  i.duplicate_of::text, p.thumbnail_uri AS thumbnail,
"""  # noqa: S608  # literals only
    + DUPLICATE_OF_PATH
    + """
FROM (SELECT * FROM batch_items j WHERE j.batch_id = %(batch)s AND j.index > %(after)s
      ORDER BY j.index LIMIT %(limit)s) i
JOIN batches b ON b.batch_id = i.batch_id AND b.owner = %(owner)s
LEFT JOIN photos p ON p.photo_id = i.photo_id AND p.owner = b.owner
LEFT JOIN LATERAL (
  SELECT x.* FROM outcomes x WHERE x.analysis_id = i.analysis_id
  ORDER BY x.revision DESC LIMIT 1) o ON i.state = 'submitted'
LEFT JOIN LATERAL (
  SELECT x.code, x.message FROM rejections x WHERE x.analysis_id = i.analysis_id
  ORDER BY x.revision DESC LIMIT 1) r ON i.ended = 'rejected'
LEFT JOIN LATERAL (
  SELECT string_agg(y.code, ', ' ORDER BY y.stage) AS code,
    string_agg(y.stage || ': ' || y.message, ' ' ORDER BY y.stage) AS message
  FROM (SELECT DISTINCT ON (z.stage) z.* FROM stage_failures z
        WHERE z.analysis_id = i.analysis_id AND z.stage = ANY(o.failed_stages)
        ORDER BY z.stage, z.revision DESC) y) f ON i.partial
LEFT JOIN LATERAL (
  SELECT x.code, x.message FROM rejections x
  WHERE x.photo_id = i.duplicate_of AND x.owner = b.owner AND NOT EXISTS (
    SELECT FROM outcomes y WHERE y.photo_id = x.photo_id AND y.owner = b.owner)
  ORDER BY x.rejected_at DESC LIMIT 1) d ON i.state = 'duplicate'
ORDER BY i.index
"""
)

_LABEL_COUNTS: Final = """
SELECT o.label, count(*) AS count, count(*) OVER () AS labels,
  count(*) FILTER (WHERE o.outcome = 'auto_labeled') AS auto_labeled,
  count(*) FILTER (WHERE o.outcome = 'suggested') AS suggested,
  count(*) FILTER (WHERE o.outcome = 'review') AS review
FROM batch_items i JOIN outcomes o ON o.analysis_id = i.analysis_id
WHERE i.batch_id = %(batch)s AND i.state = 'submitted' AND i.ended IS DISTINCT FROM 'cancelled'
  AND o.label IS NOT NULL AND NOT EXISTS (
    SELECT FROM outcomes n WHERE n.analysis_id = o.analysis_id AND n.revision > o.revision)
GROUP BY o.label ORDER BY count DESC, o.label LIMIT %(limit)s
"""

_DURATIONS: Final = """
WITH sample AS MATERIALIZED (
  SELECT i.* FROM generate_series(0, %(last)s, %(step)s) AS n (index)
  JOIN batch_items i ON i.batch_id = %(batch)s AND i.index = n.index
  WHERE i.state = 'submitted' AND i.ended <> 'cancelled'),
took AS (
  SELECT 'total' AS what, greatest(0, extract(epoch FROM ended_at - recorded_at) * 1000) AS ms
  FROM sample
  UNION ALL
  SELECT 'intake', a.intake_ms FROM sample JOIN analyses a USING (analysis_id)
  WHERE a.intake_ms IS NOT NULL
  UNION ALL
  SELECT p.stage, p.ms FROM sample JOIN parts p USING (analysis_id))
SELECT what, count(*) AS of,
  percentile_cont(ARRAY[0.5, 0.95]) WITHIN GROUP (ORDER BY ms::float8) AS ms
FROM took GROUP BY what
"""


def lines(conn: Conn, owner: str, batch_id: UUID, *, after: int, limit: int) -> list[Line]:
    """At most `limit` files of an import with an index above `after`, by index."""
    arguments = {"owner": owner, "batch": batch_id, "after": after, "limit": limit}
    return [Line(**row) for row in conn.execute(_LINES, arguments)]


def statistics(conn: Conn, owner: str, batch_id: UUID) -> Statistics | None:
    """The owner's import in numbers."""
    batch = read_batches.batch(conn, owner, batch_id)
    if batch is None:
        return None
    success = batch.accepted - batch.cancelled
    tried = success + batch.rejected
    labels, left_out = _labels(conn, batch_id)
    return Statistics(
        batch_id=batch.batch_id,
        state=batch.state,
        total=batch.found,
        success=success,
        failed=batch.rejected,
        duplicates=batch.duplicates,
        cancelled=batch.cancelled,
        pending=batch.pending,
        partial=batch.partial,
        success_rate=round(success / tried, 6) if tried else None,
        files_per_s=batch.rate_overall,
        elapsed_s=batch.elapsed_s,
        labels=labels,
        labels_left_out=left_out,
        durations=_durations(conn, batch_id, batch.found),
    )


def _labels(conn: Conn, batch_id: UUID) -> tuple[list[LabelCount], int]:
    """The commonest labels, and how many further ones there are."""
    rows = conn.execute(_LABEL_COUNTS, {"batch": batch_id, "limit": _LABELS}).fetchall()
    names = ("label", "count", "auto_labeled", "suggested", "review")
    listed = [LabelCount(**{name: row[name] for name in names}) for row in rows]
    return listed, rows[0]["labels"] - len(rows) if rows else 0


def _durations(conn: Conn, batch_id: UUID, found: int) -> dict[str, Spread]:
    arguments: dict[str, Any] = {
        "batch": batch_id,
        "last": max(0, found - 1),
        "step": max(1, -(-found // _SAMPLE)),
    }
    return {
        row["what"]: Spread(p50=round(row["ms"][0], 1), p95=round(row["ms"][1], 1), of=row["of"])
        for row in conn.execute(_DURATIONS, arguments)
    }
