"""The whole aggregator without Kafka: tables in a dict, its own events fed back to it."""

import json
from collections import deque
from collections.abc import Iterable
from typing import Any

from aggregator.handlers import routes
from aggregator.routing import Policy
from aggregator_events import Event
from streamkit import Emit


class Machine:
    """Feeds events to the steps, and what they emit on to the next ones, in order."""

    def __init__(self, policy: Policy | None = None) -> None:
        self._routes = routes(policy or Policy())
        self.tables: dict[str, dict[str, bytes]] = {"analyses": {}, "chunks": {}, "batches": {}}
        self.emitted: list[Emit] = []

    def feed(self, *events: Event) -> list[Emit]:
        """Everything emitted because of `events`."""
        before, waiting = len(self.emitted), deque(events)
        while waiting:
            for emit in self.apply(waiting.popleft()):
                self.emitted.append(emit)
                if emit.topic in self._routes:
                    waiting.append((emit.topic, emit.key, dict(emit.value)))
        return self.emitted[before:]

    def apply(self, event: Event) -> list[Emit]:
        """One step: table written, emits returned."""
        topic, key, value = event
        route = self._routes[topic]
        table = self.tables[route.table]
        stored = table.get(key)
        state, emits = route.apply(key, None if stored is None else json.loads(stored), value)
        table[key] = json.dumps(state, allow_nan=False).encode()
        assert json.loads(table[key]) == state
        return emits

    def said(self, *topics: str) -> dict[str, Any]:
        """Value by id of all that was emitted to `topics`; the same id must have the same value."""
        found: dict[str, Any] = {}
        for emit in self.emitted:
            if emit.topic in topics:
                record = (emit.topic, emit.key, emit.value)
                assert found.setdefault(emit.id, record) == record
        return found


OUTCOMES = ("photo.auto-labeled.v1", "photo.suggested.v1", "photo.review-requested.v1")
LASTING = (*OUTCOMES, "batch.photo-ended.v1", "batch.completed.v1")


def values(emits: Iterable[Emit], *topics: str) -> list[Any]:
    """Values of those emitted to `topics`."""
    return [emit.value for emit in emits if emit.topic in topics]
