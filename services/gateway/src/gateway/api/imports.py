"""/v1/imports: many photos at once."""

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Annotated, Final, Literal
from uuid import UUID

from fastapi import APIRouter, Query

from gateway.api.cursors import decode_index, encode_index
from gateway.api.door import Door, Wired
from gateway.api.import_requests import (
    CommandRequest,
    ImportRequest,
    PauseRequest,
    StoreRequest,
    UploadRequest,
)
from gateway.api.problems import ProblemError, documented, not_found
from gateway.api.roots import allowed_roots, resolve
from gateway.catalog import import_commands, read_batches
from gateway.catalog.import_commands import ImportStateError
from gateway.catalog.shapes import Batch, Batches, BatchState, ItemPage
from streamkit import Reject

router = APIRouter(prefix="/v1/imports", tags=["imports"])

_CURES: Final = {"outside_stores": " Whoever runs Darkroom allows stores by DARKROOM_STORES."}
_STORE_STATUS: Final = {"outside_stores": 403, "store_forbidden": 403, "object_missing": 404}


@router.post(
    "",
    status_code=202,
    summary="Begin an import",
    responses=documented(403, 404, 408, 413, 422, 429, 503),
)
async def post_import(wanted: ImportRequest, door: Wired) -> Batch:
    """Begin an import; follow it at its address or by the WebSocket `/v1/events?batch=`.

    - `folder`: paths are absolute and lie below a folder that may be imported from, which whoever
      runs Darkroom allows (`darkroom import` does so for what it is given).
    - `store`: a prefix of an object store that Darkroom may read (DARKROOM_STORES).
    - `upload`: nothing happens until you send files to its address, and then seal it.
    """
    if isinstance(wanted, UploadRequest):
        roots = [wanted.name]
    elif isinstance(wanted, StoreRequest):
        roots = await asyncio.to_thread(reached, door, wanted.uri)
    else:
        roots = await asyncio.to_thread(resolved, door, wanted.paths)
    location, expected = wanted.location(), wanted.expected
    batch_id = await door.catalog.ask(
        door.writes.begin, wanted.lane, wanted.kind, roots, location, expected
    )
    return await batch_of(door, UUID(batch_id))


def resolved(door: Door, paths: list[str]) -> list[str]:
    """The allowed folders and files that are meant, each once. Raises ProblemError."""
    settings = door.settings
    allowed = allowed_roots(settings.import_roots, settings.import_roots_file)
    # The same folder asked for twice is read once.
    return list(dict.fromkeys(resolve(path, allowed) for path in paths))


def reached(door: Door, uri: str) -> list[str]:
    """Whoever mistypes a bucket is told at once. Raises ProblemError, Retry."""
    try:
        next(iter(door.objects.list(uri)), None)
    except Reject as refused:
        status = _STORE_STATUS.get(refused.code, 422)
        cure = _CURES.get(refused.code, "")
        raise ProblemError(status, refused.code, refused.message + cure) from refused
    return [uri]


async def batch_of(door: Door, batch_id: UUID) -> Batch:
    """The import as it stands; raises ProblemError (404)."""
    batch = await door.catalog.ask(read_batches.batch, batch_id)
    if batch is None:
        raise not_found("import")
    return batch


@contextmanager
def allowed() -> Iterator[None]:
    """What an import's state does not allow is a conflict."""
    try:
        yield
    except ImportStateError as error:
        raise ProblemError(409, error.code, error.message) from error


@router.get("", summary="Imports, newest first", responses=documented(422, 503))
async def list_imports(
    door: Wired,
    limit: Annotated[int, Query(ge=1, le=100)] = 10,
    state: Annotated[
        list[BatchState] | None, Query(description="only such imports; may be repeated")
    ] = None,
) -> Batches:
    """The newest imports and where they stand."""
    return Batches(items=await door.catalog.ask(read_batches.batches, limit, state))


@router.get("/{batch_id}", summary="One import", responses=documented(404, 422, 503))
async def get_import(batch_id: UUID, door: Wired) -> Batch:
    """Where the import stands."""
    return await batch_of(door, batch_id)


@router.post(
    "/{batch_id}/pause",
    summary="Record no more files for now",
    responses=documented(403, 404, 409, 413, 422, 503),
)
async def post_pause(batch_id: UUID, door: Wired, wanted: PauseRequest | None = None) -> Batch:
    """Photos that are under way go on. The pause ends by itself, if you say when.

    409 `import_sealed` where every file is recorded already, `import_over` where it has ended.
    """
    asked = wanted or PauseRequest()
    by = door.speaker.named(asked.by)
    with allowed():
        found = await door.catalog.ask(import_commands.pause, batch_id, by, asked.ends_at)
    return await _answer(door, batch_id, found)


@router.post(
    "/{batch_id}/resume",
    summary="Go on after a pause",
    responses=documented(403, 404, 409, 413, 422, 503),
)
async def post_resume(batch_id: UUID, door: Wired, wanted: CommandRequest | None = None) -> Batch:
    """Nothing changes where it is not paused; 409 `import_over` where it has ended."""
    with allowed():
        found = await door.catalog.ask(
            import_commands.resume, batch_id, door.speaker.named((wanted or CommandRequest()).by)
        )
    return await _answer(door, batch_id, found)


@router.post(
    "/{batch_id}/cancel",
    status_code=202,
    summary="End the import",
    responses=documented(403, 404, 409, 413, 422, 503),
)
async def post_cancel(batch_id: UUID, door: Wired, wanted: CommandRequest | None = None) -> Batch:
    """What is recorded stays. Photos without an outcome end as cancelled, and are not analysed any
    more unless somebody else waits for them. 409 `import_over` where it has ended.
    """
    with allowed():
        found = await door.catalog.ask(
            import_commands.cancel, batch_id, door.speaker.named((wanted or CommandRequest()).by)
        )
    return await _answer(door, batch_id, found)


async def _answer(door: Door, batch_id: UUID, found: bool) -> Batch:
    if not found:
        raise not_found("import")
    return await batch_of(door, batch_id)


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
    await batch_of(door, batch_id)
    items, index = await door.catalog.ask(
        read_batches.items, batch_id, kind=status, after=decode_index(cursor), limit=limit
    )
    return ItemPage(items=items, next=encode_index(index))
