"""The wiring of intake."""

from collections.abc import Callable
from functools import partial
from importlib.metadata import version
from typing import Final

from darkroom_schemas import catalogue
from darkroom_schemas.avro import schema_of
from darkroom_schemas.names import PHOTO_ANALYSIS_REQUESTED, PHOTO_REJECTED, PHOTO_SUBMITTED
from imaging import DecodeProcess
from intake.handlers import SERVICE, give_up, handlers
from intake.prepare import Decodes, Intake, Stores
from intake.settings import Settings
from streamkit import Handlers, Job, ObjectStore, Readiness, connect, lanes_of, service_frame

WRITES: Final = (*PHOTO_ANALYSIS_REQUESTED.values(), PHOTO_REJECTED)


def job(settings: Settings) -> Job:
    """What intake's worker does."""
    return Job(
        service=SERVICE,
        version=version("darkroom-intake"),
        lanes=lanes_of(PHOTO_SUBMITTED),
        handlers=partial(load, settings),
        dead_letters=catalogue.load().dead_letters(SERVICE),
        keys=catalogue.load().log_keys(),
    )


def load(settings: Settings) -> Handlers:
    """What is done with submissions, with a decode process of its own: where this is called."""
    # The decode process is tied to the thread that starts it: this one, which also works.
    decoder = DecodeProcess(settings.limits)
    decoder.start()
    store = ObjectStore(settings.objects, settings.stores)
    return handlers_with(settings, store, decoder, close=decoder.close)


def handlers_with(
    settings: Settings, store: Stores, decoder: Decodes, close: Callable[[], None]
) -> Handlers:
    """The handlers, with this store and decoder."""
    intake = Intake(
        store=store,
        decoder=decoder,
        own_store=settings.objects.rstrip("/"),
        max_bytes=settings.photo_max_bytes,
        keep_gps=settings.intake_keep_gps,
    )
    return Handlers(by_topic=handlers(intake), give_up=give_up, close=close)


def run(settings: Settings) -> None:
    """Work until SIGTERM or SIGINT. Raises what stops a worker, and EngineLoadError."""
    readiness = Readiness("schema registry")
    with service_frame(SERVICE, settings, readiness, readiness.trouble) as stop:
        worker = connect(job(settings), settings, schema_of, WRITES, stop)
        readiness.follow(worker.waiting_for, worker.watchdog.trouble)
        worker.run(stop)
