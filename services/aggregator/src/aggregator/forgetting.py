"""What is not kept of photos for ever: analyses that ended long ago, or too many of one photo.

State is as `join` says. Topics keep their records for 14 days, dead letters for 30: what may be
repeated or replayed finds its analysis. What comes still later makes a new one, which is forgotten
in its turn.
"""

from collections.abc import Iterable, Iterator, Mapping
from datetime import datetime
from typing import Any, Final

from aggregator import routing
from aggregator.clock import to_ms
from darkroom_schemas import ids, names
from streamkit import Emit

Event = Mapping[str, Any]
State = dict[str, Any]

KEPT_ANALYSES: Final = 64
"""Of a photo: each import of one that was refused analyses it anew, so their number has no bound.
Ended ones are kept only for what is repeated or joins late, which concerns the latest."""


def ticked(state: State | None, event: Event, kept_ms: int) -> tuple[State | None, list[Emit]]:
    """Time has passed (photo.ticked): what is over for longer than `kept_ms` is forgotten."""
    before = to_ms(event["occurred_at"]) - kept_ms
    analyses = (state or {"analyses": {}})["analyses"]
    left = {name: one for name, one in analyses.items() if not over(one, before)}
    return ({"analyses": left} if left else None), []


def due(states: Iterable[tuple[str, State]], now: datetime, kept_ms: int) -> Iterator[Emit]:
    """Ticks for photos of which something is over for longer than `kept_ms`."""
    before = to_ms(now) - kept_ms
    for photo, state in states:
        gone = [name for name, one in state["analyses"].items() if over(one, before)]
        if gone:
            value = {"photo_id": photo, "occurred_at": now}
            name = ids.event_id(gone[0], "ticked", to_ms(now))
            yield Emit(names.PHOTO_TICKED, photo, value, name)


def settled(state: State) -> bool:
    """Whether all that is known of the photo has ended: it hardly changes any more."""
    return all(last_end(analysis) is not None for analysis in state["analyses"].values())


def bounded(state: State) -> State:
    """The state without the analyses that ended first (of equals, by id), if it has too many."""
    analyses = state["analyses"]
    too_many = len(analyses) - KEPT_ANALYSES
    if too_many <= 0:
        return state
    ended = ((last_end(analysis), name) for name, analysis in analyses.items())
    oldest = sorted((at, name) for at, name in ended if at is not None)[:too_many]
    forgotten = {name for _, name in oldest}
    return {"analyses": {name: analyses[name] for name in analyses if name not in forgotten}}


def last_end(analysis: Event) -> int | None:
    """When the last revision of an analysis ended, in milliseconds; None if one has not."""
    ends = [end_of(revision) for revision in analysis["revisions"].values()]
    if not ends or None in ends:
        return None
    return max(end[1] for end in ends if end is not None)


def over(analysis: Event, before_ms: int) -> bool:
    """Whether it ended before that; or nobody waits for it and nothing was heard of it since, as
    of a part that came when its analysis was forgotten."""
    at = last_end(analysis)
    if at is None and not analysis["members"]:
        at = max(map(_last_heard, analysis["revisions"].values()), default=None)
    return at is not None and at <= before_ms


def _last_heard(revision: Event) -> int:
    ended = end_of(revision)
    stages = [int(part["at"]) for part in revision["parts"].values()]
    return max([*stages, *revision["failed"].values()], default=0 if ended is None else ended[1])


def end_of(revision: Event) -> tuple[str, int] | None:
    """What a revision came to, and when in milliseconds; None if it has not ended."""
    if "decision" in revision:
        at = routing.decided_ms(revision["parts"], revision["failed"])
        return revision["decision"]["outcome"], at
    for end in ("rejected", "cancelled"):
        if end in revision:
            return end, revision[end]
    return None
