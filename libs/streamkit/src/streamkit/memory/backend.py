"""The Backend in memory."""

from collections.abc import Sequence

from streamkit.memory.broker import MemoryBroker
from streamkit.memory.consumer import MemoryConsumer
from streamkit.memory.producer import MemoryProducer
from streamkit.ports import Listener


class MemoryBackend:
    """A Backend on a MemoryBroker, which workers and tests share."""

    def __init__(self, broker: MemoryBroker) -> None:
        self._broker = broker

    def consumer(self, group: str, topics: Sequence[str], listener: Listener) -> MemoryConsumer:
        """See Backend."""
        return MemoryConsumer(self._broker, group, topics, listener)

    def producer(self, client: str) -> MemoryProducer:  # noqa: ARG002 - nobody asks who it is
        """See Backend."""
        return MemoryProducer(self._broker)

    def missing(self, topics: Sequence[str]) -> list[str]:  # noqa: ARG002 - all come into being
        """See Backend."""
        return []
