"""The synchronous publisher takes nothing as published that is not acknowledged."""

from collections.abc import Callable, Sequence
from typing import Any

import pytest

from streamkit.codec import Codec
from streamkit.errors import Reject
from streamkit.memory.broker import MemoryBroker
from streamkit.memory.producer import MemoryProducer
from streamkit.messages import Emit
from streamkit.ports import Delivery
from streamkit.publishing import MESSAGE_TIMEOUT_S, Publisher, PublishError
from streamkit.records import RawRecord


class Now:
    def __init__(self) -> None:
        self.now = 100.0

    def monotonic(self) -> float:
        return self.now

    def time(self) -> float:
        return self.now

    def waits(self, seconds: float) -> None:
        self.now += seconds


class WordCodec:
    """Encodes {"word": …} as the word."""

    def encode(self, _topic: str, value: Any) -> bytes:
        return str(value["word"]).encode()


@pytest.fixture
def now() -> Now:
    return Now()


@pytest.fixture
def broker(now: Now) -> MemoryBroker:
    return MemoryBroker(now, idle=now.waits)


@pytest.fixture
def publisher(
    monkeypatch: pytest.MonkeyPatch, now: Now, broker: MemoryBroker
) -> Callable[[], Publisher]:
    """A publisher to memory: the real one but for its connection."""

    def made(*_where: Any, **_more: Any) -> MemoryProducer:
        return MemoryProducer(broker)

    monkeypatch.setattr("streamkit.kafka.producer.KafkaProducer", made)
    monkeypatch.setattr("streamkit.publishing.time", now)
    codec: Any = WordCodec()
    return lambda: Publisher("nowhere:1", source="test", codec=codec)


def raw(*values: bytes) -> Sequence[RawRecord]:
    return [RawRecord("t", b"k", value, []) for value in values]


def test_an_event_is_there_when_publish_returns(
    publisher: Callable[[], Publisher], broker: MemoryBroker
) -> None:
    publisher().publish([Emit("t", "key", {"word": "hello"}, "id-1")])
    (record,) = broker.records("t")
    assert (record.key, record.value) == (b"key", b"hello")
    headers = dict(record.headers)
    assert (headers["ce_id"], headers["ce_source"]) == (b"id-1", b"/darkroom/test")


def test_records_are_published_as_they_are(
    publisher: Callable[[], Publisher], broker: MemoryBroker
) -> None:
    publisher().publish_raw(raw(b"1", b"2"))
    assert [record.value for record in broker.records("t")] == [b"1", b"2"]


def test_an_acknowledgement_that_does_not_come_is_an_error(
    publisher: Callable[[], Publisher], broker: MemoryBroker, now: Now
) -> None:
    broker.down = True
    with pytest.raises(PublishError) as caught:
        publisher().publish_raw(raw(b"1"))
    assert caught.value.dependency == "kafka"
    assert now.now >= 100 + MESSAGE_TIMEOUT_S


def test_one_that_no_broker_takes_is_rejected(
    publisher: Callable[[], Publisher], broker: MemoryBroker
) -> None:
    broker.refused.add("t")
    with pytest.raises(Reject):
        publisher().publish_raw(raw(b"1"))


class SilentProducer:
    """Answers only what the test says."""

    def __init__(self, now: Now) -> None:
        self._now = now
        self.answers: list[list[Delivery]] = []
        self.trail: list[str] = []

    def send(self, _ticket: int, _records: Sequence[RawRecord], *, urgent: bool = False) -> None:
        self.trail.append("send")

    def poll(self, timeout_s: float) -> list[Delivery]:
        self._now.waits(timeout_s)
        return self.answers.pop(0) if self.answers else []

    def flush(self, _timeout_s: float) -> None:
        self.trail.append("flush")

    def close(self) -> None:
        self.trail.append("close")


@pytest.fixture
def silent(monkeypatch: pytest.MonkeyPatch, now: Now) -> SilentProducer:
    silent = SilentProducer(now)
    monkeypatch.setattr("streamkit.kafka.producer.KafkaProducer", lambda *_a, **_k: silent)
    monkeypatch.setattr("streamkit.publishing.time", now)
    return silent


def test_a_producer_that_says_nothing_is_not_waited_for_for_ever(silent: SilentProducer) -> None:
    publisher = Publisher("nowhere:1", source="test", codec=Codec(None, dict))  # type: ignore[arg-type]
    with pytest.raises(PublishError):
        publisher.publish_raw(raw(b"1"))
    silent.answers = [[Delivery(1, PublishError("late"), 0)], [Delivery(2, None, 0)]]
    publisher.publish_raw(raw(b"2"))
    publisher.close()
    assert silent.trail == ["send", "send", "flush", "close"]
