"""Jobs of the control door: when each is due, and its runs. For the leader and its threads.

A run's connection holds a session lock of its job, so a run whose lock is free while it is
written as running was interrupted, and no two runs of a job go on at once, whoever leads.
"""

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final, Literal
from uuid import UUID

from psycopg.types.json import Jsonb

from darkroom_schemas import ids
from gateway import locks
from gateway.catalog.notices import add_notice
from gateway.db import Conn

JOBS_CHANNEL: Final = "darkroom_jobs"
"""PostgreSQL notifies here when a job is asked for or changed, and when a run ends."""

Reason = Literal["schedule", "catch_up", "person"]
State = Literal["done", "failed", "interrupted"]

_LONGEST_ERROR: Final = 2_000


@dataclass(frozen=True, slots=True)
class Standing:
    """Where a job stands. `schedule` is cron text, "" where it runs by hand only; `next_at` None:
    not planned; `running` is the run that goes on, as far as is written."""

    name: str
    schedule: str
    enabled: bool
    next_at: datetime | None
    asked_at: datetime | None
    asked_by: str | None
    running: UUID | None


@dataclass(frozen=True, slots=True)
class Begin:
    """A run to begin now; `missed` times before it are not made up for."""

    reason: Reason
    due_at: datetime
    next_at: datetime | None
    missed: int = 0


def declare(conn: Conn, schedules: Mapping[str, str], families: Collection[str]) -> None:
    """Make rows of new jobs; forget those that are neither named nor begin like a family.

    A row that is there keeps its schedule: a person may have changed it.
    """
    with conn.transaction():
        for name, schedule in schedules.items():
            conn.execute(
                "INSERT INTO jobs (name, schedule) VALUES (%s, %s) ON CONFLICT DO NOTHING",
                (name, schedule),
            )
        conn.execute(
            "DELETE FROM jobs WHERE NOT name = ANY(%s) AND NOT EXISTS"
            " (SELECT FROM unnest(%s::text[]) AS f WHERE starts_with(name, f))",
            (list(schedules), list(families)),
        )


def standings(conn: Conn) -> tuple[datetime, list[Standing]]:
    """The database's time, and all jobs."""
    rows = conn.execute(
        """
        SELECT j.*, r.run_id AS running FROM jobs j
        LEFT JOIN LATERAL (
            SELECT run_id, state FROM job_runs WHERE job = j.name
            ORDER BY started_at DESC LIMIT 1) r ON r.state = 'running'
        ORDER BY coalesce(j.asked_at, j.next_at), j.name
        """
    ).fetchall()
    now = conn.execute("SELECT now() AS now").fetchone()
    if now is None:  # pragma: no cover  # a SELECT without FROM has a row
        raise LookupError("now")
    return now["now"], [Standing(**row) for row in rows]


def plan(conn: Conn, seen: Standing, next_at: datetime | None) -> None:
    """Write down when the job is due next, unless somebody has changed it since it was seen."""
    _move(conn, seen, next_at)


def begin(conn: Conn, seen: Standing, run_id: UUID, run: Begin) -> bool:
    """Write down a run and when the next one is due, in one transaction: a kill makes up for
    neither twice. False, and nothing written, if the job was changed since it was seen."""
    with conn.transaction():
        if not _move(conn, seen, run.next_at, asked=run.reason == "person"):
            return False
        conn.execute(
            "INSERT INTO job_runs (run_id, job, reason, asked_by, due_at, started_at, state,"
            " report) VALUES (%s, %s, %s, %s, %s, clock_timestamp(), 'running', %s)",
            (
                *(run_id, seen.name, run.reason),
                *(seen.asked_by if run.reason == "person" else None, run.due_at),
                Jsonb({"missed": run.missed} if run.missed else {}),
            ),
        )
    return True


def pass_over(conn: Conn, seen: Standing, run_id: UUID, missed: int, following: datetime) -> None:
    """Write down that the job was not run at `missed` times from `next_at` on."""
    with conn.transaction():
        if _move(conn, seen, following):
            conn.execute(
                "INSERT INTO job_runs (run_id, job, reason, due_at, started_at, ended_at, state,"
                " report) VALUES (%s, %s, 'schedule', %s, clock_timestamp(), clock_timestamp(),"
                " 'skipped', %s)",
                (run_id, seen.name, seen.next_at, Jsonb({"missed": missed})),
            )


def hold(conn: Conn, name: str, run_id: UUID) -> bool:
    """Take the job's lock for as long as `conn` lives; False if the run shall not go on, because
    another one has it or this one was given up."""
    row = conn.execute(
        "SELECT pg_try_advisory_lock(%s, hashtext(%s)) AS ours", (locks.JOBS, name)
    ).fetchone()
    if row is None or not row["ours"]:
        return False
    still = conn.execute(
        "SELECT FROM job_runs WHERE run_id = %s AND state = 'running'", (run_id,)
    ).fetchone()
    return still is not None


def give_up(conn: Conn, name: str, run_id: UUID, *, again: bool) -> bool:
    """Mark a run as interrupted if nobody is at it; whether it was so.

    `again`: one that was due by its schedule is due again, but for a second time only.
    """
    with conn.transaction():
        row = conn.execute(
            "SELECT pg_try_advisory_xact_lock(%s, hashtext(%s)) AS free", (locks.JOBS, name)
        ).fetchone()
        if row is None or not row["free"]:
            return False
        error = "The control door, or its connection to the database, ended during the run."
        finish(conn, run_id, "interrupted", {}, error)
        if again:
            conn.execute(_DUE_AGAIN, {"run": run_id})
    return True


def finish(
    conn: Conn, run_id: UUID, state: State, report: Mapping[str, Any], error: str | None
) -> None:
    """Write down how a run ended, if it is still running. A job that fails is told to a person by
    a notice, once until it succeeds again."""
    with conn.transaction():
        ended = conn.execute(
            "UPDATE job_runs SET state = %s, ended_at = clock_timestamp(), report = report || %s,"
            " error = %s WHERE run_id = %s AND state = 'running' RETURNING job",
            (state, Jsonb(dict(report)), (error or "")[:_LONGEST_ERROR] or None, run_id),
        ).fetchone()
        if ended is not None and state == "failed" and not _failed_before(conn, run_id):
            _tell(conn, ended["job"], run_id, error or "")
        conn.execute("SELECT pg_notify(%s, '')", (JOBS_CHANNEL,))


def forget_runs(conn: Conn, days: int, keep: int = 10) -> int:
    """Delete runs that are older; of each job its last `keep` stay. Returns how many."""
    gone = conn.execute(
        """
        DELETE FROM job_runs r WHERE r.started_at < now() - make_interval(days => %s)
        AND r.state <> 'running' AND r.started_at < (
            SELECT min(started_at) FROM (
                SELECT started_at FROM job_runs WHERE job = r.job
                ORDER BY started_at DESC LIMIT %s) kept)
        """,
        (days, keep),
    )
    return gone.rowcount


_MOVE: Final = """
UPDATE jobs SET next_at = %(next)s,
    asked_at = CASE WHEN %(asked)s THEN NULL ELSE asked_at END,
    asked_by = CASE WHEN %(asked)s THEN NULL ELSE asked_by END
WHERE name = %(name)s AND schedule = %(schedule)s AND enabled = %(enabled)s
    AND next_at IS NOT DISTINCT FROM %(seen)s
"""

_DUE_AGAIN: Final = """
UPDATE jobs j SET next_at = least(j.next_at, r.due_at) FROM job_runs r
WHERE r.run_id = %(run)s AND r.reason <> 'person' AND j.name = r.job AND j.enabled
AND NOT EXISTS (SELECT FROM job_runs o
    WHERE o.job = r.job AND o.due_at = r.due_at AND o.run_id <> r.run_id)
"""


def _move(conn: Conn, seen: Standing, next_at: datetime | None, *, asked: bool = False) -> bool:
    """Write down the next time, unless somebody has changed the job; whether it was written."""
    values = {"name": seen.name, "schedule": seen.schedule, "enabled": seen.enabled}
    moved = conn.execute(_MOVE, {**values, "seen": seen.next_at, "next": next_at, "asked": asked})
    return moved.rowcount > 0


def _failed_before(conn: Conn, run_id: UUID) -> bool:
    """Whether the last run before this one that came to an end failed too."""
    row = conn.execute(
        """
        SELECT o.state FROM job_runs r JOIN job_runs o
            ON o.job = r.job AND o.started_at < r.started_at AND o.state IN ('done', 'failed')
        WHERE r.run_id = %s ORDER BY o.started_at DESC LIMIT 1
        """,
        (run_id,),
    ).fetchone()
    return row is not None and row["state"] == "failed"


def _tell(conn: Conn, job: str, run_id: UUID, error: str) -> None:
    add_notice(
        conn,
        kind="job_failed",
        service="gateway",
        subject=job,
        severity="warning",
        title=f"The job {job} failed",
        detail=f"{error} It runs again at its next time; `darkroom schedules history {job}`"
        " shows its runs. You are told again only after it has succeeded.",
        notice_id=ids.batch_event_id(str(run_id), "notice:failed"),
    )
