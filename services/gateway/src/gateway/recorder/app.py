"""Wires the recorder door."""

import threading
from functools import partial
from importlib.metadata import version

from darkroom_schemas import catalogue
from darkroom_schemas.avro import schema_of
from gateway import db
from gateway.recorder.handlers import Recorder, handlers
from gateway.recorder.news import News, open_redis
from gateway.recorder.session import Session
from gateway.settings import SERVICE, Settings
from streamkit import Handlers, Job, Lane, Readiness, Worker, connect, service_frame


def build_recorder(settings: Settings, session: Session, stop: threading.Event) -> Worker:
    """The recorder, not started. `session` is its connection to the catalog."""
    news = News(open_redis(settings.redis), settings.topic_prefix)
    by_topic = handlers(Recorder(session, news))
    job = Job(
        service=SERVICE,
        version=version("darkroom-gateway"),
        lanes=(Lane("recorder", tuple(by_topic)),),
        handlers=lambda: Handlers(by_topic),
        dead_letters=catalogue.load().dead_letters(SERVICE),
        isolation="thread",
    )
    return connect(job, settings, schema_of, (), stop)


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
