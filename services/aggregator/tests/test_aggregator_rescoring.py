"""Photos that were seen before, labelled anew from their stored embeddings."""

import copy
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from aggregator import join
from aggregator.routing import Policy, Thresholds
from aggregator_events import (
    analysis,
    at,
    cancelled,
    detected,
    embedded,
    failed,
    joined,
    labels,
    photo,
    read,
    rejected,
    rescored,
)
from aggregator_machine import LASTING, OUTCOMES, Machine, values
from aggregator_strategies import shuffled
from darkroom_schemas import ids
from streamkit import Busy, Reject

PARTS = (detected(), read(), embedded())
RECEIPT = ("receipt", 0.95)
ENDED = "batch.photo-ended.v1"
DAY = 86_400


def outcomes(machine: Machine) -> list[Any]:
    return [value for _, _, value in machine.said(*OUTCOMES).values()]


def test_a_rescoring_makes_the_next_revision_with_the_own_label_first() -> None:
    machine = Machine()
    machine.feed(*PARTS)
    (emit,) = machine.feed(rescored(0, RECEIPT))
    assert emit.id == ids.event_id(analysis(), "outcome", 2)
    value = emit.value
    assert (value["outcome"], value["label"], value["confidence"]) == ("auto_labeled", *RECEIPT)
    assert (value["category"], value["lane"]) == ("animal", "learning")
    assert value["labels"] == labels(RECEIPT, ("cat", 0.9), ("dog", 0.45))
    assert value["decided_at"] == at(100)
    assert [(one["stage"], one["revision"]) for one in value["parts"]] == [
        ("detector", 1),
        ("ocr", 1),
        ("embedder", 2),
    ]


def test_without_a_label_of_the_heads_the_general_one_counts_again() -> None:
    machine = Machine()
    machine.feed(detected(), read(), embedded(labels=labels(("receipt", 0.6))), rescored(0))
    assert [value["label"] for value in outcomes(machine)] == ["receipt", "cat"]


def test_it_is_routed_by_the_policy_that_it_says_and_by_its_label_s_own_thresholds() -> None:
    strict = Policy(labels={"receipt": Thresholds(0.99, 0.96)})
    machine = Machine(policy_of=lambda revision: strict if revision == 7 else Policy())
    machine.feed(*PARTS, rescored(0, RECEIPT, policy_revision=7))
    assert [value["outcome"] for value in outcomes(machine)] == ["auto_labeled", "review"]
    assert outcomes(machine)[1]["policy_revision"] == 7


def test_a_policy_that_is_not_known_yet_is_waited_for_with_nothing_changed() -> None:
    def known(revision: int) -> Policy:
        if revision == 7:
            raise Busy("not yet")
        return Policy()

    machine = Machine(policy_of=known)
    machine.feed(*PARTS)
    before = dict(machine.tables["analyses"])
    with pytest.raises(Busy):
        machine.apply(rescored(0, RECEIPT, policy_revision=7))
    assert machine.tables["analyses"] == before


def test_the_event_alone_is_enough_when_the_photo_is_forgotten() -> None:
    kept, forgotten = Machine(), Machine()
    kept.feed(*PARTS)
    again = rescored(0, RECEIPT)
    assert kept.feed(again) == forgotten.feed(again)
    assert len(outcomes(forgotten)) == 1


def test_imports_have_their_ends_and_get_no_second_one() -> None:
    machine = Machine()
    machine.feed(joined(), *PARTS)
    ends = machine.said(ENDED)
    emits = machine.feed(rescored(0, RECEIPT), rescored(0, ("menu", 0.4), seconds=200, revision=3))
    assert {emit.topic for emit in emits} <= set(OUTCOMES)
    machine.feed(detected(), joined())
    assert machine.said(ENDED) == ends


def test_an_import_that_joins_late_has_the_end_of_the_first_outcome_alone() -> None:
    machine = Machine()
    machine.feed(*PARTS, rescored(0, ("menu", 0.1)))
    (end,) = values(machine.feed(joined()), ENDED)
    assert (end["revision"], end["end"]) == (1, "auto_labeled")


def test_an_import_gets_no_end_of_a_rescoring_whose_analysis_is_forgotten() -> None:
    machine = Machine()
    machine.feed(rescored(0, RECEIPT))
    assert machine.feed(joined()) == []


def test_a_revision_that_is_taken_makes_it_the_next_one() -> None:
    machine = Machine()
    machine.feed(failed("ocr"), detected(), embedded(), read(seconds=60))
    (emit,) = machine.feed(rescored(0, RECEIPT))
    assert emit.value["revision"] == 3
    assert emit.value["parts"][-1] == {
        **{"stage": "embedder", "revision": 2, "engine": "stub-embedder"},
        "model_version": "stub-embedder@1",
    }
    assert machine.feed(rescored(0, RECEIPT)) == [emit]


def test_a_revision_of_the_event_that_is_far_ahead_is_kept() -> None:
    machine = Machine()
    machine.feed(*PARTS, rescored(0, RECEIPT, revision=9))
    assert [value["revision"] for value in outcomes(machine)] == [1, 9]


def test_a_part_that_came_while_the_event_was_under_way_is_not_lost_again() -> None:
    machine = Machine()
    machine.feed(failed("ocr"), detected(), embedded(), read(seconds=60))
    machine.feed(rescored(0, RECEIPT, without=["ocr"]))
    assert [value["failed_stages"] for value in outcomes(machine)] == [["ocr"], [], []]
    assert outcomes(machine)[-1]["label"] == "receipt"


@pytest.mark.parametrize("known", [True, False])
def test_a_late_part_builds_on_the_rescored_ones(known: bool) -> None:
    machine = Machine()
    if known:
        machine.feed(failed("ocr"), detected(), embedded())
    machine.feed(rescored(0, RECEIPT, without=["ocr"]))
    again = [machine.feed(read(seconds=60)) for _ in range(2)]
    last = outcomes(machine)[-1]
    assert again[1] == again[0]
    assert (last["revision"], last["label"], last["failed_stages"]) == (3, "receipt", [])
    assert [(one["stage"], one["revision"]) for one in last["parts"]] == [
        ("detector", 1),
        ("ocr", 1),
        ("embedder", 2),
    ]
    assert len(outcomes(machine)) == 2 + known


def test_a_rescoring_after_such_a_part_has_it_too() -> None:
    machine = Machine()
    machine.feed(failed("ocr"), detected(), embedded(), rescored(0, RECEIPT, without=["ocr"]))
    machine.feed(read(seconds=60))
    machine.feed(rescored(0, ("menu", 0.6), seconds=200, revision=3, without=["ocr"]))
    last = outcomes(machine)[-1]
    assert (last["revision"], last["label"], last["failed_stages"]) == (4, "menu", [])


def test_the_newest_rescoring_counts_in_whatever_order_they_come() -> None:
    first = rescored(0, RECEIPT)
    second = rescored(0, ("menu", 0.6), seconds=200, revision=3)
    machine = Machine()
    machine.feed(*PARTS, second)
    before = dict(machine.tables["analyses"])
    assert machine.feed(first) == []
    assert machine.tables["analyses"] == before
    assert [value["label"] for value in outcomes(machine)] == ["cat", "menu"]


def test_rescorings_do_not_add_up_in_the_table() -> None:
    machine, sizes = Machine(), list[int]()
    machine.feed(*PARTS)
    for number in range(2, 60):
        machine.feed(rescored(0, ("menu", number / 60), seconds=100 * number, revision=number))
        sizes.append(len(machine.tables["analyses"][photo()]))
    assert [value["revision"] for value in outcomes(machine)] == list(range(1, 60))
    assert max(sizes) < sizes[0] + 50


def test_a_rescored_photo_is_kept_from_then_on() -> None:
    machine = Machine(kept_days=1)
    machine.feed(*PARTS, rescored(0, RECEIPT, seconds=DAY))
    machine.tick(at(1.5 * DAY))
    assert machine.state("analyses", photo()) is not None
    machine.tick(at(2 * DAY))
    assert machine.tables["analyses"] == {}


def test_a_revision_that_somebody_else_makes_later_is_one_of_its_own() -> None:
    machine = Machine()
    second: dict[str, Any] = {"revision": 3}
    machine.feed(*PARTS, rescored(0, RECEIPT))
    machine.feed(detected(**second), read(**second), embedded(**second))
    assert [(value["revision"], value["label"]) for value in outcomes(machine)] == [
        (1, "cat"),
        (2, "receipt"),
        (3, "cat"),
    ]


@given(st.sets(st.sampled_from(["detector", "ocr"])), st.booleans(), st.data())
def test_order_and_repetition_change_neither_the_last_outcome_nor_the_ends(
    missing: set[str], known: bool, data: Any
) -> None:
    """Late parts, rescorings that know of them or not, and what is repeated of before."""
    late = [part for part in (detected(), read()) if part[2]["stage"] in missing]
    begun = [
        joined(),
        *[failed(one[2]["stage"]) if one in late else one for one in PARTS],
    ]
    without = sorted(missing)
    events = [
        *late,
        rescored(0, RECEIPT, without=without),
        rescored(0, ("menu", 0.6), seconds=200, revision=3, without=() if known else without),
    ]
    straight, other = Machine(), Machine()
    straight.feed(*begun, *events)
    other.feed(*begun)
    other.feed(*data.draw(shuffled([*begun, *events])))
    assert other.said(ENDED) == straight.said(ENDED)
    last = _last(other)
    assert {name: last[name] for name in _SAME} == {name: _last(straight)[name] for name in _SAME}
    assert last["failed_stages"] == []
    tables, said = {**other.tables["analyses"]}, other.said(*LASTING)
    other.feed(*events)
    assert (other.tables["analyses"], other.said(*LASTING)) == (tables, said)


_SAME = ("outcome", "label", "labels", "confidence", "category", "decided_at")


def _last(machine: Machine) -> Any:
    return max(outcomes(machine), key=lambda value: value["revision"])


def test_a_step_changes_neither_its_state_nor_its_event() -> None:
    state: dict[str, Any] | None = None
    events = (
        rescored(0, RECEIPT, without=["ocr"]),
        rescored(0, ("menu", 0.6), seconds=200, without=["ocr"]),
    )
    for _, _, event in events:
        before, original = copy.deepcopy(state), copy.deepcopy(event)
        following, _ = join.rescored(state, event, lambda _: Policy())
        assert (state, event) == (before, original)
        state = following
    before = copy.deepcopy(state)
    join.part_arrived(state, read()[2], "ocr", lambda _: Policy())
    assert state == before


@pytest.mark.parametrize("late", [rejected(), cancelled(), failed("ocr")])
def test_what_comes_late_of_a_forgotten_analysis_changes_nothing(late: Any) -> None:
    machine = Machine()
    machine.feed(rescored(0, RECEIPT))
    before = dict(machine.tables["analyses"])
    machine.feed(late)
    assert machine.tables["analyses"] == before
    assert len(machine.said(*LASTING)) == 1


@pytest.mark.parametrize(
    "event",
    [
        rescored(0, ("receipt", 1.5)),
        rescored(0, revision=0),
        rescored(0, analysis_id="no uuid"),
        rescored(0, without=["painter"]),
        rescored(0, failed=[{"stage": "ocr", "failed_at": at(4)}]),
        rescored(0, others=[]),
        rescored(0, without=["ocr"], failed=[]),
    ],
)
def test_an_impossible_event_is_rejected_and_leaves_the_table_alone(event: Any) -> None:
    machine = Machine()
    with pytest.raises(Reject) as caught:
        machine.apply(event)
    assert caught.value.code == "impossible_record"
    assert machine.tables["analyses"] == {}
