"""From a request to the events of the detector, with a stub engine and a store in a folder."""

import io
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import fastavro
import pytest
from PIL import Image

from darkroom_schemas.avro import schema_of
from darkroom_schemas.names import PHOTO_ANALYSIS_REQUESTED
from detector.app import job
from detector.engines import DetectedObject, Detection, Label
from detector.handlers import Detector, give_up, handlers
from streamkit import Emit, Failure, Message, ObjectStore, Reject

PHOTO = "5f0c4a7e-3a53-5b0f-9a55-0d7f0f4f2a11"
ANALYSIS = "0b0e2a53-7a52-5a0f-8a55-1d7f0f4f2a22"


class StubEngine:
    """Answers by the size of the picture."""

    name = "stub"
    model_version = "stub@1"

    def detect(self, images: Sequence[Image.Image]) -> list[Detection]:
        return [
            Detection(
                category=f"{image.mode} {image.width}x{image.height}",
                labels=(Label("cat", 0.9), Label("dog", 0.1)),
                objects=(DetectedObject("cat", 0.9, 0.1, 0.2, 0.3, 0.4),),
            )
            for image in images
        ]


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
    (emit,) = Detector(store, StubEngine()).detect(request(uri))
    value = as_read(emit)
    assert (emit.topic, emit.key) == ("photo.objects-detected.v1", PHOTO)
    assert value["category"] == "RGB 30x20"
    assert value["labels"][0] == {"name": "cat", "confidence": 0.9}
    assert value["objects"][0]["width"] == 0.3
    assert (value["stage"], value["engine"], value["model_version"]) == (
        "detector",
        "stub",
        "stub@1",
    )
    assert (value["analysis_id"], value["revision"], value["policy_revision"]) == (ANALYSIS, 1, 3)
    assert value["lane"] == "batch"
    assert value["ms"] > 0
    assert value["finished_at"] <= datetime.now(UTC)


def test_the_same_request_gives_an_event_with_the_same_id(
    store: ObjectStore, put: Callable[[Image.Image], str]
) -> None:
    message = request(put(Image.new("RGB", (4, 4))))
    detector = Detector(store, StubEngine())
    assert detector.detect(message)[0].id == detector.detect(message)[0].id


def test_a_missing_rendition_is_rejected(store: ObjectStore, tmp_path: Path) -> None:
    with pytest.raises(Reject) as caught:
        Detector(store, StubEngine()).detect(request(f"file://{tmp_path}/renditions/none.jpg"))
    assert caught.value.code == "object_missing"


def test_a_rendition_that_is_no_picture_is_rejected(store: ObjectStore) -> None:
    uri = store.put("renditions/ab/text.jpg", b"just words")
    with pytest.raises(Reject) as caught:
        Detector(store, StubEngine()).detect(request(uri))
    assert caught.value.code == "not_an_image"


def test_giving_up_says_so_with_the_reason() -> None:
    message = request("file:///none.jpg")
    (emit,) = give_up(message, Failure("engine_failed", "The model could not.", attempts=5))
    value = as_read(emit)
    assert (emit.topic, emit.key) == ("photo.stage-failed.v1", PHOTO)
    assert (value["stage"], value["code"], value["attempts"]) == ("detector", "engine_failed", 5)
    assert value["message"] == "The model could not."
    (again,) = give_up(message, Failure("engine_failed", "The model could not.", attempts=5))
    assert emit.id == again.id


def test_a_part_and_a_failure_of_one_stage_have_different_ids(
    store: ObjectStore, put: Callable[[Image.Image], str]
) -> None:
    message = request(put(Image.new("RGB", (4, 4))))
    (part,) = Detector(store, StubEngine()).detect(message)
    (failure,) = give_up(message, Failure("x", "X.", attempts=1))
    assert part.id != failure.id


def test_it_reads_the_requests_of_all_lanes_people_first(store: ObjectStore) -> None:
    detector = Detector(store, StubEngine())
    wired = job(store, StubEngine())
    topics = [topic for lane in wired.lanes for topic in lane.topics]
    assert [lane.name for lane in wired.lanes] == ["high", "default", "batch", "learning"]
    assert set(topics) == set(handlers(detector)) == set(wired.handlers)
    assert wired.dead_letters == "darkroom.detector.dlq"
