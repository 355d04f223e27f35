"""Joins: what several stages say of one thing comes to one outcome, decided without I/O.

Of each key a join keeps a state, which is JSON:

    {IDENTITY: {"parts": {NAME: kept}, "failed": {NAME: kept}, "revisions": [[NAME, …], …],
                "at": ms}}

`revisions` has an entry for each outcome so far: the parts that it had to do without. So every
outcome can be said again, with the same id and the same value, whenever something that it rests on
is repeated: nothing is ever remembered as "done". Of two events about the same part the first
counts. A stage that failed has ended, too: the outcome is partial then. If its part comes after
all, another outcome follows, of the next revision.
"""

import math
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any, Final
from uuid import NAMESPACE_URL, uuid5

from streamkit.errors import Reject
from streamkit.messages import Emit
from streamkit.workflow.branches import Branch, Value
from streamkit.workflow.parts import EXPIRED, Expiry, Failures, Joined, Part, Source, to_ms

State = dict[str, Any]
"""Of one key; not to be changed but replaced."""

Step = tuple[State | None, Sequence[Emit]]
"""The next state (None: nothing is kept of the key any more) and what to publish."""

_OUTCOMES: Final = uuid5(NAMESPACE_URL, "streamkit/joins")


@dataclass(frozen=True, slots=True, kw_only=True)
class Join:
    """Waits for parts and says what they come to.

    `name` is that of its service. `decide` gives the outcome's value; it goes to `into`, or to the
    topic that a Branch chooses by the value, under an id that depends on name, key, identity and
    revision only (or what `event_id` makes of them). `identity` gives an event's identity, where
    more than one thing may be joined under a key (None: the key is all); of more than `identities`
    with an outcome the first ones are forgotten. `expects` gives the names of all parts that are
    to come, or None if that can't be known yet; by default those of `parts`.

    All functions are pure, and the same for all workers.
    """

    name: str
    parts: tuple[Part, ...] = ()
    into: str | Branch = ""
    decide: Callable[[Joined], Value] | None = None
    failures: tuple[Failures, ...] = ()
    expiry: Expiry | None = None
    identity: Callable[[Value], str] | None = None
    identities: int = 64
    expects: Callable[[Mapping[str, Any], Mapping[str, Any]], Collection[str] | None] | None = None
    event_id: Callable[[Joined], str] | None = None
    version: str = "0"
    partitions: int = 0
    _sources: Mapping[str, Source] = field(init=False, repr=False, compare=False)
    _names: tuple[str, ...] = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        inputs: tuple[Source, ...] = self.inputs
        object.__setattr__(self, "_sources", {one.topic: one for one in inputs})
        names = tuple(part.name for part in self.parts if part.each is None)
        object.__setattr__(self, "_names", names)

    @property
    def inputs(self) -> tuple[Source, ...]:
        """All that it reads."""
        expiry = () if self.expiry is None else (self.expiry,)
        return (*self.parts, *self.failures, *expiry)

    @property
    def reads(self) -> tuple[str, ...]:
        """Topics of its inputs."""
        return tuple(self._sources)

    @property
    def writes(self) -> tuple[str, ...]:
        """Topics of its events."""
        outcomes = self.into.writes if isinstance(self.into, Branch) else (self.into,)
        ticks = (self.expiry.topic,) if self.expiry is not None else ()
        return (*outcomes, *ticks)

    def step(
        self,
        state: State | None,
        topic: str,
        key: str,
        value: Value,
        headers: Mapping[str, str],
    ) -> Step:
        """What an event does to the state of its key (None: there is none yet).

        Pure: what is given is not changed. Raises Reject for an event that can't be.
        """
        source = self._sources[topic]
        if isinstance(source, Expiry):
            return self._ticked(state or {}, key, value)
        identity = "" if self.identity is None else self.identity(value)
        known = (state or {}).get(identity, _NOTHING)
        if isinstance(source, Part):
            name = source.name if source.each is None else f"{source.name}/{source.each(value)}"
            changed = self._arrived(known, name, source, value)
        else:
            name = source.part(value)
            changed = self._failed(known, name, source, value)
        if changed is None:
            counts = name in known["parts"] or name in known["failed"]
            return state, tuple(self._said(key, identity, known)) if counts else ()
        if self.expiry is not None:
            _date(changed, headers)
        news = changed["revisions"][len(known["revisions"]) :]
        emits = self._said(key, identity, changed, after=len(known["revisions"])) if news else ()
        return self._bounded({**(state or {}), identity: changed}), tuple(emits)

    def due(self, states: Iterable[tuple[str, State]], now: datetime) -> Iterator[Emit]:
        """The ticks to publish, as of `now`, for keys of which something has had its time."""
        if self.expiry is None:
            return
        limit = to_ms(now) - round(1000 * self.expiry.after_s)
        for key, state in states:
            if any(one.get("at", limit) <= limit for one in state.values()):
                name = str(uuid5(_OUTCOMES, f"{self.name}/{key}/tick/{to_ms(now)}"))
                yield Emit(self.expiry.topic, key, {"occurred_at": now}, name)

    def _arrived(self, known: State, name: str, part: Part, value: Value) -> State | None:
        """With this part; None if it changes nothing."""
        if name in known["parts"]:
            return None
        revisions = known["revisions"]
        if revisions and name not in revisions[-1]:
            return None
        parts = {**known["parts"], name: part.keep(value)}
        changed = {**known, "parts": parts}
        if revisions:
            missing = [one for one in revisions[-1] if one != name]
            return {**changed, "revisions": [*revisions, missing]}
        return self._decided(changed)

    def _failed(self, known: State, name: str, source: Failures, value: Value) -> State | None:
        """Without this part; None if it changes nothing."""
        if not self._has(name):
            raise Reject("impossible_record", f"{self.name} waits for no part {name[:80]!r}.")
        if known["revisions"] or name in known["parts"] or name in known["failed"]:
            return None
        failed = {**known["failed"], name: source.keep(value)}
        return self._decided({**known, "failed": failed})

    def _has(self, name: str) -> bool:
        kind, slash, _ = name.partition("/")
        return any(
            part.name == (kind if part.each is not None and slash else name) for part in self.parts
        )

    def _expected(self, known: State) -> Collection[str] | None:
        if self.expects is None:
            return self._names
        return self.expects(known["parts"], known["failed"])

    def _decided(self, known: State) -> State:
        """With its first revision, if everything has ended; then without what nobody expects."""
        expected = self._expected(known)
        parts, failed = known["parts"], known["failed"]
        if expected is None or len(expected) > len(parts) + len(failed):
            return known
        if any(one not in parts and one not in failed for one in expected):
            return known
        missing = sorted(one for one in expected if one not in parts)
        return {
            **known,
            "parts": {one: kept for one, kept in parts.items() if one in expected},
            "failed": {one: failed[one] for one in missing},
            "revisions": [missing],
        }

    def _said(self, key: str, identity: str, known: State, after: int = 0) -> Iterator[Emit]:
        """Outcomes of the revisions after that one."""
        for number, missing in enumerate(known["revisions"][after:], after + 1):
            parts = known["parts"]
            yield self._outcome(
                Joined(
                    key,
                    identity,
                    number,
                    {one: parts[one] for one in sorted(parts) if one not in missing},
                    {one: known["failed"][one] for one in missing},
                )
            )

    def _outcome(self, joined: Joined) -> Emit:
        if self.decide is None:
            raise RuntimeError(f"join {self.name} has no decide")
        value = self.decide(joined)
        topic = self.into.topic_of(value) if isinstance(self.into, Branch) else self.into
        if self.event_id is not None:
            return Emit(topic, joined.key, value, self.event_id(joined))
        what = f"{self.name}/{joined.key}/{joined.identity}/{joined.revision}"
        return Emit(topic, joined.key, value, str(uuid5(_OUTCOMES, what)))

    def _bounded(self, state: State) -> State:
        """Without the first identities that have an outcome, if there are too many."""
        too_many = len(state) - self.identities
        if too_many <= 0:
            return state
        ended = [identity for identity, known in state.items() if known["revisions"]]
        forgotten = set(ended[:too_many])
        return {one: known for one, known in state.items() if one not in forgotten}

    def _ticked(self, state: State, key: str, tick: Value) -> Step:
        """Without what is over, and with an outcome of what waits in vain."""
        now, left, emits = to_ms(tick["occurred_at"]), {}, list[Emit]()
        after_ms = 1000 * self.expiry.after_s if self.expiry is not None else math.inf
        for identity, known in state.items():
            at = known.get("at", now)
            if now - at < after_ms:
                left[identity] = {**known, "at": min(at, now)}
            elif not known["revisions"]:
                left[identity] = {**self._given_up(known), "at": now}
                emits += self._said(key, identity, left[identity])
        return left or None, emits

    def _given_up(self, known: State) -> State:
        """Ended without all that has not come."""
        expected = self._expected(known)
        names = expected if expected is not None else {*self._names, *known["parts"]}
        late = {
            one: {"code": EXPIRED}
            for one in names
            if one not in known["parts"] and one not in known["failed"]
        }
        missing = sorted({*late, *known["failed"]} - set(known["parts"]))
        return {**known, "failed": {**known["failed"], **late}, "revisions": [missing]}


_NOTHING: Final[State] = {"parts": {}, "failed": {}, "revisions": []}


def _date(known: State, headers: Mapping[str, str]) -> None:
    """Note when the event was published, by its own word; a tick does where it says nothing."""
    try:
        moment = to_ms(datetime.fromisoformat(headers.get("ce_time", "")).astimezone(UTC))
    except (ValueError, OverflowError):
        return
    known["at"] = max(known.get("at", 0), moment)
