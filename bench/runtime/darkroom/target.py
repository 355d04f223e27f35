"""A load's view of Darkroom: requests go to the topic of their lane, outcomes are read."""

import os
from collections.abc import Sequence
from typing import Any, Final

from bench.runtime import workload
from bench.runtime.darkroom import wire
from confluent_kafka import Consumer, Producer, TopicPartition

from streamkit.headers import event_headers

_MOST: Final = 500
_TIMEOUT_S: Final = 30.0


class Topics:
    """Writes requests and reads one topic from its beginning."""

    def __init__(self, results: str) -> None:
        kafka = os.environ["DARKROOM_KAFKA"]
        self._prefix = os.environ["DARKROOM_TOPIC_PREFIX"]
        self._codec = wire.codec(os.environ)
        self._producer: Any = Producer(wire.producer_config(kafka))
        self._consumer = Consumer(wire.consumer_config(kafka, f"{self._prefix}load"))
        topic = self._prefix + results
        known = self._consumer.list_topics(topic, timeout=_TIMEOUT_S).topics[topic].partitions
        self._consumer.assign([TopicPartition(topic, number, 0) for number in known])

    def send(self, request: workload.Event) -> None:
        """See Target."""
        emit = wire.asked(request)
        self._producer.produce(
            self._prefix + emit.topic,
            self._codec.encode(emit.topic, emit.value),
            emit.key.encode(),
            headers=event_headers(emit, source="bench"),
        )
        self._producer.poll(0)

    def flush(self) -> None:
        """See Target."""
        if self._producer.flush(_TIMEOUT_S):
            raise TimeoutError("the broker did not take all requests")

    def arrived(self, timeout_s: float) -> Sequence[str]:
        """See Target. Waits for a first one, then takes what lies there."""
        first = self._consumer.poll(timeout_s)
        if first is None:
            return ()
        messages = [first, *self._consumer.consume(_MOST, 0)]
        for message in messages:
            if message.error() is not None:
                raise RuntimeError(str(message.error()))
        return [bytes(message.key() or b"").decode() for message in messages]


def fan_out() -> Topics:
    """The Target of the fan-out."""
    return Topics(workload.OUTCOME_TOPIC)


def single() -> Topics:
    """The Target of one stage."""
    return Topics(workload.PART_TOPICS["detector"])
