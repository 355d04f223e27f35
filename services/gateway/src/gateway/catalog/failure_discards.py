"""Failures that somebody laid aside for a reason, and took back."""

from collections.abc import Mapping, Sequence
from typing import Any, LiteralString

from gateway.catalog.audit import audit
from gateway.catalog.failed import FAILED, arguments, where
from gateway.catalog.failure_shapes import ChosenFailures, FailureState
from gateway.db import Conn

_DISCARD: LiteralString = """
, added AS (
  INSERT INTO failure_discards (owner, analysis_id, stage, failed_at, reason, discarded_by)
  SELECT %(owner)s, analysis_id, stage, failed_at, %(reason)s, %(by)s FROM chosen
  ON CONFLICT (analysis_id, stage) WHERE restored_at IS NULL DO UPDATE SET
    failed_at = excluded.failed_at, reason = excluded.reason,
    discarded_by = excluded.discarded_by, discarded_at = now()
  RETURNING 1)
SELECT count(*) AS count FROM added
"""

_RESTORE: LiteralString = """
, changed AS (
  UPDATE failure_discards d SET restored_at = now(), restored_by = %(by)s FROM chosen
  WHERE d.analysis_id = chosen.analysis_id AND d.stage = chosen.stage AND d.restored_at IS NULL
  RETURNING 1)
SELECT count(*) AS count FROM changed
"""


def discard(conn: Conn, owner: str, chosen: ChosenFailures, reason: str, by: str) -> int:
    """Lay open failures aside; how many. Those that are being tried again stay."""
    given = {"reason": reason, "by": by}
    with conn.transaction():
        count = _change(conn, owner, chosen, "open", _DISCARD, given)
        _written(conn, by, "failures.discarded", chosen, {"reason": reason, "count": count})
    return count


def restore(conn: Conn, owner: str, chosen: ChosenFailures, by: str) -> int:
    """Put discarded failures back into the inbox; how many."""
    with conn.transaction():
        count = _change(conn, owner, chosen, "discarded", _RESTORE, {"by": by})
        _written(conn, by, "failures.restored", chosen, {"count": count})
    return count


def _change(
    conn: Conn,
    owner: str,
    chosen: ChosenFailures,
    state: FailureState,
    change: LiteralString,
    given: Mapping[str, Any],
) -> int:
    states: Sequence[FailureState] = (state,)
    query = FAILED + ", chosen AS (SELECT failed.* FROM failed" + where(chosen, states) + ")"  # noqa: S608  # literals only
    row = conn.execute(query + change, {**arguments(owner, chosen, states), **given}).fetchone()
    return row["count"] if row else 0


def _written(
    conn: Conn, by: str, what: str, chosen: ChosenFailures, detail: Mapping[str, Any]
) -> None:
    if detail["count"]:
        stored = chosen.model_dump(mode="json", exclude_none=True)
        audit(conn, by, what, "failures", {"filter": stored, **detail})
