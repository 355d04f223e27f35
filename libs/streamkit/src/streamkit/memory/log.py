"""Reading topics of a broker in memory as they lie there."""

from collections.abc import Iterator

from streamkit.memory.broker import MemoryBroker
from streamkit.records import Partition, Taken


class MemoryLog:
    """A Log on a MemoryBroker. Every topic exists there, since it comes into being when named."""

    def __init__(self, broker: MemoryBroker) -> None:
        self._broker = broker

    def has(self, topic: str) -> bool:
        """See Log."""
        return self._broker.partitions_of(topic) > 0

    def records(self, topic: str) -> Iterator[Taken]:
        """See Log."""
        return iter(self._broker.records(topic))

    def record(self, topic: str, partition: int, offset: int) -> Taken | None:
        """See Log."""
        found = self._broker.read(Partition(topic, partition), offset, 1)
        return found[0] if found and found[0].offset == offset else None
