"""A service of folds: Faust, its tables and agents, and the process around them."""

import asyncio
import logging
import threading
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, Final, cast

import faust
import structlog

from streamkit.codec import AvroSchema, Codec, SchemaIds
from streamkit.faust.agent import Agent, Progress
from streamkit.faust.consuming import LARGEST_BATCH, Consumer, Transport, mend
from streamkit.faust.delivery import Delivery, Sender
from streamkit.faust.folding import Fold, Folding, Service
from streamkit.faust.standing import Beats
from streamkit.faust.sweeping import Sweeper
from streamkit.faust.tables import FoldTable
from streamkit.first_letters import FirstLetters
from streamkit.heartbeat import HeartbeatMeans, Heartbeats
from streamkit.kafka.backend import KafkaBackend
from streamkit.logs import name_keys
from streamkit.metrics import Meter
from streamkit.notices import TOPIC as NOTICES
from streamkit.publishing import MAX_MESSAGE_BYTES, event_record
from streamkit.service import Readiness
from streamkit.settings import KafkaSettings, TopicSettings
from streamkit.standing import Tell
from streamkit.watchdog import Watchdog

_log = structlog.get_logger("streamkit.faust.app")

_DRAIN_S: Final = 3.0
_LEAVE_S: Final = 4.0
_STOP_LOOK_S: Final = 0.1

_LOUD: Final = (
    "faust",
    "mode",
    "aiokafka",
    "streamkit.faust.consuming",
    "streamkit.faust.tables",
)
"""Loggers of Faust's: a service of it logs under the module that its class is in."""


@dataclass(frozen=True, slots=True, kw_only=True)
class FoldApp:
    """A service that runs folds on Faust.

    `application` is its consumer group and the first part of the changelogs' names (the rest is
    `-TABLE-changelog`); `instance` names this process among those of the service, and is the same
    after a restart. All topics, changelogs too, must exist with equal partition counts. With
    `notices` the first dead letter of a kind is told by `ops.notified.v1`, which must exist, too;
    with `heartbeat_s` (seconds) how the service stands is told that often by `ops.worker.v1`.
    `keys` as a Job's.
    """

    service: str
    version: str
    application: str
    dead_letters: str
    folds: tuple[Fold, ...]
    writes: tuple[str, ...]
    settings: TopicSettings
    schema_of: Callable[[str], AvroSchema]
    instance: str
    most: int = 1_000
    notices: bool = False
    heartbeat_s: float = 0.0
    keys: Mapping[str, str] = field(default_factory=dict)

    def run(self, stop: threading.Event, readiness: Readiness) -> None:
        """Work until `stop` is set. Blocks; raises what crashed the worker.

        Waits for the registry if a schema id was never learned; raises UnregisteredSchemaError.
        """
        quiet(self.settings.log_level)
        name_keys(self.keys)
        ids = SchemaIds(self.settings.registry, self.settings.cache)
        codec = Codec(ids, self.schema_of, self.settings.topic_prefix)
        codec.preload((*self.writes, *((NOTICES,) if self.notices else ())), stop)
        with ExitStack() as ends:
            tell = self._heartbeats(codec, ends)
            folder = ends.enter_context(TemporaryDirectory(prefix=f"{self.application}-"))
            asyncio.run(_serve(self, codec, Path(folder), stop, readiness, tell))

    def _heartbeats(self, codec: Codec, ends: ExitStack) -> Tell | None:
        """Say that the service starts; what is to be told of it until it `ends`."""
        if not self.heartbeat_s:
            return None
        settings = self.settings
        backend = KafkaBackend(
            settings.kafka, prefix=settings.topic_prefix, options=settings.kafka_options
        )
        means = HeartbeatMeans(
            partial(backend.producer, f"{self.service}-heartbeat"),
            partial(event_record, codec, self.service),
        )
        beats = Heartbeats(self.service, self.version, self.heartbeat_s, means)
        return ends.enter_context(beats).tell


@dataclass(frozen=True, slots=True)
class Running:
    """The Faust app and its agents, by lane."""

    app: faust.App
    agents: Mapping[str, Agent]
    meter: Meter
    beats: Beats | None = None

    def waiting_for(self, started: bool) -> Sequence[str]:
        """What readiness lacks; `started` once the app has its partitions and its tables."""
        if not self._has_all(started):
            return ["partitions and tables"]
        if any(agent.delivery.stuck for agent in self.agents.values()):
            return ["acknowledgements of the broker"]
        return []

    def beat(self, started: bool) -> None:
        """Tell how it stands, if that is due."""
        if self.beats is not None:
            self.beats.turn(ready=self._has_all(started))

    def _has_all(self, started: bool) -> bool:
        return started and not self.app.rebalancing and not self.app.in_recovery


def faust_settings(of: FoldApp, datadir: Path) -> dict[str, Any]:
    """Faust's settings; what differs from its defaults, and why.

    The short session lets a killed worker's partitions be reassigned in 10 s, the static id lets
    its successor have them at once. A record may wait for the registry for as long as it takes.
    Topics, changelogs too, are applied beforehand: Faust makes none. Records go to the producer by
    batches, which need not linger. Timeouts of the producer are short because Delivery repeats.
    """
    settings = of.settings
    group = f"{settings.topic_prefix}{of.application}"
    return {
        "id": group,
        "broker": f"kafka://{settings.kafka.replace(',', ';')}",
        "broker_credentials": credentials(settings),
        "datadir": datadir,
        "store": "memory://",
        "processing_guarantee": "at_least_once",
        "Table": FoldTable,
        "web_enabled": False,
        "topic_allow_declare": False,
        "topic_disable_leader": True,
        "table_standby_replicas": 0,
        "stream_wait_empty": False,
        "broker_session_timeout": 10.0,
        "broker_heartbeat_interval": 3.0,
        "broker_commit_interval": 1.0,
        "broker_max_poll_interval": 86_400.0,
        "consumer_group_instance_id": f"{group}-{of.instance}",
        "producer_acks": -1,
        "producer_linger": 0.0,
        "producer_max_batch_size": LARGEST_BATCH,
        "producer_max_request_size": MAX_MESSAGE_BYTES,
        "producer_request_timeout": 30.0,
        "worker_redirect_stdouts": False,
    }


def credentials(settings: KafkaSettings) -> faust.SASLCredentials | faust.SSLCredentials | None:
    """Faust's words for them. Raises OSError as `kafka_tls` does."""
    tls = settings.kafka_tls()
    if settings.kafka_user:
        return faust.SASLCredentials(
            username=settings.kafka_user,
            password=settings.kafka_password.get_secret_value(),
            ssl_context=tls,
            mechanism=settings.kafka_mechanism,
        )
    return None if tls is None else faust.SSLCredentials(tls)


def build(of: FoldApp, codec: Codec, datadir: Path, tell: Tell | None = None) -> Running:
    """The service, not started, which `tell` is told the standing of. To be called in the event
    loop that shall run it."""
    app = faust.App(**faust_settings(of, datadir))
    transport = mend(app)
    meter = Meter(of.service, [fold.lane for fold in of.folds])
    first_letters = FirstLetters(of.service) if of.notices else None
    service = Service(of.service, of.version, of.dead_letters, meter, first_letters)
    agents = {fold.lane: _added(of, app, transport, fold, service, codec) for fold in of.folds}
    beats = None
    if tell is not None:
        topics = {
            of.settings.topic_prefix + name: name for fold in of.folds for name in fold.topics
        }
        assigned = lambda: cast(Consumer, app.consumer).assigned  # noqa: E731
        beats = Beats(agents, assigned, topics, tell, of.heartbeat_s)
    return Running(app, agents, meter, beats)


def _added(
    of: FoldApp, app: faust.App, transport: Transport, fold: Fold, service: Service, codec: Codec
) -> Agent:
    """Give the app an agent for this fold, with its table."""
    prefix = of.settings.topic_prefix
    table = cast(
        FoldTable,
        app.Table(fold.table, key_type=bytes, value_type=bytes, partitions=fold.partitions),
    )
    folding = Folding(fold, service, table, codec, prefix)
    delivery = Delivery(
        lambda: cast(Sender, app.producer),
        changelog=table.changelog_topic_name,
        partitions=fold.partitions,
        prefix=prefix,
    )
    progress = lambda: cast(Progress, app.consumer)  # noqa: E731
    agent = Agent(folding, service, delivery, progress, most=of.most)
    ready = lambda: not (app.rebalancing or app.in_recovery)  # noqa: E731
    sweeper = Sweeper(fold, folding, table, delivery, ready)
    topics = [prefix + name for name in fold.topics]
    transport.inboxes.update(dict.fromkeys(topics, agent.inbox))
    source = app.topic(
        *topics, key_serializer="raw", value_serializer="raw", partitions=fold.partitions
    )

    async def run(_stream: Any) -> None:
        await _guarded(app, agent, sweeper)

    app.agent(source, name=fold.lane, concurrency=1)(run)
    return agent


async def _guarded(app: faust.App, agent: Agent, sweeper: Sweeper) -> None:
    """Run an agent; a defect stops the process, loudly and with nothing acknowledged."""
    try:
        async with asyncio.TaskGroup() as group:
            group.create_task(sweeper.run())
            group.create_task(agent.run())
    except Exception as defect:  # noqa: BLE001 - the process ends by it
        await app.crash(defect)


def quiet(log_level: str) -> None:
    """Faust tells of every service that it starts; only warnings are for the reader of a log."""
    if log_level != "debug":
        for name in _LOUD:
            logging.getLogger(name).setLevel(logging.WARNING)


async def _serve(
    of: FoldApp,
    codec: Codec,
    datadir: Path,
    stop: threading.Event,
    readiness: Readiness,
    tell: Tell | None,
) -> None:
    running = build(of, codec, datadir, tell)
    with Watchdog(stalled=running.meter.stalled) as watchdog:
        starting = asyncio.create_task(running.app.start())
        starting.add_done_callback(lambda _: _log.info("started"))
        readiness.follow(lambda: running.waiting_for(started=starting.done()), watchdog.trouble)
        await _until(stop, running, starting, watchdog)
        await _left(running, starting)


async def _until(
    stop: threading.Event, running: Running, starting: "asyncio.Task[None]", watchdog: Watchdog
) -> None:
    """Wait for the stop, or a crash; raises what keeps the app from starting."""
    # A signal wakes no coroutine: the event is a thread's, so it is looked at.
    while not stop.is_set() and not running.app.crashed:
        watchdog.beat()
        if starting.done():
            starting.result()
        running.beat(started=starting.done())
        await asyncio.sleep(_STOP_LOOK_S)


async def _left(running: Running, starting: "asyncio.Task[None]") -> None:
    """Finish what is in hand and leave; raises what the app crashed by."""
    app, beats = running.app, running.beats
    if beats is not None:
        beats.stop()
    if not app.crashed:
        await asyncio.gather(*(agent.close(_DRAIN_S) for agent in running.agents.values()))
    if beats is not None:
        beats.drained()
    starting.cancel()
    await _stopped(app)
    if app.crash_reason is not None:
        raise app.crash_reason
    _log.info("drained")


async def _stopped(app: faust.App) -> None:
    """Leave the group, with what is acknowledged committed; a crashed app may hang here."""
    try:
        async with asyncio.timeout(_LEAVE_S):
            await app.stop()
    except TimeoutError:
        _log.warning("left_without_commit", after_s=_LEAVE_S)
