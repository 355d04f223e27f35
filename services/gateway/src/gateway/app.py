"""Wires the gateway's doors; the only place that knows what they are made of."""

from collections.abc import Callable, Mapping
from functools import partial
from importlib.metadata import version
from typing import Final

from darkroom_schemas import catalogue, ids
from darkroom_schemas.avro import schema_of
from darkroom_schemas.names import BATCH_INTAKE, PHOTO_BATCH_JOINED, PHOTO_SUBMITTED
from gateway import db, migrations
from gateway.api.bodies import UploadBudget
from gateway.api.catalog import Catalog
from gateway.api.door import Door
from gateway.api.feed import Feed
from gateway.api.hub import Hub
from gateway.api.server import Server, server
from gateway.api.system import System
from gateway.api.writes import Writes
from gateway.catalog.changes import changes
from gateway.catalog.outbox import Outbox
from gateway.command import Command
from gateway.control.control import Control
from gateway.control.duty import Duty
from gateway.control.imports import IMPORTS_LOCK, ImportRunner
from gateway.control.relay import RELAY_LOCK, Relay
from gateway.control.scan import Means, Pace
from gateway.recorder.handlers import Recorder, handlers
from gateway.recorder.news import News, channel, open_redis
from gateway.recorder.session import Session
from gateway.settings import Settings
from streamkit import (
    Codec,
    Job,
    Lane,
    ObjectStore,
    Publisher,
    Readiness,
    SchemaIds,
    Worker,
    connect,
    service_frame,
)
from streamkit.logs import configure_logs

SERVICE: Final = "gateway"

PRODUCED: Final = (*PHOTO_SUBMITTED.values(), PHOTO_BATCH_JOINED, BATCH_INTAKE)
"""Topics whose events the gateway writes, all through the outbox."""


def build_codec(settings: Settings) -> Codec:
    """The codec of all that the gateway writes; raises as Codec.preload."""
    ids = SchemaIds(settings.registry, settings.cache)
    codec = Codec(ids, schema_of, settings.topic_prefix)
    codec.preload(PRODUCED)
    return codec


def build_recorder(settings: Settings, session: Session) -> Worker:
    """The recorder, not started. `session` is its connection to the catalog."""
    news = News(open_redis(settings.redis), settings.topic_prefix)
    by_topic = handlers(Recorder(session, news))
    job = Job(
        service=SERVICE,
        version=version("darkroom-gateway"),
        lanes=(Lane("recorder", tuple(by_topic)),),
        handlers=by_topic,
        dead_letters=catalogue.load().dead_letters(SERVICE),
    )
    return connect(job, settings, schema_of, writes=())


def build_control(settings: Settings, codec: Codec, publisher: Publisher) -> Control:
    """The control door, not started."""
    store = ObjectStore(settings.objects, settings.stores)
    pace = Pace(in_flight=settings.import_in_flight, limit=settings.photo_limit)
    relay = Relay(publisher.publish_raw)
    runner = ImportRunner(Means(Outbox(codec), store, pace))
    duties = (
        Duty("relay", RELAY_LOCK, _connecting(settings, "relay"), relay.work),
        Duty("imports", IMPORTS_LOCK, _connecting(settings, "imports"), runner.work),
    )
    return Control(duties)


def build_api(settings: Settings, pool: db.Pool) -> Server:
    """The api door, not listening. Nothing that it needs has to be there yet."""
    catalog = Catalog(pool, ids.LOCAL_OWNER)
    codec = Codec(SchemaIds(settings.registry, settings.cache), schema_of, settings.topic_prefix)
    hub = Hub(catalog.load, settings.websocket_backlog)
    feed = Feed(
        settings.redis, channel(settings.topic_prefix), partial(catalog.ask, changes), hub.deliver
    )
    return server(
        Door(
            settings=settings,
            catalog=catalog,
            objects=ObjectStore(settings.objects, settings.stores),
            writes=Writes(Outbox(codec), settings.outbox_limit),
            hub=hub,
            feed=feed,
            system=System(settings, catalog),
            uploads=UploadBudget(settings.upload_memory),
        )
    )


def _connecting(settings: Settings, what: str) -> Callable[[], db.Conn]:
    return partial(db.connect, settings.database, name=f"darkroom-gateway-{what}")


def run_api(settings: Settings) -> None:
    """Serve until SIGTERM or SIGINT; health is served on the API's own port."""
    configure_logs("gateway-api", settings.log_level)
    pool = db.open_pool(settings.database, name="darkroom-gateway-api")
    try:
        build_api(settings, pool).run()
    finally:
        pool.close()


def run_recorder(settings: Settings) -> None:
    """Record until SIGTERM or SIGINT."""
    readiness = Readiness("start")
    session = Session(_connecting(settings, "recorder"))
    with service_frame("gateway-recorder", settings, readiness) as stop:
        worker = build_recorder(settings, session)
        readiness.follow(worker.waiting_for)
        try:
            worker.run(stop)
        finally:
            session.close()


def run_control(settings: Settings) -> None:
    """Relay and import until SIGTERM or SIGINT."""
    readiness = Readiness("start")
    with service_frame("gateway-control", settings, readiness) as stop:
        codec = build_codec(settings)
        publisher = Publisher(
            settings.kafka, source=SERVICE, codec=codec, prefix=settings.topic_prefix
        )
        control = build_control(settings, codec, publisher)
        readiness.follow(control.waiting_for)
        control.run(stop)


def run_migrate(command: Command) -> None:
    """Bring the catalog to its newest version, or drop it."""
    if command.down:
        migrations.downgrade(command.database)
    else:
        migrations.upgrade(command.database)


def run(command: Command) -> None:
    """Run a door until it is told to stop; raises what broke it."""
    _DOORS[command.door](command)


_DOORS: Final[Mapping[str, Callable[[Command], None]]] = {
    "api": run_api,
    "recorder": run_recorder,
    "control": run_control,
    "migrate": run_migrate,
}
