"""The recorder's table of topics, and its news without Redis."""

import json
from collections.abc import Iterator
from functools import partial
from typing import Any
from unittest.mock import MagicMock

import pytest
from prometheus_client import REGISTRY
from psycopg.errors import DeadlockDetected
from redis.exceptions import ConnectionError as RedisAway
from structlog.testing import capture_logs

from darkroom_schemas import catalogue, names
from gateway.catalog.outbox import Outbox
from gateway.catalog.trainings import training_verdict
from gateway.db import Conn, connect
from gateway.recorder.handlers import Recorder, handlers, recordings, storable
from gateway.recorder.news import News, batch_news, photo_news
from gateway.recorder.session import Session
from streamkit import control


class Wire:
    """A Redis that remembers what was said, or is away."""

    def __init__(self) -> None:
        self.said: list[tuple[str, Any]] = []
        self.away = False

    def publish(self, channel: str, message: str, /) -> None:
        if self.away:
            raise RedisAway("nobody listens")
        self.said += [(channel, news) for news in json.loads(message)]


def test_every_topic_that_the_gateway_consumes_has_a_handler() -> None:
    session = Session(lambda: connect("", name="never"))
    declared = {t.name for t in catalogue.load().with_schema() if "gateway" in t.consumers}

    # Its worker itself reads what an operator sets, and the control door follows the heartbeats.
    recorded = declared - {control.TOPIC, names.OPS_WORKER}
    assert set(handlers(Recorder(session, News(Wire(), ""), Outbox(MagicMock())))) == recorded


def test_zero_characters_are_taken_out_wherever_they_are() -> None:
    event = {"text": "a\0b", "lines": [{"text": "\0", "polygon": [0.5]}], "ms": 1.0, "none": None}

    assert storable(event) == {
        "text": "ab",
        "lines": [{"text": "", "polygon": [0.5]}],
        "ms": 1.0,
        "none": None,
    }


def test_a_transaction_lets_the_one_that_it_got_in_the_way_of_go_first() -> None:
    waited: list[float] = []
    session = Session(partial(MagicMock, name="conn"), sleep=waited.append)
    results: Iterator[str | Exception] = iter([DeadlockDetected(), DeadlockDetected(), "done"])

    def work(conn: Conn) -> str:
        if isinstance(result := next(results), Exception):
            raise result
        return result

    assert session.transact(work) == "done"
    assert len(waited) == 2
    assert 0.05 < waited[0] < waited[1] <= 0.4


def lost() -> float:
    return REGISTRY.get_sample_value("darkroom_news_lost_total") or 0.0


def test_without_redis_there_is_one_warning_a_minute_and_all_losses_are_counted() -> None:
    now, wire, before = 0.0, Wire(), lost()
    wire.away = True
    news = News(wire, "", clock=lambda: now)
    with capture_logs() as logs:
        for second in range(150):
            now = float(second)
            news.tell([batch_news("b")])

    assert [one["event"] for one in logs] == ["redis_away"] * 3
    assert lost() - before == 150


def test_news_come_again_soon_after_redis_does() -> None:
    now, wire = 0.0, Wire()
    news = News(wire, "test.", clock=lambda: now)
    wire.away = True
    news.tell([batch_news("lost")])
    wire.away, now = False, 1.0
    news.tell([photo_news("p", "a", ["b"])])

    assert wire.said == [
        (
            "test.darkroom:events",
            {"type": "photo", "photo_id": "p", "analysis_id": "a", "batches": ["b"]},
        )
    ]


@pytest.mark.parametrize("value", [{}, {"labels": []}])
def test_events_without_text_are_left_as_they_are(value: dict[str, Any]) -> None:
    assert storable(value) == value


def test_no_label_has_examples_so_every_request_to_train_is_skipped() -> None:
    assert training_verdict(0)[:2] == ("skipped", "no label has examples")
    assert training_verdict(1)[:2] == ("requested", None)


def test_whoever_records_trainings_is_told_when_there_may_be_one(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    told: list[dict[str, Any]] = []
    monkeypatch.setattr(
        "gateway.catalog.trainings.record_training", lambda *_, **more: told.append(more)
    )
    recordings(60.0, 4)[names.TRAINING_REQUESTED].write(None, {})
    assert told == [{"every_s": 60.0, "least": 4}]
