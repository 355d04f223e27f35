"""Bounds on what clients send."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Final

from starlette.datastructures import Headers
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from gateway.api import problems
from gateway.api.problems import ProblemError, unavailable

SMALL_BODY: Final = 1_000_000
"""Bytes of the largest body of any request that is no upload."""

FORM_OVERHEAD: Final = 64_000
"""What a multipart form may need around its file."""

IDLE_S: Final = 30.0
"""A body of which nothing comes for so long is given up."""

_CLOSE: Final = {"Connection": "close"}  # what is still coming is not read


def too_large(limit: int) -> ProblemError:
    """The body has more than `limit` bytes."""
    detail = f"The limit is {limit / 1e6:g} MB."
    return ProblemError(413, "file_too_large", detail, _CLOSE)


class BodyLimit:
    """ASGI middleware that ends a request as soon as its body is too large or does not come on.

    `limit_of` gives the limit in bytes for a method and path. A declared length is refused before
    anything is read; without one, or with a false one, the bytes are counted as they come.
    """

    def __init__(self, app: ASGIApp, limit_of: Callable[[str, str], int]) -> None:
        self._app = app
        self._limit_of = limit_of

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass the request on; the route's reading of the body raises ProblemError (413, 408)."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        limit = self._limit_of(scope["method"], scope["path"])
        declared = Headers(scope=scope).get("content-length", "0")
        if not declared.isdecimal() or int(declared) > limit:
            refusal = too_large(limit)
            response = problems.answer(413, refusal.code, refusal.detail, _CLOSE)
            await response(scope, receive, send)
            return
        await self._app(scope, _counted(receive, limit), send)


def _counted(receive: Receive, limit: int) -> Receive:
    seen = 0
    more = True

    async def receiving() -> Message:
        nonlocal seen, more
        if not more:  # what comes behind the body is the client's leaving: no matter when
            return await receive()
        message = await _soon(receive)
        more = bool(message.get("more_body"))
        seen += len(message.get("body", b""))
        if seen > limit:
            raise too_large(limit)
        return message

    return receiving


async def _soon(receive: Receive) -> Message:
    try:
        async with asyncio.timeout(IDLE_S):
            return await receive()
    except TimeoutError as error:
        raise ProblemError(408, "upload_stalled", "The rest did not come.", _CLOSE) from error


class UploadBudget:
    """Memory that uploads in progress may take together.

    Photos are held whole while they are checked and stored, so that many large ones at once would
    be too much; who comes then is told to come back. To be used from one event loop.
    """

    def __init__(self, total: int) -> None:
        self._total = total
        self._taken = 0

    @asynccontextmanager
    async def room(self, size: int) -> AsyncIterator[None]:
        """Hold `size` bytes inside the context; raises ProblemError (503) where they don't fit."""
        if self._taken and self._taken + size > self._total:
            raise unavailable("too_many_uploads", "Too many photos are being uploaded at once.")
        self._taken += size
        try:
            yield
        finally:
            self._taken -= size


async def gather_body(chunks: AsyncIterator[bytes], limit: int) -> bytes:
    """The whole body; raises ProblemError (413) above `limit` bytes."""
    data = bytearray()
    async for chunk in chunks:
        data += chunk
        if len(data) > limit:
            raise too_large(limit)
    return bytes(data)
