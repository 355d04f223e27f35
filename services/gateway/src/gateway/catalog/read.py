"""Reading photos from the catalog.

Every function takes an open connection, blocks, and lets psycopg's errors through. Rows are only
read; a photo is put together from its current analysis: the newest one with a complete outcome,
else the newest one that was not cancelled, else the newest one.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, LiteralString
from uuid import UUID

from psycopg import Cursor
from psycopg.rows import DictRow

from darkroom_schemas.heads import head_of
from gateway.catalog.shapes import (
    Counts,
    Links,
    OwnLabel,
    Photo,
    PhotoStatus,
    Reason,
    Reviewed,
    Stage,
)
from gateway.db import Conn

CURRENT: LiteralString = """
LEFT JOIN LATERAL (
  SELECT a.analysis_id, a.revision, a.lane, a.submitted_at, a.cancelled_at, o.*
  FROM analyses a
  LEFT JOIN LATERAL (
    SELECT x.revision AS outcome_revision, x.outcome, x.label, x.confidence, x.calibrated,
           x.category, x.labels, x.partial, x.failed_stages, x.parts AS used, x.reason, x.decided_at
    FROM outcomes x
    WHERE x.analysis_id = a.analysis_id AND p.thumbnail_uri IS NOT NULL
      AND NOT EXISTS (
        SELECT FROM jsonb_to_recordset(x.parts) AS u (stage text, revision int)
        WHERE NOT EXISTS (SELECT FROM parts y WHERE y.analysis_id = x.analysis_id
                          AND y.stage = u.stage AND y.revision = u.revision))
    ORDER BY x.revision DESC LIMIT 1) o ON true
  WHERE a.photo_id = p.photo_id
  ORDER BY (o.outcome_revision IS NOT NULL) DESC, (a.cancelled_at IS NULL) DESC,
    a.submitted_at DESC, a.analysis_id LIMIT 1
) c ON true
LEFT JOIN LATERAL (
  SELECT r.code, r.message, r.rejected_at, r.revision AS rejection_revision FROM rejections r
  WHERE r.photo_id = p.photo_id AND c.outcome_revision IS NULL
    AND (c.analysis_id IS NULL OR r.analysis_id = c.analysis_id)
  ORDER BY r.revision DESC LIMIT 1
) r ON true
"""
"""Joins photos `p` with their current analysis `c` and, if that ended so, its rejection `r`."""

_PARTS: LiteralString = """
LEFT JOIN LATERAL (
  SELECT jsonb_object_agg(s.stage, jsonb_build_object(
    'ms', s.ms, 'engine', s.engine, 'model_version', s.model_version, 'body', s.body)) AS parts
  FROM (
    SELECT DISTINCT ON (y.stage) y.* FROM parts y
    WHERE y.analysis_id = c.analysis_id AND (c.used IS NULL OR EXISTS (
      SELECT FROM jsonb_to_recordset(c.used) AS u (stage text, revision int)
      WHERE u.stage = y.stage AND u.revision = y.revision))
    ORDER BY y.stage, y.revision DESC) s
) s ON true
"""
"""The parts that the outcome used; before there is one, the newest of each stage."""

_REVIEWED: LiteralString = """
LEFT JOIN LATERAL (
  SELECT to_jsonb(a) AS reviewed FROM reviews v JOIN review_answers a USING (answer_id)
  WHERE v.photo_id = p.photo_id) w ON true
"""
"""What holds of all that people said of the photo."""

STATUS: LiteralString = """
CASE WHEN c.outcome_revision IS NOT NULL THEN 'analyzed'
     WHEN r.code IS NOT NULL THEN 'rejected'
     WHEN c.cancelled_at IS NOT NULL THEN 'cancelled' ELSE 'pending' END
"""

_PHOTO: LiteralString = (
    "SELECT p.*, c.*, r.*, s.parts, w.reviewed, "  # noqa: S608  # literals only
    + STATUS
    + " AS status FROM photos p"
    + CURRENT
    + _PARTS
    + _REVIEWED
)


@dataclass(frozen=True, slots=True)
class Filter:
    """Which photos to list; None does not restrict."""

    outcome: str | None = None
    status: str | None = None
    batch: UUID | None = None


@dataclass(frozen=True, slots=True)
class Place:
    """A place in the list of photos, newest first."""

    created_at: datetime
    photo_id: UUID


@dataclass(frozen=True, slots=True)
class Stored:
    """Where a photo's bytes are; None where they do not exist (yet)."""

    photo_id: UUID
    sha256: str
    media_type: str | None
    file_name: str | None
    status: PhotoStatus
    original: str | None
    rendition: str | None
    thumbnail: str | None


def photo(conn: Conn, owner: str, photo_id: UUID) -> Photo | None:
    """The owner's photo with this id."""
    return photos_by_id(conn, owner, [photo_id]).get(photo_id)


def photos_by_id(conn: Conn, owner: str, ids: Sequence[UUID]) -> dict[UUID, Photo]:
    """Those of the photos that the catalog has."""
    return photos_told(ask_photos(conn, owner, ids))


def ask_photos(conn: Conn, owner: str, ids: Sequence[UUID]) -> Cursor[DictRow]:
    """Ask for photos, for `photos_told`; in a pipeline nobody waits for the answer yet."""
    query = _PHOTO + " WHERE p.owner = %(owner)s AND p.photo_id = ANY(%(ids)s)"
    return conn.execute(query, {"owner": owner, "ids": list(ids)})


def photos_told(answer: Cursor[DictRow]) -> dict[UUID, Photo]:
    """Those of the photos asked for that the catalog has."""
    return {row["photo_id"]: shown(row) for row in answer}


def photos(
    conn: Conn, owner: str, chosen: Filter, after: Place | None, limit: int
) -> tuple[list[Photo], Place | None]:
    """At most `limit` photos after a place, newest first, and the place to go on from."""
    query = _PHOTO + " WHERE p.owner = %(owner)s" + _conditions(chosen, after)
    query += " ORDER BY p.created_at DESC, p.photo_id LIMIT %(limit)s"
    arguments = {
        "owner": owner,
        "outcome": chosen.outcome,
        "status": chosen.status,
        "batch": chosen.batch,
        "created_at": after.created_at if after else None,
        "photo_id": after.photo_id if after else None,
        "limit": limit + 1,
    }
    rows = conn.execute(query, arguments).fetchall()
    here = rows[:limit]
    more = len(rows) > limit
    place = Place(here[-1]["created_at"], here[-1]["photo_id"]) if more else None
    return [shown(row) for row in here], place


def _conditions(chosen: Filter, after: Place | None) -> LiteralString:
    query: LiteralString = ""
    if chosen.outcome is not None:
        query += " AND c.outcome = %(outcome)s"
    if chosen.status is not None:
        query += " AND " + STATUS + " = %(status)s"
    if chosen.batch is not None:
        query += (
            " AND p.photo_id IN (SELECT i.photo_id FROM batch_items i"
            " WHERE i.batch_id = %(batch)s AND i.state = 'submitted')"
        )
    if after is not None:
        query += (
            " AND p.created_at <= %(created_at)s AND"
            " (p.created_at < %(created_at)s OR p.photo_id > %(photo_id)s)"
        )
    return query


def stored(conn: Conn, owner: str, photo_id: UUID) -> Stored | None:
    """Where the bytes of the owner's photo are."""
    query: LiteralString = (
        "SELECT p.photo_id, p.sha256, p.media_type, p.file_name, "  # noqa: S608  # literals only
        + STATUS
        + " AS status, p.source_uri AS original, p.rendition_uri AS rendition,"
        + " p.thumbnail_uri AS thumbnail FROM photos p"
        + CURRENT
        + " WHERE p.owner = %s AND p.photo_id = %s"
    )
    row = conn.execute(query, (owner, photo_id)).fetchone()
    return Stored(**row) if row else None


def counts(conn: Conn, owner: str) -> Counts:
    """Photos by what became of them: one pass over the newest outcome or analysis of each."""
    query = """
    WITH ended AS (
      SELECT DISTINCT ON (photo_id) photo_id, outcome FROM outcomes
      WHERE owner = %(owner)s ORDER BY photo_id, decided_at DESC, revision DESC),
    latest AS (
      SELECT DISTINCT ON (photo_id) photo_id, analysis_id, cancelled_at FROM analyses
      WHERE owner = %(owner)s
      ORDER BY photo_id, (cancelled_at IS NULL) DESC, submitted_at DESC),
    refusals AS (
      SELECT DISTINCT r.photo_id FROM rejections r
      LEFT JOIN latest l ON l.photo_id = r.photo_id
      WHERE r.owner = %(owner)s AND (l.analysis_id IS NULL OR l.analysis_id = r.analysis_id)),
    each AS (
      SELECT CASE WHEN e.photo_id IS NOT NULL THEN e.outcome
                  WHEN f.photo_id IS NOT NULL THEN 'rejected'
                  WHEN l.cancelled_at IS NOT NULL THEN 'cancelled' ELSE 'pending' END AS what
      FROM photos p LEFT JOIN ended e ON e.photo_id = p.photo_id
      LEFT JOIN refusals f ON f.photo_id = p.photo_id
      LEFT JOIN latest l ON l.photo_id = p.photo_id WHERE p.owner = %(owner)s)
    SELECT count(*) AS photos,
      count(*) FILTER (WHERE what = 'pending') AS pending,
      count(*) FILTER (WHERE what = 'cancelled') AS cancelled,
      count(*) FILTER (WHERE what = 'auto_labeled') AS auto_labeled,
      count(*) FILTER (WHERE what = 'suggested') AS suggested,
      count(*) FILTER (WHERE what = 'review') AS review,
      count(*) FILTER (WHERE what = 'rejected') AS rejected,
      (SELECT coalesce(sum(refused), 0)::bigint FROM batches WHERE owner = %(owner)s) AS refused
    FROM each
    """
    row = conn.execute(query, {"owner": owner}).fetchone()
    return Counts.model_validate(row)


def shown(row: Mapping[str, Any]) -> Photo:
    """The view of a joined row (photo, current analysis, rejection, parts)."""
    parts: Mapping[str, Any] = row["parts"] or {}
    analyzed = row["status"] == "analyzed"
    fields: dict[str, Any] = {
        "photo_id": str(row["photo_id"]),
        "analysis_id": str(row["analysis_id"]) if row["analysis_id"] else None,
        "revision": row["outcome_revision"] or row["rejection_revision"] or row["revision"] or 1,
        "status": row["status"],
        "stages": {name: Stage.model_validate(part) for name, part in parts.items()},
        "lane": row["lane"] or "default",
        "submitted_at": row["submitted_at"] or row["created_at"],
        "decided_at": row["decided_at"] or row["rejected_at"],
        "error": Reason(code=row["code"], message=row["message"]) if row["code"] else None,
        "reviewed": Reviewed.model_validate(row["reviewed"]) if row["reviewed"] else None,
        "links": links(row),
        **{name: row[name] for name in _FROM_PHOTO},
    }
    return Photo.model_validate(fields | (_found(row, parts) if analyzed else {}))


_FROM_PHOTO = (
    *("file_name", "width", "height", "media_type", "byte_size", "taken_at"),
    *("camera_make", "camera_model", "latitude", "longitude"),
)
_FROM_OUTCOME = (
    *("outcome", "label", "confidence", "calibrated", "category", "partial"),
    *("failed_stages", "reason"),
)


def _found(row: Mapping[str, Any], parts: Mapping[str, Any]) -> dict[str, Any]:
    """What the analysis came to, from its outcome and the parts that this used."""
    bodies = {name: part["body"] for name, part in parts.items()}
    detector, ocr = bodies.get("detector", {}), bodies.get("ocr", {})
    embedder = bodies.get("embedder", {})
    return {
        **{name: row[name] for name in _FROM_OUTCOME},
        "labels": sorted(row["labels"], key=lambda label: -label["confidence"]),
        "text": ocr.get("text"),
        "lines": ocr.get("lines", []),
        "objects": detector.get("objects", []),
        "caption": detector.get("caption"),
        "own_labels": [_own(label) for label in embedder.get("labels", [])],
        "embedding_dim": embedder.get("dimension"),
    }


def _own(label: Mapping[str, Any]) -> OwnLabel:
    head = head_of(label["head"])
    return OwnLabel(
        name=label["name"],
        confidence=label["confidence"],
        set=label["head"] if head is None else head.name,
        version=label["head_version"],
    )


def links(row: Mapping[str, Any]) -> Links:
    """Where a photo's pictures are, by its row in the catalog."""
    base = f"/v1/photos/{row['photo_id']}"
    return Links(
        self=base,
        thumbnail=f"{base}/thumbnail" if row["thumbnail_uri"] else None,
        rendition=f"{base}/rendition" if row["rendition_uri"] else None,
        original=f"{base}/original" if row["source_uri"] else None,
    )
