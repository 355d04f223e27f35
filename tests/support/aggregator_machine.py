"""The whole aggregator without Kafka: tables in a dict, its own events fed back to it."""

from collections import deque
from collections.abc import Iterable
from datetime import datetime
from typing import Any

from aggregator.handlers import Rules, folds
from aggregator.routing import Policy
from aggregator_events import Event
from streamkit import Emit
from streamkit.faust import Fold, from_json
from streamkit.faust.states import as_json

OUTCOMES = ("photo.auto-labeled.v1", "photo.suggested.v1", "photo.review-requested.v1")
LASTING = (
    *OUTCOMES,
    "batch.photo-ended.v1",
    "batch.completed.v1",
    "training.requested.v1",
)


class Machine:
    """Feeds events to the steps, and what they emit on to the next ones, in order."""

    def __init__(self, policy: Policy | None = None, **rules: Any) -> None:
        if policy is not None:
            rules["policy_of"] = lambda _revision: policy
        self.folds = folds(Rules(**rules))
        self.tables: dict[str, dict[str, bytes]] = {fold.table: {} for fold in self.folds}
        self.emitted: list[Emit] = []
        self._by_topic = {topic: fold for fold in self.folds for topic in fold.topics}

    def feed(self, *events: Event) -> list[Emit]:
        """Everything emitted because of `events`, each of which is worked on alone."""
        before, waiting = len(self.emitted), deque(events)
        while waiting:
            for emit in self.apply(waiting.popleft()):
                self.emitted.append(emit)
                if emit.topic in self._by_topic:
                    waiting.append((emit.topic, emit.key, dict(emit.value)))
        return self.emitted[before:]

    def fold_of(self, topic: str) -> Fold | None:
        """What works on a topic; None: nothing here does."""
        return self._by_topic.get(topic)

    def apply(self, *events: Event) -> list[Emit]:
        """One micro-batch of a fold: table written, emits returned."""
        fold = self._by_topic[events[0][0]]
        changes, emits = self.worked(fold, events)
        for key, value in changes.items():
            self.write(fold.table, key, value)
        return emits

    def worked(
        self, fold: Fold, events: Iterable[Event]
    ) -> tuple[dict[str, bytes | None], list[Emit]]:
        """What a micro-batch changes and says; nothing is changed yet."""
        touched: dict[str, Any] = {}
        emits: list[Emit] = []
        for topic, key, value in events:
            state = touched[key] if key in touched else self.state(fold.table, key)
            touched[key], more = fold.step(state, topic, key, value, {})
            emits += more
        for key, state in touched.items():
            if fold.tell is not None and state is not None:
                emits += fold.tell(key, state)
        return {key: self._packed(fold, state) for key, state in touched.items()}, emits

    def write(self, table: str, key: str, value: bytes | None) -> None:
        """Set a key of a table, or remove it."""
        if value is None:
            self.tables[table].pop(key, None)
        else:
            self.tables[table][key] = value

    def state(self, table: str, key: str) -> Any:
        """The state of a key; None: there is none."""
        stored = self.tables[table].get(key)
        packing = next(fold.packing for fold in self.folds if fold.table == table)
        return None if stored is None else from_json(packing.unpack(stored))

    def tick(self, now: datetime) -> list[Emit]:
        """Everything emitted because of what is due then, ticks included."""
        ticks = [
            tick
            for fold in self.folds
            if fold.due is not None
            for tick in fold.due(
                [(key, self.state(fold.table, key)) for key in self.tables[fold.table]], now
            )
        ]
        return [*ticks, *self.feed(*((one.topic, one.key, dict(one.value)) for one in ticks))]

    def said(self, *topics: str) -> dict[str, Any]:
        """Value by id of all that was emitted to `topics`; the same id must have the same value."""
        found: dict[str, Any] = {}
        for emit in self.emitted:
            if emit.topic in topics:
                record = (emit.topic, emit.key, emit.value)
                assert found.setdefault(emit.id, record) == record
        return found

    def _packed(self, fold: Fold, state: Any) -> bytes | None:
        if state is None:
            return None
        body = as_json(state)
        packed = fold.packing.pack(state, body)
        assert from_json(fold.packing.unpack(packed)) == state
        return packed


def values(emits: Iterable[Emit], *topics: str) -> list[Any]:
    """Values of those emitted to `topics`."""
    return [emit.value for emit in emits if emit.topic in topics]
