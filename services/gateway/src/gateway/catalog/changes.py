"""What changed lately, for those who must do without Redis; contracts as in `read`."""

from dataclasses import dataclass
from typing import Final, Literal
from uuid import UUID

from gateway.db import Conn

WINDOW_S: Final = 120
"""How far back a look goes: longer than the recorder lags behind the stages' own clock."""

_LIMIT: Final = 1000


@dataclass(frozen=True, slots=True)
class Change:
    """A photo that ended or was reviewed, an import that moved, or something to tell people.

    `state` is another text once its state is another one; `batches` are the imports of a photo.
    """

    kind: Literal["photo", "batch", "notice"]
    id: UUID
    state: str
    batches: frozenset[UUID]


_CHANGES: Final = """
WITH ended AS (
  SELECT photo_id, analysis_id, revision, decided_at AS at FROM outcomes
  WHERE owner = %(owner)s AND decided_at > now() - make_interval(secs => %(window)s)
  UNION ALL
  SELECT photo_id, analysis_id, revision, rejected_at FROM rejections
  WHERE owner = %(owner)s AND rejected_at > now() - make_interval(secs => %(window)s)
  UNION ALL
  SELECT photo_id, analysis_id, revision, cancelled_at FROM analyses
  WHERE owner = %(owner)s AND cancelled_at > now() - make_interval(secs => %(window)s)
  UNION ALL
  SELECT photo_id, v.analysis_id, v.revision, y.answered_at
  FROM review_answers y JOIN reviews v USING (photo_id)
  WHERE y.owner = %(owner)s AND y.answered_at > now() - make_interval(secs => %(window)s)
  UNION ALL
  SELECT photo_id, v.analysis_id, v.revision, y.undone_at
  FROM review_answers y JOIN reviews v USING (photo_id)
  WHERE y.owner = %(owner)s AND y.undone_at > now() - make_interval(secs => %(window)s)),
newest AS (
  SELECT 'photo' AS kind, photo_id AS id, at, concat_ws(':', analysis_id, revision,
    (SELECT count(*) FROM parts y WHERE y.analysis_id = ended.analysis_id),
    (SELECT requested_at FROM analyses a WHERE a.analysis_id = ended.analysis_id),
    (SELECT answer_id FROM reviews v WHERE v.photo_id = ended.photo_id)) AS state
  FROM ended
  UNION ALL
  SELECT 'batch', batch_id, coalesce(completed_at, now()),
    concat_ws(':', state, found, duplicates, refused, totals::text)
  FROM batches WHERE owner = %(owner)s AND (completed_at IS NULL
    OR completed_at > now() - make_interval(secs => %(window)s)
    OR started_at > now() - make_interval(secs => %(window)s))
  UNION ALL
  SELECT 'notice', notice_id, recorded_at, '' FROM notices n
  WHERE (owner IS NULL OR owner = %(owner)s)
    AND recorded_at > now() - make_interval(secs => %(window)s)
    AND EXISTS (SELECT FROM deliveries d JOIN channels c USING (channel_id)
      WHERE d.notice_id = n.notice_id AND d.attempts > 0
        AND c.kind = 'websocket' AND c.owner = %(owner)s)
  ORDER BY at DESC LIMIT %(limit)s)
SELECT kind, id, state, ARRAY(SELECT batch_id FROM batch_items i
  WHERE newest.kind = 'photo' AND i.photo_id = newest.id) AS batches
FROM newest ORDER BY at
"""


def changes(conn: Conn, owner: str) -> list[Change]:
    """What ended, moved or is to be told to people since two minutes ago, oldest first.

    Of notices those whose way by Redis was tried: so none is told here before it is there.
    """
    arguments = {"owner": owner, "window": WINDOW_S, "limit": _LIMIT}
    return [
        Change(row["kind"], row["id"], row["state"], frozenset(row["batches"]))
        for row in conn.execute(_CHANGES, arguments)
    ]
