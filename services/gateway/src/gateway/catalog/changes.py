"""What changed lately, for those who must do without Redis; contracts as in `read`."""

from uuid import UUID

from gateway.db import Conn


WINDOW_S = 120
"""How far back a look goes: longer than the recorder lags behind the stages' own clock."""

_LIMIT = 1000

State = tuple[str, UUID, str]
"""Kind (photo or batch), id, and a text that is another one once its state is."""


def changes(conn: Conn, owner: str) -> list[State]:
    """Photos that ended and imports that moved in the last two minutes, oldest first."""
    query = """
    SELECT * FROM (
      SELECT 'photo' AS kind, photo_id AS id, analysis_id || ':' || revision AS state,
        decided_at AS at FROM outcomes
      WHERE owner = %(owner)s AND decided_at > now() - make_interval(secs => %(window)s)
      UNION ALL
      SELECT 'photo', photo_id, analysis_id || ':' || revision, rejected_at FROM rejections
      WHERE owner = %(owner)s AND rejected_at > now() - make_interval(secs => %(window)s)
      UNION ALL
      SELECT 'batch', batch_id, concat_ws(':', state, found, duplicates, refused, totals::text),
        coalesce(completed_at, now()) FROM batches
      WHERE owner = %(owner)s AND (state IN ('scanning', 'running')
        OR completed_at > now() - make_interval(secs => %(window)s)
        OR started_at > now() - make_interval(secs => %(window)s))
      ORDER BY at DESC LIMIT %(limit)s) newest
    ORDER BY at
    """
    arguments = {"owner": owner, "window": WINDOW_S, "limit": _LIMIT}
    rows = conn.execute(query, arguments).fetchall()
    return [(row["kind"], row["id"], row["state"]) for row in rows]
