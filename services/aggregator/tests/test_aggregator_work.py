"""One record through decode, step, table and encode, with everything but Kafka."""

from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import pytest

from aggregator.handlers import Rules, folds
from aggregator_events import analysis, detected, embedded, labels, photo, read
from darkroom_schemas import avro, ids, names
from streamkit import Codec
from streamkit.faust import LARGEST_RECORD
from streamkit.faust.folding import Batch, Folding, Outgoing, Service
from streamkit.first_letters import FirstLetters
from streamkit.metrics import Meter

TRACE = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"


class FixedIds:
    """Schema ids without a registry: a schema's place among the names of all."""

    def id_of(self, _subject: str, schema: Mapping[str, Any]) -> int:
        return next(i for i, name in enumerate(avro.names()) if avro.schema(name) == schema)

    def schema(self, number: int) -> Mapping[str, Any]:
        return avro.schema(avro.names()[number])


class Table(dict[bytes, bytes]):
    """A table as a fold needs it."""

    def read(self, key: bytes) -> bytes | None:
        return self.get(key)

    def write(self, _partition: int, key: bytes, value: bytes | None) -> None:
        assert value is not None
        self[key] = value


@dataclass
class Record:
    """A consumed record as aiokafka gives it."""

    topic: str
    key: bytes | None
    value: bytes | None
    headers: list[tuple[str, bytes]] = field(default_factory=list)
    partition: int = 3
    offset: int = 17
    timestamp: int = 1000


@pytest.fixture
def codec() -> Codec:
    return Codec(FixedIds(), avro.schema_of)


@pytest.fixture
def table() -> Table:
    return Table()


class Photos:
    """The fold of photos, and what it publishes for a record: None if it is a dead letter."""

    def __init__(self, table: Table, codec: Codec, first: FirstLetters | None = None) -> None:
        meter = Meter("aggregator")
        service = Service("aggregator", "1.2.3", "darkroom.aggregator.dlq", meter, first)
        self._folding = Folding(folds(Rules())[0], service, table, codec, "test.")

    def events(self, record: Record) -> list[Outgoing]:
        batch = Batch()
        self._folding.work(deque([("place", record)]), batch)
        self._folding.finish(batch)
        return batch.events

    def code(self, record: Record) -> str:
        """Why a record is given up."""
        (letter,) = self.events(record)
        assert letter.topic == "darkroom.aggregator.dlq"
        return dict(letter.headers)["dl_code"].decode()


@pytest.fixture
def photos(table: Table, codec: Codec) -> Photos:
    return Photos(table, codec)


def record(codec: Codec, event: Any) -> Record:
    topic, key, value = event
    trace = [("traceparent", TRACE.encode())]
    return Record(f"test.{topic}", key.encode(), codec.encode(topic, value), trace)


def test_the_last_part_of_a_photo_gives_its_outcome_as_an_encoded_event(
    photos: Photos, codec: Codec
) -> None:
    for event in (detected(), read()):
        assert photos.events(record(codec, event)) == []
    (outcome,) = photos.events(record(codec, embedded()))
    assert outcome.topic == names.PHOTO_AUTO_LABELED
    assert outcome.key == photo().encode()
    value = codec.decode(names.PHOTO_AUTO_LABELED, outcome.value)
    assert value["analysis_id"] == analysis()
    headers = dict(outcome.headers)
    assert headers["ce_id"].decode() == ids.event_id(analysis(), "outcome", 1)
    assert headers["traceparent"].startswith(TRACE[:35].encode())


def test_the_same_record_again_gives_the_same_bytes(photos: Photos, codec: Codec) -> None:
    for event in (detected(), read()):
        photos.events(record(codec, event))
    last = record(codec, embedded())
    (first,), (again,) = photos.events(last), photos.events(last)
    assert (again.topic, again.key, again.value) == (first.topic, first.key, first.value)


@pytest.mark.parametrize(
    ("key", "code"),
    [(b"\xff\xfe", "bad_key"), (None, "bad_key"), (b"another key", "impossible_record")],
)
def test_a_record_with_a_bad_key_is_given_up_and_the_table_left_alone(
    photos: Photos, table: Table, codec: Codec, key: bytes | None, code: str
) -> None:
    poison = record(codec, detected())
    poison.key = key
    assert photos.code(poison) == code
    assert table == {}


@pytest.mark.parametrize("value", [None, b"", b"plain text", b"\x00\x00\x00\x00\x00rubbish"])
def test_a_record_with_a_bad_value_is_given_up(photos: Photos, codec: Codec, value: Any) -> None:
    poison = record(codec, detected())
    poison.value = value
    assert photos.code(poison) in ("not_framed", "undecodable", "wrong_schema")


def test_the_first_dead_letter_of_a_kind_is_told(table: Table, codec: Codec) -> None:
    told = Photos(table, codec, FirstLetters("aggregator"))
    poison = record(codec, detected())
    poison.key = b"another key"
    notice, letter = told.events(poison)
    assert (notice.topic, notice.key) == (names.OPS_NOTIFIED, b"impossible_record")
    value = codec.decode(names.OPS_NOTIFIED, notice.value)
    assert (value["kind"], value["service"]) == ("first_dead_letter", "aggregator")
    assert letter.topic == "darkroom.aggregator.dlq"
    (again,) = told.events(poison)
    assert again.topic == "darkroom.aggregator.dlq"


def test_a_record_whose_events_no_broker_takes_is_given_up_and_the_table_left_alone(
    photos: Photos, table: Table, codec: Codec
) -> None:
    huge = labels(("x" * LARGEST_RECORD, 0.9))
    assert photos.code(record(codec, detected(labels=huge))) == "too_large"
    assert table == {}
    for event in (detected(), read(), embedded()):
        sent = photos.events(record(codec, event))
    assert [one.topic for one in sent] == [names.PHOTO_AUTO_LABELED]


def test_a_record_whose_state_fits_and_whose_outcome_does_not_is_given_up_before_the_table(
    photos: Photos, table: Table, codec: Codec
) -> None:
    for event in (read(), embedded()):
        photos.events(record(codec, event))
    before = dict(table)
    assert photos.code(record(codec, detected(owner="x" * LARGEST_RECORD))) == "too_large"
    assert table == before
