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

Other labels of the user's own for a photo that was seen before (photo.rescored) make a revision out
of their event alone, whatever is still known of the analysis: it has no ends to tell either. Of
several the newest counts, and only that is kept.

    {"analyses": {ANALYSIS: {"members": {BATCH: [INDEX…]},
                             "revisions": {"1": {"policy_revision", "lane",
                                                 "parts": {STAGE: part}, "failed": {STAGE: ms},
                                                 "decision": …, "rejected": ms, "cancelled": ms,
                                                 "repairs": {STAGE: NUMBER},
                                                 "repairs_of": NUMBER, "rescored": ms}}}}}

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
    part = _made(event, to_ms(event["finished_at"]))
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


def rescored(state: State | None, event: Event, policy_of: PolicyOf) -> Result:
    """A photo that was seen before has other labels of the user's own (photo.rescored).

    Its revision is the one that the event says, if that is above all that are known. A part of
    another stage that came while the event was under way is not lost again.
    """
    at, (following, analysis) = to_ms(event["rescored_at"]), _analysis(state, event)
    revisions = analysis["revisions"]
    before = {number: revisions[number]["rescored"] for number in _rescorings(revisions)}
    if any(known > at for known in before.values()):
        return state, []
    number = next((number for number, known in before.items() if known == at), None)
    if number is None:
        made = _rescored(event, revisions, at, policy_of)
        number = str(max([revision_of(event), *(int(one) + 1 for one in revisions)]))
        analysis["revisions"] = revisions = {
            **{one: revision for one, revision in revisions.items() if one not in before},
            number: made,
        }
    emit = _outcome({**event, "revision": int(number)}, revisions[number])
    return bounded(following), [emit]


def _rescored(
    event: Event, revisions: Mapping[str, Any], at: int, policy_of: PolicyOf
) -> dict[str, Any]:
    """The revision that a rescoring makes, of an analysis with these."""
    own, labels = revision_of(event), ranked(event["labels"])
    parts = {_known_stage(one["stage"]): _other_part(one) for one in event["others"]}
    parts["embedder"] = {**_made(event, at), "revision": own, "labels": labels}
    failed = {_known_stage(one["stage"]): to_ms(one["failed_at"]) for one in event["failed"]}
    if len(parts) + len(failed) != len(STAGES) or parts.keys() & failed.keys():
        raise impossible("A rescoring has one part, or one failure, of each stage.")
    last = _newest(revisions)
    late = {} if last is None else _numbered(*last)
    parts |= {stage: late[stage] for stage in failed if stage in late}
    parts = {stage: parts[stage] for stage in STAGES if stage in parts}
    failed = {stage: failed[stage] for stage in STAGES if stage in failed and stage not in parts}
    return {
        "policy_revision": event["policy_revision"],
        "lane": event["lane"],
        "parts": parts,
        "failed": failed,
        "decision": routing.decide(parts, failed, policy_of(event["policy_revision"])),
        "rescored": at,
    }


def _other_part(other: Event) -> dict[str, Any]:
    part = {**_made(other, to_ms(other["finished_at"])), "revision": revision_of(other)}
    if other["stage"] == "detector":
        part["labels"] = ranked(other["labels"])
        part["category"] = other["category"]
        part["calibrated"] = other["calibrated"]
    return part


def _made(about: Event, at: int) -> dict[str, Any]:
    return {"engine": about["engine"], "model_version": about["model_version"], "at": at}


def _rescorings(revisions: Mapping[str, Any]) -> list[str]:
    """The number of the revision that a rescoring made, if one has."""
    return [number for number, one in revisions.items() if "rescored" in one]


def _newest(revisions: Mapping[str, Any]) -> tuple[int, Mapping[str, Any]] | None:
    """The last revision with an outcome, and its number."""
    decided = [int(number) for number, one in revisions.items() if "decision" in one]
    return (max(decided), revisions[str(max(decided))]) if decided else None


def _numbered(number: int, revision: Event) -> dict[str, dict[str, Any]]:
    """Its parts, each with the revision that it is of."""
    return {stage: {"revision": number, **part} for stage, part in revision["parts"].items()}


def _ended_without_outcome(state: State | None, event: Event, end: str) -> Result:
    state, analysis, about, revision = _opened(state, event)
    if end_of(revision) is None:
        revision[end] = to_ms(event[f"{end}_at"])
    return bounded(state), list(_said(about, analysis, revision))


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
    state, analysis, about, revision = _opened(state, event)
    if "decision" in revision:
        for stage, part in (parts or {}).items():
            if stage in revision["failed"]:
                late = {"revision": revision_of(event), **part}
                _repair(analysis["revisions"], revision_of(about), stage, late, policy_of)
    elif end_of(revision) is None:
        known = {**(parts or {}), **revision["parts"]}
        ends = {**(failed or {}), **revision["failed"]}
        # In the same order, whichever came first.
        revision["parts"] = {one: known[one] for one in STAGES if one in known}
        revision["failed"] = {one: ends[one] for one in STAGES if one in ends and one not in known}
        if len(revision["parts"]) + len(revision["failed"]) == len(STAGES):
            policy = policy_of(revision["policy_revision"])
            revision["decision"] = routing.decide(revision["parts"], revision["failed"], policy)
    return bounded(state), list(_said(about, analysis, revision))


def _repair(
    revisions: dict[str, Any], base: int, stage: str, part: routing.Part, policy_of: PolicyOf
) -> None:
    """Add the revision that a late part of the revision `base` makes, out of the last one that was
    made so or by a rescoring, unless the part has made one before."""
    repairs = revisions[str(base)].get("repairs", {})
    if stage in repairs:
        return
    number = max([base, *repairs.values(), *map(int, _rescorings(revisions))])
    last = revisions[str(number)]
    parts = {**_numbered(number, last), stage: part}
    failed = {one: at for one, at in last["failed"].items() if one != stage}
    following = max(map(int, revisions)) + 1
    revisions[str(following)] = {
        "policy_revision": last["policy_revision"],
        "lane": last["lane"],
        "parts": parts,
        "failed": failed,
        "decision": routing.decide(parts, failed, policy_of(last["policy_revision"])),
        "repairs_of": part["revision"],
    }
    revisions[str(base)]["repairs"] = {**repairs, stage: following}


def _derived(revision: Event) -> bool:
    """Whether it was made of other ones: then the ends of its members are told already."""
    return not revision.keys().isdisjoint(("repairs_of", "rescored"))


def _analysis(state: State | None, event: Event) -> tuple[State, dict[str, Any]]:
    """A copy of the state, and in it the event's analysis, to be changed."""
    name = uuid_of(event, "analysis_id")
    analyses = dict(state["analyses"]) if state else {}
    known = analyses.get(name, {"members": {}, "revisions": {}})
    analyses[name] = {"members": known["members"], "revisions": dict(known["revisions"])}
    return {"analyses": analyses}, analyses[name]


def _opened(
    state: State | None, event: Event
) -> tuple[State, dict[str, Any], Event, dict[str, Any]]:
    """As `_analysis`, and of it the event's revision; its first event sets policy and lane.

    The rescoring of an analysis stands for one before it that is forgotten: the event is given as
    one about that.
    """
    number = str(revision_of(event))
    state, analysis = _analysis(state, event)
    if number not in analysis["revisions"]:
        later = (one for one in _rescorings(analysis["revisions"]) if int(one) > int(number))
        number = next(later, number)
    first = {
        "policy_revision": event["policy_revision"],
        "lane": event["lane"],
        "parts": {},
        "failed": {},
    }
    revision = dict(analysis["revisions"].get(number, first))
    analysis["revisions"][number] = revision
    return state, analysis, {**event, "revision": int(number)}, revision


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
    """The end of each member, if the revision has one of its own."""
    ended = end_of(revision)
    if ended is None or _derived(revision):
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
