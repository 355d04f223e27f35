"""Reading topics of Kafka as they lie there, without joining a group."""

import time
from collections.abc import Iterator, Mapping
from typing import Any, Final

from confluent_kafka import OFFSET_BEGINNING, Consumer, KafkaError, KafkaException, TopicPartition
from confluent_kafka import Message as KafkaMessage

from streamkit.inbox import InboxError
from streamkit.kafka.consumer import taken
from streamkit.records import Taken
from streamkit.traffic import count

_SHORT_S: Final = 0.05
_AT_ONCE: Final = 500
_NO_OPTIONS: Final[Mapping[str, Any]] = {}


class KafkaLog:
    """A Log on Kafka, which is taken to be away if it does not answer for `timeout_s`.

    `options` are further settings of librdkafka's, such as security.*.
    """

    def __init__(
        self,
        bootstrap: str,
        *,
        prefix: str = "",
        timeout_s: float = 10.0,
        options: Mapping[str, Any] = _NO_OPTIONS,
    ) -> None:
        self._bootstrap = bootstrap
        self._prefix = prefix
        self._timeout_s = timeout_s
        self._options = dict(options)

    def has(self, topic: str) -> bool:
        """See Log."""
        with self._reader() as reader:
            return bool(reader.partitions(self._prefix + topic))

    def records(self, topic: str) -> Iterator[Taken]:
        """See Log."""
        return self.records_from(topic, {})

    def records_from(self, topic: str, offsets: Mapping[int, int]) -> Iterator[Taken]:
        """As `records`, but of each partition that is named only what lies there from this offset
        on; all of it, if the partition ends before, since then it is another one."""
        read = 0
        try:
            with self._reader() as reader:
                for message in reader.all(self._prefix + topic, offsets):
                    read += 1
                    yield taken(message, self._prefix)
        finally:
            count("consumed", topic, read)

    def record(self, topic: str, partition: int, offset: int) -> Taken | None:
        """See Log."""
        with self._reader() as reader:
            message = reader.one(TopicPartition(self._prefix + topic, partition, offset))
        return None if message is None else taken(message, self._prefix)

    def _reader(self) -> "_Reader":
        return _Reader(self._bootstrap, self._timeout_s, self._options)


class _Reader:
    """A consumer of assigned partitions, for one question."""

    def __init__(self, bootstrap: str, timeout_s: float, options: Mapping[str, Any]) -> None:
        self._bootstrap = bootstrap
        self._timeout_s = timeout_s
        self._consumer = Consumer(
            {
                "bootstrap.servers": bootstrap,
                "client.id": "streamkit-log",
                "group.id": "streamkit-log",  # librdkafka wants one; nothing is joined
                "enable.auto.commit": False,
                "enable.partition.eof": True,
                "auto.offset.reset": "earliest",
                "allow.auto.create.topics": False,
                "log_level": 0,  # what goes wrong is told once, by InboxError
                **options,
            }
        )

    def __enter__(self) -> "_Reader":
        return self

    def __exit__(self, *_: object) -> None:
        self._consumer.close()

    def partitions(self, topic: str) -> list[int]:
        """Numbers of a topic's partitions; none if there is no such topic."""
        try:
            found = self._consumer.list_topics(topic, timeout=self._timeout_s).topics[topic]
        except KafkaException as error:
            raise self._silent(error.args[0]) from error
        return sorted(found.partitions) if found.error is None else []

    def all(self, topic: str, offsets: Mapping[int, int]) -> Iterator[KafkaMessage]:
        """Everything from these offsets up to where the partitions end now."""
        numbers = self.partitions(topic)
        try:
            ends = {number: self._end(topic, number) for number in numbers}
        except KafkaException as error:
            raise self._silent(error.args[0]) from error
        begins = {
            number: offsets[number] if offsets.get(number, end + 1) <= end else OFFSET_BEGINNING
            for number, end in ends.items()
        }
        left = {number for number, end in ends.items() if begins[number] < end > 0}
        self._consumer.assign([TopicPartition(topic, n, begins[n]) for n in left])
        while left:
            for message in self._consume():
                number, offset = message.partition() or 0, message.offset() or 0
                if message.error() is None and offset < ends[number]:
                    yield message
                if message.error() is not None or offset + 1 >= ends[number]:
                    left.discard(number)

    def one(self, place: TopicPartition) -> KafkaMessage | None:
        """The record at a place, if it lies there."""
        if place.partition not in self.partitions(place.topic):
            return None
        self._consumer.assign([place])
        found = self._consume()[0]
        return found if found.error() is None and found.offset() == place.offset else None

    def _end(self, topic: str, number: int) -> int:
        """Where a partition ends. One that has no leader at the moment is asked again."""
        place = TopicPartition(topic, number)
        deadline = time.monotonic() + self._timeout_s
        while True:
            try:
                return self._consumer.get_watermark_offsets(place, timeout=self._timeout_s)[1]
            except KafkaException as error:
                if error.args[0].code() not in _MOVING or time.monotonic() > deadline:
                    raise
            time.sleep(_SHORT_S)

    def _consume(self) -> list[KafkaMessage]:
        """Some messages; those with an error are partitions' ends."""
        deadline = time.monotonic() + self._timeout_s
        while time.monotonic() < deadline:
            # Waits until it has as many as asked for, hence not for long.
            messages = self._consumer.consume(_AT_ONCE, _SHORT_S)
            for error in (message.error() for message in messages):
                if error is not None and error.code() in _BROKEN:
                    raise self._silent(error)
            known = [one for one in messages if one.error() is None or _is_end(one)]
            if known:
                return known
        raise self._silent("nothing came")

    def _silent(self, error: object) -> InboxError:
        return InboxError(f"no answer from Kafka at {self._bootstrap}: {error}")


_MOVING: Final = frozenset({KafkaError.NOT_LEADER_FOR_PARTITION, KafkaError.LEADER_NOT_AVAILABLE})

_BROKEN: Final = frozenset(
    {
        KafkaError.TOPIC_AUTHORIZATION_FAILED,
        KafkaError.UNKNOWN_TOPIC_OR_PART,
        KafkaError._AUTHENTICATION,
        KafkaError._UNKNOWN_TOPIC,
    }
)


def _is_end(message: KafkaMessage) -> bool:
    error = message.error()
    return error is not None and error.code() == KafkaError._PARTITION_EOF
