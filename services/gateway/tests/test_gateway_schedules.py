"""When jobs are due: cron text, missed times, what a person asks for."""

from contextlib import suppress
from dataclasses import replace
from datetime import UTC, datetime, timedelta, timezone
from uuid import uuid4

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.catalog.jobs import Begin, Standing
from gateway.control.due import ON_TIME, PassOver, Plan, decide
from gateway.cron import COUNTED, Cron, ScheduleError

NOON = datetime(2026, 6, 1, 12, 0, tzinfo=UTC)
MINUTE = timedelta(minutes=1)
HOUR = timedelta(hours=1)


def standing(**changes: object) -> Standing:
    hourly = Standing("tidy", "0 * * * *", True, NOON, None, None, None)
    return replace(hourly, **changes)  # type: ignore[arg-type]


def missing_up(job: Standing, now: datetime) -> object:
    return decide(job, catch_up=True, now=now)


# --- cron ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "then"),
    [
        ("*/15 * * * *", datetime(2026, 6, 1, 12, 15, tzinfo=UTC)),
        ("10 3 * * *", datetime(2026, 6, 2, 3, 10, tzinfo=UTC)),
        ("0 0 * * SUN", datetime(2026, 6, 7, tzinfo=UTC)),
        ("0 0 29 2 *", datetime(2028, 2, 29, tzinfo=UTC)),
    ],
)
def test_the_next_time_of_a_schedule(text: str, then: datetime) -> None:
    assert Cron(text).after(NOON) == then


@pytest.mark.parametrize(
    "text",
    ["", "hourly", "* * * *", "* * * * * *", "61 * * * *", "0 0 30 2 *", "* * * * " + "1," * 99],
)
def test_what_is_no_schedule_is_refused_with_a_reason(text: str) -> None:
    with pytest.raises(ScheduleError, match="schedule"):
        Cron(text)


@given(st.text(max_size=120))
def test_any_text_is_a_schedule_or_refused_as_none(text: str) -> None:
    with suppress(ScheduleError):
        assert Cron(text).words()


def test_summer_time_moves_nothing() -> None:
    """Clocks in Berlin skip 02:30 that night: UTC knows of no such thing."""
    before = datetime(2026, 3, 29, 0, 0, tzinfo=UTC)
    daily = Cron("30 1 * * *")
    assert daily.after(before) == datetime(2026, 3, 29, 1, 30, tzinfo=UTC)
    assert daily.after(daily.after(before)) - daily.after(before) == timedelta(days=1)


def test_a_moment_of_another_time_zone_is_the_same_moment() -> None:
    elsewhere = NOON.astimezone(timezone(timedelta(hours=5, minutes=30)))
    found = Cron("0 * * * *").after(elsewhere)
    assert (found, found.tzinfo) == (NOON + HOUR, UTC)


def test_times_are_counted_up_to_a_bound() -> None:
    every = Cron("* * * * *")
    assert every.count(NOON, NOON - MINUTE) == 0
    assert every.count(NOON, NOON) == 1
    assert every.count(NOON, NOON + HOUR) == 61
    assert every.count(NOON, NOON + timedelta(days=30)) == COUNTED


# --- what is due -----------------------------------------------------------------------------


def test_a_new_job_is_planned_and_not_run_at_once() -> None:
    assert missing_up(standing(next_at=None), NOON) == Plan(NOON + HOUR)


def test_a_job_is_not_run_before_its_time() -> None:
    assert missing_up(standing(), NOON - timedelta(microseconds=1)) is None


def test_a_job_is_run_at_its_time() -> None:
    assert missing_up(standing(), NOON) == Begin("schedule", NOON, NOON + HOUR)


def test_a_few_minutes_late_is_on_time() -> None:
    now = NOON + 4 * MINUTE
    assert decide(standing(), catch_up=False, now=now) == Begin("schedule", NOON, NOON + HOUR)


def test_missed_times_are_made_up_for_by_one_run() -> None:
    now = NOON + 10 * HOUR + 30 * MINUTE
    assert missing_up(standing(), now) == Begin("catch_up", NOON, NOON + 11 * HOUR, missed=10)


def test_a_job_that_does_not_catch_up_passes_them_over() -> None:
    now = NOON + 10 * HOUR + 30 * MINUTE
    assert decide(standing(), catch_up=False, now=now) == PassOver(11, NOON + 11 * HOUR)


def test_after_a_long_time_away_a_run_that_is_due_now_is_no_catching_up() -> None:
    now = NOON + 10 * HOUR
    assert missing_up(standing(), now) == Begin("schedule", now, now + HOUR, missed=10)


def test_a_job_never_overlaps_itself() -> None:
    going_on = standing(running=uuid4(), asked_at=NOON, asked_by="ada")
    assert missing_up(going_on, NOON + 5 * HOUR) is None


def test_what_a_person_asks_for_is_run_at_once_and_moves_no_time() -> None:
    asked = standing(asked_at=NOON - HOUR, asked_by="ada", next_at=NOON + HOUR)
    assert missing_up(asked, NOON) == Begin("person", NOON - HOUR, NOON + HOUR)


@pytest.mark.parametrize("change", [{"enabled": False}, {"schedule": ""}])
def test_a_job_that_is_off_or_has_no_schedule_runs_only_if_it_is_asked_for(
    change: dict[str, object],
) -> None:
    off = standing(**change)
    assert missing_up(off, NOON) == Plan(None)
    assert missing_up(replace(off, next_at=None), NOON) is None
    asked = replace(off, next_at=None, asked_at=NOON, asked_by="ada")
    assert missing_up(asked, NOON) == Begin("person", NOON, None)


def test_a_schedule_that_is_none_is_told() -> None:
    with pytest.raises(ScheduleError):
        missing_up(standing(schedule="never"), NOON)


@given(
    minutes=st.sampled_from(["*", "*/7", "0", "5,50"]),
    hours=st.sampled_from(["*", "3", "*/6"]),
    looks=st.lists(st.integers(1, 50_000), min_size=1, max_size=12),
    catch_up=st.booleans(),
)
def test_every_time_is_run_or_counted_as_missed_however_seldom_somebody_looks(
    minutes: str, hours: str, looks: list[int], catch_up: bool
) -> None:
    """A clock that jumps by seconds up to half a day, as if nobody led in between."""
    cron = Cron(f"{minutes} {hours} * * *")
    job = standing(schedule=cron.text, next_at=cron.after(NOON))
    first, now, accounted = job.next_at, NOON, 0
    for seconds in looks:
        now += timedelta(seconds=seconds)
        match decide(job, catch_up=catch_up, now=now):
            case Begin(reason, due_at, next_at, missed):
                accounted += missed + 1
                assert (now - due_at < ON_TIME) == (reason == "schedule")
                assert reason == "schedule" or catch_up
                job = replace(job, next_at=next_at)
            case PassOver(missed, following):
                accounted += missed
                assert not catch_up
                job = replace(job, next_at=following)
            case other:
                assert other is None
        assert job.next_at is not None
        assert job.next_at > now
    assert first is not None
    assert accounted == cron.count(first, now)
