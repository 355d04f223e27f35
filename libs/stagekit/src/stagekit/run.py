"""Running a stage as a service."""

from collections.abc import Callable

from darkroom_schemas.avro import schema_of
from stagekit.stage import Stage, StageSettings, job
from streamkit import ObjectStore, Readiness, connect, service_frame


def serve(name: str, settings: StageSettings, load: Callable[[], Stage]) -> None:
    """Load the stage (its engine, usually) and work until SIGTERM or SIGINT.

    /livez answers while it loads. Raises what `load` raises, and what stops a worker.
    """
    readiness = Readiness("engine")
    with service_frame(name, settings, readiness) as stop:
        stage = load()
        store = ObjectStore(settings.objects, settings.stores)
        readiness.follow(lambda: ["schema registry"])
        worker = connect(job(stage, store), settings, schema_of, stage.writes, stop)
        readiness.follow(worker.waiting_for)
        worker.run(stop)
