"""Wires the aggregator: Faust, its tables and agents, and the process around them."""

import asyncio
import threading
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, Final

import faust
import structlog

from aggregator import handlers
from aggregator.agents import SERVICE, Work, consume
from aggregator.delivery import Acknowledgement, Delivery, Outgoing
from aggregator.handlers import PRODUCED, Route
from aggregator.settings import AggregatorSettings
from aggregator.tables import JoinedTable
from darkroom_schemas import avro, catalogue
from streamkit import Codec, Readiness, SchemaIds

_log = structlog.get_logger("aggregator.app")

APP_ID: Final = "darkroom-aggregator"
"""Consumer group, and first part of the changelogs' names; the topic prefix goes before it."""

_DRAIN_S: Final = 3.0
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

    def waiting_for(self) -> Sequence[str]:
        """What readiness lacks: partitions, recovered tables, a broker that acknowledges."""
        lacking = []
        if not self.app.started or self.app.rebalancing:
            lacking.append("partitions")
        if not self.app.started or self.app.in_recovery:
            lacking.append("tables")
        if any(one.stuck for one in self.deliveries.values()):
            lacking.append("acknowledgements of the broker")
        return lacking


def faust_settings(settings: AggregatorSettings, datadir: Path) -> dict[str, Any]:
    """Faust's settings; what differs from its defaults, and why.

    The short session lets a killed worker's partitions be reassigned in 10 s, the static id lets
    its successor have them at once. Topics, changelogs too, are applied beforehand: Faust makes
    none. Producer buffers hold all that may be in flight, so that the event loop never waits for
    room. Timeouts of the producer are short because Delivery repeats.
    """
    return {
        "id": f"{settings.topic_prefix}{APP_ID}",
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
        "consumer_group_instance_id": f"{settings.topic_prefix}{APP_ID}-{settings.instance}",
        "producer_acks": -1,
        "producer_linger": 0.002,
        "producer_max_batch_size": 1 << 20,
        "producer_request_timeout": 30.0,
        "worker_redirect_stdouts": False,
    }


def build(settings: AggregatorSettings, codec: Codec, datadir: Path) -> Aggregator:
    """The aggregator, not started. To be called in the event loop that shall run it."""
    app = faust.App(**faust_settings(settings, datadir))
    deliveries = {}
    for agent, table in _TABLES.items():
        routes = {
            topic: route
            for topic, route in handlers.routes(settings.policy()).items()
            if route.table == table
        }
        deliveries[agent] = _add_agent(app, agent, table, routes, settings, codec)
    return Aggregator(app, deliveries)


def _add_agent(
    app: faust.App,
    agent: str,
    table_name: str,
    routes: Mapping[str, Route],
    settings: AggregatorSettings,
    codec: Codec,
) -> Delivery:
    prefix, known = settings.topic_prefix, catalogue.load()
    changelog = known[f"{APP_ID}-{table_name}-changelog"]
    table = app.Table(table_name, key_type=bytes, value_type=bytes, partitions=changelog.partitions)
    topic = app.topic(
        *(prefix + name for name in routes),
        key_type=bytes,
        value_type=bytes,
        partitions=changelog.partitions,
    )
    work = Work(agent, routes, table, codec, prefix, version("darkroom-aggregator"))
    delivery = Delivery(_sender(app), limit=settings.in_flight)

    async def run(stream: Any) -> None:
        await _guarded(app, stream, work, delivery)

    app.agent(topic, name=agent, concurrency=1)(run)
    return delivery


async def _guarded(app: faust.App, stream: Any, work: Work, delivery: Delivery) -> None:
    """Run an agent; a defect stops the process, loudly and with nothing acknowledged.

    Were it raised, Faust would acknowledge the record and go on.
    """

    def acknowledge(event: Any) -> None:
        # After a rebalance the record is read again, by whoever has its partition now.
        if event.message.generation_id == app.consumer_generation_id:
            event.ack()

    try:
        async with asyncio.TaskGroup() as group:
            group.create_task(delivery.run())
            await consume(stream, work, delivery, acknowledge)
    except ExceptionGroup as defects:
        await app.crash(defects)
    except Exception as defect:  # noqa: BLE001 - the process ends by it
        await app.crash(defect)


def _sender(app: faust.App) -> Any:
    async def send(record: Outgoing) -> Acknowledgement:
        pending: Acknowledgement = await app.producer.send(
            record.topic,
            record.key,
            record.value,
            record.partition,
            None,
            list(record.headers),
        )
        return pending

    return send


def run(settings: AggregatorSettings, stop: threading.Event, readiness: Readiness) -> None:
    """Work until `stop` is set. Blocks; raises what crashed the worker."""
    ids = SchemaIds(settings.registry, settings.cache)
    codec = Codec(ids, avro.schema_of, settings.topic_prefix)
    codec.preload(PRODUCED)
    with TemporaryDirectory(prefix="darkroom-aggregator-") as folder:
        asyncio.run(_serve(settings, codec, Path(folder), stop, readiness))


async def _serve(
    settings: AggregatorSettings,
    codec: Codec,
    datadir: Path,
    stop: threading.Event,
    readiness: Readiness,
) -> None:
    aggregator = build(settings, codec, datadir)
    app = aggregator.app
    readiness.follow(aggregator.waiting_for)
    starting = asyncio.create_task(app.start())
    # A signal wakes no coroutine: the event is a thread's, so it is looked at.
    while not stop.is_set() and not app.crashed:
        if starting.done():
            starting.result()
        await asyncio.sleep(_STOP_LOOK_S)
    if not app.crashed:
        await asyncio.gather(*(one.close(_DRAIN_S) for one in aggregator.deliveries.values()))
    await app.stop()
    starting.cancel()
    if app.crashed:
        raise app.crash_reason
    _log.info("drained")
