"""/v1/photos/{id}/…: the bytes of a photo's pictures."""

import asyncio
from typing import Annotated, Final, Literal
from urllib.parse import quote
from uuid import UUID

from fastapi import APIRouter, Header, Response

from gateway.api.door import Door, Wired
from gateway.api.problems import ProblemError, documented, not_found
from gateway.catalog import read
from gateway.catalog.read import Stored
from imaging.kinds import JPEG, MEDIA_TYPES

router = APIRouter(prefix="/v1/photos", tags=["photos"])

Kind = Literal["thumbnail", "rendition", "original"]

_FOR_EVER: Final = "private, max-age=31536000, immutable"
"""A photo's id names its bytes, so the original never changes."""

_A_DAY: Final = "private, max-age=86400"
"""Pictures made from it may be made better one day."""

_BYTES: Final = {
    200: {"content": {"image/*": {"schema": {"type": "string", "format": "binary"}}}},
    304: {"description": "You have it already"},
    **documented(404, 503),
}

IfNoneMatch = Annotated[str | None, Header(include_in_schema=False)]


@router.get(
    "/{photo_id}/thumbnail",
    summary="The photo, small",
    response_class=Response,
    responses=_BYTES,  # type: ignore[arg-type]
)
async def get_thumbnail(photo_id: UUID, door: Wired, if_none_match: IfNoneMatch = None) -> Response:
    """Upright, at most 320 px on its long side. 404 until intake has made it."""
    return await _picture(door, photo_id, "thumbnail", if_none_match)


@router.get(
    "/{photo_id}/rendition",
    summary="The photo to look at",
    response_class=Response,
    responses=_BYTES,  # type: ignore[arg-type]
)
async def get_rendition(photo_id: UUID, door: Wired, if_none_match: IfNoneMatch = None) -> Response:
    """Upright, at most 2048 px on its long side. 404 until intake has made it."""
    return await _picture(door, photo_id, "rendition", if_none_match)


@router.get(
    "/{photo_id}/original",
    summary="The photo as it was handed in",
    response_class=Response,
    responses=_BYTES,  # type: ignore[arg-type]
)
async def get_original(photo_id: UUID, door: Wired, if_none_match: IfNoneMatch = None) -> Response:
    """Byte for byte. A file that was refused is given as a download, never to be shown."""
    return await _picture(door, photo_id, "original", if_none_match)


async def _picture(door: Door, photo_id: UUID, kind: Kind, known: str | None) -> Response:
    stored = await door.catalog.ask(read.stored, photo_id)
    if stored is None:
        raise not_found("photo")
    uri = {
        "thumbnail": stored.thumbnail,
        "rendition": stored.rendition,
        "original": stored.original,
    }[kind]
    if uri is None:
        raise ProblemError(404, "not_ready", f"The photo has no {kind}.")
    headers = {
        "ETag": f'"{stored.sha256[:32]}-{kind}"',
        "Cache-Control": _FOR_EVER if kind == "original" else _A_DAY,
    }
    if known is not None and headers["ETag"] in known:
        return Response(status_code=304, headers=headers)
    data = await asyncio.to_thread(door.objects.get, uri, limit=door.settings.photo_max_bytes)
    media_type = _media_type(stored, kind, uri)
    headers["Content-Disposition"] = disposition(stored.file_name, kind, media_type)
    return Response(data, headers=headers, media_type=media_type)


def _media_type(stored: Stored, kind: Kind, uri: str) -> str:
    """A picture of ours is a JPEG; the original, or a rendition that is it, what intake found."""
    if kind != "original" and uri != stored.original:
        return JPEG
    found = stored.media_type
    return found if found in MEDIA_TYPES else "application/octet-stream"


def disposition(file_name: str | None, kind: Kind, media_type: str) -> str:
    """Content-Disposition (RFC 6266): pictures are shown, other bytes are only downloaded."""
    how = "inline" if media_type.startswith("image/") else "attachment"
    if kind != "original" or file_name is None:
        return how
    return f"{how}; filename*=UTF-8''{quote(file_name, safe='')}"
