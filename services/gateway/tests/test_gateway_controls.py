"""What operators may set, and what of it holds."""

from datetime import UTC, datetime, timedelta
from typing import Any
from unittest.mock import MagicMock

import pytest
from pydantic import ValidationError

from darkroom_schemas import catalogue, names
from gateway.api.controls import LONGEST_PAUSE, ControlChange
from gateway.catalog import controls
from gateway.catalog.controls import Held, UnknownTargetError, UnruledError, target_of
from gateway.catalog.outbox import Outbox
from gateway.recorder.app import job
from gateway.recorder.news import News
from gateway.recorder.session import Session

NOON = datetime(2026, 11, 24, 12, tzinfo=UTC)


def change(**given: Any) -> ControlChange:
    return ControlChange.model_validate(given)


def soon(**later: float) -> str:
    return (datetime.now(UTC) + timedelta(**later)).isoformat()


@pytest.mark.parametrize(
    ("given", "what"),
    [
        ({}, "says nothing"),
        ({"by": "ada"}, "says nothing"),
        ({"paused": True}, "say a `reason`"),
        ({"paused": True, "reason": "  "}, "say a `reason`"),
        ({"paused": True, "reason": ""}, "at least 1 character"),
        ({"paused": True, "reason": "x" * 1001}, "at most 1000 characters"),
        ({"paused": True, "reason": "a\0b"}, "zero character"),
        ({"pause_s": 60}, "say a `reason`"),
        ({"pause_s": 0, "reason": "x"}, "greater than 0"),
        ({"pause_s": 31 * 86_400, "reason": "x"}, "less than or equal to"),
        ({"paused_until": soon(seconds=-1), "reason": "x"}, "over already"),
        ({"paused_until": soon(days=31), "reason": "x"}, "30 days at most"),
        ({"paused_until": "2026-11-24T12:00:00", "reason": "x"}, "timezone"),
        ({"paused_until": soon(hours=1), "pause_s": 60, "reason": "x"}, "give either"),
        ({"paused": False, "pause_s": 60, "reason": "x"}, "there is an end"),
        ({"rate": "20"}, "is no rate"),
        ({"rate": "0/s"}, "is no rate"),
        ({"concurrency": 0}, "greater than or equal to 1"),
        ({"speed": 3}, "Extra inputs"),
    ],
)
def test_what_makes_no_sense_is_refused_with_the_reason(given: dict[str, Any], what: str) -> None:
    with pytest.raises(ValidationError, match=what):
        change(**given)


def test_what_is_absent_stays_and_null_takes_back() -> None:
    assert change(rate="20/s").changes() == {"rate": "20/s"}
    assert change(rate=None, concurrency=None).changes() == {"rate": None, "concurrency": None}
    assert change(paused=None, rate="1/h").changes() == {"rate": "1/h"}
    assert change(paused=False).changes() == {"paused": False}
    assert change(paused=True, paused_until=None, reason="x").changes() == {
        **{"paused": True, "paused_until": None, "reason": "x"}
    }


def test_an_end_of_a_pause_is_a_pause() -> None:
    until = datetime.now(UTC) + LONGEST_PAUSE - timedelta(minutes=1)
    timed = change(paused_until=until.isoformat(), reason="x").changes()
    assert timed == {"paused": True, "paused_until": until, "reason": "x"}
    soon = change(pause_s=60, reason="x").changes()
    assert soon["paused"] is True
    assert timedelta(0) < soon["paused_until"] - datetime.now(UTC) <= timedelta(seconds=60)


def test_changes_are_merged_and_a_pause_takes_its_end_along() -> None:
    held = Held().changed({"rate": "20/s", "reason": "a shared GPU"})
    paused = held.changed({"paused": True, "paused_until": NOON, "reason": "a new disk"})
    assert paused == Held(True, NOON, "20/s", None, "a new disk")
    assert paused.changed({"paused": False}) == Held(rate="20/s", reason="a new disk")
    assert not held.nothing
    assert held.changed({"rate": None}).nothing


def test_a_pause_that_is_over_is_none() -> None:
    paused = Held(paused=True, paused_until=NOON, concurrency=2)
    assert paused.at(NOON - timedelta(microseconds=1)) == paused
    assert paused.at(NOON) == Held(concurrency=2)
    assert Held(paused=True).at(NOON).paused, "one without an end holds"


def test_targets_are_the_services_that_listen_and_their_lanes() -> None:
    assert target_of("ocr") == "ocr"
    assert target_of("detector", "learning") == "detector/learning"
    assert target_of("gateway", "recorder") == "gateway/recorder"
    with pytest.raises(UnknownTargetError, match="ocr, embedder, trainer, gateway"):
        target_of("orc")
    with pytest.raises(UnknownTargetError, match="it has high, default, batch, learning"):
        target_of("ocr", "recorder")
    with pytest.raises(UnruledError, match=r"aggregator can't be paused.*Pause the stages"):
        target_of("aggregator", "photos")


def test_the_table_of_targets_is_what_the_services_have() -> None:
    assert set(controls.LANES) == set(catalogue.load()[names.OPS_CONTROL].consumers)
    session = Session(lambda: pytest.fail("nothing is asked"))
    recorder = job(session, News(_Nobody(), ""), Outbox(MagicMock()))
    assert controls.LANES["gateway"] == tuple(lane.name for lane in recorder.lanes)
    for service in ("intake", "detector", "ocr", "embedder"):
        assert controls.LANES[service] == tuple(names.PHOTO_ANALYSIS_REQUESTED)


class _Nobody:
    def publish(self, _channel: str, _message: str) -> None:
        raise AssertionError
