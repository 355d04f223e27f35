"""The first end of each file of an import, as it lies in its topic: the one that counts."""

import time
from collections.abc import Callable, Iterator, Mapping
from datetime import datetime, timedelta
from typing import Any, Final

from confluent_kafka import Consumer, KafkaException, TopicPartition
from confluent_kafka import Message as KafkaMessage

from darkroom_schemas.names import BATCH_PHOTO_ENDED
from gateway.catalog.reconcile import end_text
from gateway.control.lag import BROKER
from streamkit import Busy

_EARLIER: Final = timedelta(minutes=10)
"""Clocks differ; an import's ends come after its beginning."""

_MOST: Final = 10_000
"""Ends that differ; more of them come with the next run."""

_AT_ONCE: Final = 500
_NO_OPTIONS: Final[Mapping[str, Any]] = {}
_SHORT_S: Final = 0.1


class KafkaEnds:
    """Reads the topic without joining a group. `decode` turns a topic's bytes into its value;
    `options` are further settings of librdkafka's, such as security.*."""

    def __init__(
        self,
        bootstrap: str,
        decode: Callable[[str, bytes], Mapping[str, Any]],
        *,
        prefix: str = "",
        timeout_s: float = 30.0,
        options: Mapping[str, Any] = _NO_OPTIONS,
    ) -> None:
        self._bootstrap = bootstrap
        self._decode = decode
        self._topic = prefix + BATCH_PHOTO_ENDED
        self._timeout_s = timeout_s
        self._options = dict(options)

    def others(
        self, batch_id: str, since: datetime, known: Mapping[int, str]
    ) -> list[Mapping[str, Any]]:
        """The ends (batch.photo-ended) that are others than those `known`, by index.

        `known` is as of `reconcile.ends_of`, `since` when the import began. Blocks; raises Busy if
        the broker does not give all of them in time. Files of whose ends the topic holds nothing
        (any more) are passed over.
        """
        left = dict(known)
        others: list[Mapping[str, Any]] = []
        for message in self._messages(f"{batch_id}/".encode(), since - _EARLIER):
            event = self._decode(BATCH_PHOTO_ENDED, message.value() or b"")
            was = left.pop(event["index"], None)
            if was is not None and was != end_text(event["end"], event["partial"]):
                others.append(event)
            if not left or len(others) >= _MOST:
                break
        return others

    def _messages(self, key: bytes, since: datetime) -> Iterator[KafkaMessage]:
        """Records whose keys begin so, from a moment on up to where the partitions end now."""
        consumer = Consumer(
            {
                "bootstrap.servers": self._bootstrap,
                "group.id": "darkroom-reconciler",  # librdkafka wants one; nothing is joined
                "enable.auto.commit": False,
                "auto.offset.reset": "earliest",
                "log_level": 2,
                **self._options,
            }
        )
        try:
            yield from (
                message
                for message in self._all(consumer, since)
                if (message.key() or b"").startswith(key)
            )
        except KafkaException as error:
            raise Busy(f"reading ends failed: {error}", dependency=BROKER) from error
        finally:
            consumer.close()

    def _all(self, consumer: Consumer, since: datetime) -> Iterator[KafkaMessage]:
        until = time.monotonic() + self._timeout_s
        places = self._places(consumer, since)
        ends = {place.partition: self._end(consumer, place) for place in places}
        left = {p.partition for p in places if 0 <= p.offset < ends[p.partition]}
        consumer.assign([place for place in places if place.partition in left])
        while left:
            if time.monotonic() > until:
                raise Busy("reading ends takes too long", dependency=BROKER)
            for message in consumer.consume(_AT_ONCE, _SHORT_S):
                if (error := message.error()) is not None:
                    raise KafkaException(error)
                number, offset = message.partition() or 0, message.offset() or 0
                if offset < ends[number]:
                    yield message
                if offset + 1 >= ends[number]:
                    left.discard(number)

    def _places(self, consumer: Consumer, since: datetime) -> list[TopicPartition]:
        known = consumer.list_topics(self._topic, timeout=self._timeout_s).topics[self._topic]
        ms = int(since.timestamp() * 1000)
        asked = [TopicPartition(self._topic, number, ms) for number in known.partitions]
        return consumer.offsets_for_times(asked, timeout=self._timeout_s)

    def _end(self, consumer: Consumer, place: TopicPartition) -> int:
        return consumer.get_watermark_offsets(place, timeout=self._timeout_s)[1]
