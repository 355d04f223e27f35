#!/usr/bin/env python3
"""Hand photos in without Darkroom's code: an Avro record on a Kafka topic, nothing else.

    python submit.py --kafka HOST:PORT --registry URL --store FOLDER PHOTO…

Needs confluent-kafka and avro. FOLDER must lie in one of Darkroom's stores (its `objects` folder,
or one named in DARKROOM_STORES). What any producer, in any language, has to do:

1. put the bytes where Darkroom may read them,
2. compute photo_id = uuid5(owner, hex SHA-256 of the bytes),
3. encode the record with the schema that the registry has for the topic, in the Confluent wire
   format: a zero byte, the schema's id as four bytes big-endian, the Avro body,
4. produce it with the photo_id as key, partitioned by murmur2.
"""

import argparse
import datetime
import hashlib
import io
import json
import shutil
import struct
import urllib.request
import uuid
from pathlib import Path

import avro.io
import avro.schema
from confluent_kafka import Producer

TOPIC = "photo.submitted.default.v1"
LOCAL_OWNER = uuid.uuid5(uuid.NAMESPACE_URL, "urn:darkroom:owner:local")


def latest_schema(registry: str, topic: str) -> tuple[int, str]:
    """Id and text of the schema that the registry has for the topic's values."""
    url = f"{registry.rstrip('/')}/subjects/{topic}-value/versions/latest"
    with urllib.request.urlopen(url, timeout=10) as answer:  # noqa: S310 - the user's own registry
        found = json.load(answer)
    return found["id"], found["schema"]


def framed(schema_id: int, schema: str, record: dict[str, object]) -> bytes:
    """The record's value in the Confluent wire format."""
    body = io.BytesIO()
    writer = avro.io.DatumWriter(avro.schema.parse(schema))
    writer.write(record, avro.io.BinaryEncoder(body))
    return struct.pack(">bI", 0, schema_id) + body.getvalue()


def submission(photo: Path, store: Path) -> dict[str, object]:
    """Put the photo into the store and say that it is there."""
    data = photo.read_bytes()
    digest = hashlib.sha256(data).hexdigest()
    place = store / f"{digest}{photo.suffix.lower()}"
    shutil.copyfile(photo, place)
    return {
        "owner": str(LOCAL_OWNER),
        "photo_id": str(uuid.uuid5(LOCAL_OWNER, digest)),
        "submission_id": str(uuid.uuid4()),
        "analysis_id": None,
        "revision": None,
        "policy_revision": None,
        "lane": "default",
        "source_uri": place.resolve().as_uri(),
        "sha256": digest,
        "byte_size": len(data),
        "file_name": photo.name,
        "submitted_at": datetime.datetime.now(datetime.UTC),
    }


def main() -> None:
    """Submit every photo and print its id."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--kafka", required=True, metavar="HOST:PORT")
    parser.add_argument("--registry", required=True, metavar="URL")
    parser.add_argument("--store", required=True, type=Path, metavar="FOLDER")
    parser.add_argument("photos", nargs="+", type=Path, metavar="PHOTO")
    options = parser.parse_args()
    schema_id, schema = latest_schema(options.registry, TOPIC)
    producer = Producer(
        {"bootstrap.servers": options.kafka, "partitioner": "murmur2_random", "acks": "all"}
    )
    failures: list[str] = []
    for photo in options.photos:
        record = submission(photo, options.store)
        producer.produce(
            TOPIC,
            framed(schema_id, schema, record),
            str(record["photo_id"]),
            on_delivery=lambda error, _message: failures.append(str(error)) if error else None,
        )
        print(record["photo_id"], photo)  # noqa: T201 - its output
    if producer.flush(30) or failures:
        raise SystemExit(f"not all were accepted: {failures or 'no answer from Kafka'}")


if __name__ == "__main__":
    main()
