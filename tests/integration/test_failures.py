"""The inbox of failures: what is in it, and trying again, discarding, putting back."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from datetime import timedelta
from typing import Any
from uuid import UUID, uuid4

import pytest
from psycopg.types.json import Jsonb

from darkroom_schemas import ids, names
from darkroom_schemas.stages import now
from gateway import db
from gateway.catalog import audit, failure_discards, failure_replays, failures
from gateway.catalog.failure_shapes import ChosenFailures, FailureItem, Failures, Replay
from gateway.catalog.outbox import Outbox
from gateway.catalog.submissions import Submission, begin_analysis, submit_photo
from gateway.control.replays import Replayer
from reconcile_world import PARTS, STAGE_OF, World
from streamkit import Codec

Example = Callable[..., dict[str, Any]]
OWNER = ids.LOCAL_OWNER
ALL = ChosenFailures()
TOPIC_OF = {stage: topic for topic, stage in STAGE_OF.items()}


@pytest.fixture
def world(
    database: str, conn: db.Conn, outbox: Outbox, codec: Codec, example: Example
) -> Iterator[World]:
    world = World.of(database, conn, outbox, codec, example)
    yield world
    world.session.close()


def failed(
    world: World, photo: Submission, *stages: str, code: str = "engine_failed", after_s: float = 0
) -> None:
    """These stages give a photo up; the others answer."""
    for topic in PARTS:
        if STAGE_OF[topic] not in stages:
            world.part(photo, topic)
    at = now() + timedelta(seconds=after_s)
    for stage in stages:
        about = {"stage": stage, "code": code, "message": f"{stage} broke.", "failed_at": at}
        name = ids.event_id(photo.analysis_id, f"{stage}-failed", 1)
        value = world.example(names.PHOTO_STAGE_FAILED, **world.identity(photo), **about)
        world.said(names.PHOTO_STAGE_FAILED, value, event_id=name)


def poisoned(world: World, *stages: str, code: str = "engine_failed") -> Submission:
    photo = world.photo()
    world.flow()
    world.requested(photo)
    failed(world, photo, *stages, code=code)
    return photo


def rejected(world: World, photo: Submission, code: str = "object_missing") -> None:
    about = {"submission_id": photo.submission_id, "sha256": photo.sha256, "code": code}
    value = world.example(names.PHOTO_REJECTED, **world.identity(photo), **about, rejected_at=now())
    world.said(names.PHOTO_REJECTED, value)


def refused(world: World) -> Submission:
    photo = world.photo()
    world.flow()
    rejected(world, photo)
    return photo


def inbox(world: World) -> Failures:
    return failures.inbox(world.conn, OWNER, letters=True)


def groups(world: World) -> dict[tuple[str, str], int]:
    return {(one.stage, one.code): one.count for one in inbox(world).groups}


def items(world: World, state: Any = "open", **chosen: Any) -> list[FailureItem]:
    found, _ = failures.failures(
        world.conn, OWNER, ChosenFailures(**chosen), (state,), after=None, limit=500
    )
    return found


def begun(world: World, chosen: ChosenFailures = ALL, lane: Any = "batch", **more: Any) -> UUID:
    return UUID(failure_replays.begin_replay(world.conn, OWNER, chosen, lane, "ada", **more))


def shown(world: World, replay: UUID) -> Replay:
    found = failure_replays.replay(world.conn, OWNER, replay)
    assert found is not None
    return found


def asked(world: World, turns: int = 1) -> list[Mapping[str, Any]]:
    """What the control door asks for in some turns, carried."""
    replayer = Replayer(world.outbox)
    for _ in range(turns):
        replayer.turn(world.conn)
    before = len(world.published)
    world.flow()
    return [value for _, _, value in world.published[before:]]


def steps(item: FailureItem) -> list[str]:
    return [step.what for step in item.timeline]


def test_many_poisoned_photos_are_one_group_and_their_replay_changes_their_outcomes(
    world: World,
) -> None:
    photos = [poisoned(world, "ocr") for _ in range(30)]
    whole = world.photo()
    world.flow()
    world.analysed(whole)
    (group,) = inbox(world).groups
    assert (group.stage, group.code, group.count, group.reason) == (
        "ocr",
        "engine_failed",
        30,
        "ocr broke.",
    )
    assert "try again" in group.cure
    assert len(group.examples) == 4

    replay = begun(world, ChosenFailures(stage="ocr", code="engine_failed"))
    assert (shown(world, replay).total, shown(world, replay).waiting) == (30, 30)
    requests = asked(world)
    assert {one["photo_id"] for one in requests} == {one.photo_id for one in photos}
    assert [one["stages"] for one in requests] == [["ocr"]] * 30
    assert (shown(world, replay).under_way, shown(world, replay).state) == (30, "running")
    assert (inbox(world).count, inbox(world).replaying) == (30, 30)
    (item,) = items(world, "replaying", failures=[group.examples[0].failure_id])
    assert steps(item)[-3:] == ["decided", "replay_asked", "replayed"]

    for photo in photos:
        world.part(photo, TOPIC_OF["ocr"])
    assert groups(world) == {}, "as soon as they are whole, whoever looks"
    asked(world)
    end = shown(world, replay)
    assert (end.state, end.changed, end.under_way) == ("done", 30, 0)
    assert {tuple(world.outcomes(photo)[-1][::2]) for photo in photos} == {(2, False)}


def test_each_failed_stage_looks_again_and_each_makes_a_revision(world: World) -> None:
    photo = poisoned(world, "ocr", "embedder")
    begun(world)
    (request,) = asked(world)
    assert request["stages"] == ["embedder", "ocr"]
    world.part(photo, TOPIC_OF["ocr"])
    assert groups(world) == {("embedder", "engine_failed"): 1}
    world.part(photo, TOPIC_OF["embedder"])
    assert groups(world) == {}
    assert [partial for _, _, partial in world.outcomes(photo)] == [True, True, False]


def test_what_asks_a_stage_again_says_what_intake_said(world: World) -> None:
    photo = poisoned(world, "detector")
    said = next(
        value for topic, _, value in reversed(_seen(world, photo)) if "analysis-requested" in topic
    )
    begun(world, lane="learning")
    (request,) = asked(world)
    topic, _, _ = world.published[-1]
    assert topic == "photo.analysis-requested.learning.v1"
    apart = {"lane", "stages"}
    assert {k: v for k, v in request.items() if k not in apart} == {
        k: v for k, v in said.items() if k not in apart
    }
    before = world.rows("SELECT * FROM analyses")
    assert before[0]["requested_at"] == said["requested_at"]


def _seen(world: World, photo: Submission) -> list[tuple[str, str, dict[str, Any]]]:
    topic = names.PHOTO_ANALYSIS_REQUESTED[photo.lane]
    (row,) = world.rows(
        "SELECT p.*, a.requested_at, a.submitted_at FROM photos p JOIN analyses a USING (photo_id)"
        " WHERE p.photo_id = %s",
        photo.photo_id,
    )
    about = {
        **world.identity(photo),
        **{"submission_id": photo.submission_id, "sha256": photo.sha256},
        **{"source_uri": photo.source_uri, "file_name": photo.file_name},
        **{"requested_at": row["requested_at"], "submitted_at": row["submitted_at"]},
    }
    return [(topic, "", world.example(topic, **about))]


def test_a_rejected_photo_is_analysed_anew_and_leaves_the_inbox(world: World) -> None:
    photo = refused(world)
    assert groups(world) == {("intake", "object_missing"): 1}
    replay = begun(world)
    (request,) = asked(world)
    assert (request["photo_id"], request["lane"]) == (photo.photo_id, "batch")
    assert request["analysis_id"] != photo.analysis_id
    anew = _again(photo, replay)
    assert anew.analysis_id == request["analysis_id"]
    world.analysed(anew)
    assert groups(world) == {}
    asked(world)
    assert shown(world, replay).changed == 1


def _again(photo: Submission, replay: UUID) -> Submission:
    values = {name: getattr(photo, name) for name in photo.__slots__}
    return Submission(**{**values, "submission_id": f"replay:{replay}"})


def test_a_failure_that_comes_again_is_told_with_its_new_reason_and_may_be_tried_again(
    world: World,
) -> None:
    photo = poisoned(world, "ocr")
    other = refused(world)
    replay = begun(world)
    asked(world)
    failed(world, photo, "ocr", code="out_of_memory", after_s=1)
    rejected(world, _again(other, replay), "sha256_mismatch")
    asked(world)
    assert (shown(world, replay).failed_again, shown(world, replay).state) == (2, "done")
    assert groups(world) == {("ocr", "out_of_memory"): 1, ("intake", "sha256_mismatch"): 1}
    (item,) = items(world, stage="ocr")
    assert steps(item).count("failed") == 2
    assert [step.detail for step in item.timeline if step.what == "replay_ended"] == [
        "failed again"
    ]
    assert shown(world, begun(world)).total == 2


def test_nothing_is_asked_twice(world: World) -> None:
    photo, other = poisoned(world, "ocr"), refused(world)
    first = begun(world)
    assert shown(world, begun(world)).total == 0, "all of it is waiting already"
    assert len(asked(world, turns=3)) == 2
    assert shown(world, begun(world)).total == 0
    world.part(photo, TOPIC_OF["ocr"])
    world.analysed(_again(other, first))
    asked(world)
    begun(world)
    assert asked(world) == []
    assert len(world.outcomes(photo)) == 2


def test_what_was_whole_before_its_turn_is_settled_and_without_bytes_impossible(
    world: World, example: Example
) -> None:
    photo = poisoned(world, "ocr")
    foreign = example(names.PHOTO_REJECTED, owner=OWNER, sha256="ab" * 32)
    foreign["photo_id"] = ids.photo_id(OWNER, "ab" * 32)
    world.said(names.PHOTO_REJECTED, foreign)
    replay = begun(world)
    world.part(photo, TOPIC_OF["ocr"])
    assert asked(world) == []
    end = shown(world, replay)
    assert (end.settled, end.impossible, end.state) == (1, 1, "done")


def test_a_photo_that_somebody_analyses_anyhow_is_waited_for(world: World) -> None:
    photo = refused(world)
    replay = begun(world)
    values = {name: getattr(photo, name) for name in photo.__slots__}
    other = Submission(**{**values, "submission_id": str(uuid4())})
    submit_photo(world.conn, world.outbox, other)
    world.flow()
    assert asked(world) == []
    world.analysed(other)
    asked(world)
    assert shown(world, replay).changed == 1


def test_an_old_failure_is_tried_again_as_a_whole(world: World) -> None:
    photo = poisoned(world, "ocr", "embedder")
    world.conn.execute("UPDATE outcomes SET decided_at = now() - interval '20 days'")
    replay = begun(world)
    (request,) = asked(world)
    assert request["submission_id"] == f"replay:{replay}"
    world.analysed(_again(photo, replay))
    asked(world)
    assert (shown(world, replay).changed, groups(world)) == (2, {})


def test_a_replay_goes_on_a_few_at_a_time_and_can_be_stopped(world: World) -> None:
    photos = [poisoned(world, "ocr") for _ in range(5)]
    replay = begun(world, most=4)
    assert (shown(world, replay).total, shown(world, replay).beyond) == (4, 1)
    first = Replayer(world.outbox, under_way=2)
    assert [first.turn(world.conn) for _ in range(2)] == [2, 0]
    world.part(photos[0], TOPIC_OF["ocr"])
    again = Replayer(world.outbox, under_way=2)  # after a restart
    assert [again.turn(world.conn) for _ in range(2)] == [1, 0]
    assert failure_replays.stop(world.conn, OWNER, replay, "bob")
    world.flow()
    for photo in photos[1:3]:
        world.part(photo, TOPIC_OF["ocr"])
    again.turn(world.conn)
    end = shown(world, replay)
    assert (end.state, end.changed, end.stopped) == ("stopped", 3, 1)
    assert len(items(world)) == 2
    assert not failure_replays.stop(world.conn, str(uuid4()), replay, "bob")


def test_a_replay_without_an_answer_ends_and_frees_the_failure(world: World) -> None:
    poisoned(world, "ocr")
    replay = begun(world)
    asked(world)
    world.conn.execute("UPDATE failure_replay_items SET sent_at = sent_at - interval '61 minutes'")
    asked(world)
    assert (shown(world, replay).unanswered, len(items(world))) == (1, 1)


def test_discarded_failures_leave_and_come_back_restored_or_when_they_fail_again(
    world: World,
) -> None:
    photos = [poisoned(world, "ocr") for _ in range(3)]
    chosen = ChosenFailures(failures=[item.failure_id for item in items(world)[:2]])
    assert failure_discards.discard(world.conn, OWNER, chosen, "screenshots", "ada") == 2
    assert failure_discards.discard(world.conn, OWNER, chosen, "screenshots", "ada") == 0
    assert (inbox(world).count, inbox(world).discarded) == (1, 2)
    assert shown(world, begun(world)).total == 1, "discarded ones are not replayed"
    laid = items(world, "discarded")
    assert {(one.discard.reason, one.discard.by) for one in laid if one.discard} == {
        ("screenshots", "ada")
    }
    one = ChosenFailures(failures=[laid[0].failure_id])
    assert failure_discards.restore(world.conn, OWNER, one, "bob") == 1
    (back,) = items(world)
    assert back.failure_id == laid[0].failure_id
    assert steps(back)[-2:] == ["discarded", "restored"]
    assert failure_discards.discard(world.conn, OWNER, one, "after all", "bob") == 1

    photo = next(p for p in photos if laid[1].photo_id == p.photo_id)
    failed(world, photo, "ocr", after_s=1)
    assert [item.photo_id for item in items(world)] == [photo.photo_id]
    entries, _ = audit.entries(world.conn, what="failures", limit=10)
    assert [(entry.who, entry.what) for entry in entries if entry.what != "failures.replayed"] == [
        ("bob", "failures.discarded"),
        ("bob", "failures.restored"),
        ("ada", "failures.discarded"),
    ]


def imported(
    world: World,
    path: str,
    code: str | None,
    owner: str = OWNER,
    of: tuple[str, str] = ("folder", "/"),
) -> UUID:
    """An import of a file, which could not be read (`code`), or could; `of`: its kind and root."""
    batch_id = uuid4()
    kind, root = of
    world.conn.execute(
        "INSERT INTO batches (batch_id, owner, lane, state, kind, roots, started_at)"
        " VALUES (%s, %s, 'batch', 'running', %s, %s, clock_timestamp())",
        (batch_id, owner, kind, Jsonb([root])),
    )
    world.conn.execute(
        "INSERT INTO batch_items (batch_id, index, path, state, code, message)"
        " VALUES (%s, 0, %s, %s, %s, %s)",
        (batch_id, path, "refused" if code else "submitted", code, code and "It can't be read."),
    )
    return batch_id


def test_files_that_an_import_could_not_read_are_in_the_inbox_until_one_takes_them(
    world: World,
) -> None:
    first = imported(world, "/a/huge.jpg", "file_too_large")
    imported(world, "/a/none.jpg", "file_unreadable")
    imported(world, "/b/huge.jpg", "file_too_large", owner=ids.owner_id("bob"))
    broken = poisoned(world, "ocr")
    assert groups(world) == {
        ("import", "file_too_large"): 1,
        ("import", "file_unreadable"): 1,
        ("ocr", "engine_failed"): 1,
    }
    huge = next(one for one in inbox(world).groups if one.code == "file_too_large")
    assert "DARKROOM_PHOTO_MAX_BYTES" in huge.cure
    assert (huge.replayable, huge.examples[0].file_name) == (False, "/a/huge.jpg")
    (item,) = items(world, batch=first)
    assert (item.photo_id, item.analysis_id, steps(item)) == (None, None, ["failed"])
    assert shown(world, begun(world)).total == 1, "there is nothing of them to look at again"
    (tried,) = items(world, "replaying")
    assert tried.photo_id == broken.photo_id

    chosen = ChosenFailures(failures=[item.failure_id])
    assert failure_discards.discard(world.conn, OWNER, chosen, "a film", "ada") == 1
    assert [one.file_name for one in items(world, stage="import")] == ["/a/none.jpg"]
    assert failure_discards.restore(world.conn, OWNER, chosen, "ada") == 1
    imported(world, "/a/huge.jpg", "file_too_large")
    assert groups(world)["import", "file_too_large"] == 1, "of the last import alone"
    imported(world, "/a/huge.jpg", None)
    imported(world, "/a/none.jpg", None)
    assert set(groups(world)) == {("ocr", "engine_failed")}


@pytest.mark.parametrize(
    ("failed", "others", "again", "name"),
    [
        (
            ("archive", "may.zip"),
            [("archive", "june.zip"), ("upload", "may.zip"), ("store", "s3://b/p")],
            ("archive", "may.zip"),
            "a/1.jpg",
        ),
        (("upload", "Pictures"), [("archive", "Pictures")], ("upload", "Pictures"), "1.jpg"),
        (("store", "s3://b/p"), [("store", "s3://b/q")], ("store", "s3://b/p"), "1.jpg"),
        (("folder", "/a"), [("archive", "/a")], ("folder", "/a/b"), "/a/b/1.jpg"),
    ],
)
def test_only_a_later_import_of_the_same_mends_a_file(
    world: World,
    failed: tuple[str, str],
    others: Sequence[tuple[str, str]],
    again: tuple[str, str],
    name: str,
) -> None:
    """Paths of archives, uploads and stores are relative: two may have files of one name."""
    imported(world, name, "file_unreadable", of=failed)
    for other in others:
        imported(world, name, None, of=other)
    assert [one.file_name for one in items(world, stage="import")] == [name]
    imported(world, name, None, of=again)
    assert not items(world, stage="import")


def test_filters_and_pages(world: World) -> None:
    batch, files = world.batch(3)
    world.flow()
    for file in files:
        world.requested(file)
        failed(world, file, "ocr")
    poisoned(world, "embedder", code="out_of_memory")
    refused(world)

    def count(**chosen: Any) -> int:
        return len(items(world, **chosen))

    assert count() == 5
    assert count(batch=batch.batch_id) == 3
    assert count(batch=uuid4()) == 0
    assert count(stage="embedder", code="out_of_memory") == 1
    assert count(stage="ocr", code="out_of_memory") == 0
    assert count(stage="intake") == 1
    assert count(after=now() - timedelta(hours=1)) == 5
    assert count(before=now() - timedelta(hours=1)) == 0
    assert failures.how_many(world.conn, str(uuid4()), ALL, failures.STATES) == 0
    seen: list[str] = []
    place = None
    for _ in range(3):
        page, place = failures.failures(
            world.conn, OWNER, ALL, failures.INBOX, after=place, limit=2
        )
        seen += [one.failure_id for one in page]
    assert place is None
    assert sorted(seen) == sorted({one.failure_id for one in items(world)})


def test_a_photo_that_another_analysis_made_whole_is_not_in_the_inbox(world: World) -> None:
    photo, other = poisoned(world, "ocr"), refused(world)
    for one in (photo, other):
        values = {name: getattr(one, name) for name in one.__slots__}
        anew = Submission(**{**values, "submission_id": str(uuid4())})
        _begin(world, [anew])
        world.analysed(anew)
    assert groups(world) == {}


def test_of_a_photo_that_is_rejected_again_the_last_rejection_is_in_the_inbox(
    world: World,
) -> None:
    photo = refused(world)
    values = {name: getattr(photo, name) for name in photo.__slots__}
    anew = Submission(**{**values, "submission_id": str(uuid4())})
    _begin(world, [anew])
    rejected(world, anew, "image_corrupt")
    assert groups(world) == {("intake", "image_corrupt"): 1}


def _begin(world: World, submissions: Sequence[Submission]) -> None:
    for one in submissions:
        world.outbox.add(world.conn, [begin_analysis(world.conn, one, None)])
    world.flow()
