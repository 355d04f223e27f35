"""Any order, any repetition: the same events by id, with equal values, and totals that add up."""

from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from aggregator_events import Event, detected, embedded, failed, read
from aggregator_machine import LASTING, Machine
from aggregator_strategies import imports, shuffled, stage_ends


@given(st.data())
def test_order_and_repetition_change_neither_outcomes_nor_ends_nor_totals(data: Any) -> None:
    events, totals = data.draw(imports())
    straight, other = Machine(), Machine()
    straight.feed(*events)
    other.feed(*data.draw(shuffled(events)))
    assert other.said(*LASTING) == straight.said(*LASTING)

    completed = [value for _, _, value in other.said("batch.completed.v1").values()]
    assert len(completed) == len(totals)
    for value in completed:
        _assert_adds_up(value)
    wanted = sorted((one["found"], one["duplicates"]) for one in totals)
    assert sorted((one["found"], one["duplicates"]) for one in completed) == wanted


@given(st.data())
def test_a_replay_from_any_point_onto_the_final_tables_changes_nothing(data: Any) -> None:
    events, _ = data.draw(imports())
    machine = Machine()
    machine.feed(*data.draw(shuffled(events)))
    tables = {name: dict(table) for name, table in machine.tables.items()}
    said = machine.said(*LASTING)
    first = data.draw(st.integers(0, len(events)))
    machine.feed(*events[first:])
    assert machine.tables == tables
    assert machine.said(*LASTING) == said


@given(st.data())
def test_events_interleaved_as_by_three_agents_come_to_the_same(data: Any) -> None:
    """What the aggregator feeds back to itself may lag behind what others send, arbitrarily."""
    events, _ = data.draw(imports())
    straight, other = Machine(), Machine()
    straight.feed(*events)
    waiting, feedback = list(events), list[Event]()
    while waiting or feedback:
        source = feedback if feedback and (not waiting or data.draw(st.booleans())) else waiting
        for emit in other.apply(source.pop(0)):
            other.emitted.append(emit)
            if other.fold_of(emit.topic) is not None:
                feedback.append((emit.topic, emit.key, dict(emit.value)))
    assert other.said(*LASTING) == straight.said(*LASTING)


@given(stage_ends(0))
def test_every_analysis_comes_to_exactly_one_outcome(events: list[Event]) -> None:
    machine = Machine()
    machine.feed(*events, *events)
    assert len(machine.said(*LASTING)) == 1


@given(st.sets(st.sampled_from(["detector", "ocr", "embedder"]), min_size=1), st.data())
def test_once_every_late_part_has_come_the_last_outcome_is_whole(late: set[str], data: Any) -> None:
    parts = {"detector": detected(), "ocr": read(), "embedder": embedded()}
    ends = [failed(stage) if stage in late else part for stage, part in parts.items()]
    machine = Machine()
    machine.feed(*data.draw(st.permutations(ends)))
    machine.feed(*data.draw(shuffled([parts[stage] for stage in late])))
    machine.feed(*data.draw(shuffled([*ends, *parts.values()])))
    outcomes = [value for _, _, value in machine.said(*LASTING).values()]
    missing = {value["revision"]: value["failed_stages"] for value in outcomes}
    assert set(missing) == set(range(1, len(late) + 2))
    assert set(missing[1]) == late
    assert missing[len(late) + 1] == []


def _assert_adds_up(value: dict[str, Any]) -> None:
    assert value["found"] == value["duplicates"] + value["rejected"] + value["accepted"]
    outcomes = (value["auto_labeled"], value["suggested"], value["review"], value["cancelled"])
    assert value["accepted"] == sum(outcomes)
    assert value["partial"] <= value["accepted"]
