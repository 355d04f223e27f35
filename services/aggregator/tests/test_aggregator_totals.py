"""Counting imports."""

from typing import Any

import pytest

from aggregator_events import at, batch, ended, intake
from aggregator_machine import Machine, values
from streamkit import Reject

PROGRESSED = "batch.progressed.v1"
COMPLETED = "batch.completed.v1"
COUNTED = "batch.chunk-counted.v1"


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


def test_a_full_chunk_is_a_byte_for_each_photo() -> None:
    machine = Machine()
    for index in range(4096):
        machine.apply(ended(index, "auto_labeled" if index % 2 else "review", partial=index == 0))
    (stored,) = machine.tables["chunks"].values()
    assert len(stored) < 4096 + 100


@pytest.mark.parametrize(
    "event", [ended(end="vanished"), ended(index=-1), ended(batch_id="x"), intake(batch_id="x")]
)
def test_an_impossible_event_is_rejected(event: Any) -> None:
    with pytest.raises(Reject):
        Machine().apply(event)
