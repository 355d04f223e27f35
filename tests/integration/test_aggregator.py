"""The aggregator's own process on a real broker and a real registry."""

import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Protocol
from uuid import uuid4

import httpx
import pytest

from aggregator.handlers import Rules, routes
from aggregator_events import (
    Event,
    analysis,
    at,
    batch,
    cancelled,
    deadline,
    detected,
    embedded,
    failed,
    intake,
    joined,
    photo,
    read,
)
from darkroom_cli.contracts import Subjects, Topics
from darkroom_cli.infra.ports import any_port
from darkroom_schemas import avro, catalogue, ids, names
from streamkit import Codec, Emit, Publisher, RawRecord, SchemaIds
from topic_reader import TopicReader

pytestmark = pytest.mark.long

PHOTOS = 200
READY_S = 60.0
RESTART_S = 30.0
OUTCOMES = (names.PHOTO_AUTO_LABELED, names.PHOTO_SUGGESTED, names.PHOTO_REVIEW_REQUESTED)
DEAD_LETTERS = "darkroom.aggregator.dlq"


class Addresses(Protocol):
    """Of the fixture `infrastructure`: what is needed of it here."""

    kafka: str
    registry: str


class Aggregator:
    """`python -m aggregator` in topics of its own, and what is written to and read from them."""

    def __init__(self, places: Addresses, folder: Path) -> None:
        self._prefix = f"test-{uuid4().hex}."
        self._places = places
        self._cache = folder / "cache"
        self._log = folder / "aggregator.log"
        found = Topics(places.kafka, catalogue.load(), self._prefix).apply()
        found += Subjects(places.registry, catalogue.load(), self._prefix).apply()
        assert all(one.good for one in found)
        codec = Codec(SchemaIds(places.registry, self._cache), avro.schema_of, self._prefix)
        self._publisher = Publisher(places.kafka, source="test", codec=codec, prefix=self._prefix)
        self.topics = TopicReader(places.kafka, places.registry, self._cache, self._prefix)

    def write(self, events: Sequence[Event]) -> None:
        self._publisher.publish([Emit(*event, str(uuid4())) for event in events])

    def write_raw(self, record: RawRecord) -> None:
        self._publisher.publish_raw([record])

    @contextmanager
    def running(self) -> Iterator[subprocess.Popen[bytes]]:
        """The process, ready; killed at the end if it still runs."""
        port = any_port()
        env = {
            **os.environ,
            "DARKROOM_KAFKA": self._places.kafka,
            "DARKROOM_REGISTRY": self._places.registry,
            "DARKROOM_CACHE": str(self._cache),
            "DARKROOM_TOPIC_PREFIX": self._prefix,
            "DARKROOM_HEALTH_PORT": str(port),
            "DARKROOM_AGGREGATOR_INSTANCE": "only",
        }
        with self._log.open("ab") as log:
            process = subprocess.Popen([sys.executable, "-m", "aggregator"], env=env, stdout=log)
        try:
            until(lambda: self._ready(process, port), "the aggregator is ready", READY_S)
            yield process
        finally:
            process.kill()
            process.wait()

    def _ready(self, process: subprocess.Popen[bytes], port: int) -> bool:
        assert process.poll() is None, self._log.read_text(encoding="utf-8")[-3000:]
        try:
            return httpx.get(f"http://127.0.0.1:{port}/readyz").status_code == httpx.codes.OK
        except httpx.TransportError:
            return False

    def outcomes(self) -> list[tuple[str, dict[str, Any]]]:
        """(event id, value) of everything on the three outcome topics."""
        return [event for topic in OUTCOMES for event in self.topics.events(topic)]


def until(condition: Callable[[], bool], what: str, seconds: float) -> None:
    """Wait for a condition; fails after `seconds`."""
    pause, deadline = threading.Event(), time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, f"not within {seconds} s: {what}"
        pause.wait(0.1)


@pytest.fixture
def aggregator(infrastructure: Addresses, tmp_path: Path) -> Aggregator:
    return Aggregator(infrastructure, tmp_path)


def parts(number: int) -> list[Event]:
    """A photo's stages; every tenth has no text because its stage gave up."""
    confidence = number % 101 / 100
    text = failed("ocr", number) if number % 10 == 9 else read(number)
    return [detected(number, confidence), text, embedded(number)]


def test_a_photos_parts_come_to_exactly_one_outcome(aggregator: Aggregator) -> None:
    with aggregator.running() as process:
        aggregator.write([*parts(0), joined(0)])
        until(lambda: bool(aggregator.outcomes()), "the outcome", 10)
        process.send_signal(signal.SIGTERM)
        assert process.wait(10) == 0
    ((event_id, value),) = aggregator.outcomes()
    assert event_id == ids.event_id(analysis(0), "outcome", 1)
    assert value["analysis_id"] == analysis(0)
    ((_, end),) = aggregator.topics.events(names.BATCH_PHOTO_ENDED)
    assert (end["batch_id"], end["index"], end["end"]) == (batch(), 0, value["outcome"])


def test_killed_in_the_middle_it_still_says_everything_once(aggregator: Aggregator) -> None:
    events = [
        event for number in range(PHOTOS) for event in (joined(number, number), *parts(number))
    ]
    sealed = intake(found=PHOTOS, submitted=PHOTOS, seconds=1)
    with aggregator.running() as process:
        aggregator.write([intake(state="started"), *events[: len(events) // 2]])
        until(lambda: len(aggregator.outcomes()) > PHOTOS // 10, "some outcomes", 20)
        aggregator.write([*events[len(events) // 2 :], sealed])
        process.kill()
        process.wait()
    killed = time.monotonic()
    with aggregator.running():
        assert time.monotonic() - killed < RESTART_S
        until(lambda: _completed(aggregator), "the import is complete", 30)
    _assert_exact(aggregator)


def _completed(aggregator: Aggregator) -> bool:
    return any(aggregator.topics.events(names.BATCH_COMPLETED))


def _assert_exact(aggregator: Aggregator) -> None:
    """Topics say one thing about each photo, whatever was repeated, and tables say the same."""
    said = _by_id(aggregator.outcomes())
    assert set(said) == {ids.event_id(analysis(n), "outcome", 1) for n in range(PHOTOS)}
    assert sum(value["partial"] for value in said.values()) == PHOTOS // 10
    table = aggregator.topics.table("darkroom-aggregator-analyses-changelog")
    for number in range(PHOTOS):
        value = said[ids.event_id(analysis(number), "outcome", 1)]
        kept = table[photo(number)]["analyses"][analysis(number)]["revisions"]["1"]["decision"]
        assert kept == {name: value[name] for name in kept}
    _assert_totals(aggregator, said)


def _assert_totals(aggregator: Aggregator, said: dict[str, dict[str, Any]]) -> None:
    ends = _by_id(aggregator.topics.events(names.BATCH_PHOTO_ENDED))
    assert sorted(value["index"] for value in ends.values()) == list(range(PHOTOS))
    (chunk,) = aggregator.topics.table("darkroom-aggregator-chunks-changelog").values()
    assert len(chunk["ends"].replace(".", "")) == PHOTOS
    (total,) = _by_id(aggregator.topics.events(names.BATCH_COMPLETED)).values()
    assert total["found"] == total["accepted"] == PHOTOS
    assert total["partial"] == PHOTOS // 10
    for outcome in ("auto_labeled", "suggested", "review"):
        assert total[outcome] == sum(value["outcome"] == outcome for value in said.values())


def _by_id(events: Any) -> dict[str, dict[str, Any]]:
    """Value by event id; the same id must always have the same value."""
    found: dict[str, dict[str, Any]] = {}
    for event_id, value in events:
        assert found.setdefault(event_id, value) == value
    return found


def test_totals_are_told_twice_a_second_and_at_the_end_and_a_large_import_asks_for_training(
    aggregator: Aggregator,
) -> None:
    with aggregator.running():
        begun = time.monotonic()
        aggregator.write([intake(state="started")])
        for first in range(0, PHOTOS, 10):
            tens = range(first, first + 10)
            aggregator.write([event for n in tens for event in (joined(n, n), *parts(n))])
        aggregator.write([intake(found=PHOTOS, submitted=PHOTOS, seconds=1)])
        until(lambda: _completed(aggregator), "the import is complete", 60)
        took = time.monotonic() - begun
    progress = list(aggregator.topics.events(names.BATCH_PROGRESSED))
    assert len(progress) <= 2 * took + 2
    assert (progress[-1][1]["pending"], progress[-1][1]["sealed"]) == (0, True)
    changes = list(aggregator.topics.records("darkroom-aggregator-chunks-changelog"))
    changes += aggregator.topics.records("darkroom-aggregator-batches-changelog")
    assert sum(len(one.key or b"") + len(one.value or b"") for one in changes) < 200 * PHOTOS
    ((request, value),) = _by_id(aggregator.topics.events(names.TRAINING_REQUESTED)).items()
    assert request == value["request_id"] == ids.batch_event_id(batch(), "training")


def test_a_cancelled_analysis_ends_and_a_deadline_makes_a_partial_outcome(
    aggregator: Aggregator,
) -> None:
    waits, late = detected(0), [detected(1), embedded(1), deadline("ocr", number=1)]
    with aggregator.running():
        aggregator.write([joined(0, 0), joined(1, 1), waits, cancelled(0), *late])
        aggregator.write([intake(state="cancelled", found=2, submitted=2)])
        until(lambda: _completed(aggregator), "the import is complete", 60)
    ((_, outcome),) = aggregator.outcomes()
    assert (outcome["failed_stages"], outcome["decided_at"]) == (["ocr"], at(900))
    (total,) = _by_id(aggregator.topics.events(names.BATCH_COMPLETED)).values()
    assert (total["cancelled"], total["review"], total["partial"]) == (1, 1, 1)
    assert not list(aggregator.topics.events(names.TRAINING_REQUESTED))


def policy(revision: int, auto_above: float) -> Event:
    value = {
        "revision": revision,
        "auto_above": auto_above,
        "review_below": 0.0,
        "labels": [],
        "reason": "a test",
        "changed_by": "mia",
        "changed_at": at(0),
    }
    return names.OPS_POLICY, str(revision), value


def test_each_analysis_is_routed_by_the_policy_of_its_revision(aggregator: Aggregator) -> None:
    aggregator.write([policy(2, 0.95)])

    def photos(*revisions: int) -> list[Event]:
        return [
            event
            for number in revisions
            for event in (
                detected(number, 0.9, policy_revision=number),
                read(number, policy_revision=number),
                embedded(number, policy_revision=number),
            )
        ]

    with aggregator.running():
        aggregator.write(photos(1, 2))
        until(lambda: len(aggregator.outcomes()) == 2, "two outcomes", 60)
        aggregator.write([policy(3, 0.85), *photos(3), *photos(99)])
        until(lambda: len(aggregator.outcomes()) == 4, "two more", 60)
    found = {value["policy_revision"]: value["outcome"] for _, value in aggregator.outcomes()}
    assert found == {1: "auto_labeled", 2: "suggested", 3: "auto_labeled", 99: "auto_labeled"}


def test_a_record_that_cannot_be_read_is_put_aside_and_the_next_is_worked_on(
    aggregator: Aggregator,
) -> None:
    poison = RawRecord(
        names.PHOTO_EMBEDDED,
        photo(0).encode(),
        b"\x00\x7f\xff\xff\xffpoison",
        [("from", b"a test")],
    )
    with aggregator.running():
        aggregator.write_raw(poison)
        aggregator.write(parts(0))
        until(lambda: bool(aggregator.outcomes()), "the outcome", 10)
        until(lambda: any(aggregator.topics.records(DEAD_LETTERS)), "the dead letter", 10)
    (letter,) = aggregator.topics.records(DEAD_LETTERS)
    assert (letter.key, letter.value) == (poison.key, poison.value)
    headers = dict(letter.headers)
    assert headers["from"] == b"a test"
    assert headers["dl_topic"] == names.PHOTO_EMBEDDED.encode()
    assert headers["dl_code"] == b"unknown_schema"
    assert headers["dl_service"] == b"aggregator"
    assert len(aggregator.outcomes()) == 1


def test_it_says_what_it_has_and_has_done_from_its_start_to_its_end(
    aggregator: Aggregator,
) -> None:
    with aggregator.running() as process:
        until(lambda: "working" in _states(aggregator, process.pid), "it works", 20)
        aggregator.write_raw(RawRecord(names.PHOTO_EMBEDDED, b"a photo", b"poison", []))
        aggregator.write([*parts(0), joined(0)])
        until(lambda: bool(aggregator.outcomes()), "the outcome", 10)
        until(lambda: any(aggregator.topics.records(DEAD_LETTERS)), "the dead letter", 10)
        process.send_signal(signal.SIGTERM)
        assert process.wait(10) == 0
    assert _states(aggregator, process.pid) == ["starting", "working", "stopping", "gone"]
    said = _heartbeats(aggregator, process.pid)
    assert {one["worker"] for one in said} == {f"aggregator@{said[0]['host']}:{process.pid}"}
    works = [one["lanes"][0] for one in said if one["state"] == "working"][-1]
    partitions = {(one["topic"], one["partition"]) for one in works["partitions"]}
    declared = catalogue.load()
    assert partitions == {
        (topic, number) for topic in routes(Rules()) for number in range(declared[topic].partitions)
    }
    (last,) = said[-1]["lanes"]
    assert (last["lane"], last["failed"], last["partitions"]) == ("events", 1, [])
    assert last["done"] >= len(parts(0)) + 2


def _heartbeats(aggregator: Aggregator, pid: int) -> Sequence[dict[str, Any]]:
    said = [value for _, value in aggregator.topics.events(names.OPS_WORKER)]
    return [one for one in said if one["pid"] == pid]


def _states(aggregator: Aggregator, pid: int) -> Sequence[str]:
    """What it said that it does, in that order."""
    return list(dict.fromkeys(one["state"] for one in _heartbeats(aggregator, pid)))


def test_an_impossible_record_is_put_aside_with_its_reason(aggregator: Aggregator) -> None:
    with aggregator.running():
        aggregator.write([failed("painter", 0), *parts(1)])
        until(lambda: bool(aggregator.outcomes()), "the outcome of the other photo", 10)
        until(lambda: any(aggregator.topics.records(DEAD_LETTERS)), "the dead letter", 10)
    (letter,) = aggregator.topics.records(DEAD_LETTERS)
    headers = dict(letter.headers)
    assert headers["dl_code"] == b"impossible_record"
    assert b"painter" in headers["dl_message"]
    ((_, notice),) = aggregator.topics.events(names.OPS_NOTIFIED)
    assert (notice["kind"], notice["subject"]) == ("first_dead_letter", "impossible_record")
