"""A job, and one run of it in a thread with a connection of its own."""

import contextvars
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Final
from uuid import UUID, uuid4

import psycopg
import structlog

from gateway.catalog import jobs
from gateway.catalog.jobs import Reason, State
from gateway.control import metrics
from gateway.db import Conn, away

_log = structlog.get_logger("gateway.schedules")

_SLOWER_S: Final = (60.0, 3_600.0)
"""Time limits; a job above the first one leaves a thread to those below, above both of them two."""


class JobError(Exception):
    """A job can't do its work, for a reason that a person understands: the message says it."""


class JobStoppedError(Exception):
    """Raised by `JobContext.check`: the job shall end now; what it committed stays."""


@dataclass(frozen=True, slots=True)
class JobContext:
    """What a run is told: the job's name, why it runs, and whether it shall go on."""

    job: str
    reason: Reason = "schedule"
    deadline: float = float("inf")
    """On the monotonic clock, in seconds."""
    stopping: threading.Event = field(default_factory=threading.Event)

    def check(self) -> None:
        """Call it between pieces of work of a few seconds; raises JobStoppedError."""
        if self.stopping.is_set():
            raise JobStoppedError("the control door stops")
        if time.monotonic() > self.deadline:
            raise JobStoppedError("its time is up")


@dataclass(frozen=True, slots=True)
class Job:
    """Work that is done at times.

    `schedule` is cron text in UTC, until a person changes it. `run` gets a connection in
    autocommit mode; it may be interrupted at any point and is then run again, so each transaction
    must be right by itself. It returns a report (JSON), and raises whatever went wrong.
    `catch_up`: whether a time that was missed is made up for. After `time_limit_s` it is stopped
    and has failed.
    """

    name: str
    schedule: str
    run: Callable[[Conn, JobContext], Mapping[str, Any]]
    catch_up: bool = True
    time_limit_s: float = 50.0

    @property
    def slowness(self) -> int:
        """How many threads it must leave to quicker jobs."""
        return sum(self.time_limit_s > limit for limit in _SLOWER_S)


class JobRun(threading.Thread):
    """A run that is written down as running. A daemon: a job that hangs holds no process."""

    def __init__(self, job: Job, name: str, reason: Reason, connect: Callable[[], Conn]) -> None:
        super().__init__(name=name, daemon=True)
        self.job = job
        self.run_id: Final[UUID] = uuid4()
        self._connect = connect
        deadline = time.monotonic() + job.time_limit_s
        self._told = JobContext(name, reason, deadline)
        self._conn: Conn | None = None
        # The log's context (which service speaks) does not follow into threads by itself.
        self._logged_as = contextvars.copy_context()

    def stop(self) -> None:
        """Ask the job to end."""
        self._told.stopping.set()

    def cancel(self) -> None:
        """End what it asks of the database; blocks for a second at most."""
        conn = self._conn
        if conn is not None and self.is_alive():
            conn.cancel_safe(timeout=1.0)

    def mind_its_limit(self) -> None:
        """End a statement that goes on after the time is up."""
        if time.monotonic() > self._told.deadline:
            self.cancel()

    def run(self) -> None:
        """The thread's work; what the database's absence leaves undone, the leader writes down."""
        self._logged_as.run(self._guarded)

    def _guarded(self) -> None:
        try:
            with self._connect() as conn:
                self._conn = conn
                if jobs.hold(conn, self.name, self.run_id):
                    self._work(conn)
        except psycopg.Error as error:
            _log.warning("run_left", job=self.name, reason=str(error).strip(), away=away(error))
        finally:
            self._conn = None

    def _work(self, conn: Conn) -> None:
        began = time.monotonic()
        state, report, error = self._outcome(conn)
        self._conn = None  # from here on there is nothing to cancel
        took = round(time.monotonic() - began, 3)
        jobs.finish(conn, self.run_id, state, report, error)
        metrics.JOB_RUNS.labels(self.job.name, state).inc()
        tell = _log.info if state == "done" else _log.warning
        tell("job_ran", job=self.name, state=state, seconds=took, error=error)

    def _outcome(self, conn: Conn) -> tuple[State, Mapping[str, Any], str | None]:
        try:
            return "done", self.job.run(conn, self._told), None
        except (JobStoppedError, psycopg.errors.QueryCanceled) as error:
            return self._stopped(error)
        except JobError as error:
            return "failed", {}, _sentence(error)
        except Exception as error:  # a job's defect is told, and stops no other job
            if isinstance(error, psycopg.Error) and conn.broken:
                raise  # nothing can be written down; the leader finds the run interrupted
            _log.exception("job_failed", job=self.name)
            return "failed", {}, _sentence(error)

    def _stopped(self, error: Exception) -> tuple[State, Mapping[str, Any], str | None]:
        if self._told.stopping.is_set():
            return "interrupted", {}, "The control door was stopped during the run."
        if time.monotonic() > self._told.deadline:
            return "failed", {}, f"It took longer than {self.job.time_limit_s:g} s."
        return "failed", {}, _sentence(error)


def _sentence(error: Exception) -> str:
    text = " ".join(str(error).split()) or "no reason given"
    return text if isinstance(error, JobError) else f"{type(error).__name__}: {text}"
