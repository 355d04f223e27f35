"""Wires the control door."""

from collections.abc import Callable
from functools import partial
from typing import Final

from darkroom_schemas.avro import schema_of
from darkroom_schemas.names import BATCH_INTAKE, PHOTO_BATCH_JOINED, PHOTO_SUBMITTED
from gateway import db, locks
from gateway.catalog.outbox import Outbox
from gateway.control.control import Control
from gateway.control.duty import Duty
from gateway.control.imports import ImportRunner
from gateway.control.relay import Relay
from gateway.control.scan import Means, Pace
from gateway.settings import SERVICE, Settings
from streamkit import Codec, ObjectStore, Publisher, Readiness, SchemaIds, service_frame

PRODUCED: Final = (*PHOTO_SUBMITTED.values(), PHOTO_BATCH_JOINED, BATCH_INTAKE)
"""Topics whose events the gateway writes, all through the outbox."""


def build_control(settings: Settings, codec: Codec, publisher: Publisher) -> Control:
    """The control door, not started."""
    store = ObjectStore(settings.objects, settings.stores)
    pace = Pace(in_flight=settings.import_in_flight, limit=settings.photo_max_bytes)
    relay = Relay(publisher.publish_raw)
    runner = ImportRunner(Means(Outbox(codec), store, pace))
    duties = (
        Duty("relay", locks.RELAY, _connecting(settings, "relay"), relay.work),
        Duty("imports", locks.IMPORTS, _connecting(settings, "imports"), runner.work),
    )
    return Control(duties)


def run_control(settings: Settings) -> None:
    """Relay and import until SIGTERM or SIGINT."""
    readiness = Readiness("start")
    with service_frame("gateway-control", settings, readiness) as stop:
        ids = SchemaIds(settings.registry, settings.cache)
        codec = Codec(ids, schema_of, settings.topic_prefix)
        readiness.follow(lambda: ["schema registry"])
        codec.preload(PRODUCED, stop)
        publisher = Publisher(
            settings.kafka, source=SERVICE, codec=codec, prefix=settings.topic_prefix
        )
        control = build_control(settings, codec, publisher)
        readiness.follow(control.waiting_for)
        control.run(stop)


def _connecting(settings: Settings, what: str) -> Callable[[], db.Conn]:
    return partial(db.connect, settings.database, name=f"darkroom-gateway-{what}")
