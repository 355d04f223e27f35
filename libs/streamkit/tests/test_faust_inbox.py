"""Records wait in an inbox by chunks, in order, and never two epochs together."""

import asyncio

from streamkit.faust.inbox import Chunk, Inbox


def chunk(epoch: int, *records: int, place: str = "p") -> Chunk:
    return Chunk(place, epoch, list(records))


def numbers(chunks: list[Chunk]) -> list[int]:
    return [record for one in chunks for record in one.records]


async def test_records_come_out_as_they_went_in_and_no_more_than_asked_for() -> None:
    inbox = Inbox(100)
    inbox.put(chunk(1, 1, 2, 3, place="a"))
    inbox.put(chunk(1, 4, 5, place="b"))
    first = await inbox.take(4)
    assert [(one.place, list(one.records)) for one in first] == [("a", [1, 2, 3]), ("b", [4])]
    second = await inbox.take(4)
    assert [(one.place, list(one.records)) for one in second] == [("b", [5])]


async def test_taking_waits_for_a_first_record() -> None:
    inbox = Inbox(100)
    taking = asyncio.create_task(inbox.take(10))
    await asyncio.sleep(0)
    assert not taking.done()
    inbox.put(chunk(1, 7))
    assert numbers(await taking) == [7]


async def test_records_of_two_epochs_are_not_taken_together() -> None:
    inbox = Inbox(100)
    inbox.put(chunk(1, 1))
    inbox.put(chunk(2, 2))
    assert numbers(await inbox.take(10)) == [1]
    assert numbers(await inbox.take(10)) == [2]


async def test_there_is_room_until_it_holds_what_it_shall() -> None:
    inbox = Inbox(3)
    inbox.put(chunk(1, 1, 2))
    await inbox.room()
    inbox.put(chunk(1, 3, 4))
    waiting = asyncio.create_task(inbox.room())
    await asyncio.sleep(0)
    assert not waiting.done()
    await inbox.take(1)
    await asyncio.sleep(0)
    assert not waiting.done()
    await inbox.take(1)
    await waiting


async def test_gathering_ends_with_its_time_or_when_there_is_enough() -> None:
    inbox = Inbox(100)
    inbox.put(chunk(1, 1))
    await inbox.gather(2, 0.0)
    await inbox.gather(2, -1.0)
    await inbox.gather(2, 0.01)
    gathering = asyncio.create_task(inbox.gather(2, 3600.0))
    await asyncio.sleep(0)
    assert not gathering.done()
    inbox.put(chunk(1, 2))
    async with asyncio.timeout(10):
        await gathering
    await inbox.gather(2, 3600.0)
