"""What workers say of themselves, on a real broker and a real registry."""

import os
import signal
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import httpx
import pytest
from confluent_kafka.admin import AdminClient

from darkroom_cli.stack import Stack
from infrastructure import Infrastructure
from streamkit.heartbeat import TOPIC
from worker_process import WorkerProcess, until
from worker_tasks import LANES, SERVICE
from worker_world import Places, Task, World

pytestmark = pytest.mark.long

HOUR_S = 3600
Heartbeat = Mapping[str, Any]


@pytest.fixture
def world(infrastructure: Infrastructure, tmp_path: Path) -> Iterator[World]:
    places = Places(infrastructure.kafka, infrastructure.registry, infrastructure.redis)
    world = World(places, tmp_path, partitions=2)
    yield world
    world.close()


@pytest.fixture
def flag(tmp_path: Path) -> Path:
    """A file that is there until the test takes it away."""
    path = tmp_path / "flag"
    path.touch()
    return path


def said(world: World, worker: WorkerProcess) -> Sequence[Heartbeat]:
    """All that a worker has said of itself."""
    return [one for one in world.decoded(TOPIC) if one["pid"] == worker.pid]


def until_said(
    world: World, worker: WorkerProcess, what: Callable[[Heartbeat], object], words: str
) -> Heartbeat:
    """Wait for a heartbeat that is so; the last one."""
    until(lambda: any(what(one) for one in said(world, worker)[-1:]), words)
    return said(world, worker)[-1]


def lane(heartbeat: Heartbeat, name: str = "batch") -> Heartbeat:
    return next(one for one in heartbeat["lanes"] if one["lane"] == name)


def states(heartbeats: Sequence[Heartbeat]) -> Sequence[str]:
    """Without repetitions."""
    return [
        one["state"]
        for before, one in zip([{"state": ""}, *heartbeats], heartbeats, strict=False)
        if one["state"] != before["state"]
    ]


def test_a_worker_says_what_it_has_from_its_start_to_its_end(world: World) -> None:
    worker = world.worker(heartbeat_s=0.5).ready()
    last = until_said(world, worker, lambda one: len(one["lanes"]) == 2, "it has lanes")
    places = [{"topic": LANES["batch"], "partition": number} for number in (0, 1)]
    until_said(world, worker, lambda one: lane(one)["partitions"] == places, "and partitions")
    assert last["worker"] == f"{SERVICE}@{last['host']}:{worker.pid}"
    assert (last["service"], last["version"], last["every_s"]) == (SERVICE, "1", 0.5)
    world.ask(*(Task(f"done-{number}") for number in range(5)), Task("bad", "reject"))
    world.await_done(*(f"done-{number}" for number in range(5)), "bad")
    assert worker.stop() == 0
    heartbeats = said(world, worker)
    assert states(heartbeats) == ["starting", "working", "stopping", "gone"]
    gone = heartbeats[-1]
    assert (lane(gone)["done"], lane(gone)["failed"]) == (6, 1)
    assert (lane(gone)["partitions"], lane(gone)["waiting"], gone["work"]) == ([], 0, [])
    times = [one["reported_at"] for one in heartbeats]
    assert times == sorted(times)
    assert {one["started_at"] for one in heartbeats} == {last["started_at"]}
    assert all(one.key == last["worker"].encode() for one in world.all_of(TOPIC))
    assert worker.lines("heartbeat_lost") == []


def test_a_worker_says_what_its_engines_hold_and_what_they_use(world: World, flag: Path) -> None:
    worker = world.worker(heartbeat_s=0.5, soft_deadline_s=HOUR_S).ready()
    world.ask(Task("held", "hang", flag, key="a photo"))
    until(lambda: world.trail.began("held"), "it has begun")
    heartbeat = until_said(world, worker, lambda one: one["work"], "it is told")
    (task,) = heartbeat["work"]
    assert (task["lane"], task["key"], task["attempt"]) == ("batch", "a photo", 1)
    assert (task["engine"], task["topic"]) == ("bulk", LANES["batch"])
    assert lane(heartbeat)["in_engine"] == 1
    assert heartbeat["started_at"] < task["since"] <= heartbeat["reported_at"]
    again = until_said(
        world, worker, lambda one: one["reported_at"] > heartbeat["reported_at"], "again"
    )
    assert again["work"] == [task]
    flag.unlink()
    (done,) = world.await_done("held")
    assert (task["partition"], task["offset"]) == (done.partition, done.offset)
    last = until_said(world, worker, lambda one: not one["work"], "it is done")
    assert lane(last)["done"] == 1
    for one in said(world, worker):
        assert 0 <= one["cpu"] <= 1
        assert 0 < one["memory"] <= 1
        assert one["cpu_cores"] >= 0
        assert one["memory_bytes"] > 10_000_000
    assert any(one["cpu_cores"] > 0 for one in said(world, worker))


def test_a_worker_says_what_is_set_for_it(world: World) -> None:
    # So seldom that only a change can be what it tells of.
    worker = world.worker(heartbeat_s=60).ready()
    world.set(f"{SERVICE}/batch", paused=True, rate="30/m", concurrency=2)
    heartbeat = until_said(world, worker, lambda one: lane(one)["paused"], "it is paused")
    assert (lane(heartbeat)["rate"], lane(heartbeat)["concurrency"]) == (0.5, 2)
    assert not lane(heartbeat, "high")["paused"]
    world.unset(f"{SERVICE}/batch")
    until_said(world, worker, lambda one: not lane(one)["paused"], "it goes on")


def test_two_workers_say_how_they_share_the_partitions(world: World) -> None:
    first = world.worker("first", heartbeat_s=60).ready()
    second = world.worker("second", heartbeat_s=60).ready()
    for worker in (first, second):
        until_said(
            world,
            worker,
            lambda one: [len(each["partitions"]) for each in one["lanes"]] == [1, 1],
            "each has one of each lane",
        )
    assert second.stop() == 0
    until_said(world, first, lambda one: len(lane(one)["partitions"]) == 2, "they come back")


def test_a_worker_that_loads_starts(world: World) -> None:
    worker = world.worker(heartbeat_s=0.5, WORKER_LOADS=HOUR_S)
    until(lambda: len(said(world, worker)) > 3, "it is heard of")
    assert {one["state"] for one in said(world, worker)} == {"starting"}
    assert worker.stop() == 0
    assert states(said(world, worker)) == ["starting", "stopping", "gone"]


@pytest.mark.parametrize("do", ["kill", "fail"])
def test_a_killed_worker_falls_silent_and_one_that_fails_says_that_it_goes(
    world: World, flag: Path, do: str
) -> None:
    worker = world.worker(heartbeat_s=0.5).ready()
    until_said(world, worker, lambda one: one["state"] == "working", "it works")
    if do == "kill":
        worker.kill()
        assert states(said(world, worker)) == ["starting", "working"]
    else:
        world.ask(Task("defect", "defect", flag))
        assert worker.code() == 1
        assert states(said(world, worker)) == ["starting", "working", "stopping", "gone"]


def test_without_the_topic_a_worker_works_and_says_once_that_nobody_hears_it(world: World) -> None:
    admin = AdminClient({"bootstrap.servers": world.places.kafka})
    admin.delete_topics([world.prefix + TOPIC])[world.prefix + TOPIC].result(30)
    worker = world.worker(heartbeat_s=0.1).ready()
    world.ask(*(Task(f"done-{number}") for number in range(5)))
    world.await_done(*(f"done-{number}" for number in range(5)))
    until(lambda: worker.lines("heartbeat_lost"), "it says so")
    world.ask(Task("last"))
    world.await_done("last")
    assert worker.stop() == 0
    assert len(worker.lines("heartbeat_lost")) == 1


def test_without_the_schema_a_worker_works(world: World) -> None:
    subject = f"{world.prefix}{TOPIC}-value"
    httpx.delete(f"{world.places.registry}/subjects/{subject}").raise_for_status()
    worker = world.worker(heartbeat_s=0.1).ready()
    world.ask(Task("done"))
    world.await_done("done")
    until(lambda: worker.lines("heartbeat_lost"), "it says so")
    (line,) = worker.lines("heartbeat_lost")
    assert subject in line["reason"]
    assert worker.stop() == 0


def test_a_worker_that_tells_nobody_tells_nobody(world: World) -> None:
    worker = world.worker(heartbeat_s=0.1, operations="false").ready()
    world.ask(Task("done"))
    world.await_done("done")
    assert worker.stop() == 0
    assert world.all_of(TOPIC) == []


def test_a_broker_that_is_away_delays_no_end_and_is_told_again_once_it_is_back(
    infrastructure: Infrastructure, tmp_path: Path
) -> None:
    with Stack(tmp_path / "kafka", services=(), infrastructure=("kafka",)) as stack:
        kafka = stack.address("kafka")
        places = Places(kafka, infrastructure.registry, infrastructure.redis)
        world = World(places, tmp_path, partitions=2)
        try:
            away(world, stack)
        finally:
            world.close()


def away(world: World, stack: Stack) -> None:
    broker = stack.pid("kafka")
    worker = world.worker(heartbeat_s=0.1).ready()
    until_said(world, worker, lambda one: one["state"] == "working", "it works")
    os.kill(broker, signal.SIGSTOP)
    until(lambda: worker.lines("heartbeat_lost"), "it says that it is not heard")
    os.kill(broker, signal.SIGCONT)
    until(lambda: worker.lines("heartbeats_again"), "and that it is heard again")
    until_said(world, worker, lambda one: one["state"] == "working", "it works")
    assert len(worker.lines("heartbeat_lost")) == 1
    os.kill(broker, signal.SIGSTOP)
    code = worker.stop(timeout_s=30)
    os.kill(broker, signal.SIGCONT)
    assert code == 0
