"""Which waiting photos teach most, as the last look at their vectors found; see `reviews`.

A rank belongs to an outcome, and lies beside the reviews: they are given out and answered while
ranks are made anew.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Final
from uuid import UUID

import numpy as np
from numpy.typing import NDArray

from gateway.db import Conn
from heads.suggesting import suggest

Floats = NDArray[np.float32]

_HALF: Final = 2_048
"""The most doubtful that are looked at, and as many of the newest."""
_KNOWN: Final = 4_096
"""Photos that people said something of, the latest, which others shall be unlike."""
_CHOSEN: Final = 512
"""Ranked one by one; the others come behind them by doubt. Long before so many are answered the
next look is due."""


@dataclass(frozen=True, slots=True)
class Candidate:
    """An outcome that nobody has looked at."""

    photo_id: UUID
    analysis_id: UUID
    revision: int
    doubt: float


@dataclass(frozen=True, slots=True)
class Seen:
    """Candidates that have a vector of one version of the embedder, and what is known already."""

    candidates: Sequence[Candidate]
    vectors: Floats
    known: Floats
    version: str


def owners(conn: Conn) -> list[str]:
    """Whose photos wait. The index is not read but for the first row of each."""
    rows = conn.execute(
        """
        WITH RECURSIVE found AS (
          (SELECT owner FROM reviews WHERE waiting ORDER BY owner LIMIT 1)
          UNION ALL
          SELECT (SELECT r.owner FROM reviews r WHERE r.waiting AND r.owner > found.owner
            ORDER BY r.owner LIMIT 1) FROM found WHERE found.owner IS NOT NULL)
        SELECT owner::text FROM found WHERE owner IS NOT NULL
        """
    )
    return [row["owner"] for row in rows]


def candidates(conn: Conn, owner: str) -> list[Candidate]:
    """Photos that wait and that nobody looks at now: the most doubtful, and the newest."""
    return [Candidate(**row) for row in conn.execute(_CANDIDATES, {"owner": owner, "half": _HALF})]


_CANDIDATES: Final = """
WITH waits AS NOT MATERIALIZED (
  SELECT photo_id, analysis_id, revision, doubt, decided_at FROM reviews
  WHERE owner = %(owner)s AND waiting AND NOT audit AND coalesce(leased_until <= now(), true))
SELECT photo_id, analysis_id, revision, doubt FROM (
  (SELECT * FROM waits ORDER BY doubt DESC, decided_at DESC, photo_id LIMIT %(half)s)
  UNION
  (SELECT * FROM waits ORDER BY decided_at DESC, photo_id LIMIT %(half)s)) AS chosen
ORDER BY doubt DESC, photo_id
"""


def unranked(conn: Conn, owner: str, found: Sequence[Candidate]) -> int:
    """How many of these outcomes have no rank yet."""
    rows = conn.execute(
        "SELECT photo_id, analysis_id, revision FROM review_ranks WHERE owner = %s", (owner,)
    )
    ranked = {(row["photo_id"], row["analysis_id"], row["revision"]) for row in rows}
    return sum((one.photo_id, one.analysis_id, one.revision) not in ranked for one in found)


def said_since(conn: Conn, owner: str, moment: datetime | None) -> tuple[int, datetime]:
    """How much people have said of photos since a moment (None: ever), and the present one."""
    row = conn.execute(
        """
        SELECT clock_timestamp() AS now, (
          SELECT count(*) FROM review_answers WHERE owner = %(owner)s AND answer <> 'skip'
            AND (%(at)s::timestamptz IS NULL OR answered_at > %(at)s)) + (
          SELECT count(*) FROM review_answers WHERE owner = %(owner)s AND undone_at IS NOT NULL
            AND (%(at)s::timestamptz IS NULL OR undone_at > %(at)s)) + (
          SELECT count(*) FROM given_examples WHERE owner = %(owner)s
            AND (%(at)s::timestamptz IS NULL OR said_at > %(at)s)) AS said
        """,
        {"owner": owner, "at": moment},
    ).fetchone()
    assert row is not None  # noqa: S101  # aggregates give a row
    return row["said"], row["now"]


def seen(conn: Conn, owner: str, found: Sequence[Candidate]) -> Seen | None:
    """The vectors of these, and of what people look at or have said something of; None if none of
    them has one. They are of the version that most of them have: others can't be compared."""
    photos = [one.photo_id for one in found]
    version = conn.execute(
        "SELECT model_version FROM embeddings WHERE photo_id = ANY(%s)"
        " GROUP BY model_version ORDER BY count(*) DESC, model_version LIMIT 1",
        (photos,),
    ).fetchone()
    if version is None:
        return None
    name = version["model_version"]
    vectors = _vectors(conn, photos, name)
    here = [one for one in found if one.photo_id in vectors]
    known = [row["photo_id"] for row in conn.execute(_SAID, {"owner": owner, "most": _KNOWN})]
    dimension = len(vectors[here[0].photo_id])
    others = [*_vectors(conn, known, name).values()]
    return Seen(
        candidates=here,
        vectors=np.stack([vectors[one.photo_id] for one in here]),
        known=np.stack(others) if others else np.empty((0, dimension), np.float32),
        version=name,
    )


_SAID: Final = """
SELECT DISTINCT ON (at, photo_id) photo_id FROM (
  SELECT photo_id, said_at AS at FROM given_examples WHERE owner = %(owner)s AND NOT removed
  UNION ALL
  SELECT photo_id, answered_at FROM review_answers
  WHERE owner = %(owner)s AND undone_at IS NULL AND answer <> 'skip'
  UNION ALL
  SELECT photo_id, leased_until FROM reviews
  WHERE owner = %(owner)s AND waiting AND leased_until > now()) AS said
ORDER BY at DESC, photo_id LIMIT %(most)s
"""


def _vectors(conn: Conn, photos: Sequence[UUID], version: str) -> dict[UUID, Floats]:
    """As the server sends them to a reader of bytes: two numbers of 16 bits, then the vector's."""
    with conn.cursor(binary=True) as cursor:
        rows = cursor.execute(
            "SELECT photo_id, vector_send(vector) AS sent FROM embeddings"
            " WHERE photo_id = ANY(%s) AND model_version = %s",
            (list(photos), version),
        )
        return {
            row["photo_id"]: np.frombuffer(row["sent"], ">f4", offset=4).astype(np.float32)
            for row in rows
        }


def in_order(looked: Seen, doubts: NDArray[np.float64] | None = None) -> list[Candidate]:
    """The candidates, the one that teaches most first; `doubts` for what their outcomes say."""
    told = np.array([one.doubt for one in looked.candidates]) if doubts is None else doubts
    first = suggest(looked.vectors, _CHOSEN, told, looked.known)
    behind = sorted(set(range(len(told))).difference(first), key=lambda at: (-told[at], at))
    return [looked.candidates[at] for at in (*first, *behind)]


def keep(conn: Conn, owner: str, ordered: Sequence[Candidate]) -> None:
    """Have these ranks and no others.

    The first gets the largest doubt of them all, the second the next, and so on: what comes after
    this look, or was left out of it, is thereby as far in front as it would be by doubt alone.
    """
    scale = sorted((one.doubt for one in ordered), reverse=True)
    with conn.transaction():
        conn.execute("DELETE FROM review_ranks WHERE owner = %s", (owner,))
        conn.execute(
            """
            INSERT INTO review_ranks (owner, photo_id, analysis_id, revision, useful, place)
            SELECT %(owner)s, given.* FROM unnest(%(photos)s::uuid[], %(analyses)s::uuid[],
              %(revisions)s::int[], %(useful)s::float8[], %(places)s::int[]) AS given
            """,
            {
                "owner": owner,
                "photos": [one.photo_id for one in ordered],
                "analyses": [one.analysis_id for one in ordered],
                "revisions": [one.revision for one in ordered],
                **{"useful": scale, "places": list(range(len(ordered)))},
            },
        )


def forget(conn: Conn) -> None:
    """Ranks of owners of whom no photo waits."""
    conn.execute(
        "DELETE FROM review_ranks k WHERE NOT EXISTS ("
        "SELECT FROM reviews r WHERE r.owner = k.owner AND r.waiting)"
    )
