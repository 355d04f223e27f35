"""/v1/photos: hand photos in, read what was found."""

import asyncio
import time
from typing import Annotated, Final
from uuid import UUID, uuid4

import structlog
from fastapi import APIRouter, Header, Query, Request, Response
from fastapi.responses import JSONResponse
from pydantic import BaseModel, Field

from gateway.api import metrics
from gateway.api.bodies import FORM_OVERHEAD
from gateway.api.cursors import decode_place, encode_place
from gateway.api.door import Door, Wired
from gateway.api.hub import Closed
from gateway.api.prefer import MAX_WAIT_S, wait_of
from gateway.api.problems import ProblemError, documented, not_found
from gateway.api.speakers import NOBODY, Claim
from gateway.api.uploads import Upload, read_upload
from gateway.api.writes import Recorded
from gateway.catalog import read
from gateway.catalog.cancelling import NothingToCancelError
from gateway.catalog.shapes import Lane, Outcome, Photo, PhotoPage, PhotoStatus
from gateway.catalog.submissions import Status, Submission
from gateway.originals import store_original
from gateway.texts import Reason

_log = structlog.get_logger("gateway.api")

router = APIRouter(prefix="/v1/photos", tags=["photos"])

_LOOK_S: Final = 0.5
"""How often a wait looks into the catalog while Redis is away (else every few seconds)."""

_SAFETY_LOOK_S: Final = 5.0


class CancelRequest(BaseModel):
    """Who calls it off, and why."""

    reason: Reason | None = Field(None, examples=["It is the wrong photo."])
    by: Claim = Field(NOBODY, description="who asks", examples=["ada"])


_BODY: Final = {
    "requestBody": {
        "required": True,
        "content": {
            "image/*": {"schema": {"type": "string", "format": "binary"}},
            "multipart/form-data": {
                "schema": {
                    "type": "object",
                    "required": ["file"],
                    "properties": {"file": {"type": "string", "format": "binary"}},
                }
            },
        },
    }
}


@router.post(
    "",
    summary="Hand in a photo",
    response_model=Photo,
    responses={
        200: {"description": "The outcome or rejection is there, or these bytes are known already"},
        202: {"model": Photo, "description": "Accepted; see `Location` for what comes of it"},
        **documented(403, 408, 413, 415, 422, 429, 503),
    },
    openapi_extra=_BODY,
)
async def post_photo(
    request: Request,
    door: Wired,
    lane: Annotated[Lane, Query(description="who waits: a person (high) … nobody")] = "high",
    file_name: Annotated[
        str | None, Query(max_length=1000, description="name to show", examples=["cat.jpg"])
    ] = None,
    prefer: Annotated[
        list[str] | None,
        Header(
            description=f"`wait=SECONDS`, at most {MAX_WAIT_S} (RFC 7240)", examples=["wait=20"]
        ),
    ] = None,
) -> Response:
    """Send the photo as the raw body, or as the part `file` of a multipart form.

    The answer is 202 at once, or with `Prefer: wait=SECONDS` 200 as soon as the outcome is there.
    The same bytes again are the same photo: while it is being analysed you join that analysis,
    afterwards you get what was found, with `duplicate_of`. What is no photo within the limits is
    refused at once and nothing is kept.
    """
    limits = door.settings.photo_limits
    wait_s = wait_of(prefer or [])
    await door.admission.require(lane)
    declared = int(request.headers.get("content-length", limits.max_bytes + FORM_OVERHEAD))
    async with door.uploads.room(declared):
        upload = await read_upload(request, limits, file_name)
        recorded = await _record(door, upload, lane)
    photo = recorded.photo
    if wait_s and photo.status == "pending":
        photo = await _await_end(door, UUID(photo.photo_id), wait_s)
    if recorded.submitted.status is Status.ANALYZED:
        photo = photo.model_copy(update={"duplicate_of": photo.photo_id})
    return _answer(photo, wait_s)


async def _record(door: Door, upload: Upload, lane: Lane) -> Recorded:
    original = await asyncio.to_thread(store_original, door.objects, upload.data)
    submission = Submission(
        owner=door.catalog.owner,
        sha256=original.sha256,
        source_uri=original.uri,
        byte_size=original.byte_size,
        file_name=upload.file_name,
        lane=lane,
        submission_id=f"api:{uuid4()}",
    )
    recorded = await door.handing_in.record(door.catalog, submission)
    metrics.SUBMITTED.labels(recorded.submitted.status).inc()
    _log.info(
        "photo_handed_in",
        photo_id=recorded.submitted.photo_id,
        lane=lane,
        status=recorded.submitted.status.value,
    )
    return recorded


async def _await_end(door: Door, photo_id: UUID, wait_s: float) -> Photo:
    """The photo once its analysis has ended, or as it is when the time is up."""
    until = time.monotonic() + wait_s
    with door.hub.subscribe(door.catalog.owner, photo=photo_id) as subscription:
        while True:
            photo = await door.catalog.ask(read.photo, photo_id)
            if photo is None:
                raise not_found("photo")
            left = until - time.monotonic()
            if photo.status != "pending" or left <= 0:
                return photo
            look_s = _SAFETY_LOOK_S if door.feed.connected else _LOOK_S
            try:
                await subscription.changed(min(left, look_s))
            except Closed:  # Darkroom stops; the client comes back to the photo's address
                return photo


def _answer(photo: Photo, wait_s: int | None) -> Response:
    headers = {} if wait_s is None else {"Preference-Applied": f"wait={wait_s}"}
    if photo.status == "pending":
        headers["Location"] = photo.links.self
    status = 202 if photo.status == "pending" else 200
    return JSONResponse(photo.model_dump(mode="json"), status, headers)


@router.get("", summary="List photos, newest first", responses=documented(422, 503))
async def list_photos(
    door: Wired,
    limit: Annotated[int, Query(ge=1, le=200)] = 60,
    cursor: Annotated[str | None, Query(max_length=300, description="an answer's `next`")] = None,
    outcome: Annotated[Outcome | None, Query(description="only photos with this outcome")] = None,
    status: Annotated[PhotoStatus | None, Query(description="only photos in this state")] = None,
    batch: Annotated[UUID | None, Query(description="only photos of this import")] = None,
) -> PhotoPage:
    """A page of photos; follow `next` for more."""
    chosen = read.Filter(outcome=outcome, status=status, batch=batch)
    items, place = await door.catalog.ask(read.photos, chosen, decode_place(cursor), limit)
    return PhotoPage(items=items, next=encode_place(place))


@router.get("/{photo_id}", summary="One photo", responses=documented(404, 422, 503))
async def get_photo(photo_id: UUID, door: Wired) -> Photo:
    """What was found on the photo so far."""
    photo = await door.catalog.ask(read.photo, photo_id)
    if photo is None:
        raise not_found("photo")
    return photo


@router.post(
    "/{photo_id}/cancel",
    summary="Cancel a photo's analysis",
    responses=documented(403, 404, 409, 413, 422, 503),
)
async def post_cancel(photo_id: UUID, door: Wired, wanted: CancelRequest | None = None) -> Photo:
    """Nobody waits for it any more: whoever does gets the photo as `cancelled`, and in imports the
    file ends so. What was found before stays, and so does the photo: handed in again, it is
    analysed anew. One that is decided in this very moment keeps its outcome.

    409 `nothing_in_progress` if there is none.
    """
    wanted = wanted or CancelRequest()
    by = door.speaker.named(wanted.by)
    try:
        found = await door.catalog.ask(door.writes.cancel_photo, photo_id, by, wanted.reason)
    except NothingToCancelError as error:
        detail = "No analysis of the photo is in progress."
        raise ProblemError(409, "nothing_in_progress", detail) from error
    if not found:
        raise not_found("photo")
    return await get_photo(photo_id, door)
