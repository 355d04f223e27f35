"""The ways by which a notice is sent, one for each kind of channel."""

import asyncio
import json
import threading
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any, Final, TypeVar

import redis.asyncio
import structlog
from redis.backoff import NoBackoff
from redis.exceptions import RedisError
from redis.retry import Retry

from gateway.catalog.deliveries import Due
from gateway.catalog.notice_shapes import ChannelKind
from gateway.news import channel
from gateway.notifications.mail import Mailer
from gateway.notifications.mail_server import HOW
from gateway.notifications.sending import SendError
from gateway.notifications.webhook import Webhook, open_client

_log = structlog.get_logger("gateway.notices")

T = TypeVar("T")

Way = Callable[[Due], Awaitable[str | None]]
"""Sends; what to remark about it, if anything. Raises SendError; anything else is a defect."""

_REDIS_S: Final = 2.0


@dataclass(frozen=True, slots=True)
class WayMeans:
    """What the ways need."""

    redis: str
    topic_prefix: str
    mailer: Mailer | None


@asynccontextmanager
async def open_ways(means: WayMeans) -> AsyncIterator[Mapping[ChannelKind, Way]]:
    """Every way, for as long as the context lasts."""
    broadcast: Any = redis.asyncio.from_url(
        means.redis,
        socket_timeout=_REDIS_S,
        socket_connect_timeout=_REDIS_S,
        retry=Retry(NoBackoff(), 0),
    )
    async with open_client() as client, broadcast:
        webhook = Webhook(client)

        async def email(due: Due) -> str | None:
            mailer = means.mailer
            if mailer is None:
                raise SendError(HOW)
            return await _in_thread(lambda: mailer.send(due))

        async def websocket(due: Due) -> None:
            news = {"type": "notice", "notice_id": str(due.told.notice_id)}
            try:
                await broadcast.publish(channel(means.topic_prefix), json.dumps(news))
            except (RedisError, OSError) as error:
                raise SendError(f"no answer from Redis: {error}") from error

        yield {"log": log, "webhook": webhook.send, "email": email, "websocket": websocket}


async def log(due: Due) -> None:
    """A line in the control door's log."""
    told = due.told
    say = {"info": _log.info, "warning": _log.warning}.get(told.severity, _log.critical)
    say(
        "notice",
        notice=str(told.notice_id),
        kind=told.kind,
        said_by=told.service,
        subject=told.subject,
        title=told.title,
        detail=told.detail,
        at=told.occurred_at.isoformat(),
    )


async def _in_thread(work: Callable[[], T]) -> T:
    """What blocking work gives. Its thread ends with the process: nobody waits for a server that
    hangs when Darkroom stops."""
    loop = asyncio.get_running_loop()
    answer: asyncio.Future[T] = loop.create_future()

    def settle(result: Callable[[], None]) -> None:
        if not answer.done():
            result()

    def run() -> None:
        try:
            found = work()
        except Exception as error:  # noqa: BLE001 - raised again where it is awaited
            _call(loop, settle, lambda error=error: answer.set_exception(error))
        else:
            _call(loop, settle, lambda: answer.set_result(found))

    threading.Thread(target=run, name="mail", daemon=True).start()
    return await answer


def _call(loop: asyncio.AbstractEventLoop, settle: Callable[..., None], result: object) -> None:
    try:
        loop.call_soon_threadsafe(settle, result)
    except RuntimeError:  # the loop has ended, nobody waits any more
        return
