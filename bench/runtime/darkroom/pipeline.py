"""The fan-out as a workflow: three stages whose engines find nothing, and their join."""

from collections.abc import Mapping, Sequence
from datetime import datetime
from functools import partial
from typing import Any, Final

from bench.runtime import workload
from bench.runtime.darkroom import wire

from darkroom_schemas.names import PHOTO_ANALYSIS_REQUESTED
from streamkit import Emit, Handlers, Message
from streamkit.workflow import Join, Joined, Part, Stage, Workflow, chain, group

JOIN: Final = "bench-join"


def load(stage: str, burn_ms: float = 0.0) -> Handlers:
    """A stage's handlers; each record uses so much CPU."""

    def handle(message: Message) -> Sequence[Emit]:
        if burn_ms:
            workload.burn(burn_ms)
        return (wire.answered(message.value, stage),)

    return Handlers(dict.fromkeys(PHOTO_ANALYSIS_REQUESTED.values(), handle))


def _kept(value: Mapping[str, Any]) -> Mapping[str, Any]:
    """As JSON: the moment as milliseconds since 1970."""
    moment: datetime = value["finished_at"]
    return {**workload.kept(value), "finished_at": round(1000 * moment.timestamp())}


def _decide(joined: Joined) -> Mapping[str, Any]:
    return workload.outcome([joined.parts[stage] for stage in workload.STAGES])


WORKFLOW: Final = Workflow(
    name="photo",
    key="photo_id",
    entries=PHOTO_ANALYSIS_REQUESTED,
    flow=chain(
        group(
            *(
                Stage(
                    name=stage,
                    version="bench",
                    into=topic,
                    handlers=partial(load, stage),
                    preload=("bench.runtime.darkroom.pipeline",),
                )
                for stage, topic in workload.PART_TOPICS.items()
            )
        ),
        Join(
            name=JOIN,
            parts=tuple(
                Part(stage, topic, keep=_kept) for stage, topic in workload.PART_TOPICS.items()
            ),
            into=workload.OUTCOME_TOPIC,
            identity=lambda value: str(value["analysis_id"]),
            decide=_decide,
            version="bench",
        ),
    ),
)
