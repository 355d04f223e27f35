"""Joins what the stages say of a photo, and who waits for it: decided without I/O.

Each function takes the photo's state (None: nothing known) and a decoded event, and gives the next
state and what to publish. State is JSON, made of maps and sets (sorted lists) only, so that any
event may be repeated and, conflicts aside, come in any order: of two events about the same stage
of the same revision the first counts. What is decided is kept, until long after no input of it can
come any more (see `forgetting`), and said again, with the same id and the same bytes, whenever one
is repeated. An analysis that is cancelled before it is decided has ended: what comes later changes
nothing.

A part that its stage had failed to make, and that comes when all is decided (a replayed dead
letter), makes a revision of its own out of the parts that are there and itself: its outcome
supersedes the partial one. Imports have had their ends and keep their counts.

    {"analyses": {ANALYSIS: {"members": {BATCH: [INDEX…]},
                             "revisions": {"1": {"policy_revision", "lane",
                                                 "parts": {STAGE: part}, "failed": {STAGE: ms},
                                                 "decision": …, "rejected": ms, "cancelled": ms,
                                                 "repairs": {STAGE: NUMBER}}}}}}

Neither vectors nor text are kept: only what routing and the outcome need.
"""

from collections.abc import Iterator, Mapping
from typing import Any, Final

from aggregator import routing
from aggregator.clock import from_ms, to_ms
from aggregator.forgetting import bounded, end_of
from aggregator.records import impossible, index_of, ranked, revision_of, uuid_of
from aggregator.routing import PolicyOf
from darkroom_schemas import ids, names
from darkroom_schemas.stages import STAGES
from streamkit import Emit

Event = Mapping[str, Any]
State = dict[str, Any]
Result = tuple[State | None, list[Emit]]

OUTCOME_TOPICS: Final = {
    routing.AUTO_LABELED: names.PHOTO_AUTO_LABELED,
    routing.SUGGESTED: names.PHOTO_SUGGESTED,
    routing.REVIEW: names.PHOTO_REVIEW_REQUESTED,
}


def part_arrived(state: State | None, event: Event, stage: str, policy_of: PolicyOf) -> Result:
    """A stage's part (photo.objects-detected, photo.text-read, photo.embedded)."""
    part = {
        "engine": event["engine"],
        "model_version": event["model_version"],
        "at": to_ms(event["finished_at"]),
    }
    if "labels" in event:
        part["labels"] = ranked(event["labels"])
    if "category" in event:
        part["category"] = event["category"]
        part["calibrated"] = event["calibrated"]
    return _stage_ended(state, event, policy_of, parts={stage: part})


def stage_failed(state: State | None, event: Event, policy_of: PolicyOf) -> Result:
    """A stage gave the photo up (photo.stage-failed)."""
    stage = _known_stage(event["stage"])
    return _stage_ended(state, event, policy_of, failed={stage: to_ms(event["failed_at"])})


def deadline_reached(state: State | None, event: Event, policy_of: PolicyOf) -> Result:
    """Stages will say nothing any more (analysis.deadline-reached): they count as failed."""
    at = to_ms(event["reached_at"])
    failed = {_known_stage(stage): at for stage in event["stages"]}
    return _stage_ended(state, event, policy_of, failed=failed)


def rejected(state: State | None, event: Event) -> Result:
    """Intake refused the photo (photo.rejected): its import ends without an outcome."""
    return _ended_without_outcome(state, event, "rejected")


def cancelled(state: State | None, event: Event) -> Result:
    """Nobody waits for the analysis any more (photo.analysis-cancelled)."""
    return _ended_without_outcome(state, event, "cancelled")


def _ended_without_outcome(state: State | None, event: Event, end: str) -> Result:
    state, analysis, revision = _opened(state, event)
    if end_of(revision) is None:
        revision[end] = to_ms(event[f"{end}_at"])
    return bounded(state), list(_said(event, analysis, revision))


def batch_joined(state: State | None, event: Event) -> Result:
    """An import waits for the analysis (photo.batch-joined); if that is over, it ends at once."""
    batch, index = uuid_of(event, "batch_id"), index_of(event)
    state, analysis = _analysis(state, event)
    analysis["members"] = {
        **analysis["members"],
        batch: sorted({*analysis["members"].get(batch, ()), index}),
    }
    emits: list[Emit] = []
    for number, revision in analysis["revisions"].items():
        if "repairs_of" not in revision:
            about = {**event, "revision": int(number)}
            emits += _ends(about, revision, {batch: [index]})
    return bounded(state), emits


def _known_stage(stage: str) -> str:
    if stage not in STAGES:
        raise impossible(f"There is no stage {stage[:80]!r}.")
    return stage


def _stage_ended(
    state: State | None,
    event: Event,
    policy_of: PolicyOf,
    *,
    parts: Mapping[str, Any] | None = None,
    failed: Mapping[str, int] | None = None,
) -> Result:
    """Takes parts, or failures, of stages."""
    state, analysis, revision = _opened(state, event)
    if "decision" in revision:
        for stage, part in (parts or {}).items():
            if stage in revision["failed"]:
                _repair(event, analysis, revision, stage, part, policy_of)
    elif end_of(revision) is None:
        known = {**(parts or {}), **revision["parts"]}
        ends = {**(failed or {}), **revision["failed"]}
        # In the same order, whichever came first.
        revision["parts"] = {one: known[one] for one in STAGES if one in known}
        revision["failed"] = {one: ends[one] for one in STAGES if one in ends and one not in known}
        if len(revision["parts"]) + len(revision["failed"]) == len(STAGES):
            policy = policy_of(revision["policy_revision"])
            revision["decision"] = routing.decide(revision["parts"], revision["failed"], policy)
    return bounded(state), list(_said(event, analysis, revision))


def _repair(
    event: Event,
    analysis: dict[str, Any],
    revision: dict[str, Any],
    stage: str,
    part: routing.Part,
    policy_of: PolicyOf,
) -> None:
    """Add the revision that a late part makes, out of the last one that was made so, unless the
    part has made one before."""
    repairs, revisions = revision.get("repairs", {}), analysis["revisions"]
    if stage in repairs:
        return
    own = revision_of(event)
    last = revisions[str(max(repairs.values()))] if repairs else revision
    parts = {one: {"revision": own, **kept} for one, kept in {**last["parts"], stage: part}.items()}
    failed = {one: at for one, at in last["failed"].items() if one != stage}
    number = max(map(int, revisions)) + 1
    revisions[str(number)] = {
        "policy_revision": revision["policy_revision"],
        "lane": revision["lane"],
        "parts": parts,
        "failed": failed,
        "decision": routing.decide(parts, failed, policy_of(revision["policy_revision"])),
        "repairs_of": own,
    }
    revision["repairs"] = {**repairs, stage: number}


def _analysis(state: State | None, event: Event) -> tuple[State, dict[str, Any]]:
    """A copy of the state, and in it the event's analysis, to be changed."""
    name = uuid_of(event, "analysis_id")
    analyses = dict(state["analyses"]) if state else {}
    known = analyses.get(name, {"members": {}, "revisions": {}})
    analyses[name] = {"members": known["members"], "revisions": dict(known["revisions"])}
    return {"analyses": analyses}, analyses[name]


def _opened(state: State | None, event: Event) -> tuple[State, dict[str, Any], dict[str, Any]]:
    """As `_analysis`, and of it the event's revision; its first event sets policy and lane."""
    number = str(revision_of(event))
    state, analysis = _analysis(state, event)
    first = {
        "policy_revision": event["policy_revision"],
        "lane": event["lane"],
        "parts": {},
        "failed": {},
    }
    revision = dict(analysis["revisions"].get(number, first))
    analysis["revisions"][number] = revision
    return state, analysis, revision


def _said(event: Event, analysis: Event, revision: Event) -> Iterator[Emit]:
    """Everything that this revision has to say so far: its outcome, the ends of its members, and
    the outcomes that superseded it."""
    if "decision" in revision:
        yield _outcome(event, revision)
    yield from _ends(event, revision, analysis["members"])
    for number in sorted(revision.get("repairs", {}).values()):
        yield _outcome({**event, "revision": number}, analysis["revisions"][str(number)])


def _outcome(event: Event, revision: Event) -> Emit:
    number = revision_of(event)
    parts, failed = revision["parts"], revision["failed"]
    value = {
        "owner": event["owner"],
        "photo_id": event["photo_id"],
        "analysis_id": event["analysis_id"],
        "revision": number,
        "policy_revision": revision["policy_revision"],
        "lane": revision["lane"],
        **revision["decision"],
        **routing.facts(parts, failed),
        "parts": [_used(stage, number, parts[stage]) for stage in STAGES if stage in parts],
        "decided_at": from_ms(routing.decided_ms(parts, failed)),
    }
    topic = OUTCOME_TOPICS[value["outcome"]]
    name = ids.event_id(event["analysis_id"], "outcome", number)
    return Emit(topic, event["photo_id"], value, name)


def _used(stage: str, revision: int, part: routing.Part) -> dict[str, Any]:
    return {
        "stage": stage,
        "revision": part.get("revision", revision),
        "engine": part["engine"],
        "model_version": part["model_version"],
    }


def _ends(event: Event, revision: Event, members: Mapping[str, list[int]]) -> Iterator[Emit]:
    """The end of each member, if the revision has one."""
    ended = end_of(revision)
    if ended is None:
        return
    end, at = ended
    partial = "decision" in revision and bool(revision["failed"])
    for batch, indices in members.items():
        for index in indices:
            yield _end(event, batch, index, {"end": end, "partial": partial, "at": at})


def _end(event: Event, batch: str, index: int, end: Event) -> Emit:
    analysis, number = event["analysis_id"], revision_of(event)
    value = {
        "owner": event["owner"],
        "batch_id": batch,
        "index": index,
        "photo_id": event["photo_id"],
        "analysis_id": analysis,
        "revision": number,
        "end": end["end"],
        "partial": end["partial"],
        "ended_at": from_ms(end["at"]),
    }
    name = ids.batch_event_id(batch, f"ended:{index}:{analysis}:{number}")
    key = ids.chunk_key(batch, ids.chunk_of(index))
    return Emit(names.BATCH_PHOTO_ENDED, key, value, name)
