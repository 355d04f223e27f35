"""One key, one partition: whoever produces it."""

import asyncio
import subprocess
from collections.abc import Callable
from uuid import NAMESPACE_URL, uuid4, uuid5

import pytest
from aiokafka import AIOKafkaProducer
from confluent_kafka import OFFSET_BEGINNING, Consumer, Producer, TopicPartition
from confluent_kafka.admin import AdminClient, NewTopic  # type: ignore[attr-defined]

from infrastructure import Infrastructure
from java_tool import java_tool
from streamkit.kafka.consumer import taken
from streamkit.kafka.producer import producer_config

PARTITIONS = 4
KEYS = [str(uuid5(NAMESPACE_URL, str(n))) for n in range(1000)]


@pytest.fixture
def make_topic(infrastructure: Infrastructure) -> Callable[[], str]:
    admin = AdminClient({"bootstrap.servers": infrastructure.kafka})

    def make() -> str:
        name = f"keys.{uuid4().hex}"
        admin.create_topics([NewTopic(name, PARTITIONS, 1)])[name].result(20)
        return name

    return make


def by_confluent(kafka: str, topic: str) -> None:
    producer = Producer(producer_config(kafka, "test"))
    for key in KEYS:
        producer.produce(topic, b"x", key.encode())
    assert producer.flush(20) == 0


def by_aiokafka(kafka: str, topic: str) -> None:
    async def produce() -> None:
        async with AIOKafkaProducer(bootstrap_servers=kafka) as producer:
            sent = [await producer.send(topic, b"x", key.encode()) for key in KEYS]
            await asyncio.gather(*sent)

    asyncio.run(produce())


def by_java(kafka: str, topic: str) -> None:
    options = ["--bootstrap-server", kafka, "--topic", topic]
    options += ["--reader-property", "parse.key=true", "--reader-property", "key.separator=|"]
    lines = "".join(f"{key}|x\n" for key in KEYS)
    command = java_tool("ConsoleProducer", *options)
    subprocess.run(command, input=lines, text=True, check=True, capture_output=True, timeout=60)


def partition_of_each_key(kafka: str, topic: str) -> dict[str, int]:
    consumer = Consumer({"bootstrap.servers": kafka, "group.id": topic})
    consumer.assign([TopicPartition(topic, n, OFFSET_BEGINNING) for n in range(PARTITIONS)])
    found: dict[str, int] = {}
    try:
        while len(found) < len(KEYS):
            message = consumer.poll(20)
            assert message is not None, f"only {len(found)} keys arrived"
            record = taken(message, "")
            found[(record.key or b"").decode()] = record.partition
    finally:
        consumer.close()
    return found


@pytest.mark.parametrize("produce", [by_aiokafka, by_java])
def test_a_thousand_keys_get_the_partitions_that_our_producer_gives_them(
    infrastructure: Infrastructure,
    make_topic: Callable[[], str],
    produce: Callable[[str, str], None],
) -> None:
    ours, theirs = make_topic(), make_topic()
    by_confluent(infrastructure.kafka, ours)
    produce(infrastructure.kafka, theirs)
    expected = partition_of_each_key(infrastructure.kafka, ours)
    assert set(expected.values()) == set(range(PARTITIONS))
    assert partition_of_each_key(infrastructure.kafka, theirs) == expected
