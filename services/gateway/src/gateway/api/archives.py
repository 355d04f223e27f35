"""/v1/imports/archive: a zip or tar full of photos."""

import asyncio
from pathlib import Path
from typing import Annotated, Any, Final
from uuid import UUID

from fastapi import APIRouter, Depends, Query, Request
from fastapi.exceptions import RequestValidationError
from pydantic import ValidationError

from gateway.api.door import Door, Wired
from gateway.api.imports import batch_of
from gateway.api.problems import ProblemError, documented
from gateway.api.uploads import shown_name
from gateway.catalog.shapes import Batch, Lane
from gateway.origins import Patterns
from gateway.origins.archive_kinds import is_archive
from gateway.origins.archive_store import keep_archive

router = APIRouter(prefix="/v1/imports", tags=["imports"])

PATH: Final = "/v1/imports/archive"

_BODY: Final = {
    "requestBody": {
        "required": True,
        "content": {"application/octet-stream": {"schema": {"type": "string", "format": "binary"}}},
    }
}

_Globs = Annotated[list[str] | None, Query(description="a pattern; may be repeated")]


async def _patterns(
    include: _Globs = None,
    exclude: _Globs = None,
    hidden: Annotated[bool, Query(description="names that begin with a dot, too")] = False,
) -> Patterns:
    try:
        return Patterns(include=tuple(include or ()), exclude=tuple(exclude or ()), hidden=hidden)
    except ValidationError as error:
        told: list[Any] = [{**each, "loc": ("query", *each["loc"])} for each in error.errors()]
        raise RequestValidationError(told) from error


@router.post(
    "/archive",
    status_code=202,
    summary="Import an archive",
    responses=documented(403, 408, 413, 415, 422, 429, 503, 507),
    openapi_extra=_BODY,
)
async def post_archive(
    request: Request,
    door: Wired,
    patterns: Annotated[Patterns, Depends(_patterns)],
    name: Annotated[
        str, Query(min_length=1, max_length=1000, description="to show", examples=["2024.zip"])
    ] = "archive",
    lane: Lane = "batch",
) -> Batch:
    """Send a zip or tar file (plain, gzip, bzip2 or xz) as the raw body.

    Its kind is told by the content. What is in it is looked at afterwards: a file with a name that
    leads out of the archive, an encrypted one, one behind the limits is rejected with its reason.
    """
    declared = int(request.headers.get("content-length", 0))
    async with door.spool.take(request.stream(), door.settings.spool, declared) as file:
        if not await asyncio.to_thread(_is_archive, file):
            detail = "It is neither a zip nor a tar file (plain, gzip, bzip2 or xz)."
            raise ProblemError(415, "not_an_archive", detail)
        uri = await asyncio.to_thread(keep_archive, door.objects, file)
    shown = shown_name(name) or "archive"
    location = {**patterns.location(), "uri": uri, "name": shown}
    return await batch_of(door, await _begin(door, lane, shown, location))


async def _begin(door: Door, lane: Lane, name: str, location: dict[str, Any]) -> UUID:
    try:
        batch_id = await door.catalog.ask(door.writes.begin, lane, "archive", [name], location)
    except ProblemError:  # refused, so nothing names the archive
        await asyncio.to_thread(door.objects.delete, location["uri"])
        raise
    return UUID(batch_id)


def _is_archive(path: Path) -> bool:
    with path.open("rb") as file:
        return is_archive(file)
