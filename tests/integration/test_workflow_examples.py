"""The workflow examples, as their reader would run them: in memory, and one on a real broker."""

import importlib.util
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any, Protocol
from uuid import uuid4

from confluent_kafka import Producer

import workflow_topics
from streamkit import Codec, SchemaIds, readable
from topic_reader import TopicReader

FOLDER = Path(__file__).parents[2] / "examples" / "workflows"
IMPORT_AND_LEARN = FOLDER / "import_and_learn.py"
DONE_S = 120.0
STOP_S = 60.0


def printed(script: str, *arguments: str) -> list[str]:
    """The lines that an example prints, without those of its log."""
    command = [sys.executable, str(FOLDER / script), *arguments]
    found = subprocess.run(command, capture_output=True, text=True, timeout=60, check=True)
    return [line for line in found.stdout.splitlines() if not line.startswith("{")]


def test_single_photos_are_routed_by_confidence_or_to_a_person() -> None:
    photos = ["cat-0.9.jpg", "dog-0.6.jpg", "broken-0.9.jpg"]
    assert printed("single_photo.py", *photos) == [
        "auto_labeled cat 0.9",
        "suggested dog 0.6",
        "review broken 0.9 ocr",
    ]


def test_a_fourth_stage_takes_part_in_the_outcome_and_under_60_lines() -> None:
    assert printed("fourth_stage.py", "face-0.9.jpg") == ["detector embedder faces ocr"]
    assert len((FOLDER / "fourth_stage.py").read_text("utf-8").splitlines()) < 60


def test_an_import_is_learned_from_when_its_last_photo_has_ended() -> None:
    assert printed("import_and_learn.py") == ["['cat', 'dog']"]


class Addresses(Protocol):
    """Of the fixture `infrastructure`: what is needed of it here."""

    kafka: str
    registry: str


def example() -> Any:
    """The module import_and_learn."""
    spec = importlib.util.spec_from_file_location("import_and_learn", IMPORT_AND_LEARN)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    return module


def until(condition: Callable[[], bool], what: str, seconds: float) -> None:
    """Wait for a condition; fails after `seconds`."""
    pause, deadline = threading.Event(), time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, f"not within {seconds} s: {what}"
        pause.wait(0.2)


def ended(process: subprocess.Popen[bytes]) -> int | None:
    """Its exit code; None if it goes on, whose log then says where all its threads are."""
    try:
        return process.wait(STOP_S)
    except subprocess.TimeoutExpired:
        process.send_signal(signal.SIGUSR1)
        threading.Event().wait(2.0)
        return None


@contextmanager
def service(step: str, env: dict[str, str], log: Path) -> Iterator[subprocess.Popen[bytes]]:
    """A step of the example in a process of its own, which ends well when it is asked to."""
    with log.open("ab") as output:
        command = [sys.executable, str(IMPORT_AND_LEARN), step]
        process = subprocess.Popen(command, env=env, stdout=output, stderr=output)
    try:
        yield process
        process.send_signal(signal.SIGTERM)
        assert ended(process) == 0, log.read_text(encoding="utf-8")[-6000:]
    finally:
        process.kill()
        process.wait()


def test_on_a_real_broker_each_step_is_a_service_of_its_own(
    infrastructure: Addresses, tmp_path: Path
) -> None:
    module, prefix, cache = example(), f"test-{uuid4().hex}.", tmp_path / "cache"
    kafka, registry = infrastructure.kafka, infrastructure.registry
    workflow_topics.apply(
        module.IMPORT, module.schema_of, kafka=kafka, registry=registry, prefix=prefix
    )
    env = {
        **os.environ,
        "DARKROOM_KAFKA": kafka,
        "DARKROOM_REGISTRY": registry,
        "DARKROOM_CACHE": str(cache),
        "DARKROOM_TOPIC_PREFIX": prefix,
        "DARKROOM_OPERATIONS": "false",
    }
    codec = Codec(SchemaIds(registry, cache), module.schema_of, prefix)
    producer = Producer({"bootstrap.servers": kafka, "partitioner": "murmur2_random"})
    for number in range(10):
        files = [f"{label}.jpg" for label in ("cat", "dog", "cat")[: 2 + number % 2]]
        value = codec.encode("import.requested.v1", {"files": [*files, "notes.txt"]})
        producer.produce(f"{prefix}import.requested.v1", value, f"folder-{number}")
    assert producer.flush(30) == 0

    topics = TopicReader(kafka, registry, cache, prefix)
    ends = ("model.learned.v1", "import.completed.v1")
    with ExitStack() as stack:
        for step in module.IMPORT.steps:
            log = tmp_path / f"{step.name}.log"
            stack.enter_context(service(step.name, env, log))
        until(
            lambda: sum(1 for topic in ends for _ in topics.records(topic)) >= 10,
            "every import has its end",
            DONE_S,
        )
    found = {
        (record.key or b"").decode(): (topic, codec.decode(topic, record.value))
        for topic in ends
        for record in topics.records(topic)
    }
    learned = ("model.learned.v1", {"labels": ["cat", "dog"]})
    too_few = ("import.completed.v1", {"labels": ["cat", "dog"], "failed": 1})
    assert found == {f"folder-{n}": learned if n % 2 else too_few for n in range(10)}
    (name,) = {readable(one.headers)["ce_source"] for one in topics.records("model.learned.v1")}
    assert name == "/darkroom/learner"
