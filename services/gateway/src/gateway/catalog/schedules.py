"""Jobs and their runs as people see and change them. What the leader does is in `jobs`."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Final, Literal
from uuid import UUID

from pydantic import Field

from gateway.catalog.audit import audit
from gateway.catalog.jobs import JOBS_CHANNEL, Reason
from gateway.catalog.shapes import Shape
from gateway.cron import Cron
from gateway.db import Conn

SYNC: Final = "sync:"
"""How the names of the jobs of sources begin; what follows is the source's name."""

REPUBLISH: Final = "republish"
"""The job that says again what brokers must know; by hand, and after a restore."""

STATISTICS: Final = "statistics"
"""The job whose report is how the last day went."""

_MOST: Final = 1_000
"""Schedules in one answer; there are a few, and one of each source."""


class Run(Shape):
    """One run of a job. `missed` in a report: so many times before it were not made up for."""

    run_id: str
    job: str = Field(examples=["retention"])
    reason: Reason = Field(description="catch_up: its time had passed while nobody led")
    asked_by: str | None
    due_at: datetime
    started_at: datetime
    ended_at: datetime | None
    seconds: float | None
    state: Literal["running", "done", "failed", "interrupted", "skipped"] = Field(
        description="interrupted: the control door ended · skipped: not run at times that passed"
    )
    report: dict[str, Any]
    error: str | None


class RunPage(Shape):
    """Runs, newest first; `next` is the cursor of the following ones, null at the end."""

    items: list[Run]
    next: str | None


class Schedule(Shape):
    """A job, when it runs, and its last run."""

    name: str = Field(examples=["retention"])
    schedule: str | None = Field(
        description="cron text in UTC; null: it runs only if it is asked for",
        examples=["10 3 * * *"],
    )
    words: str | None = Field(description="the same in words", examples=["At 03:10 every day"])
    enabled: bool
    next_at: datetime | None
    asked_at: datetime | None = Field(description="a run that was asked for and did not begin yet")
    asked_by: str | None
    last_run: Run | None


class Schedules(Shape):
    """All jobs, by name."""

    items: list[Schedule]


@dataclass(frozen=True, slots=True)
class RunPlace:
    """A place in a job's history."""

    started_at: datetime
    run_id: UUID


class SourceJobError(Exception):
    """The schedule is that of a source, which is changed instead."""


def schedules(conn: Conn) -> list[Schedule]:
    """All jobs by name."""
    rows = conn.execute(f"{_SCHEDULES} ORDER BY j.name LIMIT %s", (_MOST,))
    return [_schedule(row) for row in rows]


def schedule(conn: Conn, name: str) -> Schedule | None:
    """One job."""
    row = conn.execute(f"{_SCHEDULES} WHERE j.name = %s", (name,)).fetchone()
    return _schedule(row) if row else None


def runs(
    conn: Conn, name: str, after: RunPlace | None, limit: int
) -> tuple[list[Run], RunPlace | None]:
    """At most `limit` runs of a job that are older than a place, and the place to go on from."""
    rows = conn.execute(
        """
        SELECT * FROM job_runs WHERE job = %(job)s AND (%(at)s::timestamptz IS NULL
            OR (started_at, run_id) < (%(at)s::timestamptz, %(run)s::uuid))
        ORDER BY started_at DESC, run_id DESC LIMIT %(limit)s
        """,
        {
            **{"job": name, "limit": limit + 1},
            **{"at": after and after.started_at, "run": after and after.run_id},
        },
    ).fetchall()
    here = rows[:limit]
    more = RunPlace(here[-1]["started_at"], here[-1]["run_id"]) if len(rows) > limit else None
    return [run_shown(row) for row in here], more


def last_done(conn: Conn, name: str) -> Run | None:
    """The newest run of a job that came to a good end."""
    row = conn.execute(
        "SELECT * FROM job_runs WHERE job = %s AND state = 'done' ORDER BY started_at DESC LIMIT 1",
        (name,),
    ).fetchone()
    return run_shown(row) if row else None


def change(
    conn: Conn, name: str, by: str, *, cron: Cron | None = None, enabled: bool | None = None
) -> bool:
    """Change what is not None; False if there is no such job.

    The next time is found anew. Raises SourceJobError.
    """
    if name.startswith(SYNC):
        raise SourceJobError
    with conn.transaction():
        row = conn.execute(
            "SELECT schedule, enabled FROM jobs WHERE name = %s FOR UPDATE", (name,)
        ).fetchone()
        if row is None:
            return False
        wanted: dict[str, Any] = {
            "schedule": cron.text if cron else row["schedule"],
            "enabled": row["enabled"] if enabled is None else enabled,
        }
        changed = {key: value for key, value in wanted.items() if value != row[key]}
        if changed:
            rewrite(conn, name, **wanted)
            audit(conn, by, "schedule.changed", name, changed)
    return True


def rewrite(conn: Conn, name: str, *, schedule: str, enabled: bool) -> None:
    """Write a job's schedule ("" for none), as a part of the caller's transaction."""
    conn.execute(
        "UPDATE jobs SET schedule = %s, enabled = %s, next_at = NULL WHERE name = %s",
        (schedule, enabled, name),
    )
    wake(conn)


def ask(conn: Conn, name: str, by: str) -> bool:
    """Ask for a run now; False if there is no such job. Asking twice is one run, unless that has
    begun."""
    with conn.transaction():
        asked = conn.execute(
            "UPDATE jobs SET asked_at = coalesce(asked_at, clock_timestamp()),"
            " asked_by = coalesce(asked_by, %s) WHERE name = %s",
            (by, name),
        )
        if not asked.rowcount:
            return False
        audit(conn, by, "schedule.asked", name, {})
        wake(conn)
    return True


def wake(conn: Conn) -> None:
    """Tell the leader, once the transaction in progress is committed."""
    conn.execute("SELECT pg_notify(%s, '')", (JOBS_CHANNEL,))


_SCHEDULES: Final = """
SELECT j.*, to_jsonb(r) AS last_run FROM jobs j
LEFT JOIN LATERAL (SELECT * FROM job_runs WHERE job = j.name
    ORDER BY started_at DESC LIMIT 1) r ON true
"""


def _schedule(row: Mapping[str, Any]) -> Schedule:
    text = row["schedule"] or None
    return Schedule(
        name=row["name"],
        schedule=text,
        words=Cron(text).words() if text else None,
        enabled=row["enabled"],
        next_at=row["next_at"],
        asked_at=row["asked_at"],
        asked_by=row["asked_by"],
        last_run=run_shown(row["last_run"]) if row["last_run"] else None,
    )


def run_shown(row: Mapping[str, Any]) -> Run:
    """The view of a row of `job_runs`, be its moments read by the driver or written as JSON."""
    started, ended = _moment(row["started_at"]), _moment(row["ended_at"])
    return Run(
        run_id=str(row["run_id"]),
        job=row["job"],
        reason=row["reason"],
        asked_by=row["asked_by"],
        due_at=_moment(row["due_at"]),
        started_at=started,
        ended_at=ended,
        seconds=round((ended - started).total_seconds(), 3) if started and ended else None,
        state=row["state"],
        report=row["report"],
        error=row["error"],
    )


def _moment(value: Any) -> Any:
    moment = datetime.fromisoformat(value) if isinstance(value, str) else value
    return moment and moment.astimezone(UTC)
