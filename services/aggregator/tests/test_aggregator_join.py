"""Joining parts and imports, one photo at a time."""

import copy
import json
from typing import Any

import pytest

from aggregator import forgetting, join
from aggregator.routing import Policy, Thresholds
from aggregator_events import (
    analysis,
    at,
    batch,
    cancelled,
    deadline,
    detected,
    embedded,
    failed,
    joined,
    labels,
    photo,
    read,
    rejected,
)
from aggregator_machine import LASTING, OUTCOMES, Machine, values
from streamkit import Busy, Reject

PARTS = (detected(), read(), embedded())
ENDED = "batch.photo-ended.v1"


def test_a_repeated_input_of_a_decided_analysis_says_the_same_again() -> None:
    machine = Machine()
    machine.feed(joined(), *PARTS)
    outcome = next(one for one in machine.emitted if one.topic in OUTCOMES)
    end = next(one for one in machine.emitted if one.topic == ENDED)
    for repeated in (*PARTS, failed("ocr"), detected(confidence=0.1)):
        again = machine.feed(repeated)
        assert outcome in again
        assert end in again


def test_the_first_part_of_a_stage_wins() -> None:
    machine = Machine()
    machine.feed(detected(confidence=0.9), detected(confidence=0.1), read(), embedded())
    (value,) = values(machine.emitted, *OUTCOMES)
    assert value["confidence"] == 0.9


def test_a_part_after_the_failure_of_its_stage_counts_while_nothing_is_decided() -> None:
    machine = Machine()
    machine.feed(failed("ocr"), read(), failed("ocr"), detected(), embedded())
    (value,) = values(machine.emitted, *OUTCOMES)
    assert value["failed_stages"] == []


def test_a_part_that_comes_after_the_partial_outcome_makes_a_revision_that_supersedes_it() -> None:
    machine = Machine()
    machine.feed(joined(), failed("ocr"), detected(), embedded())
    ends = machine.said(ENDED)
    machine.feed(read(seconds=60))
    first, second = _outcomes(machine)
    assert (first["revision"], first["outcome"], first["failed_stages"]) == (1, "review", ["ocr"])
    assert (second["revision"], second["outcome"], second["partial"]) == (2, "auto_labeled", False)
    assert second["decided_at"] == at(60)
    assert {(one["stage"], one["revision"]) for one in second["parts"]} == {
        ("detector", 1),
        ("ocr", 1),
        ("embedder", 1),
    }
    assert machine.said(ENDED) == ends


def test_each_late_part_makes_one_revision_however_often_it_comes() -> None:
    machine = Machine()
    machine.feed(failed("ocr"), failed("embedder"), detected())
    for _ in range(2):
        machine.feed(embedded(), read(), failed("ocr"), detected())
    found = {value["revision"]: value["failed_stages"] for value in _outcomes(machine)}
    assert found == {1: ["ocr", "embedder"], 2: ["ocr"], 3: []}


def test_a_repetition_says_the_superseding_outcomes_again_too() -> None:
    machine = Machine()
    machine.feed(failed("ocr"), detected(), embedded(), read())
    again = machine.feed(detected())
    assert [one.value["revision"] for one in again if one.topic in OUTCOMES] == [1, 2]


def test_an_import_that_joins_a_superseded_analysis_has_one_end() -> None:
    machine = Machine()
    machine.feed(failed("ocr"), detected(), embedded(), read())
    (end,) = values(machine.feed(joined()), ENDED)
    assert (end["revision"], end["partial"]) == (1, True)


def test_a_late_part_of_a_rejected_analysis_changes_nothing() -> None:
    machine = Machine()
    machine.feed(failed("ocr"), rejected(), read())
    assert _outcomes(machine) == []


def test_a_failure_after_the_part_of_its_stage_changes_nothing() -> None:
    machine = Machine()
    machine.feed(read(), failed("ocr"), detected(), embedded())
    (value,) = values(machine.emitted, *OUTCOMES)
    assert value["failed_stages"] == []


def test_an_import_that_joins_late_ends_at_once() -> None:
    machine = Machine()
    machine.feed(*PARTS)
    assert values(machine.emitted, ENDED) == []
    (end,) = values(machine.feed(joined(index=7)), ENDED)
    assert (end["batch_id"], end["index"], end["end"]) == (batch(), 7, "auto_labeled")
    assert end["ended_at"] == at(3)


def test_one_analysis_ends_every_import_that_waits_for_it() -> None:
    machine = Machine()
    machine.feed(joined(index=3), joined(index=9, in_batch=1), joined(index=4), *PARTS)
    ends = {(one["batch_id"], one["index"]) for one in values(machine.emitted, ENDED)}
    assert ends == {(batch(), 3), (batch(), 4), (batch(1), 9)}


def test_the_end_is_keyed_by_the_chunk_that_counts_it() -> None:
    (emit,) = [one for one in Machine().feed(joined(index=4096), *PARTS) if one.topic == ENDED]
    assert emit.key == f"{batch()}/1"


def test_a_rejected_photo_ends_its_imports_without_an_outcome() -> None:
    machine = Machine()
    machine.feed(joined(index=1), rejected(), joined(index=2))
    assert values(machine.emitted, *OUTCOMES) == []
    ends = values(machine.emitted, ENDED)
    assert {(one["index"], one["end"], one["partial"]) for one in ends} == {
        (1, "rejected", False),
        (2, "rejected", False),
    }


def test_parts_after_a_rejection_make_no_outcome() -> None:
    machine = Machine()
    machine.feed(rejected(), *PARTS)
    assert values(machine.emitted, *OUTCOMES) == []


def test_a_rejection_after_the_outcome_changes_nothing() -> None:
    machine = Machine()
    machine.feed(joined(), *PARTS)
    before = machine.said(*LASTING)
    machine.feed(rejected())
    assert machine.said(*LASTING) == before


def test_a_cancelled_analysis_ends_all_who_wait_for_it_or_come_later() -> None:
    machine = Machine()
    machine.feed(joined(index=1), detected(), cancelled(seconds=7), joined(index=2, in_batch=1))
    ends = values(machine.emitted, ENDED)
    assert {(one["batch_id"], one["index"], one["end"], one["partial"]) for one in ends} == {
        (batch(), 1, "cancelled", False),
        (batch(1), 2, "cancelled", False),
    }
    assert {one["ended_at"] for one in ends} == {at(7)}


def test_what_comes_after_a_cancellation_changes_nothing_and_says_the_ends_again() -> None:
    machine = Machine()
    machine.feed(joined(), failed("ocr"), cancelled(seconds=7))
    ends, state = machine.said(ENDED), dict(machine.tables["analyses"])
    for late in (*PARTS, failed("ocr"), rejected(), cancelled(seconds=9), deadline("ocr")):
        assert [emit.id for emit in machine.feed(late) if emit.topic == ENDED] == list(ends)
    assert _outcomes(machine) == []
    assert machine.said(ENDED) == ends
    assert machine.tables["analyses"] == state


def test_a_cancellation_that_comes_after_the_decision_changes_nothing() -> None:
    machine = Machine()
    machine.feed(joined(), *PARTS)
    before = machine.said(*LASTING)
    machine.feed(cancelled())
    assert machine.said(*LASTING) == before


def test_a_cancellation_may_come_before_anything_else() -> None:
    machine = Machine()
    machine.feed(cancelled(seconds=1), *PARTS, joined())
    (end,) = values(machine.emitted, ENDED)
    assert end["end"] == "cancelled"


def test_stages_whose_deadline_is_reached_count_as_failed() -> None:
    machine = Machine()
    machine.feed(joined(), detected(), deadline("ocr", "embedder"))
    (value,) = _outcomes(machine)
    assert (value["outcome"], value["partial"]) == ("review", True)
    assert value["failed_stages"] == ["ocr", "embedder"]
    assert value["decided_at"] == at(900)


def test_a_deadline_leaves_what_a_stage_has_said_alone() -> None:
    machine = Machine()
    machine.feed(read(), failed("embedder", seconds=4), deadline("ocr", "embedder"), detected())
    (value,) = _outcomes(machine)
    assert value["failed_stages"] == ["embedder"]
    assert value["decided_at"] == at(4)


def test_a_deadline_of_some_stages_decides_nothing_while_others_are_awaited() -> None:
    machine = Machine()
    machine.feed(detected(), deadline("ocr"))
    assert _outcomes(machine) == []
    machine.feed(read(), embedded())
    (value,) = _outcomes(machine)
    assert value["failed_stages"] == []


def test_a_part_that_comes_after_its_deadline_makes_the_next_revision() -> None:
    machine = Machine()
    machine.feed(detected(), embedded(), deadline("ocr"), read(seconds=1000))
    found = {value["revision"]: value["failed_stages"] for value in _outcomes(machine)}
    assert found == {1: ["ocr"], 2: []}


def test_each_revision_is_routed_by_its_own_policy() -> None:
    strict = Policy(Thresholds(0.99, 0.95))
    machine = Machine(policy_of=lambda revision: strict if revision == 5 else Policy())
    second: dict[str, Any] = {"revision": 2, "policy_revision": 5}
    machine.feed(*PARTS, detected(**second), read(**second), embedded(**second))
    assert [value["outcome"] for value in _outcomes(machine)] == ["auto_labeled", "review"]


def test_a_policy_that_is_not_known_yet_is_waited_for_with_nothing_changed() -> None:
    def unknown(_revision: int) -> Policy:
        raise Busy("not yet")

    machine = Machine(policy_of=unknown)
    machine.feed(detected(), read())
    before = dict(machine.tables["analyses"])
    with pytest.raises(Busy):
        machine.apply(embedded())
    assert machine.tables["analyses"] == before


def test_states_are_the_same_in_whatever_order_the_stages_ended() -> None:
    one, other = Machine(), Machine()
    one.feed(*PARTS)
    other.feed(*reversed(PARTS))
    assert one.tables == other.tables


def test_the_state_of_a_decided_photo_is_small() -> None:
    machine = Machine()
    seen = labels(*((f"label number {n}", 0.31415926535 / (n + 1)) for n in range(5)))
    machine.feed(joined(), detected(labels=seen), read())
    assert machine.tables["analyses"][photo()].startswith(b"{")
    machine.feed(embedded())
    assert len(machine.tables["analyses"][photo()]) < 350


DAY = 86_400


def test_what_is_over_for_long_is_forgotten_at_a_tick() -> None:
    machine = Machine(kept_days=31)
    machine.feed(joined(), *PARTS)
    assert machine.tick(at(31 * DAY)) == []
    assert kept(machine) == {analysis()}
    machine.tick(at(3 + 31 * DAY))
    assert machine.tables["analyses"] == {}


def test_a_tick_leaves_younger_and_unfinished_analyses_alone() -> None:
    machine = Machine(kept_days=1)
    machine.feed(*PARTS, rejected(seconds=DAY, **again(1)))
    machine.feed(joined(2), detected(2))
    machine.tick(at(1.5 * DAY))
    assert kept(machine) == {analysis(submission="1")}
    assert machine.state("analyses", photo(2)) is not None
    assert machine.tick(at(900 * DAY)) != []
    assert set(machine.tables["analyses"]) == {photo(2)}


def test_the_last_revision_says_how_old_an_analysis_is() -> None:
    machine = Machine(kept_days=1)
    machine.feed(failed("ocr"), detected(), embedded(), read(seconds=DAY))
    machine.tick(at(1.5 * DAY))
    assert kept(machine) == {analysis()}


def test_a_part_of_a_forgotten_analysis_is_forgotten_too() -> None:
    machine = Machine(kept_days=1)
    machine.feed(*PARTS)
    machine.tick(at(2 * DAY))
    machine.feed(read())
    assert kept(machine) == {analysis()}
    machine.tick(at(2 * DAY))
    assert machine.tables["analyses"] == {}


def test_an_import_that_waits_is_never_forgotten() -> None:
    machine = Machine(kept_days=1)
    machine.feed(joined(), joined(1), detected(1))
    assert machine.tick(at(900 * DAY)) == []


def test_a_second_analysis_of_the_photo_has_its_own_outcome() -> None:
    machine = Machine()
    second: dict[str, Any] = {"analysis_id": analysis(submission="two")}
    seen = detected(confidence=0.6, **second)
    machine.feed(*PARTS, seen, read(**second), embedded(**second))
    outcomes = machine.said(*OUTCOMES)
    assert len(outcomes) == 2
    assert {value["outcome"] for _, _, value in outcomes.values()} == {
        "auto_labeled",
        "suggested",
    }


def test_a_new_revision_makes_an_outcome_of_its_own() -> None:
    machine = Machine()
    second: dict[str, Any] = {"revision": 2, "policy_revision": 5}
    machine.feed(joined(), *PARTS, detected(**second), read(**second), embedded(**second))
    found = [(value["revision"], value["policy_revision"]) for value in _outcomes(machine)]
    assert found == [(1, 1), (2, 5)]


def test_the_first_policy_revision_counts() -> None:
    machine = Machine()
    machine.feed(detected(policy_revision=3), read(policy_revision=4), embedded())
    (value,) = _outcomes(machine)
    assert value["policy_revision"] == 3


def test_the_state_is_json_and_holds_neither_vectors_nor_text() -> None:
    machine = Machine()
    letter = "a very private letter"
    machine.feed(joined(), detected(), read(text=letter), embedded(vector=[0.1234567] * 1280))
    state = machine.state("analyses", photo())
    stored = json.dumps(state).encode()
    assert len(stored) < 1500
    assert letter.encode() not in stored
    assert b"0.1234567" not in stored
    assert state["analyses"][analysis()]["members"] == {batch(): [0]}


def again(number: int) -> dict[str, Any]:
    return {"analysis_id": analysis(submission=str(number))}


def kept(machine: Machine) -> set[str]:
    return set(machine.state("analyses", photo())["analyses"])


def test_of_many_analyses_those_that_ended_first_are_forgotten() -> None:
    machine = Machine()
    machine.feed(detected(**again(-1)), *PARTS)
    for number in range(forgetting.KEPT_ANALYSES):
        machine.feed(rejected(seconds=1000 - number, **again(number)))
    latest = {analysis(submission=str(n)) for n in range(forgetting.KEPT_ANALYSES - 1)}
    # The decided one ended first; of the rejected ones, the last in the loop did.
    assert kept(machine) == {analysis(submission="-1"), *latest}


def test_of_analyses_that_ended_at_once_the_first_by_id_is_forgotten() -> None:
    numbers = range(forgetting.KEPT_ANALYSES + 1)
    machine, reverse = Machine(), Machine()
    machine.feed(*(rejected(**again(number)) for number in numbers))
    reverse.feed(*(rejected(**again(number)) for number in reversed(numbers)))
    wanted = set(sorted(analysis(submission=str(number)) for number in numbers)[1:])
    assert kept(machine) == kept(reverse) == wanted


@pytest.mark.parametrize("event", [rejected(seconds=999), joined(), detected()])
def test_whatever_opens_one_analysis_too_many_the_first_that_ended_is_forgotten(event: Any) -> None:
    machine = Machine()
    for number in range(forgetting.KEPT_ANALYSES):
        machine.feed(rejected(seconds=number, **again(number)))
    machine.feed(event)
    latest = {analysis(submission=str(number)) for number in range(1, forgetting.KEPT_ANALYSES)}
    assert kept(machine) == {analysis(), *latest}


def test_an_analysis_ended_when_its_last_revision_did() -> None:
    machine = Machine()
    machine.feed(*PARTS, rejected(seconds=999, revision=2))
    for number in range(forgetting.KEPT_ANALYSES):
        machine.feed(rejected(seconds=100 + number, **again(number)))
    assert analysis() in kept(machine)
    assert analysis(submission="0") not in kept(machine)


def test_an_analysis_is_not_forgotten_before_all_its_revisions_ended() -> None:
    machine = Machine()
    machine.feed(*PARTS, detected(revision=2))
    for number in range(forgetting.KEPT_ANALYSES):
        machine.feed(rejected(seconds=1000 + number, **again(number)))
    assert analysis() in kept(machine)
    assert len(kept(machine)) == forgetting.KEPT_ANALYSES


def test_a_repeated_input_of_a_forgotten_analysis_says_the_same_and_changes_nothing() -> None:
    machine = Machine()
    (first,) = machine.feed(*PARTS)
    second = machine.feed(rejected(seconds=0, **again(0)))
    for number in range(1, forgetting.KEPT_ANALYSES + 1):
        machine.feed(rejected(seconds=1000 + number, **again(number)))
    assert not {analysis(), analysis(submission="0")} & kept(machine)
    before = dict(machine.tables["analyses"])
    assert machine.feed(rejected(seconds=0, **again(0))) == second
    assert machine.tables["analyses"] == before
    assert machine.feed(*PARTS)[-1] == first


def test_a_photo_that_is_refused_again_and_again_has_a_bounded_state() -> None:
    machine, sizes = Machine(), list[int]()
    for number in range(3 * forgetting.KEPT_ANALYSES):
        machine.feed(joined(in_batch=number, **again(number)))
        machine.feed(rejected(seconds=number, **again(number)))
        sizes.append(len(machine.tables["analyses"][photo()]))
    assert max(sizes) < 25_000
    assert len(machine.said(ENDED)) == 3 * forgetting.KEPT_ANALYSES


def test_a_step_changes_neither_its_state_nor_its_event() -> None:
    state: dict[str, Any] | None = None
    for topic, _, event in (joined(), rejected(1, analysis_id=analysis()), joined(index=5)):
        before, original = copy.deepcopy(state), copy.deepcopy(event)
        step = join.batch_joined if topic == "photo.batch-joined.v1" else join.rejected
        following, _ = step(state, event)
        assert state == before
        assert event == original
        state = following


@pytest.mark.parametrize(
    "event",
    [
        detected(analysis_id="no uuid"),
        detected(revision=0),
        detected(labels=[{"name": "cat", "confidence": float("nan")}]),
        detected(labels=[{"name": "cat", "confidence": 1.5}]),
        failed("painter"),
        deadline("ocr", "painter"),
        joined(batch_id="no uuid"),
        joined(index=-1),
        joined(index=2**50),
    ],
)
def test_an_impossible_event_is_rejected_and_leaves_the_table_alone(event: Any) -> None:
    machine = Machine()
    with pytest.raises(Reject) as caught:
        machine.apply(event)
    assert caught.value.code == "impossible_record"
    assert machine.tables["analyses"] == {}


def test_a_record_under_a_wrong_key_is_rejected() -> None:
    topic, _, value = detected()
    with pytest.raises(Reject):
        Machine().apply((topic, photo(1), value))


def _outcomes(machine: Machine) -> list[Any]:
    return [value for _, _, value in machine.said(*OUTCOMES).values()]
