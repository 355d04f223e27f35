"""A request to look at a photo in, a stage's part out."""

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, Protocol

from PIL import Image

from darkroom_schemas import catalogue, stages
from darkroom_schemas.ids import event_id
from darkroom_schemas.names import PHOTO_ANALYSIS_REQUESTED, PHOTO_STAGE_FAILED
from imaging import LIMITS, ImageRejected, open_upright_rgb
from streamkit import (
    Emit,
    Failure,
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


class Engine(Protocol):
    """What a part says of the engine that made it."""

    @property
    def name(self) -> str:
        """Of the engine."""

    @property
    def model_version(self) -> str:
        """Names the weights: another version may answer otherwise."""


@dataclass(frozen=True, slots=True)
class Stage:
    """A stage of the pipeline.

    `look` gives the fields of `topic`'s event that are the stage's own, for an upright RGB picture;
    it may raise Retry or Reject. Its picture keeps at least `enough_pixels` on the short side
    (None: all of them), so that a large photo need not be decoded whole.
    """

    name: str
    version: str
    topic: str
    engine: Engine
    look: Callable[[Image.Image], Mapping[str, Any]]
    enough_pixels: int | None = None

    @property
    def writes(self) -> tuple[str, ...]:
        """Topics of its events."""
        return (self.topic, PHOTO_STAGE_FAILED)


def job(stage: Stage, store: ObjectStore) -> Job:
    """What the stage's worker does."""
    work = _Work(stage, store)
    return Job(
        service=stage.name,
        version=stage.version,
        lanes=lanes_of(REQUESTS),
        handlers=dict.fromkeys(REQUESTS.values(), work.part),
        dead_letters=catalogue.load().dead_letters(stage.name),
        give_up=work.failed,
    )


@dataclass(frozen=True, slots=True)
class _Work:
    stage: Stage
    store: ObjectStore

    def part(self, message: Message) -> Sequence[Emit]:
        """The part of the requested photo."""
        started = time.perf_counter()
        request, stage = message.value, self.stage
        found = stage.look(self._open(request["rendition_uri"]))
        value = {
            **stages.part(
                request,
                stage=stage.name,
                engine=stage.engine.name,
                model_version=stage.engine.model_version,
                ms=1000 * (time.perf_counter() - started),
            ),
            **found,
        }
        return [self._event(stage.topic, request, value, stage.name)]

    def failed(self, message: Message, failure: Failure) -> Sequence[Emit]:
        """Says that there is no part for the photo, so that its outcome need not wait."""
        request = message.value
        value = stages.failed(
            request,
            stage=self.stage.name,
            code=failure.code,
            message=failure.message,
            attempts=failure.attempts,
        )
        return [self._event(PHOTO_STAGE_FAILED, request, value, f"{self.stage.name}-failed")]

    def _event(
        self, topic: str, request: Mapping[str, Any], value: Mapping[str, Any], what: str
    ) -> Emit:
        name = event_id(request["analysis_id"], what, request["revision"])
        return Emit(topic, request["photo_id"], value, name)

    def _open(self, uri: str) -> Image.Image:
        data = self.store.get(uri, limit=LIMITS.max_bytes)
        try:
            return open_upright_rgb(data, at_least=self.stage.enough_pixels)
        except ImageRejected as error:
            raise Reject(error.code.value, error.message) from error
