"""Jobs at their times on a real PostgreSQL: leaders that change, kills, failures, people."""

import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from functools import partial
from typing import Any
from uuid import UUID, uuid4

import pytest

from gateway import db, locks
from gateway.catalog import jobs as catalog
from gateway.catalog import schedules as views
from gateway.catalog.audit import entries
from gateway.catalog.jobs import Begin
from gateway.control.duty import Duty
from gateway.control.job_run import Job, JobContext, JobError
from gateway.control.schedules import Schedules
from gateway.cron import Cron

HOURLY = "0 * * * *"
Connect = Callable[[], db.Conn]


@pytest.fixture
def connect(database: str) -> Connect:
    return partial(db.connect, database, name="test-job")


class Counted:
    """A job that counts its runs; each begins by `began` and goes on until `go` is set."""

    def __init__(self, name: str = "tidy", **options: Any) -> None:
        self.began, self.go = threading.Event(), threading.Event()
        self.go.set()
        self.runs: list[JobContext] = []
        self.at_once = self.most_at_once = 0
        self.job = Job(name, HOURLY, self.run, **options)

    def run(self, conn: db.Conn, context: JobContext) -> Mapping[str, Any]:
        self.runs.append(context)
        self.at_once += 1
        self.most_at_once = max(self.most_at_once, self.at_once)
        self.began.set()
        try:
            while not self.go.wait(0.01):
                context.check()
            return {"looked_at": len(self.runs)}
        finally:
            self.at_once -= 1


def raising(error: Exception) -> Job:
    def run(_conn: db.Conn, _context: JobContext) -> Mapping[str, Any]:
        raise error

    return Job("tidy", HOURLY, run)


def until(met: Callable[[], bool], seconds: float = 15.0) -> None:
    deadline = time.monotonic() + seconds
    while not met():
        assert time.monotonic() < deadline, "it did not come"
        time.sleep(0.01)


@contextmanager
def leading(connect: Connect, *jobs: Job, stop: threading.Event | None = None) -> Iterator[Duty]:
    """A control door that leads, or stands by, in a thread; its connection is `killed` by tests."""
    stop = stop or threading.Event()
    schedules = Schedules(connect, jobs)
    duty = Duty("schedules", locks.SCHEDULES, connect, schedules.work)
    thread = threading.Thread(target=duty.run, args=(stop,))
    thread.start()
    try:
        yield duty
    finally:
        stop.set()
        thread.join(10)
        assert not thread.is_alive()


def due(conn: db.Conn, name: str = "tidy", ago: str = "0", schedule: str = HOURLY) -> None:
    """The job is due, since so long ago."""
    conn.execute(
        "INSERT INTO jobs (name, schedule, next_at) VALUES (%(name)s, %(schedule)s,"
        " date_trunc('minute', now()) - %(ago)s::interval) ON CONFLICT (name) DO UPDATE SET"
        " next_at = excluded.next_at",
        {"name": name, "ago": ago, "schedule": schedule},
    )
    views.wake(conn)


def history(conn: db.Conn, name: str = "tidy") -> list[views.Run]:
    return views.runs(conn, name, None, 100)[0]


def states(conn: db.Conn, name: str = "tidy") -> list[str]:
    return [run.state for run in history(conn, name)]


def notices(conn: db.Conn) -> list[dict[str, Any]]:
    return conn.execute("SELECT * FROM notices ORDER BY recorded_at").fetchall()


def test_a_due_job_is_run_once_and_planned_anew(conn: db.Conn, connect: Connect) -> None:
    counted = Counted()
    due(conn)
    with leading(connect, counted.job):
        until(lambda: states(conn) == ["done"])
    (run,) = history(conn)
    standing = views.schedule(conn, "tidy")
    assert (run.reason, run.report, len(counted.runs)) == ("schedule", {"looked_at": 1}, 1)
    assert standing is not None
    assert standing.next_at is not None
    assert standing.next_at > run.started_at


def test_a_new_job_waits_for_its_time(conn: db.Conn, connect: Connect) -> None:
    counted = Counted()
    with leading(connect, counted.job):
        until(lambda: bool((job := views.schedule(conn, "tidy")) and job.next_at))
    assert counted.runs == []


def test_missed_times_are_made_up_for_once_or_passed_over(conn: db.Conn, connect: Connect) -> None:
    diligent, easy = Counted("diligent"), Counted("easy", catch_up=False)
    ten_ago = datetime.now(UTC).replace(second=0, microsecond=0) - timedelta(minutes=10)
    for name in ("diligent", "easy"):
        conn.execute(
            "INSERT INTO jobs (name, schedule, next_at) VALUES (%s, %s, %s)",
            (name, f"{ten_ago.minute} * * * *", ten_ago - timedelta(hours=5)),
        )
    with leading(connect, diligent.job, easy.job):
        until(lambda: states(conn, "diligent") == ["done"] and states(conn, "easy") == ["skipped"])
    (made_up,), (passed_over,) = history(conn, "diligent"), history(conn, "easy")
    assert (made_up.reason, made_up.report["missed"]) == ("catch_up", 5)
    assert passed_over.report == {"missed": 6}
    assert (len(diligent.runs), len(easy.runs)) == (1, 0)


def test_two_doors_run_each_due_job_once(conn: db.Conn, connect: Connect) -> None:
    here, there = Counted(), Counted()
    with leading(connect, here.job), leading(connect, there.job):
        for number in range(1, 4):
            due(conn)
            until(lambda n=number: states(conn) == ["done"] * n)  # type: ignore[misc]
    assert len(here.runs) + len(there.runs) == 3


def test_another_door_goes_on_when_the_leader_is_gone(conn: db.Conn, connect: Connect) -> None:
    here, there, gone = Counted(), Counted(), threading.Event()
    with leading(connect, here.job, stop=gone) as leader:
        due(conn)
        until(lambda: states(conn) == ["done"])
        with leading(connect, there.job):
            gone.set()
            until(lambda: not leader.connected)
            due(conn)
            until(lambda: states(conn) == ["done", "done"])
    assert (len(here.runs), len(there.runs)) == (1, 1)


def test_a_run_goes_on_while_the_leader_changes_and_is_not_begun_again(
    conn: db.Conn, connect: Connect
) -> None:
    counted = Counted()
    counted.go.clear()
    due(conn)
    with leading(connect, counted.job):
        assert counted.began.wait(15)
        conn.execute(
            "SELECT pg_terminate_backend(pid) FROM pg_locks WHERE locktype = 'advisory'"
            " AND objsubid = 1 AND database = (SELECT oid FROM pg_database"
            " WHERE datname = current_database())"
        )
        with leading(connect, counted.job):
            due(conn)
            views.ask(conn, "tidy", "ada")
            counted.go.set()
            until(lambda: states(conn)[-1] == "done" and len(states(conn)) >= 2)
            until(lambda: set(states(conn)) == {"done"})
    assert counted.most_at_once == 1


def killed_in_a_run(conn: db.Conn) -> None:
    """As a door that was killed leaves it: written as running, and nobody is at it."""
    (standing,) = [one for one in catalog.standings(conn)[1] if one.name == "tidy"]
    assert standing.next_at is not None
    following = standing.next_at + timedelta(hours=1)
    begun = Begin("schedule", standing.next_at, following)
    assert catalog.begin(conn, standing, uuid4(), begun)


def test_a_run_of_a_killed_door_is_interrupted_and_made_up_for(
    conn: db.Conn, connect: Connect
) -> None:
    counted = Counted()
    due(conn)
    killed_in_a_run(conn)
    with leading(connect, counted.job):
        until(lambda: states(conn) == ["done", "interrupted"])
    done, interrupted = history(conn)
    assert done.due_at == interrupted.due_at
    assert interrupted.error is not None


def test_a_run_that_kills_the_door_is_made_up_for_only_once(
    conn: db.Conn, connect: Connect
) -> None:
    counted = Counted()
    due(conn)
    for _ in range(2):
        killed_in_a_run(conn)
        conn.execute("UPDATE jobs j SET next_at = due_at FROM job_runs r WHERE r.job = j.name")
    conn.execute("UPDATE jobs SET next_at = now() + interval '1 hour'")
    with leading(connect, counted.job):
        until(lambda: states(conn)[0] == "interrupted")
        views.ask(conn, "tidy", "ada")
        until(lambda: states(conn)[0] == "done")
    assert [run.reason for run in history(conn)] == ["person", "schedule", "schedule"]


def test_a_job_that_fails_is_told_once_until_it_succeeds(conn: db.Conn, connect: Connect) -> None:
    fails = [True, True, False, True]

    def run(_conn: db.Conn, _context: JobContext) -> Mapping[str, Any]:
        if fails.pop(0):
            raise JobError("The drive is not mounted.")
        return {}

    with leading(connect, Job("tidy", HOURLY, run)):
        for number in range(1, 5):
            due(conn)
            until(lambda n=number: len(states(conn)) == n and "running" not in states(conn))  # type: ignore[misc]
    assert states(conn) == ["failed", "done", "failed", "failed"]
    told = notices(conn)
    assert [(one["kind"], one["subject"]) for one in told] == [("job_failed", "tidy")] * 2
    assert "The drive is not mounted." in told[0]["detail"]
    assert history(conn)[0].error == "The drive is not mounted."


@pytest.mark.parametrize(
    ("error", "text"),
    [(ZeroDivisionError("by zero"), "ZeroDivisionError: by zero"), (JobError("so"), "so")],
)
def test_what_a_job_raises_stops_nothing_else(
    conn: db.Conn, connect: Connect, error: Exception, text: str
) -> None:
    other = Counted("other")
    with leading(connect, raising(error), other.job):
        due(conn)
        until(lambda: states(conn) == ["failed"])
        due(conn, "other")
        until(lambda: states(conn, "other") == ["done"])
    assert history(conn)[0].error == text


def test_a_statement_that_takes_longer_than_the_job_may_is_ended(
    conn: db.Conn, connect: Connect
) -> None:
    def run(conn: db.Conn, _context: JobContext) -> Mapping[str, Any]:
        conn.execute("SELECT pg_sleep(60)")
        return {}

    due(conn)
    with leading(connect, Job("tidy", HOURLY, run, time_limit_s=0.2)):
        until(lambda: states(conn) == ["failed"])
    assert history(conn)[0].error == "It took longer than 0.2 s."


def test_a_stop_interrupts_runs_in_time_be_it_in_a_statement(
    conn: db.Conn, connect: Connect
) -> None:
    asked = threading.Event()

    def run(conn: db.Conn, _context: JobContext) -> Mapping[str, Any]:
        asked.set()
        conn.execute("SELECT pg_sleep(60)")
        return {}

    checking = Counted("checking")
    checking.go.clear()
    due(conn)
    due(conn, "checking")
    with leading(connect, Job("tidy", HOURLY, run), checking.job):
        assert asked.wait(15)
        assert checking.began.wait(15)
        began = time.monotonic()
    assert time.monotonic() - began < 6
    assert states(conn) == states(conn, "checking") == ["interrupted"]
    assert notices(conn) == []


def test_slow_jobs_make_no_quicker_one_late(conn: db.Conn, connect: Connect) -> None:
    """Looks through sources may take hours, others minutes, the reconciler seconds."""
    looks = [Counted(f"look{number}", time_limit_s=20_000.0) for number in range(3)]
    others = [Counted(f"other{number}", time_limit_s=600.0) for number in range(2)]
    quick = Counted("quick")
    with leading(connect, quick.job, *(one.job for one in (*looks, *others))):
        for jobs, at_once in ((looks, 2), (others, 1)):
            for one in jobs:
                one.go.clear()
                due(conn, one.job.name)
            until(lambda j=jobs, n=at_once: sum(one.began.is_set() for one in j) == n)  # type: ignore[misc]
        for number in range(1, 3):
            due(conn, "quick")
            until(lambda n=number: states(conn, "quick") == ["done"] * n)  # type: ignore[misc]
        assert [sum(one.began.is_set() for one in jobs) for jobs in (looks, others)] == [2, 1]
        for one in (*looks, *others):
            one.go.set()
        until(lambda: all(states(conn, one.job.name) == ["done"] for one in (*looks, *others)))


def test_a_person_asks_for_a_run_and_changes_a_schedule(conn: db.Conn, connect: Connect) -> None:
    counted = Counted()
    with leading(connect, counted.job):
        until(lambda: views.schedule(conn, "tidy") is not None)
        assert views.ask(conn, "tidy", "ada")
        until(lambda: states(conn) == ["done"])
        assert views.change(conn, "tidy", "ada", cron=Cron("30 4 * * *"), enabled=False)
        assert views.ask(conn, "tidy", "ada")
        until(lambda: states(conn) == ["done", "done"])
        until(lambda: (job := views.schedule(conn, "tidy")) is not None and job.next_at is None)
        assert views.change(conn, "tidy", "ada", enabled=True)
        until(lambda: bool((job := views.schedule(conn, "tidy")) and job.next_at))
    with leading(connect, counted.job):  # what the code declares does not undo it
        until(lambda: (job := views.schedule(conn, "tidy")) is not None and job.asked_at is None)
    job = views.schedule(conn, "tidy")
    assert job is not None
    assert job.next_at is not None
    assert (job.schedule, job.next_at.hour, job.next_at.minute) == ("30 4 * * *", 4, 30)
    assert {(run.reason, run.asked_by) for run in history(conn)} == {("person", "ada")}
    changes, _ = entries(conn, what="schedule", limit=10)
    assert [(one.what, one.who) for one in changes] == [
        ("schedule.changed", "ada"),
        ("schedule.asked", "ada"),
        ("schedule.changed", "ada"),
        ("schedule.asked", "ada"),
    ]


def test_there_is_nothing_to_ask_of_a_job_that_is_not_there(conn: db.Conn) -> None:
    assert not views.ask(conn, "nothing", "ada")
    assert not views.change(conn, "nothing", "ada", enabled=True)


def test_a_change_during_a_look_is_not_overwritten(conn: db.Conn) -> None:
    due(conn)
    (seen,) = catalog.standings(conn)[1]
    views.change(conn, "tidy", "ada", cron=Cron("30 4 * * *"))
    assert seen.next_at is not None
    assert not catalog.begin(conn, seen, uuid4(), Begin("schedule", seen.next_at, seen.next_at))
    catalog.plan(conn, seen, seen.next_at)
    job = views.schedule(conn, "tidy")
    assert job is not None
    assert (job.next_at, history(conn)) == (None, [])


def test_rows_of_jobs_that_are_no_more_go_and_those_of_families_stay(conn: db.Conn) -> None:
    for name in ("old", "tidy", "sync:nas"):
        due(conn, name)
    catalog.declare(conn, {"tidy": HOURLY, "new": HOURLY}, ["sync:"])
    assert [job.name for job in views.schedules(conn)] == ["new", "sync:nas", "tidy"]


def test_history_comes_page_by_page(conn: db.Conn) -> None:
    for number in range(5):
        _run(conn, f"2026-01-0{number + 1}")
    first, place = views.runs(conn, "tidy", None, 2)
    second, place = views.runs(conn, "tidy", place, 2)
    third, place = views.runs(conn, "tidy", place, 2)
    days = [[run.started_at.day for run in page] for page in (first, second, third)]
    assert (days, place) == ([[5, 4], [3, 2], [1]], None)


def test_old_runs_are_forgotten_but_the_last_ones_of_each_job(conn: db.Conn) -> None:
    for number in range(5):
        _run(conn, f"2020-01-0{number + 1}")
    _run(conn, "2020-01-01", job="seldom")
    assert catalog.forget_runs(conn, 90, keep=2) == 3
    assert [run.started_at.day for run in history(conn)] == [5, 4]
    assert len(history(conn, "seldom")) == 1


def _run(conn: db.Conn, at: str, job: str = "tidy") -> UUID:
    run_id = uuid4()
    conn.execute(
        "INSERT INTO job_runs (run_id, job, reason, due_at, started_at, ended_at, state)"
        " VALUES (%s, %s, 'schedule', %s, %s, %s, 'done')",
        (run_id, job, at, at, at),
    )
    return run_id
