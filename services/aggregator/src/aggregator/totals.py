"""Counts the ends of an import: per chunk of indices, then per import. Decided without I/O.

Counting is by what each index came to, never by adding one: a chunk is a text with one letter for
each index, and what is published are absolute counts. All counts only grow, so that the larger of
two is the later one and repeated or overtaken events change nothing.
"""

from collections.abc import Mapping
from typing import Any, Final

from aggregator.clock import from_ms, to_ms
from aggregator.records import impossible, index_of, uuid_of
from darkroom_schemas import ids, names
from streamkit import Emit

Event = Mapping[str, Any]
State = dict[str, Any]
Result = tuple[State, list[Emit]]

LETTERS: Final = {
    "auto_labeled": "a",
    "suggested": "s",
    "review": "r",
    "rejected": "x",
    "cancelled": "c",
}
"""How a chunk's text writes an end; in upper case if the outcome is partial."""

_NONE_YET: Final = "."
_COUNTS: Final = (*LETTERS, "partial")
_INTAKE: Final = ("found", "duplicates", "refused", "submitted")
_FINAL: Final = frozenset({"sealed", "cancelled"})


def photo_ended(state: State | None, event: Event) -> Result:
    """An index has its end (batch.photo-ended); its first one counts. State of a chunk:
    {"ends": one letter for each index, "at": milliseconds of the last end}."""
    letter, at = _letter(event), to_ms(event["ended_at"])
    batch, index = uuid_of(event, "batch_id"), index_of(event)
    place = index % ids.CHUNK
    ends, last = (state["ends"], state["at"]) if state else ("", at)
    ends = ends.ljust(place + 1, _NONE_YET)
    if ends[place] == _NONE_YET:
        ends = ends[:place] + letter + ends[place + 1 :]
        last = max(last, at)
    counts = _counted(ends)
    value = {
        "owner": event["owner"],
        "batch_id": batch,
        "chunk": ids.chunk_of(index),
        **counts,
        "counted_at": from_ms(last),
    }
    name = f"chunk-counted:{value['chunk']}:{_fingerprint(counts)}"
    emit = Emit(names.BATCH_CHUNK_COUNTED, batch, value, ids.batch_event_id(batch, name))
    return {"ends": ends, "at": last}, [emit]


def intake_advanced(state: State | None, event: Event) -> Result:
    """The scan has come further (batch.intake), or is finished."""
    uuid_of(event, "batch_id")
    known = _opened(state)
    at, started = to_ms(event["occurred_at"]), to_ms(event["started_at"])
    sealed = event["state"] in _FINAL
    intake = known["intake"] or dict.fromkeys(_INTAKE, 0)
    following = {
        **known,
        "intake": {name: max(intake[name], event[name]) for name in _INTAKE},
        "started_at": min(known["started_at"] or started, started),
        "at": max(known["at"], at),
        "sealed_at": max(known["sealed_at"] or at, at) if sealed else known["sealed_at"],
    }
    return following, _standing(following, event)


def chunk_counted(state: State | None, event: Event) -> Result:
    """A chunk has new counts (batch.chunk-counted)."""
    uuid_of(event, "batch_id")
    known, at = _opened(state), to_ms(event["counted_at"])
    chunk = str(event["chunk"])
    counts = known["chunks"].get(chunk, [0] * len(_COUNTS))
    counts = [max(old, event[name]) for old, name in zip(counts, _COUNTS, strict=True)]
    following = {
        **known,
        "chunks": {**known["chunks"], chunk: counts},
        "at": max(known["at"], at),
        "counted_at": max(known["counted_at"], at),
    }
    return following, _standing(following, event)


def _letter(event: Event) -> str:
    try:
        letter = LETTERS[event["end"]]
    except KeyError:
        raise impossible(f"There is no end {event['end'][:80]!r}.") from None
    return letter.upper() if event["partial"] else letter


def _counted(ends: str) -> dict[str, int]:
    counts = {end: ends.count(x) + ends.count(x.upper()) for end, x in LETTERS.items()}
    return {**counts, "partial": sum(ends.count(x.upper()) for x in LETTERS.values())}


def _opened(state: State | None) -> State:
    """State of an import. `intake` is None until the first batch.intake, `sealed_at` until the
    last; `chunks` holds the counts of _COUNTS by chunk; `at` is the last thing heard."""
    return state or {
        "intake": None,
        "started_at": None,
        "sealed_at": None,
        "chunks": {},
        "counted_at": 0,
        "at": 0,
    }


def _standing(state: State, event: Event) -> list[Emit]:
    """Progress, and completion where it is reached; nothing before the import is known."""
    if state["intake"] is None:
        return []
    counts, ended = _summed(state)
    pending = max(0, state["intake"]["submitted"] - ended)
    emits = [_progressed(state, event, counts, pending)]
    if state["sealed_at"] is not None and state["intake"]["submitted"] == ended:
        emits.append(_completed(state, event, counts))
    return emits


def _summed(state: State) -> tuple[dict[str, int], int]:
    """The totals of the import, and how many indices have their end."""
    chunks = state["chunks"].values()
    sums = {name: sum(counts[i] for counts in chunks) for i, name in enumerate(_COUNTS)}
    ended = sum(sums[end] for end in LETTERS)
    accepted = ended - sums["rejected"]
    sums["rejected"] += state["intake"]["refused"]
    intake = {name: state["intake"][name] for name in ("found", "duplicates")}
    return {**intake, "accepted": accepted, **sums}, ended


def _progressed(state: State, event: Event, counts: Mapping[str, int], pending: int) -> Emit:
    batch, sealed = event["batch_id"], state["sealed_at"] is not None
    value = {
        "owner": event["owner"],
        "batch_id": batch,
        **counts,
        "pending": pending,
        "sealed": sealed,
        "started_at": from_ms(state["started_at"]),
        "progressed_at": from_ms(state["at"]),
    }
    name = f"progressed:{_fingerprint(counts)}:{pending}:{sealed}:{state['at']}"
    return Emit(names.BATCH_PROGRESSED, batch, value, ids.batch_event_id(batch, name))


def _completed(state: State, event: Event, counts: Mapping[str, int]) -> Emit:
    batch = event["batch_id"]
    value = {
        "owner": event["owner"],
        "batch_id": batch,
        **counts,
        "started_at": from_ms(state["started_at"]),
        "completed_at": from_ms(max(state["sealed_at"], state["counted_at"])),
    }
    name = ids.batch_event_id(batch, "completed")
    return Emit(names.BATCH_COMPLETED, batch, value, name)


def _fingerprint(counts: Mapping[str, int]) -> str:
    return ",".join(str(number) for number in counts.values())
