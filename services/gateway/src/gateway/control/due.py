"""What is to be done about a job now. No I/O.

The rule: a job's next time is kept in the catalog. A time that passed while nobody led (or while
all threads were busy, or the job's former run went on) by more than five minutes was missed. Missed
times are made up for by one run if the job catches up, else passed over; either way their number
is written down. What is asked for by a person is run first and moves no time. A job that is not
enabled, or has no schedule, runs only if it is asked for.
"""

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final

from gateway.catalog.jobs import Begin, Standing
from gateway.cron import Cron

ON_TIME: Final = timedelta(minutes=5)
"""A run that is less late is not late: the door was started anew, or the machine was busy."""


@dataclass(frozen=True, slots=True)
class Plan:
    """Write down the next time, None for never."""

    next_at: datetime | None


@dataclass(frozen=True, slots=True)
class PassOver:
    """Write down that so many times were missed, and the next one."""

    missed: int
    next_at: datetime


def decide(job: Standing, *, catch_up: bool, now: datetime) -> Begin | PassOver | Plan | None:
    """What to do about a job, None for nothing. Raises ScheduleError if its schedule is none."""
    if job.running is not None:
        return None
    if job.asked_at is not None:
        return Begin("person", job.asked_at, job.next_at)
    if not job.enabled or not job.schedule:
        return None if job.next_at is None else Plan(None)
    if job.next_at is None:
        return Plan(Cron(job.schedule).after(now))
    return _due(job.next_at, Cron(job.schedule), catch_up=catch_up, now=now)


def _due(at: datetime, cron: Cron, *, catch_up: bool, now: datetime) -> Begin | PassOver | None:
    if at > now:
        return None
    times = cron.count(at, now)
    following = cron.after(now)
    last = _last(at, cron, now)
    if last is not None:
        return Begin("schedule", last, following, missed=times - 1)
    if catch_up:
        return Begin("catch_up", at, following, missed=times - 1)
    return PassOver(times, following)


def _last(at: datetime, cron: Cron, now: datetime) -> datetime | None:
    """The last time up to now that is on time, None if there is none."""
    since = now - ON_TIME
    last = at if at > since else None
    moment = cron.after(since)
    while moment <= now:
        last = max(moment, last or moment)
        moment = cron.after(moment)
    return last
