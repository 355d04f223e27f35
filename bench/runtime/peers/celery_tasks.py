"""Celery's side: three tasks and a chord's callback, or one task that burns CPU.

Settings come from the environment (see `celery_settings`), since Celery's own command starts it.
"""

import json
import os
from collections.abc import Mapping, Sequence
from functools import cache
from typing import Any, Final

import redis
from bench.runtime import workload
from celery import Celery, chord  # type: ignore[import-untyped]

OUTCOMES: Final = "bench:outcomes"
"""A Redis list into which outcomes are written as JSON, and from which they are counted."""

HIGH, BATCH = 0, 9
"""Priorities on Redis: 0 is the first to go."""

_REDIS: Final = os.environ["DARKROOM_REDIS"]
_BURN_MS: Final = float(os.environ.get("BENCH_BURN_MS", "0"))

app = Celery("bench", broker=_REDIS, backend=_REDIS)
app.conf.update(
    task_acks_late=True,
    task_serializer="json",
    result_serializer="json",
    accept_content=["json"],
    worker_send_task_events=False,
    task_default_queue="photos",
    task_default_priority=BATCH,
    broker_transport_options={
        "queue_order_strategy": "priority",
        "priority_steps": [HIGH, BATCH],
    },
    broker_connection_retry_on_startup=True,
)


@cache
def _redis() -> Any:
    """This process's connection; made after the fork."""
    return redis.Redis.from_url(_REDIS)


@app.task  # type: ignore[untyped-decorator]
def detect(request: Mapping[str, Any]) -> dict[str, Any]:
    """The detector."""
    return workload.part(request, "detector")


@app.task  # type: ignore[untyped-decorator]
def read(request: Mapping[str, Any]) -> dict[str, Any]:
    """The OCR."""
    return workload.part(request, "ocr")


@app.task  # type: ignore[untyped-decorator]
def embed(request: Mapping[str, Any]) -> dict[str, Any]:
    """The embedder."""
    return workload.part(request, "embedder")


@app.task(ignore_result=True)  # type: ignore[untyped-decorator]
def join(parts: Sequence[Mapping[str, Any]]) -> None:
    """The outcome, to where it is counted."""
    _redis().rpush(OUTCOMES, json.dumps(workload.outcome(parts)))


@app.task(ignore_result=True)  # type: ignore[untyped-decorator]
def work(request: Mapping[str, Any]) -> None:
    """A stage on its own whose engine uses CPU."""
    workload.burn(_BURN_MS)
    _redis().rpush(OUTCOMES, json.dumps(workload.part(request, "detector")))


def fan_out(request: Mapping[str, Any]) -> None:
    """Send a photo to all three and have their parts joined."""
    chord([detect.s(request), read.s(request), embed.s(request)])(join.s())
