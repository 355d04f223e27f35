"""Who asks: by a key, by a session that was begun with one, or nobody in particular.

Whoever is at this machine may need no key (`anonymous`). What a proxy passed on comes from
somewhere else, whatever address it has by now: for that a key is always needed.
"""

import hashlib
import math
from collections import OrderedDict
from collections.abc import Collection
from dataclasses import dataclass
from typing import Final

import structlog
from pydantic import RootModel
from starlette.datastructures import Headers
from starlette.requests import HTTPConnection
from starlette.responses import Response
from starlette.types import ASGIApp, Receive, Scope, Send

from darkroom_schemas import ids
from gateway.api import problems
from gateway.api.catalog import Catalog
from gateway.api.page import sign_in_page
from gateway.api.problems import DATABASE_AWAY, ProblemError
from gateway.api.quotas import ANYBODY
from gateway.catalog import keys
from gateway.catalog.keys import Holder, Stranger
from gateway.roles import Role
from gateway.texts import Name
from streamkit.clock import Clock, SystemClock
from streamkit.rate import LocalBucket, Rate

_log = structlog.get_logger("gateway.api")

COOKIE: Final = "darkroom_session"

_NO_COOKIE: Final = f'{COOKIE}=""; Max-Age=0; Path=/; HttpOnly; SameSite=strict'

_PROXIED: Final = ("forwarded", "x-forwarded-for", "x-forwarded-host", "x-real-ip", "via")
_CHALLENGE: Final = {"WWW-Authenticate": 'Bearer realm="darkroom"', "Connection": "close"}

_TRIES: Final = Rate(10 / 60, 10)
"""Keys that open nothing, from one address."""
_TOLD: Final = Rate(10 / 60, 60)
"""Of these in the audit log, from all addresses."""
_ADDRESSES: Final = 1_000
_GOOD: Final = 1_000


class Claim(RootModel[Name]):
    """Who a client says it is; `Speaker.named` tells what is to be believed of it."""


NOBODY: Final = Claim(ANYBODY)
"""What is claimed where nothing is."""


@dataclass(frozen=True, slots=True)
class Speaker:
    """Who asks; `holder` is None for who has no key."""

    role: Role
    holder: Holder | None = None

    @property
    def owner(self) -> str:
        """Id of whose photos these are."""
        return ids.owner_id(self.holder.owner) if self.holder else ids.LOCAL_OWNER

    @property
    def key(self) -> str:
        """By what requests are counted."""
        return self.holder.key_id if self.holder else ANYBODY

    def named(self, claim: Claim = NOBODY) -> str:
        """As the audit log has it. A key can't speak for others, and nobody for a key."""
        if self.holder:
            return f"key:{self.holder.name}"
        return ANYBODY if claim.root.strip().lower().startswith("key:") else claim.root


STRANGER: Final = Speaker("viewer")
"""Who asks for what is open to all."""


class Keeper:
    """Tells who asks. To be used from one event loop.

    Each request asks the catalog, so that a key that is revoked opens nothing from then on. An
    address from which too many keys came that open nothing is not looked up for a while, but for
    keys that opened something before: guessing 256 bits is hopeless anyway, and one program with
    an old key must not shut out its neighbours.
    """

    def __init__(
        self, catalog: Catalog, anonymous: Role | None, clock: Clock | None = None
    ) -> None:
        self._catalog, self._anonymous = catalog, anonymous
        self._clock = clock or SystemClock()
        self._tries: OrderedDict[str, LocalBucket] = OrderedDict()
        self._good: OrderedDict[bytes, None] = OrderedDict()
        self._told = LocalBucket(_TOLD, self._clock)

    async def speaker(self, asking: HTTPConnection) -> Speaker:
        """Raises ProblemError (401, 429)."""
        given = asking.headers.get("authorization")
        if given is not None:
            holder = await self.holder(_token(given), address_of(asking))
            return Speaker(holder.role, holder)
        session = session_of(asking)
        if session is not None:
            found = await self._catalog.ask(keys.holder_of_session, session)
            if found is None:
                # Not anybody: whose key was revoked must not be more than with it.
                detail = "This session is over: sign in again."
                headers = {**_CHALLENGE, "Set-Cookie": _NO_COOKIE}
                raise ProblemError(401, "unauthenticated", detail, headers)
            return Speaker(found.role, found)
        proxied = any(name in asking.headers for name in _PROXIED)
        if self._anonymous is None or proxied:
            detail = "This needs a key: send it as `Authorization: Bearer KEY`, or sign in."
            raise ProblemError(401, "unauthenticated", detail, dict(_CHALLENGE))
        return Speaker(self._anonymous)

    async def holder(self, token: str, address: str) -> Holder:
        """Whom a key stands for. Raises ProblemError (401, 429)."""
        mark = hashlib.sha256(token.encode(errors="replace")).digest()
        tries = self._tries_of(address)
        if mark not in self._good and tries.left < 1:
            after_s = max(1, math.ceil(tries.next_at() - self._clock.monotonic()))
            detail = f"Too many keys that open nothing came from {address}. Try in {after_s} s."
            headers = {"Retry-After": str(after_s), "Connection": "close"}
            raise ProblemError(429, "too_many_attempts", detail, headers)
        found = await self._catalog.ask(keys.holder_of, token)
        if isinstance(found, Holder):
            self._good[mark] = None
            if len(self._good) > _GOOD:
                self._good.popitem(last=False)
            return found
        self._good.pop(mark, None)
        tries.take(1)
        await self._tell(found, address)
        detail = "This key opens nothing: it is mistyped, revoked or expired."
        headers = {
            **_CHALLENGE,
            "WWW-Authenticate": 'Bearer realm="darkroom", error="invalid_token"',
        }
        raise ProblemError(401, "unauthenticated", detail, headers)

    async def goes_on(self, holder: Holder, asking: HTTPConnection) -> bool:
        """Whether who opened a WebSocket may still listen; yes while the catalog is away."""
        session = session_of(asking)
        try:
            if holder.session is not None and session is not None:
                return await self._catalog.ask(keys.holder_of_session, session) is not None
            return await self._catalog.ask(keys.holds, holder.key_id)
        except DATABASE_AWAY:
            return True

    async def _tell(self, stranger: Stranger, address: str) -> None:
        if self._told.take(1):
            await self._catalog.ask(keys.tell_stranger, stranger, address)
        _log.warning("key_refused", reason=stranger.reason, key=stranger.key_id, address=address)

    def _tries_of(self, address: str) -> LocalBucket:
        bucket = self._tries.pop(address, None) or LocalBucket(_TRIES, self._clock)
        self._tries[address] = bucket
        if len(self._tries) > _ADDRESSES:
            self._tries.popitem(last=False)
        return bucket


def address_of(asking: HTTPConnection) -> str:
    """Where a request comes from: of a proxy's, the proxy."""
    return asking.client.host if asking.client else "unknown"


def session_of(asking: HTTPConnection) -> str | None:
    """The session's secret that the request carries."""
    return asking.cookies.get(COOKIE) or None


def _token(header: str) -> str:
    scheme, _, token = header.strip().partition(" ")
    return token.strip() if scheme.lower() == "bearer" else ""


class Introduced:
    """ASGI middleware that tells the routes who asks (`scope["speaker"]`).

    Before a body is read, who has no key gets 401; of browsers that go to an address, with the page
    to sign in. `open_to_all` are such as "GET /livez", or begin with "/static/".
    """

    def __init__(self, app: ASGIApp, keeper: Keeper, open_to_all: Collection[str]) -> None:
        self._app, self._keeper, self._open = app, keeper, frozenset(open_to_all)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass the request on, or refuse it (a WebSocket alike)."""
        if scope["type"] == "lifespan" or self._is_open(scope):
            await self._app(scope, receive, send)
            return
        try:
            scope["speaker"] = await self._keeper.speaker(HTTPConnection(scope))
        except Exception as error:
            response = _page_for(scope, error) or problems.answered(error)
            if response is None:
                raise
            await response(scope, receive, send)
            return
        await self._app(scope, receive, send)

    def _is_open(self, scope: Scope) -> bool:
        if scope["type"] != "http":
            return False
        method = "GET" if scope["method"] == "HEAD" else scope["method"]
        path = scope["path"]
        return f"{method} {path}" in self._open or (method == "GET" and path.startswith("/static/"))


def _page_for(scope: Scope, error: Exception) -> Response | None:
    """Who goes to an address with a browser can sign in there."""
    if scope["type"] != "http" or not isinstance(error, ProblemError) or error.status_code != 401:
        return None
    headers = Headers(scope=scope)
    wants_page = scope["method"] == "GET" and "text/html" in headers.get("accept", "")
    if not wants_page or "authorization" in headers:
        return None
    return sign_in_page(dict(error.headers or {}))
