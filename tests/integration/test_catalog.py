"""The catalog on a real PostgreSQL: submissions of all doors, results in any order."""

import itertools
import json
import random
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import Any
from uuid import uuid4

import psycopg
import pytest
from psycopg.sql import SQL, Identifier
from redis.exceptions import ConnectionError as RedisAway

from darkroom_schemas import ids, names
from gateway import db, migrations
from gateway.catalog import imports, results
from gateway.catalog.outbox import Outbox
from gateway.catalog.submissions import Status, Submission, submit_photo
from gateway.recorder.handlers import Recorder, handlers
from gateway.recorder.news import News
from gateway.recorder.session import Session
from streamkit import Busy, Codec, Message, Reject

Example = Callable[..., dict[str, Any]]

TABLES = ("photos", "analyses", "parts", "embeddings", "stage_failures", "outcomes", "rejections")


def submission(sha256: str = "ab" * 32, **changes: Any) -> Submission:
    given: dict[str, Any] = {
        "owner": ids.LOCAL_OWNER,
        "sha256": sha256,
        "source_uri": f"file:///objects/originals/{sha256}",
        "byte_size": 3,
        "file_name": "cat.jpg",
        "lane": "high",
        "submission_id": str(uuid4()),
    }
    return Submission(**{**given, **changes})


def rows(conn: db.Conn, table: str) -> list[dict[str, Any]]:
    found = conn.execute(SQL("SELECT * FROM {}").format(Identifier(table))).fetchall()
    moving = ("created_at",)
    return sorted(({k: v for k, v in row.items() if k not in moving} for row in found), key=repr)


def everything(conn: db.Conn) -> dict[str, list[dict[str, Any]]]:
    return {table: rows(conn, table) for table in TABLES}


class Wire:
    """A Redis that remembers what was said, or is away."""

    def __init__(self, away: bool = False) -> None:
        self.said: list[tuple[str, dict[str, Any]]] = []
        self.tries = 0
        self._away = away

    def publish(self, channel: str, message: str, /) -> None:
        self.tries += 1
        if self._away:
            raise RedisAway("nobody listens")
        self.said += [(channel, news) for news in json.loads(message)]


@pytest.fixture
def record(database: str, outbox: Outbox) -> Iterator[Callable[[str, Mapping[str, Any]], Wire]]:
    """Gives an event to the recorder, as the worker does."""
    wire = Wire()
    session = Session(partial(db.connect, database, name="recorder"))
    by_topic = handlers(Recorder(session, News(wire, "test."), outbox))

    def give(topic: str, event: Mapping[str, Any]) -> Wire:
        headers = {"ce_id": ids.event_id(event.get("analysis_id", str(uuid4())), topic, 1)}
        message = Message(topic, "recorder", "key", event, headers, 0, 0, 0)
        assert by_topic[topic]([message]) == [()]
        return wire

    yield give
    session.close()


# --- submissions -----------------------------------------------------------------------------


def test_the_same_bytes_from_many_doors_at_once_are_one_analysis(
    database: str, outbox: Outbox, conn: db.Conn
) -> None:
    doors, photos = 6, [f"{number:064x}" for number in range(12)]
    together = threading.Barrier(doors)

    def door(_number: int) -> list[Status]:
        with db.connect(database, name="door") as own:
            together.wait(timeout=30)
            return [submit_photo(own, outbox, submission(sha)).status for sha in photos]

    with ThreadPoolExecutor(doors) as pool:
        answers = [status for statuses in pool.map(door, range(doors)) for status in statuses]

    assert answers.count(Status.NEW) == len(photos)
    assert answers.count(Status.JOINED) == len(photos) * (doors - 1)
    assert len(rows(conn, "analyses")) == len(rows(conn, "outbox")) == len(photos)


def test_a_submission_repeated_is_the_same_analysis(conn: db.Conn, outbox: Outbox) -> None:
    once = submission()
    first, again = submit_photo(conn, outbox, once), submit_photo(conn, outbox, once)

    assert (first.status, again.status) == (Status.NEW, Status.JOINED)
    assert first.analysis_id == again.analysis_id == once.analysis_id
    assert len(rows(conn, "outbox")) == 1


def test_what_is_submitted_is_what_intake_will_read(
    conn: db.Conn, outbox: Outbox, codec: Codec
) -> None:
    handed_in = submission()
    submit_photo(conn, outbox, handed_in)

    (row,) = rows(conn, "outbox")
    event = codec.decode(row["topic"], row["value"])
    assert row["topic"] == "photo.submitted.high.v1"
    assert row["key"] == event["photo_id"] == handed_in.photo_id
    assert event["analysis_id"] == handed_in.analysis_id
    assert event["source_uri"] == handed_in.source_uri
    assert row["headers"]["ce_id"] == str(row["event_id"])
    assert row["headers"]["ce_type"] == "darkroom.photo.submitted.high.v1"


def test_a_photo_with_an_outcome_is_not_analyzed_again(
    conn: db.Conn, outbox: Outbox, example: Example
) -> None:
    first = submit_photo(conn, outbox, submission())
    outcome = example(names.PHOTO_SUGGESTED, photo_id=first.photo_id, analysis_id=first.analysis_id)
    results.record_outcome(conn, (outcome, str(uuid4())))  # type: ignore[arg-type]

    again = submit_photo(conn, outbox, submission())

    assert (again.status, again.analysis_id) == (Status.ANALYZED, first.analysis_id)
    assert len(rows(conn, "outbox")) == 1


def test_a_photo_that_was_only_rejected_is_analyzed_again(
    conn: db.Conn, outbox: Outbox, example: Example
) -> None:
    first = submit_photo(conn, outbox, submission())
    rejection = example(
        names.PHOTO_REJECTED, photo_id=first.photo_id, analysis_id=first.analysis_id
    )
    results.record_rejection(conn, rejection)  # type: ignore[arg-type]

    again = submit_photo(conn, outbox, submission())

    assert again.status is Status.NEW
    assert again.analysis_id != first.analysis_id
    assert len(rows(conn, "analyses")) == 2


class Unwilling:
    """A codec whose schema fits nothing."""

    def encode(self, topic: str, value: Mapping[str, Any]) -> bytes:
        raise ValueError(f"{topic} has another schema")


def test_a_submission_whose_event_is_refused_leaves_nothing(conn: db.Conn) -> None:
    with pytest.raises(ValueError, match="another schema"):
        submit_photo(conn, Outbox(Unwilling()), submission())

    assert [rows(conn, table) for table in ("photos", "analyses", "outbox")] == [[], [], []]


# --- results ---------------------------------------------------------------------------------


def story(example: Example) -> list[tuple[str, dict[str, Any]]]:
    """All that is said of one photo."""
    topics = (
        names.PHOTO_ANALYSIS_REQUESTED["batch"],
        names.PHOTO_OBJECTS_DETECTED,
        names.PHOTO_TEXT_READ,
        names.PHOTO_EMBEDDED,
        names.PHOTO_STAGE_FAILED,
        names.PHOTO_REJECTED,
        names.PHOTO_AUTO_LABELED,
    )
    said = [(topic, example(topic)) for topic in topics]
    for _topic, event in said:
        if "file_name" in event:
            event["file_name"] = "chelsea.jpg"
    return said


def test_records_in_any_order_and_repeated_leave_the_same_catalog(
    conn: db.Conn, example: Example, record: Callable[..., Wire]
) -> None:
    said = story(example)
    for topic, event in said:
        record(topic, event)
    expected = everything(conn)
    assert all(len(found) == 1 for table, found in expected.items() if table != "parts")
    assert [row["stage"] for row in sorted(expected["parts"], key=lambda r: r["stage"])] == [
        "detector",
        "embedder",
        "ocr",
    ]

    for seed in range(8):
        conn.execute(f"TRUNCATE {', '.join(TABLES)}")
        shuffled = said * 2
        random.Random(seed).shuffle(shuffled)
        for topic, event in shuffled:
            record(topic, event)
        found = everything(conn)
        # When a photo is first heard of by its rejection, that is taken for its submission.
        for table in ("analyses",):
            for row in (*found[table], *expected[table]):
                row["submitted_at"] = None
        assert found == expected


def test_the_first_part_wins(conn: db.Conn, example: Example, record: Callable[..., Wire]) -> None:
    record(names.PHOTO_TEXT_READ, example(names.PHOTO_TEXT_READ, text="first", ms=1.0))
    record(names.PHOTO_TEXT_READ, example(names.PHOTO_TEXT_READ, text="second", ms=2.0))

    (part,) = rows(conn, "parts")
    assert (part["body"]["text"], part["ms"]) == ("first", 1.0)


def test_words_of_all_stages_are_found(
    conn: db.Conn, example: Example, record: Callable[..., Wire]
) -> None:
    for topic, event in story(example):
        record(topic, event)

    def found(query: str) -> set[str]:
        sql = "SELECT stage FROM parts WHERE words @@ websearch_to_tsquery('english', %s)"
        return {row["stage"] for row in conn.execute(sql, (query,))}

    assert found("egyptian cats") == {"detector"}
    assert found("darkroom") == {"ocr"}
    assert found("our cat") >= {"embedder"}
    assert found("dog") == set()


def test_vectors_can_be_compared(
    conn: db.Conn, example: Example, record: Callable[..., Wire]
) -> None:
    record(names.PHOTO_EMBEDDED, example(names.PHOTO_EMBEDDED))

    row = conn.execute("SELECT vector <=> '[0.6, 0.8]' AS distance FROM embeddings").fetchone()
    assert row is not None
    assert row["distance"] == pytest.approx(0, abs=1e-6)


def test_a_foreign_photo_is_known_from_its_request(
    conn: db.Conn, example: Example, record: Callable[..., Wire], outbox: Outbox
) -> None:
    event = example(names.PHOTO_ANALYSIS_REQUESTED["default"], lane="default")
    event["photo_id"] = ids.photo_id(event["owner"], event["sha256"])
    record(names.PHOTO_ANALYSIS_REQUESTED["default"], event)

    (photo,) = rows(conn, "photos")
    assert (photo["width"], photo["camera_make"]) == (4032, "Canon")
    assert photo["taken_at"].isoformat() == "2026-05-17T14:03:22"
    joined = submit_photo(conn, outbox, submission(event["sha256"], owner=event["owner"]))
    assert (joined.status, joined.analysis_id) == (Status.JOINED, event["analysis_id"])


def test_a_foreign_photo_that_was_refused_is_known_with_its_reason(
    conn: db.Conn, example: Example, record: Callable[..., Wire]
) -> None:
    record(names.PHOTO_REJECTED, example(names.PHOTO_REJECTED))

    (photo,), (rejection,), (analysis,) = (
        rows(conn, table) for table in ("photos", "rejections", "analyses")
    )
    assert (photo["file_name"], photo["source_uri"]) == ("torn.jpg", None)
    assert rejection["code"] == "image_truncated"
    assert analysis["analysis_id"] == rejection["analysis_id"]


def test_a_refused_photo_with_a_false_id_does_not_stand_in_the_way_of_the_true_one(
    conn: db.Conn, example: Example, record: Callable[..., Wire], outbox: Outbox
) -> None:
    false = example(names.PHOTO_REJECTED, photo_id=str(uuid4()), code="photo_id_mismatch")
    record(names.PHOTO_REJECTED, false)
    answer = submit_photo(conn, outbox, submission(false["sha256"], owner=false["owner"]))

    (photo,) = rows(conn, "photos")
    assert (answer.status, str(photo["photo_id"])) == (Status.NEW, answer.photo_id)
    assert len(rows(conn, "rejections")) == 1


def test_a_request_with_a_false_photo_id_is_rejected(
    conn: db.Conn, example: Example, record: Callable[..., Wire], outbox: Outbox
) -> None:
    topic = names.PHOTO_ANALYSIS_REQUESTED["high"]
    submit_photo(conn, outbox, submission(example(topic)["sha256"]))
    with pytest.raises(Reject, match="foreign_photo_id"):
        record(topic, example(topic, photo_id=str(uuid4())))


def test_zero_characters_do_not_stop_a_text(
    conn: db.Conn, example: Example, record: Callable[..., Wire]
) -> None:
    event = example(names.PHOTO_TEXT_READ, text="Dark\0room")
    event["lines"][0]["words"][0]["text"] = "Dark\0room"
    record(names.PHOTO_TEXT_READ, event)

    (part,) = rows(conn, "parts")
    assert part["body"]["text"] == "Darkroom"
    assert part["body"]["lines"][0]["words"][0]["text"] == "Darkroom"


def test_a_very_long_text_is_kept_whole(
    conn: db.Conn, example: Example, record: Callable[..., Wire]
) -> None:
    text = " ".join(f"word{number}" for number in range(400_000))
    record(names.PHOTO_TEXT_READ, example(names.PHOTO_TEXT_READ, text=text))

    (part,) = rows(conn, "parts")
    assert part["body"]["text"] == text


@pytest.mark.parametrize(
    ("topic", "changes"),
    [
        (names.PHOTO_TEXT_READ, {"photo_id": "not-a-uuid"}),
        (names.PHOTO_AUTO_LABELED, {"outcome": "undecided"}),
        (names.PHOTO_EMBEDDED, {"vector": []}),
        (names.PHOTO_EMBEDDED, {"vector": [float("nan")]}),
        (names.PHOTO_OBJECTS_DETECTED, {"labels": [{"name": "x", "confidence": float("inf")}]}),
        (names.PHOTO_ANALYSIS_REQUESTED["high"], {"taken_at": "2026-02-30T10:00:00"}),
    ],
)
def test_what_the_catalog_can_not_hold_is_rejected_and_leaves_nothing(
    conn: db.Conn, example: Example, record: Callable[..., Wire], topic: str, changes: Any
) -> None:
    with pytest.raises(Reject, match="unstorable"):
        record(topic, example(topic, **changes))
    assert not any(everything(conn).values())


# --- batches ---------------------------------------------------------------------------------


def batch(conn: db.Conn, outbox: Outbox) -> str:
    return imports.begin_import(
        conn,
        outbox,
        owner=ids.LOCAL_OWNER,
        lane="batch",
        kind="folder",
        roots=["/photos"],
        location={},
    )


def test_totals_never_go_backwards_and_the_first_completion_stands(
    conn: db.Conn, outbox: Outbox, example: Example, record: Callable[..., Wire]
) -> None:
    batch_id = batch(conn, outbox)
    moments = [
        example(
            names.BATCH_PROGRESSED,
            batch_id=batch_id,
            found=found,
            accepted=accepted,
            rejected=0,
            pending=found - accepted,
            sealed=False,
        )
        for found, accepted in ((1, 0), (4, 1), (4, 3), (9, 3))
    ]
    counts = {"found": 9, "accepted": 9, "rejected": 0, "partial": 0}
    completed = example(names.BATCH_COMPLETED, batch_id=batch_id, **counts)

    for order in itertools.permutations(moments):
        conn.execute("UPDATE batches SET totals = NULL")
        for event in order:
            record(names.BATCH_PROGRESSED, event)
        (row,) = rows(conn, "batches")
        assert (row["totals"]["found"], row["totals"]["accepted"]) == (9, 3)

    record(names.BATCH_COMPLETED, completed)
    (done,) = rows(conn, "batches")
    for event in moments:
        record(names.BATCH_PROGRESSED, event)
    record(names.BATCH_COMPLETED, {**completed, "accepted": 1})
    assert rows(conn, "batches") == [done]
    assert (done["state"], done["totals"]["pending"], done["totals"]["sealed"]) == (
        "completed",
        0,
        True,
    )


# --- news and trouble ------------------------------------------------------------------------


def test_news_name_the_photo_and_the_batches_that_wait_for_it(
    conn: db.Conn, outbox: Outbox, example: Example, record: Callable[..., Wire]
) -> None:
    batch_id = batch(conn, outbox)
    event = example(names.PHOTO_AUTO_LABELED)
    conn.execute(
        "INSERT INTO batch_items (batch_id, index, path, state, photo_id, analysis_id)"
        " VALUES (%s, 0, '/a', 'submitted', %s, %s)",
        (batch_id, event["photo_id"], event["analysis_id"]),
    )
    wire = record(names.PHOTO_AUTO_LABELED, event)
    record(names.BATCH_PROGRESSED, example(names.BATCH_PROGRESSED, batch_id=batch_id))

    assert wire.said == [
        (
            "test.darkroom:events",
            {
                "type": "photo",
                "photo_id": event["photo_id"],
                "analysis_id": event["analysis_id"],
                "batches": [batch_id],
            },
        ),
        ("test.darkroom:events", {"type": "batch", "batch_id": batch_id}),
    ]


def test_recording_goes_on_without_redis_and_does_not_wait_for_it_each_time(
    database: str, outbox: Outbox, conn: db.Conn, example: Example
) -> None:
    wire, now = Wire(away=True), 0.0
    session = Session(partial(db.connect, database, name="recorder"))
    by_topic = handlers(Recorder(session, News(wire, "", clock=lambda: now), outbox))
    for topic, event in story(example):
        headers = {"ce_id": str(uuid4())}
        by_topic[topic]([Message(topic, "recorder", "key", event, headers, 0, 0, 0)])
    session.close()

    assert len(rows(conn, "parts")) == 3
    assert wire.tries == 1


def test_a_lost_connection_is_busy_and_the_next_try_makes_a_new_one(
    database: str, outbox: Outbox, conn: db.Conn, example: Example
) -> None:
    session = Session(partial(db.connect, database, name="victim"))
    by_topic = handlers(Recorder(session, News(Wire(), ""), outbox))
    topic = names.PHOTO_TEXT_READ
    message = Message(topic, "recorder", "key", example(topic), {}, 0, 0, 0)
    session.transact(lambda own: own.execute("SELECT 1"))
    conn.execute(
        "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = 'victim'"
        " AND datname = current_database()"
    )

    with pytest.raises(Busy):
        by_topic[topic]([message])
    by_topic[topic]([message])
    session.close()
    assert len(rows(conn, "parts")) == 1


def test_a_database_that_is_away_is_busy() -> None:
    session = Session(partial(db.connect, "postgresql://127.0.0.1:1/none", name="test"))
    with pytest.raises(Busy):
        session.transact(lambda own: own.execute("SELECT 1"))


def test_a_catalog_without_tables_is_a_defect_not_a_wait(database: str) -> None:
    migrations.migrate(database, migrations.NOTHING, lose_data=True)
    session = Session(partial(db.connect, database, name="test"))
    with pytest.raises(psycopg.errors.UndefinedTable):
        session.transact(lambda own: own.execute("SELECT * FROM photos"))
    session.close()


def test_migrating_twice_at_once_and_down_and_up_again_works(database: str) -> None:
    migrations.migrate(database, migrations.NOTHING, lose_data=True)
    command = [sys.executable, "-m", "gateway", "migrate", "--database", database]
    both = [subprocess.Popen(command) for _ in range(2)]
    assert [process.wait(timeout=60) for process in both] == [0, 0]
    with db.connect(database, name="test") as conn:
        assert rows(conn, "photos") == []
