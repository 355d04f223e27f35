"""Photos that another version of the embedder embedded, embedded again by the one that holds.

Their older vectors stay, and stay searchable, until then. Contracts as in `results`.
"""

from collections.abc import Mapping
from operator import itemgetter
from typing import Any, Final
from uuid import UUID, uuid5

from darkroom_schemas.events import PhotoReembedded
from darkroom_schemas.names import PHOTO_EMBEDDING_REQUESTED
from darkroom_schemas.stages import now
from gateway.catalog.model_shapes import Reembedding
from gateway.catalog.outbox import Outbox
from gateway.catalog.results import add_vectors
from gateway.db import Conn
from streamkit import Emit

_AT_ONCE: Final = 100

ASKED_AGAIN_S: Final = 3600.0
"""A request without an answer is made again after so long; one that failed is not."""


def ask(
    conn: Conn, outbox: Outbox, version: str, after: UUID, under_way: int
) -> tuple[int, UUID | None]:
    """Ask for some of the photos with ids behind `after` that lack `version`.

    Returns for how many, and the id to go on behind; None at the end. No more than `under_way`
    requests wait at a time. One transaction.
    """
    with conn.transaction():
        waiting = conn.execute(
            "SELECT count(*) AS count FROM embedding_requests WHERE ended_at IS NULL"
            " AND requested_at > now() - make_interval(secs => %s)",
            (ASKED_AGAIN_S,),
        ).fetchone()
        room = min(_AT_ONCE, under_way - (waiting["count"] if waiting else 0))
        if room <= 0:
            return 0, after
        given = {"version": version, "after": after, "room": room, "again": ASKED_AGAIN_S}
        rows = conn.execute(_LACKING, given).fetchall()
        with conn.cursor() as cursor:
            cursor.executemany(_ASKED, [{**row, "version": version} for row in rows])
        outbox.add(conn, [_request(row, version) for row in rows])
    return len(rows), UUID(rows[-1]["photo_id"]) if len(rows) == room else None


# A photo whose vector is on its way by an analysis of its own is asked for all the same: the first
# answer stands.
_LACKING: Final = """
SELECT p.photo_id::text, p.owner::text, p.source_uri, p.width, p.height, p.rendition_uri
FROM photos p
WHERE p.photo_id > %(after)s AND p.rendition_uri IS NOT NULL AND p.source_uri IS NOT NULL
  AND EXISTS (SELECT FROM embeddings e WHERE e.photo_id = p.photo_id)
  AND NOT EXISTS (SELECT FROM embeddings e
    WHERE e.photo_id = p.photo_id AND e.model_version = %(version)s)
  AND NOT EXISTS (SELECT FROM embedding_requests r
    WHERE r.photo_id = p.photo_id AND r.model_version = %(version)s
      AND (r.ended_at IS NOT NULL OR r.requested_at > now() - make_interval(secs => %(again)s)))
ORDER BY p.photo_id LIMIT %(room)s
"""

_ASKED: Final = """
INSERT INTO embedding_requests (photo_id, model_version, owner)
VALUES (%(photo_id)s, %(version)s, %(owner)s)
ON CONFLICT (photo_id, model_version) DO UPDATE SET requested_at = now()
"""


def _request(row: Mapping[str, Any], version: str) -> Emit:
    moment = now()
    name = str(uuid5(UUID(row["photo_id"]), f"embed:{version}:{moment.isoformat()}"))
    value = {**row, "model_version": version, "requested_at": moment}
    return Emit(PHOTO_EMBEDDING_REQUESTED, row["photo_id"], value, name)


def record_reembedded(conn: Conn, *events: PhotoReembedded) -> None:
    """Vectors by another version, or why there are none.

    One by yet another version than was asked for is no answer: the photo may be asked for again.
    """
    ordered = sorted(events, key=itemgetter("photo_id"))
    others = [one for one in ordered if one["model_version"] != one["asked_version"]]
    add_vectors(conn, [one for one in ordered if one["error"] is None])
    with conn.cursor() as cursor:
        cursor.executemany(
            "UPDATE embedding_requests SET ended_at = %(finished_at)s, error = %(error)s"
            " WHERE photo_id = %(photo_id)s AND model_version = %(asked_version)s"
            " AND ended_at IS NULL",
            [one for one in ordered if one["model_version"] == one["asked_version"]],
        )
        cursor.executemany(
            "DELETE FROM embedding_requests WHERE photo_id = %(photo_id)s"
            " AND model_version = %(asked_version)s AND ended_at IS NULL",
            others,
        )


def progress(conn: Conn, owner: str, version: str) -> Reembedding:
    """How far an owner's photos are embedded by a version."""
    row = conn.execute(
        """
        SELECT
          (SELECT count(DISTINCT photo_id) FROM embeddings WHERE owner = %(owner)s) AS photos,
          (SELECT count(*) FROM embeddings
           WHERE owner = %(owner)s AND model_version = %(version)s) AS embedded,
          count(*) FILTER (WHERE r.ended_at IS NULL) AS waiting,
          count(*) FILTER (WHERE r.error IS NOT NULL) AS failed
        FROM embedding_requests r
        WHERE r.owner = %(owner)s AND r.model_version = %(version)s
          AND NOT EXISTS (SELECT FROM embeddings e
            WHERE e.photo_id = r.photo_id AND e.model_version = r.model_version)
        """,
        {"owner": owner, "version": version},
    ).fetchone()
    return Reembedding.model_validate({"version": version, **(row or {})})
