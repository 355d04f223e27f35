"""The engine that works, its replacement, what looks beside it: without a broker."""

import threading
import time
import weakref
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from stagekit import Loaded, Options, Photo, StageSettings
from stagekit.keeping import Keeper, Means
from stagekit.reporting import Report, Reporter
from stagekit.serving import Resident, Serving, Servings
from stagekit.versions import Activation, Version
from streamkit import Busy, Emit, EngineLoadError, ObjectStore, PublishError

WITHIN_S = 20.0


def until(true: Callable[[], object], what: str) -> None:
    deadline = time.monotonic() + WITHIN_S
    while not true():
        assert time.monotonic() < deadline, what
        time.sleep(0.01)


class Engine:
    def __init__(self, version: str) -> None:
        self.name = version.partition("@")[0]
        self.model_version = version


class Settings(StageSettings):
    demo_engine: str = "old"
    demo_labels: int = 5


def look(_photo: Photo) -> dict[str, Any]:
    return {}


def load(settings: Settings) -> Loaded:
    """An engine's weights are named by its name; `broken` has none."""
    if settings.demo_engine == "without":
        raise EngineLoadError("It has no weights: name a folder.")
    if settings.demo_engine == "broken":
        raise RuntimeError("no  weights\nhere")
    return Loaded(Engine(f"{settings.demo_engine}@w"), look)


class Said:
    """What a reporter published, and whether the broker is there."""

    def __init__(self) -> None:
        self.values: list[dict[str, Any]] = []
        self.away = False
        self.closed = False

    def publish(self, emits: list[Emit]) -> None:
        if self.away:
            raise PublishError("no broker")
        self.values += [dict(emit.value) for emit in emits]

    def close(self) -> None:
        self.closed = True

    def states(self) -> list[tuple[str, int, str | None]]:
        return [(one["state"], one["generation"], one["version"]) for one in self.values]


@pytest.fixture
def said() -> Said:
    return Said()


Keeping = Callable[..., Keeper]


@pytest.fixture
def keeping(said: Said, tmp_path: Path) -> Iterator[Keeping]:
    with ExitStack() as stack:

        def make(idle_s: float = 0.0, wanted: Activation | None = None) -> Keeper:
            store = ObjectStore(f"file://{tmp_path}/objects")
            settings = Settings(models_cache=tmp_path / "cache")
            means = Means(load, Options("demo_engine", others=("demo_labels",)), settings, store)
            keeper = Keeper(means, Reporter("demo", said, "demo-1"), idle_s)
            stack.callback(keeper.close)
            if wanted is not None:
                keeper.told(wanted)
            keeper.start()
            return keeper

        yield make


def activation(generation: int, engine: str, **options: str) -> Activation:
    version = f"{engine}@w" if not options else f"{engine}@with-options"
    return Activation(generation, Version(version, engine, options))


def test_without_an_activation_the_service_s_own_settings_hold(
    keeping: Keeping, said: Said
) -> None:
    keeper = keeping()

    assert keeper.servings.now.version == "old@w"
    until(lambda: ("ready", 0, "old@w") in said.states(), "it says so")


def test_what_was_active_before_the_start_is_loaded_at_once(keeping: Keeping, said: Said) -> None:
    keeper = keeping(wanted=activation(3, "new", demo_labels="2"))

    assert (keeper.servings.now.version, keeper.servings.now.generation) == ("new@with-options", 3)
    until(lambda: ("ready", 3, "new@with-options") in said.states(), "it says so")


def test_a_new_version_is_loaded_beside_the_one_that_works_and_swapped_in(
    keeping: Keeping, said: Said
) -> None:
    keeper = keeping()

    keeper.told(activation(1, "new"))

    until(lambda: keeper.servings.now.version == "new@w", "it is swapped in")
    until(lambda: ("ready", 1, "new@w") in said.states(), "it says so")
    assert ("loading", 0, "old@w") in said.states()


def test_it_is_ready_only_once_nothing_is_looked_at_by_the_version_before(
    keeping: Keeping, said: Said
) -> None:
    keeper = keeping()
    with keeper.servings.use() as (serving, loaded):
        keeper.told(activation(1, "new"))
        until(lambda: keeper.servings.now.version == "new@w", "it is swapped in")
        assert ("ready", 1, "new@w") not in said.states()
        assert (serving.version, loaded.engine.model_version) == ("old@w", "old@w")
    until(lambda: ("ready", 1, "new@w") in said.states(), "it says so")


def test_the_version_before_is_given_up_once_it_is_unused(keeping: Keeping, said: Said) -> None:
    keeper = keeping()
    engine = weakref.ref(keeper.servings.now.resident.loaded().engine)

    keeper.told(activation(1, "new"))

    until(lambda: ("ready", 1, "new@w") in said.states(), "it is there")
    assert engine() is None


def test_a_version_that_can_t_be_loaded_leaves_the_one_before_at_work(
    keeping: Keeping, said: Said
) -> None:
    keeper = keeping()

    keeper.told(activation(1, "broken"))

    until(lambda: said.values and said.values[-1]["state"] == "failed", "it says so")
    assert said.values[-1]["message"] == "RuntimeError: no weights here"
    last = said.values[-1]
    assert (last["version"], last["generation"], last["wanted"]) == ("old@w", 0, 1)
    assert keeper.servings.now.version == "old@w"

    keeper.told(activation(2, "new"))  # a roll back, or another try
    until(lambda: ("ready", 2, "new@w") in said.states(), "it goes on")


def test_other_weights_than_those_that_were_activated_are_refused(
    keeping: Keeping, said: Said
) -> None:
    keeping()
    keeper = keeping()

    keeper.told(Activation(1, Version("new@other-weights", "new", {}, built_in=True)))

    until(lambda: said.values and said.values[-1]["state"] == "failed", "it says so")
    message = "new@other-weights is not what this service is set to: old@w is"
    assert message in said.values[-1]["message"]


def test_a_service_that_was_set_to_something_else_since_starts_with_that_and_says_so(
    keeping: Keeping, said: Said
) -> None:
    keeper = keeping(wanted=Activation(3, Version("earlier@w", "a+b", {}, built_in=True)))

    assert keeper.servings.now.version == "old@w"
    until(lambda: ("ready", 3, "old@w") in said.states(), "it says so")


def test_a_shadow_that_can_t_be_loaded_is_told_and_stops_nothing(
    keeping: Keeping, said: Said
) -> None:
    wanted = Activation(2, Version("new@w", "new", {}), Version("x@y", "broken", {}), 1.0)
    keeper = keeping(wanted=wanted)

    assert keeper.servings.now.version == "new@w"
    assert keeper.servings.now.shadow is None
    until(lambda: said.values and said.values[-1]["state"] == "ready", "it works")
    assert said.values[-1]["message"].startswith("The shadow x@y can't be loaded: RuntimeError")
    keeper.told(replace(wanted, generation=3))
    until(lambda: ("ready", 3, "new@w") in said.states(), "it goes on")


def test_code_by_its_name_is_never_run_for_an_activation(keeping: Keeping, said: Said) -> None:
    keeper = keeping()

    keeper.told(Activation(1, Version("x@y", "os:system", {"demo_labels": "1"})))

    until(lambda: said.values and said.values[-1]["state"] == "failed", "it says so")
    assert "os:system is code of one machine" in said.values[-1]["message"]


def test_a_process_that_starts_with_a_broken_version_waits_for_another_one(
    keeping: Keeping, said: Said
) -> None:
    with pytest.raises(Busy, match="can't be loaded: RuntimeError: no weights here") as caught:
        keeping(wanted=activation(1, "broken"))
    assert said.values[-1]["state"] == "failed"
    assert caught.value.unforeseen


def test_a_sentence_of_why_a_version_is_not_to_be_had_needs_no_name_of_an_exception(
    keeping: Keeping, said: Said
) -> None:
    with pytest.raises(Busy, match="x@y can't be loaded: It has no weights: name a folder") as one:
        keeping(wanted=Activation(1, Version("x@y", "without", {})))
    assert not one.value.unforeseen
    assert said.values[-1]["message"] == "It has no weights: name a folder."


def test_an_engine_that_nobody_needs_gives_its_memory_back_and_is_loaded_again(
    keeping: Keeping,
) -> None:
    keeper = keeping(idle_s=0.05)
    engine = weakref.ref(keeper.servings.now.resident.loaded().engine)

    until(lambda: engine() is None, "it is let go of")

    with keeper.servings.use() as (serving, loaded):
        assert loaded.engine.model_version == serving.version == "old@w"
        assert (serving.resident.idle_s(), serving.resident.let_go()) == (0.0, False)


def test_a_clean_end_says_that_the_replica_is_gone(keeping: Keeping, said: Said) -> None:
    keeper = keeping()
    until(lambda: said.values and said.values[-1]["state"] == "ready", "it is there")

    keeper.close()

    assert said.values[-1]["state"] == "gone"
    assert said.closed


def test_reports_are_repeated_and_a_lost_one_is_no_trouble() -> None:
    said = Said()
    said.away = True
    reporter = Reporter("demo", said, "demo-1", every_s=0.02)
    reporter.say(Report("ready", 2, 2, "new@w", "new"))
    reporter.flush()
    assert said.values == []

    said.away = False
    until(lambda: len(said.values) >= 3, "it is said again and again")
    reporter.close()

    first = said.values[0]
    assert (first["replica"], first["name"], first["state"]) == ("demo-1", "demo", "ready")
    assert said.values[-1]["state"] == "gone"


def test_every_report_says_what_versions_may_be() -> None:
    said = Said()
    options = Options("demo_engine", others=("demo_labels",), engines=lambda: ("old", "new"))
    reporter = Reporter("demo", said, "demo-1", takes=options.takes(Settings))
    reporter.say(Report("failed", 0, 0, None, None, message="no weights"))
    reporter.close()

    (value,) = said.values
    assert value["engines"] == ("old", "new")
    assert value["options"] == {"demo_labels": '{"type": "integer"}'}


def test_no_work_is_mixed_while_versions_change_under_load() -> None:
    """Every piece of work sees one version from its beginning to its end."""
    versions = [Serving.of(Loaded(Engine(f"v@{n}"), look)) for n in range(40)]
    servings, stop, mixed = Servings(versions[0]), threading.Event(), []

    def work() -> int:
        done = 0
        while not stop.is_set():
            with servings.use() as (serving, loaded):
                if loaded.engine.model_version != serving.version:
                    mixed.append(serving.version)
            done += 1
        return done

    with ThreadPoolExecutor(4) as pool:
        working = [pool.submit(work) for _ in range(4)]
        for serving in versions[1:]:
            before = servings.swap(serving)
            assert before.resident.unused(WITHIN_S)
        stop.set()
        assert all(one.result() for one in working)
    assert mixed == []


def test_an_engine_is_loaded_again_once_for_all_who_wait() -> None:
    loads: list[int] = []

    def again() -> Loaded:
        loads.append(1)
        return Loaded(Engine("v@1"), look)

    resident = Resident(again(), again, time.monotonic)
    assert resident.let_go()
    assert not resident.let_go()

    def use() -> None:
        with resident.use():
            pass

    with ThreadPoolExecutor(4) as pool:
        for one in [pool.submit(use) for _ in range(8)]:
            one.result()
    assert len(loads) == 2
