"""Tokens in Redis, by Redis' own clock: for the threads of workers, and for event loops."""

import contextlib
from collections.abc import Sequence
from typing import Any, Final, cast
from uuid import uuid4

import redis
import redis.asyncio
from redis.asyncio.retry import Retry as AsyncRetry
from redis.backoff import NoBackoff
from redis.retry import Retry

from streamkit.rate import Answer, Rate, TokensAwayError

TIMEOUT_S: Final = 0.2
"""Only the bucket's own thread waits so long. More than Redis ever takes, so that a busy machine
is not taken for an absent Redis."""

_LOOP_TIMEOUT_S: Final = 2.0
"""The same in an event loop, where requests share few connections and whatever else keeps the loop
or the machine busy counts, too: with 0.5 s a busy door took Redis for absent, and let more in."""

_CONNECTIONS: Final = 8
"""Of an event loop; who finds none free waits for one."""

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
if granted ~= 0 then
  empty = math.min(math.max(empty + granted * interval, full), now)
  local life_ms = burst * interval / 1000 + 1000
  redis.call('SET', empty_key, string.format('%.3f', empty), 'PX', string.format('%.0f', life_ms))
end
return {granted, math.ceil(math.max(0, empty + interval - now)),
        redis.call('ZCARD', members_key), string.format('%.6f', (now - empty) / interval)}
"""
"""The generic cell rate algorithm (ITU-T I.371), kept as the moment at which the bucket was empty:
one token for each `interval` since, at most `burst`. Microseconds. A negative `wanted` gives
tokens back. Every call also counts its worker among those that are there.

A moment says nothing of a rate: who asks at another one (see Rate.times) takes from the same bucket
at its own price. So only what is granted moves it; who asks and gets nothing, at a rate that lets a
bucket hold less, takes nothing away from the others."""


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


def connect_async_redis(url: str) -> "redis.asyncio.Redis":
    """The same for an event loop; it answers within half a second or fails."""
    pool = redis.asyncio.BlockingConnectionPool.from_url(
        url,
        max_connections=_CONNECTIONS,
        timeout=_LOOP_TIMEOUT_S,
        socket_timeout=_LOOP_TIMEOUT_S,
        socket_connect_timeout=_LOOP_TIMEOUT_S,
        retry=AsyncRetry(NoBackoff(), 0),
    )
    return redis.asyncio.Redis.from_pool(pool)


class _Call:
    """The script's keys and arguments, and how its answer is read."""

    def __init__(self, key: str, member: str) -> None:
        # One hash tag, so that both keys lie on one node of a cluster.
        self.keys = [f"{{{key}}}:empty", f"{{{key}}}:workers"]
        self.member = member or uuid4().hex

    def arguments(self, wanted: int, rate: Rate) -> list[str | int]:
        interval_us = 1e6 / rate.per_s
        return [wanted, repr(interval_us), rate.burst, self.member, _ALIVE_S * 1_000_000]

    @staticmethod
    def answer(told: Sequence[Any]) -> Answer:
        granted, wait_us, workers, left = told
        return Answer(granted, wait_us / 1e6, workers, float(left))


class RedisTokens:
    """Tokens under `key`, of which all who name that key have part. See Tokens."""

    def __init__(self, client: "redis.Redis", key: str, member: str = "") -> None:
        self._client = client
        self._script = client.register_script(_SCRIPT)
        self._call = _Call(key, member)

    def ask(self, wanted: int, rate: Rate) -> Answer:
        """See Tokens."""
        arguments = self._call.arguments(wanted, rate)
        try:
            told = cast(Sequence[Any], self._script(keys=self._call.keys, args=arguments))
        except redis.RedisError as error:
            raise TokensAwayError(f"{type(error).__name__}: {error}") from error
        return self._call.answer(told)

    def leave(self) -> None:
        """See Tokens."""
        with contextlib.suppress(redis.RedisError):
            self._client.zrem(self._call.keys[1], self._call.member)


class AsyncRedisTokens:
    """The same tokens for an event loop, by a client of their own. See AsyncTokens."""

    def __init__(self, client: "redis.asyncio.Redis", key: str, member: str = "") -> None:
        self._client = client
        self._script = client.register_script(_SCRIPT)
        self._call = _Call(key, member)

    async def ask(self, wanted: int, rate: Rate) -> Answer:
        """See AsyncTokens."""
        arguments = self._call.arguments(wanted, rate)
        try:
            told = cast(Sequence[Any], await self._script(keys=self._call.keys, args=arguments))
        # A connection that breaks inside asyncio raises more than RedisError, and a limit must not
        # fail who asks.
        except Exception as error:
            raise TokensAwayError(f"{type(error).__name__}: {error}") from error
        return self._call.answer(told)

    async def leave(self) -> None:
        """See AsyncTokens."""
        with contextlib.suppress(Exception):
            await self._client.zrem(self._call.keys[1], self._call.member)
            await self._client.aclose()
