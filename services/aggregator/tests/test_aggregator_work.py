"""One record through decode, step, table and encode, with everything but Kafka."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import pytest

from aggregator.agents import LARGEST_RECORD, Work
from aggregator.delivery import Outgoing
from aggregator.handlers import routes
from aggregator.routing import Policy
from aggregator_events import analysis, detected, embedded, labels, photo, read
from darkroom_schemas import avro, ids, names
from streamkit import Codec, Reject

TRACE = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"


class FixedIds:
    """Schema ids without a registry: a schema's place among the names of all."""

    def id_of(self, _subject: str, schema: Mapping[str, Any]) -> int:
        return next(i for i, name in enumerate(avro.names()) if avro.schema(name) == schema)

    def schema(self, number: int) -> Mapping[str, Any]:
        return avro.schema(avro.names()[number])


class Table(dict[bytes, bytes]):
    """A table as Work needs it."""

    def collect(self) -> list[Outgoing]:
        return [Outgoing("changelog", b"", b"")]


@dataclass
class Record:
    """A consumed record as Faust gives it."""

    topic: str
    key: bytes | None
    value: bytes | None
    headers: list[tuple[str, bytes]] = field(default_factory=list)
    partition: int = 3
    offset: int = 17
    timestamp: float = 1.0


@pytest.fixture
def codec() -> Codec:
    return Codec(FixedIds(), avro.schema_of)  # type: ignore[arg-type]


@pytest.fixture
def work(codec: Codec) -> Work:
    return Work("photos", routes(Policy()), Table(), codec, "test.", "1.2.3")  # type: ignore[arg-type]


def record(codec: Codec, event: Any) -> Record:
    topic, key, value = event
    trace = [("traceparent", TRACE.encode())]
    return Record(f"test.{topic}", key.encode(), codec.encode(topic, value), trace)


def test_the_last_part_of_a_photo_gives_its_outcome_as_an_encoded_event(
    work: Work, codec: Codec
) -> None:
    for event in (detected(), read()):
        assert [one.topic for one in work.records_of(record(codec, event))] == ["changelog"]
    changelog, outcome = work.records_of(record(codec, embedded()))
    assert changelog.topic == "changelog"
    assert outcome.topic == f"test.{names.PHOTO_AUTO_LABELED}"
    assert outcome.key == photo().encode()
    value = codec.decode(names.PHOTO_AUTO_LABELED, outcome.value)
    assert value["analysis_id"] == analysis()
    headers = dict(outcome.headers)
    assert headers["ce_id"].decode() == ids.event_id(analysis(), "outcome", 1)
    assert headers["traceparent"].startswith(TRACE[:35].encode())


def test_the_same_record_again_gives_the_same_bytes(work: Work, codec: Codec) -> None:
    for event in (detected(), read()):
        work.records_of(record(codec, event))
    last = record(codec, embedded())
    first, again = work.records_of(last)[1], work.records_of(last)[1]
    assert (again.topic, again.key, again.value) == (first.topic, first.key, first.value)


@pytest.mark.parametrize("key", [b"\xff\xfe", None, b"another key"])
def test_a_record_with_a_bad_key_is_rejected_and_the_table_left_alone(
    work: Work, codec: Codec, key: bytes | None
) -> None:
    poison = record(codec, detected())
    poison.key = key
    with pytest.raises(Reject):
        work.records_of(poison)
    assert dict(work.table) == {}


@pytest.mark.parametrize("value", [None, b"", b"plain text", b"\x00\x00\x00\x00\x00rubbish"])
def test_a_record_with_a_bad_value_is_rejected(work: Work, codec: Codec, value: Any) -> None:
    poison = record(codec, detected())
    poison.value = value
    with pytest.raises(Reject):
        work.records_of(poison)


def test_a_record_whose_events_no_broker_takes_is_rejected_and_the_table_left_alone(
    work: Work, codec: Codec
) -> None:
    huge = labels(("x" * LARGEST_RECORD, 0.9))
    with pytest.raises(Reject) as caught:
        work.records_of(record(codec, detected(labels=huge)))
    assert caught.value.code == "too_large"
    assert dict(work.table) == {}
    for event in (detected(), read(), embedded()):
        sent = work.records_of(record(codec, event))
    assert sent[1].topic == f"test.{names.PHOTO_AUTO_LABELED}"


def test_a_record_whose_state_fits_and_whose_outcome_does_not_is_rejected_before_the_table(
    work: Work, codec: Codec
) -> None:
    for event in (read(), embedded()):
        work.records_of(record(codec, event))
    before = dict(work.table)
    with pytest.raises(Reject) as caught:
        work.records_of(record(codec, detected(owner="x" * LARGEST_RECORD)))
    assert caught.value.code == "too_large"
    assert dict(work.table) == before


def test_a_dead_letter_is_the_original_with_where_from_and_why(work: Work) -> None:
    poison = Record("test.photo.embedded.v1", b"key", b"bytes", [("theirs", b"1")])
    letter = work.dead_letter_of(poison, Reject("not_framed", "It is no Avro."))
    assert letter.topic == "test.darkroom.aggregator.dlq"
    assert (letter.key, letter.value) == (b"key", b"bytes")
    headers = dict(letter.headers)
    assert headers["theirs"] == b"1"
    assert headers["dl_topic"] == b"photo.embedded.v1"
    assert (headers["dl_partition"], headers["dl_offset"]) == (b"3", b"17")
    assert headers["dl_message"] == b"It is no Avro."
    assert headers["dl_version"] == b"1.2.3"
