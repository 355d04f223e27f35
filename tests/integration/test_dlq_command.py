"""`darkroom dlq` on the real broker, as its user meets it."""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest
from confluent_kafka.admin import AdminClient, NewTopic  # type: ignore[attr-defined]
from typer.testing import CliRunner, Result

from darkroom_cli import app
from darkroom_cli.contracts import Subjects
from darkroom_cli.errors import DarkroomError
from darkroom_schemas import avro, catalogue, names
from infrastructure import Infrastructure
from streamkit.codec import Codec, SchemaIds
from streamkit.deadletters import dead_letter, letter_id, without_value
from streamkit.inbox import InboxError
from streamkit.kafka.log import KafkaLog
from streamkit.kafka.producer import KafkaProducer
from streamkit.messages import Failure
from streamkit.records import RawRecord, Taken
from streamkit.retry import Due, RetryPlan

REQUESTED = names.PHOTO_ANALYSIS_REQUESTED["batch"]
LETTERS = "darkroom.ocr.dlq"
RETRY = "darkroom.ocr.retry-5s.bulk"
LANES = {"batch": (REQUESTED,)}
DEADLINE_S = 60.0
Example = Callable[..., dict[str, Any]]


class World:
    """Topics of one test's own, with dead letters of the service ocr."""

    def __init__(self, infrastructure: Infrastructure, tmp_path: Path) -> None:
        self.prefix = f"t{uuid4().hex[:8]}."
        self.environment = {
            "DARKROOM_KAFKA": infrastructure.kafka,
            "DARKROOM_REGISTRY": infrastructure.registry,
            "DARKROOM_TOPIC_PREFIX": self.prefix,
            "XDG_CACHE_HOME": str(tmp_path),
            "COLUMNS": "80",
        }
        self.log = KafkaLog(infrastructure.kafka, prefix=self.prefix)
        self._admin = AdminClient({"bootstrap.servers": infrastructure.kafka})
        self._producer = KafkaProducer(infrastructure.kafka, "test", prefix=self.prefix)

    def make(self, *topics: str) -> None:
        """Create topics as they are declared."""
        declared = [catalogue.load()[name] for name in topics]
        new = [
            NewTopic(self.prefix + one.name, one.partitions, 1, config=one.config())
            for one in declared
        ]
        for future in self._admin.create_topics(new).values():
            future.result(20)

    def publish(self, records: Sequence[RawRecord]) -> None:
        """Publish, and wait until all is there."""
        self._producer.send(1, records)
        decided = self._producer.poll(30)
        assert [one.error for one in decided] == [None]

    def bury(
        self, count: int = 1, code: str = "engine_failed", first: int = 0, **changes: Any
    ) -> list[str]:
        """Have records die, from offset `first` on; gives their letters' ids."""
        dead = [a_record(offset, **changes) for offset in range(first, first + count)]
        self.publish([a_letter(record, code) for record in dead])
        return [letter_id("ocr", one.topic, one.partition, one.offset) for one in dead]

    def waiting(self) -> list[Due]:
        """What waits for its retry."""
        plan = RetryPlan("ocr")
        read = [plan.read(record, LANES) for record in self.log.records(RETRY)]
        return [one for one in read if isinstance(one, Due)]

    def run(self, *words: str, answer: str = "") -> Result:
        """`darkroom dlq WORDS`; what the user is told in full."""
        runner = CliRunner(env=self.environment)
        return runner.invoke(app.build(), ["dlq", *words], input=answer)

    def json(self, *words: str, code: int = 0) -> Any:
        """What it tells a program."""
        result = self.run(*words, "--json")
        assert result.exit_code == code, result.output
        return json.loads(result.stdout)


def a_record(offset: int, **changes: Any) -> Taken:
    key = f"photo-{offset}".encode()
    record = Taken(
        REQUESTED, 2, offset, key, b"value-%d" % offset, [("h", b"1")], 1_795_521_600_000
    )
    return record._replace(**changes)


def a_letter(record: Taken, code: str, message: str = "The engine failed.") -> RawRecord:
    failure = Failure(code, message, 4)
    return dead_letter(LETTERS, record, failure, service="ocr", version="1", lane="batch")


@pytest.fixture
def world(infrastructure: Infrastructure, tmp_path: Path) -> World:
    world = World(infrastructure, tmp_path)
    world.make(LETTERS, RETRY, "darkroom.ocr.retry-5s.high")
    return world


def test_an_empty_box_says_so(world: World) -> None:
    result = world.run("list", "ocr")
    assert (result.exit_code, result.stdout.strip()) == (0, "No letter of ocr is waiting.")


def test_a_list_counts_by_reason_and_shows_the_last_in_80_columns(world: World) -> None:
    world.bury(30)
    world.bury(3, "bad_key", first=99)
    result = world.run("list", "ocr", "--limit", "5")
    assert result.exit_code == 0
    lines = result.stdout.splitlines()
    assert max(map(len, lines)) <= 80
    assert lines[0] == "33 of ocr waiting"
    assert any("engine_failed" in line and "30" in line for line in lines)
    assert any(line.startswith("The last 5") for line in lines)
    assert "darkroom dlq show ocr" in result.stdout


def test_a_list_for_programs_has_all_that_fits(world: World) -> None:
    ids = world.bury(30)
    world.bury(1, "bad_key", topic=names.PHOTO_ANALYSIS_REQUESTED["high"])
    found = world.json("list", "ocr", "--code", "engine_failed")
    assert (found["count"], found["by_code"]) == (30, {"engine_failed": 30})
    assert {letter["id"] for letter in found["letters"]} == set(ids)
    first = next(letter for letter in found["letters"] if letter["id"] == ids[0])
    assert (first["key"], first["topic"], first["offset"]) == ("photo-0", REQUESTED, 0)
    assert first["state"] == "waiting"
    assert first["died_at"].startswith("20")


def test_without_a_service_there_is_an_overview(world: World) -> None:
    letters = [topic.name for topic in catalogue.load() if topic.name.endswith(".dlq")]
    world.make(*(name for name in letters if name != LETTERS))
    world.bury(1200)
    result = world.run("list")
    assert result.exit_code == 0
    assert any(
        "ocr" in line and "1,200" in line and "engine_failed" in line
        for line in result.stdout.splitlines()
    )
    assert world.json("list")["intake"] == {"waiting": 0, "by_code": {}}


def test_a_letter_is_shown_with_its_value_decoded(
    world: World, infrastructure: Infrastructure, tmp_path: Path, example: Example
) -> None:
    subjects = Subjects(infrastructure.registry, catalogue.load(), world.prefix)
    assert all(one.good for one in subjects.apply())
    codec = Codec(SchemaIds(infrastructure.registry, tmp_path), avro.schema_of, world.prefix)
    value = example(REQUESTED)
    (name,) = world.bury(1, value=codec.encode(REQUESTED, value))
    result = world.run("show", "ocr", name[:8])
    assert result.exit_code == 0
    assert value["photo_id"] in result.stdout
    assert "The engine failed." in result.stdout
    shown = world.json("show", "ocr", name)
    assert shown["value"]["photo_id"] == value["photo_id"]
    assert shown["headers"] == [["h", "1"]]


def test_a_letter_that_is_no_event_is_shown_byte_for_byte(world: World) -> None:
    (name,) = world.bury(1, value=b"\x1b[31mjunk")
    result = world.run("show", "ocr", name)
    assert "not decoded" in result.stdout
    assert b"\x1b[31mjunk".hex(" ") in result.stdout
    assert "\x1b" not in result.stdout


def test_a_letter_that_does_not_exist_is_said_to_be_none(world: World) -> None:
    result = world.run("show", "ocr", "nosuchid")
    assert isinstance(result.exception, DarkroomError)
    assert "no letters of ocr have an id that begins with 'nosuchid'" in str(result.exception)


def test_a_dry_run_says_what_would_be_done_and_does_nothing(world: World) -> None:
    world.bury(30)
    world.bury(1, "bad_key", first=77)
    result = world.run("replay", "ocr", "--all", "--dry-run")
    assert result.exit_code == 0
    assert "31 to try again in ocr: 30 of engine_failed, 1 of bad_key." in result.stdout
    assert world.waiting() == []
    assert world.json("list", "ocr")["count"] == 31


def test_a_filter_that_nothing_fits_says_so(world: World) -> None:
    world.bury(1)
    result = world.run("replay", "ocr", "--code", "other", "--yes")
    assert result.exit_code == 0
    assert result.stdout.startswith("No letter of ocr fits.")
    assert (
        "No letter of ocr that fits is waiting."
        in world.run("list", "ocr", "--code", "other").stdout
    )


def test_a_record_that_is_not_there_is_not_found(world: World) -> None:
    world.bury(1)
    assert world.log.record(LETTERS, 0, 1) is None
    assert world.log.record(LETTERS, 7, 0) is None
    assert world.log.record("nowhere", 0, 0) is None
    found = world.log.record(LETTERS, 0, 0)
    assert found is not None
    assert found.value == b"value-0"


def test_a_replay_asks_before_it_does_anything(world: World) -> None:
    world.bury(3)
    result = world.run("replay", "ocr", "--all", answer="n\n")
    assert result.exit_code == 1
    assert world.waiting() == []


def test_a_replay_gives_the_records_to_the_service_alone(world: World) -> None:
    ids = world.bury(30)
    other = world.bury(1, "bad_key", first=77)
    result = world.run("replay", "ocr", "--code", "engine_failed", answer="y\n")
    assert result.exit_code == 0, result.output
    assert "30 replayed." in result.stdout
    due = world.waiting()
    assert {one.replay for one in due} == set(ids)
    assert {one.record.value for one in due} == {b"value-%d" % n for n in range(30)}
    assert all(one.record.headers == [("h", b"1")] for one in due)
    assert [letter["id"] for letter in world.json("list", "ocr")["letters"]] == other
    replayed = world.json("list", "ocr", "--state", "replayed")
    assert replayed["count"] == 30
    assert {mark["action"] for mark in replayed["letters"][0]["marks"]} == {"replayed"}


def test_one_letter_can_be_replayed(world: World) -> None:
    ids = world.bury(3)
    report = world.json("replay", "ocr", "--id", ids[1][:10], "--yes")
    assert (report["meant"], report["done"], report["failed"]) == (1, 1, [])
    assert [one.replay for one in world.waiting()] == [ids[1]]


def test_a_few_can_be_replayed_first_to_see_how_it_goes(world: World) -> None:
    ids = world.bury(5)
    assert world.json("replay", "ocr", "--all", "--limit", "2", "--yes")["done"] == 2
    assert {one.replay for one in world.waiting()} == set(ids[:2])


def test_what_can_not_be_replayed_is_named_with_its_reason(world: World) -> None:
    world.bury(2)
    gone = a_record(7, value=None)
    world.publish([without_value(a_letter(gone, "too_large"))])
    world.make(REQUESTED)
    result = world.run("replay", "ocr", "--all", "--yes")
    assert result.exit_code == 1
    assert "2 replayed." in result.stdout
    assert "1 could not be:" in result.stdout
    assert "no longer lies" in result.stdout
    assert world.json("list", "ocr")["count"] == 1


def test_a_value_left_where_it_came_from_is_fetched_there(world: World) -> None:
    world.make(REQUESTED)
    world.publish([RawRecord(REQUESTED, b"k", b"large", [])])
    (origin,) = world.log.records(REQUESTED)
    world.publish([without_value(a_letter(origin, "too_large"))])
    assert world.json("replay", "ocr", "--all", "--yes")["done"] == 1
    assert [one.record.value for one in world.waiting()] == [b"large"]


def test_what_is_put_away_no_longer_waits_and_can_be_tried_all_the_same(world: World) -> None:
    world.bury(3)
    result = world.run("discard", "ocr", "--all", "--reason", "a test's leavings", "--yes")
    assert (result.exit_code, "3 put away." in result.stdout) == (0, True)
    assert world.json("list", "ocr")["count"] == 0
    (letter, *_) = world.json("list", "ocr", "--state", "discarded")["letters"]
    assert letter["marks"][0]["why"] == "a test's leavings"
    replay = ("replay", "ocr", "--state", "discarded", "--all", "--yes")
    assert world.json(*replay)["done"] == 3


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (("replay", "ocr"), "say which letters"),
        (("replay", "ocr", "--all", "--code", "x"), "say which letters"),
        (("replay", "ocr", "--all", "--rate", "fast"), "is no rate"),
        (("replay", "ocr", "--all", "--json"), "--yes or --dry-run"),
        (("replay", "ocr", "--id", "abc"), "at least 4"),
        (("list", "ocr", "--since", "soon"), "write 30m"),
        (("list", "ocr", "--state", "lost"), "choose waiting"),
        (("list", "typo"), "choose intake"),
        (("discard", "ocr", "--all"), "--reason"),
    ],
)
def test_a_slip_is_explained(world: World, words: tuple[str, ...], told: str) -> None:
    result = world.run(*words)
    assert result.exit_code == 2
    assert told in " ".join(result.output.replace("│", " ").split())


def test_a_service_without_retry_topics_says_so(world: World) -> None:
    world.make("darkroom.aggregator.dlq")
    letter = a_letter(a_record(1), "bad")._replace(topic="darkroom.aggregator.dlq")
    world.publish([letter])
    result = world.run("replay", "aggregator", "--all", "--yes")
    assert isinstance(result.exception, DarkroomError)
    assert "aggregator has no retry topics" in str(result.exception)


def test_a_topic_that_is_missing_says_what_helps(world: World) -> None:
    result = world.run("list", "intake")
    assert "darkroom topics apply" in str(result.exception)


def test_a_broker_that_is_away_is_said_to_be(world: World) -> None:
    with pytest.raises(InboxError, match=r"no answer from Kafka at 127\.0\.0\.1:1"):
        KafkaLog("127.0.0.1:1", timeout_s=0.5).has("x")


def test_ctrl_c_stops_a_replay_with_all_marked_that_was_done(world: World) -> None:
    count = 400
    ids = world.bury(count)
    command = [sys.executable, "-m", "darkroom_cli", "dlq"]
    command += ["replay", "ocr", "--all", "--yes", "--rate", "50/s"]
    program = subprocess.Popen(
        command, env={**os.environ, **world.environment}, stdout=subprocess.PIPE, text=True
    )
    deadline = time.monotonic() + DEADLINE_S
    while not world.waiting():
        assert time.monotonic() < deadline
        assert program.poll() is None
    program.send_signal(signal.SIGINT)
    told, _ = program.communicate(timeout=DEADLINE_S)
    assert program.returncode == 1
    assert "Ended early: asked to stop" in " ".join(told.split())
    done = [one.replay for one in world.waiting()]
    left = [letter["id"] for letter in world.json("list", "ocr")["letters"]]
    assert 0 < len(done) < count
    assert sorted([*done, *left]) == sorted(ids)


def test_ten_thousand_letters_are_no_burden(world: World) -> None:
    world.bury(10_000)
    began = time.monotonic()
    assert world.json("list", "ocr", "--limit", "1")["count"] == 10_000
    listed = time.monotonic()
    assert world.json("replay", "ocr", "--all", "--yes")["done"] == 10_000
    assert listed - began < 10
    assert time.monotonic() - listed < 60
    assert world.json("list", "ocr")["count"] == 0
