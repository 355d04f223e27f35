"""Photos that were labelled without asking and that people are asked about all the same.

By lot, which is the same whenever it is drawn: so their answers tell how often such labels are
right, whoever answers, and however many of them are answered.
"""

from typing import Final

from gateway.db import Conn

EACH: Final = 50
"""Of so many of a label one is asked about at least, however the lots fall."""


def draw(conn: Conn, share: float) -> int:
    """Ask about this share of all that was labelled without asking; of how many more.

    Nobody is asked about photos of which somebody has said something, in a review or by giving an
    example: how often a model is right about what it was taught tells nothing about the others.
    """
    if share <= 0:
        return 0
    return conn.execute(_DRAW, {"share": share, "each": EACH}).rowcount


# Locked in the order in which outcomes are recorded; what somebody holds is drawn the next time.
_DRAW: Final = """
WITH strangers AS NOT MATERIALIZED (
  SELECT * FROM reviews r WHERE outcome = 'auto_labeled' AND NOT audit AND answer_id IS NULL
    AND NOT EXISTS (SELECT FROM given_examples g WHERE g.photo_id = r.photo_id AND NOT g.removed)),
counted AS (
  SELECT owner, label, count(*) / %(each)s - count(*) FILTER (WHERE audit) AS lacking
  FROM (SELECT owner, label, audit FROM strangers UNION ALL
    SELECT owner, label, audit FROM reviews WHERE outcome = 'auto_labeled' AND audit) AS told
  GROUP BY owner, label),
drawn AS (
  SELECT lots.photo_id FROM counted c CROSS JOIN LATERAL (
    (SELECT photo_id FROM strangers
     WHERE owner = c.owner AND label = c.label AND photo_lot(photo_id) < %(share)s)
    UNION
    (SELECT photo_id FROM strangers WHERE owner = c.owner AND label = c.label
     ORDER BY photo_lot(photo_id) LIMIT greatest(c.lacking, 0))) AS lots),
held AS (
  SELECT r.photo_id FROM reviews r JOIN drawn USING (photo_id)
  WHERE r.outcome = 'auto_labeled' AND NOT r.audit AND r.answer_id IS NULL
  ORDER BY r.photo_id FOR UPDATE OF r SKIP LOCKED)
UPDATE reviews r SET audit = true, waiting = true FROM held WHERE held.photo_id = r.photo_id
"""
