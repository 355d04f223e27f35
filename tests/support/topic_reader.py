"""Reading topics from their beginning to their end."""

import json
import re
import time
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any, Final
from uuid import uuid4

from confluent_kafka import OFFSET_BEGINNING, Consumer, KafkaException, TopicPartition

from aggregator import tables
from darkroom_schemas import avro
from streamkit import Codec, SchemaIds, Taken, readable
from streamkit.kafka.consumer import taken

PATIENCE_S: Final = 60.0


class TopicReader:
    """Reads what a broker has at this moment."""

    def __init__(self, kafka: str, registry: str, cache: Path, prefix: str = "") -> None:
        self._kafka = kafka
        self._prefix = prefix
        self._codec = Codec(SchemaIds(registry, cache), avro.schema_of, prefix)

    def records(self, topic: str) -> Iterator[Taken]:
        """All records of a topic."""
        consumer = Consumer({"bootstrap.servers": self._kafka, "group.id": str(uuid4())})
        try:
            yield from self._all(consumer, self._prefix + topic)
        finally:
            consumer.close()

    def events(self, topic: str) -> Iterator[tuple[str, dict[str, Any]]]:
        """(event id, decoded value) of all records of a topic."""
        for record in self.records(topic):
            yield readable(record.headers)["ce_id"], self._codec.decode(topic, record.value)

    def table(self, changelog: str) -> dict[str, Any]:
        """What a Faust table holds: the last value of each key of its changelog."""
        latest = {(record.key or b"").decode(): record.value for record in self.records(changelog)}
        read = _reader(changelog)
        return {key: read(value) for key, value in latest.items() if value is not None}

    def _all(self, consumer: Consumer, topic: str) -> Iterator[Taken]:
        partitions = _partitions(consumer, topic)
        places = [TopicPartition(topic, number, OFFSET_BEGINNING) for number in partitions]
        ends = {p.partition: consumer.get_watermark_offsets(p, timeout=10)[1] for p in places}
        consumer.assign(places)
        left = {number for number, end in ends.items() if end > 0}
        while left:
            message = consumer.poll(10)
            if message is None:
                left -= self._finished(consumer, topic, ends)
                continue
            record = taken(message, self._prefix)
            yield record
            if record.offset + 1 >= ends[record.partition]:
                left.discard(record.partition)

    def _finished(self, consumer: Consumer, topic: str, ends: dict[int, int]) -> set[int]:
        """Partitions read to their end though their last offset is no record of ours."""
        here = consumer.position([TopicPartition(topic, number) for number in ends])
        return {p.partition for p in here if p.offset >= ends[p.partition]}


def _partitions(consumer: Consumer, topic: str) -> list[int]:
    """Numbers of a topic's partitions; a broker that just starts is waited for."""
    until = time.monotonic() + PATIENCE_S
    while True:
        try:
            return list(consumer.list_topics(topic, timeout=10).topics[topic].partitions)
        except KafkaException:
            if time.monotonic() > until:
                raise


def _reader(changelog: str) -> Callable[[bytes], Any]:
    """What reads the values of a changelog: the aggregator's are packed, others are JSON."""
    named = re.fullmatch("darkroom-aggregator-(.*)-changelog", changelog)
    return json.loads if named is None else partial(tables.read, named[1])
