"""Engine processes that follow which version holds, by the real broker and registry."""

import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from darkroom_schemas import names
from infrastructure import Infrastructure
from model_topics import Example, ModelTopics
from stagekit import Loaded, Options, StageSettings
from stagekit.keeping import Keeper, Means, keep
from streamkit import ObjectStore, RawRecord

WITHIN_S = 30.0


class Settings(StageSettings):
    demo_engine: str = "old"


class Engine:
    def __init__(self, name: str) -> None:
        self.name = name
        self.model_version = f"{name}@w"


def load(settings: Settings) -> Loaded:
    return Loaded(Engine(settings.demo_engine), lambda _photo: {})


def until(true: Callable[[], object], what: str) -> None:
    deadline = time.monotonic() + WITHIN_S
    while not true():
        assert time.monotonic() < deadline, what
        time.sleep(0.05)


class Installation(ModelTopics):
    """Somebody who activates, and engine processes."""

    def activate(self, engine: str, generation: int, name: str = "demo") -> None:
        about = {"version": f"{engine}@w", "engine": engine, "built_in": False}
        version = {**about, "options": {}, "files": []}
        self.say(name, generation=generation, active=version, shadow=None)

    def process(self) -> Keeper:
        """An engine process's keeper, as it starts."""
        settings = Settings(**self.places)
        store = ObjectStore(f"file://{self._folder}/objects")
        keeper = keep("demo", Means(load, Options("demo_engine"), settings, store))
        self.ends.callback(keeper.close)
        return keeper

    def await_report(self, state: str, generation: int, version: str) -> None:
        """Wait until a process has said so. A report that another one follows at once may never be
        said: processes tell of what holds, and not of each change."""
        report = (state, generation, version)
        until(lambda: report in self.reported(), f"it is reported: {report}")

    def reported(self) -> list[tuple[str, int, str | None]]:
        return [(one["state"], one["generation"], one["version"]) for one in self.reports()]


@pytest.fixture
def installation(
    infrastructure: Infrastructure, tmp_path: Path, example: Example
) -> Iterator[Installation]:
    made = Installation(infrastructure, tmp_path, example)
    yield made
    made.close()


def test_every_process_follows_and_one_that_starts_late_obeys_what_holds(
    installation: Installation,
) -> None:
    first = installation.process()
    assert first.servings.now.version == "old@w"
    installation.await_report("ready", 0, "old@w")

    installation.activate("new", 1)
    installation.activate("another", 7, name="another-model")
    until(lambda: first.servings.now.version == "new@w", "the first one follows")
    installation.await_report("ready", 1, "new@w")
    late = installation.process()

    assert (late.servings.now.version, late.servings.now.generation) == ("new@w", 1)
    installation.activate("newest", 2)
    until(lambda: first.servings.now.version == "newest@w", "the first one follows")
    until(lambda: late.servings.now.version == "newest@w", "the late one follows")
    installation.await_report("ready", 2, "newest@w")
    first.close()
    installation.await_report("gone", 2, "newest@w")


def test_what_can_t_be_read_and_what_is_older_changes_nothing(installation: Installation) -> None:
    installation.activate("new", 5)
    process = installation.process()

    installation.publisher.publish_raw(
        [RawRecord(names.MODEL_ACTIVATED, b"demo", value, []) for value in (b"junk", None)]
    )
    installation.activate("old", 4)
    installation.activate("newest", 6)

    until(lambda: process.servings.now.version == "newest@w", "it follows what can be read")
    assert ("ready", 4, "old@w") not in installation.reported()
