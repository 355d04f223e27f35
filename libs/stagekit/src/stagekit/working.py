"""A request to look at a photo in, a stage's part out."""

import time
from collections.abc import Callable, Generator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final
from uuid import UUID, uuid5

from PIL import Image

from darkroom_schemas import stages
from darkroom_schemas.ids import event_id
from darkroom_schemas.names import PHOTO_MODEL_COMPARED, PHOTO_STAGE_FAILED
from imaging import LIMITS, ImageRejected, open_upright_rgb
from stagekit.adding import NOTHING, Adds
from stagekit.beside import Comparison, Says, Seen, looks
from stagekit.loaded import Found, looked
from stagekit.photo import Photo
from stagekit.serving import Serving, Servings, Shadow
from stagekit.stage import REQUESTS, Also, S, Stage
from streamkit import Emit, Failure, Handlers, Message, ObjectStore, Reject

_LONGEST_ERROR: Final = 300


def _nothing() -> None:
    """Nothing is kept."""


def handlers(
    stage: Stage[S],
    servings: Servings,
    store: ObjectStore,
    close: Callable[[], None] = _nothing,
    adds: Adds = NOTHING,
) -> Handlers:
    """What the stage does with requests, by topic; `close` ends what keeps its engine, and what
    adds to what that finds."""
    work = Work(stage.name, stage.topic, servings, store, stage.says, adds)
    others = {one.topic: _Other(one, work) for one in stage.also}

    def give_up(message: Message, failure: Failure) -> Sequence[Emit]:
        other = others.get(message.topic)
        return work.failed(message, failure) if other is None else other.failed(message, failure)

    return Handlers(
        by_topic={
            **dict.fromkeys(REQUESTS.values(), work.part),
            **{topic: other.answer for topic, other in others.items()},
        },
        give_up=give_up,
        close=close,
        about={"engine": servings.now.engine, "model_version": servings.now.version},
    )


@dataclass(frozen=True, slots=True)
class Work:
    stage: str
    topic: str
    servings: Servings
    store: ObjectStore
    says: Says | None
    adds: Adds

    def part(self, message: Message) -> Generator[None, None, Sequence[Emit]]:
        """Returns the part of the requested photo; yields where `look` does."""
        request = message.value
        asked = request.get("stages")
        if asked is not None and self.stage not in asked:
            return []
        own = self.adds.use(request["owner"])
        with self.servings.use() as (serving, loaded), own as add:
            photo, fetching_ms = self.photo(request, loaded.enough_pixels)
            found, ms = yield from looked(loaded, photo)
            added = add(message, found, serving.version)
            value = {
                **stages.part(
                    request,
                    stage=self.stage,
                    engine=serving.engine,
                    model_version=serving.version,
                    ms=fetching_ms + ms + added.ms,
                ),
                **found,
                **added.fields,
            }
            events = [self._event(self.topic, request, value, self.stage)]
            shadow = serving.shadow
            if self.says is not None and shadow is not None and looks(shadow.share, message):
                seen = yield from self._beside(shadow, photo)
                active = serving.version
                compared = Comparison(
                    self.stage, active, shadow.version, found, ms, seen, self.says
                )
                events.append(self._compared(request, compared))
            events += [self._compared(request, one) for one in added.compared]
        return events

    def _compared(self, request: Mapping[str, Any], comparison: Comparison) -> Emit:
        about = stages.compared(request, stage=comparison.model)
        what = f"{comparison.model}-beside-{comparison.shadow}"
        value = {**about, **comparison.fields()}
        return self._event(PHOTO_MODEL_COMPARED, request, value, what)

    def _beside(self, shadow: Shadow, photo: Photo) -> Generator[None, None, Seen]:
        """What the shadow says; whatever is wrong with it is a finding, and no trouble."""
        try:
            with shadow.resident.use() as loaded:
                found, ms = yield from looked(loaded, photo)
        except Exception as error:  # noqa: BLE001 - a candidate may have any defect
            return Seen(None, f"{type(error).__name__}: {error}"[:_LONGEST_ERROR], 0.0)
        return Seen(found, None, ms)

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

    def photo(self, request: Mapping[str, Any], enough_pixels: int | None) -> tuple[Photo, float]:
        """The requested photo, and the milliseconds that it took."""
        started = time.perf_counter()
        rendition, source = request["rendition_uri"], request["source_uri"]
        photo = Photo(
            rendition=self._open(rendition, enough_pixels),
            original_size=(request["width"], request["height"]),
            original=lambda: None if source == rendition else self._open(source, None),
        )
        return photo, 1000 * (time.perf_counter() - started)

    def _open(self, uri: str, enough_pixels: int | None) -> Image.Image:
        data = self.store.get(uri, limit=LIMITS.max_bytes)
        try:
            return open_upright_rgb(data, at_least=enough_pixels)
        except ImageRejected as error:
            raise Reject(error.code.value, error.message) from error


@dataclass(frozen=True, slots=True)
class _Other:
    also: Also
    work: Work

    def answer(self, message: Message) -> Generator[None, None, Sequence[Emit]]:
        """Returns the answer to the request; yields where `look` does."""
        with self.work.servings.use() as (serving, loaded):
            photo, fetching_ms = self.work.photo(message.value, loaded.enough_pixels)
            found, ms = yield from looked(loaded, photo)
            return self._said(message, serving, fetching_ms + ms, found)

    def failed(self, message: Message, failure: Failure) -> Sequence[Emit]:
        """The answer that there is none."""
        return self._said(message, self.work.servings.now, 0.0, failure.message)

    def _said(
        self, message: Message, serving: Serving, ms: float, found: Found | str
    ) -> Sequence[Emit]:
        request = message.value
        about = {
            "engine": serving.engine,
            "model_version": serving.version,
            "ms": round(ms, 3),
            "finished_at": stages.now(),
        }
        photo, failed = request["photo_id"], "-failed" if isinstance(found, str) else ""
        name = str(uuid5(UUID(photo), f"{self.also.into}:{serving.version}{failed}"))
        return [Emit(self.also.into, photo, self.also.answer(request, about, found), name)]
