"""Thumbnails inside a report, so that it needs no other file."""

import asyncio
import base64
from collections.abc import Sequence
from typing import Final, Protocol

import structlog

from gateway.catalog.reports import Line
from streamkit import Busy, Reject, Retry

_log = structlog.get_logger("gateway.api")

_ALL_BYTES: Final = 16_000_000
"""All pictures of a report together."""

_ONE_BYTES: Final = 200_000
"""One of them; a thumbnail of intake's has a tenth."""

_AT_ONCE: Final = 8


class Reads(Protocol):
    """The part of an object store that is needed here; blocks, raises Busy, Reject, Retry."""

    def get(self, uri: str, *, limit: int) -> bytes:
        """The bytes at a URI."""
        ...


class Pictures:
    """Thumbnails as data URIs, of the first `most` files and as long as there is room."""

    def __init__(self, objects: Reads, most: int) -> None:
        self._objects = objects
        self._gate = asyncio.Semaphore(_AT_ONCE)
        self._left = most
        self._bytes = _ALL_BYTES

    async def of(self, lines: Sequence[Line]) -> list[str | None]:
        """A picture for each line; None where there is none, or no room any more."""
        wanted, self._left = lines[: self._left], max(0, self._left - len(lines))
        found = await asyncio.gather(*(self._picture(line) for line in wanted))
        return [*found, *[None] * (len(lines) - len(wanted))]

    async def _picture(self, line: Line) -> str | None:
        if line.thumbnail is None or self._bytes <= 0:
            return None
        async with self._gate:
            try:
                data = await asyncio.to_thread(self._objects.get, line.thumbnail, limit=_ONE_BYTES)
            except (Busy, Reject, Retry) as error:  # the report is worth more than its pictures
                _log.warning("no_picture_in_report", photo_id=line.photo_id, reason=str(error))
                return None
        media_type = _media_type(data)
        if media_type is None or len(data) > self._bytes:
            return None
        self._bytes -= len(data)
        return f"data:{media_type};base64,{base64.b64encode(data).decode()}"


def _media_type(data: bytes) -> str | None:
    if data.startswith(b"\xff\xd8\xff"):
        return "image/jpeg"
    return "image/png" if data.startswith(b"\x89PNG\r\n\x1a\n") else None
