"""Looking at groups and topics of a real broker: who has worked on what lay there."""

import socket
import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from typing import Any
from uuid import uuid4

import pytest
from confluent_kafka import Consumer, Producer, TopicPartition
from confluent_kafka.admin import AdminClient, NewTopic  # type: ignore[attr-defined]

from darkroom_schemas import ids, names
from gateway import db
from gateway.catalog.outbox import Outbox
from gateway.control import paths
from gateway.control.first_ends import KafkaEnds
from gateway.control.lag import Hop, KafkaOffsets, settled
from infrastructure import Infrastructure
from reconcile_world import World
from streamkit import Busy, Codec

Example = Callable[..., dict[str, Any]]

WORK = Hop("worker", ("asked",))
ANSWERS = Hop("reader", ("answered",))


OCR = tuple(hop for hop in paths.stage("ocr", "batch") if hop.group != paths.OUTBOX)
TOPICS = ("asked", "answered", names.BATCH_PHOTO_ENDED, *(t for hop in OCR for t in hop.topics))


@pytest.fixture(scope="module")
def prefix(infrastructure: Infrastructure) -> Iterator[str]:
    prefix = f"t{uuid4().hex[:8]}."
    admin = AdminClient({"bootstrap.servers": infrastructure.kafka})
    topics = [prefix + name for name in TOPICS]
    for made in admin.create_topics([NewTopic(topic, 2) for topic in topics]).values():
        made.result(20)
    until = time.monotonic() + 20
    while True:  # what was made a moment ago may have no leader yet
        try:
            KafkaOffsets(infrastructure.kafka, prefix=prefix).look([Hop("nobody", TOPICS)])
            break
        except Busy:
            if time.monotonic() > until:
                raise
    yield prefix
    admin.delete_topics(topics)


class Rig:
    """Writes records, and commits as groups do."""

    def __init__(self, kafka: str, prefix: str) -> None:
        self._kafka, self._prefix = kafka, prefix
        self._producer = Producer({"bootstrap.servers": kafka})
        self.group = uuid4().hex

    def hop(self, hop: Hop) -> Hop:
        """The hop with a group of this test's own."""
        return Hop(f"{hop.group}-{self.group}", hop.topics)

    def write(self, topic: str, partition: int = 0, **record: Any) -> None:
        self._producer.produce(self._prefix + topic, partition=partition, **record)
        assert self._producer.flush(20) == 0

    def end(self, topic: str, partition: int = 0) -> int:
        consumer = Consumer({"bootstrap.servers": self._kafka, "group.id": "none"})
        place = TopicPartition(self._prefix + topic, partition)
        _, end = consumer.get_watermark_offsets(place, timeout=20)
        consumer.close()
        return end

    def commit(self, hop: Hop) -> None:
        """The group of this test's own has worked on all that lies in its topics."""
        self.work(self.hop(hop))

    def work(self, hop: Hop) -> None:
        """The group has worked on all that lies in its topics."""
        group = self._prefix + hop.group
        consumer = Consumer({"bootstrap.servers": self._kafka, "group.id": group})
        places = [
            TopicPartition(self._prefix + topic, number, self.end(topic, number))
            for topic in hop.topics
            for number in (0, 1)
        ]
        until = time.monotonic() + 20
        while True:
            try:
                consumer.commit(offsets=places, asynchronous=False)
                break
            except Exception:  # the first coordinator call of a broker may fail
                if time.monotonic() > until:
                    raise
        consumer.close()


@pytest.fixture
def rig(infrastructure: Infrastructure, prefix: str) -> Rig:
    return Rig(infrastructure.kafka, prefix)


@pytest.fixture
def offsets(infrastructure: Infrastructure, prefix: str) -> KafkaOffsets:
    return KafkaOffsets(infrastructure.kafka, prefix=prefix, timeout_s=20)


def test_what_a_group_has_committed_is_worked_on_and_what_came_later_is_not(
    rig: Rig, offsets: KafkaOffsets
) -> None:
    hop = rig.hop(WORK)
    rig.write("asked", value=b"one")
    unknown = offsets.look([hop])
    assert not unknown.passed(hop, unknown), "a group that nobody knows has worked on nothing"

    rig.commit(WORK)
    done = offsets.look([hop])
    rig.write("asked", partition=1, value=b"two")
    behind = offsets.look([hop])

    assert done.passed(hop, unknown)
    assert done.passed(hop, done)
    assert behind.passed(hop, done)
    assert not behind.passed(hop, behind)


def test_a_chain_settles_once_each_group_has_worked_on_what_the_one_before_it_said(
    rig: Rig, offsets: KafkaOffsets
) -> None:
    path = (rig.hop(WORK), rig.hop(ANSWERS))
    rig.commit(WORK)
    rig.commit(ANSWERS)
    rig.write("asked", value=b"question")
    looks = [offsets.look(path)]
    assert settled(looks, path) is None

    rig.write("answered", value=b"answer")
    rig.commit(WORK)
    looks.append(offsets.look(path))
    assert settled(looks, path) is None, "the answer is not read yet"

    rig.commit(ANSWERS)
    looks.append(offsets.look(path))
    assert settled(looks, path) == 2


def test_a_topic_that_is_missing_is_no_topic_without_records(
    rig: Rig, offsets: KafkaOffsets
) -> None:
    hop = Hop("worker", ("nowhere",))
    with pytest.raises(Busy, match="nowhere"):
        offsets.look([hop])
    look = offsets.look([hop], optional=["nowhere"])
    assert look.passed(hop, look)


def test_a_broker_that_is_away_is_found_out_within_the_time() -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        address = f"127.0.0.1:{taken.getsockname()[1]}"
        began = time.monotonic()
        with pytest.raises(Busy):
            KafkaOffsets(address, timeout_s=0.5).look([WORK])
        with pytest.raises(Busy):
            KafkaEnds(address, lambda _topic, _value: {}, timeout_s=0.5).others(
                str(uuid4()), datetime.now(UTC), {0: "review"}
            )
    assert time.monotonic() - began < 5


def test_of_several_ends_of_a_file_the_first_is_the_one_that_counts(
    infrastructure: Infrastructure, prefix: str, rig: Rig, codec: Codec, example: Example
) -> None:
    batch, other = str(uuid4()), str(uuid4())

    def say(index: int, end: str, of: str = batch, partial: bool = False) -> None:
        about = {"batch_id": of, "index": index, "end": end, "partial": partial}
        value = codec.encode(names.BATCH_PHOTO_ENDED, example(names.BATCH_PHOTO_ENDED, **about))
        chunk = ids.chunk_of(index)
        rig.write(
            names.BATCH_PHOTO_ENDED, chunk % 2, value=value, key=ids.chunk_key(of, chunk).encode()
        )

    say(0, "review", of=other)
    say(0, "cancelled")
    say(0, "auto_labeled")
    say(1, "review", partial=True)
    say(4096, "suggested")
    known = {0: "auto_labeled", 1: "review", 2: "suggested", 4096: "suggested"}

    ends = KafkaEnds(infrastructure.kafka, codec.decode, prefix=prefix)
    found = ends.others(batch, datetime.now(UTC), known)

    assert [(one["index"], one["end"], one["partial"]) for one in found] == [
        (0, "cancelled", False),
        (1, "review", True),
    ]


def test_a_stage_is_given_up_once_its_real_groups_have_worked_on_the_request(
    database: str,
    conn: db.Conn,
    outbox: Outbox,
    codec: Codec,
    example: Example,
    rig: Rig,
    offsets: KafkaOffsets,
) -> None:
    world = World.of(database, conn, outbox, codec, example)
    world.groups = offsets  # type: ignore[assignment]
    world.reconciler = world.another()
    photo = world.photo()
    world.flow()
    world.requested(photo, seconds_ago=901)
    for topic in (names.PHOTO_OBJECTS_DETECTED, names.PHOTO_EMBEDDED):
        world.part(photo, topic)
    lane, *waits = OCR
    (retry,) = [hop for hop in waits if "ocr.retry-30s" in hop.topics[0]]
    rig.write(lane.topics[0], value=b"the request")
    rig.write(retry.topics[0], value=b"the request, once more")

    assert world.repaired(3) == {}, "nobody has read it"
    rig.work(lane)
    for hop in waits:
        if hop is not retry:
            rig.work(hop)
    assert world.repaired(3) == {}, "it waits for a retry"
    rig.work(Hop(retry.group, tuple(hop.topics[0] for hop in waits if hop.group == retry.group)))
    assert world.repaired(1) == {"deadlines": 1}
    assert world.flow() == [names.ANALYSIS_DEADLINE_REACHED]
    assert world.outcomes(photo) == [(1, "review", True)]
    world.session.close()
