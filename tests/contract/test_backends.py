"""What ports.py promises of a log holds for Kafka, under both group protocols, and for memory."""

from collections.abc import Iterator
from uuid import NAMESPACE_URL, uuid5

import pytest

from infrastructure import Infrastructure
from log_places import GROUP, TOPIC, Group, KafkaPlace, MemoryPlace, Place, record
from streamkit.errors import Reject
from streamkit.memory.partitioner import partition_of
from streamkit.ports import ConsumerLostError, Delivery
from streamkit.publishing import MAX_MESSAGE_BYTES
from streamkit.records import Partition, RawRecord


@pytest.fixture(params=["kafka-consumer", "kafka-classic", "memory"])
def place(request: pytest.FixtureRequest) -> Place:
    if request.param == "memory":
        return MemoryPlace()
    infrastructure: Infrastructure = request.getfixturevalue("infrastructure")
    return KafkaPlace(infrastructure.kafka, request.param.removeprefix("kafka-"))


@pytest.fixture
def group(place: Place) -> Iterator[Group]:
    group = Group(place)
    yield group
    for member in group.members:
        member.consumer.close()
    group.producer.close()


# -- records ------------------------------------------------------------------------------------


def test_a_record_comes_as_it_was_sent(group: Group) -> None:
    (only,) = group.fill(1, 0)
    headers = [("ce_id", b"1"), ("empty", b""), ("ce_id", b"2")]
    group.send(RawRecord(TOPIC, b"key", None, headers))
    group.send(RawRecord(TOPIC, None, b"value", []))
    member = group.join("a")
    group.until(lambda: len(member.records) == 2)
    first, second = member.records
    assert (first.place, first.offset) == (only, 0)
    assert (first.key, first.value, first.headers) == (b"key", None, headers)
    assert first.timestamp_ms > 1_600_000_000_000
    assert (second.offset, second.key, second.value, second.headers) == (1, None, b"value", [])


def test_records_of_a_key_come_in_their_order(group: Group) -> None:
    group.place.make_topic(TOPIC, 4)
    member = group.join("a")
    for n in range(40):
        group.send(record(f"key {n % 5}", str(n)))
    group.until(lambda: len(member.records) == 40)
    for key in {one.key for one in member.records}:
        values = [int(one.value or b"") for one in member.records if one.key == key]
        assert values == sorted(values)
        assert len(values) == 8


def test_no_more_records_come_than_asked_for(group: Group) -> None:
    group.fill(1, 10)
    member = group.join("a")
    member.most = 3
    group.until(lambda: len(member.records) == 10)
    assert [one.offset for one in member.records] == list(range(10))


def test_asking_for_none_still_serves_the_group_and_loses_nothing(group: Group) -> None:
    group.fill(1, 3)
    member = group.join("a")
    member.most = 0
    group.until(lambda: bool(member.has))
    for _ in range(5):
        member.step()
    member.most = 2
    group.until(lambda: len(member.records) == 3)
    assert [one.offset for one in member.records] == [0, 1, 2]


# -- offsets ------------------------------------------------------------------------------------


def test_what_is_stored_is_committed_soon(group: Group) -> None:
    (only,) = group.fill(1, 10)
    member = group.join("a")
    group.until(lambda: len(member.records) == 10)
    assert group.place.committed() == {}
    member.consumer.store({only: 4})
    group.until(lambda: group.place.committed() == {only: 4})


def test_the_next_one_begins_after_what_was_committed(group: Group) -> None:
    (only,) = group.fill(1, 10)
    first = group.join("a")
    group.until(lambda: len(first.records) == 10)
    first.consumer.store({only: 4})
    first.answer = {only: 6}
    group.leave(first)
    assert group.trail[-1] == ("a", "revoked", only)
    assert group.place.committed() == {only: 6}
    second = group.join("b")
    group.until(lambda: bool(second.records))
    assert second.records[0].offset == 6


def test_a_partition_goes_to_another_once_its_offset_is_committed(group: Group) -> None:
    places = group.fill(2, 10)
    first = group.join("a")
    group.until(lambda: len(first.records) == 20)
    first.answer = dict.fromkeys(places, 7)
    second = group.join("b")
    group.until(lambda: bool(second.has) and bool(second.of(next(iter(second.has)))))
    (moved,) = second.has
    (kept,) = first.has
    assert {moved, kept} == set(places)
    revoked, assigned = ("a", "revoked", moved), ("b", "assigned", moved)
    assert group.trail.index(revoked) < group.trail.index(assigned)
    assert second.of(moved)[0].offset == 7
    assert group.place.committed() == {moved: 7}
    assert ("a", "revoked", kept) not in group.trail


def test_a_member_that_leaves_amid_a_rebalance_has_its_work_committed(group: Group) -> None:
    places = group.fill(2, 10)
    first = group.join("a")
    group.until(lambda: len(first.records) == 20)
    first.answer = dict.fromkeys(places, 7)
    group.join("b")
    group.until(lambda: len(first.has) == 1)
    (kept,) = first.has
    first.answer = {kept: 9}
    group.leave(first)
    (moved,) = set(places) - {kept}
    assert group.place.committed() == {moved: 7, kept: 9}


def test_what_comes_late_for_a_partition_that_is_gone_does_no_harm(group: Group) -> None:
    places = group.fill(2, 3)
    first = group.join("a")
    group.until(lambda: len(first.records) == 6)
    second = group.join("b")
    group.until(lambda: bool(second.has) and len(second.of(next(iter(second.has)))) == 3)
    (moved,) = second.has
    (kept,) = first.has
    first.consumer.store({moved: 3, kept: 2})
    first.consumer.pause([moved])
    first.consumer.resume([moved])
    first.consumer.store({Partition("unheard.of", 9): 1})
    group.until(lambda: group.place.committed().get(kept) == 2)
    assert set(places) == {moved, kept}
    assert moved not in group.place.committed()


# -- pausing ------------------------------------------------------------------------------------


def test_a_paused_partition_brings_nothing_until_it_is_resumed(group: Group) -> None:
    paused, other = group.fill(2, 2)
    member = group.join("a")
    group.until(lambda: len(member.records) == 4)
    member.consumer.pause([paused])
    group.add(paused, 2)
    group.add(other, 2)
    group.until(lambda: len(member.of(other)) == 4)
    group.add(other, 2)
    group.until(lambda: len(member.of(other)) == 6)
    assert len(member.of(paused)) == 2
    member.consumer.resume([paused])
    group.until(lambda: len(member.of(paused)) == 4)
    assert [one.offset for one in member.of(paused)] == [0, 1, 2, 3]


def test_a_pause_outlives_a_rebalance_but_not_a_new_assignment(group: Group) -> None:
    places = group.fill(2, 2)
    first = group.join("a")
    group.until(lambda: len(first.records) == 4)
    first.answer = dict.fromkeys(places, 2)
    first.consumer.pause(places)
    second = group.join("b")
    group.until(lambda: len(first.has) == 1 and len(second.has) == 1)
    (kept,), (moved,) = first.has, second.has
    second.answer = {moved: 2}
    group.leave(second)
    group.until(lambda: len(first.has) == 2)
    group.add(kept, 1)
    group.add(moved, 1)
    group.until(lambda: len(first.of(moved)) == 3)
    assert len(first.of(kept)) == 2
    first.consumer.resume([kept])
    group.until(lambda: len(first.of(kept)) == 3)
    assert [one.offset for one in first.of(moved)] == [0, 1, 2]


# -- losing partitions --------------------------------------------------------------------------


def test_a_member_that_stands_still_loses_its_partitions_and_comes_back(group: Group) -> None:
    places = group.fill(2, 3)
    still = group.join("a")
    group.until(lambda: len(still.records) == 6)
    other = group.join("b")
    group.until(lambda: len(still.has) == 1 and len(other.has) == 1)
    (gone,) = still.has
    group.until(lambda: len(other.has) == 2, other)
    assert other.has == set(places)
    group.until(lambda: ("a", "lost", gone) in group.trail)
    assert ("a", "revoked", gone) not in group.trail
    still.consumer.store({gone: 3})
    group.until(lambda: len(still.has) == 1 and len(other.has) == 1)
    assert group.place.committed() == {}


# -- publishing ---------------------------------------------------------------------------------


def test_each_ticket_comes_back_once_all_of_its_records_are_there(group: Group) -> None:
    group.place.make_topic(TOPIC, 2)
    sent = {1: 1, 2: 0, 3: 25, 4: 2}
    for ticket, records in sent.items():
        group.producer.send(ticket, [record(str(n)) for n in range(records)])
    group.producer.flush(20)
    deliveries = group.producer.poll(0)
    assert sorted(deliveries) == [Delivery(ticket, None, 0) for ticket in sent]
    assert group.producer.poll(0) == []
    member = group.join("a")
    group.until(lambda: len(member.records) >= sum(sent.values()))
    assert len(member.records) == sum(sent.values())


def test_what_no_broker_takes_is_rejected_and_keeps_nobody_else(group: Group) -> None:
    group.place.make_topic(TOPIC, 1)
    large = record("large", "x" * (MAX_MESSAGE_BYTES + 1))
    rejected = group.send(record("1"), large, record("2"))
    assert isinstance(rejected.error, Reject)
    assert rejected.error.code == "too_large"
    assert group.send(record("3")).error is None
    member = group.join("a")
    group.until(lambda: "3" in [(one.key or b"").decode() for one in member.records])
    assert b"large" not in [one.key for one in member.records]


def test_a_topic_that_keeps_the_time_of_appending_tells_it(group: Group) -> None:
    group.place.make_topic(TOPIC, 1, append_time=True)
    delivery = group.send(record("1"), record("2"))
    member = group.join("a")
    group.until(lambda: len(member.records) == 2)
    assert delivery.appended_ms == member.records[1].timestamp_ms


def test_a_key_has_the_same_partition_everywhere(group: Group) -> None:
    group.place.make_topic(TOPIC, 7)
    keys = ["", "ä" * 300, *(str(uuid5(NAMESPACE_URL, str(n))) for n in range(200))]
    group.send(*(record(key) for key in keys))
    member = group.join("a")
    group.until(lambda: len(member.records) == len(keys))
    found = {one.key: one.partition for one in member.records}
    assert found == {key.encode(): partition_of(key.encode(), 7) for key in keys}
    assert set(found.values()) == set(range(7))


def test_groups_do_not_know_of_each_other(group: Group) -> None:
    (only,) = group.fill(1, 2)
    first = group.join("a")
    other = group.join("b")
    other.consumer.close()
    other.consumer = group.place.backend.consumer(f"{GROUP}.other", [TOPIC], other)
    group.until(lambda: len(first.of(only)) == 2 and len(other.of(only)) == 2)
    first.consumer.store({only: 2})
    group.until(lambda: group.place.committed() == {only: 2})


# -- slots: the classic protocol of Kafka alone -------------------------------------------------


@pytest.fixture
def slots(infrastructure: Infrastructure) -> Iterator[tuple[KafkaPlace, Group]]:
    place = KafkaPlace(infrastructure.kafka, "classic")
    group = Group(place)
    yield place, group
    for member in group.members:
        member.consumer.close()
    group.producer.close()


def test_a_restarted_worker_has_the_partitions_of_its_slot_again(
    slots: tuple[KafkaPlace, Group],
) -> None:
    place, group = slots
    group.fill(2, 3)
    first = group.join("a", place.at_slot(member="slot-1"))
    group.join("b", place.at_slot(member="slot-2"))
    group.until(lambda: all(len(member.has) == 1 for member in group.members))
    before = set(first.has)
    first.answer = dict.fromkeys(before, 2)
    so_far = len(group.trail)
    group.leave(first)
    again = group.join("a again", place.at_slot(member="slot-1"))
    group.until(lambda: bool(again.records))
    assert again.has == before
    assert again.records[0].offset == 2
    assert [what for name, what, _ in group.trail[so_far:] if name == "b"] == []


def test_of_two_processes_with_one_slot_the_older_stops(slots: tuple[KafkaPlace, Group]) -> None:
    place, group = slots
    group.fill(2, 3)
    older = group.join("older", place.at_slot(member="slot-1"))
    group.until(lambda: len(older.has) == 2)
    newer = group.join("newer", place.at_slot(member="slot-1"))
    with pytest.raises(ConsumerLostError):
        group.until(lambda: False)
    group.leave(older)
    group.until(lambda: len(newer.has) == 2)
