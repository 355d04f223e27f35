"""A fourth stage in the photo pipeline, which finds faces: `python fourth_stage.py face-0.9.jpg`.

It reads what the other stages read, and the outcome waits for its part as for theirs. On Kafka it
is one more process: `serve(FOUR, "faces", schema_of)` of `streamkit.workflow.running`.
"""

import sys
from functools import partial
from typing import Any

from darkroom_schemas import avro
from darkroom_schemas.names import PHOTO_STAGE_FAILED
from stagekit.pipeline import PHOTO
from streamkit import configure_logs
from streamkit.testing import Kit
from streamkit.workflow import Stage

from stand_ins import WORK, file_names, stage, submission  # isort: skip

FACES = "photo.faces-found.v1"


def look(file_name: str) -> dict[str, Any]:
    """All that is new about this stage: what it finds in a photo."""
    return {"faces": 1 if "face" in file_name else 0}


WORKER = partial(stage, "faces", FACES, look)
STAGE = Stage(name="faces", into=FACES, also=(PHOTO_STAGE_FAILED,), handlers=WORKER)
FOUR = PHOTO.plus(STAGE, beside="detector", joined="aggregator")


def schema_of(topic: str) -> dict[str, Any]:
    """The new part has the fields that every part has, and its own."""
    if topic != FACES:
        return avro.schema_of(topic)
    text = avro.schema("photo.text-read")
    common = [field for field in text["fields"] if field["name"] not in ("text", "lines")]
    own = {"name": "faces", "type": "int"}
    return {**text, "name": "PhotoFacesFound", "fields": [*common, own]}


def stages_of(file_name: str) -> list[str]:
    """Which stages the outcome of a photo rests on."""
    kit = Kit(FOUR.bind(WORK), schema_of=schema_of)
    kit.produce("photo.submitted.high.v1", *submission(file_name))
    topics = FOUR.step("aggregator").writes
    (outcome,) = [event.value for topic in topics for event in kit.outputs(topic)]
    return [part["stage"] for part in outcome["parts"]]


if __name__ == "__main__":
    configure_logs("fourth-stage", "error")
    print(*stages_of(*file_names(sys.argv[1:], "face-0.9.jpg")))  # noqa: T201
