"""A lane's consumer: one group per service and lane, and the records that it hands out."""

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, Protocol

import structlog
from confluent_kafka import (
    OFFSET_INVALID,
    Consumer,
    KafkaError,
    KafkaException,
    TopicPartition,
)
from confluent_kafka import Message as KafkaMessage

from streamkit.backoff import delay_s
from streamkit.headers import RawHeaders
from streamkit.settings import WorkerSettings

_log = structlog.get_logger("streamkit.lanes")

COMMIT_INTERVAL_MS: Final = 500

KafkaHeaders = dict[str, str | bytes | None] | list[tuple[str, str | bytes | None]] | None


@dataclass(frozen=True, slots=True)
class Lane:
    """Topics that are worked on with one priority; names without the prefix."""

    name: str
    topics: tuple[str, ...]


def lanes_of(topics: Mapping[str, str]) -> tuple[Lane, ...]:
    """A lane for each name and its topic, in their order."""
    return tuple(Lane(name, (topic,)) for name, topic in topics.items())


def consumer_config(settings: WorkerSettings, group: str) -> dict[str, Any]:
    """librdkafka's settings of a lane's consumer.

    Offsets are stored by hand, once a record's events are acknowledged, and committed in the
    background and at every rebalance. Prefetching is small so that little work is held back from
    other workers. With the `consumer` protocol the broker sets the timeouts (KIP-848) and a static
    id would keep a restarted worker out; with `classic` the session is short.
    """
    config: dict[str, Any] = {
        "bootstrap.servers": settings.kafka,
        "group.id": group,
        "client.id": group,
        "group.protocol": settings.group_protocol,
        "auto.offset.reset": "earliest",
        "enable.auto.commit": True,
        "auto.commit.interval.ms": COMMIT_INTERVAL_MS,
        "enable.auto.offset.store": False,
        "queued.min.messages": 16,
        "queued.max.messages.kbytes": 1024,
        "fetch.queue.backoff.ms": 20,
        "allow.auto.create.topics": False,
    }
    if settings.group_protocol == "classic":
        config |= {
            "partition.assignment.strategy": "cooperative-sticky",
            "session.timeout.ms": 10_000,
            "heartbeat.interval.ms": 2_000,
        }
    return config


@dataclass(frozen=True, slots=True)
class Taken:
    """A record as it came; `topic` without the prefix."""

    topic: str
    partition: int
    offset: int
    key: bytes | None
    value: bytes | None
    headers: RawHeaders
    timestamp_ms: int


def taken(message: KafkaMessage, prefix: str) -> Taken:
    """A record of librdkafka's, without the topic's prefix."""
    topic, partition, offset = message.topic(), message.partition(), message.offset()
    if topic is None or partition is None or offset is None:
        raise TypeError("librdkafka delivered a record that comes from nowhere")
    return Taken(
        topic=topic.removeprefix(prefix),
        partition=partition,
        offset=offset,
        key=_bytes(message.key()),
        value=_bytes(message.value()),
        headers=_headers(message.headers()),
        timestamp_ms=message.timestamp()[1],
    )


class Source(Protocol):
    """Where the records of one lane come from. All calls from one thread."""

    lane: Lane
    assigned: bool
    """Whether the group has said which partitions are ours; it may be none."""

    def poll(self, timeout_s: float) -> Taken | None:
        """The next record, or None; serves rebalances. Raises if it can't go on."""

    def done(self, record: Taken) -> None:
        """Acknowledge a record; harmless if its partition has gone to another worker."""

    def hold(self) -> None:
        """Stop fetching but stay in the group, until `release`; keep polling meanwhile."""

    def give_back(self, record: Taken) -> None:
        """Have a record that was not worked on delivered again after `release`."""

    def release(self) -> None:
        """Fetch again."""

    def close(self) -> None:
        """Commit what is acknowledged and leave the group."""


class LaneConsumer:
    """A Source on Kafka: a consumer with the group `darkroom.SERVICE.LANE`."""

    def __init__(self, settings: WorkerSettings, service: str, lane: Lane) -> None:
        self.lane = lane
        self.assigned = False
        self._prefix = settings.topic_prefix
        group = f"{self._prefix}darkroom.{service}.{lane.name}"
        self._config = consumer_config(settings, group)
        self._held = False
        self._lost = False
        self._failures = 0
        self._not_before = 0.0
        self._consumer = self._opened()

    def poll(self, timeout_s: float) -> Taken | None:
        """See Source. Raises KafkaException."""
        message = self._consumer.poll(timeout_s)
        if self._lost:
            self._reopen()
            return None
        if message is None:
            return None
        error = message.error()
        if error is None:
            self._failures = 0
            return taken(message, self._prefix)
        if error.code() in _HOPELESS:
            raise KafkaException(error)
        _log.warning("consumer_error", lane=self.lane.name, error=str(error))
        if error.code() not in _PASSING and time.monotonic() >= self._not_before:
            self._reopen()
        return None

    def done(self, record: Taken) -> None:
        """See Source."""
        try:
            self._consumer.store_offsets(offsets=[self._place(record, record.offset + 1)])
        except KafkaException as error:
            if error.args[0].code() not in _NOT_OURS:
                raise
            _log.info("late_acknowledgement", lane=self.lane.name, partition=record.partition)

    def hold(self) -> None:
        """See Source."""
        self._held = True
        self._consumer.pause(self._consumer.assignment())

    def give_back(self, record: Taken) -> None:
        """See Source."""
        self._consumer.pause([self._place(record)])
        self._consumer.seek(self._place(record, record.offset))

    def release(self) -> None:
        """See Source."""
        self._held = False
        self._consumer.resume(self._consumer.assignment())

    def close(self) -> None:
        """See Source."""
        self._consumer.close()

    def _opened(self) -> Consumer:
        consumer = Consumer(self._config)
        topics = [self._prefix + topic for topic in self.lane.topics]
        consumer.subscribe(
            topics, on_assign=self._on_assign, on_revoke=self._on_revoke, on_lost=self._on_lost
        )
        return consumer

    def _reopen(self) -> None:
        """Go on with a new consumer.

        A broker that stood still takes our partitions away. librdkafka joins again, but when it
        can't read their offsets at that moment (NOT_COORDINATOR) it never asks again: it stays in
        the group and fetches nothing more. A record in hand is then delivered once more.
        """
        self._lost = False
        self._failures += 1
        self._not_before = time.monotonic() + delay_s(self._failures)
        self.assigned = False
        self._consumer.close()
        self._consumer = self._opened()
        _log.warning("consumer_reopened", lane=self.lane.name, times=self._failures)

    def _place(self, record: Taken, offset: int = OFFSET_INVALID) -> TopicPartition:
        return TopicPartition(self._prefix + record.topic, record.partition, offset)

    def _on_assign(self, consumer: Consumer, partitions: Sequence[TopicPartition]) -> None:
        self.assigned = True
        _log.info("assigned", lane=self.lane.name, partitions=_listed(partitions))
        if self._held:
            consumer.incremental_assign(list(partitions))
            consumer.pause(list(partitions))

    def _on_revoke(self, _consumer: Consumer, partitions: Sequence[TopicPartition]) -> None:
        _log.info("revoked", lane=self.lane.name, partitions=_listed(partitions))

    def _on_lost(self, _consumer: Consumer, partitions: Sequence[TopicPartition]) -> None:
        self._lost = True
        _log.warning("lost", lane=self.lane.name, partitions=_listed(partitions))


_NOT_OURS: Final = frozenset({KafkaError._STATE, KafkaError._UNKNOWN_PARTITION})
_PASSING: Final = frozenset(
    {
        KafkaError._TRANSPORT,
        KafkaError._ALL_BROKERS_DOWN,
        KafkaError._RESOLVE,
        KafkaError._TIMED_OUT,
        KafkaError._PARTITION_EOF,
        KafkaError.UNKNOWN_TOPIC_OR_PART,
    }
)
"""Troubles with connections and missing topics, which librdkafka itself gets over."""

_HOPELESS: Final = frozenset(
    {
        KafkaError.TOPIC_AUTHORIZATION_FAILED,
        KafkaError.GROUP_AUTHORIZATION_FAILED,
        KafkaError.UNSUPPORTED_VERSION,
    }
)


def _bytes(value: bytes | str | None) -> bytes | None:
    return value.encode() if isinstance(value, str) else value


def _headers(raw: KafkaHeaders) -> RawHeaders:
    pairs = raw.items() if isinstance(raw, dict) else raw or ()
    return [(name, _bytes(value) or b"") for name, value in pairs]


def _listed(partitions: Sequence[TopicPartition]) -> Mapping[str, list[int]]:
    found: dict[str, list[int]] = {}
    for one in partitions:
        found.setdefault(one.topic, []).append(one.partition)
    return found
