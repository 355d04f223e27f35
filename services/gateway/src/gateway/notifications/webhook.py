"""Webhooks, signed as Standard Webhooks 1.0 says, so that receivers have libraries for it.

https://github.com/standard-webhooks/standard-webhooks/blob/main/spec/standard-webhooks.md
"""

import asyncio
import base64
import hashlib
import hmac
import json
import time
from collections.abc import Callable, Mapping
from datetime import UTC
from importlib.metadata import version
from typing import Any, Final

import httpx

from gateway.catalog.deliveries import Due, Told
from gateway.notifications.sending import SendError
from gateway.notifications.targets import PREFIX

_ANSWER_S: Final = 10.0
"""From the first packet to the answer's head, however slowly it drips."""

_WORTH_ANOTHER_TRY: Final = frozenset({408, 425, 429})
"""Refusals that pass: of 4xx all others mean that the message is not wanted as it is."""

_AGENT: Final = f"darkroom/{version('darkroom-gateway')}"


def open_client() -> httpx.AsyncClient:
    """Keeps no connections: messages are few. Follows no redirect: who is told is what was set."""
    limits = httpx.Limits(max_keepalive_connections=0)
    return httpx.AsyncClient(timeout=_ANSWER_S, follow_redirects=False, limits=limits)


class Webhook:
    """Posts a notice as JSON; the answer's body is not read."""

    def __init__(self, client: httpx.AsyncClient, clock: Callable[[], float] = time.time) -> None:
        self._client = client
        self._clock = clock

    async def send(self, due: Due) -> None:
        """Raises SendError unless the answer is 2xx. Ends within 10 s."""
        url, secret = due.target["url"], due.target["secret"]
        host = httpx.URL(url).netloc.decode()
        content = body(due.told)
        headers = signed(secret, str(due.told.notice_id), int(self._clock()), content)
        try:
            async with (
                asyncio.timeout(_ANSWER_S),
                self._client.stream("POST", url, content=content, headers=headers) as answer,
            ):
                status = answer.status_code
        except (TimeoutError, httpx.TimeoutException) as error:
            raise SendError(f"{host} did not answer within {_ANSWER_S:g} s") from error
        except httpx.ConnectError as error:
            raise SendError(f"no connection to {host}: {error}") from error
        except httpx.TransportError as error:
            raise SendError(f"{host} broke off: {type(error).__name__}") from error
        _check(status, host)


def _check(status: int, host: str) -> None:
    if 200 <= status < 300:
        return
    said = f"{host} answered {status}"
    if phrase := httpx.codes.get_reason_phrase(status):
        said += f" {phrase}"
    if 300 <= status < 400:
        raise SendError(f"{said}: redirects are not followed; give its new address", final=True)
    final = 400 <= status < 500 and status not in _WORTH_ANOTHER_TRY
    raise SendError(said, final=final)


def body(told: Told) -> bytes:
    """The JSON that is posted: type, timestamp and data, the same for each try."""
    occurred_at = told.occurred_at.astimezone(UTC).isoformat(timespec="milliseconds")
    at = occurred_at.replace("+00:00", "Z")
    data: Mapping[str, Any] = {
        **{"notice_id": str(told.notice_id), "kind": told.kind, "service": told.service},
        **{"subject": told.subject, "severity": told.severity, "title": told.title},
        **{"detail": told.detail, "occurred_at": at},
    }
    message = {"type": f"notice.{told.kind}", "timestamp": at, "data": data}
    return json.dumps(message, ensure_ascii=False, separators=(",", ":")).encode()


def signed(secret: str, message_id: str, now_s: int, content: bytes) -> dict[str, str]:
    """The headers of a message that is sent at `now_s` since 1970. `message_id` stays the same for
    every try, so that the receiver can drop repetitions."""
    key = base64.b64decode(secret.removeprefix(PREFIX))
    message = f"{message_id}.{now_s}.".encode() + content
    mac = base64.b64encode(hmac.digest(key, message, hashlib.sha256)).decode()
    return {
        "content-type": "application/json",
        "user-agent": _AGENT,
        "webhook-id": message_id,
        "webhook-timestamp": str(now_s),
        "webhook-signature": f"v1,{mac}",
    }
