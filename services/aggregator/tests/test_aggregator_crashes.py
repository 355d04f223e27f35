"""Killed anywhere, again and again, it comes to the same tables and says the same."""

from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from aggregator_events import Event, at
from aggregator_machine import LASTING, Machine
from aggregator_strategies import imports, shuffled
from streamkit import Emit

DAY = 86_400
RULES: dict[str, Any] = {"training_above": 0, "kept_days": 31}
LATEST = ("batch.chunk-counted.v1", "batch.progressed.v1")


class Killed(Exception):  # noqa: N818 - it is an event, not an error
    """The process is gone."""


class Process:
    """The aggregator on logs that outlive it: works on micro-batches of any size, as three agents
    do in any order, and is killed at any moment between two steps.

    What survives: records of the logs, changes that reached the changelog, committed offsets.
    """

    def __init__(self, data: Any) -> None:
        self.machine = Machine(**RULES)
        self._data = data
        self._kills = data.draw(st.integers(0, 6))
        tables = [fold.table for fold in self.machine.folds]
        self._logs: dict[str, list[Event]] = {table: [] for table in tables}
        self._committed = dict.fromkeys(tables, 0)
        self._read = dict.fromkeys(tables, 0)
        self._changelogs: dict[str, dict[str, bytes]] = {table: {} for table in tables}

    def publish(self, emits: list[Emit]) -> None:
        """Records that reach the broker; the last one may be the last that does."""
        for emit in emits:
            self._may_die()
            self.machine.emitted.append(emit)
            self.write((emit.topic, emit.key, dict(emit.value)))

    def write(self, event: Event) -> None:
        """A record of the logs."""
        fold = self.machine.fold_of(event[0])
        if fold is not None:
            self._logs[fold.table].append(event)

    def run(self) -> None:
        """Until nothing is left to read."""
        while waiting := [table for table in self._logs if self._left(table)]:
            self._alive(lambda: self._work(self._data.draw(st.sampled_from(waiting))))

    def sweep(self, seconds: float) -> None:
        """Publish what is due; a sweep that is killed is made again after the restart. Offsets are
        committed every second, so all that is old enough to be forgotten is."""
        self._committed = dict(self._read)
        self._kills = self._data.draw(st.integers(0, 6))
        now, done = at(seconds), [False]

        def once() -> None:
            for fold in self.machine.folds:
                states = [
                    (key, self.machine.state(fold.table, key))
                    for key in self.machine.tables[fold.table]
                ]
                self.publish(list(fold.due(states, now)) if fold.due is not None else [])
            done[0] = True

        while not done[0]:
            self._alive(once)
            self.run()  # what the killed sweep published is worked on before the next one

    def _alive(self, act: Any) -> None:
        try:
            act()
        except Killed:
            self.machine.tables = {name: dict(of) for name, of in self._changelogs.items()}
            self._read = dict(self._committed)

    def _left(self, table: str) -> int:
        return len(self._logs[table]) - self._read[table]

    def _work(self, table: str) -> None:
        count = self._data.draw(st.integers(1, self._left(table)))
        first = self._read[table]
        fold = next(one for one in self.machine.folds if one.table == table)
        changes, emits = self.machine.worked(fold, self._logs[table][first : first + count])
        self._may_die()
        for key, value in changes.items():
            self.machine.write(table, key, value)
        for key, value in changes.items():
            self._may_die()
            _set(self._changelogs[table], key, value)
        self.publish(emits)
        self._may_die()
        self._read[table] += count
        if self._data.draw(st.booleans()):
            self._committed[table] = self._read[table]

    def _may_die(self) -> None:
        if self._kills and self._data.draw(st.integers(0, 4)) == 0:
            self._kills -= 1
            raise Killed


def _set(table: dict[str, bytes], key: str, value: bytes | None) -> None:
    if value is None:
        table.pop(key, None)
    else:
        table[key] = value


def states(machine: Machine) -> dict[str, dict[str, Any]]:
    return {
        table: {key: machine.state(table, key) for key in sorted(keys)}
        for table, keys in machine.tables.items()
    }


def latest(machine: Machine) -> dict[Any, Any]:
    """The last thing said of each chunk and import."""
    return {
        (emit.topic, emit.key, emit.value.get("chunk")): emit.value
        for emit in machine.emitted
        if emit.topic in LATEST
    }


@settings(max_examples=100, deadline=None)
@given(st.data())
def test_killed_anywhere_it_comes_to_the_same_tables_and_says_the_same(data: Any) -> None:
    events, _ = data.draw(imports())
    straight, process = Machine(**RULES), Process(data)
    straight.feed(*events)
    for event in data.draw(shuffled(events)):
        process.write(event)
    process.run()
    assert states(process.machine) == states(straight)
    assert process.machine.said(*LASTING) == straight.said(*LASTING)
    assert latest(process.machine) == latest(straight)


@settings(max_examples=60, deadline=None)
@given(st.data())
def test_killed_while_it_forgets_it_forgets_all_that_is_over_and_nothing_else(data: Any) -> None:
    events, _ = data.draw(imports())
    left_out = data.draw(st.sets(st.integers(0, max(0, len(events) - 1)), max_size=2))
    events = [event for number, event in enumerate(events) if number not in left_out]
    straight, process = Machine(**RULES), Process(data)
    straight.feed(*events)
    for event in events:
        process.write(event)
    process.run()
    said = process.machine.said(*LASTING)
    straight.tick(at(40 * DAY))
    process.sweep(40 * DAY)
    process.run()
    assert states(process.machine) == states(straight)
    assert process.machine.said(*LASTING) == said
