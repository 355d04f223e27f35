"""How records come from Faust: none thrown away, none worked on out of its term."""

import asyncio
from collections.abc import AsyncIterator
from types import SimpleNamespace
from typing import Any

from mode.utils.queues import FlowControlQueue

from aggregator.agents import consume
from aggregator.consuming import KeepingFlow
from aggregator.delivery import Acknowledgement, Delivery, Outgoing
from streamkit import Busy


def test_resuming_keeps_what_was_fetched_and_clearing_does_not() -> None:
    flow = KeepingFlow()
    queue: Any = FlowControlQueue(flow_control=flow, clear_on_resume=True)
    flow.suspend()
    queue.force_put_nowait("record")
    flow.resume()
    assert flow.is_active()
    assert queue.qsize() == 1
    assert flow.cleared == 0
    flow.clear()
    assert flow.cleared == 1
    assert queue.qsize() == 0


class Term:
    """A term that ends when the test says so."""

    def __init__(self) -> None:
        self.number = 1

    def term(self) -> int:
        return self.number

    def holds(self, term: int) -> bool:
        return self.number == term


class Event:
    """A consumed record as Faust gives it."""

    def __init__(self) -> None:
        self.message = SimpleNamespace(timestamp=0.0)
        self.acknowledged = False

    def ack(self) -> None:
        self.acknowledged = True


class Stream:
    """A Faust stream of some records."""

    def __init__(self, *events: Event) -> None:
        self._events = events

    def noack(self) -> "Stream":
        return self

    async def events(self) -> AsyncIterator[Event]:
        for event in self._events:
            yield event


class Work:
    """Work that only counts; while `busy`, what it needs is away."""

    lane = "test"

    def __init__(self, term: Term, *, busy: bool = False) -> None:
        self.worked = 0
        self._term = term
        self._busy = busy

    def records_of(self, _message: Any) -> list[Outgoing]:
        if self._busy:
            self._term.number += 1
            raise Busy("away, and meanwhile the partitions go")
        self.worked += 1
        return [Outgoing("topic", b"key", b"value")]


async def acknowledged_at_once(_record: Outgoing) -> Acknowledgement:
    pending: Acknowledgement = asyncio.get_running_loop().create_future()
    pending.set_result(None)
    return pending


async def worked_through(event: Event, work: Work, term: Term) -> None:
    delivery = Delivery(acknowledged_at_once, limit=10)
    await consume(Stream(event), work, delivery, term)  # type: ignore[arg-type]
    running = asyncio.create_task(delivery.run())
    await delivery.close(1)
    running.cancel()


async def test_a_record_is_acknowledged_in_the_term_in_which_it_came() -> None:
    term, event = Term(), Event()
    await worked_through(event, Work(term), term)
    assert event.acknowledged


async def test_a_record_whose_term_ended_before_it_was_worked_on_is_left_alone() -> None:
    term, event = Term(), Event()
    work = Work(term, busy=True)
    await worked_through(event, work, term)
    assert work.worked == 0
    assert not event.acknowledged


async def test_a_record_whose_term_ended_while_it_waited_for_room_is_not_sent() -> None:
    term, first, waiting, sent = Term(), Event(), Event(), list[Outgoing]()

    async def send(record: Outgoing) -> Acknowledgement:
        sent.append(record)
        return await acknowledged_at_once(record)

    delivery = Delivery(send, limit=1)
    stream: Any = Stream(first, waiting)
    consuming = asyncio.create_task(consume(stream, Work(term), delivery, term))  # type: ignore[arg-type]
    for _ in range(20):
        await asyncio.sleep(0)
    assert len(sent) == 1
    term.number += 1
    running = asyncio.create_task(delivery.run())
    await consuming
    await delivery.close(1)
    running.cancel()
    assert len(sent) == 1
    assert not waiting.acknowledged


async def test_a_record_whose_term_ended_while_it_was_published_is_not_acknowledged() -> None:
    term, event = Term(), Event()
    delivery = Delivery(acknowledged_at_once, limit=10)
    await consume(Stream(event), Work(term), delivery, term)  # type: ignore[arg-type]
    term.number += 1
    running = asyncio.create_task(delivery.run())
    await delivery.close(1)
    running.cancel()
    assert not event.acknowledged
