"""What operators set reaches a worker by the real broker."""

import io
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from uuid import uuid4

import fastavro
import pytest
from confluent_kafka.admin import AdminClient, NewTopic  # type: ignore[attr-defined]
from structlog.testing import capture_logs

from darkroom_cli.contracts import Subjects
from darkroom_schemas import avro, catalogue, names
from infrastructure import Infrastructure
from streamkit import Codec, SchemaIds
from streamkit.control import TOPIC, Control, ControlReader
from streamkit.errors import Busy, Reject
from streamkit.kafka.producer import KafkaProducer
from streamkit.records import RawRecord

SCHEMA = fastavro.parse_schema(avro.schema("ops.control"))
DEADLINE_S = 30.0
EXAMPLE = Path(__file__).parents[2] / "examples/operations/control.py"
UNTIL = datetime(2030, 1, 1, tzinfo=UTC)


def encoded(**changes: Any) -> bytes:
    value = {
        "target": "ocr",
        "paused": False,
        "owner": "mia",
        "reason": "a test",
        "changed_at": datetime.now(UTC),
        **changes,
    }
    out = io.BytesIO()
    fastavro.schemaless_writer(out, SCHEMA, value)
    return out.getvalue()


def decode(topic: str, value: bytes | None) -> Mapping[str, Any]:
    if value == b"junk":
        raise Reject("undecodable", "It is junk.")
    read = fastavro.schemaless_reader(io.BytesIO(value or b""), SCHEMA, None)
    assert isinstance(read, dict)
    return read


class Operator:
    """Sets things."""

    def __init__(self, infrastructure: Infrastructure) -> None:
        self.kafka = infrastructure.kafka
        self.prefix = f"t{uuid4().hex[:8]}."
        self._admin = AdminClient({"bootstrap.servers": self.kafka})
        self._producer = KafkaProducer(self.kafka, "test", prefix=self.prefix)
        self._tickets = iter(range(1_000_000))

    def make_topic(self) -> None:
        """As `darkroom topics apply` makes it."""
        declared = catalogue.load()[TOPIC]
        name = self.prefix + TOPIC
        topic = NewTopic(name, declared.partitions, 1, config=declared.config())
        self._admin.create_topics([topic])[name].result(20)

    def say(self, target: str, value: bytes | None) -> None:
        """Publish, and wait until it is there."""
        record = RawRecord(TOPIC, target.encode(), value, [])
        self._producer.send(next(self._tickets), [record])
        (delivery,) = self._producer.poll(20)
        assert delivery.error is None


class Worker:
    """One that listens."""

    def __init__(self, operator: Operator, decode: Callable[..., Any] = decode) -> None:
        self.heard: list[Control] = []
        self._changed = threading.Condition()
        self.reader = ControlReader(
            operator.kafka, "ocr", decode, self._hear, prefix=operator.prefix
        )

    def _hear(self, control: Control) -> None:
        with self._changed:
            self.heard.append(control)
            self._changed.notify()

    def hears(self, count: int) -> list[Control]:
        """What it has heard, once it is so much."""
        with self._changed:
            assert self._changed.wait_for(lambda: len(self.heard) >= count, DEADLINE_S)
        return self.heard


@pytest.fixture
def operator(infrastructure: Infrastructure) -> Operator:
    return Operator(infrastructure)


@pytest.fixture
def worker(operator: Operator) -> Iterator[Worker]:
    worker = Worker(operator)
    yield worker
    worker.reader.close()


def test_the_topic_is_the_declared_one() -> None:
    assert names.OPS_CONTROL == TOPIC
    assert catalogue.load()[TOPIC].schema == "ops.control"


def test_nobody_waits_for_what_may_come(operator: Operator) -> None:
    """A broker answers a fetch at the end of a topic only after that long: readiness is before."""
    options = {"fetch.wait.max.ms": 50_000}
    operator.make_topic()
    operator.say("ocr", encoded(paused=True))
    for service, known in (("ocr", [True]), ("detector", [])):
        told: list[Control] = []
        reader = ControlReader(
            operator.kafka, service, decode, told.append, prefix=operator.prefix, options=options
        )
        try:
            assert reader.start(DEADLINE_S)
            assert [control.paused for control in told] == known
        finally:
            reader.close()


def test_a_worker_knows_what_was_set_before_it_started(operator: Operator, worker: Worker) -> None:
    operator.make_topic()
    operator.say("ocr", encoded(rate="100/m"))
    operator.say("ocr/batch", encoded(target="ocr/batch", paused=True, paused_until=UNTIL))
    operator.say("detector", encoded(target="detector", paused=True))
    assert worker.reader.start(DEADLINE_S)
    assert worker.reader.ready
    assert worker.heard == [
        Control("ocr", rate="100/m", owner="mia", reason="a test"),
        Control(
            "ocr/batch",
            paused=True,
            paused_until=UNTIL.timestamp(),
            owner="mia",
            reason="a test",
        ),
    ]


def test_a_worker_hears_what_is_set_and_taken_back_while_it_runs(
    operator: Operator, worker: Worker
) -> None:
    operator.make_topic()
    assert worker.reader.start(DEADLINE_S)
    assert worker.heard == []
    operator.say("ocr", encoded(concurrency=2))
    operator.say("ocr", None)
    assert [one.concurrency for one in worker.hears(2)] == [2, None]
    assert worker.heard[1] == Control("ocr")


@pytest.mark.parametrize(
    "junk",
    [b"junk", encoded(rate="many"), encoded(concurrency=-1), encoded(target="detector")],
    ids=["junk", "rate", "count", "another target"],
)
def test_what_can_not_be_read_is_passed_over(
    operator: Operator, worker: Worker, junk: bytes
) -> None:
    operator.make_topic()
    operator.say("ocr", encoded(concurrency=1))
    with capture_logs() as logs:
        assert worker.reader.start(DEADLINE_S)
        operator.say("ocr", junk)
        operator.say("ocr", encoded(concurrency=3))
        assert [one.concurrency for one in worker.hears(2)] == [1, 3]
    assert [line["target"] for line in logs if line["event"] == "control_unreadable"] == ["ocr"]


def test_a_worker_starts_without_the_topic_and_follows_it_once_it_is_there(
    operator: Operator, worker: Worker
) -> None:
    with capture_logs() as logs:
        assert not worker.reader.start(1.0)
    (line,) = [line for line in logs if line["event"] == "control_unknown"]
    assert "darkroom topics apply" in line["reason"]
    operator.make_topic()
    operator.say("ocr", encoded(concurrency=2))
    assert [one.concurrency for one in worker.hears(1)] == [2]


def test_a_worker_starts_and_stops_while_the_broker_is_away(operator: Operator) -> None:
    operator.kafka = "127.0.0.1:1"
    worker = Worker(operator)
    began = time.monotonic()
    with capture_logs() as logs:
        assert not worker.reader.start(0.1)
    worker.reader.close()
    assert time.monotonic() - began < 10
    assert [line["event"] for line in logs][-1] == "control_unknown"


def test_what_a_registry_that_is_away_keeps_unread_is_read_when_it_is_back(
    operator: Operator,
) -> None:
    away = threading.Event()

    def patient(topic: str, value: bytes | None) -> Mapping[str, Any]:
        if not away.is_set():
            away.set()
            raise Busy("no registry")
        return decode(topic, value)

    operator.make_topic()
    operator.say("ocr", encoded(concurrency=2))
    worker = Worker(operator, patient)
    with capture_logs() as logs:
        assert worker.reader.start(DEADLINE_S)
    worker.reader.close()
    assert [one.concurrency for one in worker.heard] == [2]
    assert "no registry" in [line.get("reason") for line in logs]


def test_a_worker_that_waits_for_the_registry_can_be_stopped(operator: Operator) -> None:
    asked = threading.Event()

    def never(topic: str, value: bytes | None) -> Mapping[str, Any]:
        asked.set()
        raise Busy("no registry")

    operator.make_topic()
    operator.say("ocr", encoded())
    worker = Worker(operator, never)
    worker.reader.start(0.0)
    assert asked.wait(DEADLINE_S)
    worker.reader.close()
    assert worker.heard == []


def test_a_reader_that_was_never_started_can_be_closed(operator: Operator) -> None:
    Worker(operator).reader.close()


def test_the_example_says_what_an_operator_wants(
    operator: Operator, infrastructure: Infrastructure, tmp_path: Path
) -> None:
    operator.make_topic()
    subjects = Subjects(infrastructure.registry, catalogue.load(), operator.prefix)
    assert all(one.good for one in subjects.apply())
    codec = Codec(SchemaIds(infrastructure.registry, tmp_path), avro.schema_of, operator.prefix)
    worker = Worker(operator, codec.decode)
    try:
        assert worker.reader.start(DEADLINE_S)
        place = [f"--kafka={operator.kafka}", f"--registry={infrastructure.registry}"]
        words = [sys.executable, str(EXAMPLE), "ocr/batch", *place, f"--prefix={operator.prefix}"]
        subprocess.run([*words, "--pause=5", "--reason=a new disk"], check=True, timeout=60)
        subprocess.run([*words, "--clear"], check=True, timeout=60)
        paused, cleared = worker.hears(2)
    finally:
        worker.reader.close()
    assert (paused.target, paused.paused, paused.reason) == ("ocr/batch", True, "a new disk")
    assert cleared == Control("ocr/batch")
    words += ["--rate=many", "--reason=x"]
    refused = subprocess.run(words, check=False, capture_output=True, text=True, timeout=60)
    assert refused.returncode == 2
    assert "write for example 100/m" in refused.stderr
