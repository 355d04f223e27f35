"""Photos that are handed in at the same time are recorded together, none to another's harm."""

import asyncio
from collections.abc import Callable, Sequence
from contextvars import ContextVar
from typing import Any, cast

import psycopg
import pytest

from darkroom_schemas.ids import LOCAL_OWNER
from gateway.api.catalog import Catalog
from gateway.api.handing_in import HandingIn
from gateway.api.problems import ProblemError, unavailable
from gateway.api.writes import Recorded, Writes
from gateway.catalog.submissions import HandedIn, Submission

Answer = Callable[[Sequence[str]], list[Any]]
TRACE: ContextVar[str] = ContextVar("TRACE", default="none")


def photo(name: str) -> Submission:
    return Submission(
        owner=LOCAL_OWNER,
        sha256=name,
        source_uri=f"file:///{name}",
        byte_size=1,
        file_name=name,
        lane="high",
        submission_id="once",
    )


class World:
    """A catalog that answers when a test lets it, and notes what is recorded together."""

    def __init__(self) -> None:
        self.together: list[list[str]] = []
        self.traces: dict[str, str] = {}
        self.began, self.gate = asyncio.Event(), asyncio.Event()
        self.answer: Answer = lambda names: [cast(Recorded, name) for name in names]
        self.handing_in = HandingIn(cast(Writes, self))

    def photos(self) -> None:
        """What is asked of the catalog; it is the catalog here that answers."""

    def catalog(self, owner: str) -> Catalog:
        world = self

        class Asked(Catalog):
            def __init__(self) -> None:
                self.owner = owner

            async def ask(self, question: Any, photos: Sequence[HandedIn]) -> Any:  # type: ignore[override]
                assert question == world.photos
                names = [str(one.submission.file_name) for one in photos]
                world.together.append(names)
                for one in photos:
                    world.traces[str(one.submission.file_name)] = one.context.run(TRACE.get)
                world.began.set()
                await world.gate.wait()
                return world.answer(names)

        return Asked()

    def hand_in(self, name: str, owner: str = LOCAL_OWNER) -> "asyncio.Task[Any]":
        return asyncio.create_task(self.handing_in.record(self.catalog(owner), photo(name)))

    async def busy(self) -> "list[asyncio.Task[Any]]":
        """As many are recorded, a and b, as may be at once."""
        tasks = []
        for name in "ab":
            self.began.clear()
            tasks.append(self.hand_in(name))
            await asyncio.wait_for(self.began.wait(), 5)
        return tasks


@pytest.fixture
async def world() -> World:
    return World()


async def test_one_alone_is_recorded_at_once(world: World) -> None:
    world.gate.set()
    assert await world.hand_in("a") == "a"
    assert await world.hand_in("b") == "b"
    assert world.together == [["a"], ["b"]]


async def test_those_that_come_meanwhile_are_recorded_together(world: World) -> None:
    before = await world.busy()
    after = [world.hand_in(name) for name in "cdefg"]
    await asyncio.sleep(0)
    world.gate.set()
    assert await asyncio.gather(*before, *after) == list("abcdefg")
    assert world.together == [["a"], ["b"], list("cdefg")]


async def test_each_keeps_its_trace(world: World) -> None:
    tasks = []
    for name in "abcd":
        TRACE.set(f"trace of {name}")
        tasks.append(world.hand_in(name))
    world.gate.set()
    await asyncio.gather(*tasks)
    assert world.traces == {name: f"trace of {name}" for name in "abcd"}


async def test_the_same_photo_twice_and_photos_of_others_are_recorded_apart(world: World) -> None:
    before = await world.busy()
    after = [world.hand_in("c"), world.hand_in("c"), world.hand_in("d", "another")]
    after.append(world.hand_in("e"))
    await asyncio.sleep(0)
    world.gate.set()
    await asyncio.gather(*before, *after)
    assert world.together[2:] == [["c", "e"], ["c"], ["d"]]


async def test_no_more_than_a_transaction_should_hold(world: World) -> None:
    before = await world.busy()
    after = [world.hand_in(f"{number}") for number in range(70)]
    await asyncio.sleep(0)
    world.gate.set()
    await asyncio.gather(*before, *after)
    assert [len(names) for names in world.together] == [1, 1, 32, 32, 6]


async def test_what_is_wrong_with_one_is_told_to_that_one_alone(world: World) -> None:
    def answer(names: Sequence[str]) -> list[Any]:
        if "bad" in names:
            raise psycopg.errors.DataError("of this one")
        return [ProblemError(503, "lane_full", "full") if one == "late" else one for one in names]

    world.answer = answer
    before = await world.busy()
    after = [world.hand_in(name) for name in ("c", "bad", "late", "d")]
    await asyncio.sleep(0)
    world.gate.set()
    c, bad, late, d = await asyncio.gather(*after, return_exceptions=True)
    assert (c, d) == ("c", "d")
    assert isinstance(bad, psycopg.errors.DataError)
    assert isinstance(late, ProblemError)
    assert await asyncio.gather(*before) == ["a", "b"]


@pytest.mark.parametrize(
    "error", [psycopg.OperationalError("away"), unavailable("outbox_full", "full")]
)
async def test_what_is_wrong_with_all_is_told_to_all_and_not_tried_one_by_one(
    world: World, error: Exception
) -> None:
    def answer(_names: Sequence[str]) -> list[Any]:
        raise error

    world.answer = answer
    before = await world.busy()
    after = [world.hand_in(name) for name in "cd"]
    await asyncio.sleep(0)
    world.gate.set()
    told = await asyncio.gather(*before, *after, return_exceptions=True)
    assert told == [error] * 4
    assert world.together == [["a"], ["b"], ["c", "d"]]
    world.answer = list
    assert await world.hand_in("e") == "e", "the next ones are not concerned"


async def test_who_goes_away_takes_no_other_along(world: World) -> None:
    before = await world.busy()
    gone, other = world.hand_in("c"), world.hand_in("d")
    await asyncio.sleep(0)
    gone.cancel()
    world.gate.set()
    assert await other == "d"
    await asyncio.gather(*before)
