"""Photos analysed again: which ones, each once, and what is shown meanwhile."""

from collections.abc import Callable, Iterator, Mapping
from datetime import timedelta
from pathlib import Path
from typing import Any
from uuid import UUID, uuid4

import pytest

from darkroom_schemas import ids, names
from darkroom_schemas.stages import now
from gateway import db
from gateway.catalog import audit, import_commands, imports, items, policies, read, reprocess
from gateway.catalog.outbox import Outbox
from gateway.catalog.reprocess import Selection
from gateway.catalog.submissions import Submission
from gateway.control.again import PhotosAgain
from gateway.control.work import Step
from import_kit import MANY, make_means, taken_up, to_the_end
from reconcile_world import PARTS, World
from streamkit import Codec, ObjectStore

Example = Callable[..., dict[str, Any]]

ALL = Selection(all=True)


@pytest.fixture
def world(
    database: str, conn: db.Conn, outbox: Outbox, codec: Codec, example: Example
) -> Iterator[World]:
    world = World.of(database, conn, outbox, codec, example)
    yield world
    world.session.close()


@pytest.fixture
def disk(tmp_path: Path) -> ObjectStore:
    return ObjectStore(tmp_path.as_uri())


def chosen(world: World, **filter_: Any) -> set[str]:
    """The photos that a filter means; what it counts is what it gives."""
    selection, moment = Selection(**filter_), now() + timedelta(seconds=1)
    found = list(reprocess.chosen(world.conn, ids.LOCAL_OWNER, selection, moment))
    seen = reprocess.preview(world.conn, ids.LOCAL_OWNER, selection, moment)
    assert found == sorted(set(found))
    assert seen.count == len(found)
    assert [one.photo_id for one in seen.sample] == found[:10]
    return set(found)


def begun(world: World, selection: Selection = ALL, lane: Any = "batch") -> str:
    """A batch that analyses photos again, taken up by nobody."""
    return reprocess.begin_reprocess(
        world.conn, world.outbox, ids.LOCAL_OWNER, selection, lane, "ada"
    )


def again(world: World, batch_id: str, disk: ObjectStore) -> list[dict[str, Any]]:
    """Record the batch to its last photo, as the import runner does; its items."""
    to_the_end(taken_up(world.conn, batch_id, make_means(world.outbox, disk)))
    return world.rows("SELECT * FROM batch_items WHERE batch_id = %s ORDER BY index", batch_id)


def by_model(world: World, photo: Submission, model: str, engine: str = "efficientnet") -> None:
    """Analysed, the detector's part by this model."""
    world.flow()
    world.requested(photo)
    part = world.example(
        PARTS[0],
        **{**world.identity(photo), "stage": "detector", "engine": engine},
        **{"model_version": model, "finished_at": now()},
    )
    world.said(PARTS[0], part)
    for topic in PARTS[1:]:
        world.part(photo, topic)


def with_failed_ocr(world: World, photo: Submission) -> None:
    """Analysed but for the ocr."""
    world.flow()
    world.requested(photo)
    for topic in (PARTS[0], PARTS[2]):
        world.part(photo, topic)
    failed = world.example(names.PHOTO_STAGE_FAILED, **world.identity(photo), stage="ocr")
    world.said(names.PHOTO_STAGE_FAILED, failed)


def rejected(world: World, photo: Submission) -> None:
    """Refused by intake."""
    world.flow()
    about = {"submission_id": photo.submission_id, "sha256": photo.sha256}
    value = world.example(names.PHOTO_REJECTED, **world.identity(photo), **about)
    world.said(names.PHOTO_REJECTED, value)


def test_filters_mean_the_photos_that_they_say(world: World) -> None:
    old, new, partial, refused, waiting = (world.photo() for _ in range(5))
    by_model(world, old, "efficientnet@1")
    by_model(world, new, "efficientnet@2")
    with_failed_ocr(world, partial)
    rejected(world, refused)
    batch, (imported,) = world.batch(1)
    by_model(world, imported, "siglip@1", engine="siglip")
    one = {name: {photo.photo_id} for name, photo in vars().items() if hasattr(photo, "photo_id")}
    everything = set().union(*one.values())

    assert chosen(world, all=True) == everything
    assert chosen(world, failed=True) == one["partial"] | one["refused"]
    assert chosen(world, missing="ocr") == one["partial"]
    assert chosen(world, missing="embedder") == set()
    example_model = world.example(PARTS[0])["model_version"]
    assert chosen(world, other_than={"stage": "detector", "model": example_model}) == (
        one["old"] | one["new"] | one["imported"]
    )
    assert chosen(world, other_than={"stage": "detector", "model": "efficientnet@2"}) == (
        one["old"] | one["partial"] | one["imported"]
    )
    assert one["imported"] <= chosen(
        world, other_than={"stage": "detector", "model": "efficientnet"}
    )
    assert not one["new"] & chosen(world, other_than={"stage": "detector", "model": "efficientnet"})
    assert chosen(world, batch=batch.batch_id) == one["imported"]
    assert chosen(world, batch=uuid4()) == set()
    shown = read.photo(world.conn, ids.LOCAL_OWNER, UUID(old.photo_id))
    assert shown is not None
    assert one["old"] <= chosen(world, label=shown.label, outcome=shown.outcome)
    assert chosen(world, label="no such label") == set()
    assert chosen(world, outcome="review") == one["partial"]
    assert chosen(world, photos=[waiting.photo_id, uuid4()]) == one["waiting"]
    assert chosen(world, before=now() - timedelta(days=1)) == set()
    assert chosen(world, after=now() - timedelta(days=1)) == everything
    assert chosen(world, failed=True, missing="ocr") == one["partial"]


def test_a_photo_of_somebody_else_is_never_chosen(world: World) -> None:
    world.photo()
    moment = now() + timedelta(seconds=1)
    assert list(reprocess.chosen(world.conn, str(uuid4()), ALL, moment)) == []


@pytest.mark.parametrize("nothing", [{}, {"failed": False}, {"labels": "cat"}, {"missing": "eyes"}])
def test_an_empty_or_misspelt_filter_does_not_mean_everything(nothing: Mapping[str, Any]) -> None:
    with pytest.raises(ValueError, match=r"nothing is chosen|not permitted|should be"):
        Selection.model_validate(nothing)


def test_each_photo_gets_one_new_analysis_whose_outcome_is_then_shown(
    world: World, disk: ObjectStore
) -> None:
    photos = [world.photo() for _ in range(3)]
    for photo in photos:
        by_model(world, photo, "old@1")
    batch_id = begun(world, Selection(other_than={"stage": "detector", "model": "new@1"}))
    found = again(world, batch_id, disk)

    assert [str(one["photo_id"]) for one in found] == sorted(one.photo_id for one in photos)
    assert {one["state"] for one in found} == {"submitted"}
    topics = world.flow()
    assert topics.count(names.PHOTO_SUBMITTED["batch"]) == 3
    for photo in photos:
        shown = read.photo(world.conn, ids.LOCAL_OWNER, UUID(photo.photo_id))
        assert shown is not None
        assert shown.status == "analyzed"
        assert shown.analysis_id == photo.analysis_id, "until the new outcome is there"

    for item in found:
        name = f"again:{batch_id}:{item['index']}"
        photo = next(one for one in photos if one.photo_id == str(item["photo_id"]))
        anew = Submission(
            **{
                **{field: getattr(photo, field) for field in photo.__slots__},
                "submission_id": name,
            }
        )
        assert anew.analysis_id == str(item["analysis_id"])
        by_model(world, anew, "new@1")
        shown = read.photo(world.conn, ids.LOCAL_OWNER, UUID(photo.photo_id))
        assert shown is not None
        assert shown.analysis_id == anew.analysis_id
        assert shown.stages["detector"].model_version == "new@1"

    (batch,) = world.rows("SELECT state, found FROM batches WHERE batch_id = %s", batch_id)
    assert (batch["state"], batch["found"]) == ("completed", 3)
    assert chosen(world, other_than={"stage": "detector", "model": "new@1"}) == set()
    ((entry,), _) = audit.entries(world.conn, what="reprocess", limit=5)
    assert (entry.who, entry.subject) == ("ada", batch_id)


def test_a_dry_run_says_what_the_run_does_though_photos_come_and_end_meanwhile(
    world: World, disk: ObjectStore
) -> None:
    photos = [world.photo() for _ in range(4)]
    for photo in photos:
        with_failed_ocr(world, photo)
    selection = Selection(failed=True)
    batch_id = begun(world, selection)
    (batch,) = [one for one in imports.open_imports(world.conn) if one.batch_id == batch_id]
    seen = reprocess.preview(world.conn, ids.LOCAL_OWNER, selection, batch.started_at)
    work = taken_up(world.conn, batch_id, make_means(world.outbox, disk))

    assert work.step(MANY) is Step.WORKED
    world.flow()
    with_failed_ocr(world, world.photo())
    (first,) = world.rows("SELECT * FROM batch_items WHERE batch_id = %s", batch_id)
    whose = next(one for one in photos if one.photo_id == str(first["photo_id"]))
    by_model(
        world,
        Submission(
            **{
                **{field: getattr(whose, field) for field in whose.__slots__},
                "submission_id": f"again:{batch_id}:0",
            }
        ),
        "new@1",
    )
    work.close()  # killed, and taken up by another one
    found = again(world, batch_id, disk)

    assert [str(one["photo_id"]) for one in found] == sorted(one.photo_id for one in photos)
    assert seen.count == len(found)
    assert [one["index"] for one in found] == [0, 1, 2, 3]


def test_new_analyses_are_under_the_newest_policy_and_in_the_lane_that_was_asked_for(
    world: World, disk: ObjectStore
) -> None:
    by_model(world, world.photo(), "old@1")
    policies.change(world.conn, world.outbox, policies.Wanted(0.9, 0.1, {}, "why", "ada"))
    again(world, begun(world, lane="learning"), disk)
    world.flow()

    said = [value for topic, _, value in world.published if topic == "photo.submitted.learning.v1"]
    assert [(one["policy_revision"], one["lane"]) for one in said] == [(2, "learning")]


def test_photos_without_bytes_are_refused_and_the_others_are_not(
    world: World, disk: ObjectStore, example: Example
) -> None:
    by_model(world, world.photo(), "old@1")
    foreign = example(names.PHOTO_REJECTED, owner=ids.LOCAL_OWNER, sha256="ab" * 32)
    foreign["photo_id"] = ids.photo_id(ids.LOCAL_OWNER, "ab" * 32)
    world.said(names.PHOTO_REJECTED, foreign)
    batch_id = begun(world)

    found = again(world, batch_id, disk)
    assert {(one["state"], one["code"]) for one in found} == {
        ("submitted", None),
        ("refused", "original_unknown"),
    }
    second = begun(world)
    (batch,) = [one for one in imports.open_imports(world.conn) if one.batch_id == second]
    gone = PhotosAgain(world.conn, world.outbox, batch)
    (seen, *_) = gone.walk()
    world.conn.execute("DELETE FROM photos WHERE photo_id = %s", (seen.path,))
    assert gone.record(0, seen).state is items.ItemState.REFUSED


def test_a_batch_that_is_paused_or_cancelled_takes_no_photo(
    world: World, disk: ObjectStore
) -> None:
    by_model(world, world.photo(), "old@1")
    batch_id = begun(world)
    work = taken_up(world.conn, batch_id, make_means(world.outbox, disk))
    import_commands.pause(world.conn, ids.LOCAL_OWNER, UUID(batch_id), "ada", None)

    assert work.step(MANY) is Step.STOPPED
    assert world.rows("SELECT FROM batch_items WHERE batch_id = %s", batch_id) == []
    import_commands.resume(world.conn, ids.LOCAL_OWNER, UUID(batch_id), "ada")
    assert len(again(world, batch_id, disk)) == 1


def test_more_photos_than_a_page_are_walked_once_each(world: World) -> None:
    world.conn.execute(
        "INSERT INTO photos (photo_id, owner, sha256, source_uri)"
        " SELECT gen_random_uuid(), %s, n::text, 'file:///x' FROM generate_series(1, 1203) n",
        (ids.LOCAL_OWNER,),
    )
    assert len(chosen(world, all=True)) == 1203
