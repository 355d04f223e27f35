"""A worker as a process of its own: what operators set, what is away, what comes and goes."""

import os
import signal
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime, timedelta
from itertools import pairwise
from pathlib import Path

import pytest

from darkroom_cli.stack import Stack
from infrastructure import Infrastructure
from log_places import KEYS
from streamkit.notices import TOPIC as NOTICES
from worker_process import WorkerProcess, until
from worker_tasks import LETTERS, SERVICE, SHOP
from worker_world import Done, Places, Task, World

pytestmark = pytest.mark.long

HOUR_S = 3600


@pytest.fixture
def own_redis(tmp_path: Path) -> Iterator[Stack]:
    """A Redis that the test may kill."""
    with Stack(tmp_path / "redis", services=(), infrastructure=("redis",)) as stack:
        yield stack


@pytest.fixture
def places(infrastructure: Infrastructure) -> Places:
    return Places(infrastructure.kafka, infrastructure.registry, infrastructure.redis)


@pytest.fixture
def world(places: Places, tmp_path: Path) -> Iterator[World]:
    world = World(places, tmp_path, partitions=2)
    yield world
    world.close()


@pytest.fixture
def flag(tmp_path: Path) -> Path:
    """A file that is there until the test takes it away."""
    path = tmp_path / "flag"
    path.touch()
    return path


def named(word: str, count: int) -> list[str]:
    return [f"{word}-{number}" for number in range(count)]


def each_once(done: Sequence[Done]) -> bool:
    return set(Counter(one.id for one in done).values()) == {1}


# -- what operators set -------------------------------------------------------------------------


def test_a_lane_is_paused_and_goes_on_while_the_worker_runs(world: World) -> None:
    world.set(f"{SERVICE}/batch", paused=True)
    worker = world.worker().ready()
    world.ask(*map(Task, named("bulk", 20)))
    world.ask(*(Task(name, lane="high") for name in named("high", 20)))
    world.await_done(*named("high", 20))
    assert worker.metric("darkroom_paused", lane="batch") == 1
    assert set(world.names()) == set(named("high", 20))
    world.unset(f"{SERVICE}/batch")
    world.await_done(*named("bulk", 20))
    (said,) = worker.lines("lane_paused")
    assert (said["lane"], said["owner"], said["reason"]) == ("batch", "mia", "a test")
    world.set(SERVICE, paused=True, paused_until=datetime.now(UTC) + timedelta(seconds=4))
    until(lambda: worker.metric("darkroom_paused") == 2, "all lanes are paused")
    world.ask(Task("late"), Task("later", lane="high"))
    world.await_done("late", "later")
    assert worker.metric("darkroom_paused") == 0


def test_the_concurrency_of_a_lane_is_bounded_while_the_worker_runs(world: World) -> None:
    worker = world.worker(bulk_engines=2).ready()
    world.ask(*(Task(name, "wait", 20) for name in named("free", 20)))
    world.await_done(*named("free", 20))
    world.set(f"{SERVICE}/batch", concurrency=1)
    until(lambda: worker.metric("darkroom_concurrency_limit", lane="batch") == 1, "it is bounded")
    world.ask(*(Task(name, "wait", 20) for name in named("bound", 20)))
    world.await_done(*named("bound", 20))
    assert overlap(world, "free")
    assert not overlap(world, "bound")


def overlap(world: World, word: str) -> bool:
    """Whether handlers of two of these were at work at the same time."""
    calls = [call for call in world.trail.calls() if call.name.startswith(word)]
    began = sorted((call.at, call.name) for call in calls if call.began)
    ended = {call.name: call.at for call in calls if not call.began}
    return any(ended[first] > at for (_, first), (at, _) in pairwise(began))


def test_workers_share_a_rate_that_is_set_while_they_run_and_keep_to_it_without_redis(
    places: Places, own_redis: Stack, tmp_path: Path
) -> None:
    world = World(Places(places.kafka, places.registry, own_redis.address("redis")), tmp_path)
    try:
        share_a_rate(world, own_redis)
    finally:
        world.close()


def share_a_rate(world: World, own_redis: Stack) -> None:
    pair = [world.worker("a").ready(), world.worker("b").ready()]
    until(lambda: all(len(one.lines("assigned")) >= 3 for one in pair), "both have partitions")
    world.set(SERVICE, rate="20/s")
    for worker in pair:
        until(lambda: worker.metric("darkroom_rate_limit", lane="batch") == 20, "it is set")  # noqa: B023
    names = named("rated", 160)
    world.ask(*map(Task, names))
    until(lambda: len(world.names()) >= 60, "they work")
    killed = len(world.done())
    os.kill(own_redis.pid("redis"), signal.SIGKILL)
    for worker in pair:
        until(lambda: worker.metric("darkroom_rate_local") == 1, "it goes on by itself")  # noqa: B023
    for worker in pair:
        until(lambda: worker.lines("rate_shared_again"), "they share again")  # noqa: B023
        (line,) = worker.lines("rate_local")
        assert (line["level"], line["workers"], line["per_s"]) == ("warning", 2, 10.0)
    done = world.await_done(*names)
    assert each_once(done)
    assert {one.worker for one in done[:killed]} == {"a", "b"}
    local, shared = (
        min(at(one, f"rate_{word}") for one in pair) for word in ("local", "shared_again")
    )
    assert [one for one in done if local < one.at < shared]
    keeps([one for one in done if one.at < shared])
    assert all(worker.metric("darkroom_rate_local") == 0 for worker in pair)


def at(worker: WorkerProcess, event: str) -> float:
    """When it said that."""
    return datetime.fromisoformat(worker.lines(event)[0]["timestamp"]).timestamp()


def keeps(done: Sequence[Done]) -> None:
    """Fails if they came faster than 20 a second, with 20 at first, or far slower."""
    first = done[0].at
    for number, one in enumerate(done):
        # Both hold a tenth of a second's tokens, before Redis and instead of it; and what began in
        # a second may come at once, where a busy machine lets a worker wait.
        assert number <= 20 * (one.at - first) + 20 + 8 + 20
    assert len(done) > 20 * (done[-1].at - first) * 0.5


# -- what is away -------------------------------------------------------------------------------


@pytest.mark.parametrize(("do", "probes"), [("away", 3), ("busy", 2)])
def test_a_dependency_that_is_away_for_long_is_told_once_and_costs_no_record(
    world: World, flag: Path, do: str, probes: int
) -> None:
    # Probes go after 1, 2 and 4 s: three of them take longer than all retries would (3.3 s).
    names = named("batch", 30) + named("high", 10)
    worker = world.worker().ready()
    world.ask(*(Task(name, do, flag, lane=name.partition("-")[0]) for name in names))
    until(lambda: worker.lines("dependency_away"), "it is noticed")
    until(lambda: worker.metric("darkroom_breaker_open", dependency=SHOP) == 1, "and seen")
    calls = len(world.trail.calls())
    until(lambda: len(world.trail.calls()) >= calls + probes, "it was tried some times")
    assert world.names() == []
    flag.unlink()
    done = world.await_done(*names)
    assert each_once(done)
    assert {one.failure for one in done} == {""}
    assert max(one.attempt for one in done) == (2 if do == "away" else 1)
    assert len([one for one in done if one.attempt > 1]) <= 4
    assert world.all_of(LETTERS) == []
    (notice,) = world.decoded(NOTICES)
    assert (notice["kind"], notice["service"], notice["subject"]) == (
        "dependency_away",
        SERVICE,
        SHOP,
    )
    assert worker.metric("darkroom_breaker_open", dependency=SHOP) == 0


# -- what comes and goes ------------------------------------------------------------------------


@pytest.mark.parametrize("protocol", ["consumer", "classic"])
def test_a_handler_that_does_not_end_holds_no_partition_back_from_another_worker(
    world: World, flag: Path, protocol: str
) -> None:
    settings = {
        "group_protocol": protocol,
        "soft_deadline_s": HOUR_S,
        "hard_deadline_s": HOUR_S,
        "drain_s": 2,
    }
    first = world.worker("first", bulk_engines=2, **settings).ready()
    stuck = {key: f"stuck-{key}" for key in KEYS}
    for key, name in stuck.items():
        world.ask(Task(name, "stuck", flag, key=key))
        until(lambda: world.trail.began(name), "it began")  # noqa: B023
        world.ask(*(Task(f"{name}-{number}", key=key) for number in range(10)))
    asked = time.monotonic()
    world.worker("second", **settings)
    until(lambda: moved(world), "a partition moves with its record")
    took = time.monotonic() - asked
    assert first.metric("darkroom_drain_overruns_total", lane="batch") == 1
    assert took < 30
    flag.unlink()
    names = [*stuck.values(), *(f"{one}-{n}" for one in stuck.values() for n in range(10))]
    done = world.await_done(*names)
    assert each_once([one for one in done if one.name in stuck.values()])
    assert {one.worker for one in done if one.name in stuck.values()} == {"first", "second"}
    # Others of the partition that moved were done before the record that it waited for.
    counts = Counter(one.name for one in done)
    repeated = [name for name, count in counts.items() if count > 1]
    (owner,) = (one.name for one in done if one.name in stuck.values() and one.worker == "second")
    assert all(name.startswith(f"{owner}-") for name in repeated)
    assert first.stop() == 0


def moved(world: World) -> bool:
    """Whether the second worker works on a record that the first is stuck at."""
    return any(call.worker == "second" and call.began for call in world.trail.calls())
