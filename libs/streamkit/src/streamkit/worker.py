"""A worker: the core in the caller's thread, a thread for each lane, engines beside them."""

import gc
import queue
import threading
import time
from collections.abc import Callable, Iterable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Final

import structlog

from streamkit.clock import SystemClock
from streamkit.codec import AvroSchema, Codec, SchemaIds
from streamkit.control import TOPIC as CONTROLS
from streamkit.control import ControlReader
from streamkit.core import RETRY, Core
from streamkit.dispatch import Slot
from streamkit.events import (
    Controlled,
    Delivered,
    Drain,
    Event,
    FeedClosed,
    Stop,
    Woken,
)
from streamkit.feed import Feed
from streamkit.heartbeat import HeartbeatMeans, Heartbeats
from streamkit.job import HIGH, Job, group_of
from streamkit.kafka.backend import KafkaBackend
from streamkit.logs import name_keys
from streamkit.metrics import Meter
from streamkit.notices import TOPIC as NOTICES
from streamkit.outside import Outside
from streamkit.ports import Backend, Engine, Producer, Report
from streamkit.publishing import event_record
from streamkit.rate import Bucket, SharedBucket, parse_rate
from streamkit.retry import RetryPlan
from streamkit.settings import WorkerSettings
from streamkit.standing import Tell
from streamkit.waking import wakes
from streamkit.watchdog import Watchdog

_log = structlog.get_logger("streamkit.worker")

_TURN_S: Final = 0.1
"""The core looks at least so often whether it shall stop."""

_MOST_EVENTS: Final = 200
"""Events that are handled before the next turn."""

_FLUSH_S: Final = 5.0

Inbox = queue.SimpleQueue[Event]


@dataclass(frozen=True, slots=True)
class Means:
    """What a worker works with, so that tests can bring other ones."""

    backend: Backend
    codec: Codec
    engine: Callable[[str, int, Report], Engine]
    """An engine of that name, with that niceness, which reports so."""
    writes: Sequence[str] = ()
    """Topics that handlers write to."""


class Worker:
    """Runs a Job until it is told to stop.

    At-least-once: a record is acknowledged once the broker has all events that it caused, so a
    crash repeats work and loses none.
    """

    def __init__(self, job: Job, settings: WorkerSettings, means: Means) -> None:
        self._job = job
        self._settings = settings
        self._means = means
        name_keys(job.keys)
        self._clock = SystemClock()
        self._inbox: Inbox = queue.SimpleQueue()
        self._meter = Meter(job.service, [lane.name for lane in job.lanes])
        self._threads: list[threading.Thread] = []
        self._publishing = True
        self._core: Core | None = None
        self._encode = partial(event_record, means.codec, job.service)
        self.watchdog = Watchdog(stalled=self._meter.stalled)

    def waiting_for(self) -> Sequence[str]:
        """What readiness still lacks; empty when every lane has its partitions."""
        return ["starting"] if self._core is None else self._core.waiting_for()

    def run(self, stop: threading.Event) -> None:
        """Work until `stop` is set, then drain. Blocks.

        Raises HandlerDefectError for what a handler raised beyond instructions, EngineLoadError,
        ConsumerLostError, ProducerLostError; what was finished by then is committed.
        """
        with ExitStack() as ends:
            tell = self._heartbeats(ends)
            controls = self._follow_controls()
            if controls is not None:
                ends.callback(controls.close)
            producer = self._means.backend.producer(self._job.service)
            ends.callback(producer.close)
            core = self._build(producer, tell)
            publisher = threading.Thread(
                target=self._publish, args=(producer,), name="publisher", daemon=True
            )
            publisher.start()
            ends.callback(self._end_publishing, publisher)
            ends.callback(producer.flush, _FLUSH_S)
            ends.callback(core.close)
            ends.callback(self._leave, core)
            ends.enter_context(wakes(stop, lambda: self._inbox.put(Woken())))
            with self.watchdog:
                core.start(self._open_feeds)
                self._core = core
                _collect_seldom()
                self._loop(core, stop)

    # -- the core's thread ----------------------------------------------------------------------

    def _loop(self, core: Core, stop: threading.Event) -> None:
        told = False
        while not core.over:
            if stop.is_set() and not told:
                told = True
                core.handle(Stop())
            self._step(core, core.handle)
            self.watchdog.beat()

    def _step(self, core: Core, handle: Callable[[Event], None]) -> None:
        """Wait for an event, handle what is there, turn."""
        wait_s = min(_TURN_S, max(0.0, core.next_at() - self._clock.monotonic()))
        inbox = self._inbox
        try:
            handle(inbox.get(timeout=wait_s))
            for _ in range(min(inbox.qsize(), _MOST_EVENTS)):
                handle(inbox.get_nowait())
        except queue.Empty:
            pass
        core.turn()

    def _leave(self, core: Core) -> None:
        """After a failure: commit what is finished and leave the groups; nothing new begins.

        What fails once more is only told: the failure itself is on its way to the caller.
        """
        if core.over:
            return
        deadline = time.monotonic() + self._settings.drain_s
        try:
            core.handle(Stop())
            while not core.over and time.monotonic() < deadline:
                self._step(core, core.handle_leaving)
        except Exception:  # noqa: BLE001 - see above
            _log.exception("leaving_failed")

    # -- other threads --------------------------------------------------------------------------

    def _publish(self, producer: Producer) -> None:
        """Tell the core what became of what it sent."""
        try:
            while self._publishing:
                deliveries = producer.poll(_TURN_S)
                if deliveries:
                    self._inbox.put(Delivered(deliveries))
        except Exception as error:  # noqa: BLE001 - handed to the core, which raises it
            self._inbox.put(FeedClosed("publisher", error))

    def _end_publishing(self, publisher: threading.Thread) -> None:
        self._publishing = False
        publisher.join(_FLUSH_S)

    def _open_feeds(self) -> Iterable[Feed]:
        """Join the groups; each feed has a thread."""
        plan = self._plan()
        wanted = [(lane.name, lane.topics) for lane in self._job.lanes]
        if plan.topics():
            wanted.append((RETRY, plan.topics()))
        needed = [*(topic for _, topics in wanted for topic in topics), self._job.dead_letters]
        needed += self._means.writes
        missing = self._means.backend.missing(needed)
        if missing:
            _log.error("topics_missing", topics=missing, cure="create them; the worker waits")
        for name, topics in wanted:
            group = group_of(self._job.service, name)
            feed = Feed(
                name,
                self._means.backend,
                group,
                topics,
                self._inbox.put,
                self._clock,
                self._drained,
            )
            thread = threading.Thread(target=feed.run, name=f"lane-{name}", daemon=True)
            self._threads.append(thread)
            yield feed
            thread.start()

    def _drained(self, drain: Drain) -> bool:
        # The core answers within drain_s; longer means that it stands still.
        return drain.wait(self._settings.drain_s + 5.0)

    def _follow_controls(self) -> ControlReader | None:
        if not self._settings.operations:
            return None
        reader = ControlReader(
            self._settings.kafka,
            self._job.service,
            self._means.codec.decode,
            lambda control: self._inbox.put(Controlled(control)),
            prefix=self._settings.topic_prefix,
            options=self._settings.kafka_options,
        )
        reader.start()
        return reader

    # -- building -------------------------------------------------------------------------------

    def _heartbeats(self, ends: ExitStack) -> Tell | None:
        """Say that the worker starts; what is to be told of it until it `ends`."""
        if not self._settings.operations:
            return None
        client = f"{self._job.service}-heartbeat"
        # A producer of their own: none of them waits among events, and no event among them.
        means = HeartbeatMeans(partial(self._means.backend.producer, client), self._encode)
        job, every_s = self._job, self._settings.heartbeat_s
        return ends.enter_context(Heartbeats(job.service, job.version, every_s, means)).tell

    def _build(self, producer: Producer, tell: Tell | None) -> Core:
        outside = Outside(
            self._clock,
            producer,
            self._meter,
            self._encode if self._settings.operations else None,
            self._bucket_of,
            tell,
        )
        return Core(self._job, self._settings.policy, self._slots(), outside)

    def _plan(self) -> RetryPlan:
        return RetryPlan(self._job.service, self._settings.policy.retry_tiers)

    def _bucket_of(self, target: str, rate: str) -> Bucket:
        from streamkit.rate_redis import RedisTokens, connect_redis

        key = f"{self._settings.topic_prefix}darkroom:rate:{target}"
        bucket = SharedBucket(
            RedisTokens(connect_redis(self._settings.redis), key),
            parse_rate(rate),
            self._clock,
            wake=lambda: self._inbox.put(Woken()),
            on_local=self._meter.rate_local,
        )
        bucket.start()
        return bucket

    def _slots(self) -> list[Slot]:
        """The engines: one for the lane high beside one or more for the others; or one for all."""
        names = frozenset(lane.name for lane in self._job.lanes)
        settings, make, report = self._settings, self._means.engine, self._inbox.put
        apart = settings.high_engine != "shared" and HIGH in names and len(names) > 1
        if self._job.isolation == "thread":
            return [Slot(make("thread", 0, report), names)]
        if not apart:
            return [Slot(make(name, 0, report), names) for name in self._bulk_names("all")]
        lazy = settings.high_engine == "lazy"
        bulk = names - {HIGH}
        return [
            Slot(make(HIGH, 0, report), frozenset({HIGH}), lazy=lazy),
            *(
                Slot(make(name, settings.bulk_nice, report), bulk)
                for name in self._bulk_names("bulk")
            ),
        ]

    def _bulk_names(self, word: str) -> list[str]:
        count = self._settings.bulk_engines
        return [word] if count == 1 else [f"{word}-{number}" for number in range(1, count + 1)]


def _collect_seldom() -> None:
    """Have Python look for garbage less often than by default, and not among what is there now.

    A worker makes many tuples that live for a moment and hardly any cycles; looking through them
    after every 700 cost a third of its time (measured: 5 of 16 µs for each record).
    """
    gc.freeze()
    gc.set_threshold(50_000, 20, 20)


def connect(
    job: Job,
    settings: WorkerSettings,
    schema_of: Callable[[str], AvroSchema],
    writes: Iterable[str],
    stop: threading.Event,
) -> Worker:
    """The Worker of `job` on Kafka and the registry that `settings` name.

    `writes` are the topics whose schema ids must be known before work starts: waits for the
    registry until `stop` if they are not and it is away. `schema_of` has to be a function of a
    module, since engine processes need it too. Raises Stopped, UnregisteredSchemaError.
    """
    make_codec = partial(
        open_codec, settings.registry, str(settings.cache), schema_of, settings.topic_prefix
    )
    codec = make_codec()
    # No heartbeat is worth waiting for: their thread learns the id of theirs by itself.
    ours = (NOTICES, CONTROLS) if settings.operations else ()
    written = tuple(writes)
    codec.preload((*written, *ours), stop)
    backend = KafkaBackend(
        settings.kafka,
        prefix=settings.topic_prefix,
        protocol=settings.group_protocol,
        member=settings.group_member,
        options=settings.kafka_options,
    )
    engine = partial(_engine, job, settings, make_codec)
    return Worker(job, settings, Means(backend, codec, engine, written))


def open_codec(
    registry: str, cache: str, schema_of: Callable[[str], AvroSchema], prefix: str
) -> Codec:
    """A codec on a registry; made anew in each engine process."""
    return Codec(SchemaIds(registry, Path(cache)), schema_of, prefix)


def _engine(
    job: Job,
    settings: WorkerSettings,
    codec: Callable[[], Codec],
    name: str,
    nice: int,
    report: Report,
) -> Engine:
    batching = job.batching is not None
    if job.isolation == "thread":
        from streamkit.engine.thread import ThreadEngine

        return ThreadEngine(
            name, job.handlers, codec, report, source=job.service, batching=batching
        )
    from streamkit.engine.process import ProcessEngine

    return ProcessEngine(
        name,
        job.handlers,
        codec,
        report,
        source=job.service,
        nice=nice,
        soft_s=settings.soft_deadline_s,
        preload=job.preload,
        batching=batching,
        log_level=settings.log_level,
        trace_sample=settings.trace_sample,
        keys=job.keys,
    )
