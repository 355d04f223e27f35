"""Counting imports."""

import json
import random
from typing import Any

import pytest

from aggregator_events import OWNER, Event, at, batch, ended, intake
from aggregator_machine import Machine, values
from darkroom_schemas import ids
from streamkit import Reject

PROGRESSED = "batch.progressed.v1"
COMPLETED = "batch.completed.v1"
COUNTED = "batch.chunk-counted.v1"
TRAINING = "training.requested.v1"


def only(machine: Machine, topic: str) -> Any:
    (record,) = machine.said(topic).values()
    return record[2]


def test_an_empty_import_completes() -> None:
    machine = Machine()
    machine.feed(intake(seconds=2))
    value = only(machine, COMPLETED)
    assert value["found"] == value["accepted"] == value["rejected"] == 0
    assert value["completed_at"] == at(2)


def test_an_import_of_nothing_but_duplicates_and_refused_files_completes() -> None:
    machine = Machine()
    machine.feed(intake(found=5, duplicates=3, refused=2))
    value = only(machine, COMPLETED)
    assert (value["duplicates"], value["rejected"], value["accepted"]) == (3, 2, 0)


def test_an_import_completes_when_sealed_and_every_submitted_file_has_its_end() -> None:
    machine = Machine()
    machine.feed(
        intake(state="started"), ended(0, "auto_labeled"), intake(state="scanning", submitted=3)
    )
    machine.feed(ended(1, "rejected", 8), intake(found=5, duplicates=2, submitted=3, seconds=6))
    assert machine.said(COMPLETED) == {}
    machine.feed(ended(2, "review", 7, partial=True))
    value = only(machine, COMPLETED)
    assert value["found"] == 5
    assert (value["auto_labeled"], value["review"], value["rejected"]) == (1, 1, 1)
    assert value["accepted"] == 2
    assert value["partial"] == 1
    assert value["completed_at"] == at(8)


def test_progress_tells_what_is_still_pending() -> None:
    machine = Machine()
    machine.feed(intake(state="scanning", found=4, submitted=4), ended(0), ended(1, "cancelled"))
    last = values(machine.emitted, PROGRESSED)[-1]
    assert (last["pending"], last["accepted"], last["cancelled"]) == (2, 2, 1)
    assert last["sealed"] is False
    assert last["progressed_at"] == at(5)


def test_ends_that_overtake_the_scan_are_kept_until_it_is_known() -> None:
    machine = Machine()
    machine.feed(ended(0), ended(1))
    assert machine.said(PROGRESSED, COMPLETED) == {}
    machine.feed(intake(found=2, submitted=2))
    assert only(machine, COMPLETED)["suggested"] == 2


def test_the_first_end_of_an_index_counts() -> None:
    machine = Machine()
    machine.feed(ended(0, "suggested", 5), ended(0, "review", 9, revision=2))
    last = values(machine.emitted, COUNTED)[-1]
    assert (last["suggested"], last["review"], last["counted_at"]) == (1, 0, at(5))


def test_chunks_are_counted_apart_and_summed() -> None:
    machine = Machine()
    machine.feed(intake(found=3, submitted=3), ended(0), ended(4096), ended(8192, "rejected"))
    assert set(machine.tables["chunks"]) == {f"{batch()}/{chunk}" for chunk in range(3)}
    value = only(machine, COMPLETED)
    assert (value["suggested"], value["rejected"], value["accepted"]) == (2, 1, 2)


def test_an_older_count_of_a_chunk_changes_nothing() -> None:
    machine = Machine()
    counts = [machine.apply(ended(0))[0], machine.apply(ended(1))[0]]
    machine.feed(intake(found=2, submitted=2))
    for count in (counts[1], counts[0]):
        machine.feed((count.topic, count.key, dict(count.value)))
    assert values(machine.emitted, PROGRESSED)[-1]["suggested"] == 2


def test_an_older_report_of_the_scan_changes_nothing() -> None:
    machine = Machine()
    machine.feed(intake(found=9, submitted=9, seconds=5))
    machine.feed(intake(state="scanning", found=4, submitted=4, seconds=3))
    last = values(machine.emitted, PROGRESSED)[-1]
    assert (last["found"], last["pending"], last["sealed"]) == (9, 9, True)
    assert last["progressed_at"] == at(5)


def chunk_of_ends(chunk: int = 0, **ends: int) -> list[Event]:
    """The ends of a chunk: so many of each kind, in no order."""
    kinds = [end for end, count in ends.items() for _ in range(count)]
    random.Random(chunk).shuffle(kinds)
    return [ended(chunk * 4096 + place, end) for place, end in enumerate(kinds)]


FULL = {"auto_labeled": 2000, "suggested": 1096, "review": 1000}


def test_a_chunk_is_a_quarter_of_a_byte_for_each_photo() -> None:
    machine = Machine()
    machine.apply(*chunk_of_ends(**FULL))
    (stored,) = machine.tables["chunks"].values()
    assert len(stored) < 1_100


def test_a_chunk_tells_its_counts_once_for_all_ends_that_are_worked_on_together() -> None:
    machine = Machine()
    (counted,) = machine.apply(*chunk_of_ends(**FULL))
    assert {name: counted.value[name] for name in FULL} == FULL


def test_of_full_chunks_only_their_sum_is_kept() -> None:
    machine = Machine()
    machine.feed(intake(found=3 * 4096 + 2, submitted=3 * 4096 + 2))
    for chunk in range(3):
        for emit in machine.apply(*chunk_of_ends(chunk, **FULL)):
            machine.feed((emit.topic, emit.key, dict(emit.value)))
    state = machine.state("batches", batch())
    assert (state["full"], state["open"]) == ("7", {})
    assert state["sums"][:3] == [3 * count for count in FULL.values()]
    machine.feed(ended(3 * 4096), ended(3 * 4096 + 1))
    value = only(machine, COMPLETED)
    assert value["accepted"] == 3 * 4096 + 2
    assert value["suggested"] == 3 * FULL["suggested"] + 2


def test_what_is_said_again_of_a_full_chunk_changes_nothing() -> None:
    machine = Machine()
    ends = chunk_of_ends(**FULL)
    half, whole = machine.apply(*ends[:2000])[0], machine.apply(*ends)[0]
    machine.feed(intake(found=4096, submitted=4096))
    for emit in (half, whole):
        machine.feed((emit.topic, emit.key, dict(emit.value)))
    before = machine.state("batches", batch())
    assert before["sums"][:3] == list(FULL.values())
    for emit in (half, whole):
        machine.feed((emit.topic, emit.key, dict(emit.value)))
    assert machine.state("batches", batch()) == before
    assert only(machine, COMPLETED)["auto_labeled"] == FULL["auto_labeled"]


def test_an_import_of_a_million_photos_has_a_small_state() -> None:
    machine = Machine()
    counts: dict[str, Any] = {**FULL, "rejected": 0, "cancelled": 0, "partial": 12}
    for chunk in range(245):
        value = {"batch_id": batch(), "owner": OWNER, "chunk": chunk, "counted_at": at(1), **counts}
        machine.apply(("batch.chunk-counted.v1", batch(), value))
    assert len(machine.tables["batches"][batch()]) < 400


def test_an_import_with_duplicates_everywhere_has_a_small_state_too() -> None:
    machine = Machine()
    for chunk in range(245):
        chance = random.Random(chunk)
        counts: dict[str, Any] = {end: 900 + chance.randrange(200) for end in FULL}
        counts |= {"rejected": chance.randrange(9), "cancelled": 0, "partial": chance.randrange(99)}
        value = {"batch_id": batch(), "owner": OWNER, "chunk": chunk, "counted_at": at(1), **counts}
        machine.apply(("batch.chunk-counted.v1", batch(), value))
    assert len(machine.tables["batches"][batch()]) < 3_000


def test_a_cancelled_import_completes_with_the_ends_that_cancel_its_files() -> None:
    machine = Machine()
    machine.feed(intake(state="scanning", found=4, submitted=4), ended(0), ended(1, "review"))
    machine.feed(ended(2, "cancelled", 6), ended(3, "cancelled", 6))
    assert machine.said(COMPLETED) == {}
    machine.feed(intake(state="cancelled", found=5, duplicates=1, submitted=4, seconds=7))
    value = only(machine, COMPLETED)
    assert (value["accepted"], value["cancelled"], value["completed_at"]) == (4, 2, at(7))


def test_a_photo_that_was_cancelled_first_stays_so() -> None:
    machine = Machine()
    machine.feed(ended(0, "cancelled"), ended(0, "auto_labeled"), ended(1), ended(1, "cancelled"))
    last = values(machine.emitted, COUNTED)[-1]
    assert (last["cancelled"], last["auto_labeled"], last["suggested"]) == (1, 0, 1)


def test_a_cancellation_of_an_import_that_is_over_changes_nothing() -> None:
    machine = Machine()
    machine.feed(intake(found=1, submitted=1), ended(0))
    before = machine.said(COMPLETED)
    machine.feed(intake(state="cancelled", found=1, submitted=1, seconds=99))
    assert machine.said(COMPLETED) == before


def trained(machine: Machine) -> list[Any]:
    return [value for _, _, value in machine.said(TRAINING).values()]


def import_of(*ends: Event, state: str = "sealed") -> list[Event]:
    return [*ends, intake(found=len(ends), submitted=len(ends), state=state)]


def test_an_import_with_enough_successes_asks_for_one_training() -> None:
    machine = Machine(training_above=2)
    machine.feed(*import_of(ended(0, "auto_labeled"), ended(1), ended(2, "review", 9)))
    again = machine.feed(ended(1))
    (asked,) = trained(machine)
    assert asked["request_id"] == ids.batch_event_id(batch(), "training")
    assert (asked["model"], asked["reason"], asked["batch_id"]) == ("labels", "batch", batch())
    assert asked["requested_at"] == at(9)
    (key,) = {emit.key for emit in machine.emitted if emit.topic == TRAINING}
    assert key == "labels"
    assert TRAINING in [emit.topic for emit in again]


@pytest.mark.parametrize("count", [50, 51])
def test_more_than_fifty_are_enough_by_default(count: int) -> None:
    machine = Machine()
    machine.feed(*import_of(*(ended(index) for index in range(count))))
    assert len(trained(machine)) == (1 if count > 50 else 0)


def test_what_is_refused_cancelled_or_partial_is_no_success() -> None:
    machine = Machine(training_above=1)
    ends = [ended(0, "rejected"), ended(1, "cancelled"), ended(2, "review", partial=True), ended(3)]
    machine.feed(*import_of(*ends))
    assert trained(machine) == []
    assert len(machine.said(COMPLETED)) == 1


def test_a_cancelled_import_asks_for_no_training() -> None:
    machine = Machine(training_above=0)
    machine.feed(*import_of(ended(0), ended(1), state="cancelled"))
    assert trained(machine) == []
    assert len(machine.said(COMPLETED)) == 1


DAY = 86_400


def test_an_import_that_is_over_for_long_is_forgotten_with_its_chunks() -> None:
    machine = Machine(kept_days=31)
    machine.feed(*import_of(ended(0), ended(1), ended(4096), ended(4096 * 300)))
    assert machine.tick(at(30 * DAY)) == []
    ticks = machine.tick(at(32 * DAY))
    assert [one.topic for one in ticks] == 3 * ["batch.chunk-ticked.v1"] + ["batch.ticked.v1"]
    assert not machine.tables["chunks"]
    assert not machine.tables["batches"]


def test_full_chunks_are_forgotten_with_their_import() -> None:
    machine = Machine(kept_days=1)
    (counted,) = machine.apply(*chunk_of_ends(2, **FULL))
    machine.feed((counted.topic, counted.key, dict(counted.value)))
    machine.tick(at(2 * DAY))
    assert not machine.tables["chunks"]
    assert not machine.tables["batches"]


def test_an_import_that_goes_on_is_not_forgotten_however_long_it_takes() -> None:
    machine = Machine(kept_days=1)
    machine.feed(intake(state="scanning", found=2, submitted=2), ended(0))
    assert machine.tick(at(900 * DAY)) == []
    machine.feed(intake(found=2, submitted=2, seconds=900 * DAY), ended(1, seconds=900 * DAY))
    assert only(machine, COMPLETED)["accepted"] == 2
    assert machine.tick(at(900 * DAY)) == []


def test_a_tick_that_comes_late_takes_nothing_that_has_gone_on() -> None:
    machine = Machine(kept_days=1)
    machine.feed(intake(found=1, submitted=1), ended(0))
    value = {"batch_id": batch(), "chunk": None, "occurred_at": at(60)}
    machine.feed(("batch.ticked.v1", batch(), value))
    assert set(machine.tables["batches"]) == {batch()}


def test_an_import_that_an_older_version_began_is_finished() -> None:
    machine = Machine(training_above=0)
    chunk = {"ends": "a.", "at": 1_795_521_600_250}
    counts = {"0": [1, 0, 0, 0, 0, 0]}
    scan = {"found": 2, "duplicates": 0, "refused": 0, "submitted": 2}
    times = {"started_at": 1_795_521_600_000, "sealed_at": None, "counted_at": 0, "at": 5}
    machine.write("chunks", f"{batch()}/0", json.dumps(chunk).encode())
    state = {"intake": scan, "chunks": counts, **times}
    machine.write("batches", batch(), json.dumps(state).encode())
    assert machine.tick(at(900 * DAY)) == []
    machine.feed(ended(1), intake(found=2, submitted=2))
    value = only(machine, COMPLETED)
    assert (value["auto_labeled"], value["suggested"], value["owner"]) == (1, 1, OWNER)
    assert len(trained(machine)) == 1


@pytest.mark.parametrize("number", [-1, 2**30])
def test_a_chunk_that_no_import_has_is_rejected(number: int) -> None:
    counts = dict.fromkeys((*FULL, "rejected", "cancelled", "partial"), 0)
    value = {"batch_id": batch(), "owner": OWNER, "chunk": number, "counted_at": at(1), **counts}
    with pytest.raises(Reject):
        Machine().apply(("batch.chunk-counted.v1", batch(), value))


@pytest.mark.parametrize(
    "event",
    [
        ended(end="vanished"),
        ended(index=-1),
        ended(batch_id="x"),
        ended(owner="x"),
        intake(batch_id="x"),
        intake(owner="x"),
    ],
)
def test_an_impossible_event_is_rejected(event: Any) -> None:
    with pytest.raises(Reject):
        Machine().apply(event)
