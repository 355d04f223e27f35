"""Trainings from the record that asks for one to the record of its end."""

import json
from collections.abc import Callable, Generator, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from threading import Event
from typing import Any
from uuid import uuid4

import numpy as np
import pytest

from darkroom_schemas.names import TRAINING_ENDED, TRAINING_PREPARED
from heads import Head
from lessons import manifest, packed, stored
from sphere import clusters, middles
from streamkit import Busy, Emit, Failure, Message, ObjectStore, Reject, Retry, StoreFull
from trainer import handlers
from trainer.counting import Counts
from trainer.examples import Examples
from trainer.fitting import fit
from trainer.handlers import Trainer
from trainer.lock import Held, Locks, RedisAway, Taken
from trainer.progress import Progress

LABELS = ("bill", "cat", "dog")
OWNER = str(uuid4())


class FakeLocks(Locks):
    """One lock, in memory."""

    def __init__(self) -> None:
        self.worker, self.ttl_s = "a worker", 30.0
        self.others: list[Taken] = []
        """Who has it when it is asked for, one after another; then it is free."""
        self.token = 0
        self.holder = ""
        self.away = False

    def take(self, model: str, fence: int) -> Held | Taken:
        if self.away:
            raise RedisAway("away")
        if self.others:
            return self.others.pop(0)
        self.token, self.holder = max(self.token, fence) + 1, str(uuid4())
        return Held(self, model, self.holder, self.token, 0.0, clock=lambda: self.now)

    now = 0.0

    def call(self, script: str, model: str, holder: str, number: int) -> object:
        if self.away:
            raise RedisAway("away")
        if self.holder != holder:
            return 0
        if script == "release":
            self.holder = ""
        return 1


class Tells:
    def __init__(self) -> None:
        self.told: list[Progress] = []

    def say(self, progress: Progress) -> None:
        self.told.append(progress)

    def flush(self) -> None:
        pass


class Counted(Counts):
    def __init__(self) -> None:
        self.all: list[Any] = []

    def _send(self, what: Any) -> None:
        self.all.append(what)


@dataclass
class World:
    folder: Path
    locks: FakeLocks = field(default_factory=FakeLocks)
    teller: Tells = field(default_factory=Tells)
    counts: Counted = field(default_factory=Counted)
    cancelled: Callable[[str], str | None] = lambda _request: None
    pausing: Callable[[], None] = lambda: None
    limit_s: float = 3600.0

    def __post_init__(self) -> None:
        self.store = ObjectStore(f"file://{self.folder}")

    def prepared(
        self, given: Examples, request_id: str = "", fence: int = 3, **changes: Any
    ) -> Message:
        request_id = request_id or str(uuid4())
        value = {
            "request_id": request_id,
            "owner": OWNER,
            "model": "things",
            "reason": "person",
            "fence": fence,
            **manifest(self.store, request_id, given, **changes),
        }
        return message(value)

    @property
    def trainer(self) -> Trainer:
        return Trainer(
            self.store,
            self.locks,
            self.teller,
            self.cancelled,
            self.counts,
            self.limit_s,
            self.pausing,
        )

    def train(self, message: Message) -> Emit:
        (emit,) = exhausted(self.trainer.train(message))
        assert emit.topic == TRAINING_ENDED
        return emit

    def end(self, message: Message) -> dict[str, Any]:
        return dict(self.train(message).value)

    def report(self, end: dict[str, Any]) -> Any:
        return json.loads(self.store.get(end["report_uri"], limit=1 << 24))

    def folds(self) -> list[Path]:
        return list(self.folder.glob("trainings/*/folds/*"))

    def ends(self) -> list[Path]:
        return list(self.folder.glob("trainings/*/ended-*"))

    def count(self, what: str, value: str) -> int:
        return sum(one.get(what) == value for one in self.counts.all)


@pytest.fixture
def world(tmp_path: Path) -> World:
    return World(tmp_path)


def message(value: dict[str, Any]) -> Message:
    key = f"{value['owner']}:{value['model']}"
    return Message(TRAINING_PREPARED, "learning", key, value, {}, 0, 0, 0)


def exhausted(slices: Generator[None, None, Sequence[Emit]]) -> Sequence[Emit]:
    while True:
        try:
            next(slices)
        except StopIteration as stop:
            emits: Sequence[Emit] = stop.value
            return emits


def lesson(each: int = 8, width: float = 0.4) -> Examples:
    return clusters(LABELS, each, width=width)


def at(number: int, then: Callable[[], None]) -> Callable[[], None]:
    """At the pause of that number."""
    calls = iter(range(1, 1_000_000))

    def pausing() -> None:
        if next(calls) == number:
            then()

    return pausing


def stop() -> None:
    raise Stopped


class Stopped(Exception):  # noqa: N818 - a defect of tests
    """In the middle."""


# -- an end -------------------------------------------------------------------------------------


def test_a_training_ends_with_a_head_a_report_and_its_metrics(world: World) -> None:
    asked = world.prepared(lesson())
    emit = world.train(asked)
    end = dict(emit.value)
    assert emit.key == f"{OWNER}:things"
    assert (end["end"], end["publish"], end["token"]) == ("trained", True, 4)
    head = Head.of(world.store.get(end["head"]["uri"], limit=1 << 20))
    assert (head.version, head.labels) == (end["head"]["sha256"], LABELS)
    assert end["head"]["model_version"] == "embedder@1"
    report, metrics = world.report(end), json.loads(end["metrics"])
    assert report["metrics"] == metrics
    assert set(report["said"]) == set(lesson().keys)
    assert metrics["accuracy"] == metrics["right"] / metrics["examples"] > 0.8
    assert [len(row) for row in metrics["confusion"]] == [4] * 4
    assert set(metrics["by_label"]) == {*LABELS, "none"}
    assert world.locks.holder == ""
    assert world.folds() == []
    assert world.counts.all[-1] == {"ended": "trained", "publish": True, "seconds": end["seconds"]}


def test_an_end_is_named_by_its_request_and_token(world: World) -> None:
    asked = world.prepared(lesson())
    first, second = world.train(asked), world.train(asked)
    assert (first.value["token"], second.value["token"]) == (4, 5)
    assert first.id != second.id
    other = World(world.folder).train(asked)
    assert (other.id, other.value["token"]) == (first.id, 4)


def test_a_training_that_has_ended_is_not_done_again(world: World) -> None:
    asked = world.prepared(lesson())
    first = world.end(asked)
    world.pausing = stop
    again = world.end(asked)
    assert {**again, "token": 4} == first


def test_too_few_examples_end_it_with_what_is_missing(world: World) -> None:
    end = world.end(world.prepared(lesson(3)))
    assert (end["end"], end["publish"], end["head"], end["metrics"]) == (
        "not_enough",
        False,
        None,
        "",
    )
    assert "needs 2 more of `bill`" in end["reason"]


def test_the_policy_of_the_manifest_holds(world: World) -> None:
    easy = {"least_accuracy": 0.1, "least_examples": 2}
    assert world.end(world.prepared(lesson(3), policy=easy))["end"] == "trained"
    hard = {"least_accuracy": 1.0, "least_examples": 2}
    end = world.end(world.prepared(lesson(), policy=hard))
    assert (end["end"], end["publish"]) == ("trained", False)
    assert end["head"] is not None
    assert "is not above 100.0%" in end["reason"]


def test_a_label_of_the_set_without_examples_is_missing(world: World) -> None:
    end = world.end(world.prepared(lesson(), labels=[*LABELS, "receipt"]))
    assert (end["end"], end["reason"]) == ("not_enough", "needs 5 more of `receipt`")


@pytest.mark.parametrize("value", [np.nan, np.inf, 0.0])
def test_a_poisoned_example_is_left_out_and_named(world: World, value: float) -> None:
    examples = lesson()
    vectors = examples.vectors.copy()
    vectors[3] = value
    end = world.end(world.prepared(replace(examples, vectors=vectors)))
    assert (end["end"], json.loads(end["metrics"])["examples"]) == ("trained", 23)
    (doubt,) = world.report(end)["suspicious"]
    assert (doubt["photo_id"], doubt["kind"]) == (examples.keys[3], "poisoned")
    assert (doubt["label"], doubt["source"]) == (examples.labels[3], "person")


def with_autos(people: Examples, autos: Examples) -> Examples:
    """What people said, and beside that what heads labelled."""
    return Examples.of(
        [*people.keys, *(f"auto-{key}" for key in autos.keys)],
        [*people.labels, *autos.labels],
        np.concatenate([people.vectors, autos.vectors]),
        [1.0] * len(people) + [0.3] * len(autos),
    )


def test_what_heads_labelled_teaches_where_it_does_no_harm(world: World) -> None:
    people, more = lesson(5), clusters(LABELS, 12, seed=1, among=middles(len(LABELS)))
    wrong = replace(more, labels=(*more.labels[12:], *more.labels[:12]))
    helped = world.end(world.prepared(with_autos(people, more)))
    harmed = world.end(world.prepared(with_autos(people, wrong)))
    alone = world.end(world.prepared(people))

    used = [json.loads(end["metrics"])["auto_examples"] for end in (helped, harmed, alone)]
    assert used == [36, 0, 0]
    assert harmed["head"]["sha256"] == alone["head"]["sha256"]
    assert harmed["publish"] is True
    assert set(world.report(harmed)["said"]) == set(people.keys)
    assert world.folds() == []


def test_one_example_only_and_all_poisoned_are_not_enough(world: World) -> None:
    one = Examples.of(["a"], ["cat"], middles(1))
    assert world.end(world.prepared(one))["end"] == "not_enough"
    nothing = replace(lesson(), vectors=np.full_like(lesson().vectors, np.nan))
    assert world.end(world.prepared(nothing))["end"] == "not_enough"


def test_identical_labels_are_kept_as_a_candidate(world: World) -> None:
    same = clusters(("cat", "tom"), 12, among=np.repeat(middles(1), 2, axis=0))
    end = world.end(world.prepared(same))
    assert (end["end"], end["publish"]) == ("trained", False)


# -- against the head in use --------------------------------------------------------------------


def in_use(world: World, version: str = "embedder@1", **changes: Any) -> dict[str, Any]:
    head = fit(lesson(), version).head
    report = json.dumps({"said": dict.fromkeys(lesson().keys, "cat")}).encode()
    return {
        "version": "head@1",
        "head": stored(world.store, f"heads/{version}", head.data),
        "report_uri": world.store.put(f"heads/{version}.json", report),
        **changes,
    }


def test_a_head_in_use_that_knows_better_stays(world: World) -> None:
    noisy = lesson(8, width=1.6)
    active = in_use(world, report_uri=None)
    active["head"] = stored(world.store, "heads/good", fit(noisy, "embedder@1").head.data)
    policy = {"least_accuracy": 0.1, "least_examples": 5}
    end = world.end(world.prepared(noisy, active=active, policy=policy))
    assert (end["end"], end["publish"]) == ("trained", False)
    assert "the version in use is right about" in end["reason"]


def test_the_head_in_use_is_held_to_what_its_own_assessment_said(world: World) -> None:
    end = world.end(world.prepared(lesson(), active=in_use(world)))
    assert end["publish"]
    assert json.loads(end["metrics"])["active_accuracy"] == pytest.approx(1 / 3)


def test_a_head_for_other_embeddings_is_no_measure(world: World) -> None:
    end = world.end(world.prepared(lesson(), active=in_use(world, "embedder@0")))
    assert end["publish"]
    assert json.loads(end["metrics"])["active_accuracy"] is None


def test_a_head_in_use_that_can_t_be_read_is_not_replaced_by_itself(world: World) -> None:
    gone = {"uri": world.store.uri_of("nowhere"), "sha256": "00"}
    end = world.end(world.prepared(lesson(), active=in_use(world, head=gone)))
    assert (end["end"], end["publish"]) == ("trained", False)
    assert "(head@1) can't be compared with" in end["reason"]


# -- manifests ----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"format": 2}, "known is 1"),
        ({"labels": None}, "not as it should be"),
        ({"examples": [{"photo_id": "a"}] * 24}, "not as it should be"),
        ({"examples": []}, "0 examples, but 24 vectors"),
        ({"policy": {"least_accuracy": 2, "least_examples": 5}}, "from 0 to 1"),
        ({"policy": {}}, "not as it should be"),
        ({"vectors": 3}, "not as it should be"),
        ({"seed": "x"}, "not as it should be"),
    ],
)
def test_a_broken_manifest_is_an_end(world: World, changes: dict[str, Any], reason: str) -> None:
    end = world.end(world.prepared(lesson(), **changes))
    assert (end["end"], end["publish"], end["head"]) == ("failed", False, None)
    assert reason in end["reason"]


@pytest.mark.parametrize(
    "data", [b"", b"junk", packed(np.zeros(24)), packed(np.zeros((24, 32))), packed(np.array([{}]))]
)
def test_vectors_that_are_none_are_an_end(world: World, data: bytes) -> None:
    vectors = stored(world.store, "vectors", data)
    end = world.end(world.prepared(lesson(), vectors=vectors))
    assert end["end"] == "failed"
    assert "vectors" in end["reason"]


def test_what_is_missing_or_another_is_an_end(world: World) -> None:
    asked = world.prepared(lesson()).value
    wrong = message({**asked, "request_id": str(uuid4()), "manifest_sha256": "00" * 32})
    assert "not those that were prepared" in world.end(wrong)["reason"]
    missing = {"manifest_uri": world.store.uri_of("nowhere"), "manifest_sha256": "00" * 32}
    end = world.end(message({**asked, **missing, "request_id": str(uuid4())}))
    assert (end["end"], end["reason"]) == (
        "failed",
        "Of the manifest: The file is not in the store.",
    )


def test_a_request_that_names_another_place_is_refused(world: World) -> None:
    asked = message({**world.prepared(lesson()).value, "request_id": "../elsewhere"})
    with pytest.raises(Reject, match="bad_request_id"):
        world.end(asked)
    assert world.ends() == []


@pytest.mark.parametrize("after", [0, 1])
def test_a_store_that_is_away_burns_no_attempt(world: World, after: int) -> None:
    asked, get = world.prepared(lesson()), world.store.get
    left = iter(range(after))

    def away(uri: str, *, limit: int) -> bytes:
        if next(left, None) is None:
            raise Retry("away", dependency="object store")
        return get(uri, limit=limit)

    world.store.get = away  # type: ignore[method-assign]
    with pytest.raises(Busy, match="away") as caught:
        world.end(asked)
    assert caught.value.dependency == "object store"
    assert world.locks.holder == ""
    world.store.get = get  # type: ignore[method-assign]
    assert world.end(asked)["end"] == "trained"


def test_a_store_that_takes_nothing_keeps_a_training_from_its_end(world: World) -> None:
    asked, put = world.prepared(lesson()), world.store.put

    def full(_key: str, _data: bytes) -> str:
        raise StoreFull("full", dependency="object store")

    world.store.put = full  # type: ignore[method-assign, assignment]
    with pytest.raises(Retry, match="full"):
        world.end(asked)
    world.store.put = put  # type: ignore[method-assign]
    assert world.end(asked)["end"] == "trained"


# -- cancelled, too long, given back ------------------------------------------------------------


def test_a_training_that_is_cancelled_ends(world: World) -> None:
    said: list[str] = []
    world.cancelled = lambda _request: said[0] if said else None
    world.pausing = at(7, lambda: said.append("ada"))
    end = world.end(world.prepared(lesson()))
    assert (end["end"], end["reason"], end["head"]) == ("cancelled", "cancelled by ada", None)
    assert world.locks.holder == ""


def test_a_training_that_was_cancelled_before_reads_nothing(world: World) -> None:
    world.cancelled = lambda _request: "ada"
    asked = world.prepared(lesson(), format=99)
    assert world.end(asked)["end"] == "cancelled"


def test_a_training_that_takes_too_long_ends(world: World) -> None:
    end = world.end(world.prepared(lesson(), time_limit_s=1e-9))
    assert (end["end"], end["reason"]) == ("timed_out", "it was not over after 1e-09 s")
    world.limit_s = 1e-9
    assert world.end(world.prepared(lesson()))["end"] == "timed_out"


def test_a_training_can_be_given_back_and_another_goes_on(world: World) -> None:
    never = Event()
    calls: list[int] = []

    def pausing() -> None:
        calls.append(1)
        if len(calls) > 60:
            never.wait(0.2)

    world.pausing = pausing
    asked = world.prepared(lesson(20, 1.6))
    slices = world.trainer.train(asked)
    while len(calls) <= 60:
        next(slices)
    slices.close()
    assert world.locks.holder == ""
    assert world.ends() == []
    kept = len(world.folds())
    assert 0 < kept < 5

    world.pausing = lambda: None
    world.counts.all.clear()
    end = world.end(asked)
    assert (end["end"], end["token"]) == ("trained", 5)
    assert (world.count("fold", "kept"), world.count("fold", "computed")) == (kept, 5 - kept)
    whole = World(world.folder / "apart")
    told = whole.end(whole.prepared(lesson(20, 1.6)))
    assert told["head"]["sha256"] == end["head"]["sha256"]
    assert whole.report(told) == world.report(end)


def test_folds_of_another_manifest_are_not_taken(world: World) -> None:
    request_id = str(uuid4())
    for seed in (0, 1):
        world.pausing = at(90, stop)
        with pytest.raises(Stopped):
            world.end(world.prepared(lesson(20), request_id, seed=seed))
        if seed == 0:
            assert world.folds()
            (world.folder / f"trainings/{request_id}/manifest.json").unlink()
    assert world.count("fold", "kept") == 0


def test_a_fold_that_can_t_be_read_is_worked_out_again(world: World) -> None:
    asked = world.prepared(lesson(20))
    world.pausing = at(90, stop)
    with pytest.raises(Stopped):
        world.end(asked)
    for number, path in enumerate(world.folds()):
        path.write_bytes((b"junk", b"[]", b"[{}]", b'[{"confidences": [1]}]')[number % 4])
    world.pausing = lambda: None
    whole = World(world.folder / "apart")
    assert world.report(world.end(asked)) == whole.report(whole.end(whole.prepared(lesson(20))))


# -- the lock -----------------------------------------------------------------------------------


def test_a_lock_of_who_is_gone_is_waited_for(world: World) -> None:
    world.locks.others = [Taken("another", 60.0)] * 2
    assert world.end(world.prepared(lesson()))["end"] == "trained"
    assert world.count("lock", "held") == 1


def test_a_lock_of_who_lives_burns_no_attempt(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(handlers, "_GRACE_S", 0.0)
    world.locks.others = [Taken("another", 0.0)] * 99
    with pytest.raises(Busy, match="another trains things") as caught:
        world.end(world.prepared(lesson()))
    assert caught.value.dependency == "another trainer"
    assert world.trainer.give_up(world.prepared(lesson()), Failure("x", "y", 4)) == ()


def test_without_redis_nothing_begins_and_no_attempt_is_burnt(world: World) -> None:
    world.locks.away = True
    with pytest.raises(Busy) as caught:
        world.end(world.prepared(lesson()))
    assert caught.value.dependency == "redis"
    assert world.teller.told == []
    with pytest.raises(Busy):
        world.trainer.give_up(world.prepared(lesson()), Failure("x", "y", 4))


def lose(world: World) -> Callable[[], None]:
    def then() -> None:
        world.locks.holder, world.locks.now = "another", 31.0

    return then


@pytest.mark.parametrize("pause", [5, 40])
def test_who_lost_the_lock_says_nothing(world: World, pause: int) -> None:
    world.pausing = at(pause, lose(world))
    world.cancelled = lambda _request: "ada" if world.locks.now else None
    with pytest.raises(Retry, match="another trainer has the lock"):
        world.end(world.prepared(lesson(20)))
    assert world.ends() == []
    assert world.count("lock", "lost") == 1
    assert world.locks.holder == "another"


def test_who_lost_the_lock_at_the_very_end_says_nothing(world: World) -> None:
    put = world.store.put

    def losing(key: str, data: bytes) -> str:
        if "report" in key:
            world.locks.holder = "another"
        return put(key, data)

    world.store.put = losing  # type: ignore[method-assign]
    with pytest.raises(Retry):
        world.end(world.prepared(lesson()))
    assert world.ends() == []


def test_a_redis_that_is_away_for_longer_than_the_lock_ends_it(world: World) -> None:
    def away() -> None:
        world.locks.away, world.locks.now = True, 31.0

    world.pausing = at(5, away)
    with pytest.raises(Busy) as caught:
        world.end(world.prepared(lesson()))
    assert caught.value.dependency == "redis"
    assert world.ends() == []


def test_a_redis_that_is_away_for_a_moment_harms_nothing(world: World) -> None:
    def away() -> None:
        world.locks.away, world.locks.now = True, 20.0

    world.pausing = at(5, away)
    assert world.end(world.prepared(lesson()))["end"] == "trained"


class Killed(BaseException):
    """As by a signal, but for the lock, which nobody releases then."""


@pytest.mark.parametrize("place", ["folds/3", "head", "report", "ended"])
@pytest.mark.parametrize("done", [False, True], ids=["before", "after"])
def test_a_training_that_is_killed_where_it_stores_comes_to_the_same(
    world: World, place: str, done: bool
) -> None:
    asked, put = world.prepared(lesson(20, 1.6)), world.store.put

    def killed(key: str, data: bytes) -> str:
        if place not in key:
            return put(key, data)
        if done:
            put(key, data)
        raise Killed

    world.store.put = killed  # type: ignore[method-assign]
    with pytest.raises(Killed):
        world.end(asked)
    world.store.put = put  # type: ignore[method-assign]
    end = world.end(asked)
    whole = World(world.folder / "apart")
    told = whole.end(whole.prepared(lesson(20, 1.6)))
    assert (end["head"]["sha256"], end["token"]) == (told["head"]["sha256"], 5)
    assert whole.report(told) == world.report(end)
    assert world.folds() == [] or (place, done) == ("ended", True)


# -- given up -----------------------------------------------------------------------------------


def test_what_is_given_up_has_failed(world: World) -> None:
    failure = Failure("deadline", "It took too long.", 4)
    (emit,) = world.trainer.give_up(world.prepared(lesson()), failure)
    assert (emit.value["end"], emit.value["reason"], emit.value["token"]) == (
        "failed",
        "It took too long.",
        4,
    )
    assert world.locks.holder == ""


# -- progress -----------------------------------------------------------------------------------


def test_progress_is_told_from_the_beginning_to_the_end(world: World) -> None:
    world.end(world.prepared(lesson()))
    told = world.teller.told
    assert {(one.token, one.worker, one.model) for one in told} == {(4, "a worker", "things")}
    assert list(dict.fromkeys(one.step for one in told)) == ["reading", "assessing", "fitting"]
    done = [one.done for one in told]
    assert (done[0], done[-1]) == (0.0, 1.0)
    assert done == sorted(done)
    steps = np.diff(done)
    assert steps.max() < 0.2


def test_progress_goes_on_from_the_folds_that_were_kept(world: World) -> None:
    asked = world.prepared(lesson(20))
    world.pausing = at(90, stop)
    with pytest.raises(Stopped):
        world.end(asked)
    kept = len(world.folds())
    world.pausing = lambda: None
    world.teller.told.clear()
    world.pausing = at(2, stop)
    with pytest.raises(Stopped):
        world.end(asked)
    assert world.teller.told[-1].done == pytest.approx(kept / 6)
