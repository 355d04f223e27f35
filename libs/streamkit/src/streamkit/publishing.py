"""Publishing: what may go wrong, and a small synchronous publisher for programs beside workers."""

import itertools
import time
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Final

from streamkit.codec import Codec
from streamkit.errors import Busy
from streamkit.headers import event_headers
from streamkit.messages import Emit
from streamkit.ports import Producer
from streamkit.records import RawRecord
from streamkit.tracing import published

MESSAGE_TIMEOUT_S: Final = 30.0
"""So long the producer tries; what the broker hasn't acknowledged by then is given back."""

MAX_MESSAGE_BYTES: Final = 2 * 1024 * 1024
"""Twice a broker's default for one record: a dead letter is a whole record and more."""


_NO_OPTIONS: Final[Mapping[str, Any]] = {}


class PublishError(Busy):
    """The broker did not acknowledge; nothing may be taken as published."""

    def __init__(self, message: str) -> None:
        super().__init__(message, dependency="kafka")


class ProducerLostError(RuntimeError):
    """The producer can't go on (a fatal error of librdkafka's): only a new process helps."""


def event_record(
    codec: Codec, source: str, emit: Emit, traceparent: str | None = None
) -> RawRecord:
    """The record of an event that `source` says outside of a handler; see event_headers,
    Codec.encode. `traceparent` is what it came of."""
    headers = event_headers(emit, source=source, span=published(emit.topic, traceparent))
    return RawRecord(emit.topic, emit.key.encode(), codec.encode(emit.topic, emit.value), headers)


class Publisher:
    """Publishes and waits until the broker has acknowledged all of it. Blocks; for one thread at a
    time. Workers don't use it: they publish without waiting.

    `options` are further settings of librdkafka's, such as security.*.
    """

    def __init__(
        self,
        bootstrap: str,
        *,
        source: str,
        codec: Codec,
        prefix: str = "",
        options: Mapping[str, Any] = _NO_OPTIONS,
    ) -> None:
        self._producer = _kafka_producer(bootstrap, source, prefix, options)
        self._source = source
        self._codec = codec
        self._tickets = itertools.count(1)

    def publish(self, emits: Sequence[Emit], traceparent: str | None = None) -> None:
        """Encode and publish events that one record caused.

        Raises PublishError if not all were acknowledged: some of them may still have been
        published, so publish all of them again. Raises Reject if one of them never will be.
        """
        self.publish_raw(self.encode(emit, traceparent) for emit in emits)

    def encode(self, emit: Emit, traceparent: str | None = None) -> RawRecord:
        """The record of an event."""
        return event_record(self._codec, self._source, emit, traceparent)

    def publish_raw(self, records: Iterable[RawRecord]) -> None:
        """Publish records as they are; raises PublishError as `publish`."""
        ticket = next(self._tickets)
        self._producer.send(ticket, list(records))
        deadline = time.monotonic() + MESSAGE_TIMEOUT_S + 5
        while True:
            for delivery in self._producer.poll(0.1):
                # An older one is of a call that has given up waiting.
                if delivery.ticket == ticket:
                    if delivery.error is not None:
                        raise delivery.error
                    return
            if time.monotonic() > deadline:
                raise PublishError("no acknowledgement")

    def close(self) -> None:
        """Wait for what is still under way."""
        self._producer.flush(MESSAGE_TIMEOUT_S)
        self._producer.close()


def _kafka_producer(
    bootstrap: str, client: str, prefix: str, options: Mapping[str, Any]
) -> Producer:
    # Here, since that module needs the exceptions of this one, and memory needs no librdkafka.
    from streamkit.kafka.producer import KafkaProducer

    return KafkaProducer(bootstrap, client, prefix=prefix, options=options)
