"""Which event changes which table, and how."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any, Final

from aggregator import forgetting, join, tables, totals
from aggregator.records import impossible
from aggregator.routing import Policy, PolicyOf
from darkroom_schemas import catalogue, ids, names
from streamkit import Emit
from streamkit.faust import Fold

ANALYSES: Final = "analyses"
CHUNKS: Final = "chunks"
BATCHES: Final = "batches"

Event = Mapping[str, Any]
State = dict[str, Any]
Step = Callable[[State | None, Event], tuple[State | None, list[Emit]]]
"""State (None: nothing known) and event to the next state (None: nothing is kept) and what to
publish, without I/O.

Raises Reject for an event that cannot be.
"""

PACE_S: Final = 0.5
"""Totals are written and told of that often: of 50 photos a second, 25 at a time."""

_SWEEP_S: Final = 3600.0
_DAY_MS: Final = 86_400_000


@dataclass(frozen=True, slots=True)
class Rules:
    """What the steps go by: the policy of each revision; of how many successes an import must have
    more for a training; for how long what is over is kept."""

    policy_of: PolicyOf = lambda _revision: Policy()
    training_above: int = 50
    kept_days: int = 31

    @property
    def kept_ms(self) -> int:
        """In milliseconds."""
        return self.kept_days * _DAY_MS


@dataclass(frozen=True, slots=True)
class Route:
    """The table that an event changes, the step that does it, and the key that it must have."""

    table: str
    step: Step
    key: Callable[[Event], str]

    def apply(self, key: str, state: State | None, event: Event) -> tuple[State | None, list[Emit]]:
        """The next state and what to publish; raises Reject for an event that cannot be."""
        if key != self.key(event):
            raise impossible(f"The key {key[:100]!r} is not that of the event it carries.")
        return self.step(state, event)


def _photo_key(event: Event) -> str:
    return str(event["photo_id"])


def _chunk_key(event: Event) -> str:
    return ids.chunk_key(event["batch_id"], ids.chunk_of(event["index"]))


def _ticked_chunk_key(event: Event) -> str:
    return ids.chunk_key(event["batch_id"], event["chunk"])


def _batch_key(event: Event) -> str:
    return str(event["batch_id"])


def routes(rules: Rules) -> Mapping[str, Route]:
    """Topic, without prefix, to what its events do."""

    def photo(step: Step) -> Route:
        return Route(ANALYSES, step, _photo_key)

    def part(stage: str) -> Route:
        return photo(partial(join.part_arrived, stage=stage, policy_of=rules.policy_of))

    def batch(step: Step) -> Route:
        return Route(BATCHES, step, _batch_key)

    return {
        names.PHOTO_OBJECTS_DETECTED: part("detector"),
        names.PHOTO_TEXT_READ: part("ocr"),
        names.PHOTO_EMBEDDED: part("embedder"),
        names.PHOTO_RESCORED: photo(partial(join.rescored, policy_of=rules.policy_of)),
        names.PHOTO_STAGE_FAILED: photo(partial(join.stage_failed, policy_of=rules.policy_of)),
        names.ANALYSIS_DEADLINE_REACHED: photo(
            partial(join.deadline_reached, policy_of=rules.policy_of)
        ),
        names.PHOTO_REJECTED: photo(join.rejected),
        names.PHOTO_ANALYSIS_CANCELLED: photo(join.cancelled),
        names.PHOTO_BATCH_JOINED: photo(join.batch_joined),
        names.PHOTO_TICKED: photo(partial(forgetting.ticked, kept_ms=rules.kept_ms)),
        names.BATCH_PHOTO_ENDED: Route(CHUNKS, totals.photo_ended, _chunk_key),
        names.BATCH_CHUNK_TICKED: Route(CHUNKS, totals.chunk_ticked, _ticked_chunk_key),
        names.BATCH_INTAKE: batch(totals.intake_advanced),
        names.BATCH_CHUNK_COUNTED: batch(totals.chunk_counted),
        names.BATCH_TICKED: batch(partial(totals.import_ticked, kept_ms=rules.kept_ms)),
    }


LANES: Final = {"photos": ANALYSES, "chunks": CHUNKS, "batches": BATCHES}
"""What works on each table, as metrics and logs call it."""


def folds(rules: Rules) -> tuple[Fold, ...]:
    """The routes, by the table that they change."""
    by_topic = routes(rules)
    ours = {
        table: {t: route for t, route in by_topic.items() if route.table == table}
        for table in LANES.values()
    }
    return (
        Fold(
            lane="photos",
            **_on(ANALYSES, ours),
            packing=tables.PACKINGS[ANALYSES],
            due=partial(forgetting.due, kept_ms=rules.kept_ms),
            sweep_s=_SWEEP_S,
        ),
        Fold(
            lane="chunks",
            **_on(CHUNKS, ours),
            packing=tables.PACKINGS[CHUNKS],
            bounded=True,
            tell=totals.chunk_said,
            pace_s=PACE_S,
        ),
        Fold(
            lane="batches",
            **_on(BATCHES, ours),
            packing=tables.PACKINGS[BATCHES],
            tell=partial(totals.import_said, training_above=rules.training_above),
            pace_s=PACE_S,
            due=partial(totals.due, kept_ms=rules.kept_ms),
            sweep_s=_SWEEP_S,
        ),
    )


def _on(table: str, ours: Mapping[str, Mapping[str, Route]]) -> dict[str, Any]:
    """What a fold has of its table."""
    return {
        "table": table,
        "topics": tuple(ours[table]),
        "partitions": catalogue.load()[f"darkroom-aggregator-{table}-changelog"].partitions,
        "step": partial(_stepped, ours[table]),
    }


def _stepped(
    ours: Mapping[str, Route],
    state: State | None,
    topic: str,
    key: str,
    event: Event,
    _headers: Mapping[str, str],
) -> tuple[State | None, list[Emit]]:
    return ours[topic].apply(key, state, event)


PRODUCED: Final = (
    names.PHOTO_AUTO_LABELED,
    names.PHOTO_SUGGESTED,
    names.PHOTO_REVIEW_REQUESTED,
    names.BATCH_PHOTO_ENDED,
    names.BATCH_CHUNK_COUNTED,
    names.BATCH_PROGRESSED,
    names.BATCH_COMPLETED,
    names.TRAINING_REQUESTED,
    names.PHOTO_TICKED,
    names.BATCH_CHUNK_TICKED,
    names.BATCH_TICKED,
    names.OPS_NOTIFIED,
)
"""Topics that are published to."""
