"""Which event changes which table, and how."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any, Final

from aggregator import join, totals
from aggregator.records import impossible
from aggregator.routing import Policy
from darkroom_schemas import catalogue, ids, names
from streamkit import Emit
from streamkit.faust import Fold

ANALYSES: Final = "analyses"
CHUNKS: Final = "chunks"
BATCHES: Final = "batches"

Event = Mapping[str, Any]
State = dict[str, Any]
Step = Callable[[State | None, Event], tuple[State, list[Emit]]]
"""State (None: nothing known) and event to the next state and what to publish, without I/O.

Raises Reject for an event that cannot be.
"""


@dataclass(frozen=True, slots=True)
class Route:
    """The table that an event changes, the step that does it, and the key that it must have."""

    table: str
    step: Step
    key: Callable[[Event], str]

    def apply(self, key: str, state: State | None, event: Event) -> tuple[State, list[Emit]]:
        """The next state and what to publish; raises Reject for an event that cannot be."""
        if key != self.key(event):
            raise impossible(f"The key {key[:100]!r} is not that of the event it carries.")
        return self.step(state, event)


def _photo_key(event: Event) -> str:
    return str(event["photo_id"])


def _chunk_key(event: Event) -> str:
    return ids.chunk_key(event["batch_id"], ids.chunk_of(event["index"]))


def _batch_key(event: Event) -> str:
    return str(event["batch_id"])


def routes(policy: Policy) -> Mapping[str, Route]:
    """Topic, without prefix, to what its events do."""

    def photo(step: Step) -> Route:
        return Route(ANALYSES, step, _photo_key)

    def part(stage: str) -> Route:
        return photo(partial(join.part_arrived, stage=stage, policy=policy))

    return {
        names.PHOTO_OBJECTS_DETECTED: part("detector"),
        names.PHOTO_TEXT_READ: part("ocr"),
        names.PHOTO_EMBEDDED: part("embedder"),
        names.PHOTO_STAGE_FAILED: photo(partial(join.stage_failed, policy=policy)),
        names.PHOTO_REJECTED: photo(join.rejected),
        names.PHOTO_BATCH_JOINED: photo(join.batch_joined),
        names.BATCH_PHOTO_ENDED: Route(CHUNKS, totals.photo_ended, _chunk_key),
        names.BATCH_INTAKE: Route(BATCHES, totals.intake_advanced, _batch_key),
        names.BATCH_CHUNK_COUNTED: Route(BATCHES, totals.chunk_counted, _batch_key),
    }


LANES: Final = {"photos": ANALYSES, "chunks": CHUNKS, "batches": BATCHES}
"""What works on each table, as metrics and logs call it."""


def folds(policy: Policy) -> tuple[Fold, ...]:
    """The routes, by the table that they change."""
    by_topic = routes(policy)
    return tuple(
        _fold(lane, table, {t: route for t, route in by_topic.items() if route.table == table})
        for lane, table in LANES.items()
    )


def _fold(lane: str, table: str, ours: Mapping[str, Route]) -> Fold:
    changelog = catalogue.load()[f"darkroom-aggregator-{table}-changelog"]
    return Fold(
        lane=lane,
        table=table,
        topics=tuple(ours),
        partitions=changelog.partitions,
        step=partial(_stepped, ours),
    )


def _stepped(
    ours: Mapping[str, Route],
    state: State | None,
    topic: str,
    key: str,
    event: Event,
    _headers: Mapping[str, str],
) -> tuple[State, list[Emit]]:
    return ours[topic].apply(key, state, event)


PRODUCED: Final = (
    names.PHOTO_AUTO_LABELED,
    names.PHOTO_SUGGESTED,
    names.PHOTO_REVIEW_REQUESTED,
    names.BATCH_PHOTO_ENDED,
    names.BATCH_CHUNK_COUNTED,
    names.BATCH_PROGRESSED,
    names.BATCH_COMPLETED,
)
"""Topics that the steps publish to."""
