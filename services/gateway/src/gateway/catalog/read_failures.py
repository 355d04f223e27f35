"""Why files of imports failed; contracts as in `read`.

A file failed if it could not be read, if intake rejected it, or if a stage gave up on it (then it
has an outcome all the same, a partial one). What a later revision made whole counts as repaired
and not as a failure any more.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final, LiteralString
from uuid import UUID

from gateway.catalog.report_shapes import FailedFile
from gateway.catalog.shapes import Failure
from gateway.db import Conn

LOOKED_AT: Final = 500
"""Failed files that a look at all imports goes through: it comes several times a second, and
costs some 10 ms at that."""

_LEAST: Final = 50
"""Of one import, however many are looked at."""

_PATHS: Final = 3
_REASONS: Final = 100
"""Reasons that are listed; the rarest ones of more are left out."""

_UNKNOWN: Final = "The reason is not recorded yet."


@dataclass(slots=True)
class Failing:
    """What is known of an import's failed files: reasons, files looked at, files repaired."""

    reasons: list[Failure] = field(default_factory=list)
    looked_at: int = 0
    repaired: int = 0


_FAILED: LiteralString = """
WITH looked AS MATERIALIZED (
  SELECT i.* FROM unnest(%(ids)s::uuid[]) AS asked (batch_id)
  CROSS JOIN LATERAL (
    SELECT j.* FROM batch_items j WHERE j.batch_id = asked.batch_id AND j.index > %(after)s
      AND (j.state = 'refused' OR j.ended = 'rejected' OR j.partial)
    ORDER BY j.index LIMIT %(most)s) i),
failed AS (
  SELECT i.batch_id, i.index, i.path, i.photo_id, f.stage,
    CASE WHEN i.state = 'refused' THEN 'refused' WHEN i.ended = 'rejected' THEN 'rejected'
         WHEN o.partial IS FALSE THEN 'repaired' ELSE 'stage_failed' END AS kind,
    coalesce(i.code, r.code, f.code, 'unknown') AS code,
    coalesce(i.message, r.message, f.message, %(unknown)s) AS message
  FROM looked i
  LEFT JOIN LATERAL (
    SELECT x.code, x.message FROM rejections x
    WHERE x.analysis_id = i.analysis_id AND i.ended = 'rejected'
    ORDER BY x.revision DESC LIMIT 1) r ON true
  LEFT JOIN LATERAL (
    SELECT x.partial, x.failed_stages FROM outcomes x
    WHERE x.analysis_id = i.analysis_id AND i.partial
    ORDER BY x.revision DESC LIMIT 1) o ON true
  LEFT JOIN LATERAL (
    SELECT s.stage, y.code, y.message FROM unnest(o.failed_stages) AS s (stage)
    LEFT JOIN LATERAL (
      SELECT z.code, z.message FROM stage_failures z
      WHERE z.analysis_id = i.analysis_id AND z.stage = s.stage
      ORDER BY z.revision DESC LIMIT 1) y ON true) f ON true)
"""

_GROUPS: LiteralString = (
    _FAILED
    + """
SELECT batch_id, 'looked' AS kind, NULL AS stage, NULL AS code, NULL AS message,
  count(*) AS count, NULL::text[] AS paths FROM looked GROUP BY batch_id
UNION ALL
SELECT batch_id, kind, stage, CASE WHEN kind <> 'repaired' THEN code END AS reason,
  (array_agg(message ORDER BY index))[1], count(*), (array_agg(path ORDER BY index))[:%(paths)s]
FROM failed GROUP BY batch_id, kind, stage, reason
"""
)

_FILES: LiteralString = (
    _FAILED + "SELECT * FROM failed ORDER BY index, stage"  # noqa: S608  # literals only
)


def failing(conn: Conn, ids: Sequence[UUID]) -> dict[UUID, Failing]:
    """Failures of some imports, for progress: of very many only the first ones are looked at."""
    return _grouped(conn, ids, max(_LEAST, LOOKED_AT // max(1, len(ids)))) if ids else {}


def reasons(conn: Conn, owner: str, batch_id: UUID) -> list[Failure]:
    """All reasons of the owner's import, exactly; reads all its failed files."""
    known = _grouped(conn, _owned(conn, owner, batch_id), None).get(batch_id)
    return known.reasons[:_REASONS] if known else []


def failed_files(
    conn: Conn, owner: str, batch_id: UUID, *, after: int, limit: int
) -> tuple[list[FailedFile], int | None]:
    """Failed files with an index above `after` from at most `limit` files, and the index to go on
    from. A file with two failed stages is there twice."""
    ids = _owned(conn, owner, batch_id)
    rows = conn.execute(_FILES, _arguments(ids, limit + 1, after)).fetchall()
    indices = list(dict.fromkeys(row["index"] for row in rows))
    next_index = indices[limit - 1] if len(indices) > limit else None
    here = set(indices[:limit])
    shown = [row for row in rows if row["index"] in here and row["kind"] != "repaired"]
    return [_file(row) for row in shown], next_index


def _owned(conn: Conn, owner: str, batch_id: UUID) -> list[UUID]:
    """The import, if it is the owner's."""
    rows = conn.execute(
        "SELECT batch_id FROM batches WHERE batch_id = %s AND owner = %s", (batch_id, owner)
    )
    return [row["batch_id"] for row in rows]


def _arguments(ids: Sequence[UUID], most: int | None, after: int = -1) -> dict[str, Any]:
    return {"ids": list(ids), "most": most, "after": after, "unknown": _UNKNOWN, "paths": _PATHS}


def _grouped(conn: Conn, ids: Sequence[UUID], most: int | None) -> dict[UUID, Failing]:
    found: dict[UUID, Failing] = {}
    for row in conn.execute(_GROUPS, _arguments(ids, most)):
        known = found.setdefault(row["batch_id"], Failing())
        if row["kind"] == "looked":
            known.looked_at = row["count"]
        elif row["kind"] == "repaired":
            known.repaired += row["count"]
        else:
            known.reasons.append(_failure(row))
    for known in found.values():
        known.reasons.sort(key=lambda each: (-each.count, each.code, each.stage or ""))
    return found


def _failure(row: Mapping[str, Any]) -> Failure:
    names = ("kind", "stage", "code", "message", "count", "paths")
    return Failure(**{name: row[name] for name in names})


def _file(row: Mapping[str, Any]) -> FailedFile:
    names = ("index", "path", "kind", "stage", "code", "message")
    photo_id = str(row["photo_id"]) if row["photo_id"] else None
    return FailedFile(**{name: row[name] for name in names}, photo_id=photo_id)
