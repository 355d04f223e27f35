"""The metrics of the api door, with their meaning; names leave the process and are final."""

import time
from typing import Final

from prometheus_client import Counter, Gauge, Histogram
from starlette.types import ASGIApp, Message, Receive, Scope, Send

REQUESTS: Final = Counter(
    "darkroom_api_requests_total",
    "Requests answered, by route template (`none` where there is none), method and status.",
    ["route", "method", "status"],
)
DURATION: Final = Histogram(
    "darkroom_api_request_duration_seconds",
    "From a request's head to the end of its answer; waits that clients ask for are part of it.",
    ["route", "method"],
    buckets=(0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60),
)
SUBMITTED: Final = Counter(
    "darkroom_api_photos_submitted_total",
    "Uploads by what became of them: new, joined, analyzed (a duplicate).",
    ["status"],
)
ADMISSIONS: Final = Counter(
    "darkroom_api_admissions_total",
    "Requests of a class that is limited, by outcome: admitted, refused (429).",
    ["class", "outcome"],
)
RATE_LOCAL: Final = Gauge(
    "darkroom_api_rate_local",
    "1 while Redis is away and this door keeps to its share of the limits by itself, else 0.",
)
WEBSOCKETS: Final = Gauge("darkroom_api_websockets_open", "WebSockets that are open.")
REDIS_CONNECTED: Final = Gauge(
    "darkroom_api_redis_connected", "1 while news come by Redis, 0 while the catalog is polled."
)


class Measured:
    """ASGI middleware that counts and times requests."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass everything on; a request that ends without an answer counts as 500."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        status = 500
        started = time.perf_counter()

        async def sending(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
            await send(message)

        try:
            await self._app(scope, receive, sending)
        finally:
            route = getattr(scope.get("route"), "path", "none")
            REQUESTS.labels(route, scope["method"], str(status)).inc()
            DURATION.labels(route, scope["method"]).observe(time.perf_counter() - started)
