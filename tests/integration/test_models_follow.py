"""Engine processes that follow which version holds, by the real broker and registry."""

import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest

from darkroom_cli.contracts import Subjects, Topics
from darkroom_schemas import avro, catalogue, names
from infrastructure import Infrastructure
from stagekit import Loaded, Options, StageSettings
from stagekit.keeping import Keeper, Means, keep
from streamkit import Codec, Emit, ObjectStore, Publisher, RawRecord, SchemaIds
from topic_reader import TopicReader

Example = Callable[..., dict[str, Any]]

TOPICS = (names.MODEL_ACTIVATED, names.MODEL_REPORTED)
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


class Installation:
    """Topics and schemas of its own, somebody who activates, and engine processes."""

    def __init__(self, infrastructure: Infrastructure, folder: Path, example: Example) -> None:
        self._infrastructure = infrastructure
        self._folder = folder
        self._example = example
        self._prefix = f"t{uuid4().hex[:8]}."
        self._stack = ExitStack()
        topics = {name: catalogue.load()[name] for name in TOPICS}
        only = replace(catalogue.load(), topics=topics)
        assert all(one.good for one in Topics(infrastructure.kafka, only, self._prefix).apply())
        subjects = Subjects(infrastructure.registry, only, self._prefix)
        assert all(one.good for one in subjects.apply())
        ids = SchemaIds(infrastructure.registry, folder / "ids")
        codec = Codec(ids, avro.schema_of, self._prefix)
        self.publisher = Publisher(
            infrastructure.kafka, source="gateway", codec=codec, prefix=self._prefix
        )
        self._stack.callback(self.publisher.close)

    def activate(self, engine: str, generation: int, name: str = "demo") -> None:
        about = {"version": f"{engine}@w", "engine": engine, "built_in": False}
        version = {**about, "options": {}, "files": []}
        value = self._example(
            names.MODEL_ACTIVATED,
            **{"name": name, "generation": generation, "active": version, "shadow": None},
        )
        self.publisher.publish([Emit(names.MODEL_ACTIVATED, name, value, str(uuid4()))])

    def process(self) -> Keeper:
        """An engine process's keeper, as it starts."""
        settings = Settings(
            kafka=self._infrastructure.kafka,
            registry=self._infrastructure.registry,
            topic_prefix=self._prefix,
            cache=self._folder / "ids",
            models_cache=self._folder / "models",
        )
        store = ObjectStore(f"file://{self._folder}/objects")
        keeper = keep("demo", Means(load, Options("demo_engine"), settings, store))
        self._stack.callback(keeper.close)
        return keeper

    def reported(self) -> list[tuple[str, int, str | None]]:
        reader = TopicReader(
            self._infrastructure.kafka,
            self._infrastructure.registry,
            self._folder / "ids",
            self._prefix,
        )
        events = [value for _, value in reader.events(names.MODEL_REPORTED)]
        return [(one["state"], one["generation"], one["version"]) for one in events]

    def close(self) -> None:
        self._stack.close()


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

    installation.activate("new", 1)
    installation.activate("another", 7, name="another-model")
    until(lambda: first.servings.now.version == "new@w", "the first one follows")
    late = installation.process()

    assert (late.servings.now.version, late.servings.now.generation) == ("new@w", 1)
    installation.activate("newest", 2)
    until(lambda: first.servings.now.version == "newest@w", "the first one follows")
    until(lambda: late.servings.now.version == "newest@w", "the late one follows")
    first.close()
    until(lambda: ("gone", 2, "newest@w") in installation.reported(), "it said good-bye")
    said = installation.reported()
    assert {("ready", 0, "old@w"), ("ready", 1, "new@w"), ("ready", 2, "newest@w")} <= set(said)


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
