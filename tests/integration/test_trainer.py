"""Trainers on the real broker, registry and Redis."""

import json
import os
import signal
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path
from typing import Any
from uuid import uuid4

import numpy as np
import pytest
import redis

from darkroom_cli.contracts import Subjects, Topics
from darkroom_cli.stack import Stack
from darkroom_schemas import avro, catalogue, names
from heads import Head
from infrastructure import Infrastructure
from lessons import manifest
from sphere import clusters
from streamkit import Codec, Emit, ObjectStore, Publisher, SchemaIds
from streamkit.rate_redis import connect_redis
from topic_reader import TopicReader
from trainer.examples import Examples
from trainer.lock import Held, LockLost, Locks, RedisAway, Taken
from trainer.manifest import read
from trainer.training import learn
from worker_process import WorkerProcess, until

pytestmark = pytest.mark.long

Example = Callable[..., dict[str, Any]]

TIERS = ("1s", "2s", "3s")
LETTERS = "darkroom.trainer.dlq"
LABELS = ("bill", "cat", "dog")


class Nothing:
    """Keeps no fold."""

    def known(self, _fold: int, _of: int) -> None:
        return None

    def keep(self, _fold: int, _answers: object) -> None:
        pass


class World:
    """Topics of its own, somebody who prepares trainings, and trainers."""

    def __init__(self, places: Infrastructure, folder: Path, example: Example) -> None:
        self.folder = folder
        self._places = places
        self._example = example
        self.prefix = f"t{uuid4().hex[:8]}."
        self.ends = ExitStack()
        whole = catalogue.load(TIERS)
        ours = {
            name: topic
            for name, topic in whole.topics.items()
            if "trainer" in (*topic.producers, *topic.consumers)
        }
        only = replace(whole, topics=ours)
        assert all(one.good for one in Topics(places.kafka, only, self.prefix).apply())
        assert all(one.good for one in Subjects(places.registry, only, self.prefix).apply())
        codec = Codec(SchemaIds(places.registry, folder / "ids"), avro.schema_of, self.prefix)
        self._publisher = Publisher(places.kafka, source="gateway", codec=codec, prefix=self.prefix)
        self.ends.callback(self._publisher.close)
        self._reader = TopicReader(places.kafka, places.registry, folder / "ids", self.prefix)
        self.store = ObjectStore(f"file://{folder}/objects")
        self.redis: redis.Redis = connect_redis(places.redis)
        self.ends.callback(self.redis.close)
        self.hold = folder / "hold"

    def trainer(self, name: str = "one", **settings: object) -> WorkerProcess:
        """A trainer, ready."""
        process = WorkerProcess(
            name,
            self.folder / f"{name}.log",
            {
                "kafka": self._places.kafka,
                "registry": self._places.registry,
                "redis": self._places.redis,
                "cache": self.folder / "ids",
                "objects": f"file://{self.folder}/objects",
                "topic_prefix": self.prefix,
                "retry_tiers": ",".join(TIERS),
                "training_lock_s": 2,
                "drain_s": 2,
                "TRAINER_HOLD": self.folder,
                "OMP_NUM_THREADS": 1,
                **settings,
            },
            program="trainer_program",
        )
        self.ends.callback(process.end)
        return process.ready()

    def prepare(
        self, examples: Examples, *, model: str = "things", key: str = "", **changes: Any
    ) -> dict[str, Any]:
        """Publish a training of these examples, `fence` being 3; what was published."""
        request_id = str(uuid4())
        event = self._example(
            names.TRAINING_PREPARED,
            **{"request_id": request_id, "model": model, "fence": 3},
            **manifest(self.store, request_id, examples, **changes),
        )
        self.publish(event, key)
        return event

    def publish(self, event: Mapping[str, Any], key: str = "") -> None:
        """A prepared training, once more, with its key or another."""
        key = key or f"{event['owner']}:{event['model']}"
        self._publisher.publish([Emit(names.TRAINING_PREPARED, key, event, str(uuid4()))])

    def cancel(self, event: Mapping[str, Any]) -> None:
        request_id = event["request_id"]
        value = self._example(names.TRAINING_CANCELLED, request_id=request_id, by="ada")
        self._publisher.publish([Emit(names.TRAINING_CANCELLED, request_id, value, str(uuid4()))])

    def held(self) -> int:
        """The engine process whose training stands at its pause, once it does."""
        until(lambda: list(self.folder.glob("held-*")), "a training stands")
        (path,) = self.folder.glob("held-*")
        path.unlink()
        return int(path.name.partition("-")[2])

    def ended(self, count: int = 1) -> list[dict[str, Any]]:
        """The ends of trainings, once there are so many."""
        until(lambda: len(self.now(names.TRAINING_ENDED)) >= count, f"{count} trainings ended")
        return self.now(names.TRAINING_ENDED)

    def now(self, topic: str) -> list[dict[str, Any]]:
        """What a topic has."""
        return [value for _, value in self._reader.events(topic)]

    def letters(self) -> int:
        return len(list(self._reader.records(LETTERS)))

    def head(self, event: Mapping[str, Any]) -> Head:
        """The head of an end."""
        data = self.store.get(event["head"]["uri"], limit=1 << 20)
        head = Head.of(data)
        assert head.version == event["head"]["sha256"]
        assert len(data) == event["head"]["byte_size"]
        return head

    def report(self, event: Mapping[str, Any]) -> dict[str, Any]:
        found: dict[str, Any] = json.loads(self.store.get(event["report_uri"], limit=1 << 24))
        return found


@pytest.fixture
def world(infrastructure: Infrastructure, tmp_path: Path, example: Example) -> Iterator[World]:
    made = World(infrastructure, tmp_path, example)
    with made.ends:
        yield made


def lesson(each: int = 8) -> Examples:
    return clusters(LABELS, each, width=0.4)


def test_a_training_ends_with_a_head_and_says_how_far_it_is(world: World) -> None:
    worker = world.trainer()
    examples = lesson()
    vectors = examples.vectors.copy()
    vectors[5] = np.nan
    event = world.prepare(replace(examples, vectors=vectors))

    (end,) = world.ended()
    assert (end["request_id"], end["end"], end["publish"], end["token"]) == (
        event["request_id"],
        "trained",
        True,
        4,
    )
    head = world.head(end)
    assert (head.labels, head.model_version) == (LABELS, "embedder@1")
    said = [label for label, _ in head.predict(lesson(20).vectors).best()]
    assert sum(one == true for one, true in zip(said, lesson(20).labels, strict=True)) > 50
    report = world.report(end)
    assert report["metrics"] == json.loads(end["metrics"])
    assert report["metrics"]["examples"] == 23
    assert [one["kind"] for one in report["suspicious"]] == ["poisoned"]
    assert report["suspicious"][0]["photo_id"] == examples.keys[5]
    told = world.now(names.TRAINING_PROGRESSED)
    assert {(one["request_id"], one["token"]) for one in told} == {(event["request_id"], 4)}
    assert [one["done"] for one in told] == sorted(one["done"] for one in told)
    assert told[-1]["done"] == 1.0
    assert worker.metric("darkroom_training_ended_total", end="trained", publish="yes") == 1
    assert worker.metric("darkroom_training_folds_total", how="computed") == 5
    assert not list(world.folder.glob("objects/trainings/*/folds/*"))


def test_two_at_once_one_trains_and_the_other_waits_and_finds_it_done(world: World) -> None:
    world.hold.write_text("4")
    workers = [world.trainer("one"), world.trainer("two")]
    event = world.prepare(lesson())
    world.held()
    # The same request by other partitions: at least one of them is the other trainer's.
    for number in range(8):
        world.publish(event, key=f"another {number}")
    until(lambda: any(one.lines("training_waits") for one in workers), "one waits")
    until(
        lambda: any(one.metric("darkroom_retries_total", tier="lane") for one in workers),
        "the one that has the lock is taken to be alive",
    )
    assert world.now(names.TRAINING_ENDED) == []

    world.hold.unlink()
    ends = world.ended(9)
    tokens = [one["token"] for one in ends]
    assert len(set(tokens)) == 9
    assert min(tokens) == 4
    assert len({(one["end"], one["head"]["sha256"], one["report_uri"]) for one in ends}) == 1
    began = [line for one in workers for line in one.lines("training_ended")]
    assert [line["token"] for line in began] == [4]
    assert world.letters() == 0


@pytest.mark.parametrize("whom", ["engine", "service"])
def test_after_a_kill_another_goes_on_and_comes_to_the_same(world: World, whom: str) -> None:
    examples = clusters(LABELS, 20, width=2.0)
    worker = world.trainer("one")
    world.hold.write_text("70")
    event = world.prepare(examples)
    engine = world.held()
    kept = list(world.folder.glob("objects/trainings/*/folds/*"))
    assert 2 <= len(kept) < 5

    if whom == "engine":
        os.kill(engine, signal.SIGKILL)
        world.hold.unlink()
    else:
        worker.kill()
        world.hold.unlink()
        worker = world.trainer("two")

    (end,) = world.ended()
    assert end["token"] > 4
    # The engine of a service that is killed may come to the end of a fold before it is, too.
    assert len(kept) <= worker.metric("darkroom_training_folds_total", how="kept") <= 5
    undisturbed = learn(
        read(world.store, event["manifest_uri"], event["manifest_sha256"]),
        Nothing(),
        lambda: None,
        lambda _step, _done: None,
    )
    assert undisturbed.head is not None
    assert world.head(end).data == undisturbed.head.data
    assert world.report(end) == undisturbed.report
    assert world.letters() == 0


def test_what_is_cancelled_ends_so_whether_it_has_begun_or_not(world: World) -> None:
    world.hold.write_text("4")
    worker = world.trainer()
    begun, later = world.prepare(lesson()), world.prepare(lesson(), model="others")
    engine = world.held()
    yields = os.getpriority(os.PRIO_PROCESS, engine) - os.getpriority(os.PRIO_PROCESS, worker.pid)
    assert yields == 10
    world.cancel(begun)
    world.cancel(later)
    world.hold.unlink()
    ends = world.ended(2)
    assert {(one["request_id"], one["end"], one["reason"]) for one in ends} == {
        (event["request_id"], "cancelled", "cancelled by ada") for event in (begun, later)
    }
    assert all(one["head"] is None for one in ends)


def test_a_trainer_that_was_stopped_for_longer_than_its_lock_publishes_nothing(
    world: World,
) -> None:
    world.hold.write_text("4")
    worker = world.trainer()
    event = world.prepare(lesson())
    engine = world.held()
    model = f"{event['owner']}:{event['model']}"
    os.kill(engine, signal.SIGSTOP)
    others = Locks(world.redis, world.prefix, "other", 30)
    found: list[Held] = []

    def taken() -> bool:
        one = others.take(model, 3)
        if isinstance(one, Held):
            found.append(one)
        return bool(found)

    until(taken, "the lock of who stands still ends")
    assert found[0].token == 5
    world.hold.unlink()
    os.kill(engine, signal.SIGCONT)
    until(lambda: worker.metric("darkroom_training_locks_total", what="lost") == 1, "it is lost")
    assert world.now(names.TRAINING_ENDED) == []

    found[0].release()
    (end,) = world.ended()
    assert (end["end"], end["token"]) == ("trained", 6)
    assert world.letters() == 0


def test_a_manifest_that_is_none_ends_in_a_failure_and_not_among_the_dead(world: World) -> None:
    world.trainer()
    event = world.prepare(lesson())
    world.ended()
    world.publish({**event, "request_id": str(uuid4()), "manifest_sha256": "00" * 32})
    world.publish(
        {**event, "request_id": str(uuid4()), "manifest_uri": f"{event['manifest_uri']}x"}
    )
    ends = world.ended(3)[1:]
    assert [one["end"] for one in ends] == ["failed", "failed"]
    assert "bytes are not those" in ends[0]["reason"]
    assert "not in the store" in ends[1]["reason"]
    assert world.letters() == 0


def test_what_is_given_up_is_said_to_have_failed(world: World) -> None:
    world.trainer()
    world.publish({**world.prepare(lesson()), "request_id": "../../elsewhere"})
    ends = {one["request_id"]: one for one in world.ended(2)}
    assert ends["../../elsewhere"]["end"] == "failed"
    assert ends["../../elsewhere"]["token"] in (4, 5)
    until(lambda: world.letters() == 1, "the record is kept")


# -- the lock itself ----------------------------------------------------------------------------


@pytest.fixture
def locks(infrastructure: Infrastructure) -> Iterator[Callable[..., Locks]]:
    client = connect_redis(infrastructure.redis)
    prefix = f"t{uuid4().hex}."
    yield lambda ttl_s=30.0: Locks(client, prefix, "a worker", ttl_s)
    client.close()


def took(found: Held | Taken) -> Held:
    assert isinstance(found, Held)
    return found


def test_one_has_the_lock_and_each_has_a_higher_token(locks: Callable[..., Locks]) -> None:
    first = took(locks().take("a:b", 6))
    other = locks().take("a:b", 6)
    assert isinstance(other, Taken)
    assert other.holder == "a"
    assert 0 < other.left_s <= 30
    apart = took(locks().take("a:c", 0))
    assert (first.token, apart.token) == (7, 1)
    first.release()
    second = took(locks().take("a:b", 0))
    assert second.token == 8
    second.release()
    third = took(locks().take("a:b", 20))
    assert third.token == 21
    third.release()
    apart.release()


def test_a_lock_is_renewed_for_as_long_as_it_is_held(locks: Callable[..., Locks]) -> None:
    held = took(locks(1.0).take("a:b", 0))
    until = time.monotonic() + 2.5
    while time.monotonic() < until:
        assert isinstance(locks().take("a:b", 0), Taken)
    held.check()
    held.release()


def test_a_lock_that_another_has_is_lost_and_not_released(locks: Callable[..., Locks]) -> None:
    mine = locks()
    held = took(mine.take("a:b", 0))
    for name in mine.client.scan_iter("*a:b*:lock"):
        mine.client.delete(name)
    other = took(locks().take("a:b", 0))
    with pytest.raises(LockLost):
        held.renew()
    with pytest.raises(LockLost):
        held.check()
    held.release()
    assert isinstance(locks().take("a:b", 0), Taken)
    other.release()


def test_a_lock_that_another_had_meanwhile_is_lost_too(locks: Callable[..., Locks]) -> None:
    mine = locks()
    held = took(mine.take("a:b", 0))
    for name in mine.client.scan_iter("*a:b*:lock"):
        mine.client.delete(name)
    took(locks().take("a:b", 0)).release()
    with pytest.raises(LockLost):
        held.renew()
    held.release()


def test_a_redis_that_forgot_everything_gives_the_lock_back(locks: Callable[..., Locks]) -> None:
    mine = locks()
    held = took(mine.take("a:b", 3))
    for name in mine.client.scan_iter("*a:b*"):
        mine.client.delete(name)
    held.renew()
    assert isinstance(locks().take("a:b", 0), Taken)
    held.release()
    later = took(locks().take("a:b", 0))
    assert later.token == 5
    later.release()


def test_a_redis_that_is_killed_in_the_middle_ends_no_training(tmp_path: Path) -> None:
    with Stack(tmp_path, services=(), infrastructure=("redis",)) as stack:
        url = stack.address("redis")
        client = connect_redis(url)
        held = took(Locks(client, "", "a worker", 30).take("a:b", 3))
        os.kill(stack.pid("redis"), signal.SIGKILL)
        held.check()

        def confirmed() -> bool:
            try:
                held.renew()
            except RedisAway:
                return False
            return True

        until(confirmed, "it has the lock again")
        other = Locks(connect_redis(url), "", "another", 30).take("a:b", 3)
        assert isinstance(other, Taken)
        held.release()
