"""A bare confluent-kafka loop: consume, decode, make the part, encode, produce, commit.

The same durability as a worker's (acks=all, idempotent producer, offsets committed only once all
that their records caused is acknowledged), the same codec, headers, partitioner and events. No
retries, no lanes, no limits, no metrics, no second process. Ends on SIGTERM.

Two ways to commit: `flush` waits for each batch's acknowledgements before the next is taken;
`pipelined` goes on, and commits each batch once it and all before it are acknowledged.
"""

import os
import signal
import sys
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Final

from bench.runtime.darkroom import wire
from confluent_kafka import Consumer, Producer, TopicPartition

from darkroom_schemas.names import PHOTO_ANALYSIS_REQUESTED
from streamkit.headers import event_headers, readable

GROUP: Final = "bare"

_SOURCE: Final = PHOTO_ANALYSIS_REQUESTED["batch"]
_BATCH: Final = 500
_IDLE_S: Final = 0.1
_IN_FLIGHT: Final = 8
"""Batches that may wait for acknowledgements in the pipelined loop."""


@dataclass(slots=True)
class _Batch:
    """Records taken together, and how many of their events still lack an acknowledgement."""

    offsets: dict[tuple[str, int], int] = field(default_factory=dict)
    waiting: int = 0

    def acknowledged(self, error: object, _message: object) -> None:
        """As produce calls it."""
        if error is not None:
            raise RuntimeError(f"not published: {error}")
        self.waiting -= 1

    def places(self) -> list[TopicPartition]:
        """What to commit."""
        return [TopicPartition(*place, offset) for place, offset in self.offsets.items()]


class Loop:
    """The loop on one topic."""

    def __init__(self, prefix: str) -> None:
        kafka = os.environ["DARKROOM_KAFKA"]
        self._codec = wire.codec(os.environ)
        self._prefix = prefix
        self._producer: Any = Producer(wire.producer_config(kafka))
        self._consumer: Any = Consumer(wire.consumer_config(kafka, prefix + GROUP))
        self._consumer.subscribe([prefix + _SOURCE])
        self.stopping = False

    def flush(self) -> None:
        """Batch by batch."""
        while not self.stopping:
            batch = self._taken()
            self._producer.flush()
            if batch.offsets:
                self._consumer.commit(offsets=batch.places(), asynchronous=False)
        self._consumer.close()

    def pipelined(self) -> None:
        """Several batches under way."""
        under_way: deque[_Batch] = deque()
        while not self.stopping:
            batch = self._taken()
            if batch.offsets:
                under_way.append(batch)
            self._producer.poll(0)
            while len(under_way) > _IN_FLIGHT and under_way[0].waiting:
                self._producer.poll(0.01)
            while under_way and not under_way[0].waiting:
                self._consumer.commit(offsets=under_way.popleft().places(), asynchronous=True)
        self._producer.flush()
        for batch in under_way:
            self._consumer.commit(offsets=batch.places(), asynchronous=False)
        self._consumer.close()

    def _taken(self) -> _Batch:
        """Take some records and send off their events."""
        batch = _Batch()
        for message in self._consumer.consume(_BATCH, _IDLE_S):
            if message.error() is not None:
                raise RuntimeError(str(message.error()))
            self._handle(message, batch.acknowledged)
            batch.waiting += 1
            batch.offsets[message.topic(), message.partition()] = message.offset() + 1
        return batch

    def _handle(self, message: Any, acknowledged: Callable[..., None]) -> None:
        request = self._codec.decode(_SOURCE, message.value())
        cause = readable(message.headers() or ())
        emit = wire.answered(request, "detector")
        self._producer.produce(
            self._prefix + emit.topic,
            self._codec.encode(emit.topic, emit.value),
            emit.key.encode(),
            headers=event_headers(emit, source="bare", traceparent=cause.get("traceparent")),
            on_delivery=acknowledged,
        )


def main() -> None:
    """Run until SIGTERM."""
    loop = Loop(os.environ["DARKROOM_TOPIC_PREFIX"])

    def stop(*_: Any) -> None:
        loop.stopping = True

    signal.signal(signal.SIGTERM, stop)
    {"flush": loop.flush, "pipelined": loop.pipelined}[sys.argv[1]]()


if __name__ == "__main__":
    main()
