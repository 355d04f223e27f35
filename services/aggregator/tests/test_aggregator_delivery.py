"""Publishing in order, and acknowledging only what the broker has."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest
from aiokafka.errors import KafkaConnectionError

from aggregator import delivery as delivering
from aggregator.delivery import Acknowledgement, Delivery, Outgoing


class Broker:
    """Takes records; acknowledges when told to, or at once."""

    def __init__(self, *, at_once: bool = False) -> None:
        self.at_once = at_once
        self.away = False
        self.sent: list[str] = []
        self.open: list[Acknowledgement] = []

    async def __call__(self, record: Outgoing) -> Acknowledgement:
        if self.away:
            raise KafkaConnectionError("no broker")
        self.sent.append(record.topic)
        pending: Acknowledgement = asyncio.get_running_loop().create_future()
        if self.at_once:
            pending.set_result(None)
        self.open.append(pending)
        return pending

    def acknowledge(self, number: int) -> None:
        self.open[number].set_result(None)

    def lose(self, number: int) -> None:
        self.open[number].set_exception(KafkaConnectionError("connection lost"))


def records(*topics: str) -> list[Outgoing]:
    return [Outgoing(topic, b"key", b"value") for topic in topics]


@asynccontextmanager
async def running(delivery: Delivery) -> AsyncIterator[list[str]]:
    """What has been acknowledged to the source, in order."""
    task = asyncio.create_task(delivery.run())
    yield []
    task.cancel()


async def settle() -> None:
    """Let everything that can go on do so."""
    for _ in range(20):
        await asyncio.sleep(0)


async def test_the_source_is_acknowledged_in_order_whatever_the_brokers_order() -> None:
    broker = Broker()
    delivery = Delivery(broker, limit=10)
    async with running(delivery) as done:
        await delivery.admit(records("first"), lambda: done.append("first"))
        await delivery.admit(records("second"), lambda: done.append("second"))
        broker.acknowledge(1)
        await settle()
        assert done == []
        broker.acknowledge(0)
        await settle()
        assert done == ["first", "second"]


async def test_a_record_is_not_acknowledged_before_all_that_it_caused_is_published() -> None:
    broker = Broker()
    delivery = Delivery(broker, limit=10)
    async with running(delivery) as done:
        await delivery.admit(records("changelog", "outcome", "ended"), lambda: done.append("it"))
        broker.acknowledge(0)
        broker.acknowledge(2)
        await settle()
        assert done == []
        broker.acknowledge(1)
        await settle()
        assert done == ["it"]


async def test_a_record_that_causes_nothing_is_acknowledged_in_its_turn() -> None:
    broker = Broker()
    delivery = Delivery(broker, limit=10)
    async with running(delivery) as done:
        await delivery.admit(records("first"), lambda: done.append("first"))
        await delivery.admit([], lambda: done.append("nothing"))
        await settle()
        assert done == []
        broker.acknowledge(0)
        await settle()
        assert done == ["first", "nothing"]


async def test_what_the_broker_lost_and_all_after_it_is_sent_again_in_order() -> None:
    broker = Broker()
    delivery = Delivery(broker, limit=10)
    async with running(delivery) as done:
        for name in ("a", "b", "c"):
            await delivery.admit(records(name), lambda name=name: done.append(name))  # type: ignore[misc]
        broker.acknowledge(0)
        broker.acknowledge(2)
        broker.lose(1)
        await settle()
        assert done == ["a"]
        assert delivery.stuck
        broker.at_once = True
        await delivery.admit(records("d"), lambda: done.append("d"))
        await settle()
        assert broker.sent == ["a", "b", "c", "b", "c", "d"]
        assert done == ["a", "b", "c", "d"]
        assert not delivery.stuck


async def test_nothing_is_sent_again_while_an_earlier_sending_of_it_may_still_arrive(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(delivering, "_FIRST_DELAY_S", 0.0)
    broker = Broker()
    delivery = Delivery(broker, limit=10)
    async with running(delivery) as done:
        await delivery.admit(records("a"), lambda: done.append("a"))
        await delivery.admit(records("b"), lambda: done.append("b"))
        broker.lose(0)
        await settle()
        assert broker.sent == ["a", "b"]
        broker.acknowledge(1)
        await settle()
        assert broker.sent == ["a", "b", "a", "b"]


class Log:
    """A partition of a changelog: its values in order; takes none while `losing`."""

    def __init__(self) -> None:
        self.values: list[str] = []
        self.losing = False

    async def __call__(self, record: Outgoing) -> Acknowledgement:
        pending: Acknowledgement = asyncio.get_running_loop().create_future()
        if self.losing:
            pending.set_exception(KafkaConnectionError("connection lost"))
        else:
            self.values.append((record.value or b"").decode())
            pending.set_result(None)
        return pending


async def test_an_older_state_is_not_sent_again_after_the_next_owners_newer_one(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(delivering, "_FIRST_DELAY_S", 0.0)
    log, ours = Log(), True
    first, second = Delivery(log, limit=10), Delivery(log, limit=10)
    async with running(first) as by_first, running(second) as by_second:
        log.losing = True
        old = [Outgoing("changelog", b"key", b"old")]
        await first.admit(old, lambda: by_first.append("old"), lambda: ours)
        await settle()
        assert first.stuck
        ours, log.losing = False, False
        new = [Outgoing("changelog", b"key", b"new")]
        await second.admit(new, lambda: by_second.append("new"), lambda: True)
        await settle()
        assert log.values == ["new"]
        assert by_second == ["new"]
        assert not first.stuck


async def test_what_is_not_ours_before_it_is_sent_is_dropped_and_makes_room() -> None:
    broker = Broker()
    delivery = Delivery(broker, limit=1)
    async with running(delivery) as done:
        await delivery.admit(records("lost"), lambda: done.append("lost"), lambda: False)
        await delivery.admit(records("kept"), lambda: done.append("kept"), lambda: True)
        broker.acknowledge(0)
        await settle()
        assert broker.sent == ["kept"]
        assert done == ["lost", "kept"]


async def test_of_a_record_whose_term_ends_in_the_middle_the_rest_is_not_sent() -> None:
    broker = Broker(at_once=True)
    delivery = Delivery(broker, limit=10)
    async with running(delivery) as done:
        changes = records("changelog", "outcome")
        await delivery.admit(changes, lambda: done.append("it"), lambda: not broker.sent)
        await settle()
        assert broker.sent == ["changelog"]


async def test_while_the_broker_is_away_nothing_is_acknowledged_and_nothing_is_lost() -> None:
    broker = Broker(at_once=True)
    broker.away = True
    delivery = Delivery(broker, limit=10)
    async with running(delivery) as done:
        await delivery.admit(records("a"), lambda: done.append("a"))
        await settle()
        assert done == []
        assert delivery.stuck
        broker.away = False
        await delivery.admit(records("b"), lambda: done.append("b"))
        await settle()
        assert done == ["a", "b"]
        assert broker.sent == ["a", "b"]


async def test_no_more_than_the_limit_is_in_flight() -> None:
    broker = Broker()
    delivery = Delivery(broker, limit=2)
    async with running(delivery) as done:
        await delivery.admit(records("a"), lambda: done.append("a"))
        await delivery.admit(records("b"), lambda: done.append("b"))
        third = asyncio.create_task(delivery.admit(records("c"), lambda: done.append("c")))
        await settle()
        assert broker.sent == ["a", "b"]
        broker.acknowledge(0)
        await settle()
        assert broker.sent == ["a", "b", "c"]
        assert third.done()


async def test_closing_waits_for_what_is_in_flight_and_admits_nothing_more() -> None:
    broker = Broker()
    delivery = Delivery(broker, limit=10)
    async with running(delivery) as done:
        await delivery.admit(records("a"), lambda: done.append("a"))
        closing = asyncio.create_task(delivery.close(5))
        await settle()
        late = asyncio.create_task(delivery.admit(records("late"), lambda: done.append("late")))
        await settle()
        assert not closing.done()
        broker.acknowledge(0)
        await closing
        assert done == ["a"]
        assert broker.sent == ["a"]
        late.cancel()


async def test_closing_gives_up_waiting_after_its_time() -> None:
    delivery = Delivery(Broker(), limit=10)
    async with running(delivery) as done:
        await delivery.admit(records("a"), lambda: done.append("a"))
        await delivery.close(0.01)
        assert done == []
