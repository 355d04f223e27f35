"""The join of a workflow in a process of its own, on a real broker and a real registry."""

import os
import signal
import subprocess
import sys
import threading
import time
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Protocol
from uuid import uuid4

import httpx
import pytest
from confluent_kafka import Consumer, Producer, TopicPartition

import scans
import workflow_topics
from darkroom_cli.infra.ports import any_port
from scans import FAILED, FOUND, PARTIAL, SCANS, STAGES, topic_of
from streamkit import Codec, Emit, SchemaIds
from streamkit.headers import event_headers
from streamkit.workflow import changelog_of, dead_letters_of
from topic_reader import TopicReader

pytestmark = pytest.mark.long

KEYS = 1_000
READY_S = 60.0
RESTART_S = 40.0

Event = tuple[str, str, dict[str, Any]]


class Addresses(Protocol):
    """Of the fixture `infrastructure`: what is needed of it here."""

    kafka: str
    registry: str


class JoinService:
    """The join of SCANS in topics of its own."""

    def __init__(self, places: Addresses, folder: Path) -> None:
        self.prefix = f"test-{uuid4().hex}."
        self._places = places
        self._cache = folder / "cache"
        self.log = folder / "join.log"
        workflow_topics.apply(
            SCANS,
            scans.schema_of,
            kafka=places.kafka,
            registry=places.registry,
            prefix=self.prefix,
        )
        self.codec = Codec(SchemaIds(places.registry, self._cache), scans.schema_of, self.prefix)
        self._producer = Producer(
            {"bootstrap.servers": places.kafka, "partitioner": "murmur2_random"}
        )
        self.topics = TopicReader(places.kafka, places.registry, self._cache, self.prefix)

    def write(self, events: Iterable[Event]) -> None:
        """Publish, and wait for the broker."""
        for topic, key, value in events:
            headers: Any = event_headers(Emit(topic, key, value, str(uuid4())), source="test")
            body = self.codec.encode(topic, value)
            self._producer.produce(self.prefix + topic, body, key, headers=headers)
        assert self._producer.flush(30) == 0

    def write_raw(self, topic: str, key: bytes, value: bytes) -> None:
        """The same with any bytes."""
        self._producer.produce(self.prefix + topic, value, key)
        assert self._producer.flush(30) == 0

    @contextmanager
    def running(self, instance: str = "only") -> Iterator[subprocess.Popen[bytes]]:
        """The process, ready; killed at the end if it still runs."""
        process, port = self.start(instance)
        try:
            until(lambda: self.ready(process, port), "the join is ready", READY_S)
            yield process
        finally:
            process.kill()
            process.wait()

    def start(self, instance: str = "only") -> tuple[subprocess.Popen[bytes], int]:
        """The process, just started, and the port of its health."""
        port = any_port()
        env = {
            **os.environ,
            "DARKROOM_KAFKA": self._places.kafka,
            "DARKROOM_REGISTRY": self._places.registry,
            "DARKROOM_CACHE": str(self._cache),
            "DARKROOM_TOPIC_PREFIX": self.prefix,
            "DARKROOM_HEALTH_PORT": str(port),
            "DARKROOM_JOIN_INSTANCE": instance,
        }
        with self.log.open("ab") as log:
            return subprocess.Popen([sys.executable, scans.__file__], env=env, stdout=log), port

    def ready(self, process: subprocess.Popen[bytes], port: int) -> bool:
        assert process.poll() is None, self.log.read_text(encoding="utf-8")[-3000:]
        try:
            return httpx.get(f"http://127.0.0.1:{port}/readyz").status_code == httpx.codes.OK
        except httpx.TransportError:
            return False

    def outcomes(self, *topics: str) -> dict[str, dict[str, dict[str, Any]]]:
        """By key, then id: values. The same id must never have two."""
        found: dict[str, dict[str, dict[str, Any]]] = defaultdict(dict)
        for topic in topics or (FOUND, PARTIAL):
            for record in self.topics.records(topic):
                headers = dict(record.headers)
                name, key = headers["ce_id"].decode(), (record.key or b"").decode()
                value = self.codec.decode(topic, record.value)
                assert found[key].setdefault(name, value) == value
        return found

    def count(self, *topics: str) -> int:
        """Records on these topics."""
        consumer = Consumer({"bootstrap.servers": self._places.kafka, "group.id": str(uuid4())})
        places = [TopicPartition(self.prefix + topic, n) for topic in topics for n in range(4)]
        total = sum(consumer.get_watermark_offsets(place, timeout=10)[1] for place in places)
        consumer.close()
        return total


def until(condition: Callable[[], bool], what: str, seconds: float) -> None:
    """Wait for a condition; fails after `seconds`."""
    pause, deadline = threading.Event(), time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, f"not within {seconds} s: {what}"
        pause.wait(0.1)


@pytest.fixture
def service(infrastructure: Addresses, tmp_path: Path) -> JoinService:
    return JoinService(infrastructure, tmp_path)


def part(stage: str, page: int) -> Event:
    return topic_of(stage), f"page-{page}", {"score": page}


def failure(stage: str, page: int) -> Event:
    return FAILED, f"page-{page}", {"stage": stage}


def parts(page: int) -> list[Event]:
    """Of a page; of every tenth one the stage that reads words gave up."""
    last = failure("words", page) if page % 10 == 9 else part("words", page)
    return [part("borders", page), part("colors", page), last]


def total(page: int) -> int:
    return page * (2 if page % 10 == 9 else 3)


def test_parts_come_to_one_outcome_which_a_repetition_says_again(service: JoinService) -> None:
    with service.running() as process:
        service.write(parts(7))
        until(lambda: service.count(FOUND) == 1, "the outcome", 20)
        service.write([part("colors", 7)])
        until(lambda: service.count(FOUND) == 2, "the outcome again", 20)
        process.send_signal(signal.SIGTERM)
        assert process.wait(10) == 0
    ((key, ids),) = service.outcomes().items()
    assert key == "page-7"
    assert list(ids.values()) == [{"total": 21, "partial": False, "revision": 1}]


def test_the_part_of_a_failed_stage_that_comes_after_all_makes_the_next_revision(
    service: JoinService,
) -> None:
    with service.running():
        service.write(parts(9))
        until(lambda: service.count(PARTIAL) == 1, "the partial outcome", 20)
        service.write([part("words", 9)])
        until(lambda: service.count(FOUND) == 1, "the whole outcome", 20)
    values = [value for ids in service.outcomes().values() for value in ids.values()]
    assert sorted(values, key=lambda value: value["revision"]) == [
        {"total": 18, "partial": True, "revision": 1},
        {"total": 27, "partial": False, "revision": 2},
    ]


def test_what_can_not_be_read_or_be_is_put_aside_and_the_rest_is_joined(
    service: JoinService,
) -> None:
    letters = dead_letters_of("scanjoin")
    with service.running():
        service.write_raw(topic_of("colors"), b"page-1", b"\x00\x7f\xff\xff\xffpoison")
        service.write([failure("smells", 1), *parts(1)])
        until(lambda: service.count(FOUND) == 1, "the outcome", 20)
        until(lambda: len(list(service.topics.records(letters))) == 2, "two dead letters", 20)
    codes = {dict(letter.headers)["dl_code"] for letter in service.topics.records(letters)}
    assert codes == {b"unknown_schema", b"impossible_record"}


def test_killed_again_and_again_it_joins_every_key_under_one_id(service: JoinService) -> None:
    def write() -> None:
        for first in range(0, KEYS, 50):
            service.write(event for page in range(first, first + 50) for event in parts(page))

    writing = threading.Thread(target=write)
    writing.start()
    for share in (0.15, 0.45, 0.75):
        with service.running() as process:
            goal = round(share * KEYS)
            until(lambda goal=goal: service.count(FOUND, PARTIAL) >= goal, "progress", RESTART_S)  # type: ignore[misc]
            process.kill()
    writing.join()
    with service.running():
        until(lambda: len(service.outcomes()) == KEYS, "every page has its outcome", RESTART_S)
    found = service.outcomes()
    assert {len(ids) for ids in found.values()} == {1}
    for page in range(KEYS):
        (value,) = found[f"page-{page}"].values()
        assert value == {"total": total(page), "partial": page % 10 == 9, "revision": 1}
    table = service.topics.table(changelog_of("scanjoin"))
    assert len(table) == KEYS
    assert all(set(state[""]["parts"]) <= set(STAGES) for state in table.values())
