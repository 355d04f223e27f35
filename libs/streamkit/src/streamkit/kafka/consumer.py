"""A Consumer of Kafka: a member of a group, under either group protocol."""

import threading
import time
from collections import Counter, deque
from collections.abc import Callable, Iterable, Mapping, Sequence
from operator import itemgetter
from typing import Any, Final, Literal

import structlog
from confluent_kafka import Consumer, KafkaError, KafkaException, Message, TopicPartition

from streamkit.backoff import delay_s
from streamkit.kafka.trouble import QUIET, seldom
from streamkit.ports import ConsumerLostError, Listener
from streamkit.records import Offsets, Partition, RawHeaders, Taken
from streamkit.traffic import count

_log = structlog.get_logger("streamkit.kafka")

Protocol = Literal["consumer", "classic"]

COMMIT_INTERVAL_MS: Final = 500

CLOSE_S: Final = 5.0
"""So long a consumer waits for the broker to take its last commit and its leave."""

_MOST_FENCES: Final = 3
"""So many consumers in a row may be fenced before they are members."""

_TOPIC: Final = itemgetter(0)
"""Of a Taken."""

_NO_OPTIONS: Final[Mapping[str, Any]] = {}


def consumer_config(
    bootstrap: str,
    group: str,
    protocol: Protocol,
    member: str = "",
    options: Mapping[str, Any] = _NO_OPTIONS,
) -> dict[str, Any]:
    """librdkafka's settings of a consumer; `options` go before them.

    Offsets are stored by hand, once a record's events are acknowledged, and committed in the
    background and at every rebalance. Prefetching is small so that little work is held back from
    other workers. The broker may hold a fetch back for 500 ms, the default: a consumer that leaves
    waits for the answer, and with 2 s the last commit came too late. With the `consumer` protocol
    the broker sets the timeouts (KIP-848) and a static id would keep a restarted worker out; with
    `classic` the session is short, and a static id gives a restarted worker its partitions back at
    once.
    """
    config: dict[str, Any] = {
        "bootstrap.servers": bootstrap,
        "group.id": group,
        "client.id": group,
        "log_level": QUIET,
        "error_cb": seldom(group),
        "group.protocol": protocol,
        "auto.offset.reset": "earliest",
        "enable.auto.commit": True,
        "auto.commit.interval.ms": COMMIT_INTERVAL_MS,
        "enable.auto.offset.store": False,
        "queued.min.messages": 16,
        "queued.max.messages.kbytes": 1024,
        "fetch.queue.backoff.ms": 20,
        "allow.auto.create.topics": False,
    }
    if protocol == "classic":
        config |= {
            "partition.assignment.strategy": "cooperative-sticky",
            "session.timeout.ms": 10_000,
            "heartbeat.interval.ms": 2_000,
        }
        if member:
            config["group.instance.id"] = member
    return {**config, **options}


class KafkaConsumer:
    """A Consumer. `prefix` is that of the topics; `config` as consumer_config gives it."""

    def __init__(
        self, config: Mapping[str, Any], topics: Sequence[str], listener: Listener, prefix: str = ""
    ) -> None:
        self._config = dict(config)
        self._topics = [prefix + topic for topic in topics]
        self._listener = listener
        self._prefix = prefix
        self._names = {prefix + topic: topic for topic in topics}
        self._group = config["group.id"]
        self._assigned: set[Partition] = set()
        self._ahead: deque[Taken] = deque()
        self._gone: set[Partition] = set()
        """What was taken from us during the call under way."""
        self._reopen_at: float | None = None
        self._failures = 0
        self._heard: Consumer | None = None
        self._commit_failed = False
        self._was_member = False
        """Whether the present consumer ever got an assignment."""
        self._fences = 0
        """Fatal errors since somebody did."""
        self._consumer = self._opened()

    def consume(self, most: int, timeout_s: float) -> list[Taken]:
        """See Consumer. With `most` 0 at most one record is kept for the next call."""
        if self._reopen_at is not None and time.monotonic() >= self._reopen_at:
            self._reopen()
        if self._ahead and most:
            timeout_s = 0.0
        self._gone.clear()
        records = self._taken(self._messages(max(1, most - len(self._ahead)), timeout_s))
        if self._gone:
            records = self._kept(records)
        if not most or self._ahead:
            self._ahead.extend(records)
            records = [self._ahead.popleft() for _ in range(min(most, len(self._ahead)))]
        return records

    def store(self, offsets: Offsets) -> None:
        """See Consumer."""
        places = self._places(offsets)
        for one in places:
            one.offset = offsets[self._partition(one)]
        if not places:
            return
        try:
            self._consumer.store_offsets(offsets=places)
        except KafkaException as error:
            if error.args[0].code() not in _NOT_OURS:
                raise
            _log.info("late_store", group=self._group)

    def pause(self, partitions: Sequence[Partition]) -> None:
        """See Consumer."""
        places = self._places(partitions)
        if places:
            self._consumer.pause(places)

    def resume(self, partitions: Sequence[Partition]) -> None:
        """See Consumer."""
        places = self._places(partitions)
        if places:
            self._consumer.resume(places)

    def close(self) -> None:
        """See Consumer. If the broker is away, the group learns of it when the session ends."""
        partitions = sorted(self._assigned)
        if partitions:
            self.store(self._listener.revoked(partitions))
            self._forget(partitions)
        self._let_go(_leave)

    def _messages(self, most: int, timeout_s: float) -> list[Message]:
        """What is there; if there is nothing, what comes. (librdkafka itself would wait for `most`
        or for the end of the time-out, and so delay a lone record.)"""
        consume = self._consumer.consume
        messages = consume(most, 0)
        if not messages and timeout_s > 0:
            messages = consume(1, timeout_s)
            if messages and most > 1:
                messages += consume(most - 1, 0)
        return messages

    # -- records --------------------------------------------------------------------------------

    def _taken(self, messages: Sequence[Message]) -> list[Taken]:
        # For every record: hence no call that could be done without.
        records: list[Taken] = []
        add, new, names = records.append, tuple.__new__, self._names
        for message in messages:
            error = message.error()
            if error is not None:
                self._failed(error)
                continue
            headers = _headers(message)
            topic: Any = message.topic()
            add(
                new(
                    Taken,
                    (
                        names[topic],
                        message.partition(),
                        message.offset(),
                        message.key(),
                        message.value(),
                        headers,
                        message.timestamp()[1],
                    ),
                )
            )
        if records:
            self._failures = 0
            if len(records) == 1:
                count("consumed", records[0][0])
            else:
                for name, number in Counter(map(_TOPIC, records)).items():
                    count("consumed", name, number)
        return records

    def _kept(self, records: Iterable[Taken]) -> list[Taken]:
        """Those whose partitions have not gone since they were fetched."""
        gone = self._gone
        return [record for record in records if (record.topic, record.partition) not in gone]

    def _failed(self, error: KafkaError) -> None:
        code = error.code()
        if code == KafkaError._FATAL:
            self._fences += 1
        if code in _HOPELESS or (code == KafkaError._FATAL and not self._may_go_on()):
            raise ConsumerLostError(str(error))
        _log.warning("consumer_error", group=self._group, error=str(error))
        if code not in _PASSING and self._reopen_at is None:
            self._failures += 1
            first = self._failures == 1
            self._reopen_at = time.monotonic() + (0.0 if first else delay_s(self._failures))

    def _may_go_on(self) -> bool:
        """Whether what librdkafka calls fatal came of an outage, and a new consumer gets over it.

        The broker that is back knows a static id under the member id that it has written down, and
        takes whoever comes with another one for another process. So it fences whom it meant:

        - A member whose session ran out has forgotten its id, and sends the commits that waited.
        - One that was joining has an id by which the broker did not come to write it down.

        Whom another process fenced while it worked is a member, and has its id still.
        """
        outlived = self._reopen_at is not None and not self._consumer.memberid()
        return outlived or (not self._was_member and self._fences <= _MOST_FENCES)

    # -- the group ------------------------------------------------------------------------------

    def _opened(self) -> Consumer:
        consumer = Consumer({**self._config, "on_commit": self._on_commit})
        consumer.subscribe(
            self._topics,
            on_assign=self._on_assign,
            on_revoke=self._on_revoke,
            on_lost=self._on_lost,
        )
        self._heard = consumer
        self._was_member = False
        return consumer

    def _reopen(self) -> None:
        """Go on with a new consumer.

        A broker that stood still takes our partitions away. librdkafka joins again, but when it
        can't read their offsets at that moment (NOT_COORDINATOR) it never asks again: it stays in
        the group and fetches nothing more. Records in hand are then delivered once more.
        """
        self._reopen_at = None
        self._lose(self._assigned)
        self._let_go(Consumer.close)
        self._consumer = self._opened()
        _log.warning("consumer_reopened", group=self._group, times=self._failures)

    def _let_go(self, leave: Callable[[Consumer], None]) -> None:
        """Leave, within CLOSE_S: librdkafka's close has no end of its own while the broker stands
        still. Whatever this consumer still says is not listened to."""
        self._heard = None
        closing = threading.Thread(target=leave, args=(self._consumer,), daemon=True)
        closing.start()
        closing.join(CLOSE_S)
        if closing.is_alive():
            _log.warning("close_unanswered", group=self._group)

    def _on_assign(self, consumer: Consumer, places: Sequence[TopicPartition]) -> None:
        if consumer is not self._heard:
            return
        self._was_member, self._fences = True, 0
        partitions = [self._partition(one) for one in places]
        if self._gone.intersection(partitions):
            # Gone and back in one call: what was fetched before can't be told from what came after.
            self._reopen_at = time.monotonic()
        self._assigned.update(partitions)
        self._listener.assigned(partitions)

    def _on_revoke(self, consumer: Consumer, places: Sequence[TopicPartition]) -> None:
        if consumer is not self._heard:
            return
        partitions = [self._partition(one) for one in places]
        # What is stored is committed by librdkafka as the partitions go; it gives them up only
        # when the broker has answered. (A commit of ours would be overwritten by that one.)
        self.store(self._listener.revoked(partitions))
        # It would keep pauses for when they come back.
        consumer.resume(list(places))
        self._forget(partitions)

    def _on_lost(self, consumer: Consumer, places: Sequence[TopicPartition]) -> None:
        if consumer is not self._heard:
            return
        self._lose([self._partition(one) for one in places])
        if self._reopen_at is None:
            self._failures += 1
            self._reopen_at = time.monotonic()

    def _lose(self, partitions: Iterable[Partition]) -> None:
        lost = sorted(self._assigned.intersection(partitions))
        self._forget(lost)
        if lost:
            self._listener.lost(lost)

    def _forget(self, partitions: Sequence[Partition]) -> None:
        self._assigned.difference_update(partitions)
        self._gone.update(partitions)
        self._ahead = deque(self._kept(self._ahead))

    def _on_commit(self, error: KafkaError | None, places: Sequence[TopicPartition]) -> None:
        """Tell of a commit that failed, once until one succeeds. What is not committed is delivered
        once more; nothing is lost."""
        failed = error or next((one.error for one in places if one.error is not None), None)
        if failed is not None and not self._commit_failed:
            _log.warning("commit_failed", group=self._group, error=str(failed))
        self._commit_failed = failed is not None

    def _partition(self, place: TopicPartition) -> Partition:
        return Partition(self._names[place.topic], place.partition)

    def _places(self, partitions: Iterable[Partition]) -> list[TopicPartition]:
        """What of these is ours, as librdkafka wants it."""
        assigned, prefix = self._assigned, self._prefix
        return [
            TopicPartition(prefix + one.topic, one.number) for one in partitions if one in assigned
        ]


def _leave(consumer: Consumer) -> None:
    """Commit what is stored, and close.

    librdkafka's close would commit, too, but where a rebalance is under way it does so when that is
    over, as a member of before, and the broker refuses (classic). So see it through first.
    """
    until = time.monotonic() + CLOSE_S
    while time.monotonic() < until:
        try:
            consumer.commit(asynchronous=False)
            break
        except KafkaException as error:
            if error.args[0].code() not in _REBALANCING:
                break  # there is nothing to commit; or on_commit tells of it
        consumer.consume(1, 0.1)
    consumer.close()


_REBALANCING: Final = frozenset(
    {
        KafkaError.ILLEGAL_GENERATION,
        KafkaError.REBALANCE_IN_PROGRESS,
        KafkaError.STALE_MEMBER_EPOCH,
    }
)

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
        KafkaError._UNSUPPORTED_FEATURE,
    }
)
"""Missing rights; a broker that doesn't know the protocol. So is what librdkafka calls fatal, such
as another process with our static id (to go on would take it from that one again, in turns), but
for what `_may_go_on` tells apart."""


def taken(message: Message, prefix: str = "") -> Taken:
    """A record of librdkafka's, for readers outside of groups; its topic without the prefix."""
    key: Any = message.key()  # bytes, as no deserialiser is set
    value: Any = message.value()
    return Taken(
        str(message.topic()).removeprefix(prefix),
        int(message.partition() or 0),
        int(message.offset() or 0),
        key,
        value,
        _headers(message),
        message.timestamp()[1],
    )


def _headers(message: Message) -> RawHeaders:
    try:
        headers: Any = message.headers() or []
    except SystemError as unreadable:
        # confluent-kafka falls over a header's name that is not UTF-8; the record is still there.
        _log.warning("headers_dropped", topic=message.topic(), error=str(unreadable))
        return []
    return [(name, value or b"") for name, value in headers]
