"""Rate limits of api doors that share a Redis, and of one that lost it."""

import asyncio
import os
import signal
import time
from collections import Counter
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest

from api_door import api_door, door_settings
from catalog_seed import picture
from darkroom_cli.stack import Stack
from gateway import db
from gateway.api.app import build_api
from gateway.settings import Settings
from infrastructure import Infrastructure

HOST = "http://127.0.0.1"


@pytest.fixture
def settings(infrastructure: Infrastructure, database: str, tmp_path: Path) -> Settings:
    # An hour's quota: nothing comes back while the test runs.
    return door_settings(infrastructure, database, tmp_path, rate_single="30/h", rate_imports="3/h")


@pytest.fixture
def own_redis(tmp_path: Path) -> Iterator[Stack]:
    """A Redis that the test may kill."""
    with Stack(tmp_path / "redis", services=(), infrastructure=("redis",)) as stack:
        yield stack


@asynccontextmanager
async def replicas(settings: Settings, number: int) -> AsyncIterator[list[httpx.AsyncClient]]:
    """Clients of so many api doors with the same settings; no server lies between."""
    pool = db.open_pool(settings.database, name="test-api")
    try:
        async with AsyncExitStack() as stack:
            clients = []
            for _ in range(number):
                app: Any = build_api(settings, pool).config.app
                await stack.enter_async_context(app.router.lifespan_context(app))
                client = httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url=HOST)
                clients.append(await stack.enter_async_context(client))
            yield clients
    finally:
        pool.close()


async def hand_in(client: httpx.AsyncClient, content: bytes = b"no photo") -> httpx.Response:
    return await client.post("/v1/photos", content=content)


async def poll(condition: Callable[[], Any]) -> None:
    until = time.monotonic() + 30
    while not await condition():
        assert time.monotonic() < until, "it does not become so"
        await asyncio.sleep(0.05)


async def test_two_replicas_let_in_exactly_the_quota_together(settings: Settings) -> None:
    async with replicas(settings, 2) as (one, two):
        answers = await asyncio.gather(*(hand_in(each) for each in (one, two) for _ in range(40)))
        assert Counter(answer.status_code for answer in answers) == {415: 30, 429: 50}
        left = [answer.headers["RateLimit"] for answer in answers if answer.status_code == 415]
        assert len(set(left)) == 30, "each took another one"
        imports = [await each.post("/v1/imports", json={}) for each in (one, two) * 3]
        assert Counter(answer.status_code for answer in imports) == {422: 3, 429: 3}


def test_a_refusal_stores_nothing_and_says_when_to_come_back(
    client: httpx.Client, objects: Path
) -> None:
    for number in range(30):
        content = picture(size=(100 + number, 100))
        assert client.post("/v1/photos", content=content).status_code == 202
    stored = sum(path.is_file() for path in objects.rglob("*"))
    # Larger than what the kernel holds: the client still sends when it is refused.
    refused = client.post("/v1/photos", content=bytes(20_000_000))
    assert (refused.status_code, refused.json()["code"]) == (429, "rate_limited")
    assert 100 < int(refused.headers["Retry-After"]) <= 120
    assert refused.headers["RateLimit"] == f'"single";r=0;t={refused.headers["Retry-After"]}'
    assert refused.headers["RateLimit-Policy"] == '"single";q=30;w=3600'
    assert client.post("/v1/photos", content=picture(size=(99, 99))).status_code == 429
    assert sum(path.is_file() for path in objects.rglob("*")) == stored
    assert len(client.get("/v1/photos").json()["items"]) == 30
    counted = client.get("/metrics").text
    assert 'darkroom_api_admissions_total{class="single",outcome="refused"} ' in counted
    assert "darkroom_api_rate_local 0.0" in counted


def test_without_redis_each_replica_goes_on_with_its_share(
    settings: Settings, own_redis: Stack
) -> None:
    settings = settings.model_copy(update={"redis": own_redis.address("redis")})

    async def scenario() -> None:
        async with replicas(settings, 2) as (one, two):
            metric = "darkroom_api_rate_local"

            async def local(client: httpx.AsyncClient) -> bool:
                return f"{metric} 1.0" in (await client.get("/metrics")).text

            async def shared(client: httpx.AsyncClient) -> bool:
                return not await local(client)

            # Both have heard of each other once both were asked.
            for each in (one, two, one):
                assert (await hand_in(each)).status_code == 415
            os.kill(own_redis.pid("redis"), signal.SIGSTOP)
            try:
                answers = [await hand_in(one) for _ in range(20)]
                assert Counter(each.status_code for each in answers) == {415: 13, 429: 7}
                assert await local(one)
                assert (await two.post("/v1/imports", json={})).status_code == 422
            finally:
                os.kill(own_redis.pid("redis"), signal.SIGCONT)
            await poll(lambda: shared(one))
            await poll(lambda: shared(two))
            answers = [await hand_in(two) for _ in range(20)]
            # What it was asked before it stood still, it may have granted when it went on.
            assert sum(each.status_code == 415 for each in answers) in (13, 14)

    asyncio.run(scenario())


def test_a_redis_that_is_killed_makes_no_request_fail(settings: Settings, own_redis: Stack) -> None:
    settings = settings.model_copy(
        update={"redis": own_redis.address("redis"), "rate_single": "1000/s"}
    )
    with api_door(settings) as url, httpx.Client(base_url=url, timeout=20) as client:
        seen: set[str] = set()
        old = own_redis.pid("redis")
        os.kill(old, signal.SIGKILL)
        until = time.monotonic() + 30
        while len(seen) < 2 or "0.0" not in seen or own_redis.pid("redis") == old:
            assert time.monotonic() < until, seen
            assert client.post("/v1/photos", content=b"no photo").status_code == 415
            lines = client.get("/metrics").text.splitlines()
            seen |= {
                line.split()[1] for line in lines if line.startswith("darkroom_api_rate_local")
            }
