"""Which requests are limited, and what their answers say of it.

Limited is what begins work: a photo that somebody hands in, an import. Files of an import that is
under way are paced by it (`windows`), and reading is free. How much is let in depends on the lane,
too, while the workers are busy or idle (`gateway.adapting`): a photo's is in the address, all that
begins imports counts as of lane batch, which is where they are unless somebody says otherwise in a
body that is not read yet.
"""

import math
import re
from typing import Final

from starlette.datastructures import MutableHeaders, QueryParams
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from gateway.api import problems
from gateway.api.metrics import ADMISSIONS
from gateway.api.quotas import Quotas, Verdict
from gateway.api.shares import Shares
from gateway.api.speakers import Speaker
from gateway.catalog.shares import Share
from gateway.settings import Settings
from streamkit.rate import AsyncTokens, Quota
from streamkit.rate_redis import AsyncRedisTokens, connect_async_redis

SINGLE: Final = "single"
IMPORTS: Final = "imports"

_CLASSES: Final = (
    (SINGLE, re.compile(r"/v1/photos")),
    (IMPORTS, re.compile(r"/v1/imports(/archive)?")),
    (IMPORTS, re.compile(r"/v1/reprocess")),
    # A source is looked through when it is added and when somebody asks; what is new is an import.
    (IMPORTS, re.compile(r"/v1/sources(/[^/]+/run)?")),
    (IMPORTS, re.compile(r"/v1/schedules/sync:[^/]+/run")),
)

_NOUNS: Final = {SINGLE: ("single photo", "single photos"), IMPORTS: ("import", "imports")}
_WINDOWS: Final = {1: "a second", 60: "a minute", 3600: "an hour"}
_LONGER: Final = {2: "in 2 seconds", 120: "in 2 minutes", 7200: "in 2 hours"}
_TIMES: Final = {0.5: "half of what is configured", 2.0: "twice what is configured"}


def class_of(method: str, path: str) -> str | None:
    """The class of a request; None for those that are not limited."""
    if method != "POST":
        return None
    return next((name for name, known in _CLASSES if known.fullmatch(path)), None)


def lane_of(name: str, query: bytes) -> str:
    """The lane of a request of a class, by its address."""
    return QueryParams(query).get("lane", "high") if name == SINGLE else "batch"


def shared_quotas(settings: Settings) -> Quotas:
    """The quotas that all doors with these settings share. Asks nobody yet."""
    wanted = {SINGLE: settings.single_quota, IMPORTS: settings.imports_quota}

    def tokens(name: str, who: str) -> AsyncTokens:
        key = f"{settings.topic_prefix}darkroom:api:{name}:{who}"
        return AsyncRedisTokens(connect_async_redis(settings.redis), key)

    return Quotas({name: quota for name, quota in wanted.items() if quota}, tokens)


class Limited:
    """ASGI middleware that answers 429 before a body is read, or tells what is left.

    A request counts as soon as it is let in: also if its body turns out to be no photo.
    """

    def __init__(self, app: ASGIApp, quotas: Quotas, shares: Shares) -> None:
        self._app = app
        self._quotas = quotas
        self._shares = shares

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass the request on, or refuse it."""
        name = class_of(scope["method"], scope["path"]) if scope["type"] == "http" else None
        if name is None or name not in self._quotas:
            await self._app(scope, receive, send)
            return
        share = await self._shares.of(lane_of(name, scope["query_string"]))
        times = 1.0 if share is None else share.share
        verdict = await self._quotas.take(name, _who(scope), times)
        ADMISSIONS.labels(name, "admitted" if verdict.admitted else "refused").inc()
        headers = _headers(name, verdict)
        if not verdict.admitted:
            again_s = _whole(verdict.more_s)
            headers |= {"Retry-After": str(again_s), "Connection": "close"}  # no body is read
            detail = _sentence(name, verdict.quota, share, again_s)
            await problems.answer(429, "rate_limited", detail, headers)(scope, receive, send)
            return

        async def sending(message: Message) -> None:
            if message["type"] == "http.response.start":
                MutableHeaders(scope=message).update(headers)
            await send(message)

        await self._app(scope, receive, sending)


def _who(scope: Scope) -> str:
    speaker = scope["speaker"]
    if not isinstance(speaker, Speaker):  # pragma: no cover  # the middleware around sets it
        raise TypeError("a request that nobody made")
    return speaker.key


def _headers(name: str, verdict: Verdict) -> dict[str, str]:
    """As draft-ietf-httpapi-ratelimit-headers-10 has them: for `t` seconds no more than `r`."""
    return {
        "RateLimit-Policy": f'"{name}";q={verdict.quota.amount};w={verdict.quota.window_s}',
        "RateLimit": f'"{name}";r={verdict.left};t={_whole(verdict.more_s)}',
    }


def _whole(seconds: float) -> int:
    """Whole seconds after which there is one more; Redis tells parts of a token roughly."""
    return max(1, math.ceil(seconds - 1e-5))


def _sentence(name: str, quota: Quota, share: Share | None, again_s: int) -> str:
    one, many = _NOUNS[name]
    window = _WINDOWS.get(quota.window_s) or _LONGER[quota.window_s]
    limit = f"The limit is {quota.amount} {one if quota.amount == 1 else many} {window}"
    if share is not None and share.share in _TIMES:
        limit += f" on lane {share.lane}, {_TIMES[share.share]}: {share.why}"
    return f"{limit.rstrip('.')}. Try again in {again_s} s."
