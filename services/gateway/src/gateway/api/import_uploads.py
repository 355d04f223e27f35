"""/v1/imports/{id}/…: an import whose files the client sends, as often as it takes."""

import asyncio
import re
from dataclasses import dataclass
from typing import Annotated, Final
from uuid import UUID

from fastapi import APIRouter, Query, Request
from pydantic import Field

from gateway.api.bodies import gather_body
from gateway.api.door import Door, Wired
from gateway.api.import_requests import FilePath, Offer, OfferedFile
from gateway.api.imports import allowed, batch_of
from gateway.api.problems import ProblemError, documented, not_found, unavailable
from gateway.catalog import uploads
from gateway.catalog.items import ItemState
from gateway.catalog.shapes import Batch, Shape
from gateway.catalog.uploads import Offered, PathTakenError, Standing
from gateway.originals import store_original

router = APIRouter(prefix="/v1/imports", tags=["imports"])

_OVERSHOOT: Final = 2
"""Clients keep to the window; so many times as much is refused."""

_FILE: Final = re.compile("/v1/imports/[^/]+/files")

_BODY: Final = {
    "requestBody": {
        "required": True,
        "content": {"application/octet-stream": {"schema": {"type": "string", "format": "binary"}}},
    }
}


class Pacing(Shape):
    """How fast to go on: keep `in_flight` below `window`."""

    in_flight: int = Field(description="photos of this import that wait for their outcome")
    window: int = Field(description="how many may, for now")


class OfferedStanding(Shape):
    """A file: `missing` ones are to be sent."""

    path: str
    standing: Standing


class Offers(Pacing):
    """The files, in the order of the question."""

    files: list[OfferedStanding]


class UploadedFile(Pacing):
    """A recorded file of the import."""

    index: int
    path: str
    status: ItemState
    photo_id: str | None


@dataclass(frozen=True, slots=True)
class _Pace:
    in_flight: int
    window: int

    @property
    def room(self) -> int:
        return max(0, _OVERSHOOT * self.window - self.in_flight)


def is_file(method: str, path: str) -> bool:
    """Whether a request carries a photo of an import."""
    return method == "PUT" and _FILE.fullmatch(path) is not None


@router.post(
    "/{batch_id}/missing",
    summary="Ask which files are still to be sent",
    responses=documented(403, 404, 408, 409, 413, 422, 503),
)
async def post_missing(batch_id: UUID, wanted: Offer, door: Wired) -> Offers:
    """A file is `recorded`, or `missing`: send it. `path_taken`: its path has other bytes already.

    Files of which Darkroom has the bytes are recorded at once, and so are those that you can't
    read (`problem`) and those that are too large: they are rejected with that reason.
    """
    pace = await _pace(door, batch_id)
    limit = door.settings.photo_max_bytes
    files = [_offered(file, limit) for file in wanted.files]
    with allowed():
        standings = await door.catalog.ask(door.writes.offer, batch_id, files, pace.room)
    if standings is None:
        raise not_found("import")
    after = await _pace(door, batch_id)
    return Offers(
        in_flight=after.in_flight,
        window=after.window,
        files=[
            OfferedStanding(path=file.path, standing=standing)
            for file, standing in zip(files, standings, strict=True)
        ],
    )


@router.put(
    "/{batch_id}/files",
    summary="Send a file of an import",
    responses=documented(403, 404, 408, 409, 413, 422, 503),
    openapi_extra=_BODY,
)
async def put_file(
    batch_id: UUID,
    request: Request,
    door: Wired,
    path: Annotated[FilePath, Query(description="as you call it; its last part is the name")],
) -> UploadedFile:
    """The raw bytes. The same again is answered alike; other bytes under a path that is recorded
    are refused with 409 `path_taken`. What is no photo is rejected later, with a reason.

    503 `import_full` with Retry-After while far more photos than `window` are under way.
    """
    pace = await _pace(door, batch_id)
    if not pace.room:
        detail = f"{pace.in_flight} photos of this import are under way already."
        raise unavailable("import_full", detail, retry_after_s=1)
    limit = door.settings.photo_max_bytes
    declared = int(request.headers.get("content-length", limit))
    async with door.uploads.room(declared):
        data = await gather_body(request.stream(), limit)
        original = await asyncio.to_thread(store_original, door.objects, data)
    with allowed():
        try:
            done = await door.catalog.ask(door.writes.upload, batch_id, path, original)
        except PathTakenError as taken:
            detail = "Something else is recorded under this path in this import."
            raise ProblemError(409, "path_taken", detail) from taken
    if done is None:
        raise not_found("import")
    return UploadedFile(
        index=done.index,
        path=path,
        status=done.item.state,
        photo_id=done.item.photo_id,
        in_flight=pace.in_flight + (done.item.state is ItemState.SUBMITTED),
        window=pace.window,
    )


@router.post(
    "/{batch_id}/seal",
    summary="Every file is sent",
    responses=documented(403, 404, 409, 413, 422, 503),
)
async def post_seal(batch_id: UUID, door: Wired) -> Batch:
    """The import ends once its photos have their outcome. Until then it waits for files."""
    with allowed():
        found = await door.catalog.ask(door.writes.seal, batch_id)
    if not found:
        raise not_found("import")
    return await batch_of(door, batch_id)


async def _pace(door: Door, batch_id: UUID) -> _Pace:
    with allowed():
        flow = await door.catalog.ask(uploads.flow, batch_id)
    if flow is None:
        raise not_found("import")
    return _Pace(flow.in_flight, door.windows.see(batch_id, flow.in_flight, flow.ended))


def _offered(file: OfferedFile, limit: int) -> Offered:
    problem: tuple[str, str] | None = None
    if file.problem is not None:
        problem = (file.problem.code, file.problem.message)
    if file.byte_size > limit:
        message = f"It has {file.byte_size} bytes; the limit is {limit}."
        problem = ("file_too_large", message)
    return Offered(file.path, file.sha256 or "", file.byte_size, problem)
