"""Each request is a span: of its client's trace if it says one, else of a new one.

What a request has written into the outbox is a part of it, so a photo's trace begins here.
"""

from contextlib import nullcontext

from starlette.datastructures import Headers
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from streamkit import tracing
from streamkit.headers import next_span


class Traced:
    """ASGI middleware; a client's `traceparent` (W3C Trace Context) is continued."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass everything on; a request that ends without an answer counts as 500."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        cause = Headers(scope=scope).get("traceparent")
        span = next_span(cause)
        traced = tracing.begin_request(scope["method"], span, cause)
        status = 500

        async def sending(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
            await send(message)

        try:
            with tracing.within(span), traced.active() if traced else nullcontext():
                await self._app(scope, receive, sending if traced else send)
        finally:
            if traced is not None:
                traced.end(getattr(scope.get("route"), "path", ""), status)
