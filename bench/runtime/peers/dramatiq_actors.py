"""Dramatiq's side: three actors and a group's completion callback.

Parts wait in a Redis hash until the callback joins them: cheaper than Dramatiq's result backend.
"""

import json
import os
from collections.abc import Mapping
from functools import cache
from typing import Any, Final

import dramatiq
import redis
from bench.runtime import workload
from dramatiq.brokers.redis import RedisBroker
from dramatiq.middleware import GroupCallbacks
from dramatiq.rate_limits.backends import RedisBackend

OUTCOMES: Final = "bench:outcomes"
_REDIS: Final = os.environ["DARKROOM_REDIS"]

broker: Any = RedisBroker(url=_REDIS)  # type: ignore[no-untyped-call]
broker.add_middleware(GroupCallbacks(RedisBackend(url=_REDIS)))
dramatiq.set_broker(broker)


@cache
def _redis() -> Any:
    """This process's connections; made after the fork."""
    return redis.Redis.from_url(_REDIS)


def _parts_of(analysis: str) -> str:
    return f"bench:parts:{analysis}"


def _keep(request: Mapping[str, Any], stage: str) -> None:
    made = json.dumps(workload.part(request, stage))
    _redis().hset(_parts_of(request["analysis_id"]), stage, made)


@dramatiq.actor
def detect(request: dict[str, Any]) -> None:
    """The detector."""
    _keep(request, "detector")


@dramatiq.actor
def read(request: dict[str, Any]) -> None:
    """The OCR."""
    _keep(request, "ocr")


@dramatiq.actor
def embed(request: dict[str, Any]) -> None:
    """The embedder."""
    _keep(request, "embedder")


@dramatiq.actor
def join(analysis: str) -> None:
    """The outcome, to where it is counted; the parts go only then, for it may be repeated."""
    key = _parts_of(analysis)
    found = _redis().hgetall(key)
    parts = [json.loads(found[stage.encode()]) for stage in workload.STAGES]
    with _redis().pipeline(transaction=False) as both:
        both.rpush(OUTCOMES, json.dumps(workload.outcome(parts)))
        both.delete(key)
        both.execute()


def fan_out(request: dict[str, Any]) -> None:
    """Send a photo to all three and have their parts joined."""
    stages = [one.message(request) for one in (detect, read, embed)]
    group: Any = dramatiq.group(stages)  # type: ignore[no-untyped-call]
    group.add_completion_callback(join.message(request["analysis_id"]))
    group.run()
