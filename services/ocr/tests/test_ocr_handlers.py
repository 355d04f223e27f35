"""From a request to the events of the ocr, with a stub engine and a store in a folder."""

import io
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import fastavro
import pytest
from PIL import Image

from darkroom_schemas.avro import schema_of
from darkroom_schemas.names import PHOTO_ANALYSIS_REQUESTED
from ocr.app import job
from ocr.engines import TextLine, TextWord
from ocr.geometry import Quad
from ocr.handlers import Reader, give_up, handlers
from streamkit import Emit, Failure, Message, ObjectStore, Reject

PHOTO = "5f0c4a7e-3a53-5b0f-9a55-0d7f0f4f2a11"
ANALYSIS = "0b0e2a53-7a52-5a0f-8a55-1d7f0f4f2a22"


CORNERS: Quad = ((0.1, 0.2), (0.9, 0.2), (0.9, 0.3), (0.1, 0.3))
WORD: Quad = ((0.1, 0.2), (0.5, 0.2), (0.5, 0.3), (0.1, 0.3))


class StubEngine:
    """Reads two lines on every picture that is not black."""

    name = "stub"
    model_version = "stub@1"

    def read(self, image: Image.Image) -> list[TextLine]:
        if image.getextrema() == ((0, 0),) * 3:
            return []
        words = (TextWord("Dark", 0.8, WORD), TextWord("room", 0.9, WORD))
        return [TextLine("Dark room", 0.85, CORNERS, words), TextLine("42", 0.95, CORNERS, ())]


def request(uri: str) -> Message:
    value = {
        "owner": "7d444840-9dc0-51d1-b245-5ffdce74fad2",
        "photo_id": PHOTO,
        "analysis_id": ANALYSIS,
        "revision": 1,
        "policy_revision": 3,
        "lane": "batch",
        "rendition_uri": uri,
    }
    topic = PHOTO_ANALYSIS_REQUESTED["batch"]
    return Message(topic, "batch", PHOTO, value, {}, partition=0, offset=7, timestamp_ms=0)


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
    (emit,) = Reader(store, StubEngine()).read(request(uri))
    value = as_read(emit)
    assert (emit.topic, emit.key) == ("photo.text-read.v1", PHOTO)
    assert value["text"] == "Dark room\n42"
    assert [line["text"] for line in value["lines"]] == ["Dark room", "42"]
    assert value["lines"][0]["polygon"] == [0.1, 0.2, 0.9, 0.2, 0.9, 0.3, 0.1, 0.3]
    assert value["lines"][0]["words"][0] == {
        "text": "Dark",
        "confidence": 0.8,
        "polygon": [0.1, 0.2, 0.5, 0.2, 0.5, 0.3, 0.1, 0.3],
    }
    assert (value["stage"], value["engine"], value["model_version"]) == (
        "ocr",
        "stub",
        "stub@1",
    )
    assert (value["analysis_id"], value["revision"], value["policy_revision"]) == (ANALYSIS, 1, 3)
    assert value["lane"] == "batch"
    assert value["ms"] > 0
    assert value["finished_at"] <= datetime.now(UTC)


def test_a_photo_without_text_gives_an_empty_part_not_none(
    store: ObjectStore, put: Callable[[Image.Image], str]
) -> None:
    (emit,) = Reader(store, StubEngine()).read(request(put(Image.new("RGB", (9, 9)))))
    value = as_read(emit)
    assert (emit.topic, value["text"], value["lines"]) == ("photo.text-read.v1", "", [])


def test_the_same_request_gives_an_event_with_the_same_id(
    store: ObjectStore, put: Callable[[Image.Image], str]
) -> None:
    message = request(put(Image.new("RGB", (4, 4))))
    reader = Reader(store, StubEngine())
    assert reader.read(message)[0].id == reader.read(message)[0].id


def test_a_missing_rendition_is_rejected(store: ObjectStore, tmp_path: Path) -> None:
    with pytest.raises(Reject) as caught:
        Reader(store, StubEngine()).read(request(f"file://{tmp_path}/renditions/none.jpg"))
    assert caught.value.code == "object_missing"


def test_a_rendition_that_is_no_picture_is_rejected(store: ObjectStore) -> None:
    uri = store.put("renditions/ab/text.jpg", b"just words")
    with pytest.raises(Reject) as caught:
        Reader(store, StubEngine()).read(request(uri))
    assert caught.value.code == "not_an_image"


def test_giving_up_says_so_with_the_reason() -> None:
    message = request("file:///none.jpg")
    (emit,) = give_up(message, Failure("engine_failed", "The model could not.", attempts=5))
    value = as_read(emit)
    assert (emit.topic, emit.key) == ("photo.stage-failed.v1", PHOTO)
    assert (value["stage"], value["code"], value["attempts"]) == ("ocr", "engine_failed", 5)
    assert value["message"] == "The model could not."
    (again,) = give_up(message, Failure("engine_failed", "The model could not.", attempts=5))
    assert emit.id == again.id


def test_a_part_and_a_failure_of_one_stage_have_different_ids(
    store: ObjectStore, put: Callable[[Image.Image], str]
) -> None:
    message = request(put(Image.new("RGB", (4, 4))))
    (part,) = Reader(store, StubEngine()).read(message)
    (failure,) = give_up(message, Failure("x", "X.", attempts=1))
    assert part.id != failure.id


def test_it_reads_the_requests_of_all_lanes_people_first(store: ObjectStore) -> None:
    reader = Reader(store, StubEngine())
    wired = job(store, StubEngine())
    topics = [topic for lane in wired.lanes for topic in lane.topics]
    assert [lane.name for lane in wired.lanes] == ["high", "default", "batch", "learning"]
    assert set(topics) == set(handlers(reader)) == set(wired.handlers)
    assert wired.dead_letters == "darkroom.ocr.dlq"
