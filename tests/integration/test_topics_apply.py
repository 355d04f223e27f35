"""Topics and schemas on a real broker and registry: what is applied, grown and refused."""

import copy
import json
import time
from collections.abc import Callable
from dataclasses import replace
from typing import Any
from uuid import uuid4

import httpx
import pytest
from confluent_kafka import Consumer, Producer, TopicPartition
from confluent_kafka.admin import AdminClient, NewTopic  # type: ignore[attr-defined]

from darkroom_cli.commands.contracts import topics_grow
from darkroom_cli.contracts import Subjects, Topics
from darkroom_cli.errors import DarkroomError
from darkroom_schemas import avro, catalogue, names
from darkroom_schemas.catalogue import Catalogue
from infrastructure import Infrastructure

PHOTO_TOPICS = (names.PHOTO_REJECTED, names.PHOTO_TEXT_READ)
CHANGELOG = "darkroom-aggregator-analyses-changelog"


@pytest.fixture
def prefix() -> str:
    return f"apply{uuid4().hex}."


@pytest.fixture
def few() -> Catalogue:
    """Some topics of a group, one of them a changelog."""
    declared = catalogue.load(())
    return Catalogue((), {name: declared[name] for name in (*PHOTO_TOPICS, CHANGELOG)})


def partitions(infrastructure: Infrastructure, prefix: str) -> dict[str, int]:
    listed = AdminClient({"bootstrap.servers": infrastructure.kafka}).list_topics(timeout=20).topics
    return {
        name.removeprefix(prefix): len(topic.partitions)
        for name, topic in listed.items()
        if name.startswith(prefix)
    }


def make(infrastructure: Infrastructure, name: str, count: int) -> None:
    admin = AdminClient({"bootstrap.servers": infrastructure.kafka})
    admin.create_topics([NewTopic(name, count)])[name].result(20)
    deadline = time.monotonic() + 20
    while name not in admin.list_topics(timeout=20).topics:  # made, and not yet told of
        assert time.monotonic() < deadline
        time.sleep(0.05)


def test_a_missing_topic_is_not_made_unlike_its_group(
    infrastructure: Infrastructure, prefix: str, few: Catalogue
) -> None:
    make(infrastructure, prefix + names.PHOTO_REJECTED, 8)
    found = Topics(infrastructure.kafka, few, prefix).apply()
    assert [one.state for one in found] == ["refused"] * 3
    assert "DARKROOM_TOPIC_PARTITIONS=photo=8" in found[1].detail
    assert partitions(infrastructure, prefix) == {names.PHOTO_REJECTED: 8}


def test_a_group_that_was_grown_is_applied_as_the_setting_says(
    infrastructure: Infrastructure, prefix: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    make(infrastructure, prefix + names.PHOTO_REJECTED, 8)
    monkeypatch.setenv(catalogue.PARTITIONS_VARIABLE, "photo=8")
    only = Catalogue((), {name: catalogue.load()[name] for name in PHOTO_TOPICS})
    assert all(one.good for one in Topics(infrastructure.kafka, only, prefix).apply())
    assert partitions(infrastructure, prefix) == dict.fromkeys(PHOTO_TOPICS, 8)


def test_a_retention_that_a_deployment_sets_is_applied(
    infrastructure: Infrastructure, prefix: str, few: Catalogue
) -> None:
    topics = Topics(infrastructure.kafka, few, prefix)
    assert all(one.good for one in topics.apply())
    longer = {**few.topics, PHOTO_TOPICS[0]: replace(few[PHOTO_TOPICS[0]], retention_ms=86_400_000)}
    changed = Topics(infrastructure.kafka, replace(few, topics=longer), prefix).apply()
    assert [one.state for one in changed] == ["changed", "present", "present"]


# -- growing -------------------------------------------------------------------------------------


@pytest.fixture
def grow(
    infrastructure: Infrastructure, prefix: str, few: Catalogue, monkeypatch: pytest.MonkeyPatch
) -> Callable[..., None]:
    """`darkroom topics grow photo`, where there are only these topics."""
    assert all(one.good for one in Topics(infrastructure.kafka, few, prefix).apply())
    monkeypatch.setattr(catalogue, "load", lambda: few)

    def run(count: int, *, yes: bool = True) -> None:
        topics_grow("photo", count, yes=yes, kafka=infrastructure.kafka, prefix=prefix)

    return run


def test_a_group_grows_together_and_its_tables_begin_anew(
    infrastructure: Infrastructure,
    prefix: str,
    grow: Callable[..., None],
    capsys: pytest.CaptureFixture[str],
) -> None:
    producer = Producer({"bootstrap.servers": infrastructure.kafka})
    producer.produce(prefix + CHANGELOG, b"state", "photo")
    assert producer.flush(20) == 0
    grow(6, yes=False)
    assert "--yes" in capsys.readouterr().out
    assert set(partitions(infrastructure, prefix).values()) == {4}
    grow(6)
    assert "DARKROOM_TOPIC_PARTITIONS=photo=6" in capsys.readouterr().out
    assert partitions(infrastructure, prefix) == dict.fromkeys((*PHOTO_TOPICS, CHANGELOG), 6)
    assert records(infrastructure, prefix + CHANGELOG) == 0
    grow(6)
    assert "all topics of photo have 6" in capsys.readouterr().out
    with pytest.raises(DarkroomError, match="More than 4"):
        grow(4)


def records(infrastructure: Infrastructure, topic: str) -> int:
    consumer = Consumer({"bootstrap.servers": infrastructure.kafka, "group.id": "count"})
    try:
        places = consumer.list_topics(topic, timeout=20).topics[topic].partitions
        ends = [
            consumer.get_watermark_offsets(TopicPartition(topic, number), timeout=20)
            for number in places
        ]
        return sum(high - low for low, high in ends)
    finally:
        consumer.close()


def test_nothing_grows_before_the_aggregator_has_worked_on_all(
    infrastructure: Infrastructure, prefix: str, grow: Callable[..., None]
) -> None:
    producer = Producer({"bootstrap.servers": infrastructure.kafka})
    producer.produce(prefix + names.PHOTO_TEXT_READ, b"part", "photo")
    assert producer.flush(20) == 0
    with pytest.raises(DarkroomError, match=r"not worked on all of .*text-read"):
        grow(6)
    consumer = Consumer(
        {
            "bootstrap.servers": infrastructure.kafka,
            "group.id": f"{prefix}darkroom-aggregator",
            "auto.offset.reset": "earliest",
            "enable.auto.commit": False,
        }
    )
    consumer.subscribe([prefix + names.PHOTO_TEXT_READ])
    record = consumer.poll(30)
    assert record is not None
    consumer.commit(message=record, asynchronous=False)
    with pytest.raises(DarkroomError, match="Somebody works"):
        grow(6)
    consumer.close()
    grow(6)
    assert set(partitions(infrastructure, prefix).values()) == {6}


# -- the registry's rule -------------------------------------------------------------------------


def field(name: str, kind: str, **more: Any) -> dict[str, Any]:
    return {"name": name, "type": kind, "doc": "x", **more}


def test_the_registry_takes_what_all_versions_can_read_and_nothing_else(
    infrastructure: Infrastructure, prefix: str, few: Catalogue, monkeypatch: pytest.MonkeyPatch
) -> None:
    only = replace(few, topics={names.PHOTO_REJECTED: few[names.PHOTO_REJECTED]})
    first = avro.schema_of(names.PHOTO_REJECTED)

    def apply(*added: dict[str, Any]) -> tuple[str, int]:
        """What our command says, and what the registry answers to whoever asks it himself."""
        schema = copy.deepcopy(first)
        schema["fields"].extend(added)
        monkeypatch.setattr(avro, "schema_of", lambda _topic: schema)
        (found,) = Subjects(infrastructure.registry, only, prefix).apply()
        url = f"{infrastructure.registry}/subjects/{prefix}{names.PHOTO_REJECTED}-value/versions"
        answer = httpx.post(url, json={"schema": json.dumps(schema)}, timeout=20)
        return found.state, answer.status_code

    assert apply() == ("created", 200)
    assert apply(field("mood", "string", default="")) == ("changed", 200)
    assert apply(field("needed", "string")) == ("refused", 409)
    assert apply() == ("present", 200)
    # The version before could read it, one before that could not.
    assert apply(field("mood", "int", default=0)) == ("refused", 409)
