"""What is not acknowledged is never taken as published."""

from collections.abc import Callable
from typing import Any, ClassVar

import pytest
from confluent_kafka import (
    TIMESTAMP_CREATE_TIME,
    TIMESTAMP_LOG_APPEND_TIME,
    KafkaError,
    KafkaException,
)

from streamkit.errors import Reject
from streamkit.kafka.backend import KafkaBackend
from streamkit.kafka.producer import FEW, KafkaProducer, producer_config, refused
from streamkit.ports import Delivery
from streamkit.publishing import ProducerLostError, PublishError
from streamkit.records import RawRecord

Report = Callable[[KafkaError | None, object], None]

TOO_LARGE = KafkaError(KafkaError.MSG_SIZE_TOO_LARGE)
TIMED_OUT = KafkaError(KafkaError._MSG_TIMED_OUT)
FATAL = KafkaError(KafkaError._FATAL, "gone", True)


class Reported:
    """A record that was appended."""

    def __init__(self, kind: int = TIMESTAMP_CREATE_TIME) -> None:
        self._kind = kind

    def timestamp(self) -> tuple[int, int]:
        return self._kind, 1234


class FakeProducer:
    """Takes records and reports what `answers` says of each, in turn, one at each poll."""

    answers: ClassVar[list[Any]] = []
    made: ClassVar[list["FakeProducer"]] = []

    def __init__(self, config: dict[str, Any]) -> None:
        self.config = config
        self.sent: list[tuple[Any, ...]] = []
        self.silent = 0
        self._reports: list[tuple[Report, Any]] = []
        self.made.append(self)

    def produce(self, *record: Any) -> None:
        topic, value, key, _partition, report, _none, _time, headers = record
        answer = self.answers.pop(0) if self.answers else None
        if isinstance(answer, Exception):
            raise answer
        self.sent.append((topic, key, value, headers))
        self._reports.append((report, answer))

    def __len__(self) -> int:
        return len(self._reports)

    def poll(self, _timeout: float) -> None:
        if self.silent:
            self.silent -= 1
        elif self._reports:
            report, answer = self._reports.pop(0)
            report(answer if isinstance(answer, KafkaError) else None, answer or Reported())

    def flush(self, _timeout: float) -> None:
        while self._reports:
            self.poll(0)

    def purge(self) -> None:
        self._reports = [(report, TIMED_OUT) for report, _ in self._reports]


@pytest.fixture
def producer(monkeypatch: pytest.MonkeyPatch) -> KafkaProducer:
    monkeypatch.setattr("streamkit.kafka.producer.Producer", FakeProducer)
    monkeypatch.setattr(FakeProducer, "answers", [])
    monkeypatch.setattr(FakeProducer, "made", [])
    return KafkaProducer("nowhere:1", "test", prefix="p.")


def records(count: int) -> list[RawRecord]:
    return [RawRecord("t", b"k", str(n).encode(), [("h", b"1")]) for n in range(count)]


def sent(producer: KafkaProducer, count: int, *answers: Any) -> Delivery:
    FakeProducer.answers = list(answers)
    producer.send(7, records(count))
    (delivery,) = producer.poll(5)
    assert producer.poll(0) == []
    return delivery


def test_records_are_sent_to_the_topic_with_the_prefix(producer: KafkaProducer) -> None:
    producer.send(1, records(2))
    fake = FakeProducer.made[0]
    assert fake.sent == [("p.t", b"k", b"0", [("h", b"1")]), ("p.t", b"k", b"1", [("h", b"1")])]


def test_a_record_waits_for_others_only_while_some_are_under_way(producer: KafkaProducer) -> None:
    prompt, thrifty = FakeProducer.made
    assert (prompt.config["linger.ms"], thrifty.config["linger.ms"]) == (1, 20)
    for ticket in range(FEW + 3):
        producer.send(ticket, records(1))
    assert (len(prompt.sent), len(thrifty.sent)) == (FEW, 3)
    producer.flush(1)
    producer.send(9, records(FEW + 3))
    assert (len(prompt.sent), len(thrifty.sent)) == (2 * FEW + 3, 3)
    producer.flush(1)
    assert [one.ticket for one in producer.poll(0)] == [*range(FEW + 3), 9]


def test_waiting_sees_to_both(producer: KafkaProducer, monkeypatch: pytest.MonkeyPatch) -> None:
    prompt, thrifty = FakeProducer.made
    for ticket in range(FEW + 1):
        producer.send(ticket, records(1))
    thrifty.silent = 3
    prompt.flush(0)
    assert len(producer.poll(0)) == FEW
    assert [one.ticket for one in producer.poll(60)] == [FEW]


def test_equal_keys_go_where_other_clients_put_them() -> None:
    config = producer_config("b", "c", {"linger.ms": 0})
    assert config["partitioner"] == "murmur2_random"
    assert (config["enable.idempotence"], config["acks"], config["linger.ms"]) == (True, "all", 0)


@pytest.mark.parametrize("count", [0, 1, 2, 5])
def test_a_ticket_comes_back_when_all_of_it_is_there(producer: KafkaProducer, count: int) -> None:
    assert sent(producer, count) == Delivery(7, None, 0)


def test_a_ticket_of_which_a_record_is_missing_is_not_there(producer: KafkaProducer) -> None:
    producer.send(7, records(3))
    assert producer.poll(0) == []
    assert producer.poll(0) == []
    assert producer.poll(0) == [Delivery(7, None, 0)]


def test_tickets_come_back_together(producer: KafkaProducer) -> None:
    producer.send(1, records(1))
    producer.send(2, records(2))
    producer.flush(1)
    assert [one.ticket for one in producer.poll(0)] == [1, 2]


def test_waiting_ends_with_the_timeout(producer: KafkaProducer) -> None:
    assert producer.poll(0.001) == []


@pytest.mark.parametrize("count", [1, 3])
@pytest.mark.parametrize(
    "answer",
    [
        TIMED_OUT,
        BufferError("full"),
        KafkaException(KafkaError(KafkaError._QUEUE_FULL)),
    ],
)
def test_one_that_is_not_acknowledged_is_none(
    producer: KafkaProducer, count: int, answer: Any
) -> None:
    delivery = sent(producer, count, *[None] * (count - 1), answer)
    assert isinstance(delivery.error, PublishError)


def test_after_a_refusal_at_once_the_rest_is_not_sent(producer: KafkaProducer) -> None:
    delivery = sent(producer, 4, None, BufferError("full"))
    assert isinstance(delivery.error, PublishError)
    assert len(FakeProducer.made[0].sent) == 1


@pytest.mark.parametrize("answer", [TOO_LARGE, KafkaException(TOO_LARGE)])
@pytest.mark.parametrize("before", [[], [None], [TIMED_OUT]])
def test_a_record_that_no_broker_takes_is_rejected(
    producer: KafkaProducer, before: list[Any], answer: Any
) -> None:
    delivery = sent(producer, len(before) + 1, *before, answer)
    assert isinstance(delivery.error, Reject)
    assert delivery.error.code == "too_large"


@pytest.mark.parametrize("error", [FATAL, KafkaError(KafkaError._FATAL)])
def test_a_producer_that_is_lost_stops_the_process(
    producer: KafkaProducer, error: KafkaError
) -> None:
    assert isinstance(sent(producer, 1, error).error, ProducerLostError)
    assert isinstance(refused(error), ProducerLostError)


@pytest.mark.parametrize("count", [1, 3])
def test_the_time_of_appending_is_that_of_the_last_record(
    producer: KafkaProducer, count: int
) -> None:
    appended = [Reported(TIMESTAMP_LOG_APPEND_TIME) for _ in range(count)]
    assert sent(producer, count, *appended) == Delivery(7, None, 1234)


def test_closing_gives_up_what_is_not_acknowledged(producer: KafkaProducer) -> None:
    producer.send(1, records(1))
    producer.close()
    (delivery,) = producer.poll(0)
    assert isinstance(delivery.error, PublishError)


def test_a_backend_gives_its_options_to_all(
    producer: KafkaProducer, monkeypatch: pytest.MonkeyPatch
) -> None:
    backend = KafkaBackend("b:1", prefix="p.", options={"security.protocol": "SSL"})
    backend.producer("me")
    config = FakeProducer.made[2].config
    assert config["bootstrap.servers"] == "b:1"
    assert (config["client.id"], config["security.protocol"]) == ("me", "SSL")
