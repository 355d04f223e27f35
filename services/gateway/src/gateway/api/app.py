"""Wires the api door."""

from collections.abc import Mapping, Sequence
from functools import partial

from darkroom_schemas import ids
from darkroom_schemas.avro import schema_of
from gateway import db
from gateway.api.admission import Admission
from gateway.api.bodies import UploadBudget
from gateway.api.catalog import CONNECTION_S, Catalog
from gateway.api.door import Door
from gateway.api.feed import Feed
from gateway.api.handing_in import HandingIn
from gateway.api.hub import Hub, Thing
from gateway.api.limits import shared_quotas
from gateway.api.server import Server, server
from gateway.api.shares import Shares
from gateway.api.speakers import Keeper
from gateway.api.spool import sweep
from gateway.api.system import System
from gateway.api.vocabulary import Vocabulary
from gateway.api.windows import Windows
from gateway.api.writes import Writes
from gateway.catalog.changes import Change, changes
from gateway.catalog.outbox import Outbox
from gateway.disks import watch_disks
from gateway.news import channel
from gateway.recorder.news import News, open_redis
from gateway.settings import Settings
from gateway.store_away import StoreAway
from streamkit import Codec, ObjectStore, SchemaIds, configure_logs, tracing


def build_api(settings: Settings, pool: db.Pool) -> Server:
    """The api door, not listening. Nothing that it needs has to be there yet."""
    catalog = Catalog(pool, ids.LOCAL_OWNER)
    codec = Codec(SchemaIds(settings.registry, settings.cache), schema_of, settings.topic_prefix)
    outbox = Outbox(codec)
    away = StoreAway(partial(pool.connection, timeout=CONNECTION_S))
    objects = ObjectStore(settings.objects, settings.stores, away=away)
    watch_disks({"objects": objects.folder, "spool": settings.spool})
    admission = Admission(catalog, outbox, settings.lag_limits)
    writes = Writes(outbox, settings.outbox_limit, admission)

    async def load(owner: str, things: Sequence[Thing]) -> Mapping[Thing, str]:
        return await catalog.of(owner).load(things)

    hub = Hub(load, settings.websocket_backlog)

    async def look() -> list[Change]:
        owners = {catalog.owner, *hub.owners}
        return [each for owner in owners for each in await catalog.of(owner).ask(changes)]

    feed = Feed(settings.redis, channel(settings.topic_prefix), look, hub.deliver)
    return server(
        Door(
            settings=settings,
            catalog=catalog,
            objects=objects,
            writes=writes,
            handing_in=HandingIn(writes),
            admission=admission,
            hub=hub,
            feed=feed,
            system=System(settings, catalog),
            uploads=UploadBudget(settings.upload_memory),
            quotas=shared_quotas(settings),
            shares=Shares(catalog),
            keeper=Keeper(catalog, settings.anonymous_role),
            beside=[Vocabulary(codec)],
            windows=Windows(settings.import_in_flight, settings.import_wait_s),
            tell=News(open_redis(settings.redis), settings.topic_prefix).tell,
        )
    )


def run_api(settings: Settings) -> None:
    """Serve until SIGTERM or SIGINT; health is served on the API's own port."""
    configure_logs("gateway-api", settings.log_level)
    tracing.configure("gateway-api", sample=settings.trace_sample)
    sweep(settings.spool)
    pool = db.open_pool(settings.database, name="darkroom-gateway-api")
    try:
        build_api(settings, pool).run()
    finally:
        pool.close()
        tracing.close()
