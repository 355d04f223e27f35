"""/v1/sources: folders and prefixes of stores that are looked through again and again."""

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Annotated, Any, Final, Literal, Self
from uuid import UUID

from fastapi import APIRouter, Query
from pydantic import BaseModel, ConfigDict, Field, model_validator

from gateway.api.door import Door, Wired
from gateway.api.import_requests import CommandRequest, FilePath
from gateway.api.imports import reached, resolved
from gateway.api.problems import ProblemError, documented, not_found
from gateway.api.schedules import CronText, asked_to_run, runs_of
from gateway.api.speakers import NOBODY, Claim
from gateway.catalog import sources
from gateway.catalog.schedules import RunPage, Schedule
from gateway.catalog.shapes import Lane
from gateway.catalog.sources import (
    BusyError,
    Deletions,
    NameTakenError,
    NewSource,
    Source,
    Sources,
    TooManyError,
)
from gateway.cron import Cron
from gateway.db import Conn
from gateway.origins import Patterns
from gateway.texts import Name

router = APIRouter(prefix="/v1/sources", tags=["sources"])

Cursor = Annotated[str | None, Query(max_length=300, description="an answer's `next`")]

_NAME: Final = r"^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$"


class SourceRequest(Patterns):
    """A folder of the gateway's machine, or a prefix of a store that Darkroom may read."""

    name: str = Field(
        pattern=_NAME, description="letters, digits, dot, dash, underscore", examples=["nas"]
    )
    path: FilePath | None = Field(None, examples=["/mnt/photos"])
    uri: FilePath | None = Field(None, examples=["s3://bucket/photos"])
    lane: Lane = "default"
    schedule: CronText | None = Field(
        None, description="cron text in UTC; null: it is looked through only if that is asked for"
    )
    deletions: Deletions = Field(
        "report",
        description="files that vanish are told, or forgotten besides; photos stay in either case",
    )
    enabled: bool = True
    by: Claim = Field(NOBODY, description="who adds it", examples=["ada"])

    @model_validator(mode="after")
    def _one_place(self) -> Self:
        if (self.path is None) == (self.uri is None):
            raise ValueError("give either `path` or `uri`")
        return self

    def new(self, place: str) -> NewSource:
        """The source at a place that was checked."""
        patterns = self.model_dump(mode="json", include={"include", "exclude", "hidden"})
        kind: Literal["folder", "store"] = "store" if self.uri else "folder"
        store = {"uri": place} if self.uri else {}
        return NewSource(
            name=self.name,
            kind=kind,
            location={"place": place, **patterns, **store},
            lane=self.lane,
            schedule=Cron(self.schedule) if self.schedule else None,
            deletions=self.deletions,
            enabled=self.enabled,
        )


class SourceChange(BaseModel):
    """What shall be different; what is left out stays. Null takes the schedule away."""

    model_config = ConfigDict(extra="forbid")

    schedule: CronText | None = None
    enabled: bool = True
    lane: Lane = "default"
    deletions: Deletions = "report"
    by: Claim = Field(NOBODY, description="who changes it", examples=["ada"])

    def changes(self) -> dict[str, Any]:
        """What was named."""
        named = self.model_dump(include=self.model_fields_set - {"by"})
        if self.schedule is not None:
            named["schedule"] = Cron(self.schedule)
        return named


@router.post(
    "",
    status_code=201,
    summary="Add a source",
    responses=documented(403, 404, 409, 413, 422, 429, 503),
)
async def post_source(wanted: SourceRequest, door: Wired) -> Source:
    """It is looked through at once, if it is enabled, and then by its schedule.

    What is new or changed becomes an import on its lane. 409 `name_taken`, `too_many_sources`.
    """
    if wanted.uri is not None:
        (place,) = await asyncio.to_thread(reached, door, wanted.uri)
    else:
        (place,) = await asyncio.to_thread(resolved, door, [wanted.path or ""])
    by = door.speaker.named(wanted.by)
    with _explained():
        source_id = await door.catalog.ask(sources.add, wanted.new(place), by)
    return await _source(door, source_id)


@router.get("", summary="All sources", responses=documented(503))
async def list_sources(door: Wired) -> Sources:
    """By name, with how they were looked through last."""
    return Sources(items=await door.catalog.ask(sources.sources))


@router.get("/{source_id}", summary="One source", responses=documented(404, 422, 503))
async def get_source(source_id: UUID, door: Wired) -> Source:
    """What it holds, when it is looked through next."""
    return await _source(door, source_id)


@router.patch(
    "/{source_id}", summary="Change a source", responses=documented(403, 404, 413, 422, 503)
)
async def patch_source(source_id: UUID, change: SourceChange, door: Wired) -> Source:
    """Takes effect at once. For another place or other patterns, remove it and add it anew: files
    that are known cost a hash each."""
    by = door.speaker.named(change.by)
    changed = await door.catalog.ask(sources.change, source_id, change.changes(), by)
    if changed is None:
        raise not_found("source")
    return await _source(door, source_id)


@router.delete(
    "/{source_id}", summary="Remove a source", responses=documented(403, 404, 409, 422, 503)
)
async def delete_source(
    source_id: UUID,
    door: Wired,
    by: Annotated[Name, Query(description="who removes it")] = NOBODY.root,
) -> Source:
    """Its photos and imports stay. Answers with what it was.

    409 `source_busy` while an import of it is recording files: cancel that first.
    """
    with _explained():
        removed = await door.catalog.ask(sources.remove, source_id, door.speaker.named(Claim(by)))
    if removed is None:
        raise not_found("source")
    return removed


@router.post(
    "/{source_id}/run",
    status_code=202,
    summary="Look through a source now",
    responses=documented(403, 404, 413, 422, 429, 503),
)
async def post_run(source_id: UUID, door: Wired, wanted: CommandRequest | None = None) -> Schedule:
    """Files that could not be read the last time are tried again, too."""
    by = door.speaker.named((wanted or CommandRequest()).by)
    source = await _source(door, source_id)
    return await asked_to_run(door, sources.job_of(source.name), by)


@router.get(
    "/{source_id}/runs", summary="How it was looked through", responses=documented(404, 422, 503)
)
async def list_runs(
    source_id: UUID,
    door: Wired,
    limit: Annotated[int, Query(ge=1, le=200)] = 20,
    cursor: Cursor = None,
) -> RunPage:
    """The newest first. A report says what was found, new, changed, unchanged, still being written
    (`unsettled`), gone, and could not be looked at; `batch_id` is the import, null if nothing was
    new."""
    source = await _source(door, source_id)
    return await runs_of(door, sources.job_of(source.name), cursor, limit)


async def _source(door: Door, source_id: UUID) -> Source:
    def ask(conn: Conn, owner: str) -> Source | None:
        return sources.source(conn, owner, source_id)

    source = await door.catalog.ask(ask)
    if source is None:
        raise not_found("source")
    return source


@contextmanager
def _explained() -> Iterator[None]:
    try:
        yield
    except NameTakenError as error:
        raise ProblemError(409, "name_taken", f"There is a source {error} already.") from error
    except TooManyError as error:
        detail = f"There are {sources.MOST} sources already."
        raise ProblemError(409, "too_many_sources", detail) from error
    except BusyError as error:
        detail = "An import of it is recording files. Cancel that, or wait for its end."
        raise ProblemError(409, "source_busy", detail) from error
