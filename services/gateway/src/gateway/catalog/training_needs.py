"""Whether a set of labels has something to learn that its last training did not know."""

from dataclasses import dataclass
from typing import Final

from darkroom_schemas.heads import head_name
from gateway.catalog.label_shapes import DEFAULT_SET
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
    are embedded by a version for which there is no head yet.
    """
    rows = conn.execute(_SETS, {"usual": DEFAULT_SET})
    return [
        LearnedSet(row["owner"], row["name"], row["said"] or _is_old(conn, row, embedding_version))
        for row in rows
    ]


_SETS: Final = """
SELECT l.owner::text, l.name, t.since IS NULL OR l.changed_at > t.since
  OR EXISTS (SELECT FROM given_examples g
    WHERE g.owner = l.owner AND g.set_name = l.name AND g.said_at > t.since)
  OR (l.name = %(usual)s AND EXISTS (SELECT FROM review_answers a
    WHERE a.owner = l.owner AND greatest(a.answered_at, a.undone_at) > t.since)) AS said
FROM label_sets l
CROSS JOIN LATERAL (SELECT max(prepared_at) AS since, bool_or(ended_at IS NULL) AS waits
  FROM trainings WHERE owner = l.owner AND model = l.name) t
WHERE t.waits IS NOT TRUE
ORDER BY l.owner, l.name
"""


def _is_old(conn: Conn, row: dict[str, str], embedding_version: str | None) -> bool:
    known = conn.execute(
        "SELECT bool_or(embedding_version = %s) AS fits FROM model_versions WHERE name = %s",
        (embedding_version, head_name(row["owner"], row["name"])),
    ).fetchone()
    return known is not None and known["fits"] is False
