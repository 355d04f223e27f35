"""Wires the recorder door."""

import threading
from functools import partial
from importlib.metadata import version
from typing import Final

from darkroom_schemas import catalogue
from darkroom_schemas.avro import schema_of
from darkroom_schemas.names import MODEL_ACTIVATED
from gateway import db
from gateway.catalog.outbox import Outbox
from gateway.catalog.trainings import EVERY_S
from gateway.recorder.handlers import Recorder, handlers
from gateway.recorder.news import News, open_redis
from gateway.recorder.session import Session
from gateway.settings import SERVICE, Settings
from streamkit import (
    Batching,
    Codec,
    Handlers,
    Job,
    Lane,
    Readiness,
    SchemaIds,
    Worker,
    connect,
    service_frame,
)

_BATCHING: Final = Batching(largest=250, wait_ms=50.0, budget_ms=100.0)
"""A micro-batch is a transaction, whose commit costs more than its events. A person who waits for a
photo hardly notices 50 ms; locks are held no longer than 0.1 s."""


WRITES: Final = (MODEL_ACTIVATED,)
"""Topics of events that follow from what is recorded; the control door's relay publishes them."""


def job(
    session: Session,
    news: News,
    outbox: Outbox,
    training_every_s: float = EVERY_S,
    examples_least: int | None = None,
) -> Job:
    """What the recorder's worker does. `session` is its connection to the catalog."""
    by_topic = handlers(Recorder(session, news, outbox, training_every_s, examples_least))
    return Job(
        service=SERVICE,
        version=version("darkroom-gateway"),
        lanes=(Lane("recorder", tuple(by_topic)),),
        handlers=lambda: Handlers(by_topic),
        dead_letters=catalogue.load().dead_letters(SERVICE),
        keys=catalogue.load().log_keys(),
        isolation="thread",
        batching=_BATCHING,
    )


def build_recorder(settings: Settings, session: Session, stop: threading.Event) -> Worker:
    """The recorder, not started."""
    news = News(open_redis(settings.redis), settings.topic_prefix)
    ids = SchemaIds(settings.registry, settings.cache)
    codec = Codec(ids, schema_of, settings.topic_prefix)
    codec.preload(WRITES, stop)
    rules = (settings.training_every_s, settings.examples_least)
    what = job(session, news, Outbox(codec), *rules)
    return connect(what, settings, schema_of, (), stop)


def run_recorder(settings: Settings) -> None:
    """Record until SIGTERM or SIGINT."""
    readiness = Readiness("start")
    session = Session(partial(db.connect, settings.database, name="darkroom-gateway-recorder"))
    with service_frame("gateway-recorder", settings, readiness, readiness.trouble) as stop:
        worker = build_recorder(settings, session, stop)
        readiness.follow(worker.waiting_for, worker.watchdog.trouble)
        try:
            worker.run(stop)
        finally:
            session.close()
