"""Photos that are not kept any more, with all that is known of them. For the job `retention`.

Contracts as in `results`.
"""

from collections.abc import Collection, Mapping, Sequence
from typing import Any, Final, LiteralString, NamedTuple

from psycopg import sql

from gateway.db import Conn

FORGOTTEN: Final = (
    "review_ranks",
    "reviews",
    "review_answers",
    "given_examples",
    "rescored_photos",
    "embedding_requests",
    "embeddings",
    "model_comparisons",
    "stage_failures",
    "parts",
    "outcomes",
    "rejections",
    "analyses",
    "photos",
)
"""Tables whose rows about a photo go with it; those behind others that events might feed again."""

STAYING: Final[Mapping[str, str]] = {
    "batch_items": "which files an import had",
    "source_files": "which files a source had, so that it does not hand them in again",
    "failure_replay_items": "what a replay came to",
    "dead_letters": "follows topics, which forget by themselves",
}
"""Tables that name photos and go on doing so, by their ids alone, and why."""


class Old(NamedTuple):
    """A photo that is not kept, and where its bytes are."""

    photo_id: str
    uris: tuple[str, ...]


def old(conn: Conn, days: int, limit: int) -> list[Old]:
    """Photos that were handed in last so many days ago and wait for nothing; held until the end of
    the transaction. The oldest first."""
    rows = conn.execute(_OLD, {"days": days, "limit": limit}).fetchall()
    return [Old(row["photo_id"], tuple(sorted(set(filter(None, row["uris"]))))) for row in rows]


_OLD: LiteralString = """
SELECT p.photo_id::text, ARRAY[p.source_uri, p.rendition_uri, p.thumbnail_uri] AS uris
FROM photos p
WHERE p.created_at < now() - make_interval(days => %(days)s)
  AND NOT EXISTS (SELECT FROM analyses a WHERE a.photo_id = p.photo_id
    AND (a.submitted_at > now() - make_interval(days => %(days)s)
      OR (a.open AND a.cancelled_at IS NULL)))
  AND NOT EXISTS (SELECT FROM batch_items i JOIN batches b USING (batch_id)
    WHERE i.photo_id = p.photo_id AND b.completed_at IS NULL)
ORDER BY p.created_at, p.photo_id LIMIT %(limit)s
FOR UPDATE OF p SKIP LOCKED
"""


def unshared(conn: Conn, photos: Collection[Old]) -> list[str]:
    """Where bytes of these photos are that no other photo has, too, as of another owner."""
    uris = {uri for photo in photos for uri in photo.uris}
    if not uris:
        return []
    shared = _named(conn, uris, [photo.photo_id for photo in photos])
    return sorted(uris - shared)


def named(conn: Conn, uris: Collection[str]) -> list[str]:
    """Those of these places that a photo names now."""
    return sorted(_named(conn, uris, [])) if uris else []


def _named(conn: Conn, uris: Collection[str], without: Sequence[str]) -> set[str]:
    about: dict[str, Any] = {"uris": list(uris), "without": list(without)}
    return {row["uri"] for row in conn.execute(_NAMED, about)}


_NAMED: LiteralString = """
SELECT u.uri FROM photos p, unnest(ARRAY[p.source_uri, p.rendition_uri, p.thumbnail_uri]) AS u (uri)
WHERE (p.source_uri = ANY(%(uris)s) OR p.rendition_uri = ANY(%(uris)s)
    OR p.thumbnail_uri = ANY(%(uris)s))
  AND p.photo_id <> ALL(%(without)s::uuid[]) AND u.uri = ANY(%(uris)s)
"""


def forget(conn: Conn, photos: Collection[Old]) -> None:
    """Delete all rows about these photos; a part of the caller's transaction."""
    these = {"photos": [photo.photo_id for photo in photos]}
    conn.execute(
        "DELETE FROM failure_discards WHERE analysis_id IN"
        " (SELECT analysis_id FROM analyses WHERE photo_id = ANY(%(photos)s::uuid[]))",
        these,
    )
    for table in FORGOTTEN:
        query = sql.SQL("DELETE FROM {} WHERE photo_id = ANY(%(photos)s::uuid[])")
        conn.execute(query.format(sql.Identifier(table)), these)
