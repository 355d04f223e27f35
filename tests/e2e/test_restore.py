"""The drill: a backup of the running system, all of it wiped, and the backup put back."""

import json
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, LiteralString

import httpx
import psycopg
import pytest
from confluent_kafka import Consumer, TopicPartition

from darkroom_cli.sample import SampleManifest
from darkroom_cli.stack import Stack
from darkroom_schemas import avro, names
from streamkit import Codec, SchemaIds

pytestmark = pytest.mark.timeout(600)

WITHIN_S: Final = 120.0
NOW: Final = {"Prefer": "wait=60"}
SAME: Final = ("photos", "analyses", "parts", "embeddings", "outcomes", "policies", "controls")
"""Tables that nothing changes while the system only stands there."""


@dataclass(frozen=True)
class Drill:
    """What was there before, and what the backups before and after say."""

    cat: str
    waiting: str
    record: bytes
    before: dict[str, Any]
    after: dict[str, Any]
    folder: Path


def darkroom(*words: str) -> str:
    command = [sys.executable, "-m", "darkroom_cli", *words]
    done = subprocess.run(command, capture_output=True, text=True, timeout=300, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def until(happened: Callable[[], bool], what: str) -> None:
    deadline = time.monotonic() + WITHIN_S
    while not happened():
        assert time.monotonic() < deadline, what
        time.sleep(0.2)


def first_record(kafka: str, topic: str) -> bytes:
    """The value of a record that the topic holds."""
    consumer = Consumer({"bootstrap.servers": kafka, "group.id": "drill", "log_level": 0})
    try:
        for partition in consumer.list_topics(topic, timeout=20).topics[topic].partitions:
            place = TopicPartition(topic, partition)
            low, high = consumer.get_watermark_offsets(place, timeout=20)
            if high > low:
                consumer.assign([TopicPartition(topic, partition, low)])
                record = consumer.poll(20)
                assert record is not None
                value = record.value()
                assert isinstance(value, bytes)
                return value
    finally:
        consumer.close()
    raise AssertionError(f"{topic} is empty")


def manifest(folder: Path) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((folder / "manifest.json").read_text(encoding="utf-8"))
    return found


@pytest.fixture(scope="module")
def drill(
    system: Stack,
    api: httpx.Client,
    photo: Path,
    sample: SampleManifest,
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[Drill]:
    cat = api.post("/v1/photos", content=photo.read_bytes(), headers=NOW).json()
    rocket = (sample.folder / "rocket.jpg").read_bytes()
    label = api.post("/v1/photos", content=rocket, headers=NOW).json()["labels"][0]["name"]
    sure = {label: {"auto_above": 1.0, "review_below": 1.0}}
    policy = {"auto_above": 0.8, "review_below": 0.5, "reason": "the drill", "labels": sure}
    api.post("/v1/policy", json=policy).raise_for_status()
    pause = {"paused": True, "reason": "the drill"}
    api.patch("/v1/operations/controls/intake", json=pause).raise_for_status()
    time_to_obey(system)
    waiting = api.post("/v1/photos", content=rocket + b"\0").json()["photo_id"]  # a new photo
    until(lambda: rows(system, "SELECT FROM outbox") == [], "all of the outbox is published")
    record = first_record(system.addresses["kafka"], names.PHOTO_EMBEDDED)
    folder, here = tmp_path_factory.mktemp("backups"), ("--data", str(system.data.root))
    darkroom("backup", str(folder / "1"), *here)
    try:
        system.stop()
        for each in system.data.kept:
            shutil.rmtree(each, ignore_errors=True)
        darkroom("restore", str(folder / "1"), *here)
    finally:
        system.start()
    darkroom("backup", str(folder / "2"), *here)
    before, after = manifest(folder / "1"), manifest(folder / "2")
    yield Drill(cat["photo_id"], waiting, record, before, after, folder / "2")
    api.delete("/v1/operations/controls/intake").raise_for_status()


def time_to_obey(system: Stack) -> None:
    """Until intake says that it is paused."""
    api = system.addresses["api"]

    def paused() -> bool:
        workers = httpx.get(f"{api}/v1/operations/workers", timeout=20).json()["items"]
        lanes = [lane for one in workers if one["service"] == "intake" for lane in one["lanes"]]
        return bool(lanes) and all(lane["paused"] for lane in lanes)

    until(paused, "intake is paused")


def rows(system: Stack, query: LiteralString) -> list[tuple[Any, ...]]:
    with psycopg.connect(system.addresses["database"]) as conn:
        return conn.execute(query).fetchall()


def test_counts_and_checksums_are_what_they_were(drill: Drill) -> None:
    tables = [
        {one["name"]: (one["rows"], one["file"]["sha256"]) for one in each["catalog"]["tables"]}
        for each in (drill.before, drill.after)
    ]
    assert tables[0]["photos"][0] >= 2
    assert {name: tables[0][name] for name in SAME} == {name: tables[1][name] for name in SAME}
    counts = [
        (each["objects"]["count"], each["objects"]["bytes"]) for each in (drill.before, drill.after)
    ]
    assert counts[0] == counts[1]
    listings = [each["objects"]["listing"]["sha256"] for each in (drill.before, drill.after)]
    assert listings[0] == listings[1]


def test_schemas_have_the_ids_by_which_old_records_name_them(
    drill: Drill, system: Stack, tmp_path: Path
) -> None:
    assert drill.before["schemas"]["ids"] == drill.after["schemas"]["ids"]
    codec = Codec(SchemaIds(system.addresses["registry"], tmp_path), avro.schema_of)
    assert codec.decode(names.PHOTO_EMBEDDED, drill.record)["stage"] == "embedder"


def test_what_was_held_back_is_held_back_still_and_goes_on_when_it_may(
    drill: Drill, system: Stack, api: httpx.Client
) -> None:
    """Kafka knew neither the pause, nor the photo, nor the policy any more."""
    until(lambda: republished(api), "all that Kafka must know is said again")
    time_to_obey(system)
    assert api.get(f"/v1/photos/{drill.waiting}").json()["status"] == "pending"
    api.delete("/v1/operations/controls/intake").raise_for_status()
    until(
        lambda: api.get(f"/v1/photos/{drill.waiting}").json()["status"] == "analyzed",
        "the photo that waited has an outcome",
    )
    reasons = rows(system, "SELECT photo_id::text, reason FROM outcomes")
    assert "below 1" in dict(reasons)[drill.waiting]


def republished(api: httpx.Client) -> bool:
    run = api.get("/v1/schedules/republish").json()["last_run"]
    return run is not None and run["state"] == "done"


def test_new_photos_are_analysed_and_old_ones_found(
    drill: Drill, api: httpx.Client, sample: SampleManifest
) -> None:
    data = (sample.folder / "coffee.png").read_bytes() + b"\0"
    coffee = api.post("/v1/photos", content=data, headers=NOW).json()
    assert coffee["labels"][0]["name"] == "espresso"
    found = api.get("/v1/search", params={"q": "cats"}).raise_for_status().json()
    assert drill.cat in [hit["photo"]["photo_id"] for hit in found["items"]]
    original = api.get(f"/v1/photos/{drill.cat}/original")
    assert original.status_code == 200
