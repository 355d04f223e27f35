"""The rate of a stage on the real Redis: shared by all workers, and no stop without it."""

import os
import signal
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from uuid import uuid4

import pytest
import redis

from darkroom_cli.stack import Stack
from infrastructure import Infrastructure
from streamkit.clock import SystemClock
from streamkit.rate import Rate, SharedBucket, TokensAwayError
from streamkit.rate_redis import (
    TIMEOUT_S,
    AsyncRedisTokens,
    RedisTokens,
    connect_async_redis,
    connect_redis,
)

CLOCK = SystemClock()
DEADLINE_S = 30.0


@pytest.fixture
def key() -> str:
    return f"rate-{uuid4().hex}"


@pytest.fixture
def client(infrastructure: Infrastructure) -> Iterator["redis.Redis"]:
    client = connect_redis(infrastructure.redis)
    yield client
    client.close()


@pytest.fixture
def own_redis(tmp_path: Path) -> Iterator[Stack]:
    """A Redis that the test may kill."""
    with Stack(tmp_path, services=(), infrastructure=("redis",)) as stack:
        yield stack


class Worker:
    """A bucket, and what it told."""

    def __init__(self, url: str, key: str, rate: Rate) -> None:
        self.woken = threading.Event()
        self.local: list[bool] = []
        self.taken = 0
        self.longest_s = 0.0
        self.bucket = SharedBucket(
            RedisTokens(connect_redis(url), key),
            rate,
            CLOCK,
            wake=self.woken.set,
            on_local=self.local.append,
        )
        self.bucket.start()

    def take(self, most: int) -> int:
        """Take what there is, and notice how long that takes."""
        began = time.perf_counter()
        taken = self.bucket.take(most)
        self.longest_s = max(self.longest_s, time.perf_counter() - began)
        self.taken += taken
        return taken

    def rest(self) -> None:
        """Until asking makes sense, as the core does."""
        self.woken.wait(max(0.0, min(0.1, self.bucket.next_at() - CLOCK.monotonic())))
        self.woken.clear()

    def work_until(self, done: Callable[[], bool]) -> None:
        """Take one after the other. Fails if that doesn't happen in time."""
        deadline = time.monotonic() + DEADLINE_S
        while not done():
            assert time.monotonic() < deadline
            if not self.take(1):
                self.rest()


Hire = Callable[..., Worker]


@pytest.fixture
def hire(key: str) -> Iterator[Hire]:
    workers: list[Worker] = []

    def one(url: str, rate: Rate) -> Worker:
        workers.append(Worker(url, key, rate))
        return workers[-1]

    yield one
    for worker in workers:
        worker.bucket.close()


def test_all_workers_together_keep_the_rate_and_reach_it(
    infrastructure: Infrastructure, hire: Hire
) -> None:
    rate = Rate(50.0, 50)
    workers = [hire(infrastructure.redis, rate) for _ in range(3)]
    wanted = 50 + 100
    began = time.monotonic()

    def enough() -> bool:
        return sum(worker.taken for worker in workers) >= wanted

    threads = [threading.Thread(target=worker.work_until, args=(enough,)) for worker in workers]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert enough()
    took = time.monotonic() - began
    held = sum(worker.taken for worker in workers) - wanted
    assert took >= 2.0 - 0.1 - held / 50, "faster than the rate"
    assert took < 6.0, "far slower than the rate"


def test_workers_are_counted_and_forgotten_when_they_leave(client: "redis.Redis", key: str) -> None:
    rate = Rate(1.0, 1)
    workers = [RedisTokens(client, key, f"worker-{n}") for n in range(3)]
    assert [worker.ask(0, rate).workers for worker in workers] == [1, 2, 3]
    workers[0].leave()
    assert workers[1].ask(0, rate).workers == 2


def test_tokens_are_granted_up_to_the_burst_and_can_be_given_back(
    client: "redis.Redis", key: str
) -> None:
    rate = Rate(0.01, 5)
    tokens = RedisTokens(client, key)
    assert tokens.ask(3, rate).granted == 3
    assert tokens.ask(3, rate).granted == 2
    answer = tokens.ask(3, rate)
    assert answer.granted == 0
    assert 90 < answer.wait_s <= 100
    assert answer.left == pytest.approx(1 - answer.wait_s * rate.per_s, abs=1e-4)
    tokens.ask(-2, rate)
    assert tokens.ask(3, rate).granted == 2
    tokens.ask(-100, rate)
    assert tokens.ask(100, rate).granted == 5


async def test_an_event_loop_shares_tokens_with_threads(
    infrastructure: Infrastructure, client: "redis.Redis", key: str
) -> None:
    rate = Rate(0.01, 5)
    thread, loop = (
        RedisTokens(client, key),
        AsyncRedisTokens(connect_async_redis(infrastructure.redis), key),
    )
    assert thread.ask(2, rate).granted == 2
    answer = await loop.ask(2, rate)
    assert (answer.granted, answer.workers, int(answer.left)) == (2, 2, 1)
    assert thread.ask(2, rate).granted == 1
    assert (await loop.ask(2, rate)).granted == 0
    await loop.leave()
    assert thread.ask(0, rate).workers == 1


def test_who_takes_at_a_multiple_of_a_rate_takes_from_the_same_tokens(
    client: "redis.Redis", key: str
) -> None:
    rate = Rate(0.001, 10)
    one, two = RedisTokens(client, key), RedisTokens(client, key)
    assert one.ask(2, rate.times(0.5)).granted == 2
    assert two.ask(3, rate.times(2)).granted == 3
    answer = two.ask(0, rate)
    assert answer.left == pytest.approx(10 - 4 - 1.5, abs=1e-2)
    assert one.ask(9, rate).granted == 4
    assert one.ask(1, rate.times(0.5)).granted == 0
    assert one.ask(1, rate.times(2)).granted == 1


def test_who_asks_at_a_rate_that_holds_less_takes_nothing_from_the_others(
    client: "redis.Redis", key: str
) -> None:
    tokens, rate = RedisTokens(client, key), Rate(0.001, 1)
    assert tokens.ask(1, rate.times(0.5)).granted == 1
    tokens.ask(-1, rate.times(0.5))
    tokens.ask(0, rate)
    assert tokens.ask(1, rate.times(0.5)).granted == 1


async def test_an_event_loop_is_told_that_redis_is_away() -> None:
    tokens = AsyncRedisTokens(connect_async_redis("redis://127.0.0.1:1/0"), "nobody")
    with pytest.raises(TokensAwayError, match="ConnectionError"):
        await tokens.ask(1, Rate(1.0, 1))
    await tokens.leave()


def test_a_rate_that_is_raised_holds_at_once(client: "redis.Redis", key: str) -> None:
    tokens = RedisTokens(client, key)
    assert tokens.ask(9, Rate(0.01, 1)).granted == 1
    assert tokens.ask(9, Rate(0.01, 1)).wait_s > 90
    assert tokens.ask(9, Rate(1000.0, 1000)).wait_s < 0.01


def test_nothing_is_left_behind_in_redis(client: "redis.Redis", key: str) -> None:
    tokens = RedisTokens(client, key)
    tokens.ask(1, Rate(2.0, 2))
    found = list(client.scan_iter(f"*{key}*"))
    assert len(found) == 2
    assert all(0 < client.pttl(name) <= 10_000 for name in found)


def test_a_worker_goes_on_without_redis_and_shares_again_when_it_is_back(
    own_redis: Stack, hire: Hire
) -> None:
    worker = hire(own_redis.address("redis"), Rate(100.0, 100))
    worker.work_until(lambda: worker.taken >= 20)
    os.kill(own_redis.pid("redis"), signal.SIGKILL)
    worker.work_until(lambda: worker.local == [True])
    before = worker.taken
    worker.work_until(lambda: worker.taken >= before + 20)
    worker.work_until(lambda: worker.local == [True, False])
    before = worker.taken
    worker.work_until(lambda: worker.taken >= before + 20)
    assert worker.longest_s < TIMEOUT_S


def test_a_redis_that_stands_still_makes_nobody_wait(own_redis: Stack, hire: Hire) -> None:
    worker = hire(own_redis.address("redis"), Rate(100.0, 100))
    worker.work_until(lambda: worker.taken >= 20)
    os.kill(own_redis.pid("redis"), signal.SIGSTOP)
    try:
        worker.work_until(lambda: worker.local == [True])
        before = worker.taken
        worker.work_until(lambda: worker.taken >= before + 20)
    finally:
        os.kill(own_redis.pid("redis"), signal.SIGCONT)
    worker.work_until(lambda: worker.local == [True, False])
    assert worker.longest_s < TIMEOUT_S


def test_a_redis_that_was_never_there_is_said_to_be_away() -> None:
    tokens = RedisTokens(connect_redis("redis://127.0.0.1:1/0"), "nobody")
    with pytest.raises(TokensAwayError, match="ConnectionError"):
        tokens.ask(1, Rate(1.0, 1))
    tokens.leave()


def test_an_address_that_is_none_is_refused() -> None:
    with pytest.raises(ValueError, match="Redis URL"):
        connect_redis("nonsense")
