"""Logs to hold against what ports.py promises: Kafka under both protocols, and memory."""

import time
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any, Protocol
from uuid import uuid4

from confluent_kafka import ConsumerGroupTopicPartitions
from confluent_kafka.admin import AdminClient, NewTopic  # type: ignore[attr-defined]

from streamkit.kafka.backend import KafkaBackend
from streamkit.memory.backend import MemoryBackend
from streamkit.memory.broker import MemoryBroker
from streamkit.ports import Backend, Delivery, Producer
from streamkit.records import Offsets, Partition, RawRecord, Taken

DEADLINE_S = 40.0
GROUP = "darkroom.stage.lane"
TOPIC = "asked.v1"


class Place(Protocol):
    """A log, with what a test needs beside the backend."""

    backend: Backend

    def make_topic(self, topic: str, partitions: int, *, append_time: bool = False) -> None: ...
    def committed(self) -> dict[Partition, int]: ...
    def passes(self) -> None:
        """A little time passes."""


class KafkaPlace:
    def __init__(self, kafka: str, protocol: Any) -> None:
        self._prefix = f"{uuid4().hex}."
        self._admin = AdminClient({"bootstrap.servers": kafka})
        # As short as they may be, for the test of a member that stands still.
        options = {"max.poll.interval.ms": 6000}
        if protocol == "classic":
            options["session.timeout.ms"] = 6000
        self.at_slot = partial(
            KafkaBackend, kafka, prefix=self._prefix, protocol=protocol, options=options
        )
        self.backend: Backend = self.at_slot()

    def make_topic(self, topic: str, partitions: int, *, append_time: bool = False) -> None:
        name = self._prefix + topic
        kind = "LogAppendTime" if append_time else "CreateTime"
        config = {"message.timestamp.type": kind, "max.message.bytes": "2097152"}
        new = NewTopic(name, partitions, 1, config=config)
        self._admin.create_topics([new])[name].result(20)

    def committed(self) -> dict[Partition, int]:
        asked = ConsumerGroupTopicPartitions(self._prefix + GROUP)
        (answer,) = self._admin.list_consumer_group_offsets([asked]).values()
        return {
            Partition(one.topic.removeprefix(self._prefix), one.partition): one.offset
            for one in answer.result(20).topic_partitions
        }

    def passes(self) -> None:
        """Consuming has waited."""


class MemoryPlace:
    def __init__(self) -> None:
        self._now = 1_700_000_000.0
        self._broker = MemoryBroker(self, idle=self._idle)
        self.backend: Backend = MemoryBackend(self._broker)

    def monotonic(self) -> float:
        return self._now

    def time(self) -> float:
        return self._now

    def _idle(self, timeout_s: float) -> None:
        self._now += timeout_s

    def make_topic(self, topic: str, partitions: int, *, append_time: bool = False) -> None:
        self._broker.declare(topic, partitions, append_time=append_time)

    def committed(self) -> dict[Partition, int]:
        return self._broker.committed(GROUP)

    def passes(self) -> None:
        self._now += 0.1


class Member:
    """A member of the group that notes what happens to it, in one trail with the others'."""

    def __init__(
        self, backend: Backend, name: str, trail: list[tuple[str, str, Partition]]
    ) -> None:
        self.name = name
        self.trail = trail
        self.has: set[Partition] = set()
        self.answer: dict[Partition, int] = {}
        self.records: list[Taken] = []
        self.most = 500
        self.consumer = backend.consumer(GROUP, [TOPIC], self)

    def assigned(self, partitions: Sequence[Partition]) -> None:
        self._note("assigned", partitions)
        self.has.update(partitions)

    def revoked(self, partitions: Sequence[Partition]) -> Offsets:
        self._note("revoked", partitions)
        self.has.difference_update(partitions)
        return {one: self.answer[one] for one in partitions if one in self.answer}

    def lost(self, partitions: Sequence[Partition]) -> None:
        self._note("lost", partitions)
        self.has.difference_update(partitions)

    def step(self) -> None:
        records = self.consumer.consume(self.most, 0.05)
        assert len(records) <= self.most
        self.records += records

    def of(self, partition: Partition) -> list[Taken]:
        return [record for record in self.records if record.place == partition]

    def _note(self, what: str, partitions: Sequence[Partition]) -> None:
        self.trail += [(self.name, what, one) for one in partitions]


class Group:
    """The members of a test, stepped in turn by its only thread."""

    def __init__(self, place: Place) -> None:
        self.place = place
        self.trail: list[tuple[str, str, Partition]] = []
        self.members: list[Member] = []
        self.producer: Producer = place.backend.producer("test")
        self._tickets = iter(range(1, 1_000_000))

    def join(self, name: str, backend: Backend | None = None) -> Member:
        member = Member(backend or self.place.backend, name, self.trail)
        self.members.append(member)
        return member

    def leave(self, member: Member) -> None:
        self.members.remove(member)
        member.consumer.close()

    def until(self, condition: Callable[[], bool], *only: Member) -> None:
        """Step all members, or only these, until it is so."""
        deadline = time.monotonic() + DEADLINE_S
        while not condition():
            assert time.monotonic() < deadline, self.trail
            for member in only or tuple(self.members):
                member.step()
            self.place.passes()

    def send(self, *records: RawRecord) -> Delivery:
        """Publish these and wait for what becomes of them."""
        ticket = next(self._tickets)
        self.producer.send(ticket, records)
        deadline = time.monotonic() + DEADLINE_S
        while True:
            for delivery in self.producer.poll(0.1):
                assert delivery.ticket == ticket
                return delivery
            assert time.monotonic() < deadline

    def fill(self, partitions: int, each: int) -> list[Partition]:
        """Make the topic with one or two partitions, and put so many records in each."""
        self.place.make_topic(TOPIC, partitions)
        places = [Partition(TOPIC, number) for number in range(partitions)]
        for one in places:
            self.add(one, each)
        return places

    def add(self, partition: Partition, records: int) -> None:
        """Publish records to a partition."""
        key = KEYS[partition.number]
        assert self.send(*[record(key, str(n)) for n in range(records)]).error is None


KEYS = ("0", "1")
"""Each belongs to the partition of its place here, in a topic of one or two."""


def record(key: str | None, value: str = "v", headers: Any = ()) -> RawRecord:
    coded = None if key is None else key.encode()
    return RawRecord(TOPIC, coded, value.encode(), list(headers))
