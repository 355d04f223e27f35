"""A single photo on its way through the pipeline, in memory: `python single_photo.py cat-0.9.jpg`.

The pipeline is the one that runs on Kafka, `stagekit.pipeline.PHOTO`; only its work is stood in
for. Try `dog-0.6.jpg`, of which it is less sure, and `broken-0.9.jpg`, where a stage gives up.
"""

import sys
from collections.abc import Mapping
from typing import Any

from darkroom_schemas.avro import schema_of
from stagekit.pipeline import PHOTO
from streamkit import configure_logs
from streamkit.testing import Kit

from stand_ins import WORK, file_names, submission  # isort: skip


def analyzed(*photos: str) -> list[Mapping[str, Any]]:
    """The outcomes of these photos."""
    kit = Kit(PHOTO.bind(WORK), schema_of=schema_of)
    for name in photos:
        photo, value = submission(name)
        kit.produce("photo.submitted.high.v1", photo, value)
    topics = PHOTO.step("aggregator").writes
    return [event.value for topic in topics for event in kit.outputs(topic)]


if __name__ == "__main__":
    configure_logs("single-photo", "error")
    for found in analyzed(*file_names(sys.argv[1:], "cat-0.9.jpg")):
        print(found["outcome"], found["label"], found["confidence"], *found["failed_stages"])  # noqa: T201
