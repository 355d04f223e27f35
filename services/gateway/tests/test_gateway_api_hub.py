"""Fan-out of news: everyone gets the newest state, nobody holds up the others."""

import asyncio
from collections.abc import Mapping, Sequence
from uuid import UUID

import pytest

from gateway.api.feed import Feed, parse_notices
from gateway.api.hub import SHUTTING_DOWN, TOO_SLOW, Closed, Hub, Notice, Thing
from gateway.catalog.changes import Change

ADA, BEN = "ada", "ben"
CAT, DOG, BATCH = UUID(int=1), UUID(int=2), UUID(int=3)


class Shelf:
    """States to load, and how often that was done."""

    def __init__(self) -> None:
        self.loaded: list[list[Thing]] = []
        self.kept_from: dict[str, set[Thing]] = {}

    async def load(self, owner: str, things: Sequence[Thing]) -> Mapping[Thing, str]:
        self.loaded.append(list(things))
        shown = [each for each in things if each not in self.kept_from.get(owner, ())]
        return {thing: f"{thing[0]} {thing[1].int} v{len(self.loaded)}" for thing in shown}


@pytest.fixture
def shelf() -> Shelf:
    return Shelf()


@pytest.fixture
def hub(shelf: Shelf) -> Hub:
    return Hub(shelf.load, bound=3)


async def test_filters_let_through_what_was_asked_for(hub: Hub) -> None:
    notices = [
        Notice("photo", CAT),
        Notice("photo", DOG, frozenset([BATCH])),
        Notice("batch", BATCH),
    ]
    with (
        hub.subscribe(ADA) as everything,
        hub.subscribe(ADA, photo=CAT) as cat,
        hub.subscribe(ADA, batch=BATCH) as batch,
    ):
        await hub.deliver(notices)
        assert await everything.take() == ["photo 1 v1", "photo 2 v1", "batch 3 v1"]
        assert await cat.take() == ["photo 1 v1"]
        assert await batch.take() == ["photo 2 v1", "batch 3 v1"]


async def test_what_people_should_know_goes_to_those_who_follow_everything(hub: Hub) -> None:
    with (
        hub.subscribe(ADA) as everything,
        hub.subscribe(ADA, photo=CAT) as cat,
        hub.subscribe(ADA, batch=CAT) as batch,
    ):
        await hub.deliver([Notice("notice", CAT)])
        assert await everything.take() == ["notice 1 v1"]
        for other in (cat, batch):
            await other.changed(0.01)
            assert other._waiting == {}


async def test_nothing_is_loaded_when_nobody_listens(hub: Hub, shelf: Shelf) -> None:
    await hub.deliver([Notice("photo", CAT)])
    with hub.subscribe(ADA, photo=DOG):
        await hub.deliver([Notice("photo", CAT)])
    assert shelf.loaded == []


async def test_one_look_serves_all_listeners(hub: Hub, shelf: Shelf) -> None:
    with hub.subscribe(ADA), hub.subscribe(ADA), hub.subscribe(ADA, photo=CAT):
        await hub.deliver([Notice("photo", CAT), Notice("photo", CAT, frozenset([BATCH]))])
    assert shelf.loaded == [[("photo", CAT)]]


async def test_each_owner_is_told_what_they_have(hub: Hub, shelf: Shelf) -> None:
    shelf.kept_from[BEN] = {("photo", CAT)}
    with hub.subscribe(ADA) as ada, hub.subscribe(BEN) as ben:
        await hub.deliver([Notice("photo", CAT)])
        assert len(await ada.take()) == 1
        await ben.changed(0.01)
        assert ben._waiting == {}
    assert hub.owners == {ADA, BEN}


async def test_a_slow_client_gets_the_newest_state_once(hub: Hub) -> None:
    with hub.subscribe(ADA) as slow:
        for _ in range(9):
            await hub.deliver([Notice("photo", CAT)])
        assert await slow.take() == ["photo 1 v9"]


async def test_a_client_too_far_behind_is_closed_and_the_others_are_not(hub: Hub) -> None:
    with hub.subscribe(ADA) as slow, hub.subscribe(ADA, photo=CAT) as other:
        await hub.deliver([Notice("photo", UUID(int=each)) for each in range(4)])
        with pytest.raises(Closed) as caught:
            await slow.take()
        assert caught.value.code == TOO_SLOW
        assert await other.take() == ["photo 1 v1"]


async def test_nothing_is_kept_for_a_client_that_was_closed(hub: Hub) -> None:
    with hub.subscribe(ADA) as slow:
        await hub.deliver([Notice("photo", UUID(int=each)) for each in range(4)])
        assert slow._waiting == {}
        await hub.deliver([Notice("photo", CAT)])
        slow.offer_first(("photo", DOG), "old")
        assert slow._waiting == {}


async def test_the_state_at_the_beginning_does_not_replace_news(hub: Hub) -> None:
    with hub.subscribe(ADA) as one:
        await hub.deliver([Notice("photo", CAT)])
        one.offer_first(("photo", CAT), "old")
        one.offer_first(("photo", DOG), "the only one")
        assert await one.take() == ["photo 1 v1", "the only one"]


async def test_stopping_ends_those_who_wait_and_those_who_come_later(hub: Hub) -> None:
    with hub.subscribe(ADA) as waiting:
        taking = asyncio.create_task(waiting.take())
        await asyncio.sleep(0)
        hub.close()
        with pytest.raises(Closed) as caught:
            await taking
    assert caught.value.code == SHUTTING_DOWN
    with hub.subscribe(ADA) as late, pytest.raises(Closed):
        await late.take()


async def test_waiting_for_a_change_ends_with_the_time(hub: Hub) -> None:
    with hub.subscribe(ADA, photo=CAT) as cat:
        await cat.changed(0.01)
        await hub.deliver([Notice("photo", CAT)])
        await asyncio.wait_for(cat.changed(60), 1)


def test_messages_of_the_recorder_are_understood_and_others_passed_over() -> None:
    told = f'{{"type":"photo","photo_id":"{CAT}","analysis_id":"x","batches":["{BATCH}"]}}'
    assert parse_notices(told.encode()) == [Notice("photo", CAT, frozenset([BATCH]))]
    batch = f'{{"type":"batch","batch_id":"{BATCH}"}}'
    assert parse_notices(batch.encode()) == [Notice("batch", BATCH)]
    told = f'{{"type":"notice","notice_id":"{DOG}"}}'
    assert parse_notices(told.encode()) == [Notice("notice", DOG)]
    both = parse_notices(f"[{batch},{told}]".encode())
    assert both == [Notice("batch", BATCH), Notice("notice", DOG)]
    for foreign in (
        b"",
        b"[]",
        b"7",
        b'{"type":"photo"}',
        b'{"type":"photo","photo_id":4}',
        b"\xff",
    ):
        assert parse_notices(foreign) == []


class Silent:
    """A subscription that brings nothing and breaks at the third look."""

    looks = 0

    async def get_message(self, timeout: float) -> None:  # noqa: ASYNC109  # redis's own name
        self.looks += 1
        if self.looks == 3:
            raise ConnectionError


@pytest.mark.parametrize(("every_s", "times"), [(0.0, 3), (3600.0, 1)])
async def test_the_catalog_is_looked_into_now_and_then_while_redis_is_silent(
    monkeypatch: pytest.MonkeyPatch, every_s: float, times: int
) -> None:
    monkeypatch.setattr("gateway.api.feed.SAFETY_POLL_S", every_s)
    looks: list[str] = []

    async def look() -> Sequence[Change]:
        looks.append("look")
        return []

    async def deliver(_notices: Sequence[Notice]) -> None: ...

    feed = Feed("redis://127.0.0.1:1", "events", look, deliver)
    with pytest.raises(ConnectionError):
        await feed._follow(Silent())
    assert len(looks) == times


async def test_what_people_should_know_is_told_once_whichever_way_it_comes() -> None:
    told: list[UUID] = []
    by_look, by_redis = Notice("notice", CAT), Notice("notice", DOG)

    async def look() -> Sequence[Change]:
        return [Change("notice", CAT, "", frozenset()), Change("notice", DOG, "", frozenset())]

    async def deliver(notices: Sequence[Notice]) -> None:
        told.extend(each.id for each in notices)

    feed = Feed("redis://127.0.0.1:1", "events", look, deliver)
    await feed._pass_on([by_redis, Notice("photo", CAT)])
    await feed.poll()
    await feed._pass_on([by_look, by_redis, Notice("photo", CAT)])
    assert told == [DOG, CAT, CAT, CAT]


async def test_without_redis_only_what_changed_is_told() -> None:
    found = [Change("photo", CAT, "1", frozenset()), Change("batch", BATCH, "a", frozenset())]
    told: list[list[UUID]] = []

    async def look() -> Sequence[Change]:
        return found

    async def deliver(notices: Sequence[Notice]) -> None:
        told.append([each.id for each in notices])

    feed = Feed("redis://127.0.0.1:1", "events", look, deliver)
    await feed.poll()
    await feed.poll()
    found[0] = Change("photo", CAT, "2", frozenset())
    await feed.poll()
    assert told == [[CAT, BATCH], [], [CAT]]
