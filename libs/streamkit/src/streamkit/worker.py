"""The loop: take a record, handle it, publish, acknowledge."""

import itertools
import threading
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import asdict, dataclass, field, replace
from functools import partial
from typing import Any, Final, Protocol

import structlog

from streamkit import metrics
from streamkit.backoff import Stopped, delay_s
from streamkit.codec import AvroSchema, Codec, SchemaIds
from streamkit.deadletters import dead_letter
from streamkit.errors import Busy, Reject, Retry
from streamkit.headers import readable
from streamkit.job import Job
from streamkit.lanes import Lane, LaneConsumer, Source, Taken
from streamkit.messages import Emit, Failure, Message
from streamkit.publisher import Publisher, RawRecord
from streamkit.settings import WorkerSettings

_log = structlog.get_logger("streamkit.worker")

_IDLE_WAIT_S: Final = 0.02


class Decodes(Protocol):
    """See Codec."""

    def decode(self, topic: str, data: bytes | None) -> dict[str, Any]: ...


class Publishes(Protocol):
    """See Publisher."""

    def publish(self, emits: Sequence[Emit], traceparent: str | None = None) -> None: ...

    def encode(self, emit: Emit, traceparent: str | None = None) -> RawRecord: ...

    def publish_raw(self, records: Iterable[RawRecord]) -> None: ...

    def close(self) -> None: ...


@dataclass(slots=True)
class _Place:
    """A lane, and its next record if it has been taken.

    A record that waits here was delivered in order, so all before it are over; if its partition
    goes to another worker meanwhile it is worked on twice, which is allowed.
    """

    source: Source
    next: Taken | None = None

    def keep(self, record: Taken | None) -> None:
        """Take what was fetched before a hold, or have it delivered again."""
        if record is None:
            return
        if self.next is None:
            self.next = record
        else:
            self.source.give_back(record)


@dataclass(slots=True)
class Worker:
    """Runs a Job: sequentially, highest lane first, each record acknowledged when it is over.

    At-least-once: a record's events are acknowledged by the broker before the record is, so a
    crash repeats work and loses none.
    """

    job: Job
    attempts: int
    codec: Decodes
    publisher: Publishes
    open_lane: Callable[[Lane], Source]
    _stop: threading.Event = field(default_factory=threading.Event)
    _places: list[_Place] = field(default_factory=list)

    def waiting_for(self) -> Sequence[str]:
        """What readiness still lacks; empty when every lane has its partitions."""
        if not self._places:
            return ["starting"]
        sources = [place.source for place in self._places]
        return [f"partitions of {one.lane.name}" for one in sources if not one.assigned]

    def run(self, stop: threading.Event) -> None:
        """Work until `stop` is set. Blocks. Raises what a handler raised beyond instructions."""
        self._stop = stop
        self._places = [_Place(self.open_lane(lane)) for lane in self.job.lanes]
        try:
            while not stop.is_set():
                self._turn()
        except Stopped:
            _log.info("stopped_while_waiting")
        finally:
            for place in self._places:
                place.source.close()
            self.publisher.close()

    def _turn(self) -> None:
        """Work on the first record of the highest lane that has one; wait a moment for none.

        Every lane is polled each time, so that one which has to wait for long stays in its group.
        """
        for place in self._places:
            if place.next is None:
                place.next = place.source.poll(0)
        place = next((one for one in self._places if one.next is not None), self._places[0])
        record = place.next or place.source.poll(_IDLE_WAIT_S)
        place.next = None
        if record is not None:
            self._work(place.source, record)

    def _work(self, consumer: Source, raw: Taken) -> None:
        started = time.monotonic()
        stage, lane = self.job.service, consumer.lane.name
        with metrics.IN_FLIGHT.labels(stage).track_inprogress():
            outcome = self._settle(consumer, raw)
        consumer.done(raw)
        metrics.PROCESSED.labels(stage, lane, outcome).inc()
        metrics.DURATION.labels(stage, lane).observe(time.monotonic() - started)
        age_s = max(0.0, time.time() - raw.timestamp_ms / 1000)
        metrics.END_TO_END.labels(stage, lane).observe(age_s)

    def _settle(self, consumer: Source, raw: Taken) -> str:
        """Handle and publish until the record is done or a dead letter; returns which.

        A handler's work is kept while its events wait for the broker.
        """
        emits: Sequence[Emit] | None = None
        failures, pauses = 0, 0
        while True:
            try:
                if emits is None:
                    emits = self._handled(consumer, raw)
                self._publish(emits, raw)
                return "done"
            except Busy as error:
                pauses += 1
                self._wait(consumer, error, pauses)
            except Reject as error:
                failure = Failure(error.code, error.message, failures + 1)
                return self._bury(consumer, raw, failure)
            except Retry as error:
                failures += 1
                if failures >= self.attempts:
                    failure = Failure("gave_up", str(error), failures)
                    return self._bury(consumer, raw, failure)
                self._wait(consumer, error, failures)

    def _handled(self, consumer: Source, raw: Taken) -> Sequence[Emit]:
        message = self._decoded(consumer, raw)
        return self.job.handlers[message.topic](message)

    def _publish(self, emits: Sequence[Emit], cause: Taken) -> None:
        if emits:
            self.publisher.publish(emits, readable(cause.headers).get("traceparent"))

    def _decoded(self, consumer: Source, raw: Taken) -> Message:
        """Raises Reject for a record that is not what its topic says."""
        try:
            key = (raw.key or b"").decode()
        except UnicodeDecodeError as error:
            raise Reject("bad_key", "The key is not UTF-8 text.") from error
        return Message(
            topic=raw.topic,
            lane=consumer.lane.name,
            key=key,
            value=self.codec.decode(raw.topic, raw.value),
            headers=readable(raw.headers),
            partition=raw.partition,
            offset=raw.offset,
            timestamp_ms=raw.timestamp_ms,
        )

    def _bury(self, consumer: Source, raw: Taken, failure: Failure) -> str:
        """Publish the dead letter and what the job says of it, for as long as it takes.

        What the broker refuses is left out: first the job's events, then the letter's value, which
        still lies where the letter says that it came from.
        """
        letter = self._dead_letter(raw, failure)
        choices: list[list[RawRecord]] = []
        for attempt in itertools.count(1):
            try:
                if not choices:
                    words = self._last_words(consumer, raw, failure)
                    choices = [[*words, letter], [letter], [replace(letter, value=None)]]
                self.publisher.publish_raw(choices[0])
                break
            except Busy as error:
                self._wait(consumer, error, attempt)
            except Reject as error:
                _log.exception("dead_letter_refused", lane=consumer.lane.name, code=error.code)
                if len(choices) == 1:
                    raise
                choices.pop(0)
        metrics.DEAD_LETTERS.labels(self.job.service, consumer.lane.name, failure.code).inc()
        _log.error("dead_letter", lane=consumer.lane.name, **asdict(failure))
        return "dead_letter"

    def _last_words(self, consumer: Source, raw: Taken, failure: Failure) -> list[RawRecord]:
        """What the job wants said; nothing of a record that can't be read."""
        try:
            message = self._decoded(consumer, raw)
        except Reject:
            return []
        traceparent = message.headers.get("traceparent")
        emits = self.job.give_up(message, failure)
        return [self.publisher.encode(emit, traceparent) for emit in emits]

    def _dead_letter(self, raw: Taken, failure: Failure) -> RawRecord:
        job = self.job
        return dead_letter(job.dead_letters, raw, failure, service=job.service, version=job.version)

    def _wait(self, consumer: Source, error: Busy | Retry, times: int) -> None:
        """Wait and stay in every group; raises Stopped when the worker shall stop."""
        reason = type(error).__name__
        _log.warning(reason.lower(), lane=consumer.lane.name, reason=str(error), times=times)
        metrics.RETRIES.labels(self.job.service, consumer.lane.name, reason).inc()
        for place in self._places:
            place.source.hold()
        deadline = time.monotonic() + delay_s(times)
        while time.monotonic() < deadline and not self._stop.wait(0.05):
            for place in self._places:
                place.keep(place.source.poll(0))
        if self._stop.is_set():
            raise Stopped
        for place in self._places:
            place.source.release()


def connect(
    job: Job,
    settings: WorkerSettings,
    schema_of: Callable[[str], AvroSchema],
    writes: Iterable[str],
    stop: threading.Event,
) -> Worker:
    """The Worker of `job` on Kafka and the registry that `settings` name.

    `writes` are the topics whose schema ids must be known before work starts: waits for the
    registry until `stop` if they are not and it is away. Raises Stopped, UnregisteredSchemaError.
    """
    codec = Codec(SchemaIds(settings.registry, settings.cache), schema_of, settings.topic_prefix)
    codec.preload(writes, stop)
    publisher = Publisher(
        settings.kafka, source=job.service, codec=codec, prefix=settings.topic_prefix
    )
    return Worker(
        job, settings.attempts, codec, publisher, partial(LaneConsumer, settings, job.service)
    )
