"""Running a stage as a service."""

from darkroom_schemas.avro import schema_of
from stagekit.stage import S, Stage, job
from streamkit import Readiness, connect, service_frame


def serve(stage: Stage[S], settings: S) -> None:
    """Work until SIGTERM or SIGINT.

    Raises EngineLoadError where the engine can't be loaded, and what else stops a worker.
    """
    readiness = Readiness("schema registry")
    with service_frame(stage.name, settings, readiness, readiness.trouble) as stop:
        worker = connect(job(stage, settings), settings, schema_of, stage.writes, stop)
        readiness.follow(worker.waiting_for, worker.watchdog.trouble)
        worker.run(stop)
