"""What is not acknowledged is never taken as published."""

from collections.abc import Callable
from typing import Any, ClassVar

import pytest
from confluent_kafka import KafkaError, KafkaException

from streamkit import Codec, Publisher, PublishError, RawRecord, Reject
from streamkit.publishing import ProducerLostError

Report = Callable[[KafkaError | None, object], None]


class FakeProducer:
    """Reports of each record what `answers` says; None: acknowledged, "silence": nothing."""

    answers: ClassVar[list[Any]] = []

    def __init__(self, _config: object) -> None:
        self._reports: list[tuple[Report, Any]] = []

    def produce(self, _topic: str, _value: object, _key: object, _number: int, on_delivery: Report, *_more: object) -> None:
        answer = self.answers.pop(0)
        if isinstance(answer, Exception):
            raise answer
        self._reports.append((on_delivery, answer))

    def poll(self, _timeout: float) -> None:
        waiting, self._reports = self._reports, []
        for report, answer in waiting:
            if not isinstance(answer, str):
                report(answer, None)


@pytest.fixture
def publish(monkeypatch: pytest.MonkeyPatch) -> Callable[..., None]:
    monkeypatch.setattr("streamkit.kafka.producer.Producer", FakeProducer)
    monkeypatch.setattr("streamkit.publishing.MESSAGE_TIMEOUT_S", -4.9)

    def _publish(*answers: Any) -> None:
        FakeProducer.answers = list(answers)
        codec = Codec(None, dict)  # type: ignore[arg-type]
        publisher = Publisher("nowhere:1", source="test", codec=codec)
        publisher.publish_raw(RawRecord("t", b"k", b"v", []) for _ in answers)

    return _publish


def test_all_acknowledged_is_published(publish: Callable[..., None]) -> None:
    publish(None, None)
    assert FakeProducer.answers == []


@pytest.mark.parametrize(
    "answers",
    [
        (None, KafkaError(KafkaError._MSG_TIMED_OUT)),
        (None, "silence"),
        (None, BufferError("full")),
        (None, KafkaException(KafkaError(KafkaError._QUEUE_FULL))),
    ],
)
def test_one_that_is_not_acknowledged_is_none(publish: Callable[..., None], answers: Any) -> None:
    with pytest.raises(PublishError):
        publish(*answers)


@pytest.mark.parametrize("wrap", [False, True])
def test_a_record_that_no_broker_takes_is_rejected(
    publish: Callable[..., None], wrap: bool
) -> None:
    error = KafkaError(KafkaError.MSG_SIZE_TOO_LARGE)
    with pytest.raises(Reject) as caught:
        publish(None, KafkaException(error) if wrap else error)
    assert caught.value.code == "too_large"


def test_a_producer_that_is_lost_stops_the_process(publish: Callable[..., None]) -> None:
    with pytest.raises(ProducerLostError):
        publish(KafkaError(KafkaError._FATAL, "gone", True))
