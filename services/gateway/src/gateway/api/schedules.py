"""/v1/schedules: what the control door does at times; /v1/statistics: how the last day went."""

from collections.abc import Sequence
from datetime import datetime
from typing import Annotated

from fastapi import APIRouter, Query
from pydantic import AfterValidator, BaseModel, ConfigDict, Field

from gateway.api.cursors import decode_run, encode_run
from gateway.api.door import Door, Wired
from gateway.api.import_requests import CommandRequest
from gateway.api.problems import ProblemError, documented
from gateway.api.speakers import NOBODY, Claim
from gateway.catalog import schedules
from gateway.catalog.schedules import (
    STATISTICS,
    Run,
    RunPage,
    RunPlace,
    Schedule,
    Schedules,
    SourceJobError,
)
from gateway.catalog.statistics import DayStatistics
from gateway.cron import Cron
from gateway.db import Conn
from gateway.texts import Name

router = APIRouter(prefix="/v1", tags=["schedules"])

Cursor = Annotated[str | None, Query(max_length=300, description="an answer's `next`")]
Limit = Annotated[int, Query(ge=1, le=200)]


def _checked(text: str) -> str:
    Cron(text)
    return " ".join(text.split())


CronText = Annotated[
    str,
    Field(
        max_length=100,
        description="cron text in UTC: minute, hour, day of the month, month, day of the week",
        examples=["*/15 * * * *"],
    ),
    AfterValidator(_checked),
]


class ScheduleChange(BaseModel):
    """What shall be different; what is left out stays."""

    model_config = ConfigDict(extra="forbid")

    schedule: CronText | None = None
    enabled: bool | None = None
    by: Claim = Field(NOBODY, description="who changes it", examples=["ada"])


@router.get("/schedules", summary="Jobs and when they run", responses=documented(503))
async def list_schedules(door: Wired) -> Schedules:
    """All jobs by name. Times are in UTC, so no clock that is put back or forward moves them."""

    def ask(conn: Conn, _owner: str) -> list[Schedule]:
        return schedules.schedules(conn)

    return Schedules(items=await door.catalog.ask(ask))


@router.get("/schedules/{name}", summary="One job", responses=documented(404, 422, 503))
async def get_schedule(name: Name, door: Wired) -> Schedule:
    """When it runs, and its last run."""
    return await schedule_of(door, name)


@router.patch(
    "/schedules/{name}",
    summary="Change a schedule",
    responses=documented(403, 404, 409, 413, 422, 503),
)
async def patch_schedule(name: Name, change: ScheduleChange, door: Wired) -> Schedule:
    """Takes effect at once. A job that is not enabled runs only if it is asked for.

    409 `of_a_source` for the job of a source: change the source.
    """

    def write(conn: Conn, _owner: str) -> bool:
        cron = Cron(change.schedule) if change.schedule else None
        by = door.speaker.named(change.by)
        return schedules.change(conn, name, by, cron=cron, enabled=change.enabled)

    try:
        found = await door.catalog.ask(write)
    except SourceJobError as error:
        raise ProblemError(409, "of_a_source", "It is that of a source: change that.") from error
    return await _answer(door, name, found=found)


@router.post(
    "/schedules/{name}/run",
    status_code=202,
    summary="Run a job now",
    responses=documented(403, 404, 413, 422, 429, 503),
)
async def post_run(name: Name, door: Wired, wanted: CommandRequest | None = None) -> Schedule:
    """It begins within a second or so, or when its present run has ended; its runs tell."""
    by = door.speaker.named((wanted or CommandRequest()).by)
    return await asked_to_run(door, name, by)


@router.get("/schedules/{name}/runs", summary="A job's runs", responses=documented(404, 422, 503))
async def list_runs(name: Name, door: Wired, limit: Limit = 20, cursor: Cursor = None) -> RunPage:
    """The newest first. They are kept for DARKROOM_KEEP_DAYS, the last ten of each job longer."""
    await schedule_of(door, name)
    return await runs_of(door, name, cursor, limit)


class LastDay(BaseModel):
    """How the last day went when that was last reckoned."""

    reckoned_at: datetime
    statistics: DayStatistics


@router.get(
    "/statistics", tags=["system"], summary="How the last day went", responses=documented(404, 503)
)
async def get_statistics(door: Wired) -> LastDay:
    """What the job `statistics` reckoned last, every hour; 404 until it has run once."""

    def ask(conn: Conn, _owner: str) -> Run | None:
        return schedules.last_done(conn, STATISTICS)

    run = await door.catalog.ask(ask)
    if run is None:
        detail = "It was not reckoned yet; POST /v1/schedules/statistics/run has it done now."
        raise ProblemError(404, "not_reckoned", detail)
    return LastDay(reckoned_at=run.started_at, statistics=DayStatistics.model_validate(run.report))


async def schedule_of(door: Door, name: str) -> Schedule:
    """The job; raises ProblemError (404)."""

    def ask(conn: Conn, _owner: str) -> Schedule | None:
        return schedules.schedule(conn, name)

    found = await door.catalog.ask(ask)
    if found is None:
        raise _no_job()
    return found


async def asked_to_run(door: Door, name: str, by: str) -> Schedule:
    """The job once a run is asked for; raises ProblemError (404)."""

    def ask(conn: Conn, _owner: str) -> bool:
        return schedules.ask(conn, name, by)

    return await _answer(door, name, found=await door.catalog.ask(ask))


async def runs_of(door: Door, name: str, cursor: str | None, limit: int) -> RunPage:
    """A page of a job's runs."""

    def ask(
        conn: Conn, _owner: str, after: RunPlace | None
    ) -> tuple[Sequence[Run], RunPlace | None]:
        return schedules.runs(conn, name, after, limit)

    items, place = await door.catalog.ask(ask, decode_run(cursor))
    return RunPage(items=list(items), next=encode_run(place))


async def _answer(door: Door, name: str, *, found: bool) -> Schedule:
    if not found:
        raise _no_job()
    return await schedule_of(door, name)


def _no_job() -> ProblemError:
    return ProblemError(404, "not_found", "There is no job of this name.")
