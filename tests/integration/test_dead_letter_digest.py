"""The digest of dead letters, out of the real topics and the catalog."""

from collections.abc import Callable, Iterator, Sequence
from datetime import UTC, datetime
from typing import Any
from uuid import uuid4

import pytest
from confluent_kafka.admin import AdminClient, NewTopic  # type: ignore[attr-defined]
from psycopg.types.json import Jsonb

from darkroom_schemas import ids, names
from gateway import db
from gateway.catalog import deliveries
from gateway.catalog.deliveries import NoticeFilter
from gateway.catalog.notice_shapes import Notice
from gateway.catalog.notices import record_notice
from gateway.control.dead_letter_digest import (
    DIGEST,
    dead_letter_digest,
    digest_job,
    services_with_letters,
)
from gateway.control.job_run import JobContext, JobError, JobStoppedError
from infrastructure import Infrastructure
from streamkit.deadletters import dead_letter
from streamkit.kafka.log import KafkaLog
from streamkit.kafka.producer import KafkaProducer
from streamkit.letters import letter_of, mark_record
from streamkit.messages import Failure
from streamkit.records import RawRecord, Taken

Example = Callable[..., dict[str, Any]]
SERVICES = ("detector", "ocr", "nobody")
PARTITIONS = 2


class Letters:
    """Dead-letter topics of one test's own; that of the service nobody is missing."""

    def __init__(self, infrastructure: Infrastructure) -> None:
        prefix = f"t{uuid4().hex[:8]}."
        self.log = KafkaLog(infrastructure.kafka, prefix=prefix)
        self._producer = KafkaProducer(infrastructure.kafka, "test", prefix=prefix)
        admin = AdminClient({"bootstrap.servers": infrastructure.kafka})
        topics = [NewTopic(f"{prefix}darkroom.{one}.dlq", PARTITIONS, 1) for one in SERVICES[:2]]
        for future in admin.create_topics(topics).values():
            future.result(20)

    def publish(self, records: Sequence[RawRecord]) -> None:
        self._producer.send(1, records)
        assert [one.error for one in self._producer.poll(30)] == [None]

    def bury(self, service: str, code: str, *offsets: int) -> list[RawRecord]:
        """A letter of each of these records."""
        records = [
            dead_letter(
                f"darkroom.{service}.dlq",
                Taken("photo.x.v1", 0, offset, b"key %d" % offset, b"value", [], 0),
                Failure(code, "It failed.", 4),
                service=service,
                version="1",
            )
            for offset in offsets
        ]
        self.publish(records)
        return records

    def close(self) -> None:
        self._producer.close()


@pytest.fixture
def letters(infrastructure: Infrastructure) -> Iterator[Letters]:
    made = Letters(infrastructure)
    yield made
    made.close()


def run(conn: db.Conn, letters: Letters, *, reported: bool = True) -> Any:
    """One run of the job, as the schedules make it; `reported`: it came to its end."""
    report = dead_letter_digest(conn, letters.log, SERVICES, JobContext(DIGEST))
    state = "done" if reported else "interrupted"
    conn.execute(
        "INSERT INTO job_runs (run_id, job, reason, due_at, started_at, ended_at, state, report)"
        " VALUES (%s, %s, 'schedule', now(), clock_timestamp(), now(), %s, %s)",
        (uuid4(), DIGEST, state, Jsonb(dict(report) if reported else {})),
    )
    return report


def digests(conn: db.Conn) -> list[Notice]:
    """The digests that people were told, the newest first."""
    kind = NoticeFilter("dead_letter_digest")
    return deliveries.notices(conn, ids.LOCAL_OWNER, kind, None, 50)[0]


def told_by_itself(conn: db.Conn, example: Example, service: str, code: str) -> None:
    fields = {"kind": "first_dead_letter", "service": service, "subject": code}
    times = {"notice_id": str(uuid4()), "occurred_at": datetime.now(UTC)}
    record_notice(conn, example(names.OPS_NOTIFIED, **fields, **times))  # type: ignore[arg-type]


def test_what_was_given_up_is_counted_by_service_and_code_and_told_once(
    conn: db.Conn, letters: Letters
) -> None:
    assert run(conn, letters)["told"] is False
    letters.bury("detector", "engine_failed", *range(30))
    letters.bury("detector", "too_large", 90, 91)
    letters.bury("ocr", "engine_failed", 7)

    report = run(conn, letters)
    assert report["given_up"] == {
        "detector": {"engine_failed": 30, "too_large": 2},
        "ocr": {"engine_failed": 1},
    }
    (digest,) = digests(conn)
    assert digest.title.startswith("33 records were given up since ")
    assert digest.detail.splitlines()[:3] == [
        "detector: 30 of engine_failed",
        "detector: 2 of too_large",
        "ocr: 1 of engine_failed",
    ]
    assert "darkroom dlq list detector" in digest.detail
    assert run(conn, letters)["given_up"] == {}
    letters.bury("ocr", "engine_failed", 8)
    assert run(conn, letters)["given_up"] == {"ocr": {"engine_failed": 1}}
    assert [one.title[:12] for one in digests(conn)] == ["1 record was", "33 records w"]


def test_what_was_told_by_itself_makes_no_digest_unless_more_follow(
    conn: db.Conn, letters: Letters, example: Example
) -> None:
    letters.bury("ocr", "engine_failed", 1)
    told_by_itself(conn, example, "ocr", "engine_failed")
    assert run(conn, letters)["told"] is False
    assert digests(conn) == []
    told_by_itself(conn, example, "detector", "engine_failed")
    letters.bury("detector", "engine_failed", 1, 2)
    letters.bury("ocr", "engine_failed", 2)
    assert run(conn, letters)["told"] is True
    assert digests(conn)[0].title.startswith("3 records were given up")


def test_marks_and_repetitions_of_a_letter_are_not_counted(conn: db.Conn, letters: Letters) -> None:
    (record,) = letters.bury("ocr", "odd", 1)
    letters.publish([record, record])
    taken = Taken(record.topic, 0, 0, record.key, record.value, record.headers, 0)
    letter = letter_of(taken, "ocr")
    letters.publish(
        [mark_record(record.topic, letter, "replayed", "me", "", "2026-11-29T00:00:00")]
    )
    assert run(conn, letters)["given_up"] == {"ocr": {"odd": 1}}


def test_a_digest_that_was_cut_off_is_told_again_only_with_what_came_since(
    conn: db.Conn, letters: Letters
) -> None:
    letters.bury("ocr", "odd", 1, 2)
    run(conn, letters, reported=False)
    run(conn, letters, reported=False)
    assert len(digests(conn)) == 1
    letters.bury("ocr", "odd", 3)
    run(conn, letters)
    assert digests(conn)[0].title == "3 records were given up"


def test_letters_of_odd_codes_without_end_are_told_shortly(conn: db.Conn, letters: Letters) -> None:
    for number in range(40):
        letters.bury("ocr", f"\x1b[31mcode {number}\n", number)
    assert run(conn, letters)["told"] is True
    (digest,) = digests(conn)
    assert "and 30 more kinds" in digest.detail
    assert "\x1b" not in digest.detail


def test_a_broker_that_is_away_fails_the_run_with_a_sentence(conn: db.Conn) -> None:
    away = KafkaLog("127.0.0.1:1", timeout_s=0.5)
    with pytest.raises(JobError, match="can't be read: no answer from Kafka"):
        digest_job(away, SERVICES).run(conn, JobContext(DIGEST))


def test_a_stop_ends_it_and_the_next_run_counts_all(conn: db.Conn, letters: Letters) -> None:
    letters.bury("ocr", "odd", *range(5))
    context = JobContext(DIGEST)
    context.stopping.set()
    with pytest.raises(JobStoppedError):
        dead_letter_digest(conn, letters.log, SERVICES, context)
    assert run(conn, letters)["given_up"] == {"ocr": {"odd": 5}}


def test_every_service_with_dead_letters_is_looked_at() -> None:
    assert {"intake", "detector", "ocr", "embedder", "aggregator", "gateway"} <= set(
        services_with_letters()
    )
