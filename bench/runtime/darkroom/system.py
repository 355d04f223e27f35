"""Darkroom as a system under test: the stages' workers and the join's."""

from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from typing import Final

from bench.runtime import workload
from bench.runtime.darkroom.pipeline import WORKFLOW
from bench.runtime.ground import Ground, declared, of_join
from bench.runtime.programs import Program

from darkroom_schemas import catalogue
from darkroom_schemas.names import PHOTO_ANALYSIS_REQUESTED

_OPERATIONS: Final = ("ops.control.v1", "ops.notified.v1", "ops.worker.v1")


def stage_program(stage: str, burn_ms: float = 0.0) -> Program:
    """A stage's worker, as a service is started: with metrics, health, control; its engines are
    processes of their own."""
    arguments = ("-m", "bench.runtime.darkroom.stage", stage, str(burn_ms))
    return Program(stage, arguments, abrupt=burn_ms > 0)


def stage_topics(stage: str) -> Sequence[str]:
    """Names of all topics that a stage's worker needs."""
    own = f"darkroom.{stage}."
    return (
        *PHOTO_ANALYSIS_REQUESTED.values(),
        workload.PART_TOPICS[stage],
        *_OPERATIONS,
        *(topic.name for topic in catalogue.load() if topic.name.startswith(own)),
    )


@dataclass(frozen=True, slots=True)
class FanOut:
    """Three stages and their join, under a prefix of their own."""

    prefix: str

    name: str = "darkroom"
    broker: str = "kafka"
    target: str = "darkroom-fanout"
    about: str = "3 workers with a high and a bulk engine process each, Faust join"

    def programs(self) -> Sequence[Program]:
        """See System."""
        join = Program("join", ("-m", "bench.runtime.darkroom.join"))
        return [*(stage_program(stage) for stage in workload.STAGES), join]

    def prepare(self, ground: Ground, undo: ExitStack) -> dict[str, str]:
        """See System."""
        names = dict.fromkeys(name for stage in workload.STAGES for name in stage_topics(stage))
        topics = [*declared([*names, workload.OUTCOME_TOPIC]), *of_join(WORKFLOW)]
        undo.enter_context(ground.topics(topics, self.prefix))
        return {"DARKROOM_TOPIC_PREFIX": self.prefix}


@dataclass(frozen=True, slots=True)
class Single:
    """One stage, whose engines use CPU."""

    prefix: str
    burn_ms: float

    name: str = "darkroom"
    broker: str = "kafka"
    target: str = "darkroom-single"
    about: str = "1 worker with a high and a bulk engine process"

    def programs(self) -> Sequence[Program]:
        """See System."""
        return [stage_program("detector", self.burn_ms)]

    def prepare(self, ground: Ground, undo: ExitStack) -> dict[str, str]:
        """See System."""
        undo.enter_context(ground.topics(declared(stage_topics("detector")), self.prefix))
        return {"DARKROOM_TOPIC_PREFIX": self.prefix}


@dataclass(frozen=True, slots=True)
class StageWorker:
    """One stage with an empty engine, as a worker that works off a backlog."""

    name: str = "stage"
    source: str = PHOTO_ANALYSIS_REQUESTED["batch"]
    group: str = "darkroom.detector.batch"
    about: str = "1 worker with a high and a bulk engine process"

    def topics(self) -> Sequence[str]:
        """See Worker."""
        return stage_topics("detector")

    def programs(self) -> Sequence[Program]:
        """See Worker."""
        return [stage_program("detector")]
