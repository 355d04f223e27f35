"""A load's view of Dramatiq."""

from bench.runtime.peers import dramatiq_actors
from bench.runtime.peers.redis_outcomes import RedisOutcomes
from bench.runtime.workload import Event


class FanOut(RedisOutcomes):
    """Each photo is a group of three messages with a completion callback."""

    def send(self, request: Event) -> None:
        """See Target."""
        dramatiq_actors.fan_out(request)

    def flush(self) -> None:
        """Sending waits for Redis."""


def fan_out() -> FanOut:
    """The Target of the fan-out."""
    return FanOut(dramatiq_actors.OUTCOMES)
