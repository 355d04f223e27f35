"""The loop: take a record, handle it, publish, acknowledge."""

import dataclasses
import itertools
import threading
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
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
    _consumers: list[Source] = field(default_factory=list)

    def waiting_for(self) -> Sequence[str]:
        """What readiness still lacks; empty when every lane has its partitions."""
        if not self._consumers:
            return ["starting"]
        return [f"partitions of {c.lane.name}" for c in self._consumers if not c.assigned]

    def run(self, stop: threading.Event) -> None:
        """Work until `stop` is set. Blocks. Raises what a handler raised beyond instructions."""
        self._stop = stop
        self._consumers = [self.open_lane(lane) for lane in self.job.lanes]
        try:
            while not stop.is_set():
                self._turn()
        except Stopped:
            _log.info("stopped_while_waiting")
        finally:
            for consumer in self._consumers:
                consumer.close()
            self.publisher.close()

    def _turn(self) -> None:
        """Work on the first record of the highest lane that has one; wait a moment for none."""
        for consumer in self._consumers:
            message = consumer.poll(0)
            if message is not None:
                self._work(consumer, message)
                return
        highest = self._consumers[0]
        message = highest.poll(_IDLE_WAIT_S)
        if message is not None:
            self._work(highest, message)

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
        """Handle and publish until the record is done or a dead letter; returns which."""
        failures, pauses = 0, 0
        while True:
            try:
                self._handle(consumer, raw)
                return "done"
            except Busy as error:
                pauses += 1
                _log.warning("busy", lane=consumer.lane.name, reason=str(error), times=pauses)
                self._count_retry(consumer, error)
                self._wait(delay_s(pauses))
            except Reject as error:
                failure = Failure(error.code, error.message, failures + 1)
                return self._bury(consumer, raw, failure)
            except Retry as error:
                failures += 1
                if failures >= self.attempts:
                    failure = Failure("gave_up", str(error), failures)
                    return self._bury(consumer, raw, failure)
                _log.warning("retry", lane=consumer.lane.name, reason=str(error), times=failures)
                self._count_retry(consumer, error)
                self._wait(delay_s(failures))

    def _handle(self, consumer: Source, raw: Taken) -> None:
        message = self._decoded(consumer, raw)
        emits = self.job.handlers[message.topic](message)
        self._publish(emits, message)

    def _publish(self, emits: Sequence[Emit], cause: Message) -> None:
        if emits:
            self.publisher.publish(emits, cause.headers.get("traceparent"))

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
        """Publish the dead letter and what the job says of it, for as long as it takes."""
        for attempt in itertools.count(1):
            try:
                emits = self._last_words(consumer, raw, failure)
                traceparent = readable(raw.headers).get("traceparent")
                records = [self.publisher.encode(emit, traceparent) for emit in emits]
                self.publisher.publish_raw([*records, self._dead_letter(raw, failure)])
                break
            except Busy as error:
                _log.warning("busy", lane=consumer.lane.name, reason=str(error), times=attempt)
                self._wait(delay_s(attempt))
        metrics.DEAD_LETTERS.labels(self.job.service, consumer.lane.name, failure.code).inc()
        _log.error("dead_letter", lane=consumer.lane.name, **dataclasses.asdict(failure))
        return "dead_letter"

    def _last_words(self, consumer: Source, raw: Taken, failure: Failure) -> Sequence[Emit]:
        """What the job wants said; nothing of a record that can't be read."""
        try:
            message = self._decoded(consumer, raw)
        except Reject:
            return ()
        return self.job.give_up(message, failure)

    def _dead_letter(self, raw: Taken, failure: Failure) -> RawRecord:
        job = self.job
        return dead_letter(job.dead_letters, raw, failure, service=job.service, version=job.version)

    def _count_retry(self, consumer: Source, error: Busy | Retry) -> None:
        reason = type(error).__name__
        metrics.RETRIES.labels(self.job.service, consumer.lane.name, reason).inc()

    def _wait(self, seconds: float) -> None:
        """Wait and stay in every group; raises Stopped when the worker shall stop."""
        for consumer in self._consumers:
            consumer.hold()
        deadline = time.monotonic() + seconds
        while time.monotonic() < deadline and not self._stop.wait(0.05):
            for consumer in self._consumers:
                early = consumer.poll(0)
                if early is not None:  # fetched before the hold
                    consumer.give_back(early)
        if self._stop.is_set():
            raise Stopped
        for consumer in self._consumers:
            consumer.release()


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
