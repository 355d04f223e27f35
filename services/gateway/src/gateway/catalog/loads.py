"""How much of each lane waits, as the control door measured it, and what came in since."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final
from uuid import UUID, uuid5

from psycopg.types.json import Jsonb
from pydantic import Field

from darkroom_schemas import ids
from darkroom_schemas.names import OPS_LOAD, PHOTO_SUBMITTED
from gateway.catalog.notices import add_notice
from gateway.catalog.outbox import Outbox
from gateway.catalog.shapes import Lane, Shape
from gateway.db import Conn
from gateway.load import Fresh, Intake, LaneLoad, Limits, StageLoad, filled
from streamkit import Emit

STALE_S: Final = 30.0
"""What was measured longer ago says nothing any more: without a control door the outbox fills, and
its bound holds."""


class Stage(Shape):
    """What a stage has yet to do of a lane."""

    name: str = Field(examples=["detector"])
    records: int
    per_s: float = Field(description="records done a second, lately")
    oldest_s: float = Field(description="seconds that the first of them waits; 0 if none does")
    workers: int | None = Field(description="members of its group; null: not asked")


class Load(Shape):
    """How much of a lane is not done yet, and whether more of it is taken in."""

    lane: Lane
    state: Intake = Field(description="open, warned (more than usual waits), closed (refused)")
    records: int = Field(description="outbox, intake and the most loaded stage together")
    outbox: int = Field(description="photos that wait for Kafka")
    stages: list[Stage]
    retries: dict[str, int] = Field(
        description="by service, records that wait for another attempt: of lane high, or of all"
        " others together"
    )
    retry_after_s: int = Field(description="when it may be open again, if it is closed")
    cause: str | None = Field(description="why it is not open")
    since: datetime = Field(description="in this state")
    measured_at: datetime


@dataclass(frozen=True, slots=True)
class Standing:
    """What admission asks: the state of a lane, what waits by now, why and for how long."""

    state: Intake
    records: int
    cause: str | None
    retry_after_s: int


def clock(conn: Conn) -> datetime:
    """The catalog's time."""
    (row,) = conn.execute("SELECT clock_timestamp() AS now")
    now: datetime = row["now"]
    return now


def waiting(conn: Conn) -> Mapping[str, int]:
    """Photos in the outbox, by lane."""
    lanes = {topic: lane for lane, topic in PHOTO_SUBMITTED.items()}
    rows = conn.execute(
        "SELECT topic, count(*) AS rows FROM outbox WHERE topic = ANY(%s) GROUP BY topic",
        (list(lanes),),
    )
    return {lanes[row["topic"]]: row["rows"] for row in rows}


def hold_states(conn: Conn) -> Mapping[str, Intake]:
    """In which state each lane is; no one else changes one before the end of the transaction."""
    rows = conn.execute("SELECT lane, state FROM lane_loads ORDER BY lane FOR UPDATE")
    return {row["lane"]: Intake(row["state"]) for row in rows}


def record(
    conn: Conn,
    outbox: Outbox,
    loads: Sequence[LaneLoad],
    retries: Mapping[str, Mapping[str, int]],
    measured_at: datetime,
    limits: Limits,
) -> None:
    """Write what was measured. A state that changed is told by an event, and a lane that is closed
    or open again by a notice, in the same transaction."""
    with conn.transaction():
        before = hold_states(conn)
        for load in loads:
            changed = before.get(load.lane) != load.state
            conn.execute(_RECORD, _row(load, retries.get(load.lane, {}), measured_at))
            if changed:
                outbox.add(conn, [_event(load, measured_at, limits)])
                _tell(conn, load, before.get(load.lane), measured_at)


_RECORD: Final = """
INSERT INTO lane_loads AS l (
  lane, state, records, outbox, stages, retries, retry_after_s, cause, measured_at, since)
VALUES (%(lane)s, %(state)s, %(records)s, %(outbox)s, %(stages)s, %(retries)s, %(retry_after_s)s,
  %(cause)s, %(measured_at)s, %(measured_at)s)
ON CONFLICT (lane) DO UPDATE SET
  state = excluded.state, records = excluded.records, outbox = excluded.outbox,
  stages = excluded.stages, retries = excluded.retries, retry_after_s = excluded.retry_after_s,
  cause = excluded.cause, measured_at = excluded.measured_at,
  since = CASE WHEN l.state = excluded.state THEN l.since ELSE excluded.since END
"""


def _row(load: LaneLoad, retries: Mapping[str, int], measured_at: datetime) -> Mapping[str, Any]:
    stages = [
        {
            "name": stage.name,
            "records": stage.records,
            "per_s": round(stage.per_s, 3),
            "oldest_s": round(stage.oldest_s, 1),
            "workers": stage.workers,
        }
        for stage in load.stages
    ]
    return {
        "lane": load.lane,
        "state": load.state.value,
        "records": load.records,
        "outbox": load.outbox,
        "stages": Jsonb(stages),
        "retries": Jsonb(dict(retries)),
        "retry_after_s": load.retry_after_s,
        "cause": load.cause,
        "measured_at": measured_at,
    }


def _event(load: LaneLoad, measured_at: datetime, limits: Limits) -> Emit:
    value = {
        "lane": load.lane,
        "state": load.state.value,
        "records": load.records,
        "cause": load.cause,
        "retry_after_s": load.retry_after_s,
        "warn_at": limits.warn_at,
        "refuse_at": limits.refuse_at,
        "measured_at": measured_at,
    }
    name = f"load:{load.lane}:{load.state.value}:{measured_at.isoformat()}"
    return Emit(OPS_LOAD, load.lane, value, str(uuid5(UUID(ids.LOCAL_OWNER), name)))


def _tell(conn: Conn, load: LaneLoad, before: Intake | None, measured_at: datetime) -> None:
    if load.state is Intake.CLOSED:
        title = f"New photos of lane {load.lane} are refused"
        detail = f"{load.cause} What waits is worked on; new photos are refused with `lane_full`."
    elif before is Intake.CLOSED:
        title = f"Photos of lane {load.lane} are taken in again"
        detail = f"{load.records:,} wait by now."
    else:
        return
    closed = load.state is Intake.CLOSED
    # A lane that opens and closes again and again is told of every ten minutes.
    name = f"load:{load.lane}:{closed}:{int(measured_at.timestamp() // 600)}"
    add_notice(
        conn,
        kind="overload",
        service="gateway",
        subject=f"lane {load.lane}",
        severity="critical" if closed else "info",
        title=title,
        detail=detail,
        notice_id=ids.batch_event_id(ids.LOCAL_OWNER, name),
    )


def loads(conn: Conn, _owner: str) -> list[Load]:
    """All lanes, as they were measured last."""
    rows = conn.execute(
        "SELECT * FROM lane_loads ORDER BY array_position(%s, lane)",
        (["high", "default", "batch", "learning"],),
    )
    return [Load.model_validate(row) for row in rows]


def standing(conn: Conn, _owner: str, lane: str, most: int) -> Standing | None:
    """A lane with what was handed in since it was measured, up to `most`; None if nobody measured
    lately."""
    row = conn.execute(_STANDING, {"lane": lane, "most": most, "stale_s": STALE_S}).fetchone()
    if row is None:
        return None
    return Standing(
        Intake(row["state"]), row["records"] + row["since"], row["cause"], row["retry_after_s"]
    )


def fill(conn: Conn, owner: str, outbox: Outbox, lane: str, limits: Limits) -> Standing | None:
    """Have a lane that has filled up since it was measured be warned of, or refuse new work, as if
    it had been measured so; how it stands then. It may have been measured again meanwhile: then
    that holds. A part of the caller's transaction, until whose end nobody else measures the lane.

    What came in since counts whether or not it is done: a lane that takes more than `warn_at` in
    within two looks is warned of until the second, however little waits.
    """
    row = conn.execute("SELECT * FROM lane_loads WHERE lane = %s FOR UPDATE", (lane,)).fetchone()
    at = clock(conn)
    now = standing(conn, owner, lane, limits.refuse_at)
    if row is None or now is None or not limits.exceeded(now.state, now.records):
        return now
    stages = [StageLoad(**stage) for stage in row["stages"]]
    ago_s = (at - row["measured_at"]).total_seconds()
    fresh = Fresh(now.records - row["records"], ago_s)
    load = filled(lane, now.records, fresh, row["outbox"], stages, limits)
    if load.state is Intake.CLOSED:
        conn.execute(_CLOSE, (load.records, load.cause, load.retry_after_s, at, at, lane))
    else:
        conn.execute(_WARN, (load.cause, at, lane))
    outbox.add(conn, [_event(load, at, limits)])
    _tell(conn, load, now.state, at)
    return Standing(load.state, load.records, load.cause, load.retry_after_s)


# What is counted now is not to be counted again: it was measured up to here.
_CLOSE: Final = """
UPDATE lane_loads SET state = 'closed', records = %s, cause = %s, retry_after_s = %s,
  measured_at = %s, since = %s
WHERE lane = %s
"""

# More is let in, and counts as before: of those that are being recorded now none is forgotten.
_WARN: Final = "UPDATE lane_loads SET state = 'warned', cause = %s, since = %s WHERE lane = %s"

# Handed in while the control door looked counts twice, for one look: rather too much than too
# little.
_STANDING: Final = """
SELECT l.state, l.records, l.cause, l.retry_after_s, (
    SELECT count(*) FROM (
      SELECT FROM analyses a
      WHERE a.submitted_at >= l.measured_at AND a.lane = l.lane LIMIT %(most)s) AS fresh) AS since
FROM lane_loads l
WHERE l.lane = %(lane)s AND l.measured_at > now() - make_interval(secs => %(stale_s)s)
"""
