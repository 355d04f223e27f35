"""A workflow's join on the broker in memory: what Faust does with it on Kafka."""

from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from typing import Any, Protocol

from streamkit.errors import Reject
from streamkit.headers import readable
from streamkit.memory.consumer import MemoryConsumer
from streamkit.messages import Emit
from streamkit.records import Offsets, Partition, RawRecord, Taken
from streamkit.testing.world import World
from streamkit.workflow import Join

_LOOK_S = 1.0


class Decodes(Protocol):
    """See Codec."""

    def decode(self, topic: str, data: bytes | None) -> dict[str, Any]: ...


class SteppedJoin:
    """Takes records one by one: changes the state of the key, publishes, acknowledges.

    `states` outlives it, as a changelog does. A record that makes no sense is put into `rejected`.
    """

    def __init__(
        self,
        world: World,
        join: Join,
        codec: Decodes,
        encode: Callable[[Emit], RawRecord],
        states: dict[str, Any] | None = None,
    ) -> None:
        self.states: dict[str, Any] = {} if states is None else states
        self.rejected: list[Taken] = []
        self._world = world
        self._join = join
        self._codec = codec
        self._encode = encode
        self._consumer = MemoryConsumer(
            world.broker, f"darkroom.{join.name}", join.reads, _Nobody()
        )
        self._look_at = 0.0
        world.members.append(self)

    def step(self) -> bool:
        """See Steps."""
        records = self._consumer.consume(100, 0)
        for record in records:
            self._take(record)
            self._consumer.store({record.place: record.offset + 1})
        if self._join.expiry is not None and self._world.clock.now >= self._look_at:
            self._look_at = self._world.clock.now + _LOOK_S
            now = datetime.fromtimestamp(self._world.clock.time(), UTC)
            for emit in self._join.due(list(self.states.items()), now):
                self._world.broker.append(self._encode(emit))
        return bool(records)

    def next_at(self) -> float | None:
        """See Steps."""
        return self._look_at if self._join.expiry is not None else None

    def kill(self) -> None:
        """End as kill -9 does."""
        self._world.members.remove(self)

    def _take(self, record: Taken) -> None:
        key = (record.key or b"").decode()
        try:
            value = self._codec.decode(record.topic, record.value)
            state, emits = self._join.step(
                self.states.get(key), record.topic, key, value, readable(record.headers)
            )
        except Reject:
            self.rejected.append(record)
            return
        if state is None:
            self.states.pop(key, None)
        else:
            self.states[key] = state
        for emit in emits:
            self._world.broker.append(self._encode(emit))


class _Nobody:
    """A Listener that has nothing to do: a join in memory has nothing in hand between steps."""

    def assigned(self, partitions: Sequence[Partition]) -> None:
        """See Listener."""

    def revoked(self, _partitions: Sequence[Partition]) -> Offsets:
        """See Listener."""
        return {}

    def lost(self, partitions: Sequence[Partition]) -> None:
        """See Listener."""
