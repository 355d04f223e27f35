"""Reads a topic to its end, then follows it, outside of any group."""

import threading
import time
from collections.abc import Callable, Iterator, Mapping
from typing import Any, Final

import structlog
from confluent_kafka import Consumer, KafkaError, KafkaException, TopicPartition
from confluent_kafka import Message as KafkaMessage

from streamkit.backoff import delay_s
from streamkit.errors import Busy
from streamkit.kafka.consumer import taken
from streamkit.kafka.trouble import QUIET, seldom
from streamkit.tracing import begin_followed, recording
from streamkit.traffic import count

_log = structlog.get_logger("streamkit.kafka")

_NO_OPTIONS: Final[Mapping[str, Any]] = {}
_LOOK_AGAIN_S: Final = 5.0
_ASK_S: Final = 2.0
_POLL_S: Final = 0.2


class Look:
    """Answers whether all that a topic had when it was asked for has been told."""

    def __init__(self) -> None:
        self.done = threading.Event()
        self.ends: Mapping[int, int] | None = None
        """By partition, once they are known."""


class Follower:
    """A small topic, read by a thread of its own.

    `tell` is called in that thread with key and value of every record, in order. Where it raises
    Busy, it is called again with the same record. `name` is what the log calls it; `back_s`: what
    is older than so many seconds, by the records' own time stamps, is passed over; `options` are
    further settings of librdkafka's, such as security.*.
    """

    def __init__(
        self,
        kafka: str,
        topic: str,
        tell: Callable[[bytes | None, bytes | None], None],
        *,
        name: str,
        back_s: float | None = None,
        options: Mapping[str, Any] = _NO_OPTIONS,
    ) -> None:
        self.topic = topic
        self.trouble = ""
        """What was last in the way."""
        self._settings = {**_settings(kafka, f"streamkit-{name}"), **options}
        self._tell = tell
        self._back_s = back_s
        self._stop = threading.Event()
        self._next: dict[int, int] = {}
        self._first = Look()
        self._looks = [self._first]
        self._thread = threading.Thread(target=self._run, name=name, daemon=True)

    @property
    def ready(self) -> bool:
        """Whether everything that stood there at the start has been told."""
        return self._first.done.is_set()

    def start(self, timeout_s: float = 10.0) -> bool:
        """Begin, and wait until ready, but no longer; whether it is."""
        self._thread.start()
        return self.wait(timeout_s)

    def wait(self, timeout_s: float) -> bool:
        """Wait until ready, but no longer; whether it is."""
        return self._first.done.wait(timeout_s)

    def close(self) -> None:
        """Stop following."""
        self._stop.set()
        if self._thread.is_alive():
            self._thread.join()

    def look(self) -> Look:
        """Ask for what the topic has now; from any thread."""
        look = Look()
        self._looks.append(look)
        return look

    def _run(self) -> None:
        consumer = Consumer(self._settings)
        try:
            while not self._found(consumer):
                if self._stop.wait(_LOOK_AGAIN_S):
                    return
            self._follow(consumer)
        finally:
            consumer.close()

    def _found(self, consumer: Consumer) -> bool:
        """Take the topic's partitions from where they are to be read; whether it exists."""
        try:
            topic = consumer.list_topics(self.topic, timeout=_ASK_S).topics[self.topic]
            if topic.error is not None or not topic.partitions:
                self._say("the topic does not exist: run `darkroom topics apply`")
                return False
            # Before anything is fetched: a broker answers a connection's requests one by one, and
            # says of a fetch that reached the end so only once it has waited for more.
            self._first.ends = {n: self._ends(consumer, n)[1] for n in topic.partitions}
            self._next = dict(self._places(consumer, self._first.ends))
        except KafkaException as error:
            self._say(str(error.args[0]))
            return False
        consumer.assign([TopicPartition(self.topic, *place) for place in self._next.items()])
        return True

    def _places(self, consumer: Consumer, ends: Mapping[int, int]) -> Iterator[tuple[int, int]]:
        """Where each partition is read from. Raises KafkaException."""
        if self._back_s is None:
            yield from ((number, self._ends(consumer, number)[0]) for number in ends)
            return
        since_ms = int((time.time() - self._back_s) * 1000)
        asked = [TopicPartition(self.topic, number, since_ms) for number in ends]
        for place in consumer.offsets_for_times(asked, timeout=_ASK_S):
            if place.error is not None:
                raise KafkaException(place.error)
            all_is_older = place.offset < 0
            yield place.partition, ends[place.partition] if all_is_older else place.offset

    def _follow(self, consumer: Consumer) -> None:
        """Tell what comes until asked to stop."""
        while not self._stop.is_set():
            for look in list(self._looks):
                if self._answered(consumer, look):
                    self._looks.remove(look)
                    look.done.set()
            message = consumer.poll(_POLL_S)
            if message is not None:
                self._take(message)

    def _take(self, message: KafkaMessage) -> None:
        error, number, offset = message.error(), message.partition() or 0, message.offset() or 0
        if error is None:
            self._told(message)
            self._next[number] = offset + 1
        elif error.code() == KafkaError._PARTITION_EOF:
            self._next[number] = max(self._next[number], offset)
        else:
            _log.debug("follower_trouble", topic=self.topic, reason=str(error))  # it tries again

    def _told(self, message: KafkaMessage) -> None:
        """Until it could be told, or the follower is to stop."""
        times = 0
        # What stood there at the start is how things are; what comes later is an event.
        traced = begin_followed(taken(message)) if self.ready and recording() else None
        count("consumed", self.topic)
        while not self._stop.is_set():
            try:
                self._tell(message.key(), message.value())
            except Busy as error:
                times += 1
                self._say(str(error))
                self._stop.wait(delay_s(times))
            else:
                break
        if traced is not None:
            traced.end("done")

    def _answered(self, consumer: Consumer, look: Look) -> bool:
        if look.ends is None:
            try:
                look.ends = {n: self._ends(consumer, n)[1] for n in self._next}
            except KafkaException as error:
                self._say(str(error.args[0]))
                return False
        return all(self._next[number] >= end for number, end in look.ends.items())

    def _ends(self, consumer: Consumer, number: int) -> tuple[int, int]:
        """A partition's first offset, and the one after its last. Raises KafkaException."""
        place = TopicPartition(self.topic, number)
        first, end = consumer.get_watermark_offsets(place, timeout=_ASK_S)
        return first, end

    def _say(self, why: str) -> None:
        """Said once for each trouble, not each time."""
        if why != self.trouble:
            self.trouble = why
            _log.warning("follower_waits", topic=self.topic, reason=why)


def _settings(kafka: str, client: str) -> dict[str, Any]:
    return {
        "bootstrap.servers": kafka,
        "client.id": client,
        "log_level": QUIET,
        "error_cb": seldom(client),
        "group.id": client,  # librdkafka wants one; nothing is joined or committed
        "enable.auto.commit": False,
        "enable.partition.eof": True,
        "auto.offset.reset": "earliest",
        "allow.auto.create.topics": False,
        "queued.max.messages.kbytes": 1024,
        # A record is sent at once all the same: this is how often nothing is asked for.
        "fetch.wait.max.ms": 5000,
    }
