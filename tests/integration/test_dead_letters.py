"""streamkit's worker on the declared topics: what it can't do becomes a dead letter, whole."""

import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
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
    Handlers,
    Job,
    Lane,
    Message,
    Publisher,
    RawRecord,
    Reject,
    SchemaIds,
    WorkerSettings,
    connect,
)
from streamkit.headers import readable
from topic_reader import TopicReader
from worker_process import until

pytestmark = pytest.mark.long

Example = Callable[..., dict[str, Any]]

SUBMITTED = names.PHOTO_SUBMITTED["batch"]
LETTERS = "darkroom.intake.dlq"
TIERS = ("1s", "2s")


@pytest.fixture
def prefix(infrastructure: Infrastructure) -> str:
    """A world of topics for one test."""
    name = f"t{uuid4().hex[:8]}."
    declared = catalogue.load(TIERS)
    assert all(one.good for one in Topics(infrastructure.kafka, declared, name).apply())
    assert all(one.good for one in Subjects(infrastructure.registry, declared, name).apply())
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
        retry_tiers=",".join(TIERS),
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
    """A handler that rejects what is named `bad`."""

    def __init__(self) -> None:
        self.files: list[str] = []

    def __call__(self, message: Message) -> Sequence[Emit]:
        self.files.append(message.value["file_name"])
        if self.files[-1] == "bad":
            raise Reject("bad", "It is bad.")
        return ()

    @contextmanager
    def at_work(self, settings: WorkerSettings) -> Iterator[None]:
        """A worker with this handler, which drains in the end."""
        lane = Lane("batch", (SUBMITTED,))
        # In a thread, so that the test sees what the handler saw.
        job = Job("intake", "1", (lane,), self._handlers, LETTERS, isolation="thread")
        stop = threading.Event()
        worker = connect(job, settings, avro.schema_of, [], stop)
        with ThreadPoolExecutor(1) as pool:
            running = pool.submit(worker.run, stop)
            try:
                yield
            finally:
                stop.set()
            running.result()

    def _handlers(self) -> Handlers:
        return Handlers({SUBMITTED: self})


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
    seen = Seen()
    with seen.at_work(settings):
        until(lambda: len(list(reader.records(LETTERS))) == 2, "the bad ones are put aside")
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
    first, second = Seen(), Seen()
    with first.at_work(settings):
        until(lambda: len(first.files) == 2, "all is seen")
    submit(publisher, example, "3")
    with second.at_work(settings):
        until(lambda: second.files, "the rest is seen")
    assert (first.files, second.files) == (["1", "2"], ["3"])
