"""Rate limits at admission: what counts, what is answered, and what happens without Redis."""

import asyncio
from collections.abc import AsyncIterator
from typing import Any, cast

import httpx
import pytest
from psycopg_pool import PoolTimeout
from pydantic import ValidationError
from starlette.types import Receive, Scope, Send
from structlog.testing import capture_logs

from gateway.api.catalog import Catalog
from gateway.api.limits import Limited, class_of, lane_of, shared_quotas
from gateway.api.quotas import Quotas
from gateway.api.shares import FRESH_S, Shares
from gateway.api.speakers import Speaker
from gateway.catalog.keys import Holder
from gateway.catalog.shares import Share
from gateway.settings import Settings
from streamkit.rate import AWAY_S, HELLO_S, Answer, LocalTokens, Quota, Rate, TokensAwayError
from streamkit.testing import FakeClock

BATCH = "8a3f7c9e-4e8c-4a57-9d57-0f4d9b1f6c21"


class Shelf:
    """Tokens as Redis has them, on the test's clock; may be away."""

    def __init__(self, clock: FakeClock) -> None:
        self.tokens = LocalTokens(clock)
        self.doors = 1
        self.away = False
        self.left = False

    async def ask(self, wanted: int, rate: Rate) -> Answer:
        if self.away:
            raise TokensAwayError("connection refused")
        return self.tokens.ask(wanted, rate)._replace(workers=self.doors)

    async def leave(self) -> None:
        self.left = True


class Measured:
    """A catalog that knows the shares of lanes, and counts who asks; may be away."""

    def __init__(self) -> None:
        self.shares: list[Share] = []
        self.asked = 0
        self.away = False

    async def ask(self, _question: object) -> list[Share]:
        self.asked += 1
        if self.away:
            raise PoolTimeout
        return self.shares

    def set(self, lane: Any, share: float, **more: Any) -> None:
        nobody = dict.fromkeys(("pinned", "pinned_until", "pinned_by", "pinned_reason"))
        about = {"measured": share, "since": None, "cause": "the workers' CPU is at 91 %"}
        self.shares.append(Share(**{"lane": lane, "share": share, **nobody, **about, **more}))


class Door:
    """Quotas around an application that reads its bodies, and what it read."""

    def __init__(self, quotas: Quotas, clock: FakeClock) -> None:
        self.quotas = quotas
        self.catalog = Measured()
        self.shares = Shares(cast(Catalog, self.catalog), clock.monotonic)
        self.read: list[bytes] = []
        self.speaker = Speaker("uploader")
        transport = httpx.ASGITransport(self._asked)
        self.client = httpx.AsyncClient(transport=transport, base_url="http://door")

    async def _app(self, _scope: Scope, receive: Receive, send: Send) -> None:
        self.read.append((await receive()).get("body", b""))
        await send({"type": "http.response.start", "status": 202, "headers": []})
        await send({"type": "http.response.body"})

    async def _asked(self, scope: Scope, receive: Receive, send: Send) -> None:
        limited = Limited(self._app, self.quotas, self.shares)
        await limited({**scope, "speaker": self.speaker}, receive, send)

    async def post(self, path: str = "/v1/photos", content: Any = b"photo") -> httpx.Response:
        return await self.client.post(path, content=content)

    async def admitted(self, tries: int, path: str = "/v1/photos") -> int:
        answers = [await self.post(path) for _ in range(tries)]
        assert {answer.status_code for answer in answers} <= {202, 429}
        return sum(answer.status_code == 202 for answer in answers)


@pytest.fixture
def clock() -> FakeClock:
    return FakeClock()


@pytest.fixture
def shelf(clock: FakeClock) -> Shelf:
    return Shelf(clock)


@pytest.fixture
def door(clock: FakeClock, shelf: Shelf) -> Door:
    return Door(Quotas({"single": Quota(100, 60)}, lambda _name, _who: shelf, clock), clock)


@pytest.mark.parametrize(
    ("method", "path", "name"),
    [
        ("POST", "/v1/photos", "single"),
        ("POST", "/v1/imports", "imports"),
        ("POST", "/v1/imports/archive", "imports"),
        ("POST", "/v1/reprocess", "imports"),
        ("POST", "/v1/sources", "imports"),
        ("POST", f"/v1/sources/{BATCH}/run", "imports"),
        ("POST", "/v1/schedules/sync:nas/run", "imports"),
        ("POST", "/v1/schedules/reconcile/run", None),
        ("GET", "/v1/photos", None),
        ("GET", "/v1/imports", None),
        ("PUT", f"/v1/imports/{BATCH}/files", None),
        ("POST", f"/v1/imports/{BATCH}/missing", None),
        ("POST", f"/v1/imports/{BATCH}/seal", None),
        ("POST", f"/v1/imports/{BATCH}/cancel", None),
        ("PATCH", f"/v1/sources/{BATCH}", None),
    ],
)
def test_what_begins_work_is_limited_and_nothing_else(
    method: str, path: str, name: str | None
) -> None:
    assert class_of(method, path) == name


async def test_after_a_rest_the_whole_quota_is_let_in_at_once_and_then_one_by_one(
    door: Door, clock: FakeClock
) -> None:
    assert await door.admitted(150) == 100
    clock.now += 0.6
    assert await door.admitted(5) == 1
    clock.now += 3600
    assert await door.admitted(150) == 100


async def test_an_answer_says_what_is_left(door: Door, clock: FakeClock) -> None:
    answer = await door.post()
    assert answer.headers["RateLimit-Policy"] == '"single";q=100;w=60'
    assert answer.headers["RateLimit"] == '"single";r=99;t=1'
    assert "Retry-After" not in answer.headers
    clock.now += 0.6
    assert (await door.post()).headers["RateLimit"] == '"single";r=99;t=1'


async def test_a_refusal_says_when_to_come_back_and_the_body_is_not_read(clock: FakeClock) -> None:
    quota = Quota(2, 60)
    door = Door(Quotas({"imports": quota}, lambda _name, _who: Shelf(clock), clock), clock)
    pulled: list[bytes] = []

    async def body() -> AsyncIterator[bytes]:
        pulled.append(b"x")
        yield b"x"

    assert await door.admitted(2, "/v1/imports/archive") == 2
    clock.now += 7.5
    answer = await door.post("/v1/imports/archive", body())
    assert (answer.status_code, len(door.read), pulled) == (429, 2, [])
    assert answer.headers["content-type"] == "application/problem+json"
    assert answer.headers["Retry-After"] == "23"
    assert answer.headers["RateLimit"] == '"imports";r=0;t=23'
    assert answer.headers["RateLimit-Policy"] == '"imports";q=2;w=60'
    assert answer.headers["Connection"] == "close"
    assert answer.json()["code"] == "rate_limited"
    assert answer.json()["detail"] == "The limit is 2 imports a minute. Try again in 23 s."
    clock.now += 22.5
    assert (await door.post("/v1/imports/archive")).status_code == 202


async def test_classes_do_not_take_from_each_other(clock: FakeClock) -> None:
    wanted = {"single": Quota(2, 1), "imports": Quota(1, 3600)}
    door = Door(Quotas(wanted, lambda name, _who: Shelf(clock), clock), clock)
    assert await door.admitted(3) == 2
    assert await door.admitted(3, "/v1/imports") == 1
    refusal = await door.post("/v1/imports")
    assert refusal.json()["detail"] == "The limit is 1 import an hour. Try again in 3600 s."


async def test_keys_do_not_take_from_each_other(clock: FakeClock) -> None:
    shelves: dict[str, Shelf] = {}

    def tokens(_name: str, who: str) -> Shelf:
        return shelves.setdefault(who, Shelf(clock))

    door = Door(Quotas({"single": Quota(2, 60)}, tokens, clock), clock)
    assert await door.admitted(3) == 2
    door.speaker = Speaker("uploader", Holder("5f0c4a7e9b21", "ada", "uploader", "local"))
    assert await door.admitted(3) == 2
    assert set(shelves) == {"local", "5f0c4a7e9b21"}


async def test_a_key_that_rested_for_its_window_is_forgotten(clock: FakeClock) -> None:
    made: list[Shelf] = []

    def tokens(_name: str, _who: str) -> Shelf:
        made.append(Shelf(clock))
        return made[-1]

    quotas = Quotas({"single": Quota(2, 60)}, tokens, clock)
    await quotas.take("single", "ada")
    clock.now += 59
    await quotas.turn()
    assert not made[1].left
    clock.now += 2
    await quotas.turn()
    assert [shelf.left for shelf in made] == [False, True], "that of nobody tells who is there"


async def test_a_key_that_comes_when_redis_is_away_shares_with_the_doors_there_were(
    clock: FakeClock,
) -> None:
    shelf = Shelf(clock)
    shelf.doors = 4
    door = Door(Quotas({"single": Quota(100, 60)}, lambda _name, _who: shelf, clock), clock)
    await door.quotas.turn()
    shelf.away = True
    door.speaker = Speaker("uploader", Holder("5f0c4a7e9b21", "ada", "uploader", "local"))
    assert await door.admitted(60) == 25


async def test_a_class_without_a_quota_is_not_limited(door: Door) -> None:
    assert await door.admitted(50, "/v1/imports") == 50
    assert "RateLimit" not in (await door.post("/v1/imports")).headers


async def test_without_redis_a_door_keeps_to_its_share_and_tells_so_once(
    door: Door, shelf: Shelf, clock: FakeClock
) -> None:
    shelf.doors = 4
    assert await door.quotas.turn() == HELLO_S
    shelf.away = True
    with capture_logs() as logs:
        assert await door.admitted(60) == 25
        assert await door.quotas.turn() == AWAY_S
        answer = await door.post()
        assert (answer.status_code, answer.headers["Retry-After"]) == (429, "3")
        clock.now += 2.4
        assert await door.admitted(5) == 1
        assert door.quotas.local
        shelf.away = False
        assert await door.quotas.turn() == HELLO_S
        assert not door.quotas.local
    assert [line["event"] for line in logs] == ["rate_local", "rate_shared_again"]


async def test_a_door_that_never_saw_redis_lets_in_the_whole_quota(
    door: Door, shelf: Shelf
) -> None:
    shelf.away = True
    assert await door.admitted(150) == 100


async def test_redis_going_gives_nobody_more_than_was_left(door: Door, shelf: Shelf) -> None:
    shelf.doors = 2
    assert await door.admitted(90) == 90
    shelf.away = True
    assert await door.admitted(50) == 5


async def test_what_was_let_in_without_redis_is_taken_off_when_it_is_back(
    door: Door, shelf: Shelf, clock: FakeClock
) -> None:
    shelf.doors = 2
    await door.quotas.turn()
    shelf.away = True
    assert await door.admitted(30) == 30
    shelf.away = False
    await door.quotas.turn()
    assert await door.admitted(150) == 70

    clock.now += 60
    await door.quotas.turn()
    shelf.away = True
    assert await door.admitted(60) == 50
    clock.now += 60  # all of it has come back meanwhile
    shelf.away = False
    await door.quotas.turn()
    assert await door.admitted(150) == 100


async def test_a_door_that_ends_is_not_counted_any_more(door: Door, shelf: Shelf) -> None:
    running = asyncio.create_task(door.quotas.run())
    await asyncio.sleep(0)
    running.cancel()
    with pytest.raises(asyncio.CancelledError):
        await running
    assert shelf.left


def test_the_limits_are_settings(monkeypatch: pytest.MonkeyPatch) -> None:
    settings = Settings(_cli_parse_args=[])
    assert (settings.single_quota, settings.imports_quota) == (Quota(100, 60), Quota(10, 60))
    monkeypatch.setenv("DARKROOM_RATE_SINGLE", "none")
    monkeypatch.setenv("DARKROOM_RATE_IMPORTS", "5/s")
    settings = Settings(_cli_parse_args=[])
    assert (settings.single_quota, settings.imports_quota) == (None, Quota(5, 1))


@pytest.mark.parametrize("text", ["", "100", "0/m", "2.5/s", "None"])
def test_what_is_no_limit_is_refused_at_the_start(text: str) -> None:
    with pytest.raises(ValidationError, match=r"is no (rate|quota)"):
        Settings(rate_imports=text, _cli_parse_args=[])


async def test_a_class_that_is_switched_off_is_not_asked_for() -> None:
    settings = Settings(
        rate_single="none", rate_imports="1/m", redis="redis://127.0.0.1:1/0", _cli_parse_args=[]
    )
    quotas = shared_quotas(settings)
    assert "single" not in quotas
    assert (await quotas.take("imports", "local")).admitted
    assert quotas.local
    await quotas.leave()


@pytest.mark.parametrize(
    ("name", "query", "lane"),
    [
        ("single", b"", "high"),
        ("single", b"lane=default&file_name=a.jpg", "default"),
        ("imports", b"lane=learning", "batch"),
    ],
)
def test_the_lane_of_a_request(name: str, query: bytes, lane: str) -> None:
    assert lane_of(name, query) == lane


async def test_where_half_is_let_in_each_costs_two_and_the_answers_say_so(
    door: Door, clock: FakeClock
) -> None:
    door.catalog.set("default", 0.5)
    answer = await door.post("/v1/photos?lane=default")
    assert answer.headers["RateLimit-Policy"] == '"single";q=50;w=60'
    assert answer.headers["RateLimit"] == '"single";r=49;t=2'
    other = await door.post()
    assert other.headers["RateLimit-Policy"] == '"single";q=100;w=60'
    assert other.headers["RateLimit"] == '"single";r=97;t=1'
    assert await door.admitted(60, "/v1/photos?lane=default") == 48
    assert (await door.post()).headers["RateLimit"] == '"single";r=0;t=1'
    refused = await door.post("/v1/photos?lane=default")
    assert refused.json()["detail"] == (
        "The limit is 50 single photos a minute on lane default, half of what is configured:"
        " the workers' CPU is at 91 %. Try again in 2 s."
    )
    clock.now += 0.6
    assert await door.admitted(2, "/v1/photos?lane=default") == 0
    assert await door.admitted(2) == 1
    clock.now += 1.2
    assert await door.admitted(2, "/v1/photos?lane=default") == 1


async def test_where_twice_as_much_is_let_in_each_costs_a_half(
    door: Door, clock: FakeClock
) -> None:
    pinned = {"pinned": 2.0, "pinned_by": "ada", "pinned_reason": "A new machine."}
    door.catalog.set("high", 2.0, cause=None, **pinned)
    assert (await door.post()).headers["RateLimit-Policy"] == '"single";q=200;w=60'
    assert await door.admitted(250) == 199
    refused = await door.post()
    assert refused.headers["Retry-After"] == "1"
    assert refused.json()["detail"] == (
        "The limit is 200 single photos a minute on lane high, twice what is configured:"
        " ada set it: A new machine. Try again in 1 s."
    )
    clock.now += 0.3
    assert await door.admitted(2, "/v1/photos?lane=default") == 0
    assert await door.admitted(2) == 1


async def test_half_of_an_odd_number_is_told_of_twice_the_time(clock: FakeClock) -> None:
    door = Door(Quotas({"imports": Quota(1, 3600)}, lambda *_: Shelf(clock), clock), clock)
    door.catalog.set("batch", 0.5)
    assert await door.admitted(3, "/v1/imports") == 1
    refused = await door.post("/v1/imports")
    assert refused.headers["RateLimit-Policy"] == '"imports";q=1;w=7200'
    assert refused.headers["Retry-After"] == "7200"
    assert refused.json()["detail"].startswith("The limit is 1 import in 2 hours on lane batch,")
    for _ in range(2):
        clock.now += 3600
        await door.quotas.turn()
    assert await door.admitted(3, "/v1/imports") == 1


async def test_shares_cost_no_question_each_time(door: Door, clock: FakeClock) -> None:
    await door.admitted(5)
    assert door.catalog.asked == 1
    door.catalog.set("high", 0.5)
    clock.now += FRESH_S
    assert (await door.post()).headers["RateLimit-Policy"] == '"single";q=50;w=60'
    assert door.catalog.asked == 2
    door.catalog.away = True
    door.shares.forget()
    assert (await door.post()).headers["RateLimit-Policy"] == '"single";q=100;w=60'
    await door.post("/v1/imports")
    assert door.catalog.asked == 3


async def test_shares_hold_without_redis_and_are_taken_off_at_their_price(
    door: Door, shelf: Shelf
) -> None:
    door.catalog.set("default", 0.5)
    door.catalog.set("learning", 2.0)
    shelf.doors = 2
    await door.quotas.turn()
    shelf.away = True
    assert await door.admitted(20, "/v1/photos?lane=default") == 20
    assert await door.admitted(5, "/v1/photos?lane=learning") == 5
    assert await door.admitted(20) == 7
    assert await door.admitted(3, "/v1/photos?lane=learning") == 1
    shelf.away = False
    await door.quotas.turn()
    assert await door.admitted(100) == 50
