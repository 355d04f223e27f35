"""Where a channel leads to, as people give it, checked. Errors are sentences for them."""

import base64
import binascii
import re
import secrets
from collections.abc import Sequence
from typing import Final
from urllib.parse import urlsplit

import httpx

_URL_CHARS: Final = 2000
_MOST_ADDRESSES: Final = 20
_ADDRESS_CHARS: Final = 254
"""RFC 5321, 4.5.3.1.3, without the angle brackets."""

_ADDRESS: Final = re.compile(r"[\w.!#$%&'*+/=?^`{|}~-]+@[a-z0-9-]+(\.[a-z0-9-]+)*", re.A | re.I)
"""As browsers have it for <input type=email> (HTML, "valid e-mail address"): no quotes, no
comments, nothing that could end a header."""

PREFIX: Final = "whsec_"
_LEAST_BYTES, _MOST_BYTES, _OUR_BYTES = 24, 64, 32
"""Standard Webhooks, "Signature scheme": 24 to 64 random bytes."""


class TargetError(ValueError):
    """It leads nowhere; the message says why and what helps."""


def checked_url(url: str) -> str:
    """The URL of a webhook. Raises TargetError."""
    try:
        parsed = httpx.URL(url)
        plain = urlsplit(url)
        usable = bool(parsed.host) and plain.hostname is not None and plain.port != 0
    except (httpx.InvalidURL, ValueError) as error:
        raise TargetError("url: not a URL.") from error
    if len(url) > _URL_CHARS or not url.isprintable() or " " in url:
        raise TargetError(f"url: at most {_URL_CHARS} characters, without spaces.")
    if plain.scheme not in ("http", "https") or not usable:
        raise TargetError("url: give one that begins with https:// or http:// and names a host.")
    if "@" in plain.netloc:
        raise TargetError("url: without user and password; messages are signed instead.")
    return url


def checked_secret(secret: str) -> str:
    """The secret of a webhook's signature. Raises TargetError, which does not repeat it."""
    try:
        key = base64.b64decode(secret.removeprefix(PREFIX), validate=True)
    except (binascii.Error, ValueError):
        key = b""
    if not secret.startswith(PREFIX) or not _LEAST_BYTES <= len(key) <= _MOST_BYTES:
        wanted = f"{PREFIX} and {_LEAST_BYTES} to {_MOST_BYTES} random bytes in Base64"
        raise TargetError(f"secret: {wanted}; leave it out and Darkroom makes one.")
    return secret


def new_secret() -> str:
    """A secret that nobody knows yet."""
    return PREFIX + base64.b64encode(secrets.token_bytes(_OUR_BYTES)).decode()


def checked_addresses(addresses: Sequence[str]) -> list[str]:
    """Addresses of an email, each once. Raises TargetError."""
    if not 1 <= len(addresses) <= _MOST_ADDRESSES:
        raise TargetError(f"to: give 1 to {_MOST_ADDRESSES} addresses.")
    for address in addresses:
        if len(address) > _ADDRESS_CHARS or not _ADDRESS.fullmatch(address):
            raise TargetError(f"to: {address[:60]!a} is no address such as ada@example.com.")
    return list(dict.fromkeys(addresses))
