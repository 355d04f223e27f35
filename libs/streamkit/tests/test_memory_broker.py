"""The broker in memory keeps what it is given, and fails as it is told to."""

from collections.abc import Sequence

import pytest
from confluent_kafka import murmur2
from hypothesis import given
from hypothesis import strategies as st

from streamkit.errors import Reject
from streamkit.memory.backend import MemoryBackend
from streamkit.memory.broker import MemoryBroker
from streamkit.memory.partitioner import partition_of
from streamkit.ports import Delivery, Producer
from streamkit.publishing import MESSAGE_TIMEOUT_S, PublishError
from streamkit.records import Partition, RawRecord


class Now:
    def __init__(self) -> None:
        self.now = 1_000.5
        self.waited: list[float] = []

    def monotonic(self) -> float:
        return self.now

    def time(self) -> float:
        return self.now

    def waits(self, seconds: float) -> None:
        self.waited.append(seconds)
        self.now += seconds


@pytest.fixture
def now() -> Now:
    return Now()


@pytest.fixture
def broker(now: Now) -> MemoryBroker:
    return MemoryBroker(now, partitions=3, idle=now.waits)


@pytest.fixture
def producer(broker: MemoryBroker) -> Producer:
    return MemoryBackend(broker).producer("test")


def record(key: bytes | None = b"k", value: bytes = b"v", topic: str = "t") -> RawRecord:
    return RawRecord(topic, key, value, [])


def values(broker: MemoryBroker, topic: str = "t") -> Sequence[bytes | None]:
    return [one.value for one in broker.records(topic)]


# -- topics -------------------------------------------------------------------------------------


@given(st.binary(max_size=40), st.integers(1, 50))
def test_a_key_belongs_to_the_partition_that_librdkafka_gives_it(key: bytes, count: int) -> None:
    assert partition_of(key, count) == murmur2(key, count)


def test_records_without_a_key_go_to_one_partition_after_another(broker: MemoryBroker) -> None:
    assert [broker.append(record(None)).partition for _ in range(4)] == [0, 1, 2, 0]


def test_a_record_has_the_time_of_the_clock_and_the_next_offset(
    broker: MemoryBroker, now: Now
) -> None:
    first = broker.append(record())
    now.now += 1
    second = broker.append(record())
    assert (first.offset, first.timestamp_ms) == (0, 1_000_500)
    assert (second.offset, second.timestamp_ms) == (1, 1_001_500)
    assert broker.end(first.place) == 2


def test_a_topic_exists_once(broker: MemoryBroker) -> None:
    broker.declare("t", 1)
    assert broker.partitions_of("t") == 1
    assert broker.partitions_of("another") == 3
    with pytest.raises(ValueError, match="t exists"):
        broker.declare("t", 2)


def test_offsets_may_have_gaps(broker: MemoryBroker) -> None:
    broker.declare("t", 1)
    place = Partition("t", 0)
    broker.append(record())
    broker.skip(place, 5)
    broker.append(record())
    assert [one.offset for one in broker.read(place, 0, 10)] == [0, 6]
    assert [one.offset for one in broker.read(place, 3, 10)] == [6]
    assert broker.read(place, 7, 10) == []


def test_what_is_too_large_for_its_topic_is_refused(broker: MemoryBroker) -> None:
    broker.declare("t", 1, largest=4)
    broker.append(record(b"k", b"123"))
    with pytest.raises(Reject):
        broker.append(record(b"k", b"1234"))


# -- publishing ---------------------------------------------------------------------------------


def test_what_is_sent_is_there(broker: MemoryBroker, producer: Producer) -> None:
    producer.send(1, [record(value=b"a"), record(value=b"b")])
    producer.send(2, [])
    assert producer.poll(0) == [Delivery(1, None, 0), Delivery(2, None, 0)]
    assert values(broker) == [b"a", b"b"]


def test_the_time_of_appending_is_told_where_a_topic_keeps_it(
    broker: MemoryBroker, producer: Producer
) -> None:
    broker.declare("t", 1, append_time=True)
    producer.send(1, [record()])
    assert producer.poll(0) == [Delivery(1, None, 1_000_500)]


def test_a_refused_record_does_not_keep_the_others_of_its_ticket(
    broker: MemoryBroker, producer: Producer
) -> None:
    broker.refused.add("no")
    producer.send(1, [record(value=b"a"), record(topic="no"), record(value=b"b")])
    (delivery,) = producer.poll(0)
    assert isinstance(delivery.error, Reject)
    assert values(broker) == [b"a", b"b"]


def test_what_was_appended_may_be_told_as_lost(broker: MemoryBroker, producer: Producer) -> None:
    broker.drop_acks = True
    producer.send(1, [record()])
    (delivery,) = producer.poll(0)
    assert isinstance(delivery.error, PublishError)
    assert values(broker) == [b"v"]


def test_what_is_sent_to_a_broker_that_is_down_waits_for_it(
    broker: MemoryBroker, producer: Producer, now: Now
) -> None:
    broker.down = True
    producer.send(1, [record(value=b"a")])
    producer.send(2, [record(value=b"b")])
    assert producer.poll(0) == []
    producer.flush(2.0)
    assert producer.poll(0.5) == []
    assert now.waited == [2.0, 0.5]
    broker.down = False
    assert [one.ticket for one in producer.poll(0)] == [1, 2]
    assert values(broker) == [b"a", b"b"]


def test_what_waits_too_long_is_given_back(
    broker: MemoryBroker, producer: Producer, now: Now
) -> None:
    broker.down = True
    producer.send(1, [record()])
    now.now += MESSAGE_TIMEOUT_S
    producer.send(2, [record()])
    (delivery,) = producer.poll(0)
    assert (delivery.ticket, type(delivery.error)) == (1, PublishError)
    assert values(broker) == []


def test_a_producer_that_is_closed_sends_nothing_more(
    broker: MemoryBroker, producer: Producer
) -> None:
    broker.down = True
    producer.send(1, [record()])
    producer.close()
    broker.down = False
    producer.flush(1.0)
    assert producer.poll(0) == []
    assert values(broker) == []
