"""The recorder on a real PostgreSQL: ends of imports, many events in one transaction."""

import json
import threading
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from functools import partial
from typing import Any
from uuid import uuid4

import pytest
from psycopg.types.json import Jsonb

from darkroom_schemas import ids, names
from darkroom_schemas.avro import schema_of
from gateway import db
from gateway.catalog import labels
from gateway.catalog.label_shapes import Wish
from gateway.catalog.outbox import Outbox
from gateway.catalog.training_shapes import Training
from gateway.catalog.trainings import record_training, trainings
from gateway.recorder.app import job
from gateway.recorder.handlers import Recorder
from gateway.recorder.news import News
from gateway.recorder.session import Session
from streamkit import Message, Reject
from streamkit.testing import Kit

Example = Callable[..., dict[str, Any]]
Record = Callable[..., None]

OWNER = ids.LOCAL_OWNER


class Silence:
    """A Redis that counts what is said."""

    def __init__(self) -> None:
        self.said: list[dict[str, Any]] = []

    def publish(self, _channel: str, message: str, /) -> None:
        self.said += json.loads(message)


def message(topic: str, event: Mapping[str, Any]) -> Message:
    return Message(topic, "recorder", "key", event, {"ce_id": str(uuid4())}, 0, 0, 0)


@pytest.fixture
def wire() -> Silence:
    return Silence()


@pytest.fixture
def session(database: str) -> Iterator[Session]:
    session = Session(partial(db.connect, database, name="recorder"))
    yield session
    session.close()


@pytest.fixture
def record(session: Session, wire: Silence, outbox: Outbox) -> Record:
    """Gives events, as pairs of topic and value, to the recorder as one micro-batch."""
    recorder = Recorder(session, News(wire, ""), outbox)

    def give(*said: tuple[str, Mapping[str, Any]]) -> None:
        assert recorder.record([message(*one) for one in said]) == [()] * len(said)

    return give


def batch(conn: db.Conn, files: int = 1, **changes: Any) -> str:
    """A running import of so many submitted files."""
    row = {
        **{"id": str(uuid4()), "state": "running", "cancelled_at": None, "source": None},
        **changes,
    }
    conn.execute(
        "INSERT INTO batches (batch_id, owner, lane, state, roots, started_at, cancelled_at,"
        " cancelled_by, source_id) VALUES (%(id)s, %(owner)s, 'batch', %(state)s, %(roots)s,"
        " now(), %(cancelled_at)s, 'ada', %(source)s)",
        {**row, "owner": OWNER, "roots": Jsonb(["/photos"])},
    )
    for index in range(files):
        conn.execute(
            "INSERT INTO batch_items (batch_id, index, path, state, photo_id, analysis_id)"
            " VALUES (%s, %s, %s, 'submitted', %s, %s)",
            (row["id"], index, f"/photos/{index}", uuid4(), uuid4()),
        )
    return str(row["id"])


def items(conn: db.Conn, batch_id: str) -> list[tuple[Any, ...]]:
    found = conn.execute(
        "SELECT index, ended, partial FROM batch_items WHERE batch_id = %s ORDER BY index",
        (batch_id,),
    )
    return [tuple(row.values()) for row in found]


# --- ends ------------------------------------------------------------------------------------


def test_the_first_end_of_a_file_counts(conn: db.Conn, example: Example, record: Record) -> None:
    batch_id = batch(conn, files=3)

    def ended(index: int, end: str, partial: bool = False) -> tuple[str, dict[str, Any]]:
        changes = {"batch_id": batch_id, "index": index, "end": end, "partial": partial}
        return names.BATCH_PHOTO_ENDED, example(names.BATCH_PHOTO_ENDED, **changes)

    record(ended(2, "cancelled"), ended(0, "review", partial=True), ended(2, "auto_labeled"))
    record(ended(0, "auto_labeled"), ended(7, "auto_labeled"))

    assert items(conn, batch_id) == [(0, "review", True), (1, None, False), (2, "cancelled", False)]


def test_a_deadline_is_a_failure_of_each_stage_that_it_names(
    conn: db.Conn, example: Example, record: Record
) -> None:
    event = example(names.ANALYSIS_DEADLINE_REACHED, stages=["ocr", "embedder"])
    record((names.ANALYSIS_DEADLINE_REACHED, event), (names.ANALYSIS_DEADLINE_REACHED, event))

    found = conn.execute("SELECT * FROM stage_failures ORDER BY stage").fetchall()
    assert [(row["stage"], row["code"]) for row in found] == [
        ("embedder", "deadline"),
        ("ocr", "deadline"),
    ]
    assert found[1]["message"] == "The ocr said nothing of the photo in time."
    assert found[1]["failed_at"] == event["reached_at"]


def test_the_first_cancellation_of_an_analysis_stands(
    conn: db.Conn, example: Example, record: Record
) -> None:
    topic = names.PHOTO_ANALYSIS_REQUESTED["batch"]
    request = example(topic)
    event = example(names.PHOTO_ANALYSIS_CANCELLED, analysis_id=request["analysis_id"])
    later = {**event, "cancelled_at": event["cancelled_at"] + timedelta(hours=1)}
    record((topic, request))
    record((names.PHOTO_ANALYSIS_CANCELLED, event), (names.PHOTO_ANALYSIS_CANCELLED, later))

    (row,) = conn.execute("SELECT cancelled_at FROM analyses").fetchall()
    assert row["cancelled_at"] == event["cancelled_at"]


@pytest.mark.parametrize(
    ("counts", "cancelled", "state", "severity"),
    [
        ({"rejected": 0, "partial": 0}, False, "completed", "info"),
        ({"rejected": 1, "partial": 0}, False, "completed_with_failures", "warning"),
        ({"rejected": 0, "partial": 1}, False, "completed_with_failures", "warning"),
        ({"rejected": 1, "partial": 1}, True, "cancelled", "info"),
    ],
)
def test_a_completed_import_has_its_state_and_one_notice(
    conn: db.Conn,
    example: Example,
    record: Record,
    counts: dict[str, int],
    cancelled: bool,
    state: str,
    severity: str,
) -> None:
    batch_id = batch(conn, cancelled_at=datetime.now(UTC) if cancelled else None)
    event = example(names.BATCH_COMPLETED, batch_id=batch_id, **counts)
    record((names.BATCH_COMPLETED, event), (names.BATCH_COMPLETED, event))
    record((names.BATCH_COMPLETED, {**event, "rejected": 9}))

    (row,) = conn.execute("SELECT * FROM batches").fetchall()
    (notice,) = conn.execute("SELECT * FROM notices").fetchall()
    assert (row["state"], row["totals"]["rejected"]) == (state, counts["rejected"])
    assert row["completed_at"] == event["completed_at"]
    assert (notice["kind"], notice["subject"]) == ("batch_completed", batch_id)
    assert (notice["severity"], str(notice["owner"])) == (severity, OWNER)


def test_the_notice_names_the_commonest_reasons(
    conn: db.Conn, example: Example, record: Record
) -> None:
    batch_id = batch(conn, files=2)
    conn.execute(
        "INSERT INTO batch_items (batch_id, index, path, state, code, message)"
        " VALUES (%s, 9, '/photos/9', 'refused', 'file_missing', 'The file is gone.')",
        (batch_id,),
    )
    analyses = [
        str(row["analysis_id"])
        for row in conn.execute("SELECT analysis_id FROM batch_items WHERE index < 9")
    ]
    rejected, ended = names.PHOTO_REJECTED, names.BATCH_PHOTO_ENDED
    record(
        *((rejected, example(rejected, analysis_id=one, message="No photo.")) for one in analyses),
        *(
            (ended, example(ended, batch_id=batch_id, index=index, end="rejected"))
            for index in range(2)
        ),
        (names.BATCH_COMPLETED, example(names.BATCH_COMPLETED, batch_id=batch_id, rejected=3)),
    )

    (notice,) = conn.execute("SELECT detail FROM notices").fetchall()
    assert "because: No photo. (2 files) The file is gone. (1 file)" in notice["detail"]


def test_a_source_that_had_nothing_new_makes_no_notice(
    conn: db.Conn, example: Example, record: Record
) -> None:
    batch_id = batch(conn, files=0, source=str(uuid4()))
    event = example(names.BATCH_COMPLETED, batch_id=batch_id, accepted=0, rejected=0, partial=0)
    record((names.BATCH_COMPLETED, event))

    assert conn.execute("SELECT state FROM batches").fetchall() == [{"state": "completed"}]
    assert conn.execute("SELECT FROM notices").fetchall() == []


def test_until_there_are_examples_every_request_to_train_ends_as_skipped(
    conn: db.Conn, example: Example, record: Record
) -> None:
    event = example(names.TRAINING_REQUESTED)
    other = {**event, "request_id": str(uuid4()), "reason": "person", "batch_id": None}
    record(*((names.TRAINING_REQUESTED, one) for one in (event, other, event)))

    found = trainings(conn, event["owner"], 10)
    assert {one.request_id for one in found} == {event["request_id"], other["request_id"]}
    assert {(one.state, one.note) for one in found} == {("skipped", "no label has examples")}
    assert all(one.ended_at is not None for one in found)
    told = conn.execute("SELECT kind, subject, title FROM notices ORDER BY title").fetchall()
    assert {one["subject"] for one in told} == {event["request_id"], other["request_id"]}
    assert {(one["kind"], one["title"]) for one in told} == {
        ("training_finished", f"Training of {event['model']} skipped: no label has examples")
    }
    assert len(told) == 2


@pytest.mark.parametrize(
    ("examples", "state"),
    [({}, "skipped"), ({"other": "receipt"}, "skipped"), ({"labels": None}, "skipped"),
     ({"labels": "receipt"}, "requested")],
)  # fmt: skip
def test_a_request_is_skipped_only_where_its_model_has_no_example(
    conn: db.Conn, example: Example, record: Record, examples: dict[str, str | None], state: str
) -> None:
    event = example(names.TRAINING_REQUESTED, model="labels", reason="schedule", batch_id=None)
    labels.put_label_set(conn, str(uuid4()), "labels", ["receipt"], "another owner")
    for name, label in examples.items():
        labels.put_label_set(conn, event["owner"], name, ["receipt"], "ada")
        labels.give(conn, (event["owner"], name), [Wish(str(uuid4()), label)], "folder", "ada")
    record((names.TRAINING_REQUESTED, event))

    (training,) = trainings(conn, event["owner"], 10)
    assert training.state == state


def labelled(conn: db.Conn, owner: str, model: str) -> None:
    """Somebody has given a model an example."""
    labels.put_label_set(conn, owner, model, ["receipt"], "ada")
    labels.give(conn, (owner, model), [Wish(str(uuid4()), "receipt")], "person", "ada")


Trained = Callable[..., dict[str, Training]]


@pytest.fixture
def asked(conn: db.Conn, example: Example) -> Trained:
    """Records a request of which there are examples; gives all of its owner by their ids."""
    owner = str(uuid4())

    def one(request_id: str, reason: str, **more: Any) -> dict[str, Training]:
        known = {"request_id": request_id, "owner": owner, "reason": reason, "batch_id": None}
        event: Any = {**example(names.TRAINING_REQUESTED), **known, **more}
        with conn.transaction():
            labelled(conn, owner, event["model"])
            record_training(conn, event, every_s=3_600)
        return {training.request_id: training for training in trainings(conn, owner, 10)}

    return one


def test_sets_with_too_few_examples_are_passed_over_unless_a_person_asks(
    conn: db.Conn, example: Example
) -> None:
    event: Any = example(names.TRAINING_REQUESTED, reason="batch", model="labels")
    owner = event["owner"]
    for name, given in (("labels", 2), ("pets", 3)):
        labels.put_label_set(conn, owner, name, ["one", "other"], "ada")
        wishes = [Wish(str(uuid4()), label) for label in ["one"] * given + ["other"] * 3]
        labels.give(conn, (owner, name), wishes, "person", "ada")
    record_training(conn, event, least=3)
    found = {one.model: (one.state, one.note) for one in trainings(conn, owner, 10)}
    assert found == {"labels": ("skipped", "Needs 1 more of `one`."), "pets": ("requested", None)}
    assert conn.execute("SELECT FROM notices").fetchall() == [], "nobody asked for that set"
    person: Any = {**event, "reason": "person", "batch_id": None, "request_id": str(uuid4())}
    record_training(conn, person, least=3)
    assert "requested" in {one.state for one in trainings(conn, owner, 10, "labels")}, "forced"


def ended(conn: db.Conn, request_id: str) -> None:
    """A training is over, as the trainer will say."""
    conn.execute("UPDATE trainings SET ended_at = now() WHERE request_id = %s", (request_id,))


def test_what_asks_for_a_training_while_one_waits_is_merged_into_that(
    conn: db.Conn, asked: Trained
) -> None:
    first, second, third = (str(uuid4()) for _ in range(3))
    before = datetime.now(UTC)
    known = asked(first, "batch")
    due_at = known[first].due_at
    assert due_at is not None
    assert before <= due_at <= datetime.now(UTC)
    for request, reason in ((second, "batch"), (third, "schedule"), (second, "batch")):
        known = asked(request, reason)
    assert known[first].state == "requested"
    for merged in (known[second], known[third]):
        assert (merged.state, merged.merged_into, merged.due_at) == ("merged", first, None)
        assert merged.note == "a training that waits stands for this one, too"
        assert merged.ended_at is not None
    other = asked(str(uuid4()), "batch", model="other")
    assert [one.state for one in other.values()].count("requested") == 2, "a model is its own"
    assert conn.execute("SELECT FROM notices").fetchall() == []


def test_a_model_is_trained_once_an_hour_at_most(conn: db.Conn, asked: Trained) -> None:
    first, second, third, fourth = (str(uuid4()) for _ in range(4))
    due_at = asked(first, "batch")[first].due_at
    assert due_at is not None
    ended(conn, first)
    following = asked(second, "schedule")[second]
    assert (following.state, following.due_at) == ("requested", due_at + timedelta(hours=1))
    ended(conn, second)
    assert asked(third, "batch")[third].due_at == due_at + timedelta(hours=2)
    ended(conn, third)
    conn.execute("UPDATE trainings SET due_at = due_at - interval '9 hours'")
    later = asked(fourth, "batch")[fourth].due_at
    assert later is not None
    assert abs(later - datetime.now(UTC)) < timedelta(minutes=5), "not in the past"


def test_a_person_has_a_model_trained_at_once_and_for_those_who_wait(
    conn: db.Conn, asked: Trained
) -> None:
    first, second, person, late = (str(uuid4()) for _ in range(4))
    waiting = str(uuid4())
    asked(first, "batch")
    ended(conn, first)
    asked(second, "batch")
    assert asked(waiting, "batch")[waiting].merged_into == second
    known = asked(person, "person")
    assert known[person].state == "requested"
    due_at = known[person].due_at
    assert due_at is not None
    assert abs(due_at - datetime.now(UTC)) < timedelta(minutes=5)
    taken = known[second]
    assert (taken.state, taken.merged_into, taken.due_at) == ("merged", person, None)
    assert taken.note == "somebody asked for a training at once, which stands for this one, too"
    assert known[waiting].merged_into == person, "nobody has to follow"
    assert asked(late, "batch")[late].merged_into == person
    owner = conn.execute("SELECT DISTINCT owner::text FROM trainings").fetchone()
    assert owner is not None
    alone = trainings(conn, owner["owner"], 2, merged=False)
    assert {one.request_id for one in alone} == {person, first}, "the limit counts what is shown"
    assert asked(person, "person")[person] == known[person], "told again"


def test_without_a_limit_a_training_is_due_when_it_is_asked_for(
    conn: db.Conn, session: Session, example: Example
) -> None:
    event: Any = example(names.TRAINING_REQUESTED, reason="batch")
    for _ in range(2):
        event = {**event, "request_id": str(uuid4())}
        labelled(conn, event["owner"], event["model"])
        record_training(conn, event, every_s=0)
        ended(conn, event["request_id"])
    due = [one.due_at for one in trainings(conn, event["owner"], 2)]
    assert max(one for one in due if one) <= datetime.now(UTC)


def test_what_a_worker_says_to_people_is_kept(
    conn: db.Conn, example: Example, record: Record
) -> None:
    event = example(names.OPS_NOTIFIED)
    record((names.OPS_NOTIFIED, event), (names.OPS_NOTIFIED, event))

    (notice,) = conn.execute("SELECT notice_id, title FROM notices").fetchall()
    assert (str(notice["notice_id"]), notice["title"]) == (event["notice_id"], event["title"])


# --- many at once ----------------------------------------------------------------------------


def test_one_transaction_takes_all_events_and_tells_each_photo_once(
    conn: db.Conn, example: Example, record: Record, wire: Silence
) -> None:
    topics = (names.PHOTO_OBJECTS_DETECTED, names.PHOTO_TEXT_READ, names.PHOTO_EMBEDDED)
    photos = [(str(uuid4()), str(uuid4())) for _ in range(20)]
    record(
        *(
            (topic, example(topic, photo_id=photo, analysis_id=analysis))
            for topic in topics
            for photo, analysis in photos
        )
    )

    (row,) = conn.execute(
        "SELECT count(*) AS parts, count(DISTINCT xmin::text) AS transactions FROM parts"
    ).fetchall()
    assert row == {"parts": 60, "transactions": 1}
    assert len(wire.said) == len(photos)


def test_a_bad_event_leaves_nothing_of_those_beside_it(
    conn: db.Conn, example: Example, record: Record, wire: Silence
) -> None:
    good = example(names.PHOTO_TEXT_READ)
    bad = example(names.PHOTO_TEXT_READ, analysis_id="not-a-uuid")
    with pytest.raises(Reject, match="unstorable"):
        record((names.PHOTO_TEXT_READ, good), (names.PHOTO_TEXT_READ, bad))

    assert conn.execute("SELECT FROM parts").fetchall() == []
    assert wire.said == []


def test_of_a_micro_batch_only_the_bad_events_go_to_the_dead_letters(
    conn: db.Conn, example: Example, session: Session, wire: Silence, outbox: Outbox
) -> None:
    kit = Kit(job(session, News(wire, ""), outbox), schema_of=schema_of)
    request = names.PHOTO_ANALYSIS_REQUESTED["batch"]
    foreign = example(request, photo_id=str(uuid4()))
    analyses = [str(uuid4()) for _ in range(40)]
    kit.produce(request, "good", example(request))
    for number, analysis in enumerate(analyses):
        if number in (11, 12, 30):
            changes = {"analysis_id": analysis, "confidence": float("nan"), "outcome": "neither"}
            kit.produce(names.PHOTO_SUGGESTED, "bad", example(names.PHOTO_SUGGESTED, **changes))
        part = example(names.PHOTO_TEXT_READ, analysis_id=analysis)
        kit.produce(names.PHOTO_TEXT_READ, "good", part)
    kit.produce(request, "foreign", foreign)
    kit.advance(60)

    codes = sorted(letter.code for letter in kit.dead_letters())
    assert codes == ["foreign_photo_id", "unstorable", "unstorable", "unstorable"]
    (row,) = conn.execute("SELECT count(*) AS parts FROM parts").fetchall()
    assert row["parts"] == len(analyses)
    assert len(conn.execute("SELECT FROM photos").fetchall()) == 1


def test_two_recorders_with_the_same_photos_in_other_orders_both_succeed(
    database: str, conn: db.Conn, example: Example, outbox: Outbox
) -> None:
    topic, rounds = names.PHOTO_ANALYSIS_REQUESTED["batch"], 15
    events = []
    for number in range(40):
        sha256 = f"{number:064x}"
        photo = ids.photo_id(OWNER, sha256)
        changes = {"sha256": sha256, "photo_id": photo, "analysis_id": str(uuid4())}
        events.append(example(topic, owner=OWNER, **changes))
    together = threading.Barrier(2)

    def recorder(order: int) -> None:
        own = Session(partial(db.connect, database, name="recorder"))
        recorder = Recorder(own, News(Silence(), ""), outbox)
        for _ in range(rounds):
            together.wait(timeout=30)
            recorder.record([message(topic, event) for event in events[::order]])
        own.close()

    with ThreadPoolExecutor(2) as pool:
        list(pool.map(recorder, (1, -1)))
    assert len(conn.execute("SELECT FROM analyses").fetchall()) == len(events)


def test_a_transaction_that_got_into_anothers_way_is_tried_again(
    database: str, conn: db.Conn, example: Example
) -> None:
    """Locks are taken crosswise, so PostgreSQL has to end one of the two."""
    conn.execute(
        "INSERT INTO photos (photo_id, owner, sha256) VALUES (%s, %s, 'a'), (%s, %s, 'b')",
        (*(a := (str(uuid4()), OWNER)), *(b := (str(uuid4()), OWNER))),
    )
    both, tries = threading.Barrier(2), [0, 0]

    def crosswise(number: int) -> None:
        first, second = (a, b) if number else (b, a)

        def work(own: db.Conn) -> None:
            tries[number] += 1
            own.execute("UPDATE photos SET width = 1 WHERE photo_id = %s", (first[0],))
            if tries[number] == 1:
                both.wait(timeout=30)
            own.execute("UPDATE photos SET width = 1 WHERE photo_id = %s", (second[0],))

        session = Session(partial(db.connect, database, name="recorder"))
        session.transact(work)
        session.close()

    with ThreadPoolExecutor(2) as pool:
        list(pool.map(crosswise, range(2)))
    assert sorted(tries) == [1, 2]
