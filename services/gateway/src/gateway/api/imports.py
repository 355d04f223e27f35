"""/v1/imports: whole folders."""

import asyncio
from typing import Annotated, Literal
from uuid import UUID

from fastapi import APIRouter, Query
from pydantic import BaseModel, Field

from gateway.api.cursors import decode_index, encode_index
from gateway.api.door import Door, Wired
from gateway.api.problems import documented, not_found
from gateway.api.roots import allowed_roots, resolve
from gateway.catalog import read_batches
from gateway.catalog.shapes import Batch, Batches, ItemPage, Lane

router = APIRouter(prefix="/v1/imports", tags=["imports"])


class ImportRequest(BaseModel):
    """Files and folders of this machine; folders with everything below them."""

    paths: list[Annotated[str, Field(min_length=1, max_length=4096)]] = Field(
        min_length=1, max_length=100, examples=[["/home/ada/Pictures"]]
    )
    lane: Lane = "batch"


@router.post(
    "",
    status_code=202,
    summary="Import folders",
    responses=documented(403, 404, 408, 413, 422, 503),
)
async def post_import(wanted: ImportRequest, door: Wired) -> Batch:
    """Begin an import; follow it at its address or by the WebSocket `/v1/events?batch=`.

    Paths are absolute and lie below a folder that may be imported from, which whoever runs
    Darkroom allows (`darkroom import` does so for what it is given).
    """
    roots = await asyncio.to_thread(_resolved, door, wanted.paths)
    batch_id = await door.catalog.ask(door.writes.folders, wanted.lane, roots)
    return await _batch(door, UUID(batch_id))


def _resolved(door: Door, paths: list[str]) -> list[str]:
    settings = door.settings
    allowed = allowed_roots(settings.import_roots, settings.import_roots_file)
    # The same folder asked for twice is read once.
    return list(dict.fromkeys(resolve(path, allowed) for path in paths))


async def _batch(door: Door, batch_id: UUID) -> Batch:
    batch = await door.catalog.ask(read_batches.batch, batch_id)
    if batch is None:
        raise not_found("import")
    return batch


@router.get("", summary="Imports, newest first", responses=documented(422, 503))
async def list_imports(door: Wired, limit: Annotated[int, Query(ge=1, le=100)] = 10) -> Batches:
    """The newest imports and where they stand."""
    return Batches(items=await door.catalog.ask(read_batches.batches, limit))


@router.get("/{batch_id}", summary="One import", responses=documented(404, 422, 503))
async def get_import(batch_id: UUID, door: Wired) -> Batch:
    """Where the import stands."""
    return await _batch(door, batch_id)


@router.get("/{batch_id}/photos", summary="An import's files", responses=documented(404, 422, 503))
async def list_items(
    batch_id: UUID,
    door: Wired,
    limit: Annotated[int, Query(ge=1, le=200)] = 60,
    cursor: Annotated[str | None, Query(max_length=300, description="an answer's `next`")] = None,
    status: Annotated[
        Literal["duplicate", "rejected"] | None, Query(description="only such files")
    ] = None,
) -> ItemPage:
    """Every file of the import by its index, with its photo, its original or its reason."""
    await _batch(door, batch_id)
    items, index = await door.catalog.ask(
        read_batches.items, batch_id, kind=status, after=decode_index(cursor), limit=limit
    )
    return ItemPage(items=items, next=encode_index(index))
