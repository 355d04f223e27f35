"""What the control door measures for Prometheus, on a real broker and a real catalog."""

import time
from collections.abc import Iterator
from uuid import uuid4

import pytest
from confluent_kafka import Consumer, Producer, TopicPartition
from confluent_kafka.admin import AdminClient, NewTopic  # type: ignore[attr-defined]

from catalog_seed import Seed, picture
from darkroom_schemas.names import PHOTO_SUBMITTED
from gateway import db
from gateway.catalog import results
from gateway.catalog.totals import totals
from gateway.control import metrics
from gateway.control.lag import KafkaOffsets
from gateway.control.measuring import Measuring
from gateway.snapshot import Snapshot
from infrastructure import Infrastructure

TOPIC = PHOTO_SUBMITTED["high"]
GROUP = "darkroom.intake.high"


def told(snapshot: Snapshot) -> dict[str, dict[tuple[str, ...], float]]:
    return {
        family.name: {tuple(one.labels.values()): one.value for one in family.samples}
        for family in snapshot.collect()
    }


@pytest.fixture
def prefix(infrastructure: Infrastructure) -> Iterator[str]:
    """Of an installation with a topic of which a group has read two records of five."""
    prefix = f"t{uuid4().hex[:8]}."
    admin = AdminClient({"bootstrap.servers": infrastructure.kafka})
    config = {"retention.ms": "3600000"}
    for made in admin.create_topics([NewTopic(prefix + TOPIC, 2, config=config)]).values():
        made.result(20)
    producer = Producer({"bootstrap.servers": infrastructure.kafka})
    for _ in range(5):
        producer.produce(prefix + TOPIC, b"x", partition=0)
    assert producer.flush(20) == 0
    reader = Consumer({"bootstrap.servers": infrastructure.kafka, "group.id": prefix + GROUP})
    reader.commit(offsets=[TopicPartition(prefix + TOPIC, 0, 2)], asynchronous=False)
    reader.close()
    yield prefix
    admin.delete_topics([prefix + TOPIC])


def test_lag_retention_and_totals_are_measured(
    infrastructure: Infrastructure, prefix: str, conn: db.Conn
) -> None:
    looks = Measuring(
        KafkaOffsets(infrastructure.kafka, prefix=prefix, timeout_s=20),
        prefix=prefix,
    )
    until = time.monotonic() + 30
    while True:  # what was made a moment ago may have no leader yet
        looks.turn(conn)
        found = told(metrics.BROKER)
        if found["kafka_consumergroup_lag_sum"] or time.monotonic() > until:
            break
    group, topic = prefix + GROUP, prefix + TOPIC
    assert found["kafka_consumergroup_lag_sum"] == {(group, topic): 3}
    assert found["kafka_consumergroup_lag"] == {(group, topic, "0"): 3, (group, topic, "1"): -1}
    assert found["kafka_topic_partition_current_offset"][topic, "0"] == 5
    assert found["kafka_consumergroup_members"] == {(group,): 0}
    assert found["kafka_brokers"] == {(): 1}
    assert found["darkroom_stage_retention_seconds"] == {("intake", "high"): 3_600}
    assert told(metrics.CATALOG)["darkroom_photos"][("review",)] == 0
    assert told(metrics.CATALOG)["darkroom_catalog_bytes"][()] > 1_000_000


def test_totals_tell_photos_by_their_newest_outcome_and_for_how_long_people_are_waited_for(
    conn: db.Conn, seed: Seed
) -> None:
    one = seed.analyzed("one.jpg", picture("#111111"))
    seed.analyzed("two.jpg", picture("#222222"))
    seed.rejected("broken.jpg", "image_truncated", "It ends too early.")
    conn.execute(
        "UPDATE reviews SET outcome = 'review', waiting = true,"
        " decided_at = now() - interval '1 hour'"
    )
    conn.execute(
        "UPDATE reviews SET outcome = 'auto_labeled', waiting = false WHERE photo_id = %s",
        (one.photo_id,),
    )
    found = totals(conn)
    assert found["darkroom_photos"] == {
        ("auto_labeled",): 1,
        ("suggested",): 0,
        ("review",): 1,
        ("rejected",): 1,
    }
    assert found["darkroom_reviews_waiting"]["review",] == 1
    assert 3_600 <= found["darkroom_reviews_oldest_seconds"][()] < 3_700
    assert found["darkroom_imports"]["completed",] == 0
    assert found["darkroom_heads_failed"] == {(): 0}


def test_how_long_a_photo_took_is_known_of_first_outcomes_alone(conn: db.Conn, seed: Seed) -> None:
    one = seed.analyzed("one.jpg", picture("#111111"))
    conn.execute("UPDATE analyses SET submitted_at = now() - interval '30 s'")
    conn.execute("UPDATE outcomes SET decided_at = now() - interval '10 s', lane = 'high'")
    ((lane, seconds),) = results.durations(conn, [one.analysis_id])
    assert lane == "high"
    assert seconds == pytest.approx(20, abs=0.01)
    conn.execute("UPDATE outcomes SET revision = 2")
    assert results.durations(conn, [one.analysis_id]) == []
