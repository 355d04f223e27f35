"""The reconciler on a real catalog and the real steps of the aggregator: what was missed is said
again, what is merely slow is left alone."""

from collections.abc import Callable, Iterator, Mapping
from typing import Any
from uuid import UUID

import pytest
from structlog.testing import capture_logs

from darkroom_schemas import ids, names
from gateway import db
from gateway.catalog import cancelling, import_commands, read, reconcile
from gateway.catalog.outbox import Outbox
from gateway.control.metrics import RECONCILED
from reconcile_world import PARTS, World
from streamkit import Codec

Example = Callable[..., dict[str, Any]]

OCR = names.PHOTO_TEXT_READ


@pytest.fixture
def world(
    database: str, conn: db.Conn, outbox: Outbox, codec: Codec, example: Example
) -> Iterator[World]:
    world = World.of(database, conn, outbox, codec, example)
    yield world
    world.session.close()


def by(who: str, *topics: str) -> Callable[[str, str, Mapping[str, Any]], bool]:
    """What `who` never sees."""
    return lambda reader, topic, _value: reader == who and topic in topics


def test_parts_that_the_aggregator_missed_are_said_again_as_they_were(world: World) -> None:
    photo = world.photo()
    world.flow()
    said: list[Any] = []

    def ocr_lost(who: str, topic: str, value: Mapping[str, Any]) -> bool:
        said.append((topic, value))
        return who == "aggregator" and topic == OCR

    world.analysed(photo, ocr_lost)
    assert world.outcomes(photo) == []

    assert world.repaired(3) == {"outcomes": 1}
    world.published.clear()
    world.flow()

    assert [outcome for _, outcome, _ in world.outcomes(photo)] != []
    first = {topic: value for topic, value in said if topic in PARTS}
    again = {topic: value for topic, _, value in world.published}
    assert again == first
    assert {name for _, name, _ in world.published} == {
        ids.event_id(photo.analysis_id, stage, 1) for stage in ("detector", "ocr", "embedder")
    }
    assert world.run(3) == {"waiting": 0}
    assert world.flow() == []


def test_a_failure_is_said_again_as_well(world: World, example: Example) -> None:
    photo = world.photo()
    world.flow()
    world.requested(photo)
    for topic in PARTS[1:]:
        world.part(photo, topic)
    failed = example(names.PHOTO_STAGE_FAILED, **world.identity(photo), stage="detector")
    world.said(names.PHOTO_STAGE_FAILED, failed, by("aggregator", names.PHOTO_STAGE_FAILED))

    assert world.repaired(2) == {"outcomes": 1}
    world.flow()

    assert world.outcomes(photo) == [(1, "review", True)]
    values = {topic: value for topic, _, value in world.published}
    assert values[names.PHOTO_STAGE_FAILED] == failed


def test_what_is_merely_slow_is_left_alone(world: World) -> None:
    photo = world.photo()
    world.flow()
    world.analysed(photo, by("aggregator", OCR))

    world.groups.behind = {"darkroom-aggregator"}
    assert world.repaired(8) == {}
    world.groups.behind = {"darkroom.gateway.recorder"}
    assert world.repaired(8) == {}
    world.groups.behind = set()
    assert world.repaired(1) == {"outcomes": 1}


def test_nothing_is_repaired_while_events_wait_in_the_outbox(world: World) -> None:
    photo = world.photo()
    world.flow()
    world.analysed(photo, by("aggregator", OCR))
    world.photo()  # its submission waits for the relay

    assert world.repaired(5) == {}
    world.flow()
    assert world.repaired(1) == {"outcomes": 1}


def test_one_run_sees_and_a_later_one_repairs_and_a_restart_begins_anew(world: World) -> None:
    photo = world.photo()
    world.flow()
    world.analysed(photo, by("aggregator", OCR))

    assert world.repaired(1) == {}
    world.reconciler = world.another()
    assert world.repaired(1) == {}
    assert world.repaired(1) == {"outcomes": 1}


def test_a_repair_that_is_under_way_is_not_repeated(world: World) -> None:
    photo = world.photo()
    world.flow()
    world.analysed(photo, by("aggregator", OCR))

    assert world.repaired(6) == {"outcomes": 1}, "its events wait in the outbox"
    world.flow(by("aggregator", *PARTS))
    assert world.repaired(2) == {"outcomes": 1}, "they were lost, too"
    world.flow()
    assert world.repaired(4) == {}
    assert len(world.outcomes(photo)) == 1


def test_without_a_broker_nothing_is_repaired(world: World) -> None:
    photo = world.photo()
    world.flow()
    world.analysed(photo, by("aggregator", OCR))
    world.run()

    world.groups.away = True
    with capture_logs() as logs:
        assert world.run() == {"waits_for": "kafka"}
    assert [one["event"] for one in logs] == ["reconciler_waits"]
    world.groups.away = False
    assert world.repaired(1) == {"outcomes": 1}


def test_nobody_looks_at_the_broker_while_nothing_waits(world: World) -> None:
    photo = world.photo()
    world.flow()
    world.analysed(photo)

    assert world.run(3) == {"waiting": 0}
    assert world.groups.looks == 0


def test_repairs_are_counted_and_told_once_a_run(world: World) -> None:
    photos = [world.photo() for _ in range(3)]
    world.flow()
    for photo in photos:
        world.analysed(photo, by("aggregator", OCR))
    before = RECONCILED.labels("outcomes")._value.get()

    with capture_logs() as logs:
        world.run(2)

    (notice,) = world.rows("SELECT * FROM notices")
    assert (notice["kind"], notice["severity"]) == ("reconciler_repairs", "warning")
    assert "3 photos without an outcome were joined again" in notice["detail"]
    assert RECONCILED.labels("outcomes")._value.get() - before == 3
    (told,) = [one for one in logs if one["event"] == "reconciled"]
    assert told["subjects"] == sorted(photo.analysis_id for photo in photos)


# --- deadlines -------------------------------------------------------------------------------


def test_a_stage_that_will_not_answer_is_given_up_after_the_deadline(world: World) -> None:
    photo = world.photo()
    world.flow()
    world.requested(photo, seconds_ago=901)
    world.part(photo, names.PHOTO_OBJECTS_DETECTED)

    assert world.repaired(3) == {"deadlines": 2}
    assert world.flow() == [names.ANALYSIS_DEADLINE_REACHED]
    ((_, _, event),) = [one for one in world.published if one[0].startswith("analysis.")]
    assert event["stages"] == ["embedder", "ocr"]

    assert world.outcomes(photo) == [(1, "review", True)]
    failures = world.rows("SELECT stage, code FROM stage_failures ORDER BY stage")
    assert [(row["stage"], row["code"]) for row in failures] == [
        ("embedder", "deadline"),
        ("ocr", "deadline"),
    ]
    assert world.run(2) == {"waiting": 0}


def test_no_stage_is_given_up_before_the_deadline(world: World) -> None:
    photo = world.photo()
    world.flow()
    world.requested(photo, seconds_ago=600)

    assert world.repaired(5) == {}


@pytest.mark.parametrize(
    "behind", ["darkroom.ocr.batch", "darkroom.ocr.retry", "darkroom.gateway.recorder"]
)
def test_a_stage_is_not_given_up_while_the_photo_may_wait_in(world: World, behind: str) -> None:
    photo = world.photo()
    world.flow()
    world.requested(photo, seconds_ago=9000)
    for topic in (names.PHOTO_OBJECTS_DETECTED, names.PHOTO_EMBEDDED):
        world.part(photo, topic)

    world.groups.behind = {behind}
    assert world.repaired(5) == {}
    world.groups.behind = set()
    assert world.repaired(1) == {"deadlines": 1}


def test_only_the_stage_that_is_idle_is_given_up(world: World) -> None:
    photo = world.photo()
    world.flow()
    world.requested(photo, seconds_ago=9000)
    world.part(photo, names.PHOTO_OBJECTS_DETECTED)
    world.groups.behind = {"darkroom.ocr.batch"}

    assert world.repaired(3) == {"deadlines": 1}
    world.flow()
    assert world.published[-1][2]["stages"] == ["embedder"]


def test_a_deadline_that_the_aggregator_missed_is_said_again(world: World) -> None:
    photo = world.photo()
    world.flow()
    world.requested(photo, seconds_ago=901)
    for topic in PARTS[:2]:
        world.part(photo, topic)
    world.run(2)
    world.flow(by("aggregator", names.ANALYSIS_DEADLINE_REACHED))
    first = world.published[-1]

    assert world.repaired(3) == {"outcomes": 1}
    world.flow()

    again = [one for one in world.published if one[0] == names.ANALYSIS_DEADLINE_REACHED]
    assert again == [first, first]
    assert world.outcomes(photo) == [(1, "review", True)]


def test_a_part_that_comes_after_all_supersedes_the_partial_outcome(world: World) -> None:
    batch, (photo,) = world.batch(1)
    world.flow()
    world.requested(photo, seconds_ago=901)
    for topic in PARTS[:2]:
        world.part(photo, topic)
    world.run(2)
    world.flow()
    assert world.state(batch) == "completed_with_failures"

    world.part(photo, names.PHOTO_EMBEDDED, by("aggregator", names.PHOTO_EMBEDDED))
    assert world.repaired(3) == {"outcomes": 1}, "the aggregator missed it"
    world.flow()

    assert [(number, partial) for number, _, partial in world.outcomes(photo)] == [
        (1, True),
        (2, False),
    ]
    shown = read.photo(world.conn, ids.LOCAL_OWNER, UUID(photo.photo_id))
    assert shown is not None
    assert (shown.revision, shown.partial, shown.failed_stages) == (2, False, [])
    assert world.file_ends(batch) == ["review"], "a completed import keeps its counts"
    assert world.run(3) == {"waiting": 0}


# --- submissions -----------------------------------------------------------------------------


def test_a_photo_that_intake_never_answered_is_handed_in_again(world: World) -> None:
    photo = world.photo("high")
    world.flow()
    (first,) = world.published
    world.conn.execute("UPDATE analyses SET submitted_at = submitted_at - interval '20 minutes'")

    assert world.repaired(3) == {"submissions": 1}
    world.flow()
    (_, again) = world.published
    assert again[:2] == first[:2]
    moved = ("submitted_at", "policy_revision")
    assert {k: v for k, v in again[2].items() if k not in moved} == {
        k: v for k, v in first[2].items() if k not in moved
    }
    world.analysed(photo)
    assert world.run(2) == {"waiting": 0}


def test_a_photo_is_not_handed_in_again_while_it_may_wait_in_a_lane(world: World) -> None:
    world.photo()
    world.flow()
    world.conn.execute("UPDATE analyses SET submitted_at = submitted_at - interval '20 minutes'")

    world.groups.behind = {"darkroom.intake.batch"}
    assert world.repaired(4) == {}
    world.groups.behind = {"darkroom.intake.high"}
    assert world.repaired(2) == {"submissions": 1}


def test_what_intake_never_takes_is_not_asked_for_ever(world: World) -> None:
    world.photo()
    world.flow()
    world.conn.execute("UPDATE analyses SET submitted_at = submitted_at - interval '20 minutes'")

    tries = 0
    for _ in range(150):
        tries += world.repaired(1).get("submissions", 0)
        world.flow()
    assert tries == 6


# --- imports ---------------------------------------------------------------------------------


def test_ends_that_the_recorder_missed_are_told_again(world: World) -> None:
    batch, photos = world.batch(2)
    world.flow()
    world.analysed(photos[0], by("recorder", names.BATCH_PHOTO_ENDED))
    assert world.file_ends(batch) == [None, None]

    assert world.repaired(3) == {"ends": 1}
    first = [value for (_, index), value in world.ends.said.items() if index == 0]
    world.flow()
    assert world.published[-1][0] == names.BATCH_PHOTO_ENDED
    assert [world.published[-1][2]] == first
    assert world.file_ends(batch)[0] is not None
    world.analysed(photos[1])
    assert world.state(batch) == "completed"
    assert world.run(2) == {"waiting": 0}


def test_an_end_whose_membership_was_missed_is_told(world: World) -> None:
    batch, (photo,) = world.batch(1)
    world.flow(by("aggregator", names.PHOTO_BATCH_JOINED))
    world.analysed(photo)
    assert world.state(batch) == "running"

    assert world.repaired(3) == {"ends": 1}
    world.flow()
    assert world.state(batch) == "completed"


def test_a_rejection_that_the_aggregator_missed_ends_the_file(
    world: World, example: Example
) -> None:
    batch, (photo,) = world.batch(1)
    world.flow()
    value = example(
        names.PHOTO_REJECTED,
        **world.identity(photo),
        submission_id=photo.submission_id,
        sha256=photo.sha256,
    )
    world.said(names.PHOTO_REJECTED, value, by("aggregator", names.PHOTO_REJECTED))

    assert world.repaired(3) == {"ends": 1}
    world.flow()
    assert world.file_ends(batch) == ["rejected"]
    assert world.state(batch) == "completed_with_failures"


@pytest.mark.parametrize(
    "lost",
    [
        by("aggregator", names.BATCH_CHUNK_COUNTED),
        by("aggregator", names.BATCH_INTAKE),
        by("recorder", names.BATCH_COMPLETED),
    ],
    ids=["counts", "intake", "completion"],
)
def test_an_import_that_does_not_complete_is_counted_again(world: World, lost: Any) -> None:
    batch, photos = world.batch(3)
    world.flow(lost)
    for photo in photos:
        world.analysed(photo, lost)
    assert world.state(batch) == "running"

    assert world.repaired(3) == {"totals": 1}
    assert len(world.flow()) == 2, "the last intake, and an end of the one chunk"
    assert world.state(batch) == "completed"
    assert world.run(3) == {"waiting": 0}


def test_ends_that_the_count_missed_are_all_said_again(world: World) -> None:
    batch, photos = world.batch(5)
    world.flow()
    for photo in photos:
        world.analysed(photo, by("aggregator", names.BATCH_PHOTO_ENDED))
    assert (world.state(batch), None in world.file_ends(batch)) == ("running", False)

    assert world.repaired(2) == {"totals": 1}
    world.flow()
    assert world.state(batch) == "running", "four of five are not counted yet"
    assert world.repaired(4) == {"totals": 1}
    world.flow()
    assert world.state(batch) == "completed"


def test_an_empty_import_completes_though_its_intake_was_missed(world: World) -> None:
    batch, _ = world.batch(0)
    world.flow(by("aggregator", names.BATCH_INTAKE))

    assert world.repaired(2) == {"totals": 1}
    world.flow()
    assert world.state(batch) == "completed"


def test_an_import_that_only_waits_for_its_photos_is_left_alone(world: World) -> None:
    batch, photos = world.batch(2)
    world.flow()
    world.analysed(photos[0])

    assert world.repaired(4) == {}
    assert world.state(batch) == "running"


def test_files_of_a_cancelled_import_end_though_their_ends_were_missed(world: World) -> None:
    batch, photos = world.batch(2)
    world.flow()
    world.requested(photos[0])
    import_commands.cancel(world.conn, batch.owner, UUID(batch.batch_id), "ada")
    cancelling.tell_totals(world.conn, world.outbox, batch)
    cancelling.cancel_some(world.conn, world.outbox, batch, cancelling.NO_INDEX, 10)
    cancelling.finish(world.conn, batch)
    world.flow(by("recorder", names.BATCH_PHOTO_ENDED))
    first = sorted(name for topic, name, _ in world.published if topic == names.BATCH_PHOTO_ENDED)
    assert world.state(batch) == "cancelled"
    assert world.file_ends(batch) == [None, None]

    world.published.clear()
    assert world.repaired(3) == {"ends": 2}
    world.flow()
    again = sorted(name for topic, name, _ in world.published if topic == names.BATCH_PHOTO_ENDED)
    assert again == first
    assert world.file_ends(batch) == ["cancelled", "cancelled"]
    assert world.run(3) == {"waiting": 0}


def test_files_follow_the_ends_that_were_counted_first(world: World, example: Example) -> None:
    """The recorder missed a cancellation, then the photo's outcome came: the totals say cancelled,
    the file says something else, and only the topic knows that the totals are right."""
    batch, (photo,) = world.batch(1)
    world.flow()
    cancelled = example(
        names.BATCH_PHOTO_ENDED,
        **{"owner": batch.owner, "batch_id": batch.batch_id, "index": 0, "end": "cancelled"},
        **{"photo_id": photo.photo_id, "analysis_id": photo.analysis_id, "partial": False},
    )
    key = ids.chunk_key(batch.batch_id, 0)
    lost = by("recorder", names.BATCH_PHOTO_ENDED)
    world.said(names.BATCH_PHOTO_ENDED, cancelled, lost, key=key)
    world.analysed(photo)
    assert world.state(batch) == "completed"
    assert world.file_ends(batch) != ["cancelled"]
    assert reconcile.totals_differ(world.conn, batch.batch_id)

    assert world.repaired(3) == {"items": 1}

    assert world.file_ends(batch) == ["cancelled"]
    assert world.run(3) == {"waiting": 0}
    assert world.flow() == []
