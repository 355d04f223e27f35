"""Running a stage as a service."""

from functools import partial

from darkroom_schemas import catalogue
from darkroom_schemas.avro import schema_of
from stagekit.keeping import Means, keep
from stagekit.serving import Servings
from stagekit.stage import S, Stage
from stagekit.working import handlers
from streamkit import Handlers, Job, ObjectStore, Readiness, connect, service_frame


def serve(stage: Stage[S], settings: S) -> None:
    """Work until SIGTERM or SIGINT.

    Raises EngineLoadError where the engine can't be loaded, and what else stops a worker.
    """
    readiness = Readiness("schema registry")
    with service_frame(stage.name, settings, readiness, readiness.trouble) as stop:
        worker = connect(job(stage, settings), settings, schema_of, stage.writes, stop)
        readiness.follow(worker.waiting_for, worker.watchdog.trouble)
        worker.run(stop)


def job(stage: Stage[S], settings: S) -> Job:
    """What the stage's worker does."""
    return Job(
        service=stage.name,
        version=stage.version,
        lanes=stage.lanes,
        handlers=partial(_load, stage, settings),
        dead_letters=catalogue.load().dead_letters(stage.name),
        preload=stage.preload,
        keys=catalogue.load().log_keys(),
    )


def _load(stage: Stage[S], settings: S) -> Handlers:
    store = ObjectStore(settings.objects, settings.stores)
    if not settings.models or stage.options is None:
        return handlers(stage, Servings.of(stage.load(settings)), store)
    labelling = None if stage.labelling is None else stage.labelling(settings)
    means = Means(stage.load, stage.options, settings, store)
    keeper = keep(stage.name, means, labelling)
    return handlers(stage, keeper.servings, store, keeper.close, keeper.adds)
