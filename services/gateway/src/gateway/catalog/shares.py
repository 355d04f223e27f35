"""How much of each lane is let in: what was measured, and what somebody has set instead."""

from collections.abc import Mapping
from datetime import datetime
from typing import Any, Final

from pydantic import Field

from gateway.adapting import WHOLE, Measure, Usage
from gateway.catalog.audit import audit
from gateway.catalog.shapes import Lane, Shape
from gateway.catalog.workers import MISSED
from gateway.db import Conn

LANES: Final = ("high", "default", "batch", "learning")

STALE_S: Final = 30.0
"""What was measured longer ago says nothing any more."""

UNMEASURED: Final = "nobody measures how busy the workers are: is the control door running?"

_P95_S: Final = 300.0
"""Over so many last seconds is looked at how long single photos take,"""

_P95_PHOTOS: Final = 2_000
"""and at no more than so many last ones of lane high."""

_P95_LEAST: Final = 20
"""Of fewer photos it says nothing: one alone that took long is no objective missed."""


class Share(Shape):
    """How much of a lane is let in, as a multiple of the configured limits: 0.5, 1 or 2."""

    lane: Lane
    share: float = Field(description="what holds", examples=[0.5])
    measured: float = Field(description="what the load of the workers comes to")
    cause: str | None = Field(
        description="of what was measured", examples=["the workers' CPU is at 91 %"]
    )
    since: datetime | None = Field(description="measured so; null: never was")
    pinned: float | None = Field(description="what somebody has set, which holds instead")
    pinned_until: datetime | None = Field(description="null: until it is taken back")
    pinned_by: str | None
    pinned_reason: str | None

    @property
    def why(self) -> str | None:
        """Why it is not what is configured, for people."""
        if self.share == WHOLE:
            return None
        return (
            self.cause if self.pinned is None else f"{self.pinned_by} set it: {self.pinned_reason}"
        )


def shares(conn: Conn, _owner: str) -> list[Share]:
    """All lanes. What was measured too long ago is 1; what was set holds as long as it should."""
    rows = conn.execute(_SHARES, {"lanes": list(LANES), "stale_s": STALE_S, "cause": UNMEASURED})
    return [Share.model_validate(row) for row in rows]


_SHARES: Final = """
SELECT t.lane, m.share AS measured, m.cause, s.since,
  coalesce(p.pinned, m.share) AS share, p.*
FROM unnest(%(lanes)s::text[]) WITH ORDINALITY AS t (lane, place)
LEFT JOIN admission_shares s ON s.lane = t.lane
CROSS JOIN LATERAL (
  SELECT s.measured_at > now() - make_interval(secs => %(stale_s)s) AS fresh) AS f
CROSS JOIN LATERAL (
  SELECT CASE WHEN f.fresh THEN s.share ELSE 1 END AS share,
    CASE WHEN f.fresh THEN s.cause ELSE %(cause)s END AS cause) AS m
LEFT JOIN LATERAL (
  SELECT s.pinned, s.pinned_until, s.pinned_by, s.pinned_reason
  WHERE s.pinned_until IS NULL OR s.pinned_until > now()) AS p ON true
ORDER BY t.place
"""


def pin(
    conn: Conn, owner: str, lane: str, share: float, for_s: float | None, about: tuple[str, str]
) -> Share:
    """Have a lane's share hold for so many seconds, or until it is taken back; `about` is who sets
    it, and why."""
    by, reason = about
    with conn.transaction():
        row = conn.execute(
            _PIN, {"lane": lane, "share": share, "for_s": for_s, "by": by, "reason": reason}
        ).fetchone()
        until = row and row["pinned_until"] and row["pinned_until"].isoformat()
        detail: dict[str, Any] = {"share": share, "until": until, "reason": reason}
        audit(conn, by, "share.pinned", lane, detail)
        return _of(conn, owner, lane)


_PIN: Final = """
INSERT INTO admission_shares (
  lane, share, since, measured_at, pinned, pinned_until, pinned_by, pinned_reason)
VALUES (
  %(lane)s, 1, now(), '-infinity', %(share)s, now() + make_interval(secs => %(for_s)s::float8),
  %(by)s, %(reason)s)
ON CONFLICT (lane) DO UPDATE SET pinned = excluded.pinned, pinned_until = excluded.pinned_until,
  pinned_by = excluded.pinned_by, pinned_reason = excluded.pinned_reason
RETURNING pinned_until
"""


def unpin(conn: Conn, owner: str, lane: str, by: str) -> Share:
    """Have what is measured hold again. Harmless if nothing was set."""
    with conn.transaction():
        was = _of(conn, owner, lane)
        conn.execute(
            "UPDATE admission_shares SET pinned = NULL, pinned_until = NULL, pinned_by = NULL,"
            " pinned_reason = NULL WHERE lane = %s",
            (lane,),
        )
        if was.pinned is not None:
            audit(conn, by, "share.unpinned", lane, {"share": was.pinned})
        return _of(conn, owner, lane)


def _of(conn: Conn, owner: str, lane: str) -> Share:
    return next(share for share in shares(conn, owner) if share.lane == lane)


def measures(conn: Conn) -> Mapping[str, Measure]:
    """What was measured last, if that was not too long ago."""
    rows = conn.execute(
        "SELECT lane, share, cause FROM admission_shares"
        " WHERE measured_at > now() - make_interval(secs => %s)",
        (STALE_S,),
    )
    return {row["lane"]: Measure(row["share"], row["cause"]) for row in rows}


def record(conn: Conn, found: Mapping[str, Measure]) -> None:
    """Write what was measured just now."""
    conn.execute(
        _RECORD,
        {
            "lanes": list(found),
            "shares": [one.share for one in found.values()],
            "causes": [one.cause for one in found.values()],
        },
    )


_RECORD: Final = """
INSERT INTO admission_shares AS s (lane, share, cause, since, measured_at)
SELECT lane, share, cause, now(), now()
FROM unnest(%(lanes)s::text[], %(shares)s::real[], %(causes)s::text[]) AS t (lane, share, cause)
ORDER BY lane
ON CONFLICT (lane) DO UPDATE SET share = excluded.share, cause = excluded.cause,
  measured_at = excluded.measured_at,
  since = CASE WHEN s.share = excluded.share THEN s.since ELSE excluded.since END
"""


def usage(conn: Conn) -> Usage | None:
    """How busy the busiest of the workers that are there is; None if there is none."""
    row = conn.execute(
        "SELECT max(cpu) AS cpu, max(memory) AS memory FROM workers"
        " WHERE state IN ('working', 'stopping')"
        " AND seen_at > now() - make_interval(secs => %s * every_s)",
        (MISSED,),
    ).fetchone()
    if row is None or row["cpu"] is None:
        return None
    return Usage(row["cpu"], row["memory"])


def high_p95_s(conn: Conn) -> float | None:
    """Seconds in which 95 of 100 single photos of lane high had their outcome lately; None if none
    had one. Photos of imports wait for their turn, as they should."""
    row = conn.execute(_HIGH_P95, {"lately_s": _P95_S, "photos": _P95_PHOTOS}).fetchone()
    return row["p95"] if row and row["photos"] >= _P95_LEAST else None


# Index outcomes_high. A later revision says nothing of how long anybody waited.
_HIGH_P95: Final = """
SELECT percentile_cont(0.95) WITHIN GROUP (
  ORDER BY extract(epoch FROM o.decided_at - a.submitted_at))::float8 AS p95,
  count(*) AS photos
FROM (
  SELECT analysis_id, decided_at FROM outcomes
  WHERE lane = 'high' AND revision = 1 AND decided_at > now() - make_interval(secs => %(lately_s)s)
  ORDER BY decided_at DESC LIMIT %(photos)s) AS o
JOIN analyses a USING (analysis_id)
WHERE a.submission_id LIKE 'api:%%'
"""
