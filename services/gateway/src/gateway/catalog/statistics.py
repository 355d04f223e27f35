"""How the last day went: all that Darkroom did, whoever asked for it."""

from collections.abc import Mapping
from datetime import datetime
from typing import Any, Final

from pydantic import Field

from gateway.catalog.report_shapes import LabelCount, Spread
from gateway.catalog.shapes import FailureKind, Shape
from gateway.db import Conn

_MOST_LABELS: Final = 50
_MOST_REASONS: Final = 50


class ReasonCount(Shape):
    """A reason, and how often it came."""

    kind: FailureKind
    stage: str | None = Field(default=None, examples=["ocr"])
    code: str = Field(examples=["image_truncated"])
    message: str = Field(description="for a person, as it was said last")
    count: int


class DayStatistics(Shape):
    """What came to an end from `since` to `until`. total = success + failed."""

    since: datetime
    until: datetime
    total: int = Field(
        description="photos with an outcome, and files that were refused or rejected"
    )
    success: int = Field(description="photos that got an outcome")
    failed: int = Field(description="rejected photos, and files that could not be read")
    success_rate: float | None = Field(description="success / total, 0..1; null of nothing")
    auto_labeled: int
    suggested: int
    review: int
    partial: int = Field(description="of the successes: those with a failed stage")
    rejected: int
    refused: int = Field(description="files of imports that could not be read")
    reasons: list[ReasonCount] = Field(description="of failures, the commonest first")
    labels: list[LabelCount] = Field(description="photos by their best label, the commonest first")
    labels_left_out: int = Field(description="further labels, too many to list")
    durations: dict[str, Spread] = Field(
        description="by lane: from submission to the first outcome, in milliseconds"
    )


def last_day(conn: Conn) -> DayStatistics:
    """Reckon the last 24 hours up to now. Reads every photo of the day: some seconds for a
    hundred thousand."""
    with conn.transaction():
        # One moment for all: now() is that of the transaction.
        row = conn.execute("SELECT now() - interval '1 day' AS since, now() AS until").fetchone()
        times = dict(row or {})
        outcomes = conn.execute(_OUTCOMES, times).fetchone() or {}
        labels = conn.execute(_LABELS, times).fetchall()
        reasons = conn.execute(_REASONS, times).fetchall()
        spreads = conn.execute(_DURATIONS, times).fetchall()
    return _day(times, outcomes, labels, reasons, spreads)


def _day(
    times: Mapping[str, Any],
    outcomes: Mapping[str, Any],
    labels: list[dict[str, Any]],
    reasons: list[dict[str, Any]],
    spreads: list[dict[str, Any]],
) -> DayStatistics:
    by_kind = {
        kind: sum(each["count"] for each in reasons if each["kind"] == kind)
        for kind in ("rejected", "refused")
    }
    success, failed = outcomes["success"], sum(by_kind.values())
    total = success + failed
    return DayStatistics(
        **times,
        **by_kind,
        **outcomes,
        total=total,
        failed=failed,
        success_rate=round(success / total, 4) if total else None,
        reasons=[ReasonCount(**each) for each in reasons[:_MOST_REASONS]],
        labels=[LabelCount(**each) for each in labels[:_MOST_LABELS]],
        labels_left_out=max(0, len(labels) - _MOST_LABELS),
        durations={
            each["lane"]: Spread(
                p50=round(each["p50"], 1), p95=round(each["p95"], 1), of=each["of"]
            )
            for each in spreads
        },
    )


_NEWEST: Final = """
WITH newest AS (
  SELECT DISTINCT ON (photo_id) outcome, label, partial FROM outcomes o
  WHERE decided_at > %(since)s AND decided_at <= %(until)s
    -- What was analysed before and is labelled anew since is none of the day's.
    AND NOT EXISTS (SELECT FROM outcomes f WHERE f.analysis_id = o.analysis_id
      AND f.revision < o.revision AND f.decided_at <= %(since)s)
  ORDER BY photo_id, decided_at DESC, revision DESC)
"""

_OUTCOMES: Final = (
    _NEWEST
    + """
SELECT count(*) AS success, count(*) FILTER (WHERE partial) AS partial,
  count(*) FILTER (WHERE outcome = 'auto_labeled') AS auto_labeled,
  count(*) FILTER (WHERE outcome = 'suggested') AS suggested,
  count(*) FILTER (WHERE outcome = 'review') AS review
FROM newest
"""
)

_LABELS: Final = (
    _NEWEST
    + """
SELECT label, count(*) AS count,
  count(*) FILTER (WHERE outcome = 'auto_labeled') AS auto_labeled,
  count(*) FILTER (WHERE outcome = 'suggested') AS suggested,
  count(*) FILTER (WHERE outcome = 'review') AS review
FROM newest WHERE label IS NOT NULL GROUP BY label ORDER BY count(*) DESC, label
"""
)

_REASONS: Final = """
SELECT 'rejected' AS kind, NULL AS stage, code,
  (array_agg(message ORDER BY rejected_at DESC))[1] AS message, count(*) AS count
FROM (SELECT DISTINCT ON (photo_id) code, message, rejected_at FROM rejections
  WHERE rejected_at > %(since)s AND rejected_at <= %(until)s
  ORDER BY photo_id, rejected_at DESC) r GROUP BY code
UNION ALL
SELECT 'refused', NULL, i.code, max(i.message), count(*)
FROM batches b JOIN batch_items i USING (batch_id)
WHERE i.state = 'refused' AND i.recorded_at > %(since)s AND i.recorded_at <= %(until)s
  AND (b.completed_at IS NULL OR b.completed_at > %(since)s)
GROUP BY i.code
UNION ALL
SELECT 'stage_failed', stage, code, (array_agg(message ORDER BY failed_at DESC))[1], count(*)
FROM stage_failures WHERE failed_at > %(since)s AND failed_at <= %(until)s GROUP BY stage, code
ORDER BY count DESC, kind, code
"""

_DURATIONS: Final = """
SELECT o.lane, count(*) AS of,
  percentile_cont(0.5) WITHIN GROUP (ORDER BY took) AS p50,
  percentile_cont(0.95) WITHIN GROUP (ORDER BY took) AS p95
FROM (SELECT o.lane,
    1000 * extract(epoch FROM o.decided_at - a.submitted_at)::float8 AS took
  FROM outcomes o JOIN analyses a USING (analysis_id)
  WHERE o.revision = 1 AND o.decided_at > %(since)s AND o.decided_at <= %(until)s) o
GROUP BY o.lane ORDER BY o.lane
"""
