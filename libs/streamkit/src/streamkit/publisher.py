"""Publishing with the broker's acknowledgement."""

import time
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any, Final

from confluent_kafka import KafkaError, KafkaException, Producer

from streamkit.codec import Codec
from streamkit.errors import Busy, Reject
from streamkit.headers import RawHeaders, event_headers
from streamkit.messages import Emit

MESSAGE_TIMEOUT_S: Final = 30.0

MAX_MESSAGE_BYTES: Final = 2 * 1024 * 1024
"""Twice a broker's default for one record: a dead letter is a whole record and more."""


@dataclass(frozen=True, slots=True)
class RawRecord:
    """A record as it goes over the wire; `topic` without the prefix."""

    topic: str
    key: bytes | None
    value: bytes | None
    headers: RawHeaders


def producer_config(bootstrap: str, client: str) -> dict[str, Any]:
    """librdkafka's settings of every producer of ours.

    `murmur2_random` puts a key into the same partition as Java's and aiokafka's default does, on
    which the join rests; librdkafka's own default (CRC32) would not.
    """
    return {
        "bootstrap.servers": bootstrap,
        "client.id": client,
        "acks": "all",
        "enable.idempotence": True,
        "partitioner": "murmur2_random",
        "linger.ms": 1,
        "message.max.bytes": MAX_MESSAGE_BYTES,
        "message.timeout.ms": int(MESSAGE_TIMEOUT_S * 1000),
        "queue.buffering.max.kbytes": 65536,
    }


class PublishError(Busy):
    """The broker did not acknowledge; nothing may be taken as published."""


class ProducerLostError(RuntimeError):
    """The producer can't go on (a fatal error of librdkafka's): only a new process helps."""


_NEVER: Final = frozenset(
    {KafkaError.MSG_SIZE_TOO_LARGE, KafkaError.INVALID_RECORD, KafkaError.RECORD_LIST_TOO_LARGE}
)
"""Errors that the same record meets each time."""


def refused(error: KafkaError) -> Exception:
    """What a broker's or librdkafka's refusal of a record means to the loop."""
    if error.fatal():
        return ProducerLostError(str(error))
    if error.code() in _NEVER:
        return Reject("too_large", f"The event is not one that the broker takes: {error.str()}.")
    return PublishError(str(error))


class Publisher:
    """Publishes and waits until the broker has acknowledged all of it. Thread-safe; blocks."""

    def __init__(self, bootstrap: str, *, source: str, codec: Codec, prefix: str = "") -> None:
        self._producer = Producer(producer_config(bootstrap, source))
        self._source = source
        self._codec = codec
        self._prefix = prefix

    def publish(self, emits: Sequence[Emit], traceparent: str | None = None) -> None:
        """Encode and publish events that one record caused.

        Raises PublishError if not all were acknowledged: some of them may still have been
        published, so publish all of them again. Raises Reject if one of them never will be.
        """
        self.publish_raw(self.encode(emit, traceparent) for emit in emits)

    def encode(self, emit: Emit, traceparent: str | None = None) -> RawRecord:
        """The record of an event."""
        headers = event_headers(emit, source=self._source, traceparent=traceparent)
        value = self._codec.encode(emit.topic, emit.value)
        return RawRecord(emit.topic, emit.key.encode(), value, headers)

    def publish_raw(self, records: Iterable[RawRecord]) -> None:
        """Publish records as they are; raises PublishError as `publish`."""
        delivery = _Delivery()
        for record in records:
            self._produce(record, delivery)
        deadline = time.monotonic() + MESSAGE_TIMEOUT_S + 5
        while delivery.waiting and time.monotonic() < deadline:
            self._producer.poll(0.1)
        if delivery.errors:
            raise refused(delivery.errors[0])
        if delivery.waiting:
            raise PublishError("no acknowledgement")

    def _produce(self, record: RawRecord, delivery: "_Delivery") -> None:
        try:
            self._producer.produce(
                self._prefix + record.topic,
                record.value,
                record.key,
                headers=list(record.headers),
                on_delivery=delivery.report,
            )
        except BufferError as error:
            raise PublishError(str(error)) from error
        except KafkaException as error:
            raise refused(error.args[0]) from error
        delivery.waiting += 1

    def close(self) -> None:
        """Wait for what is still under way."""
        self._producer.flush(MESSAGE_TIMEOUT_S)


class _Delivery:
    """Acknowledgements of one call of publish."""

    def __init__(self) -> None:
        self.waiting = 0
        self.errors: list[KafkaError] = []

    def report(self, error: KafkaError | None, _message: object) -> None:
        self.waiting -= 1
        if error is not None:
            self.errors.append(error)
