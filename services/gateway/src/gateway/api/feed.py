"""Where news come from: Redis, and the catalog itself while Redis is away."""

import asyncio
import json
import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Any, Final
from uuid import UUID

import psycopg
import psycopg_pool
import redis.asyncio
import structlog
from redis.exceptions import RedisError

from gateway.api.hub import Notice
from gateway.catalog.changes import Change

_log = structlog.get_logger("gateway.api.feed")

POLL_S: Final = 0.5
"""How often the catalog is looked into while Redis is away."""

SAFETY_POLL_S: Final = 10.0
"""How often the catalog is looked into while Redis is there: the recorder drops news for a while
after it lost Redis, whether or not we lost it too."""

_POLLS_PER_TRY: Final = 4
"""Looks between two tries to reach Redis again."""

_MOST_AT_ONCE: Final = 500

Look = Callable[[], Awaitable[Sequence[Change]]]
"""What changed lately, from the catalog."""

Deliver = Callable[[Sequence[Notice]], Awaitable[None]]
"""Takes the news further."""


def parse_notices(data: bytes) -> list[Notice]:
    """A message of the channel; none for what is none of ours (anyone can publish there)."""
    try:
        told = json.loads(data)
        return [_notice(one) for one in (told if isinstance(told, list) else [told])]
    except (ValueError, KeyError, TypeError, AttributeError):
        _log.warning("foreign_message_on_the_channel", size=len(data))
        return []


def _notice(told: Mapping[str, Any]) -> Notice:
    """Raises ValueError, KeyError, TypeError or AttributeError for what is none of ours."""
    match told["type"]:
        case "photo":
            batches = frozenset(UUID(each) for each in told.get("batches", ()))
            return Notice("photo", UUID(told["photo_id"]), batches)
        case "batch":
            return Notice("batch", UUID(told["batch_id"]))
        case "notice":
            return Notice("notice", UUID(told["notice_id"]))
        case other:
            raise ValueError(other)


class Feed:
    """One subscription for the whole process; `connected` says whether Redis is there."""

    def __init__(self, url: str, channel_name: str, look: Look, deliver: Deliver) -> None:
        self._url = url
        self._channel = channel_name
        self._look = look
        self._deliver = deliver
        self._known: dict[tuple[str, UUID], str] = {}
        self.connected = False

    async def run(self) -> None:
        """Bring news until cancelled."""
        while True:
            try:
                await self._listen()
            except (RedisError, OSError, TimeoutError) as error:
                if self.connected:
                    _log.warning("redis_lost", error=str(error))
            self.connected = False
            for _ in range(_POLLS_PER_TRY):
                await self.poll()
                await asyncio.sleep(POLL_S)

    async def poll(self) -> None:
        """Look into the catalog once and pass on what is new since the last look."""
        try:
            found = await self._look()
            fresh = [each for each in found if self._known.get((each.kind, each.id)) != each.state]
            await self._deliver([Notice(each.kind, each.id, each.batches) for each in fresh])
        except (psycopg.Error, psycopg_pool.PoolTimeout) as error:
            _log.warning("catalog_unavailable", error=str(error))
            return
        self._known = {(each.kind, each.id): each.state for each in found}

    async def _listen(self) -> None:
        client: Any = redis.asyncio.from_url(
            self._url, socket_connect_timeout=2, health_check_interval=10
        )
        async with client, client.pubsub(ignore_subscribe_messages=True) as subscription:
            await subscription.subscribe(self._channel)
            self.connected = True
            _log.info("redis_connected")
            await self._follow(subscription)

    async def _follow(self, subscription: Any) -> None:
        looked_at = float("-inf")
        while True:
            if time.monotonic() - looked_at >= SAFETY_POLL_S:
                looked_at = time.monotonic()
                await self.poll()  # at first, what happened before we heard
            notices = await _some(subscription)
            if notices:
                await self._pass_on(notices)

    async def _pass_on(self, notices: Sequence[Notice]) -> None:
        # A photo may be told twice, it is only shown anew; what people should know is not.
        fresh = [
            each
            for each in notices
            if each.kind != "notice" or ("notice", each.id) not in self._known
        ]
        try:
            await self._deliver(fresh)
            for each in fresh:
                if each.kind == "notice":
                    self._known["notice", each.id] = ""
        except (psycopg.Error, psycopg_pool.PoolTimeout) as error:
            _log.warning("catalog_unavailable", error=str(error))
            self._known.clear()  # the next look tells all that was missed
            await asyncio.sleep(POLL_S)
            await self.poll()


async def _some(subscription: Any) -> list[Notice]:
    """What has come by now, without doubles; waits up to a second for the first message."""
    notices: dict[Notice, None] = {}
    message = await subscription.get_message(timeout=1.0)
    while message is not None:
        notices.update(dict.fromkeys(parse_notices(message["data"])))
        if len(notices) >= _MOST_AT_ONCE:
            break
        message = await subscription.get_message(timeout=0.0)
    return list(notices)
