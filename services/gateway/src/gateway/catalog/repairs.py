"""Events said again, out of the catalog, with the ids that they were first published under.

Whoever has seen the first one knows the second by its id, and by what it is about. Each function
takes an open connection, blocks, and lets psycopg's errors through.
"""

import json
from collections import defaultdict
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from datetime import datetime
from typing import Any, Final, LiteralString

from darkroom_schemas import ids
from darkroom_schemas.names import (
    ANALYSIS_DEADLINE_REACHED,
    BATCH_PHOTO_ENDED,
    PHOTO_EMBEDDED,
    PHOTO_OBJECTS_DETECTED,
    PHOTO_STAGE_FAILED,
    PHOTO_TEXT_READ,
)
from darkroom_schemas.stages import identity
from gateway.catalog.imports import IntakeState, import_of, intake_event
from gateway.catalog.submissions import Submission, submitted_event
from gateway.db import Conn
from streamkit import Emit

DEADLINE: Final = "deadline"
"""Code of the failure of a stage that said nothing in time; see `results.record_deadline`."""

PART_TOPICS: Final = {
    "detector": PHOTO_OBJECTS_DETECTED,
    "ocr": PHOTO_TEXT_READ,
    "embedder": PHOTO_EMBEDDED,
}
"""Where each stage's parts are published."""

_IDENTITY: LiteralString = (
    "a.owner::text, a.photo_id::text, a.analysis_id::text, a.revision, a.policy_revision, a.lane"
)

_OF_THESE: LiteralString = " FROM analyses a WHERE a.analysis_id = ANY(%s::uuid[])"

_PARTS: LiteralString = (
    "SELECT "  # literals only
    + _IDENTITY
    + """, y.stage, y.engine, y.model_version, y.ms, y.finished_at, y.body, e.vector::text AS vector
FROM analyses a
JOIN parts y ON y.analysis_id = a.analysis_id AND y.revision = a.revision
LEFT JOIN embeddings e ON y.stage = 'embedder' AND e.photo_id = y.photo_id
  AND e.model_version = y.model_version
WHERE a.analysis_id = ANY(%s::uuid[]) ORDER BY a.analysis_id, y.stage
"""
)

_FAILURES: LiteralString = (
    "SELECT "  # literals only
    + _IDENTITY
    + """, y.stage, y.code, y.message, y.attempts, y.failed_at
FROM analyses a JOIN stage_failures y
  ON y.analysis_id = a.analysis_id AND y.revision = a.revision
WHERE a.analysis_id = ANY(%s::uuid[]) ORDER BY a.analysis_id, y.stage
"""
)


def stage_events(conn: Conn, analyses: Collection[str]) -> list[Emit]:
    """What the stages have said of analyses: their parts, failures and deadlines."""
    wanted = (list(analyses),)
    emits = [_part(row) for row in conn.execute(_PARTS, wanted)]
    late: dict[str, list[Mapping[str, Any]]] = defaultdict(list)
    for row in conn.execute(_FAILURES, wanted):
        if row["code"] == DEADLINE:
            late[row["analysis_id"]].append(row)
        else:
            emits.append(_failure(row))
    emits += [
        deadline_event(rows[0], [row["stage"] for row in rows], rows[0]["failed_at"])
        for rows in late.values()
    ]
    return emits


def _part(row: Mapping[str, Any]) -> Emit:
    about = ("stage", "engine", "model_version", "ms", "finished_at")
    body = dict(row["body"])
    if row["stage"] == "embedder":
        del body["dimension"]
        body["vector"] = json.loads(row["vector"] or "[]")
    value = {**identity(row), **{name: row[name] for name in about}, **body}
    name = ids.event_id(row["analysis_id"], row["stage"], row["revision"])
    return Emit(PART_TOPICS[row["stage"]], row["photo_id"], value, name)


def _failure(row: Mapping[str, Any]) -> Emit:
    about = ("stage", "code", "message", "attempts", "failed_at")
    value = {**identity(row), **{name: row[name] for name in about}}
    name = ids.event_id(row["analysis_id"], f"{row['stage']}-failed", row["revision"])
    return Emit(PHOTO_STAGE_FAILED, row["photo_id"], value, name)


def identities(conn: Conn, analyses: Collection[str]) -> list[dict[str, Any]]:
    """What identifies these analyses in events."""
    query = "SELECT " + _IDENTITY + _OF_THESE
    return conn.execute(query, (list(analyses),)).fetchall()


def deadline_event(about: Mapping[str, Any], stages: Collection[str], reached_at: datetime) -> Emit:
    """Stages will not say anything any more of the analysis that `about` identifies."""
    named = sorted(stages)
    value = {**identity(about), "stages": named, "reached_at": reached_at}
    what = f"deadline:{','.join(named)}"
    name = ids.event_id(about["analysis_id"], what, about["revision"])
    return Emit(ANALYSIS_DEADLINE_REACHED, about["photo_id"], value, name)


def submission_events(conn: Conn, analyses: Collection[str]) -> list[Emit]:
    """What asked for analyses whose photos the catalog has the bytes of."""
    rows = conn.execute(
        """
        SELECT a.submission_id, a.lane, a.file_name, a.policy_revision, a.submitted_at,
          p.owner::text, p.sha256, p.source_uri, p.byte_size
        FROM analyses a JOIN photos p USING (photo_id)
        WHERE a.analysis_id = ANY(%s::uuid[]) AND p.source_uri IS NOT NULL
        ORDER BY a.submitted_at
        """,
        (list(analyses),),
    )
    return [_submission(row) for row in rows]


def _submission(row: Mapping[str, Any]) -> Emit:
    fields = ("owner", "sha256", "source_uri", "byte_size", "file_name", "lane", "submission_id")
    submission = Submission(**{name: row[name] for name in fields})
    return submitted_event(submission, row["submitted_at"], row["policy_revision"])


_ENDED: LiteralString = """
SELECT b.owner::text, i.batch_id::text, i.index, i.photo_id::text, i.analysis_id::text,
  coalesce(o.revision, r.revision, 1) AS revision,
  coalesce(i.ended, o.outcome, CASE WHEN r.revision IS NOT NULL THEN 'rejected'
    ELSE 'cancelled' END) AS end,
  CASE WHEN i.ended IS NULL THEN coalesce(o.partial, false) ELSE i.partial END AS partial,
  coalesce(i.ended_at, o.decided_at, r.rejected_at, a.cancelled_at, b.cancelled_at) AS ended_at,
  b.cancelled_at IS NOT NULL AND coalesce(i.ended = 'cancelled', o.revision IS NULL
    AND r.revision IS NULL) AS by_import
FROM batch_items i JOIN batches b USING (batch_id)
LEFT JOIN analyses a ON a.analysis_id = i.analysis_id
LEFT JOIN LATERAL (SELECT * FROM outcomes x WHERE x.analysis_id = i.analysis_id
  ORDER BY x.revision LIMIT 1) o ON true
LEFT JOIN LATERAL (SELECT * FROM rejections x WHERE x.analysis_id = i.analysis_id
  ORDER BY x.revision LIMIT 1) r ON true
WHERE i.batch_id = %(batch)s AND i.state = 'submitted'
"""


def end_events(conn: Conn, batch_id: str, indices: Sequence[int]) -> list[Emit]:
    """The ends of these files, as the catalog knows them or can tell from their analyses.

    Of an analysis with several outcomes the first is the end; the others repaired it.
    """
    rows = conn.execute(
        _ENDED + " AND i.index = ANY(%(indices)s) ORDER BY i.index",
        {"batch": batch_id, "indices": list(indices)},
    )
    return list(_ends(rows))


def ended_after(conn: Conn, batch_id: str, index: int, limit: int) -> tuple[list[Emit], int | None]:
    """The ends of the next files of an import, and the index to go on after; None at the end."""
    rows = conn.execute(
        _ENDED
        + " AND i.index > %(after)s AND i.ended IS NOT NULL ORDER BY i.index LIMIT %(limit)s",
        {"batch": batch_id, "after": index, "limit": limit},
    ).fetchall()
    following = rows[-1]["index"] if len(rows) == limit else None
    return list(_ends(rows)), following


def one_end_a_chunk(conn: Conn, batch_id: str) -> list[Emit]:
    """The end of one file of each chunk of an import, which makes the chunk say its counts again.

    Reads the import's files.
    """
    rows = conn.execute(
        "SELECT min(index) AS index FROM batch_items"
        " WHERE batch_id = %s AND state = 'submitted' AND ended IS NOT NULL GROUP BY index / %s",
        (batch_id, ids.CHUNK),
    )
    return end_events(conn, batch_id, [row["index"] for row in rows])


def _ends(rows: Iterable[Mapping[str, Any]]) -> Iterator[Emit]:
    for row in rows:
        batch, index = row["batch_id"], row["index"]
        value = {name: row[name] for name in row if name != "by_import"}
        what = f"ended:{index}:{row['analysis_id']}:{row['revision']}"
        if row["by_import"]:
            what = f"cancelled:{index}"
        key = ids.chunk_key(batch, ids.chunk_of(index))
        yield Emit(BATCH_PHOTO_ENDED, key, value, ids.batch_event_id(batch, what))


def last_intake(conn: Conn, batch_id: str) -> list[Emit]:
    """What was said last of an import whose files are all recorded."""
    row = conn.execute(
        "SELECT batch_id, owner, lane, kind, roots, location, started_at, found, expected, state,"
        " duplicates, refused, submitted, cancelled_at FROM batches WHERE batch_id = %s AND sealed",
        (batch_id,),
    ).fetchone()
    if row is None:
        return []
    state: IntakeState = "sealed" if row["cancelled_at"] is None else "cancelled"
    counts = {name: row[name] for name in ("found", "duplicates", "refused", "submitted")}
    return [intake_event(import_of(row), state, counts)]
