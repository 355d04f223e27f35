"""From where this door may be spoken to: by its own names, and by no foreign web page.

On the loopback nobody needs a key, and elsewhere browsers send their session by themselves; any web
page that a user visits can send requests there. Two rules keep those out: the Host header must be a
name of ours (DNS rebinding makes a foreign name point here), and what changes something or opens a
WebSocket must not come from another origin.
"""

from collections.abc import Collection
from typing import Final
from urllib.parse import urlsplit

from starlette.datastructures import Headers
from starlette.types import ASGIApp, Receive, Scope, Send

from gateway.api import problems

LOOPBACK: Final = ("localhost", "127.0.0.1", "[::1]")
"""Host names that always mean this machine."""

_SAFE: Final = frozenset({"GET", "HEAD", "OPTIONS"})
_PORTS: Final = {"http": 80, "https": 443}
_PORT_DIGITS: Final = 5


def host_allowed(host: str, allowed: Collection[str]) -> bool:
    """Whether a Host header (`name` or `name:port`) names us; `*` in `allowed` admits all."""
    name, _ = _split(host)
    return "*" in allowed or (bool(name) and name in {each.lower() for each in allowed})


def origin_allowed(origin: str | None, host: str) -> bool:
    """Whether a request with this Origin header may change something at `host`.

    Programs that are no browsers send none, and may. The scheme is not compared: behind a proxy
    that ends TLS we do not know it.
    """
    if origin is None:
        return True
    try:
        parts = urlsplit(origin)
    except ValueError:  # such as half a bracket
        return False
    if parts.scheme not in _PORTS or not parts.netloc:
        return False
    default = _PORTS[parts.scheme]
    name, port = _split(parts.netloc)
    our_name, our_port = _split(host)
    return (name, port or default) == (our_name, our_port or default)


def _split(host: str) -> tuple[str, int | None]:
    """Name in lower case (IPv6 in brackets) and port; an empty name for what is no host."""
    name, colon, port = host.strip().lower().rpartition(":")
    if not colon or name.count("[") != name.count("]"):
        return host.strip().lower(), None
    return (name, int(port)) if port.isdecimal() and len(port) <= _PORT_DIGITS else ("", None)


class Guard:
    """ASGI middleware that refuses strangers before any route is asked."""

    def __init__(self, app: ASGIApp, allowed_hosts: Collection[str]) -> None:
        self._app = app
        self._allowed = (*LOOPBACK, *allowed_hosts)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass the request on, or answer 421 or 403 (a WebSocket is refused alike)."""
        refusal = None if scope["type"] == "lifespan" else self._refusal(scope)
        if refusal is None:
            await self._app(scope, receive, send)
            return
        response = problems.answer(*refusal, headers={"Connection": "close"})
        await response(scope, receive, send)

    def _refusal(self, scope: Scope) -> tuple[int, str, str] | None:
        headers = Headers(scope=scope)
        host = headers.get("host", "")
        if not host_allowed(host, self._allowed):
            detail = "This name is not one of Darkroom's; see the setting DARKROOM_ALLOWED_HOSTS."
            return 421, "host_not_allowed", detail
        if scope["type"] == "http" and scope["method"] in _SAFE:
            return None
        foreign = headers.get("sec-fetch-site") in ("cross-site", "same-site")
        if foreign or not origin_allowed(headers.get("origin"), host):
            return 403, "foreign_origin", "Another site's page may not do this."
        return None
