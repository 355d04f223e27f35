"""A stage's part of a picture, as a reader of its topic gets it."""

import io
from collections.abc import Callable, Generator, Sequence
from pathlib import Path
from typing import Any, TypeVar, cast

import fastavro
from PIL import Image

from darkroom_schemas.avro import schema_of
from stagekit import Loaded, Servings, Stage, handlers
from stagekit.stage import REQUESTS
from streamkit import Emit, Handlers, Message, ObjectStore

PHOTO = "5f0c4a7e-3a53-5b0f-9a55-0d7f0f4f2a11"
ANALYSIS = "0b0e2a53-7a52-5a0f-8a55-1d7f0f4f2a22"


R = TypeVar("R")
Slices = Generator[None, None, Sequence[Emit]]


def whole(slices: Generator[None, None, R]) -> R:
    """What sliced work returns, with nothing done in between."""
    while True:
        try:
            next(slices)
        except StopIteration as end:
            return cast("R", end.value)


def begun(stage: Handlers, message: Message) -> Slices:
    """The stage's work on a message; nothing of it is done yet."""
    handler = cast("Callable[[Message], Slices]", stage.by_topic[message.topic])
    return handler(message)


def request(uri: str, original: str = "", size: tuple[int, int] = (30, 20)) -> Message:
    """A request to look at the rendition at `uri`, of an original of that size (else itself)."""
    value = {
        "owner": "7d444840-9dc0-51d1-b245-5ffdce74fad2",
        "photo_id": PHOTO,
        "analysis_id": ANALYSIS,
        "revision": 1,
        "policy_revision": 3,
        "lane": "batch",
        "source_uri": original or uri,
        "width": size[0],
        "height": size[1],
        "rendition_uri": uri,
    }
    return Message(
        REQUESTS["batch"], "batch", PHOTO, value, {}, partition=0, offset=7, timestamp_ms=0
    )


def part_of(stage: Stage[Any], loaded: Loaded, image: Image.Image, folder: Path) -> dict[str, Any]:
    """What the stage publishes of the picture, written and read by its topic's schema."""
    store, file = ObjectStore(folder.as_uri()), io.BytesIO()
    image.save(file, "PNG")
    message = request(store.put("renditions/ab/abcd.png", file.getvalue()))
    (emit,) = whole(begun(handlers(stage, Servings.of(loaded), store), message))
    schema, buffer = schema_of(emit.topic), io.BytesIO()
    fastavro.schemaless_writer(buffer, schema, emit.value, strict=True)
    buffer.seek(0)
    value = fastavro.schemaless_reader(buffer, schema, schema)
    if not isinstance(value, dict):
        raise TypeError("a part is a record")
    return {**value, "topic": emit.topic}
