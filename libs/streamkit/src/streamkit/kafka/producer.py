"""A Producer to Kafka."""

import itertools
import time
from collections import Counter, deque
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final

from confluent_kafka import (
    TIMESTAMP_LOG_APPEND_TIME,
    KafkaError,
    KafkaException,
    Message,
    Producer,
)

from streamkit.errors import Reject
from streamkit.kafka.trouble import QUIET, seldom
from streamkit.ports import Delivery
from streamkit.publishing import (
    MAX_MESSAGE_BYTES,
    MESSAGE_TIMEOUT_S,
    ProducerLostError,
    PublishError,
)
from streamkit.records import RawRecord
from streamkit.traffic import count

PROMPT_LINGER_MS: Final = 1
"""A record that is alone reaches its reader after about 2 ms."""

LINGER_MS: Final = 20
"""How long a record waits for others once several are under way. Each request costs its sender, the
broker and the reader some 0.3 ms of CPU: at 1,000 records/s a record costs them 0.6 ms together if
it waits for 1 ms, and 0.2 ms if it waits for 20 (measured)."""

FEW: Final = 4
"""With fewer records under way a further one does not wait for others."""

_TURN_S: Final = 0.005

Trouble = KafkaError | Exception
Report = Callable[[Trouble | None, Message | None], None]

_NO_OPTIONS: Final[Mapping[str, Any]] = {}


def producer_config(
    bootstrap: str,
    client: str,
    options: Mapping[str, Any] = _NO_OPTIONS,
    linger_ms: float = PROMPT_LINGER_MS,
) -> dict[str, Any]:
    """librdkafka's settings of every producer of ours; `options` go before them.

    `murmur2_random` puts a key into the same partition as Java's and aiokafka's default does, on
    which joins rest; librdkafka's own default (CRC32) would not.
    """
    return {
        "bootstrap.servers": bootstrap,
        "client.id": client,
        "log_level": QUIET,
        "error_cb": seldom(client),
        "acks": "all",
        "enable.idempotence": True,
        "partitioner": "murmur2_random",
        "linger.ms": linger_ms,
        "message.max.bytes": MAX_MESSAGE_BYTES,
        "message.timeout.ms": int(MESSAGE_TIMEOUT_S * 1000),
        "queue.buffering.max.kbytes": 65536,
        **options,
    }


_NEVER: Final = frozenset(
    {KafkaError.MSG_SIZE_TOO_LARGE, KafkaError.INVALID_RECORD, KafkaError.RECORD_LIST_TOO_LARGE}
)
"""Errors that the same record meets each time."""


def refused(error: KafkaError) -> Exception:
    """What a broker's or librdkafka's refusal of a record means to the loop."""
    if error.fatal() or error.code() == KafkaError._FATAL:
        return ProducerLostError(str(error))
    if error.code() in _NEVER:
        return Reject("too_large", f"The event is not one that the broker takes: {error.str()}.")
    return PublishError(str(error))


class KafkaProducer:
    """A Producer. librdkafka batches what is sent and retries; this one counts acknowledgements.

    It has two of librdkafka's, since how long those wait for a batch is set for good: a prompt one
    for when little is under way, and a thrifty one for when there is more. So records of tickets
    that are under way together may be appended in any order; those of one ticket keep theirs.
    """

    def __init__(
        self,
        bootstrap: str,
        client: str,
        *,
        prefix: str = "",
        options: Mapping[str, Any] = _NO_OPTIONS,
    ) -> None:
        self._prompt = Producer(producer_config(bootstrap, client, options))
        self._thrifty = Producer(producer_config(bootstrap, client, options, LINGER_MS))
        self._prefix = prefix
        self._names: dict[str, str] = {}
        self._decided: deque[Delivery] = deque()
        self._taken: Counter[str] = Counter()
        """What the broker has acknowledged since it was told, by topic."""

    def send(self, ticket: int, records: Sequence[RawRecord], *, urgent: bool = False) -> None:
        """See Producer."""
        if not records:
            self._decided.append(Delivery(ticket, None, 0))
            return
        names, producer = self._names, self._thrifty
        if urgent or (len(producer) < FEW and len(producer) + len(self._prompt) < FEW):
            producer = self._prompt
        produce: Callable[..., None] = producer.produce
        report = self._report(ticket, records)
        sent = 0
        try:
            for topic, key, value, headers in records:
                name = names.get(topic)
                if name is None:
                    names[topic] = name = self._prefix + topic
                produce(name, value, key, -1, report, None, 0, headers)
                sent += 1
        except (BufferError, KafkaException) as error:
            # The rest is not sent: the whole of it is going to be sent again, or given up.
            for _ in range(len(records) - sent):
                report(error, None)

    def poll(self, timeout_s: float) -> list[Delivery]:
        """See Producer."""
        decided, prompt, thrifty = self._decided, self._prompt, self._thrifty
        prompt.poll(0)
        thrifty.poll(0)
        if not decided and timeout_s > 0:
            # librdkafka also returns for a record of several, and for events of its own.
            deadline = time.monotonic() + timeout_s
            left = timeout_s
            while not decided and left > 0:
                if len(thrifty):
                    thrifty.poll(min(left, _TURN_S))
                    prompt.poll(0)
                else:  # nothing is sent to the thrifty one before the prompt one has something
                    prompt.poll(left)
                left = deadline - time.monotonic()
        self._count()
        return [decided.popleft() for _ in range(len(decided))]

    def flush(self, timeout_s: float) -> None:
        """See Producer."""
        deadline = time.monotonic() + timeout_s
        self._prompt.flush(timeout_s)
        self._thrifty.flush(max(0.0, deadline - time.monotonic()))
        self._count()

    def close(self) -> None:
        """See Producer."""
        for producer in (self._prompt, self._thrifty):
            producer.purge()
            producer.poll(0)

    def _count(self) -> None:
        """Tell the metrics of what was acknowledged since."""
        while self._taken:
            topic, records = self._taken.popitem()
            count("published", topic, records)

    def _report(self, ticket: int, records: Sequence[RawRecord]) -> Report:
        """What librdkafka calls for each record of a ticket."""
        decide, new, taken = self._decided.append, tuple.__new__, self._taken
        if len(records) == 1:  # the usual case, hence made cheap
            topic = records[0][0]

            def report(error: Trouble | None, message: Message | None) -> None:
                if error is None:
                    taken[topic] += 1
                    decide(new(Delivery, (ticket, None, _appended_ms(message))))
                else:
                    decide(Delivery(ticket, _meaning(error), 0))

            return report

        errors: list[Trouble] = []
        number = itertools.count(1).__next__
        topics = Counter(record[0] for record in records)

        def report_one(error: Trouble | None, message: Message | None) -> None:
            if error is not None:
                errors.append(error)
            # Calls may come from several threads; taking a number is atomic, so one is the last.
            if number() == len(records):
                if errors:
                    decide(Delivery(ticket, _worst(errors), 0))
                else:
                    taken.update(topics)
                    decide(Delivery(ticket, None, _appended_ms(message)))

        return report_one


def _appended_ms(message: Message | None) -> int:
    if message is None:
        return 0
    kind, timestamp_ms = message.timestamp()
    return timestamp_ms if kind == TIMESTAMP_LOG_APPEND_TIME else 0


def _worst(errors: Sequence[Trouble]) -> Exception:
    """The error of a ticket: if one of its records never will be taken, the rest doesn't matter."""
    meant = [_meaning(error) for error in errors]
    return next((error for error in meant if isinstance(error, Reject)), meant[0])


def _meaning(error: Trouble) -> Exception:
    if isinstance(error, KafkaException):
        error = error.args[0]
    if isinstance(error, KafkaError):
        return refused(error)
    return PublishError(str(error))
