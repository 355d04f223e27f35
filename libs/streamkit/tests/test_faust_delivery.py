"""A batch is published changes first, again and again until the broker has it, while it is ours."""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from typing import Any

import pytest
from aiokafka.errors import KafkaConnectionError, KafkaError
from aiokafka.partitioner import DefaultPartitioner
from aiokafka.structs import TopicPartition
from faust.exceptions import ProducerSendError

from streamkit.faust import delivery as delivering
from streamkit.faust.delivery import Delivery, Entry
from streamkit.faust.folding import Batch, Outgoing

CHANGELOG = "t.changelog"


class Broker:
    """Takes records; acknowledges at once, or what the test says."""

    def __init__(self) -> None:
        self.sent: list[tuple[str, int, list[bytes | None]]] = []
        self.refuse: list[Exception] = []
        self.lose: list[Exception] = []
        self.held: list[asyncio.Future[None]] = []
        self.hold = False

    async def partitions_of(self, topic: str) -> int:
        return 2 if topic == "t.other" else 4

    async def send_all(
        self, place: TopicPartition, records: Sequence[Entry]
    ) -> Sequence[Awaitable[Any]]:
        if self.refuse:
            raise self.refuse.pop(0)
        self.sent.append((place.topic, place.partition, [key for key, _, _ in records]))
        pending: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        if self.lose:
            pending.set_exception(self.lose.pop(0))
        elif self.hold:
            self.held.append(pending)
        else:
            pending.set_result(None)
        return [pending]


@pytest.fixture
def broker() -> Broker:
    return Broker()


@pytest.fixture
def delivery(broker: Broker, monkeypatch: pytest.MonkeyPatch) -> Delivery:
    monkeypatch.setattr(delivering, "_FIRST_DELAY_S", 0.0)
    return Delivery(lambda: broker, changelog=CHANGELOG, partitions=4, prefix="t.")


def batch(*events: Outgoing) -> Batch:
    return Batch(changes={1: {b"k1": b"s1", b"k2": None}, 3: {b"k3": b"s3"}}, events=[*events])


def event(topic: str = "done", key: bytes | None = b"k1", beside: int | None = 1) -> Outgoing:
    return Outgoing(topic, beside, key, b"value", [])


def always() -> bool:
    return True


CHANGES = [(CHANGELOG, 1, [b"k1", b"k2"]), (CHANGELOG, 3, [b"k3"])]


async def test_changes_of_the_table_are_there_before_the_events_are_sent(
    broker: Broker, delivery: Delivery
) -> None:
    broker.hold = True
    delivering_ = asyncio.create_task(delivery.deliver(batch(event()), always))
    await settle()
    assert broker.sent == CHANGES
    broker.held[0].set_result(None)
    await settle()
    assert broker.sent == CHANGES
    broker.held[1].set_result(None)
    await settle()
    assert broker.sent == [*CHANGES, ("t.done", 1, [b"k1"])]
    assert not delivering_.done()
    broker.held[2].set_result(None)
    assert await delivering_


async def settle() -> None:
    for _ in range(20):
        await asyncio.sleep(0)


async def test_events_of_one_partition_go_together_in_order(
    broker: Broker, delivery: Delivery
) -> None:
    events = [event(key=b"a"), event(key=b"b", beside=3), event(key=b"c")]
    assert await delivery.deliver(Batch(events=events), always)
    assert broker.sent == [("t.done", 1, [b"a", b"c"]), ("t.done", 3, [b"b"])]


async def test_a_key_decides_where_the_source_can_not(broker: Broker, delivery: Delivery) -> None:
    # By murmur2 "k1" is in partition 1, of 4 as well as of 2.
    events = [event(beside=None), event("other", beside=0)]
    await delivery.deliver(Batch(events=events), always)
    assert broker.sent == [("t.done", 1, [b"k1"]), ("t.other", 1, [b"k1"])]


async def test_of_keys_without_end_no_more_than_some_are_remembered(
    broker: Broker, delivery: Delivery, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(delivering, "_KNOWN_KEYS", 2)
    keys = [b"k1", b"k2", b"k3", b"k1"]
    await delivery.deliver(Batch(events=[event(key=one, beside=None) for one in keys]), always)
    by_key = {key: number for _, number, sent in broker.sent for key in sent}
    assert by_key == dict(_murmured(keys))
    assert len(delivery._known) <= 2


def _murmured(keys: list[bytes]) -> list[tuple[bytes, int]]:
    partition = DefaultPartitioner()
    return [(key, partition(key, [0, 1, 2, 3], [0, 1, 2, 3])) for key in keys]


async def test_a_record_without_a_key_goes_anywhere(broker: Broker, delivery: Delivery) -> None:
    await delivery.deliver(Batch(events=[event(key=None, beside=None)]), always)
    ((topic, partition, _),) = broker.sent
    assert topic == "t.done"
    assert 0 <= partition < 4


@pytest.mark.parametrize("error", [KafkaConnectionError("gone"), ProducerSendError("refused")])
@pytest.mark.parametrize("how", ["refuse", "lose"])
async def test_what_the_broker_does_not_take_is_sent_again_with_all_of_its_batch(
    broker: Broker, delivery: Delivery, error: Exception, how: str
) -> None:
    setattr(broker, how, [error])
    assert await delivery.deliver(batch(event()), always)
    assert broker.sent[-3:] == [*CHANGES, ("t.done", 1, [b"k1"])]
    assert len(broker.sent) == (4 if how == "refuse" else 5)
    assert not delivery.stuck


async def test_nothing_is_sent_again_while_an_earlier_sending_may_still_arrive(
    broker: Broker, delivery: Delivery
) -> None:
    broker.hold, broker.lose = True, [KafkaError("lost")]
    sending = asyncio.create_task(delivery.deliver(batch(), always))
    await settle()
    assert broker.sent == CHANGES
    broker.held[0].set_result(None)
    broker.hold = False
    assert await sending
    assert broker.sent == [*CHANGES, *CHANGES]


async def test_while_the_broker_refuses_it_is_stuck_and_says_so(
    broker: Broker, delivery: Delivery, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(delivering, "_FIRST_DELAY_S", 0.001)
    broker.refuse = [KafkaError("no")] * 1000
    sending = asyncio.create_task(delivery.deliver(batch(), always))
    await settle()
    assert delivery.stuck
    broker.refuse.clear()
    assert await sending
    assert not delivery.stuck


def until(times: int) -> Callable[[], bool]:
    """Ours, so many times."""
    answers = iter([True] * times)
    return lambda: next(answers, False)


@pytest.mark.parametrize(("times", "sent"), [(0, 0), (1, 2), (2, 3)])
async def test_what_is_not_ours_any_more_is_not_sent(
    broker: Broker, delivery: Delivery, times: int, sent: int
) -> None:
    assert not await delivery.deliver(batch(event()), until(times))
    assert len(broker.sent) == sent


async def test_what_is_stuck_and_not_ours_any_more_is_given_up(
    broker: Broker, delivery: Delivery
) -> None:
    broker.lose = [KafkaError("lost")]
    assert not await delivery.deliver(batch(event()), until(1))
    assert broker.sent == CHANGES
    assert not delivery.stuck


async def test_events_without_a_cause_are_published_once(
    broker: Broker, delivery: Delivery
) -> None:
    await delivery.publish([event(beside=None)])
    assert broker.sent == [("t.done", 1, [b"k1"])]
    broker.lose = [KafkaError("lost")]
    with pytest.raises(KafkaError):
        await delivery.publish([event()])


async def test_a_defect_while_sending_is_raised(broker: Broker, delivery: Delivery) -> None:
    broker.lose = [ValueError("a defect")]
    with pytest.raises(ValueError, match="a defect"):
        await delivery.deliver(batch(), always)


def test_delays_double_up_to_a_limit() -> None:
    assert [delivering._delay_s(attempt) for attempt in (0, 1, 2, 50)] == [0.1, 0.2, 0.4, 5.0]
