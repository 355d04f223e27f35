"""Finding photos by words and by likeness; contracts as in `read`.

Scores lie in 0..1 and can be compared within one answer.
"""

import re
from typing import Any, Final, LiteralString
from uuid import UUID

from gateway.catalog.read import photos_by_id
from gateway.catalog.shapes import Hit
from gateway.db import Conn

_WORDS: LiteralString = """
WITH asked AS (
  SELECT websearch_to_tsquery('english', %(head)s) && to_tsquery('english', %(prefix)s) AS every
  WHERE %(prefix)s::text IS NOT NULL
  UNION ALL
  SELECT websearch_to_tsquery('english', %(head)s) WHERE %(prefix)s::text IS NULL),
query AS (
  SELECT every, CASE WHEN every::text LIKE '%%!%%' THEN every
                     ELSE replace(every::text, ' & ', ' | ')::tsquery END AS some
  FROM asked WHERE numnode(every) > 0),
touched AS (
  SELECT DISTINCT x.analysis_id, x.photo_id FROM parts x, query
  WHERE x.words @@ query.some AND x.owner = %(owner)s),
documents AS (
  SELECT t.*, d.body AS detector, o.words AS text,
    coalesce(d.words, '') || coalesce(o.words, '') || coalesce(e.words, '') AS words
  FROM touched t
  LEFT JOIN LATERAL (SELECT * FROM parts y WHERE y.analysis_id = t.analysis_id
    AND y.stage = 'detector' ORDER BY y.revision DESC LIMIT 1) d ON true
  LEFT JOIN LATERAL (SELECT * FROM parts y WHERE y.analysis_id = t.analysis_id
    AND y.stage = 'ocr' ORDER BY y.revision DESC LIMIT 1) o ON true
  LEFT JOIN LATERAL (SELECT * FROM parts y WHERE y.analysis_id = t.analysis_id
    AND y.stage = 'embedder' ORDER BY y.revision DESC LIMIT 1) e ON true)
SELECT m.photo_id, m.analysis_id,
  ts_rank('{1,1,1,1}', m.words, query.every) * CASE
    WHEN m.detector IS NULL OR m.text @@ query.some THEN 1 ELSE coalesce(l.strength, 1) END AS score
FROM documents m CROSS JOIN query
LEFT JOIN LATERAL (
  SELECT max(n.confidence) AS strength
  FROM jsonb_to_recordset(m.detector -> 'labels') AS n (name text, confidence float8)
  WHERE to_tsvector('english', n.name) @@ query.some) l ON true
WHERE m.words @@ query.every
  AND EXISTS (SELECT FROM outcomes o WHERE o.analysis_id = m.analysis_id)
  -- A photo that was analysed again is found by what is shown of it.
  AND NOT EXISTS (SELECT FROM analyses mine JOIN analyses a ON a.photo_id = mine.photo_id
    AND a.submitted_at > mine.submitted_at JOIN outcomes o ON o.analysis_id = a.analysis_id
    WHERE mine.analysis_id = m.analysis_id)
ORDER BY score DESC, m.photo_id LIMIT %(limit)s
"""

_LIKE: LiteralString = """
WITH its AS (
  SELECT e.model_version, e.vector, e.embedded_at FROM embeddings e
  WHERE e.photo_id = %(photo)s AND e.owner = %(owner)s),
covered AS (
  SELECT its.*, (SELECT count(*) FROM embeddings c
    WHERE c.owner = %(owner)s AND c.model_version = its.model_version) AS photos FROM its),
this AS (
  SELECT * FROM covered WHERE photos >= %(enough)s * (SELECT max(photos) FROM covered)
  ORDER BY embedded_at DESC, model_version LIMIT 1)
SELECT e.photo_id, greatest(0, 1 - (e.vector <=> this.vector)) AS score
FROM embeddings e, this
WHERE e.owner = %(owner)s AND e.model_version = this.model_version AND e.photo_id <> %(photo)s
ORDER BY e.vector <=> this.vector, e.photo_id LIMIT %(limit)s
"""


_ENOUGH: Final = 0.99
"""Of the photos that another version has embedded: single photos may fail for ever."""


def by_words(conn: Conn, owner: str, text: str, limit: int) -> list[Hit]:
    """Photos whose labels, category or text hold all the words, best first.

    `text` is read as web searches are ("exact words", -without, or). If nothing holds the last
    word, words that begin like it count. The score is PostgreSQL's ts_rank with all weights 1,
    which lies in 0..1; a photo found by its labels alone, not by its text, counts as much as the
    label is sure.
    """
    hits = _hits(conn, owner, _WORDS, {"head": text, "prefix": None, "limit": limit})
    ending = re.search(r"(?:^|\s)(\w+)\s*$", text)
    if hits or ending is None:
        return hits
    head = text[: ending.start()].strip()
    query = _WORDS if head else _PREFIX_ALONE
    return _hits(conn, owner, query, {"head": head, "prefix": f"{ending[1]}:*", "limit": limit})


_PREFIX_ALONE: LiteralString = _WORDS.replace(
    "websearch_to_tsquery('english', %(head)s) && to_tsquery", "to_tsquery"
)


def by_likeness(conn: Conn, owner: str, photo_id: UUID, limit: int) -> list[Hit] | None:
    """Photos that resemble this one, itself left out; None if it has no embedding.

    An exact scan of the vectors of one model version: the newest that has embedded nearly as many
    photos as any. While photos are being embedded by a new version, the one before is searched.
    The score is the cosine, cut off at 0:
    the features that embeddings come from are not negative, so that cosines below 0 mean nothing,
    and the whole range stays for telling photos apart.
    """
    known = conn.execute(
        "SELECT 1 FROM embeddings WHERE photo_id = %s AND owner = %s LIMIT 1", (photo_id, owner)
    ).fetchone()
    if known is None:
        return None
    return _hits(conn, owner, _LIKE, {"photo": photo_id, "limit": limit, "enough": _ENOUGH})


def _hits(conn: Conn, owner: str, query: LiteralString, arguments: dict[str, Any]) -> list[Hit]:
    rows = conn.execute(query, {"owner": owner, **arguments}).fetchall()
    photos = photos_by_id(conn, owner, [row["photo_id"] for row in rows])
    hits = []
    for row in rows:
        photo = photos.get(row["photo_id"])
        if photo is None or photo.status != "analyzed":
            continue
        if row.get("analysis_id") in (None, UUID(photo.analysis_id or "")):
            hits.append(Hit(score=min(1.0, round(row["score"], 4)), photo=photo))
    return hits
