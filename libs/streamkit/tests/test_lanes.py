"""A lane's consumer, over a librdkafka that says what the test wants."""

from collections.abc import Callable
from typing import Any, ClassVar

import pytest
from confluent_kafka import KafkaError, KafkaException

from streamkit import Lane, WorkerSettings
from streamkit.lanes import LaneConsumer, consumer_config


class FakeMessage:
    def __init__(self, error: KafkaError | None = None, offset: int = 0) -> None:
        self._error, self._offset = error, offset

    def error(self) -> KafkaError | None:
        return self._error

    def topic(self) -> str:
        return "p.asked"

    def partition(self) -> int:
        return 1

    def offset(self) -> int:
        return self._offset

    def key(self) -> bytes:
        return b"k"

    def value(self) -> bytes:
        return b"v"

    def headers(self) -> None:
        return None

    def timestamp(self) -> tuple[int, int]:
        return (1, 99)


class FakeConsumer:
    """Gives what is in `script`; "lost" and "assign" call the callbacks."""

    script: ClassVar[list[Any]] = []
    opened: ClassVar[list["FakeConsumer"]] = []

    def __init__(self, _config: object) -> None:
        self.closed = False
        self.stored: list[Any] = []
        self.opened.append(self)

    def subscribe(self, topics: list[str], **callbacks: Callable[..., None]) -> None:
        self.topics, self.callbacks = topics, callbacks

    def poll(self, _timeout: float) -> FakeMessage | None:
        step = self.script.pop(0) if self.script else None
        if isinstance(step, str):
            self.callbacks[f"on_{step}"](self, [])
            return None
        return FakeMessage(step) if isinstance(step, KafkaError) else step

    def store_offsets(self, offsets: list[Any]) -> None:
        self.stored += offsets

    def close(self) -> None:
        self.closed = True


@pytest.fixture
def lane(monkeypatch: pytest.MonkeyPatch) -> LaneConsumer:
    monkeypatch.setattr("streamkit.lanes.Consumer", FakeConsumer)
    monkeypatch.setattr("streamkit.lanes.delay_s", lambda _attempt: 0.0)
    FakeConsumer.script, FakeConsumer.opened = [], []
    return LaneConsumer(WorkerSettings(topic_prefix="p."), "stage", Lane("high", ("asked",)))


def after(lane: LaneConsumer, *script: Any) -> list[FakeConsumer]:
    FakeConsumer.script = list(script)
    for _ in script:
        lane.poll(0)
    return FakeConsumer.opened


def test_topics_are_read_with_the_prefix_and_shown_without(lane: LaneConsumer) -> None:
    FakeConsumer.script = [FakeMessage(offset=7)]
    record = lane.poll(0)
    assert FakeConsumer.opened[0].topics == ["p.asked"]
    assert record is not None
    assert (record.topic, record.partition, record.offset, record.timestamp_ms) == (
        "asked",
        1,
        7,
        99,
    )


def test_the_offset_after_a_record_is_stored_when_it_is_done(lane: LaneConsumer) -> None:
    FakeConsumer.script = [FakeMessage(offset=7)]
    record = lane.poll(0)
    assert record is not None
    lane.done(record)
    (place,) = FakeConsumer.opened[0].stored
    assert (place.topic, place.partition, place.offset) == ("p.asked", 1, 8)


def test_nothing_is_acknowledged_by_being_fetched() -> None:
    assert consumer_config(WorkerSettings(), "g")["enable.auto.offset.store"] is False


@pytest.mark.parametrize("protocol", ["consumer", "classic"])
def test_timeouts_are_the_brokers_under_the_new_protocol(protocol: Any) -> None:
    config = consumer_config(WorkerSettings(group_protocol=protocol), "g")
    assert ("session.timeout.ms" in config) == (protocol == "classic")
    assert "group.instance.id" not in config


def test_after_losing_its_partitions_it_goes_on_with_a_new_consumer(lane: LaneConsumer) -> None:
    old, new = after(lane, "assign", "lost", None)
    assert (old.closed, new.closed, lane.assigned) == (True, False, False)
    after(lane, "assign")
    assert lane.assigned


def test_offsets_that_could_not_be_read_are_asked_for_by_a_new_consumer(
    lane: LaneConsumer,
) -> None:
    opened = after(lane, KafkaError(KafkaError.NOT_COORDINATOR), None)
    assert [one.closed for one in opened] == [True, False]


@pytest.mark.parametrize(
    "code", [KafkaError._TRANSPORT, KafkaError._ALL_BROKERS_DOWN, KafkaError.UNKNOWN_TOPIC_OR_PART]
)
def test_troubles_with_connections_are_left_to_librdkafka(lane: LaneConsumer, code: int) -> None:
    (only,) = after(lane, KafkaError(code), None)
    assert not only.closed


def test_missing_rights_stop_the_worker(lane: LaneConsumer) -> None:
    with pytest.raises(KafkaException):
        after(lane, KafkaError(KafkaError.GROUP_AUTHORIZATION_FAILED))
