"""Wires the aggregator: Faust, its tables and agents, and the process around them."""

import asyncio
import logging
import threading
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, Final, cast

import faust
import structlog

from aggregator import handlers
from aggregator.agents import Work, consume
from aggregator.consuming import KeepingFlow, mend
from aggregator.delivery import Acknowledgement, Delivery, Outgoing, Send
from aggregator.handlers import PRODUCED
from aggregator.settings import Settings
from aggregator.tables import JoinedTable
from darkroom_schemas import avro, catalogue
from streamkit import MAX_MESSAGE_BYTES, Codec, Readiness, SchemaIds

_log = structlog.get_logger("aggregator.app")

APP_ID: Final = "darkroom-aggregator"
"""Consumer group, and first part of the changelogs' names; the topic prefix goes before it."""

_DRAIN_S: Final = 3.0
_LEAVE_S: Final = 4.0
_STOP_LOOK_S: Final = 0.1
_TABLES: Final = {
    "photos": handlers.ANALYSES,
    "chunks": handlers.CHUNKS,
    "batches": handlers.BATCHES,
}
"""Each agent's table."""


@dataclass(frozen=True, slots=True)
class Aggregator:
    """The Faust app and its agents' deliveries."""

    app: faust.App
    deliveries: Mapping[str, Delivery]

    def waiting_for(self, started: bool) -> Sequence[str]:
        """What readiness lacks; `started` once the app has its partitions and its tables."""
        if not started or self.app.rebalancing or self.app.in_recovery:
            return ["partitions and tables"]
        if any(one.stuck for one in self.deliveries.values()):
            return ["acknowledgements of the broker"]
        return []


@dataclass(frozen=True, slots=True)
class Tenure:
    """Whether what was received still is this process's to work on.

    Once a rebalance has begun, or tables are being recovered, it is not: the record is read again
    from the committed offset afterwards, here or elsewhere, and must not change a table now. The
    rebalance begins on the consumer's thread, before the queues are cleared on this one: what is
    taken from them in between is as old, so clearing ends a term too.
    """

    app: faust.App
    flow: KeepingFlow

    def term(self) -> int:
        """The present term: of two numbers that only grow, the sum."""
        return int(self.app.rebalancing_count) + self.flow.cleared

    def holds(self, term: int) -> bool:
        """Whether that term still lasts."""
        return self.term() == term and not self.app.in_recovery


def faust_settings(settings: Settings, datadir: Path) -> dict[str, Any]:
    """Faust's settings; what differs from its defaults, and why.

    The short session lets a killed worker's partitions be reassigned in 10 s, the static id lets
    its successor have them at once. Topics, changelogs too, are applied beforehand: Faust makes
    none. Producer buffers hold all that may be in flight, so that the event loop never waits for
    room. Timeouts of the producer are short because Delivery repeats.
    """
    group = f"{settings.topic_prefix}{APP_ID}"
    return {
        "id": group,
        "broker": f"kafka://{settings.kafka.replace(',', ';')}",
        "datadir": datadir,
        "store": "memory://",
        "processing_guarantee": "at_least_once",
        "Table": JoinedTable,
        "web_enabled": False,
        "topic_allow_declare": False,
        "topic_disable_leader": True,
        "table_standby_replicas": 0,
        "stream_wait_empty": False,
        "broker_session_timeout": 10.0,
        "broker_heartbeat_interval": 3.0,
        "broker_commit_interval": 1.0,
        "consumer_group_instance_id": f"{group}-{settings.aggregator_instance}",
        "producer_acks": -1,
        "producer_linger": 0.002,
        "producer_max_batch_size": 1 << 20,
        "producer_max_request_size": MAX_MESSAGE_BYTES,
        "producer_request_timeout": 30.0,
        "worker_redirect_stdouts": False,
    }


def build(settings: Settings, codec: Codec, datadir: Path) -> Aggregator:
    """The aggregator, not started. To be called in the event loop that shall run it."""
    app = faust.App(**faust_settings(settings, datadir))
    tenure = Tenure(app, mend(app))
    routes = handlers.routes(settings.policy())
    deliveries = {}
    for lane, table in _TABLES.items():
        ours = {topic: route for topic, route in routes.items() if route.table == table}
        partitions = catalogue.load()[f"{APP_ID}-{table}-changelog"].partitions
        work = Work(
            lane=lane,
            routes=ours,
            table=_table(app, table, partitions),
            codec=codec,
            prefix=settings.topic_prefix,
            version=version("darkroom-aggregator"),
        )
        delivery = Delivery(_sender(app), limit=settings.aggregator_in_flight)
        _add_agent(tenure, work, delivery, partitions)
        deliveries[lane] = delivery
    return Aggregator(app, deliveries)


def _table(app: faust.App, name: str, partitions: int) -> JoinedTable:
    """Keys and values are bytes as they are: a key's must equal those of the source's key."""
    table = app.Table(name, key_type=bytes, value_type=bytes, partitions=partitions)
    return cast(JoinedTable, table)


def _add_agent(tenure: Tenure, work: Work, delivery: Delivery, partitions: int) -> None:
    app = tenure.app
    topics = [work.prefix + name for name in work.routes]
    source = app.topic(*topics, key_serializer="raw", value_serializer="raw", partitions=partitions)

    async def run(stream: Any) -> None:
        await _guarded(tenure, stream, work, delivery)

    app.agent(source, name=work.lane, concurrency=1)(run)


async def _guarded(tenure: Tenure, stream: Any, work: Work, delivery: Delivery) -> None:
    """Run an agent; a defect stops the process, loudly and with nothing acknowledged.

    Were it raised, Faust would acknowledge the record and go on.
    """
    try:
        async with asyncio.TaskGroup() as group:
            group.create_task(delivery.run())
            await consume(stream, work, delivery, tenure)
    except Exception as defect:  # noqa: BLE001 - the process ends by it
        await tenure.app.crash(defect)


def _sender(app: faust.App) -> Send:
    async def send(record: Outgoing) -> Acknowledgement:
        headers = list(record.headers)
        pending = await app.producer.send(
            record.topic, record.key, record.value, record.partition, None, headers
        )
        return cast(Acknowledgement, pending)

    return send


def run(settings: Settings, stop: threading.Event, readiness: Readiness) -> None:
    """Work until `stop` is set. Blocks; raises what crashed the worker."""
    _quiet(settings)
    ids = SchemaIds(settings.registry, settings.cache)
    codec = Codec(ids, avro.schema_of, settings.topic_prefix)
    codec.preload(PRODUCED, stop)
    with TemporaryDirectory(prefix="darkroom-aggregator-") as folder:
        asyncio.run(_serve(settings, codec, Path(folder), stop, readiness))


def _quiet(settings: Settings) -> None:
    """Faust tells of every service that it starts; only warnings are for the reader of a log."""
    if settings.log_level != "debug":
        for name in ("faust", "mode", "aiokafka", "aggregator.tables", "aggregator.consuming"):
            logging.getLogger(name).setLevel(logging.WARNING)


async def _serve(
    settings: Settings,
    codec: Codec,
    datadir: Path,
    stop: threading.Event,
    readiness: Readiness,
) -> None:
    aggregator = build(settings, codec, datadir)
    app = aggregator.app
    starting = asyncio.create_task(app.start())
    readiness.follow(lambda: aggregator.waiting_for(started=starting.done()))
    starting.add_done_callback(lambda _: _log.info("started"))
    # A signal wakes no coroutine: the event is a thread's, so it is looked at.
    while not stop.is_set() and not app.crashed:
        if starting.done():
            starting.result()
        await asyncio.sleep(_STOP_LOOK_S)
    if not app.crashed:
        await asyncio.gather(*(one.close(_DRAIN_S) for one in aggregator.deliveries.values()))
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
