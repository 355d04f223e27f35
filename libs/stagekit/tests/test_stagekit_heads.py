"""Heads of owners: loaded, swapped, told, and what they add to a part; without a broker."""

import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from PIL import Image
from structlog.testing import capture_logs

from stage_part import begun, request, whole
from stagekit import Label, Labelling, Loaded, Servings, Stage, StageSettings, handlers
from stagekit.heads import Heads
from stagekit.reporting import Report, Reporter
from stagekit.versions import Activation, Version, VersionError
from streamkit import Busy, DeadlineExceeded, Emit, Message, ObjectStore

WITHIN_S = 20.0
STAGE = "v@1"
ANN = "7d444840-9dc0-51d1-b245-5ffdce74fad2"
"""Who owns the photo of `request`."""
BOB = "0e5be3fc-8a02-5a0c-9df0-54d9b4b0a2a2"
FOUND = {"vector": [1.0]}


def until(true: Callable[[], object], what: str) -> None:
    deadline = time.monotonic() + WITHIN_S
    while not true():
        assert time.monotonic() < deadline, what
        time.sleep(0.01)


@dataclass
class Fake:
    """Says always the same, or fails."""

    said: Sequence[Label]
    model_version: str = STAGE
    error: Exception | None = None

    def labels(self, seen: Any) -> Sequence[Label]:
        assert seen == [1.0]
        if self.error is not None:
            raise self.error
        return self.said


class World:
    """Versions that can be loaded by their names, and what was told."""

    def __init__(self) -> None:
        self.labellers: dict[str, Fake | Exception | Callable[[], Fake]] = {}
        self.loads: list[str] = []
        self.now_s = 0.0
        self.told: list[tuple[Mapping[str, int], Mapping[str, str]]] = []

    def heads(self, most: int = 10) -> Heads:
        labelling = Labelling(owner_of, self._load, lambda found: found["vector"], most)
        tell = lambda *said: self.told.append(said)  # noqa: E731
        return Heads(labelling, lambda _version: None, tell, lambda: self.now_s)

    def _load(self, version: Version, _folder: Path | None) -> Fake:
        self.loads.append(version.version)
        found = self.labellers[version.version]
        if isinstance(found, Exception):
            raise found
        return found if isinstance(found, Fake) else found()

    @property
    def generations(self) -> Mapping[str, int]:
        return self.told[-1][0] if self.told else {}

    def tells(self, generations: Mapping[str, int]) -> bool:
        return self.generations == generations

    @property
    def failed(self) -> Mapping[str, str]:
        return self.told[-1][1] if self.told else {}


def owner_of(model: str) -> str | None:
    return model.split(":")[1] if model.startswith("head:") else None


def activation(generation: int, version: str, shadow: str | None = None) -> Activation:
    beside = None if shadow is None else Version(shadow, "head", {})
    return Activation(generation, Version(version, "head", {}), beside, 1.0)


@pytest.fixture
def world() -> World:
    return World()


@pytest.fixture
def started(world: World) -> Iterator[Callable[..., Heads]]:
    with ExitStack() as stack:

        def start(most: int = 10, **wanted: Activation) -> Heads:
            heads = world.heads(most)
            for name, one in wanted.items():
                heads.told(named(name), one)
            stack.callback(heads.close)
            heads.start(WITHIN_S)
            return heads

        yield start


def named(short: str) -> str:
    """`ann_pets` is Ann's head of pets."""
    who, _, what = short.partition("_")
    return f"head:{ANN if who == 'ann' else BOB}:{what}"


PETS, ROOMS, BOBS = named("ann_pets"), named("ann_rooms"), named("bob_pets")

BATCH = request("file:///none.png")


def added(heads: Heads, owner: str = ANN, message: Message = BATCH) -> list[dict[str, Any]]:
    with heads.use(owner) as add:
        labels: list[dict[str, Any]] = add(message, FOUND, STAGE).fields["labels"]
    return labels


def names(heads: Heads, owner: str = ANN) -> list[str]:
    return [one["name"] for one in added(heads, owner)]


Started = Callable[..., Heads]


def test_a_part_has_the_labels_of_all_heads_of_its_owner_best_first(
    world: World, started: Started
) -> None:
    world.labellers["head@1"] = Fake([("cat", 0.7), ("dog", 0.2)])
    world.labellers["head@2"] = Fake([("kitchen", 0.5)])
    world.labellers["head@3"] = Fake([("parrot", 0.9)])
    heads = started(
        ann_pets=activation(3, "head@1"),
        ann_rooms=activation(1, "head@2"),
        bob_pets=activation(1, "head@3"),
    )

    first, second, third = added(heads)

    assert first == {"name": "cat", "confidence": 0.7, "head": PETS, "head_version": "head@1"}
    assert second == {
        "name": "kitchen",
        "confidence": 0.5,
        "head": ROOMS,
        "head_version": "head@2",
    }
    assert third["name"] == "dog"
    assert names(heads, BOB) == ["parrot"]
    assert names(heads, "somebody else") == []
    assert world.generations == {PETS: 3, ROOMS: 1, BOBS: 1}


def test_a_head_of_other_findings_than_these_labels_nothing(world: World, started: Started) -> None:
    world.labellers["head@1"] = Fake([("cat", 0.7)], model_version="v@2")
    heads = started(ann_pets=activation(1, "head@1"))
    assert names(heads) == []
    assert (world.generations, world.failed) == ({PETS: 1}, {})


def test_a_generation_is_told_only_once_nothing_in_hand_works_with_the_one_before(
    world: World, started: Started
) -> None:
    world.labellers["head@1"] = Fake([("cat", 0.7)])
    world.labellers["head@2"] = Fake([("lynx", 0.7)])
    heads = started(ann_pets=activation(1, "head@1"))

    with heads.use(ANN) as add:
        heads.told(PETS, activation(2, "head@2"))
        until(lambda: names(heads) == ["lynx"], "it is swapped in")
        assert add(BATCH, FOUND, STAGE).fields["labels"][0]["head_version"] == "head@1"
        assert world.generations == {PETS: 1}

    until(lambda: world.generations == {PETS: 2}, "it is told")


def test_work_that_began_without_any_head_holds_up_the_first_one(
    world: World, started: Started
) -> None:
    world.labellers["head@1"] = Fake([("cat", 0.7)])
    heads = started()
    with heads.use(ANN) as add:
        heads.told(PETS, activation(1, "head@1"))
        until(lambda: names(heads) == ["cat"], "it is swapped in")
        assert add(BATCH, FOUND, STAGE).fields["labels"] == []
        assert world.generations == {}
    until(lambda: world.generations == {PETS: 1}, "it is told")


def test_a_head_that_can_t_be_had_is_told_and_the_one_before_goes_on(
    world: World, started: Started
) -> None:
    world.labellers["head@1"] = Fake([("cat", 0.7)])
    world.labellers["head@2"] = VersionError("head.safetensors is damaged.")
    world.labellers["head@3"] = Fake([("kitchen", 0.9)])
    heads = started(ann_pets=activation(1, "head@1"))

    heads.told(PETS, activation(2, "head@2"))
    until(lambda: world.failed == {PETS: "head.safetensors is damaged."}, "it is told")
    heads.told(ROOMS, activation(1, "head@3"))

    until(lambda: names(heads) == ["kitchen", "cat"], "all others go on")
    assert world.generations == {PETS: 1, ROOMS: 1}
    assert world.failed == {PETS: "head.safetensors is damaged."}


def test_a_head_that_could_not_be_had_is_tried_again_after_a_while(
    world: World, started: Started
) -> None:
    world.labellers["head@1"] = Busy("the store is away")
    world.labellers["head@2"] = Fake([("kitchen", 0.9)])
    heads = started(ann_pets=activation(1, "head@1"))
    assert world.failed == {PETS: "the store is away"}

    world.labellers["head@1"] = Fake([("cat", 0.7)])
    world.now_s = 29.0
    heads.told(ROOMS, activation(1, "head@2"))
    until(lambda: names(heads) == ["kitchen"], "another one is loaded")
    assert world.loads == ["head@1", "head@2"]
    world.now_s = 30.0
    heads.told(ROOMS, activation(2, "head@2"))

    until(lambda: names(heads) == ["kitchen", "cat"], "it is tried again")
    until(lambda: world.failed == {}, "it is told")


def test_what_is_not_loaded_within_the_start_comes_in_later(world: World) -> None:
    world.labellers["head@1"] = Fake([("cat", 0.7)])
    heads = world.heads()
    heads.told(PETS, activation(1, "head@1"))
    heads.start(0.0)
    until(lambda: names(heads) == ["cat"], "it comes in")
    heads.close()


def test_an_older_activation_and_a_repeated_one_change_nothing(
    world: World, started: Started
) -> None:
    world.labellers["head@1"] = Fake([("cat", 0.7)])
    world.labellers["head@2"] = Fake([("kitchen", 0.9)])
    heads = started(ann_pets=activation(5, "head@1"))
    for generation in (4, 5):
        heads.told(PETS, activation(generation, "head@9"))
    heads.told(ROOMS, activation(1, "head@2"))
    until(lambda: world.generations == {PETS: 5, ROOMS: 1}, "it goes on")
    assert world.loads == ["head@1", "head@2"]


def test_an_older_activation_does_not_take_the_place_of_one_that_failed(
    world: World, started: Started
) -> None:
    world.labellers["head@1"] = Fake([("cat", 0.7)])
    world.labellers["head@2"] = Fake([("kitchen", 0.9)])
    world.labellers["head@3"] = VersionError("It is damaged.")
    heads = started(ann_pets=activation(1, "head@1"))
    heads.told(PETS, activation(3, "head@3"))
    until(lambda: world.failed, "it fails")
    heads.told(PETS, activation(2, "head@2"))
    heads.told(ROOMS, activation(1, "head@2"))
    until(lambda: world.tells({PETS: 1, ROOMS: 1}), "it goes on")
    assert names(heads) == ["kitchen", "cat"]


def test_more_heads_than_a_process_may_hold_are_told_and_not_loaded(
    world: World, started: Started
) -> None:
    world.labellers["head@1"] = Fake([("cat", 0.7)])
    heads = started(most=1, ann_pets=activation(1, "head@1"), ann_rooms=activation(1, "head@2"))

    assert names(heads) == ["cat"]
    assert world.loads == ["head@1"]
    assert world.generations == {PETS: 1}
    assert world.failed == {ROOMS: "An engine process holds at most 1 heads: DARKROOM_HEADS_MOST."}
    world.labellers["head@3"] = Fake([("lynx", 0.7)])
    heads.told(PETS, activation(2, "head@3"))
    until(lambda: names(heads) == ["lynx"], "one that is held may change")


def test_a_head_that_fails_at_a_photo_costs_it_its_labels_and_nothing_else(
    world: World, started: Started
) -> None:
    world.labellers["head@1"] = Fake([], error=ZeroDivisionError("by\nzero"))
    world.labellers["head@2"] = Fake([("kitchen", 0.5)])
    heads = started(ann_pets=activation(1, "head@1"), ann_rooms=activation(1, "head@2"))

    assert names(heads) == ["kitchen"]

    until(lambda: world.failed == {PETS: "ZeroDivisionError: by zero"}, "it is told")
    world.labellers["head@3"] = Fake([("cat", 0.7)])
    heads.told(PETS, activation(2, "head@3"))
    until(lambda: world.failed == {}, "the next one is well")
    assert names(heads) == ["cat", "kitchen"]


def test_a_fault_of_a_head_that_is_about_to_be_replaced_is_forgotten_with_it(
    world: World, started: Started
) -> None:
    waits, told, fine = threading.Event(), threading.Event(), Fake([("cat", 0.7)])
    world.labellers["head@1"] = Fake([], error=ZeroDivisionError())
    world.labellers["head@2"] = fine
    heads = started(ann_pets=activation(1, "head@1"))

    def wait() -> Fake:
        waits.set()
        assert told.wait(WITHIN_S)
        return fine

    def look() -> Fake:
        assert names(heads) == ["cat"]  # of the room: the other one fails, and is still at work
        return fine

    world.labellers |= {"head@3": wait, "head@4": look}
    heads.told(ROOMS, activation(1, "head@3"))
    assert waits.wait(WITHIN_S)
    heads.told(PETS, activation(2, "head@2"))
    heads.told(BOBS, activation(1, "head@4"))
    told.set()

    until(lambda: world.tells({ROOMS: 1, PETS: 2, BOBS: 1}), "all are loaded")
    assert names(heads) == ["cat", "cat"]
    assert world.failed == {}


@pytest.mark.parametrize("error", [MemoryError(), DeadlineExceeded()])
def test_what_the_worker_is_told_by_an_exception_is_not_kept_from_it(
    world: World, started: Started, error: Exception
) -> None:
    world.labellers["head@1"] = Fake([], error=error)
    heads = started(ann_pets=activation(1, "head@1"))
    with pytest.raises(type(error)):
        added(heads)


def test_a_shadow_is_compared_and_never_shown(world: World, started: Started) -> None:
    world.labellers["head@1"] = Fake([("cat", 0.75)])
    world.labellers["head@2"] = Fake([("lynx", 0.25), ("cat", 0.25)])
    heads = started(ann_pets=activation(1, "head@1", shadow="head@2"))

    with heads.use(ANN) as add:
        said = add(BATCH, FOUND, STAGE)
        high = add(replace(BATCH, lane="high"), FOUND, STAGE)

    (one,) = said.compared
    values = one.fields()
    assert [label["name"] for label in said.fields["labels"]] == ["cat"]
    assert (one.model, values["active_version"], values["shadow_version"]) == (
        PETS,
        "head@1",
        "head@2",
    )
    assert (values["active_says"], values["shadow_says"], values["agrees"]) == (
        "cat",
        "lynx",
        False,
    )
    assert values["difference"] == pytest.approx(0.75)
    assert values["error"] is None
    assert high.compared == []


@pytest.mark.parametrize(
    ("shadow", "error"),
    [
        (Fake([], error=ZeroDivisionError("x")), "ZeroDivisionError: x"),
        (Fake([("cat", 0.7)], model_version="v@2"), "It labels what v@2 finds, and not v@1."),
    ],
)
def test_a_shadow_that_can_t_look_is_a_finding(
    world: World, started: Started, shadow: Fake, error: str
) -> None:
    world.labellers |= {"head@1": Fake([("cat", 0.7)]), "head@2": shadow}
    heads = started(ann_pets=activation(1, "head@1", shadow="head@2"))
    with heads.use(ANN) as add:
        said = add(BATCH, FOUND, STAGE)
    assert said.compared[0].fields()["error"] == error
    assert said.fields["labels"][0]["name"] == "cat"
    assert world.failed == {}


def test_a_shadow_that_can_t_be_loaded_is_told_and_its_head_labels(
    world: World, started: Started
) -> None:
    world.labellers |= {"head@1": Fake([("cat", 0.7)]), "head@2": VersionError("It is damaged.")}
    heads = started(ann_pets=activation(1, "head@1", shadow="head@2"))

    assert names(heads) == ["cat"]
    assert world.generations == {PETS: 1}
    assert world.failed == {PETS: "The shadow head@2 can't be loaded: It is damaged."}
    with capture_logs() as logs:
        world.now_s = 30.0
        heads.told(ROOMS, activation(1, "head@1"))
        until(lambda: names(heads) == ["cat", "cat"], "it is tried again")
    assert [one["head"] for one in logs] == [ROOMS]  # there is no news of the other one
    world.labellers["head@2"] = Fake([("lynx", 0.7)])
    world.now_s = 60.0
    heads.told(ROOMS, activation(2, "head@1"))
    until(lambda: world.failed == {}, "it is tried again")
    with heads.use(ANN) as add:
        assert len(add(BATCH, FOUND, STAGE).compared) == 1


def test_no_work_mixes_heads_while_they_are_swapped_under_load(
    world: World, started: Started
) -> None:
    """Every piece of work has one version from its beginning to its end, and none that is older
    than what is told meanwhile."""
    last = 40
    for number in range(1, last + 1):
        world.labellers[f"head@{number}"] = Fake([(str(number), 0.5)])
    heads = started(ann_pets=activation(1, "head@1"))
    stop, mixed = threading.Event(), list[Any]()

    def work() -> int:
        done, newest = 0, 1
        while not stop.is_set():
            with heads.use(ANN) as add:
                held = world.generations[PETS]
                first = add(BATCH, FOUND, STAGE).fields["labels"]
                again = add(BATCH, FOUND, STAGE).fields["labels"]
            number = int(first[0]["name"])
            if (
                first != again
                or number < max(newest, held)
                or first[0]["head_version"] != (f"head@{number}")
            ):
                mixed.append((newest, held, first, again))
            done, newest = done + 1, number
        return done

    with ThreadPoolExecutor(4) as pool:
        working = [pool.submit(work) for _ in range(4)]
        try:
            for number in range(2, last + 1):
                heads.told(PETS, activation(number, f"head@{number}"))
                until(partial(world.tells, {PETS: number}), "it is told under load")
        finally:
            stop.set()
        assert all(one.result() for one in working)
    assert mixed == []


class Published:
    def __init__(self) -> None:
        self.values: list[dict[str, Any]] = []

    def publish(self, emits: list[Emit]) -> None:
        self.values += [dict(emit.value) for emit in emits]

    def close(self) -> None:
        """Nothing is open."""


def test_heads_are_told_in_each_report_and_at_once_when_they_change() -> None:
    said = Published()
    reporter = Reporter("demo", said, "demo-1", every_s=3600.0)
    reporter.heads({PETS: 1}, {})
    reporter.flush()
    assert said.values == []  # there is no report yet

    reporter.say(Report("ready", 2, 2, "v@1", "v"))
    reporter.flush()
    reporter.heads({PETS: 2}, {ROOMS: "It is damaged."})
    reporter.flush()
    reporter.close()

    assert [one["heads"] for one in said.values] == [{PETS: 1}, {PETS: 2}, {PETS: 2}]
    assert [one["heads_failed"] for one in said.values][1:] == [{ROOMS: "It is damaged."}] * 2
    assert [one["state"] for one in said.values] == ["ready", "ready", "gone"]


class Engine:
    name = "v"
    model_version = STAGE


def test_a_stage_with_heads_says_their_labels_in_its_part_and_their_shadows_beside_it(
    world: World, started: Started, tmp_path: Path
) -> None:
    store = ObjectStore(tmp_path.as_uri())
    Image.new("RGB", (8, 8)).save(tmp_path / "a.png")
    asked = request((tmp_path / "a.png").as_uri())
    loaded = Loaded(Engine(), lambda _photo: {"vector": [1.0], "labels": []})

    def load(_settings: StageSettings) -> Loaded:
        return loaded

    def labelling(_settings: StageSettings) -> Labelling:
        raise AssertionError("the test makes the heads")

    world.labellers |= {"head@1": Fake([("cat", 0.75)]), "head@2": Fake([("lynx", 0.25)])}
    heads = started(ann_pets=activation(1, "head@1", shadow="head@2"))
    stage = Stage("embedder", "1", "photo.embedded.v1", load, labelling=labelling)
    servings = Servings.of(loaded)

    (alone,) = whole(begun(handlers(stage, servings, store), asked))
    part, compared = whole(begun(handlers(stage, servings, store, adds=heads), asked))
    _, again = whole(begun(handlers(stage, servings, store, adds=heads), asked))

    assert alone.value["labels"] == []
    assert (part.id, part.topic) == (alone.id, "photo.embedded.v1")
    assert [label["name"] for label in part.value["labels"]] == ["cat"]
    assert compared.topic == "photo.model-compared.v1"
    assert (compared.value["stage"], compared.value["owner"]) == (PETS, ANN)
    assert compared.id == again.id
    assert {part.topic, compared.topic} <= set(stage.writes)
