"""Records as they go over the wire: what every module passes on and none looks into needlessly."""

from collections.abc import Mapping
from typing import NamedTuple

RawHeaders = list[tuple[str, bytes]]


class Partition(NamedTuple):
    """A partition of a topic; `topic` without the installation's prefix."""

    topic: str
    number: int


class Taken(NamedTuple):
    """A record as it came; `topic` without the prefix, `timestamp_ms` as the topic keeps it.

    A tuple, since there is one for every record: cheap to make and to send to another process.
    """

    topic: str
    partition: int
    offset: int
    key: bytes | None
    value: bytes | None
    headers: RawHeaders
    timestamp_ms: int

    @property
    def place(self) -> Partition:
        """Where it lies."""
        return Partition(self.topic, self.partition)


class RawRecord(NamedTuple):
    """A record to publish; `topic` without the prefix. Its key decides the partition (murmur2)."""

    topic: str
    key: bytes | None
    value: bytes | None
    headers: RawHeaders


Offsets = Mapping[Partition, int]
"""For each partition the offset of the next record to read, as Kafka commits it."""
