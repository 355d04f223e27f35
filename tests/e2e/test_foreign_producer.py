"""Programs that share no code with Darkroom write its topics and read them."""

import json
import shutil
import struct
import subprocess
import sys
import time
import urllib.request
from pathlib import Path

import httpx

from darkroom_cli.sample import SampleManifest
from darkroom_cli.stack import Stack
from java_tool import java_tool

SUBMIT = Path(__file__).parents[2] / "examples" / "producers" / "submit.py"
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


def test_kcat_reads_the_bytes_and_the_registry_explains_them(
    system: Stack, api: httpx.Client, photo: Path
) -> None:
    api.post("/v1/photos", content=photo.read_bytes(), headers={"Prefer": "wait=60"})
    command = ["kcat", "-b", system.addresses["kafka"], "-C", "-t", "photo.embedded.v1"]
    done = subprocess.run(
        [*command, "-c", "1", "-e", "-f", "%k|%R%s"], capture_output=True, timeout=60, check=True
    )
    key, _, rest = done.stdout.partition(b"|")
    value = rest[4:]  # %R: the value's length, four bytes
    magic, schema_id = struct.unpack_from(">bI", value)
    assert magic == 0
    url = f"{system.addresses['registry']}/schemas/ids/{schema_id}"
    with urllib.request.urlopen(url, timeout=10) as answer:  # noqa: S310
        schema = json.loads(json.load(answer)["schema"])
    assert schema["name"] == "PhotoEmbedded"
    assert key in value


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
