"""From a request to the events of a stage, with a stub engine and a store in a folder."""

import dataclasses
import io
import time
from collections.abc import Callable, Generator, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import fastavro
import pytest
from PIL import ExifTags, Image

from darkroom_schemas.avro import schema_of
from darkroom_schemas.names import PHOTO_ANALYSIS_REQUESTED
from stage_part import ANALYSIS, PHOTO, begun, request, whole
from stagekit import Loaded, Photo, Servings, Stage, StageSettings, handlers, job
from streamkit import Emit, Failure, Message, ObjectStore, Reject


class StubEngine:
    name = "stub"
    model_version = "stub@1"


def look(photo: Photo) -> dict[str, Any]:
    """Answers by the size of the picture."""
    image = photo.rendition
    return {
        "category": f"{image.mode} {image.width}x{image.height}",
        "labels": [{"name": "cat", "confidence": 0.9}],
        "objects": [],
        "caption": None,
        "calibrated": False,
    }


LOADED = Loaded(StubEngine(), look)


def load(_settings: StageSettings) -> Loaded:
    return LOADED


STAGE = Stage("detector", "1.0", "photo.objects-detected.v1", load)


def handled(store: ObjectStore, message: Message) -> Sequence[Emit]:
    return whole(begun(handlers(STAGE, Servings.of(LOADED), store), message))


def as_read(emit: Emit) -> dict[str, Any]:
    """The event's value as a reader of the topic gets it."""
    schema, buffer = schema_of(emit.topic), io.BytesIO()
    fastavro.schemaless_writer(buffer, schema, emit.value, strict=True)
    buffer.seek(0)
    value = fastavro.schemaless_reader(buffer, schema, schema)
    assert isinstance(value, dict)
    return value


@pytest.fixture
def store(tmp_path: Path) -> ObjectStore:
    return ObjectStore(f"file://{tmp_path}")


@pytest.fixture
def put(store: ObjectStore) -> Callable[[Image.Image], str]:
    def _put(image: Image.Image) -> str:
        buffer = io.BytesIO()
        image.save(buffer, "PNG")
        return store.put("renditions/ab/abcd.png", buffer.getvalue())

    return _put


def test_a_request_gives_the_part_of_its_photo(
    store: ObjectStore, put: Callable[[Image.Image], str]
) -> None:
    uri = put(Image.new("L", (30, 20), 128))
    (emit,) = handled(store, request(uri))
    value = as_read(emit)
    assert (emit.topic, emit.key) == ("photo.objects-detected.v1", PHOTO)
    assert value["category"] == "RGB 30x20"
    assert value["labels"][0] == {"name": "cat", "confidence": 0.9}
    assert (value["stage"], value["engine"], value["model_version"]) == (
        "detector",
        "stub",
        "stub@1",
    )
    assert (value["analysis_id"], value["revision"], value["policy_revision"]) == (ANALYSIS, 1, 3)
    assert value["lane"] == "batch"
    assert value["ms"] > 0
    assert value["finished_at"] <= datetime.now(UTC)


@pytest.mark.parametrize(
    ("stages", "answers"), [(None, 1), (["detector"], 1), (["embedder", "ocr"], 0)]
)
def test_a_request_may_name_the_stages_that_look(
    store: ObjectStore,
    put: Callable[[Image.Image], str],
    stages: list[str] | None,
    answers: int,
) -> None:
    message = request(put(Image.new("L", (30, 20), 128)))
    asked = dataclasses.replace(message, value={**message.value, "stages": stages})
    assert len(handled(store, asked)) == answers


def test_the_same_request_gives_an_event_with_the_same_id(
    store: ObjectStore, put: Callable[[Image.Image], str]
) -> None:
    message = request(put(Image.new("RGB", (4, 4))))
    assert handled(store, message)[0].id == handled(store, message)[0].id


def test_a_stage_may_look_at_the_original(
    store: ObjectStore, put: Callable[[Image.Image], str]
) -> None:
    rendition = put(Image.new("RGB", (30, 20)))
    file = io.BytesIO()
    turned = Image.new("L", (40, 60))
    turned.save(file, "JPEG", exif=_turned_by_90_degrees())
    original = store.put("originals/ab/abcd.jpg", file.getvalue())
    seen: list[Photo] = []

    def note(photo: Photo) -> dict[str, Any]:
        seen.append(photo)
        return look(photo)

    stage = handlers(STAGE, Servings.of(Loaded(StubEngine(), note)), store)
    whole(begun(stage, request(rendition, original, (60, 40))))
    whole(begun(stage, request(rendition)))

    large, same = seen
    assert (large.rendition.size, large.original_size) == ((30, 20), (60, 40))
    assert (upright := large.original()) is not None
    assert (upright.mode, upright.size) == ("RGB", (60, 40))
    assert same.original() is None


def _turned_by_90_degrees() -> Image.Exif:
    exif = Image.Exif()
    exif[ExifTags.Base.Orientation] = 6
    return exif


def test_a_missing_rendition_is_rejected(store: ObjectStore, tmp_path: Path) -> None:
    with pytest.raises(Reject) as caught:
        handled(store, request(f"file://{tmp_path}/renditions/none.jpg"))
    assert caught.value.code == "object_missing"


def test_a_rendition_that_is_no_picture_is_rejected(store: ObjectStore) -> None:
    uri = store.put("renditions/ab/text.jpg", b"just words")
    with pytest.raises(Reject) as caught:
        handled(store, request(uri))
    assert caught.value.code == "not_an_image"


def test_giving_up_says_so_with_the_reason(store: ObjectStore) -> None:
    message = request("file:///none.jpg")
    (emit,) = handlers(STAGE, Servings.of(LOADED), store).give_up(
        message, Failure("engine_failed", "The model could not.", attempts=5)
    )
    value = as_read(emit)
    assert (emit.topic, emit.key) == ("photo.stage-failed.v1", PHOTO)
    assert (value["stage"], value["code"], value["attempts"]) == ("detector", "engine_failed", 5)
    assert value["message"] == "The model could not."
    (again,) = handlers(STAGE, Servings.of(LOADED), store).give_up(
        message, Failure("engine_failed", "The model could not.", attempts=5)
    )
    assert emit.id == again.id


def test_a_part_and_a_failure_of_one_stage_have_different_ids(
    store: ObjectStore, put: Callable[[Image.Image], str]
) -> None:
    message = request(put(Image.new("RGB", (4, 4))))
    (part,) = handled(store, message)
    (failure,) = handlers(STAGE, Servings.of(LOADED), store).give_up(
        message, Failure("x", "X.", attempts=1)
    )
    assert part.id != failure.id


def test_a_large_photo_is_opened_as_small_as_the_engine_allows(store: ObjectStore) -> None:
    buffer = io.BytesIO()
    Image.new("RGB", (2000, 1000)).save(buffer, "JPEG")
    uri = store.put("renditions/ab/large.jpg", buffer.getvalue())
    frugal = dataclasses.replace(LOADED, enough_pixels=100)
    (emit,) = whole(begun(handlers(STAGE, Servings.of(frugal), store), request(uri)))
    assert emit.value["category"] == "RGB 250x125"


class Slow:
    """Looks in two slices; knows whether it was left between them."""

    def __init__(self) -> None:
        self.left = False

    def look(self, photo: Photo) -> Generator[None, None, dict[str, Any]]:
        try:
            yield
        except GeneratorExit:
            self.left = True
            raise
        return look(photo)


def test_a_look_in_slices_lets_other_work_go_first_and_finds_the_same(
    store: ObjectStore, put: Callable[[Image.Image], str]
) -> None:
    message = request(put(Image.new("RGB", (4, 4))))
    slices = begun(handlers(STAGE, Servings.of(Loaded(StubEngine(), Slow().look)), store), message)
    next(slices)
    (emit,), (at_once,) = whole(slices), handled(store, message)
    assert emit.id == at_once.id
    assert emit.value["category"] == at_once.value["category"]


def test_what_is_done_between_slices_does_not_count_as_the_work_of_the_stage(
    store: ObjectStore, put: Callable[[Image.Image], str], monkeypatch: pytest.MonkeyPatch
) -> None:
    now_s = 100.0
    monkeypatch.setattr(time, "perf_counter", lambda: now_s)
    message = request(put(Image.new("RGB", (4, 4))))
    slices = begun(handlers(STAGE, Servings.of(Loaded(StubEngine(), Slow().look)), store), message)
    next(slices)
    now_s += 60
    (emit,) = whole(slices)
    assert emit.value["ms"] == 0


def test_a_look_that_is_given_back_is_left_where_it_stands(
    store: ObjectStore, put: Callable[[Image.Image], str]
) -> None:
    slow = Slow()
    message = request(put(Image.new("RGB", (4, 4))))
    slices = begun(handlers(STAGE, Servings.of(Loaded(StubEngine(), slow.look)), store), message)
    next(slices)
    slices.close()
    assert slow.left


def test_it_reads_the_requests_of_all_lanes_people_first(tmp_path: Path) -> None:
    wired = job(STAGE, StageSettings(objects=tmp_path.as_uri()))
    topics = [topic for lane in wired.lanes for topic in lane.topics]
    assert [lane.name for lane in wired.lanes] == ["high", "default", "batch", "learning"]
    assert set(topics) == set(wired.handlers().by_topic) == set(PHOTO_ANALYSIS_REQUESTED.values())
    assert wired.dead_letters == "darkroom.detector.dlq"
    assert STAGE.writes == ("photo.objects-detected.v1", "photo.stage-failed.v1")
