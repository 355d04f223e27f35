"""A stage's tokens in Redis, by Redis' own clock."""

import contextlib
from typing import Final, cast
from uuid import uuid4

import redis
from redis.backoff import NoBackoff
from redis.retry import Retry

from streamkit.rate import Answer, Rate, TokensAwayError

TIMEOUT_S: Final = 0.2
"""Only the bucket's own thread waits so long. More than Redis ever takes, so that a busy machine
is not taken for an absent Redis."""

_ALIVE_S: Final = 10
"""A worker that Redis has not heard of for so long no longer counts."""

_SCRIPT: Final = """
local empty_key, members_key = KEYS[1], KEYS[2]
local wanted, interval, burst = tonumber(ARGV[1]), tonumber(ARGV[2]), tonumber(ARGV[3])
local member, alive_us = ARGV[4], tonumber(ARGV[5])
local time = redis.call('TIME')
local now = tonumber(time[1]) * 1000000 + tonumber(time[2])

redis.call('ZADD', members_key, string.format('%.0f', now), member)
redis.call('ZREMRANGEBYSCORE', members_key, '-inf', string.format('%.0f', now - alive_us))
redis.call('PEXPIRE', members_key, string.format('%.0f', alive_us / 1000))

local full = now - burst * interval
local empty = tonumber(redis.call('GET', empty_key) or full)
empty = math.min(math.max(empty, full), now)
local granted = math.min(wanted, math.floor((now - empty) / interval + 0.000001))
empty = math.min(math.max(empty + granted * interval, full), now)
local life_ms = burst * interval / 1000 + 1000
redis.call('SET', empty_key, string.format('%.3f', empty), 'PX', string.format('%.0f', life_ms))
return {granted, math.ceil(math.max(0, empty + interval - now)),
        redis.call('ZCARD', members_key)}
"""
"""The generic cell rate algorithm (ITU-T I.371), kept as the moment at which the bucket was empty:
one token for each `interval` since, at most `burst`. Microseconds. A negative `wanted` gives
tokens back. Every call also counts its worker among those that are there."""


def connect_redis(url: str) -> "redis.Redis":
    """A client that answers within TIMEOUT_S or fails. Connects when first asked.

    Raises ValueError for a URL that is none.
    """
    return redis.Redis.from_url(
        url,
        socket_timeout=TIMEOUT_S,
        socket_connect_timeout=TIMEOUT_S,
        retry=Retry(NoBackoff(), 0),
    )


class RedisTokens:
    """Tokens under `key`, of which all who name that key have part. See Tokens."""

    def __init__(self, client: "redis.Redis", key: str, member: str = "") -> None:
        self._client = client
        self._script = client.register_script(_SCRIPT)
        # One hash tag, so that both keys lie on one node of a cluster.
        self._keys = [f"{{{key}}}:empty", f"{{{key}}}:workers"]
        self._member = member or uuid4().hex

    def ask(self, wanted: int, rate: Rate) -> Answer:
        """See Tokens."""
        interval_us = 1e6 / rate.per_s
        arguments: list[str | int] = [
            wanted,
            repr(interval_us),
            rate.burst,
            self._member,
            _ALIVE_S * 1_000_000,
        ]
        try:
            answer = cast(list[int], self._script(keys=self._keys, args=arguments))
        except redis.RedisError as error:
            raise TokensAwayError(f"{type(error).__name__}: {error}") from error
        granted, wait_us, workers = answer
        return Answer(granted, wait_us / 1e6, workers)

    def leave(self) -> None:
        """See Tokens."""
        with contextlib.suppress(redis.RedisError):
            self._client.zrem(self._keys[1], self._member)
