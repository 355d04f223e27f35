"""/v1/operations: what goes on, who works on it, and how that was in the last 24 hours."""

from datetime import UTC, datetime
from difflib import get_close_matches
from typing import Annotated, Final

from fastapi import APIRouter, Query
from pydantic import AwareDatetime

from gateway.api.door import Wired
from gateway.api.problems import ProblemError, documented
from gateway.catalog import operations, samples, workers
from gateway.catalog.operations import Overview
from gateway.catalog.samples import History, SeriesNames
from gateway.catalog.workers import Worker, Workers
from gateway.texts import Name

router = APIRouter(prefix="/v1/operations", tags=["operations"])

_NAMED: Final = 20


@router.get("", summary="What goes on", responses=documented(503))
async def get_operations(door: Wired) -> Overview:
    """Lanes and how much of them waits, services with their workers, and how fast it goes. What
    lanes say was measured at `measured_at`, and what workers say is as old as their heartbeats."""
    return await door.catalog.ask(operations.overview)


@router.get("/workers", summary="The workers", responses=documented(422, 503))
async def get_workers(door: Wired, service: Name | None = None) -> Workers:
    """Each as it said itself a few seconds ago. Who is silent for three of its heartbeats is
    `missing`; who is so for a day, or has gone an hour ago, is forgotten."""
    return Workers(items=await door.catalog.ask(workers.workers, service))


@router.get("/workers/{worker}", summary="A worker", responses=documented(404, 422, 503))
async def get_worker(worker: str, door: Wired) -> Worker:
    """What it has, does and uses, and which records its engines hold."""
    found = await door.catalog.ask(workers.worker, worker)
    if found is not None:
        return found
    known = [one.worker for one in await door.catalog.ask(workers.workers)]
    shown = ", ".join(known[:_NAMED]) + (" …" if len(known) > _NAMED else "")
    detail = f"There is no worker {worker[:_LONGEST]!r}; there are: {shown or 'none'}."
    raise ProblemError(404, "not_found", detail, more={"known": known[:_NAMED]})


_LONGEST: Final = 100


@router.get("/history", summary="How it was", responses=documented(422, 503))
async def get_history(
    door: Wired,
    series: Annotated[
        list[Name], Query(min_length=1, max_length=40, description="names; may be repeated")
    ],
    since: Annotated[AwareDatetime | None, Query(description="else 24 hours before until")] = None,
    until: Annotated[AwareDatetime | None, Query(description="else now")] = None,
    points: Annotated[int, Query(ge=2, le=2000, description="at most so many")] = 360,
) -> History:
    """What was measured every ten seconds, kept for 24 hours. With fewer points than measurements,
    each is the mean of some; of names that end in `.waiting`, `.oldest_s`, `.records`,
    `.dead_letters` or `.retries` it is the highest. null: nothing was measured."""
    try:
        over = samples.span(since, until or datetime.now(UTC), points)
    except (ValueError, OverflowError) as error:
        raise ProblemError(422, "invalid_span", f"That is no time: {error}.") from error
    unknown = await door.catalog.ask(samples.unknown, series)
    if unknown:
        raise ProblemError(
            422,
            "unknown_series",
            await _unknown(door, unknown[0]),
            more={"unknown": unknown},
        )
    return await door.catalog.ask(samples.history, series, over)


async def _unknown(door: Wired, name: str) -> str:
    near = get_close_matches(name, await door.catalog.ask(samples.names), n=1)
    hint = f"Do you mean {near[0]}?" if near else "See `/v1/operations/history/series`."
    return f"There is no series {name!r}. {hint}"


@router.get("/history/series", summary="What is measured", responses=documented(503))
async def get_series(door: Wired) -> SeriesNames:
    """The names that `/v1/operations/history` takes."""
    return SeriesNames(items=await door.catalog.ask(samples.names))
