"""Whether a set of labels has something to learn that its last training did not know."""

from dataclasses import dataclass
from typing import LiteralString

from darkroom_schemas.heads import head_name
from gateway.catalog.labels import concerns
from gateway.db import Conn


@dataclass(frozen=True, slots=True)
class LearnedSet:
    """A set of labels, and whether there is anything new to learn."""

    owner: str
    name: str
    news: bool


def learned_sets(conn: Conn, embedding_version: str | None) -> list[LearnedSet]:
    """All owners' sets of labels of which no training waits or is under way.

    News are what people said, took back or changed since the last one was prepared; and that photos
    are embedded by a version for which there is no head yet. An answer of a review is news for the
    sets that it says something of, and for those that the photo was said to be an example of.
    """
    rows = conn.execute(_SETS)
    return [
        LearnedSet(row["owner"], row["name"], row["said"] or _is_old(conn, row, embedding_version))
        for row in rows
    ]


_SETS: LiteralString = (
    """
SELECT l.owner::text, l.name, t.since IS NULL OR l.changed_at > t.since
  OR EXISTS (SELECT FROM given_examples g
    WHERE g.owner = l.owner AND g.set_name = l.name AND g.said_at > t.since)
  OR EXISTS (SELECT FROM review_answers a
    WHERE a.owner = l.owner AND (a.answered_at > t.since OR a.undone_at > t.since)
      AND a.answer <> 'skip' AND ("""  # noqa: S608  # literals only
    + concerns("a")
    + """
        OR EXISTS (SELECT FROM given_examples g WHERE g.owner = l.owner AND g.set_name = l.name
          AND g.photo_id = a.photo_id AND NOT g.removed)
        OR EXISTS (SELECT FROM review_answers b WHERE b.photo_id = a.photo_id AND """
    + concerns("b")
    + """))) AS said
FROM label_sets l
CROSS JOIN LATERAL (SELECT max(prepared_at) AS since, bool_or(ended_at IS NULL) AS waits
  FROM trainings WHERE owner = l.owner AND model = l.name) t
WHERE t.waits IS NOT TRUE
ORDER BY l.owner, l.name
"""
)


def _is_old(conn: Conn, row: dict[str, str], embedding_version: str | None) -> bool:
    known = conn.execute(
        "SELECT bool_or(embedding_version = %s) AS fits FROM model_versions WHERE name = %s",
        (embedding_version, head_name(row["owner"], row["name"])),
    ).fetchone()
    return known is not None and known["fits"] is False
