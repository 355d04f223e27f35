"""News of what was recorded, on Redis: whoever waits for a photo or a batch looks again."""

import json
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final, Protocol

import structlog
from redis import Redis
from redis.backoff import NoBackoff
from redis.exceptions import RedisError
from redis.retry import Retry

from gateway.metrics import NEWS_LOST
from gateway.news import channel

_log = structlog.get_logger("gateway.news")

_TIMEOUT_S: Final = 0.5
_WARN_EVERY_S: Final = 60.0
_TRY_AGAIN_S: Final = 1.0
"""While Redis is away, recording must not wait for it at every record."""


class Publishes(Protocol):
    """The part of a Redis client that is needed here."""

    def publish(self, channel: str, message: str, /) -> Any:
        """Raises RedisError."""
        ...


def open_redis(url: str) -> Redis:
    """A client that gives up soon: news is worth less than recording."""
    return Redis.from_url(
        url,
        socket_timeout=_TIMEOUT_S,
        socket_connect_timeout=_TIMEOUT_S,
        retry=Retry(NoBackoff(), 0),
    )


def photo_news(photo_id: str, analysis_id: str, batches: Sequence[str]) -> Mapping[str, object]:
    """Something new is recorded of an analysis; `batches` are the imports that wait for it."""
    return {
        "type": "photo",
        "photo_id": photo_id,
        "analysis_id": analysis_id,
        "batches": list(batches),
    }


def batch_news(batch_id: str) -> Mapping[str, object]:
    """An import's totals changed."""
    return {"type": "batch", "batch_id": batch_id}


class News:
    """Publishes news and goes on without Redis, with a warning once a minute and a metric."""

    def __init__(
        self, redis: Publishes, prefix: str, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._redis = redis
        self._channel = channel(prefix)
        self._clock = clock
        self._not_before = float("-inf")
        self._warned_at = float("-inf")

    def tell(self, news: Sequence[Mapping[str, object]]) -> None:
        """Publish these as one message, or count them as lost."""
        if not news:
            return
        if self._clock() < self._not_before:
            NEWS_LOST.inc(len(news))
            return
        try:
            self._redis.publish(self._channel, json.dumps(news))
        except RedisError as error:
            NEWS_LOST.inc(len(news))
            self._not_before = self._clock() + _TRY_AGAIN_S
            self._warn(error)

    def _warn(self, error: RedisError) -> None:
        if self._clock() - self._warned_at >= _WARN_EVERY_S:
            self._warned_at = self._clock()
            _log.warning("redis_away", reason=str(error))
