"""A request to look at a photo in, a stage's part out."""

import time
from collections.abc import Callable, Generator, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass
from functools import partial
from typing import Any, Final, Generic, Protocol, TypeVar

from PIL import Image

from darkroom_schemas import catalogue, stages
from darkroom_schemas.ids import event_id
from darkroom_schemas.names import PHOTO_ANALYSIS_REQUESTED, PHOTO_STAGE_FAILED
from imaging import LIMITS, ImageRejected, open_upright_rgb
from stagekit.photo import Photo
from streamkit import (
    Emit,
    Failure,
    Handlers,
    Job,
    Message,
    ObjectSettings,
    ObjectStore,
    Reject,
    WorkerSettings,
    lanes_of,
)

REQUESTS: Final = PHOTO_ANALYSIS_REQUESTED
"""What every stage reads, by lane."""


class StageSettings(ObjectSettings, WorkerSettings):
    """Settings that every stage has."""


S = TypeVar("S", bound=StageSettings)


class Engine(Protocol):
    """What a part says of the engine that made it."""

    @property
    def name(self) -> str:
        """Of the engine."""

    @property
    def model_version(self) -> str:
        """Names the weights: another version may answer otherwise."""


Found = Mapping[str, Any]
"""The fields of a stage's event that are its own."""


@dataclass(frozen=True, slots=True)
class Loaded:
    """A stage's engine, loaded.

    `look` says what is found in a photo: gives it, or is a generator that returns it and yields
    wherever more urgent work may go first. It may raise Retry or Reject. The photo's rendition
    keeps at least `enough_pixels` on the short side (None: all of them), so that a large one need
    not be decoded whole.
    """

    engine: Engine
    look: Callable[[Photo], Found | Generator[None, None, Found]]
    enough_pixels: int | None = None


@dataclass(frozen=True, slots=True)
class Stage(Generic[S]):
    """A stage of the pipeline, as it is known before its engine is loaded.

    `load` is called in every engine process, so it has to be a function of a module. `preload`
    names modules that those processes share.
    """

    name: str
    version: str
    topic: str
    load: Callable[[S], Loaded]
    preload: tuple[str, ...] = ()

    @property
    def writes(self) -> tuple[str, ...]:
        """Topics of its events."""
        return (self.topic, PHOTO_STAGE_FAILED)


def job(stage: Stage[S], settings: S) -> Job:
    """What the stage's worker does."""
    return Job(
        service=stage.name,
        version=stage.version,
        lanes=lanes_of(REQUESTS),
        handlers=partial(_load, stage, settings),
        dead_letters=catalogue.load().dead_letters(stage.name),
        preload=stage.preload,
    )


def _load(stage: Stage[S], settings: S) -> Handlers:
    store = ObjectStore(settings.objects, settings.stores)
    return handlers(stage, stage.load(settings), store)


def handlers(stage: Stage[S], loaded: Loaded, store: ObjectStore) -> Handlers:
    """What the stage does with requests, by topic."""
    work = _Work(stage.name, stage.topic, loaded, store)
    engine = loaded.engine
    return Handlers(
        by_topic=dict.fromkeys(REQUESTS.values(), work.part),
        give_up=work.failed,
        about={"engine": engine.name, "model_version": engine.model_version},
    )


@dataclass(frozen=True, slots=True)
class _Work:
    stage: str
    topic: str
    loaded: Loaded
    store: ObjectStore

    def part(self, message: Message) -> Generator[None, None, Sequence[Emit]]:
        """Returns the part of the requested photo; yields where `look` does."""
        started, elsewhere_s = time.perf_counter(), 0.0
        request, engine = message.value, self.loaded.engine
        found = self.loaded.look(self._photo(request))
        if isinstance(found, Generator):
            found, elsewhere_s = yield from _in_slices(found)
        value = {
            **stages.part(
                request,
                stage=self.stage,
                engine=engine.name,
                model_version=engine.model_version,
                ms=1000 * (time.perf_counter() - started - elsewhere_s),
            ),
            **found,
        }
        return [self._event(self.topic, request, value, self.stage)]

    def failed(self, message: Message, failure: Failure) -> Sequence[Emit]:
        """Says that there is no part for the photo, so that its outcome need not wait."""
        request = message.value
        value = stages.failed(
            request,
            stage=self.stage,
            code=failure.code,
            message=failure.message,
            attempts=failure.attempts,
        )
        return [self._event(PHOTO_STAGE_FAILED, request, value, f"{self.stage}-failed")]

    def _event(
        self, topic: str, request: Mapping[str, Any], value: Mapping[str, Any], what: str
    ) -> Emit:
        name = event_id(request["analysis_id"], what, request["revision"])
        return Emit(topic, request["photo_id"], value, name)

    def _photo(self, request: Mapping[str, Any]) -> Photo:
        rendition, source = request["rendition_uri"], request["source_uri"]
        return Photo(
            rendition=self._open(rendition, self.loaded.enough_pixels),
            original_size=(request["width"], request["height"]),
            original=lambda: None if source == rendition else self._open(source, None),
        )

    def _open(self, uri: str, enough_pixels: int | None) -> Image.Image:
        data = self.store.get(uri, limit=LIMITS.max_bytes)
        try:
            return open_upright_rgb(data, at_least=enough_pixels)
        except ImageRejected as error:
            raise Reject(error.code.value, error.message) from error


def _in_slices(
    slices: Generator[None, None, Found],
) -> Generator[None, None, tuple[Found, float]]:
    """Returns what was found, and the seconds that other work took in between."""
    elsewhere_s = 0.0
    with closing(slices):
        while True:
            try:
                next(slices)
            except StopIteration as end:
                return end.value, elsewhere_s
            paused = time.perf_counter()
            yield
            elsewhere_s += time.perf_counter() - paused
