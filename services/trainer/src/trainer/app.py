"""The wiring of the trainer."""

import os
import platform
from functools import partial
from importlib.metadata import version
from typing import Final

import structlog

from darkroom_schemas import catalogue
from darkroom_schemas.avro import schema_of
from darkroom_schemas.names import (
    TRAINING_CANCELLED,
    TRAINING_ENDED,
    TRAINING_PREPARED,
    TRAINING_PROGRESSED,
)
from streamkit import (
    Codec,
    Handlers,
    Job,
    Lane,
    ObjectStore,
    Publisher,
    Readiness,
    SchemaIds,
    connect,
    service_frame,
)
from streamkit.kafka.follower import Follower
from streamkit.rate_redis import connect_redis
from trainer.cancelling import Cancellations
from trainer.counting import Counting, Counts
from trainer.fitting import Pause, nothing
from trainer.handlers import SERVICE, Trainer, handlers
from trainer.lock import Locks
from trainer.progress import Teller
from trainer.settings import Settings

_log = structlog.get_logger("trainer")

WRITES: Final = (TRAINING_ENDED, TRAINING_PROGRESSED)

_START_S: Final = 20.0
"""So long is waited at a start for what was cancelled before."""


def job(settings: Settings, counts: str = "", pausing: Pause = nothing) -> Job:
    """What the trainer's worker does; `counts`: where its engines tell what is to be counted;
    `pausing` is called at every pause of a training."""
    return Job(
        service=SERVICE,
        version=version("darkroom-trainer"),
        lanes=(Lane("learning", (TRAINING_PREPARED,)),),
        handlers=partial(_in_engine, settings, counts, pausing),
        dead_letters=catalogue.load().dead_letters(SERVICE),
        preload=("numpy", "scipy.optimize", "trainer.training"),
    )


def _in_engine(settings: Settings, counts: str, pausing: Pause) -> Handlers:
    """`load`, in an engine process: it yields the CPU as engines for imports do."""
    os.nice(settings.bulk_nice)
    return load(settings, counts, pausing)


def load(settings: Settings, counts: str = "", pausing: Pause = nothing) -> Handlers:
    """What is done with trainings: where this is called. Raises Busy while the registry is needed
    and away."""
    codec = Codec(SchemaIds(settings.registry, settings.cache), schema_of, settings.topic_prefix)
    cancellations = Cancellations(codec.decode)
    follower = Follower(
        settings.kafka,
        settings.topic_prefix + TRAINING_CANCELLED,
        cancellations.tell,
        name="trainer-cancellations",
        options=settings.kafka_options,
    )
    publisher = Publisher(
        settings.kafka,
        source=SERVICE,
        codec=codec,
        prefix=settings.topic_prefix,
        options=settings.kafka_options,
    )
    counter = Counts(counts)
    teller = Teller(publisher, counter.progress_lost)
    redis = connect_redis(settings.redis)

    def close() -> None:
        teller.close()
        follower.close()
        redis.close()
        counter.close()

    if not follower.start(_START_S):
        _log.warning("cancellations_unknown", topic=follower.topic, reason=follower.trouble)
    trainer = Trainer(
        ObjectStore(settings.objects, settings.stores),
        Locks(redis, settings.topic_prefix, worker_name(), settings.training_lock_s),
        teller,
        cancellations.by,
        counter,
        settings.training_time_limit_s,
        pausing,
    )
    return handlers(trainer, close)


def worker_name() -> str:
    """Of this engine process, for people."""
    return f"{SERVICE}@{platform.node() or 'localhost'}:{os.getpid()}"


def run(settings: Settings, pausing: Pause = nothing) -> None:
    """Work until SIGTERM or SIGINT. Raises what stops a worker, and EngineLoadError."""
    readiness = Readiness("schema registry")
    with service_frame(SERVICE, settings, readiness, readiness.trouble) as stop, Counting() as made:
        work = job(settings, made.path, pausing)
        worker = connect(work, settings.of_worker(), schema_of, WRITES, stop)
        readiness.follow(worker.waiting_for, worker.watchdog.trouble)
        worker.run(stop)
