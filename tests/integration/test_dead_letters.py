"""streamkit's worker on the real broker: what it can't do becomes a dead letter, whole."""

import threading
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest

from darkroom_cli.contracts import Subjects, Topics
from darkroom_schemas import avro, catalogue, names
from infrastructure import Infrastructure
from streamkit import (
    Codec,
    Emit,
    Job,
    Lane,
    Message,
    Publisher,
    RawRecord,
    Reject,
    SchemaIds,
    Worker,
    WorkerSettings,
    connect,
)
from streamkit.headers import readable
from topic_reader import TopicReader

Example = Callable[..., dict[str, Any]]

SUBMITTED = names.PHOTO_SUBMITTED["batch"]
LETTERS = "darkroom.intake.dlq"


@pytest.fixture
def prefix(infrastructure: Infrastructure) -> str:
    """A world of topics for one test."""
    name = f"t{uuid4().hex[:8]}."
    assert all(one.good for one in Topics(infrastructure.kafka, catalogue.load(), name).apply())
    assert all(
        one.good for one in Subjects(infrastructure.registry, catalogue.load(), name).apply()
    )
    return name


@pytest.fixture(params=["consumer", "classic"])
def settings(
    request: pytest.FixtureRequest, infrastructure: Infrastructure, prefix: str, tmp_path: Path
) -> WorkerSettings:
    return WorkerSettings(
        kafka=infrastructure.kafka,
        registry=infrastructure.registry,
        topic_prefix=prefix,
        cache=tmp_path,
        group_protocol=request.param,
        attempts=2,
    )


@pytest.fixture
def publisher(settings: WorkerSettings) -> Iterator[Publisher]:
    ids = SchemaIds(settings.registry, settings.cache)
    codec = Codec(ids, avro.schema_of, settings.topic_prefix)
    one = Publisher(settings.kafka, source="test", codec=codec, prefix=settings.topic_prefix)
    yield one
    one.close()


@pytest.fixture
def reader(settings: WorkerSettings) -> TopicReader:
    return TopicReader(
        settings.kafka, settings.registry, settings.cache, prefix=settings.topic_prefix
    )


class Seen:
    """A handler that rejects what is named `bad` and ends the worker after the last record."""

    def __init__(self, last: str) -> None:
        self.last = last
        self.stop = threading.Event()
        self.files: list[str] = []

    def __call__(self, message: Message) -> Sequence[Emit]:
        name = message.value["file_name"]
        self.files.append(name)
        if name == self.last:
            self.stop.set()
        if name == "bad":
            raise Reject("bad", "It is bad.")
        return ()

    def run(self, settings: WorkerSettings) -> None:
        job = Job("intake", "1", (Lane("batch", (SUBMITTED,)),), {SUBMITTED: self}, LETTERS)
        worker: Worker = connect(job, settings, avro.schema_of, [], self.stop)
        deadline = threading.Timer(60, self.stop.set)
        deadline.start()
        worker.run(self.stop)
        deadline.cancel()


def submit(publisher: Publisher, example: Example, *files: str) -> None:
    for name in files:
        value = example(SUBMITTED, file_name=name)
        publisher.publish([Emit(SUBMITTED, value["photo_id"], value, str(uuid4()))])


def test_good_records_go_on_past_bad_ones_which_are_kept_whole(
    settings: WorkerSettings, publisher: Publisher, reader: TopicReader, example: Example
) -> None:
    key = example(SUBMITTED)["photo_id"]
    submit(publisher, example, "good", "bad")
    publisher.publish_raw([RawRecord(SUBMITTED, key.encode(), b"junk" * 250_000, [("h", b"1")])])
    submit(publisher, example, "last")
    seen = Seen("last")
    seen.run(settings)
    assert seen.files == ["good", "bad", "last"]
    letters = {readable(r.headers)["dl_code"]: r for r in reader.records(LETTERS)}
    assert set(letters) == {"bad", "not_framed"}
    junk = letters["not_framed"]
    assert junk.value == b"junk" * 250_000
    assert (junk.key, readable(junk.headers)["h"]) == (key.encode(), "1")


def test_a_worker_goes_on_where_the_one_before_it_stopped(
    settings: WorkerSettings, publisher: Publisher, example: Example
) -> None:
    submit(publisher, example, "1", "2")
    first = Seen("2")
    first.run(settings)
    submit(publisher, example, "3")
    second = Seen("3")
    second.run(settings)
    assert (first.files, second.files) == (["1", "2"], ["3"])
