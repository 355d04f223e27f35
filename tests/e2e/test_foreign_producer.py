"""Programs that share no code with Darkroom write its topics and read them."""

import hashlib
import io
import json
import shutil
import struct
import subprocess
import sys
import time
from collections.abc import Iterator
from datetime import datetime
from functools import cache
from pathlib import Path
from typing import Any

import fastavro
import httpx

from darkroom_cli.sample import SampleManifest
from darkroom_cli.stack import Stack
from java_tool import java_tool

SUBMIT = Path(__file__).parents[2] / "examples" / "producers" / "submit.py"
STAGES = ("detector", "ocr", "embedder")
PARTS = ("photo.objects-detected.v1", "photo.text-read.v1", "photo.embedded.v1")
"""Of each stage."""

OUTCOMES = ("photo.auto-labeled.v1", "photo.suggested.v1", "photo.review-requested.v1")


def submit(system: Stack, tmp_path: Path, photo: Path) -> str:
    """The id of the photo that the example handed in, run where nothing of ours is importable."""
    script = shutil.copy(SUBMIT, tmp_path)
    store = system.data.objects / "inbox"
    store.mkdir(exist_ok=True)
    places = {"--kafka": "kafka", "--registry": "registry"}
    options = [text for flag, name in places.items() for text in (flag, system.addresses[name])]
    command = [sys.executable, script, *options, "--store", str(store), str(photo)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout.split()[0]


def test_a_photo_handed_in_by_a_foreign_program_gets_an_outcome(
    system: Stack, api: httpx.Client, sample: SampleManifest, tmp_path: Path
) -> None:
    photo_id = submit(system, tmp_path, sample.folder / "grace-hopper.jpg")
    deadline = time.monotonic() + 60
    while True:
        answer = api.get(f"/v1/photos/{photo_id}")
        if answer.status_code == 200 and answer.json()["status"] == "analyzed":
            break
        assert time.monotonic() < deadline, answer.text
        time.sleep(0.2)
    assert answer.json()["lane"] == "default"
    assert answer.json()["labels"]


def test_the_example_imports_nothing_of_ours() -> None:
    imported = {
        line.split()[1].partition(".")[0]
        for line in SUBMIT.read_text(encoding="utf-8").splitlines()
        if line.startswith(("import ", "from "))
    }
    assert not imported & {"darkroom_schemas", "streamkit", "darkroom_cli", "imaging"}


def test_what_kcat_reads_is_explained_by_the_registry_alone(
    system: Stack, api: httpx.Client, photo: Path
) -> None:
    """As a Kafka UI does it: five bytes, the schema of that id, Avro. It says what the API says."""
    data = photo.read_bytes() + b"read by others"
    said = api.post("/v1/photos", content=data, headers={"Prefer": "wait=60"}).json()
    seen = {
        topic: record
        for topic in (f"photo.analysis-requested.{said['lane']}.v1", *PARTS, *OUTCOMES)
        for key, record in decoded(system, topic)
        if key == said["photo_id"]
    }
    requested, detected, text, embedded, outcome = seen.values()
    for record in seen.values():
        assert record["analysis_id"] == said["analysis_id"]
    assert requested["sha256"] == hashlib.sha256(data).hexdigest()
    for field in ("width", "height", "media_type", "byte_size"):
        assert requested[field] == said[field]
    for part, stage in zip((detected, text, embedded), STAGES, strict=True):
        found = {name: part[name] for name in ("engine", "model_version", "ms")}
        assert (part["stage"], found) == (stage, said["stages"][stage])
    assert (detected["objects"], detected["category"]) == (said["objects"], said["category"])
    assert (text["text"], text["lines"]) == (said["text"], said["lines"])
    assert len(embedded["vector"]) == said["embedding_dim"]
    for field in ("outcome", "label", "labels", "confidence", "calibrated", "reason", "partial"):
        assert outcome[field] == said[field]
    assert outcome["decided_at"] == datetime.fromisoformat(said["decided_at"])


def decoded(system: Stack, topic: str) -> Iterator[tuple[str, dict[str, Any]]]:
    """Key and value of all records of a topic."""
    command = ["kcat", "-b", system.addresses["kafka"], "-C", "-t", topic, "-e", "-q"]
    done = subprocess.run(  # lengths: of the key in digits, of the value in four bytes
        [*command, "-f", "%K %k%R%s"], capture_output=True, timeout=60, check=True
    )
    rest = io.BytesIO(done.stdout)
    while digits := b"".join(iter(lambda: rest.read(1).strip(), b"")):
        key = rest.read(int(digits)).decode()
        (length,) = struct.unpack(">i", rest.read(4))
        value = io.BytesIO(rest.read(length))
        magic, schema_id = struct.unpack(">bI", value.read(5))
        assert magic == 0
        record = fastavro.schemaless_reader(value, schema_of(system, schema_id), None)
        assert value.read() == b""
        assert isinstance(record, dict)
        yield key, record


@cache
def schema_of(system: Stack, schema_id: int) -> Any:
    url = f"{system.addresses['registry']}/schemas/ids/{schema_id}"
    return fastavro.parse_schema(json.loads(httpx.get(url, timeout=10).json()["schema"]))


def test_javas_console_consumer_reads_an_outcome(
    system: Stack, api: httpx.Client, photo: Path
) -> None:
    answer = api.post("/v1/photos", content=photo.read_bytes(), headers={"Prefer": "wait=60"})
    photo_id = answer.json()["photo_id"]
    options = ["--bootstrap-server", system.addresses["kafka"], "--from-beginning"]
    options += ["--include", "|".join(OUTCOMES).replace(".", r"\.")]
    options += ["--timeout-ms", "8000", "--formatter-property", "print.key=true"]
    command = java_tool("ConsoleConsumer", *options)
    done = subprocess.run(command, capture_output=True, timeout=90, check=False)
    assert photo_id.encode() in done.stdout
