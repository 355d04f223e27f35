"""Schedules: the leader begins each job when it is due, in one of a few threads."""

import threading
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Final, get_args
from uuid import UUID, uuid4

import structlog

from gateway.catalog import jobs as catalog
from gateway.catalog.jobs import JOBS_CHANNEL, Begin, Standing, State
from gateway.control import metrics
from gateway.control.due import PassOver, Plan, decide
from gateway.control.job_run import Job, JobRun
from gateway.cron import ScheduleError
from gateway.db import Conn, wait_for_notice

_log = structlog.get_logger("gateway.schedules")

_POLL_S: Final = 1.0
"""How late a job is at most while a thread is free."""

_THREADS: Final = 4
_DRAIN_S: Final = 3.0
"""How long runs may take to stop; then what they ask of the database is cancelled."""

_CANCEL_S: Final = 1.0


class Schedules:
    """Runs jobs at their times. One leader among replicas; its lock is that of the duty.

    `families` are jobs whose rows come and go: the key is how their names begin. At most
    `threads` (3 or more) runs at once; a job that may take long leaves some to quicker ones, so
    that it makes none of those late (`Job.slowness`).
    """

    def __init__(
        self,
        connect: Callable[[], Conn],
        jobs: Sequence[Job],
        families: Mapping[str, Job] | None = None,
        threads: int = _THREADS,
    ) -> None:
        self._connect = connect
        self._jobs = {job.name: job for job in jobs}
        self._families = families or {}
        for name in (*self._jobs, *(job.name for job in self._families.values())):
            for state in get_args(State):
                metrics.JOB_RUNS.labels(name, state)
        self._threads = threads
        self._runs: dict[UUID, JobRun] = {}
        self._refused: dict[str, str] = {}

    def work(self, conn: Conn, stop: threading.Event) -> None:
        """Begin runs until `stop`; then stops them. Raises psycopg.Error."""
        conn.execute(f"LISTEN {JOBS_CHANNEL}")
        schedules = {name: job.schedule for name, job in self._jobs.items()}
        catalog.declare(conn, schedules, self._families.keys())
        while not stop.is_set():
            self.turn(conn)
            wait_for_notice(conn, _POLL_S)
        self.drain()

    def turn(self, conn: Conn) -> None:
        """Look once at all jobs, and at the runs that go on."""
        self._runs = {run_id: run for run_id, run in self._runs.items() if run.is_alive()}
        for run in self._runs.values():
            run.mind_its_limit()
        now, standings = catalog.standings(conn)
        for standing in standings:
            job = self._job(standing.name)
            if job is None:
                continue
            if standing.running is not None and standing.running not in self._runs:
                again = job.catch_up
                if catalog.give_up(conn, standing.name, standing.running, again=again):
                    _log.warning("run_interrupted", job=standing.name)
            try:
                decision = decide(standing, catch_up=job.catch_up, now=now)
            except ScheduleError as error:
                self._refuse(standing, error)
                continue
            self._act(conn, standing, job, decision)

    def drain(self) -> None:
        """Tell all runs to stop and wait for them, a few seconds."""
        for run in self._runs.values():
            run.stop()
        _join(self._runs.values(), _DRAIN_S)
        for run in self._runs.values():
            run.cancel()
        _join(self._runs.values(), _CANCEL_S)
        for run in self._runs.values():
            if run.is_alive():
                _log.warning("left_running", job=run.name)

    def _act(
        self,
        conn: Conn,
        standing: Standing,
        job: Job,
        decision: Begin | PassOver | Plan | None,
    ) -> None:
        match decision:
            case Begin():
                self._begin(conn, standing, job, decision)
            case PassOver(missed, following):
                _log.info("times_missed", job=standing.name, times=missed)
                catalog.pass_over(conn, standing, uuid4(), missed, following)
            case Plan(next_at):
                catalog.plan(conn, standing, next_at)

    def _begin(self, conn: Conn, standing: Standing, job: Job, begin: Begin) -> None:
        if not self._has_room(job):
            return
        run = JobRun(job, standing.name, begin.reason, self._connect)
        if catalog.begin(conn, standing, run.run_id, begin):
            self._runs[run.run_id] = run
            run.start()

    def _has_room(self, job: Job) -> bool:
        """Whether a thread is free for it, with those that are kept for quicker jobs."""
        slow = sum(run.job.slowness >= job.slowness for run in self._runs.values())
        return slow < self._threads - job.slowness and len(self._runs) < self._threads

    def _job(self, name: str) -> Job | None:
        families = (job for begin, job in self._families.items() if name.startswith(begin))
        return self._jobs.get(name) or next(families, None)

    def _refuse(self, standing: Standing, error: ScheduleError) -> None:
        """Doors check schedules; one that another version wrote is told once."""
        if self._refused.get(standing.name) != standing.schedule:
            self._refused[standing.name] = standing.schedule
            _log.error("schedule_unreadable", job=standing.name, reason=str(error))


def _join(runs: Iterable[JobRun], seconds: float) -> None:
    until = time.monotonic() + seconds
    for run in runs:
        run.join(max(0.0, until - time.monotonic()))
