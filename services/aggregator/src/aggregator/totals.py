"""Counts the ends of an import: per chunk of indices, then per import. Decided without I/O.

Counting is by what each index came to, never by adding one: a chunk is a text with one letter for
each index, and what is published are absolute counts. All counts only grow, so that the larger of
two is the later one and repeated or overtaken events change nothing. What a state says follows
from the state alone (`chunk_said`, `import_said`): it is asked once for many events.

    chunk   {"owner", "ends": one letter for each index, "at": milliseconds of the last end}
    import  {"owner", "intake": {…} | None, "started_at", "sealed_at", "cancelled",
             "full": hexadecimal bits of the chunks in which every index has its end,
             "sums": [the counts of those together], "open": {CHUNK: [counts]},
             "counted_at", "at": the last thing heard}

An import keeps counts apart only for chunks that are not full, since those may still grow: of a
million photos it keeps some 400 bytes, 62 of them for the bits.
"""

from collections.abc import Iterable, Iterator, Mapping
from datetime import datetime
from typing import Any, Final

from aggregator.clock import from_ms, to_ms
from aggregator.records import LAST_INDEX, impossible, index_of, uuid_of
from darkroom_schemas import ids, names
from streamkit import Emit

Event = Mapping[str, Any]
State = dict[str, Any]
Result = tuple[State | None, list[Emit]]

LETTERS: Final = {
    "auto_labeled": "a",
    "suggested": "s",
    "review": "r",
    "rejected": "x",
    "cancelled": "c",
}
"""How a chunk's text writes an end; in upper case if the outcome is partial."""

MODEL: Final = "labels"
"""What is trained of the user's own labels."""

_NONE_YET: Final = "."
_COUNTS: Final = (*LETTERS, "partial")
_OUTCOMES: Final = ("auto_labeled", "suggested", "review")
_INTAKE: Final = ("found", "duplicates", "refused", "submitted")
_FINAL: Final = frozenset({"sealed", "cancelled"})


def photo_ended(state: State | None, event: Event) -> Result:
    """An index has its end (batch.photo-ended); its first one counts."""
    letter, at = _letter(event), to_ms(event["ended_at"])
    uuid_of(event, "batch_id")
    place = index_of(event) % ids.CHUNK
    known = state or {"ends": "", "at": at}
    if "owner" not in known:  # a new chunk, or one of version 0.1.0
        known = {"owner": uuid_of(event, "owner"), **known}
    ends = known["ends"].ljust(place + 1, _NONE_YET)
    if ends[place] != _NONE_YET:
        return known, []
    ends = ends[:place] + letter + ends[place + 1 :]
    return {**known, "ends": ends, "at": max(known["at"], at)}, []


def chunk_said(key: str, state: State) -> Iterator[Emit]:
    """What a chunk has to say: its counts (batch.chunk-counted)."""
    batch, _, chunk = key.rpartition("/")
    ends, counts = state["ends"], {}
    for end, letter in LETTERS.items():
        counts[end] = ends.count(letter) + ends.count(letter.upper())
    counts["partial"] = sum(ends.count(letter.upper()) for letter in LETTERS.values())
    value = {
        "owner": state["owner"],
        "batch_id": batch,
        "chunk": int(chunk),
        **counts,
        "counted_at": from_ms(state["at"]),
    }
    name = f"chunk-counted:{chunk}:{_fingerprint(counts)}"
    yield Emit(names.BATCH_CHUNK_COUNTED, batch, value, ids.batch_event_id(batch, name))


def chunk_ticked(_state: State | None, event: Event) -> Result:
    """The chunk's import is over for long: nothing is kept of it."""
    uuid_of(event, "batch_id")
    return None, []


def intake_advanced(state: State | None, event: Event) -> Result:
    """The scan has come further (batch.intake), or is finished: the first finish counts."""
    known = _opened(state, event)
    at, started = to_ms(event["occurred_at"]), to_ms(event["started_at"])
    intake, sealed = known["intake"] or dict.fromkeys(_INTAKE, 0), known["sealed_at"]
    if event["state"] in _FINAL:
        sealed = at if sealed is None else min(sealed, at)
    following = {
        **known,
        "intake": {name: max(intake[name], event[name]) for name in _INTAKE},
        "started_at": min(known["started_at"] or started, started),
        "at": max(known["at"], at),
        "sealed_at": sealed,
        "cancelled": known["cancelled"] or event["state"] == "cancelled",
    }
    return following, []


def chunk_counted(state: State | None, event: Event) -> Result:
    """A chunk has new counts (batch.chunk-counted)."""
    known, at = _opened(state, event), to_ms(event["counted_at"])
    number = event["chunk"]
    if not 0 <= number <= ids.chunk_of(LAST_INDEX):
        raise impossible(f"The chunk {number} is outside of any import.")
    following = {
        **known,
        "at": max(known["at"], at),
        "counted_at": max(known["counted_at"], at),
    }
    full, chunk = int(known["full"], 16), str(number)
    if full >> number & 1:
        return following, []
    before = known["open"].get(chunk, [0] * len(_COUNTS))
    counts = [max(old, event[name]) for old, name in zip(before, _COUNTS, strict=True)]
    following["open"] = {**known["open"], chunk: counts}
    if _ended(counts) == ids.CHUNK:
        del following["open"][chunk]
        following["full"] = f"{full | 1 << number:x}"
        following["sums"] = _added([known["sums"], counts])
    return following, []


def import_said(key: str, state: State, training_above: int) -> Iterator[Emit]:
    """What an import has to say: its progress, and its completion where that is reached.

    One that was not cancelled and has more than `training_above` whole outcomes (none of their
    stages failed) also asks for a training. Nothing is said before the import is known.
    """
    if state["intake"] is None:
        return
    counts = _summed(state)
    yield _progressed(key, state, counts)
    if _complete(state):
        yield _completed(key, state, counts)
        successes = sum(counts[outcome] for outcome in _OUTCOMES) - counts["partial"]
        if successes > training_above and not state["cancelled"]:
            yield _training(key, state)


def import_ticked(state: State | None, event: Event, kept_ms: int) -> Result:
    """Time has passed (batch.ticked): nothing is kept of an import that is over for long."""
    uuid_of(event, "batch_id")
    if state is not None and _over(state, to_ms(event["occurred_at"]) - kept_ms):
        return None, []
    return state, []


def due(states: Iterable[tuple[str, State]], now: datetime, kept_ms: int) -> Iterator[Emit]:
    """Ticks for imports that are over for longer than `kept_ms`, those of their chunks first: once
    the import is forgotten, nothing knows its chunks any more."""
    before = to_ms(now) - kept_ms
    over = [(batch, state) for batch, state in states if _over(state, before)]
    for batch, state in over:
        for chunk in _chunks(state):
            key = ids.chunk_key(batch, chunk)
            yield _tick(names.BATCH_CHUNK_TICKED, key, batch, chunk, now)
    for batch, _ in over:
        yield _tick(names.BATCH_TICKED, batch, batch, None, now)


def _tick(topic: str, key: str, batch: str, chunk: int | None, now: datetime) -> Emit:
    value = {"batch_id": batch, "chunk": chunk, "occurred_at": now}
    name = f"ticked:{'' if chunk is None else chunk}:{to_ms(now)}"
    return Emit(topic, key, value, ids.batch_event_id(batch, name))


def _letter(event: Event) -> str:
    try:
        letter = LETTERS[event["end"]]
    except KeyError:
        raise impossible(f"There is no end {event['end'][:80]!r}.") from None
    return letter.upper() if event["partial"] else letter


def _opened(state: State | None, event: Event) -> State:
    """State of an import. `intake` is None until the first batch.intake, `sealed_at` until the
    last; of counts those of _COUNTS."""
    uuid_of(event, "batch_id")
    if state is None or "open" not in state:
        return _new(uuid_of(event, "owner"), state or {})
    return state


def _new(owner: str, before: State) -> State:
    """State of an import, out of what version 0.1.0 kept of it, if anything."""
    return {
        "owner": owner,
        "intake": before.get("intake"),
        "started_at": before.get("started_at"),
        "sealed_at": before.get("sealed_at"),
        "cancelled": False,
        "full": "0",
        "sums": [0] * len(_COUNTS),
        "open": before.get("chunks", {}),
        "counted_at": before.get("counted_at", 0),
        "at": before.get("at", 0),
    }


def _added(counts: Iterable[list[int]]) -> list[int]:
    return [sum(of_one) for of_one in zip(*counts, strict=True)]


def _ended(counts: Iterable[int]) -> int:
    """How many indices have their end, of _COUNTS."""
    return sum(number for number, _ in zip(counts, LETTERS, strict=False))


def _counts(state: State) -> list[int]:
    return _added([state["sums"], *state["open"].values()])


def _pending(state: State) -> int:
    return max(0, int(state["intake"]["submitted"]) - _ended(_counts(state)))


def _complete(state: State) -> bool:
    return state["sealed_at"] is not None and state["intake"]["submitted"] == _ended(_counts(state))


def _over(state: State, before_ms: int) -> bool:
    """Whether nothing was heard since of an import that is complete, or that nobody knows. One of
    version 0.1.0 of which nothing came since is kept: it is small."""
    if "open" not in state:
        return False
    return state["at"] <= before_ms and (state["intake"] is None or _complete(state))


def _chunks(state: State) -> Iterator[int]:
    """All of which something was counted."""
    bits = f"{int(state['full'], 16):b}"
    yield from (number for number, bit in enumerate(reversed(bits)) if bit == "1")
    yield from map(int, state["open"])


def _summed(state: State) -> dict[str, int]:
    """The totals of the import."""
    sums = dict(zip(_COUNTS, _counts(state), strict=True))
    accepted = sum(sums[end] for end in LETTERS) - sums["rejected"]
    sums["rejected"] += state["intake"]["refused"]
    intake = {name: state["intake"][name] for name in ("found", "duplicates")}
    return {**intake, "accepted": accepted, **sums}


def _progressed(batch: str, state: State, counts: Mapping[str, int]) -> Emit:
    pending, sealed = _pending(state), state["sealed_at"] is not None
    value = {
        "owner": state["owner"],
        "batch_id": batch,
        **counts,
        "pending": pending,
        "sealed": sealed,
        "started_at": from_ms(state["started_at"]),
        "progressed_at": from_ms(state["at"]),
    }
    name = f"progressed:{_fingerprint(counts)}:{pending}:{sealed}:{state['at']}"
    return Emit(names.BATCH_PROGRESSED, batch, value, ids.batch_event_id(batch, name))


def _completed(batch: str, state: State, counts: Mapping[str, int]) -> Emit:
    value = {
        "owner": state["owner"],
        "batch_id": batch,
        **counts,
        "started_at": from_ms(state["started_at"]),
        "completed_at": _completed_at(state),
    }
    name = ids.batch_event_id(batch, "completed")
    return Emit(names.BATCH_COMPLETED, batch, value, name)


def _training(batch: str, state: State) -> Emit:
    name = ids.batch_event_id(batch, "training")
    value = {
        "request_id": name,
        "owner": state["owner"],
        "model": MODEL,
        "reason": "batch",
        "batch_id": batch,
        "requested_at": _completed_at(state),
    }
    return Emit(names.TRAINING_REQUESTED, MODEL, value, name)


def _completed_at(state: State) -> datetime:
    return from_ms(max(state["sealed_at"], state["counted_at"]))


def _fingerprint(counts: Mapping[str, int]) -> str:
    return ",".join(str(number) for number in counts.values())
