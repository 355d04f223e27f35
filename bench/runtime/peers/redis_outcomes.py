"""Counts the outcomes that a peer writes into a Redis list."""

import json
import os
from collections.abc import Sequence
from typing import Any, Final, cast

import redis

_MOST: Final = 500


class RedisOutcomes:
    """Takes outcomes off the list."""

    def __init__(self, key: str) -> None:
        self._key = key
        self._redis: Any = redis.Redis.from_url(os.environ["DARKROOM_REDIS"])

    def arrived(self, timeout_s: float) -> Sequence[str]:
        """See Target."""
        first = self._redis.blpop([self._key], timeout=timeout_s)
        if first is None:
            return ()
        rest = cast(list[bytes], self._redis.lpop(self._key, _MOST) or [])
        return [str(json.loads(text)["photo_id"]) for text in (first[1], *rest)]
