"""What is said to a broker that knows nothing: all that holds and all that is not done."""

from collections import defaultdict
from typing import Any

import pytest

from catalog_seed import OWNER, Look, Seed, Seeded, picture
from darkroom_schemas import ids, names
from gateway import db
from gateway.catalog import controls, failure_replays, jobs, models, policies
from gateway.catalog.failure_shapes import ChosenFailures
from gateway.catalog.outbox import Outbox
from gateway.control.job_run import JobContext, JobStoppedError
from gateway.control.republish import Republishing, republish_job
from streamkit import Codec

CONTEXT = JobContext("republish")
Said = dict[str, list[tuple[str, dict[str, Any]]]]


@pytest.fixture
def republishing(outbox: Outbox) -> Republishing:
    return Republishing(outbox)


@pytest.fixture
def said(conn: db.Conn, codec: Codec) -> Any:
    """Takes what lies in the outbox: key and value by topic."""

    def taken() -> Said:
        found: Said = defaultdict(list)
        rows = conn.execute("DELETE FROM outbox RETURNING *").fetchall()
        for row in (each for each in rows if each["value"] is not None):
            found[row["topic"]].append((row["key"], codec.decode(row["topic"], row["value"])))
        return found

    return taken


def waiting(seed: Seed, conn: db.Conn, name: str) -> Seeded:
    """A photo whose analysis was begun."""
    return seed.requested(name, picture(f"#{ord(name[0]):02x}0000"))


def test_policies_controls_and_models_are_said_before_anything_else(
    conn: db.Conn, outbox: Outbox, republishing: Republishing, seed: Seed, said: Any
) -> None:
    waiting(seed, conn, "a.jpg")
    for above in (0.9, 0.95):
        wanted = policies.Wanted(above, 0.5, {"cat": (0.7, 0.6)}, "surer", "ada")
        policies.change(conn, outbox, wanted)
    controls.change(conn, outbox, "ocr/batch", {"rate": "5/s", "reason": "x"}, "ada")
    controls.change(conn, outbox, "intake", {"paused": True, "reason": "x"}, "ada")
    controls.remove(conn, outbox, "intake", "ada")
    made, _ = models.register(conn, models.Wanted("detector", "imagenet", "ada"))
    models.activate(conn, outbox, "detector", made.version, models.By("ada"))
    before = said()
    report = republishing.run(conn, CONTEXT)
    order = [row["topic"] for row in conn.execute("SELECT topic FROM outbox ORDER BY id")]
    after = said()
    assert report["settings"] == 4
    assert set(order[:4]) == {names.OPS_POLICY, names.OPS_CONTROL, names.MODEL_ACTIVATED}
    assert after[names.OPS_POLICY] == before[names.OPS_POLICY]
    assert after[names.MODEL_ACTIVATED] == before[names.MODEL_ACTIVATED]
    ((target, control),) = after[names.OPS_CONTROL]
    assert (target, control["rate"], control["owner"]) == ("ocr/batch", "5/s", "ada")


def test_analyses_without_an_end_are_asked_for_again_and_no_others(
    conn: db.Conn, republishing: Republishing, seed: Seed, said: Any
) -> None:
    open_, cancelled = waiting(seed, conn, "a.jpg"), waiting(seed, conn, "b.jpg")
    seed.analyzed("done.jpg", picture("#ffffff"))
    seed.rejected("torn.jpg", "image_truncated", "x")
    conn.execute(
        "UPDATE analyses SET cancelled_at = now() WHERE analysis_id = %s", (cancelled.analysis_id,)
    )
    assert republishing.run(conn, CONTEXT)["photos"] == 1
    ((key, value),) = said()[names.PHOTO_SUBMITTED["batch"]]
    assert (key, value["analysis_id"]) == (open_.photo_id, open_.analysis_id)


def test_an_import_is_told_with_its_members_and_ends(
    conn: db.Conn, republishing: Republishing, seed: Seed, said: Any
) -> None:
    files = [waiting(seed, conn, f"{letter}.jpg") for letter in "abc"]
    running = seed.batch(files, {})
    seed.ended(running, 1, "review", partial=True)
    over = seed.batch(files, {})
    conn.execute("UPDATE batches SET completed_at = now() WHERE batch_id = %s", (over,))
    report = republishing.run(conn, CONTEXT)
    assert (report["imports"], report["members"], report["ends"]) == (1, 2, 1)
    found = said()
    ((_, scan),) = found[names.BATCH_INTAKE]
    assert (scan["batch_id"], scan["state"], scan["submitted"]) == (running, "sealed", 3)
    joined = {value["index"]: value["analysis_id"] for _, value in found[names.PHOTO_BATCH_JOINED]}
    assert joined == {0: files[0].analysis_id, 2: files[2].analysis_id}
    ((key, end),) = found[names.BATCH_PHOTO_ENDED]
    assert (key, end["index"], end["end"], end["partial"]) == (
        *(ids.chunk_key(running, 0), 1, "review", True),
    )


def test_an_import_that_is_still_scanned_is_told_as_far_as_it_is(
    conn: db.Conn, republishing: Republishing, seed: Seed, said: Any
) -> None:
    batch = seed.batch([waiting(seed, conn, "a.jpg")], {})
    conn.execute("UPDATE batches SET sealed = false, state = 'scanning'")
    republishing.run(conn, CONTEXT)
    ((key, scan),) = said()[names.BATCH_INTAKE]
    assert (key, scan["state"], scan["found"]) == (batch, "scanning", 1)


def test_what_people_said_is_said_again_unless_they_took_it_back(
    conn: db.Conn, republishing: Republishing, seed: Seed, said: Any
) -> None:
    photo = seed.analyzed("a.jpg", picture())
    for number, undone in ((1, None), (2, "2026-01-01"), (3, None)):
        conn.execute(
            "INSERT INTO review_answers (answer_id, owner, photo_id, analysis_id, revision,"
            " reviewer, answer, label, calibrated, answered_at, undone_at)"
            " VALUES (%s, %s, %s, %s, 1, 'ada', 'confirm', 'tabby', false, now(), %s)",
            (
                f"00000000-0000-4000-8000-00000000000{number}",
                OWNER,
                photo.photo_id,
                photo.analysis_id,
                undone,
            ),
        )
    assert republishing.run(conn, CONTEXT)["answers"] == 2
    answers = [value["answer_id"][-1] for _, value in said()[names.REVIEW_ANSWERED]]
    assert answers == ["1", "3"]


def test_what_refers_to_records_of_before_is_done_anew(
    conn: db.Conn, republishing: Republishing
) -> None:
    conn.execute(
        "INSERT INTO dead_letter_places VALUES ('ocr', 0, 900);"
        "INSERT INTO dead_letters (service, letter_id, partition, died_at)"
        " VALUES ('ocr', 'x', 0, now())"
    )
    republishing.run(conn, CONTEXT)
    for table in ("dead_letters", "dead_letter_places", "lane_loads"):
        assert conn.execute(f"SELECT FROM {table}").rowcount == 0


def test_a_failure_of_before_is_tried_again_as_a_whole_photo(
    conn: db.Conn, outbox: Outbox, seed: Seed, said: Any
) -> None:
    """Nobody remembers what the outcome lacks, so a stage alone could not mend it."""
    photo = waiting(seed, conn, "a.jpg")
    seed.parts(photo, Look(), detector=False)
    seed.stage_failed(photo, "detector", "engine_broken", "It broke.")
    seed.outcome(photo, Look(outcome="review"), failed=["detector"])
    _ran_now(conn)
    failure_replays.begin_replay(conn, OWNER, ChosenFailures(), "learning", "ada")
    failure_replays.send(conn, outbox, 10)
    assert {*said()} == {names.PHOTO_SUBMITTED["learning"]}


def _ran_now(conn: db.Conn) -> None:
    conn.execute(
        "INSERT INTO job_runs (run_id, job, reason, due_at, started_at, state)"
        " VALUES (gen_random_uuid(), 'republish', 'person', now(), now(), 'done')"
    )


def test_it_says_no_more_than_the_relay_can_publish(
    conn: db.Conn, republishing: Republishing, seed: Seed
) -> None:
    waiting(seed, conn, "a.jpg")
    conn.execute(
        "INSERT INTO outbox (topic, key, event_id, headers)"
        " SELECT 'x', 'x', gen_random_uuid(), '{}' FROM generate_series(1, 2001)"
    )
    told = JobContext("republish", deadline=0.0)
    with pytest.raises(JobStoppedError):
        republishing.run(conn, told)
    rows = conn.execute("SELECT FROM outbox WHERE topic <> 'x'").rowcount
    assert rows == 0


def test_the_job_runs_only_if_somebody_asks(conn: db.Conn, outbox: Outbox) -> None:
    job = republish_job(outbox)
    jobs.declare(conn, {job.name: job.schedule}, [])
    _, (standing,) = jobs.standings(conn)
    assert (standing.schedule, standing.next_at, standing.asked_at) == ("", None, None)
