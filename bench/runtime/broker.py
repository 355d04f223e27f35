"""What the measurement itself asks of the broker: filling a topic, reading times, commits."""

import time
from collections.abc import Mapping
from typing import Any, Final

from bench.runtime import workload
from bench.runtime.darkroom import wire
from confluent_kafka import Consumer, ConsumerGroupTopicPartitions, Producer, TopicPartition
from confluent_kafka.admin import (  # type: ignore[attr-defined] # its __init__ re-exports
    AdminClient,
    OffsetSpec,
)

from streamkit.headers import event_headers

_TIMEOUT_S: Final = 30.0
_READ_S: Final = 60.0


class BrokerView:
    """A broker seen from outside, under one prefix of topics."""

    def __init__(self, env: Mapping[str, str], prefix: str) -> None:
        self._env = env
        self._kafka = env["DARKROOM_KAFKA"]
        self._prefix = prefix
        self._admin = AdminClient({"bootstrap.servers": self._kafka, "log_level": 0})

    def fill(self, records: int, lane: str) -> None:
        """Publish requests 0 to `records` of a lane, and wait until the broker has them."""
        codec = wire.codec(self._env)
        producer: Any = Producer(wire.producer_config(self._kafka))
        for number in range(records):
            emit = wire.asked(workload.request(number, lane))
            producer.produce(
                self._prefix + emit.topic,
                codec.encode(emit.topic, emit.value),
                emit.key.encode(),
                headers=event_headers(emit, source="bench"),
            )
            producer.poll(0)
        if producer.flush(_TIMEOUT_S):
            raise TimeoutError("the broker did not take the backlog")

    def count(self, topic: str) -> int:
        """How many records were ever written to a topic."""
        latest = OffsetSpec.latest()  # type: ignore[no-untyped-call]
        asked = dict.fromkeys(self._partitions(topic), latest)
        found = self._admin.list_offsets(asked)
        return sum(one.result(_TIMEOUT_S).offset for one in found.values())

    def committed(self, group: str, topic: str) -> int:
        """How many records of a topic a group has committed."""
        asked = ConsumerGroupTopicPartitions(self._prefix + group, self._partitions(topic))
        (found,) = self._admin.list_consumer_group_offsets([asked]).values()
        return sum(max(0, one.offset) for one in found.result(_TIMEOUT_S).topic_partitions)

    def appended(self, topic: str, records: int) -> tuple[list[float], int]:
        """The times, in seconds since 1970, at which the first `records` different keys were
        appended to a topic; and how many records repeated one."""
        consumer = Consumer(wire.consumer_config(self._kafka, self._prefix + "reader"))
        consumer.assign([TopicPartition(p.topic, p.partition, 0) for p in self._partitions(topic)])
        total, seen, first = self.count(topic), 0, dict[bytes, float]()
        deadline = time.monotonic() + _READ_S
        while seen < total and time.monotonic() < deadline:
            for message in consumer.consume(5000, 1.0):
                first.setdefault(_key(message), message.timestamp()[1] / 1000)
                seen += 1
        consumer.close()
        if len(first) != records:
            raise ValueError(f"{len(first)} of {records} different keys are in {topic}")
        return sorted(first.values()), seen - records

    def _partitions(self, topic: str) -> list[TopicPartition]:
        name = self._prefix + topic
        known = self._admin.list_topics(name, timeout=_TIMEOUT_S).topics[name].partitions
        return [TopicPartition(name, number) for number in known]


def _key(message: Any) -> bytes:
    if message.error() is not None:
        raise ValueError(str(message.error()))
    return bytes(message.key())
