"""A load's view of Celery."""

from bench.runtime.peers import celery_tasks
from bench.runtime.peers.redis_outcomes import RedisOutcomes
from bench.runtime.workload import Event
from celery._state import _set_task_join_will_block  # type: ignore[import-untyped]

# As in Celery's own workers: results are then not subscribed to by whoever sends. Nobody waits for
# them here, and subscribing to each would only slow Celery down.
_set_task_join_will_block(True)


class FanOut(RedisOutcomes):
    """Each photo is a chord of three tasks."""

    def send(self, request: Event) -> None:
        """See Target."""
        celery_tasks.fan_out(request)

    def flush(self) -> None:
        """Sending waits for Redis."""


class Single(RedisOutcomes):
    """Each photo is one task."""

    def send(self, request: Event) -> None:
        """See Target."""
        urgent = request["lane"] == "high"
        priority = celery_tasks.HIGH if urgent else celery_tasks.BATCH
        celery_tasks.work.apply_async((request,), priority=priority)

    def flush(self) -> None:
        """Sending waits for Redis."""


def fan_out() -> FanOut:
    """The Target of the fan-out."""
    return FanOut(celery_tasks.OUTCOMES)


def single() -> Single:
    """The Target of one stage."""
    return Single(celery_tasks.OUTCOMES)
