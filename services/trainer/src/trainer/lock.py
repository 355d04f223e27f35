"""One trainer at a time for a model, and a token that tells the later one from the earlier one.

The lock is in Redis and ends by itself, so that nobody waits for who is gone; nothing is safe
because of it. Safe is the token: it rises with everyone who takes the lock, and the registry takes
nothing by a lower one than it knows.
"""

import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final, cast
from uuid import uuid4

import redis
import structlog

_log = structlog.get_logger("trainer.lock")

_TOKEN_LIFE_S: Final = 90 * 86_400
"""Of the last token of a model; the registry remembers it for longer than that."""

_RETRY_S: Final = 1.0
"""Between tries to renew once one has failed."""

_TAKE: Final = """
local holder = redis.call('GET', KEYS[1])
if holder and holder ~= ARGV[1] then
  return {0, redis.call('PTTL', KEYS[1]), holder}
end
local token = math.max(tonumber(redis.call('GET', KEYS[2]) or 0), tonumber(ARGV[3])) + 1
redis.call('SET', KEYS[2], string.format('%.0f', token), 'EX', ARGV[4])
redis.call('SET', KEYS[1], ARGV[1], 'PX', ARGV[2])
return {token, 0, ARGV[1]}
"""

_RENEW: Final = """
local holder = redis.call('GET', KEYS[1])
local token = tonumber(redis.call('GET', KEYS[2]) or 0)
if (holder and holder ~= ARGV[1]) or token > tonumber(ARGV[3]) then
  return 0
end
redis.call('SET', KEYS[2], ARGV[3], 'EX', ARGV[4])
redis.call('SET', KEYS[1], ARGV[1], 'PX', ARGV[2])
return 1
"""
"""A lock that ended, or that a Redis has forgotten, is taken again if nobody had it meanwhile."""

_RELEASE: Final = """
if redis.call('GET', KEYS[1]) == ARGV[1] then
  redis.call('DEL', KEYS[1])
end
"""


class RedisAway(Exception):  # noqa: N818 - it says what is, as instructions do
    """Nobody knows who has the lock."""


class LockLost(Exception):  # noqa: N818 - likewise
    """Another trainer has, or had, the lock."""


@dataclass(frozen=True, slots=True)
class Taken:
    """Another has the lock: who, and for how long if it does not renew."""

    holder: str
    left_s: float


class Locks:
    """The locks of all models; `prefix` is the installation's, `worker` who takes them."""

    def __init__(self, client: "redis.Redis", prefix: str, worker: str, ttl_s: float) -> None:
        self.client = client
        self.prefix = prefix
        self.worker = worker
        self.ttl_s = ttl_s
        self.scripts = {
            name: client.register_script(text)
            for name, text in (("take", _TAKE), ("renew", _RENEW), ("release", _RELEASE))
        }

    def take(self, model: str, fence: int) -> "Held | Taken":
        """The lock of a model (`owner:name`), with a token above `fence` and all before.

        Raises RedisAway.
        """
        holder = f"{self.worker} {uuid4().hex}"
        since = time.monotonic()
        token, left_ms, other = cast("list[Any]", self.call("take", model, holder, fence))
        if not token:
            return Taken(str(other, "utf-8", "replace").partition(" ")[0], max(left_ms, 0) / 1000)
        return Held(self, model, holder, int(token), since)

    def call(self, script: str, model: str, holder: str, number: int) -> object:
        """What a script says. Raises RedisAway."""
        key = f"{{{self.prefix}darkroom:training:{model}}}"  # one hash tag: one node of a cluster
        keys, ttl_ms = [f"{key}:lock", f"{key}:token"], round(self.ttl_s * 1000)
        try:
            return self.scripts[script](keys=keys, args=[holder, ttl_ms, number, _TOKEN_LIFE_S])
        except redis.RedisError as error:
            raise RedisAway(f"{type(error).__name__}: {error}") from error


class Held:
    """A lock that is ours, renewed by a thread of its own until `release`."""

    def __init__(
        self,
        locks: Locks,
        model: str,
        holder: str,
        token: int,
        since: float,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.token = token
        self._locks = locks
        self._model = model
        self._holder = holder
        self._clock = clock
        self._ends = since + locks.ttl_s
        self._lost = False
        self._renewing = threading.Lock()
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._run, name="training-lock", daemon=True)
        self._thread.start()

    def check(self) -> None:
        """Raises LockLost, or RedisAway where Redis has been silent for longer than a lock lasts.

        Cheap; from any thread. Who was stopped (suspended, swapped out) for longer than that finds
        out here, before the thread that renews does.
        """
        if self._lost:
            raise LockLost("another trainer has the lock")
        if self._clock() >= self._ends:
            self.renew()

    def confirm(self) -> None:
        """As `check`, but Redis is asked. No answer is no harm while the lock lasts."""
        try:
            self.renew()
        except RedisAway:
            if self._clock() >= self._ends:
                raise
        self.check()

    def renew(self) -> None:
        """Have it for longer. Raises LockLost, RedisAway."""
        with self._renewing:
            if self._over.is_set():
                return
            since = self._clock()
            if not self._locks.call("renew", self._model, self._holder, self.token):
                self._lost = True
                raise LockLost("another trainer has the lock")
            self._ends = since + self._locks.ttl_s

    def release(self) -> None:
        """Let others have it. Where Redis is away it ends by itself."""
        with self._renewing:
            self._over.set()
        self._thread.join()
        try:
            self._locks.call("release", self._model, self._holder, self.token)
        except RedisAway as error:
            _log.warning("lock_not_released", model=self._model, reason=str(error))

    def _run(self) -> None:
        every_s = self._locks.ttl_s / 3
        wait_s = every_s
        while not self._over.wait(wait_s):
            wait_s = every_s
            try:
                self.renew()
            except RedisAway as error:
                wait_s = min(_RETRY_S, every_s)
                _log.warning("lock_not_renewed", model=self._model, reason=str(error))
            except LockLost:
                _log.warning("lock_lost", model=self._model, token=self.token)
                return
