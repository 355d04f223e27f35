"""The wiring of intake."""

from importlib.metadata import version
from typing import Final

from darkroom_schemas import catalogue
from darkroom_schemas.avro import schema_of
from darkroom_schemas.names import PHOTO_ANALYSIS_REQUESTED, PHOTO_REJECTED, PHOTO_SUBMITTED
from imaging import DecodeProcess
from intake.handlers import SERVICE, give_up, handlers
from intake.prepare import Decodes, Intake, Stores
from intake.settings import Settings
from streamkit import Job, ObjectStore, Readiness, connect, lanes_of, service_frame

WRITES: Final = (*PHOTO_ANALYSIS_REQUESTED.values(), PHOTO_REJECTED)


def job(settings: Settings, store: Stores, decoder: Decodes) -> Job:
    """What intake's worker does."""
    intake = Intake(
        store=store,
        decoder=decoder,
        own_store=settings.objects.rstrip("/"),
        max_bytes=settings.photo_max_bytes,
        keep_gps=settings.intake_keep_gps,
    )
    return Job(
        service=SERVICE,
        version=version("darkroom-intake"),
        lanes=lanes_of(PHOTO_SUBMITTED),
        handlers=handlers(intake),
        dead_letters=catalogue.load().dead_letters(SERVICE),
        give_up=give_up,
    )


def run(settings: Settings) -> None:
    """Work until SIGTERM or SIGINT. Raises what stops a worker, and
    DecodeProcessUnavailableError."""
    readiness = Readiness("decode process")
    # The decode process is tied to the thread that starts it: this one, which also works.
    with (
        service_frame(SERVICE, settings, readiness) as stop,
        DecodeProcess(settings.limits) as decoder,
    ):
        store = ObjectStore(settings.objects, settings.stores)
        worker = connect(job(settings, store, decoder), settings, schema_of, WRITES, stop)
        readiness.follow(worker.waiting_for)
        worker.run(stop)
