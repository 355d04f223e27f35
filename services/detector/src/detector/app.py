"""The wiring of the detector."""

from importlib.metadata import version
from typing import Final

from darkroom_schemas import catalogue
from darkroom_schemas.avro import schema_of
from darkroom_schemas.names import (
    PHOTO_ANALYSIS_REQUESTED,
    PHOTO_OBJECTS_DETECTED,
    PHOTO_STAGE_FAILED,
)
from detector.engines import DetectorEngine, load_engine
from detector.handlers import STAGE, Detector, give_up, handlers
from detector.settings import Settings
from streamkit import Job, Lane, ObjectStore, Readiness, connect, service_frame

WRITES: Final = (PHOTO_OBJECTS_DETECTED, PHOTO_STAGE_FAILED)


def job(store: ObjectStore, engine: DetectorEngine) -> Job:
    """What the detector's worker does."""
    return Job(
        service=STAGE,
        version=version("darkroom-detector"),
        lanes=tuple(Lane(lane, (topic,)) for lane, topic in PHOTO_ANALYSIS_REQUESTED.items()),
        handlers=handlers(Detector(store, engine)),
        dead_letters=catalogue.load().dead_letters(STAGE),
        give_up=give_up,
    )


def run(settings: Settings) -> None:
    """Work until SIGTERM or SIGINT. Raises UnknownEngineError, and what stops a worker."""
    readiness = Readiness("engine")
    with service_frame(STAGE, settings, readiness) as stop:
        engine = load_engine(settings)
        store = ObjectStore(settings.objects, settings.stores)
        worker = connect(job(store, engine), settings, schema_of, WRITES)
        readiness.follow(worker.waiting_for)
        worker.run(stop)
