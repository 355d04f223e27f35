"""What workers say of themselves is what the schema of their topic says."""

import io

import fastavro

from darkroom_schemas import avro, catalogue, names
from streamkit.heartbeat import TOPIC, Identity, heartbeat
from streamkit.records import Partition
from streamkit.standing import LaneStanding, Standing, Task
from streamkit.usage import Used

NOW = 1_795_521_600.25
LANES = (
    LaneStanding("high"),
    LaneStanding("batch", (Partition("photo.embedded.v1", 3),), 7, 2, 2, 2.5, True, 11, 1),
)
WORK = (Task("batch", "photo.embedded.v1", 3, 41, "a photo", 2, "bulk", NOW - 1),)


def test_a_heartbeat_fits_its_schema_and_is_read_as_it_was_written() -> None:
    who = Identity("ocr", "0.1.0", NOW - 60)
    value = dict(heartbeat(who, Standing("working", LANES, WORK), Used(0.5, 1, 0.2, 9), NOW, 5))
    schema, body = fastavro.parse_schema(avro.schema("ops.worker")), io.BytesIO()
    fastavro.schemaless_writer(body, schema, value, strict=True)
    body.seek(0)
    assert fastavro.schemaless_reader(body, schema) == value


def test_the_topic_is_the_one_that_is_declared() -> None:
    assert TOPIC == names.OPS_WORKER
    assert catalogue.load()[TOPIC].schema == "ops.worker"
