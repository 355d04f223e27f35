"""Which photos failed and are not whole yet: the query that all about failures begins with.

A failure is an analysis and the stage that failed in it: one that gave up, so that the newest
outcome is partial, or `intake`, which rejected the photo. It is one no more as soon as a later
revision, or a later analysis of the same photo, has what was missing. A file of which an import
could not make a photo is one of stage `import`, until a later import of the same takes a file of
that path: any of folders, whose paths are absolute, else one of the archive, upload or store of
that name. It has no analysis, but an id like one, and can't be tried again from here. Nothing is
written down for all that, so it can't be missed.
"""

from collections.abc import Sequence
from typing import Any, Final, LiteralString
from uuid import UUID

from gateway.catalog.failure_shapes import ChosenFailures, FailureState

FAILED: Final[LiteralString] = """
WITH found AS (
  SELECT o.analysis_id, s.stage, f.revision, o.photo_id, a.submitted_at, a.file_name,
    f.code, f.message, f.attempts, f.failed_at, o.decided_at, NULL::uuid AS batch_id
  FROM outcomes o
  CROSS JOIN unnest(o.failed_stages) AS s (stage)
  CROSS JOIN LATERAL (SELECT * FROM stage_failures x
    WHERE x.analysis_id = o.analysis_id AND x.stage = s.stage
    ORDER BY x.revision DESC LIMIT 1) f
  LEFT JOIN analyses a ON a.analysis_id = o.analysis_id
  WHERE o.owner = %(owner)s AND o.partial
    AND NOT EXISTS (SELECT FROM outcomes n
      WHERE n.analysis_id = o.analysis_id AND n.revision > o.revision)
    AND NOT EXISTS (SELECT FROM outcomes n JOIN analyses b ON b.analysis_id = n.analysis_id
      WHERE n.photo_id = o.photo_id
        AND (b.submitted_at, b.analysis_id) > (a.submitted_at, a.analysis_id))
  UNION ALL
  SELECT r.analysis_id, 'intake', r.revision, r.photo_id, a.submitted_at, r.file_name,
    r.code, r.message, NULL, r.rejected_at, NULL, NULL
  FROM rejections r
  LEFT JOIN analyses a ON a.analysis_id = r.analysis_id
  WHERE r.owner = %(owner)s
    AND NOT EXISTS (SELECT FROM rejections n
      WHERE n.analysis_id = r.analysis_id AND n.revision > r.revision)
    AND NOT EXISTS (SELECT FROM outcomes n WHERE n.analysis_id = r.analysis_id)
    AND NOT EXISTS (SELECT FROM analyses b WHERE b.photo_id = r.photo_id
      AND (b.submitted_at, b.analysis_id) > (a.submitted_at, a.analysis_id)
      AND (EXISTS (SELECT FROM outcomes n WHERE n.analysis_id = b.analysis_id)
        OR EXISTS (SELECT FROM rejections n WHERE n.analysis_id = b.analysis_id)))
  UNION ALL
  SELECT md5(i.batch_id || ':' || i.index)::uuid, 'import', 1, NULL, NULL, i.path,
    i.code, i.message, NULL, i.recorded_at, NULL, i.batch_id
  FROM batches b JOIN batch_items i ON i.batch_id = b.batch_id AND i.state = 'refused'
  WHERE b.owner = %(owner)s
    AND NOT EXISTS (SELECT FROM batches c JOIN batch_items n ON n.batch_id = c.batch_id
        AND md5(n.path) = md5(i.path) AND n.path = i.path
      WHERE c.owner = b.owner AND c.started_at > b.started_at AND c.kind = b.kind
        AND (c.kind = 'folder' OR c.roots = b.roots))),
failed AS (
  SELECT found.*, found.analysis_id || ':' || found.stage AS failure_id,
    d.reason AS discard_reason, d.discarded_by, d.discarded_at,
    CASE WHEN d.discard_id IS NOT NULL THEN 'discarded'
      WHEN EXISTS (SELECT FROM failure_replay_items i WHERE i.analysis_id = found.analysis_id
        AND i.stage = found.stage AND i.ended_at IS NULL) THEN 'replaying'
      ELSE 'open' END AS state
  FROM found
  LEFT JOIN failure_discards d ON d.analysis_id = found.analysis_id AND d.stage = found.stage
    AND d.restored_at IS NULL AND d.failed_at >= found.failed_at)
"""
"""Begins a query with `failed`, the failures of an owner, discarded ones among them."""

_CONDITIONS: Final[dict[str, LiteralString]] = {
    "stage": " AND failed.stage = %(stage)s",
    "code": " AND failed.code = %(code)s",
    "batch": " AND (failed.batch_id = %(batch)s OR EXISTS (SELECT FROM batch_items i"
    " WHERE i.batch_id = %(batch)s AND i.analysis_id = failed.analysis_id))",
    "after": " AND failed.failed_at >= %(after)s",
    "before": " AND failed.failed_at < %(before)s",
    "failures": " AND (failed.analysis_id, failed.stage) IN"
    " (SELECT * FROM unnest(%(analyses)s::uuid[], %(stages)s::text[]))",
}


def where(chosen: ChosenFailures, states: Sequence[FailureState]) -> LiteralString:
    """Keeps of `failed` what was chosen and is in one of these states."""
    if not states:
        raise ValueError("no state is asked for")
    query: LiteralString = " WHERE failed.state = ANY(%(states)s)"
    for name in chosen.model_dump(exclude_none=True):
        query += _CONDITIONS[name]
    return query


REPLAYABLE: Final[LiteralString] = " AND failed.photo_id IS NOT NULL"
"""Behind `where`: keeps those of which there is a photo to look at again."""


def arguments(owner: str, chosen: ChosenFailures, states: Sequence[FailureState]) -> dict[str, Any]:
    """What such a query is given."""
    named = [one.split(":") for one in chosen.failures or ()]
    return {
        **chosen.model_dump(),
        "owner": owner,
        "states": list(states),
        "analyses": [UUID(analysis) for analysis, _ in named],
        "stages": [stage for _, stage in named],
    }
