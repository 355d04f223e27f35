"""What operators set, and what that means for a lane."""

from datetime import UTC, datetime
from typing import Any

import pytest

from streamkit.control import Control, Controls, control_of
from streamkit.testing import FakeClock

VALUE = {
    "target": "ocr/batch",
    "rate": "100/m",
    "paused": True,
    "paused_until": datetime(2026, 11, 25, 14, tzinfo=UTC),
    "concurrency": 2,
    "owner": "mia",
    "reason": "repair",
    "changed_at": datetime(2026, 11, 25, 13, tzinfo=UTC),
}


@pytest.fixture
def clock() -> FakeClock:
    return FakeClock()


@pytest.fixture
def controls(clock: FakeClock) -> Controls:
    return Controls(clock)


def test_an_event_becomes_what_is_set() -> None:
    assert control_of(VALUE) == Control(
        target="ocr/batch",
        rate="100/m",
        paused=True,
        paused_until=datetime(2026, 11, 25, 14, tzinfo=UTC).timestamp(),
        concurrency=2,
        owner="mia",
        reason="repair",
    )


def test_an_event_may_set_nothing_but_a_pause_without_end() -> None:
    bare = {**VALUE, "rate": None, "concurrency": None, "paused_until": None}
    control = control_of(bare)
    assert control == Control("ocr/batch", paused=True, owner="mia", reason="repair")
    assert control.pauses(1e12)


@pytest.mark.parametrize("wrong", [{"rate": "many"}, {"concurrency": 0}])
def test_an_event_that_makes_no_sense_is_refused(wrong: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match=r"is no rate|does no work"):
        control_of({**VALUE, **wrong})


def test_a_lane_for_which_nothing_is_set_is_free(controls: Controls) -> None:
    assert controls.for_lane("ocr", "batch") == Control("ocr/batch")
    assert controls.rated("ocr", "batch") is None


def test_what_is_set_for_a_service_holds_for_its_lanes_and_no_others(controls: Controls) -> None:
    controls.set(Control("ocr", rate="5/s", paused=True, concurrency=3, owner="mia"))
    batch = controls.for_lane("ocr", "batch")
    assert (batch.target, batch.rate, batch.paused) == ("ocr/batch", "5/s", True)
    assert (batch.concurrency, batch.owner) == (3, "mia")
    assert controls.for_lane("detector", "batch") == Control("detector/batch")


def test_a_lanes_own_rate_and_concurrency_go_before_its_services(controls: Controls) -> None:
    controls.set(Control("ocr", rate="5/s", concurrency=3))
    controls.set(Control("ocr/batch", rate="1/s", concurrency=1))
    assert controls.for_lane("ocr", "batch").concurrency == 1
    assert controls.rated("ocr", "batch") == ("ocr/batch", "1/s")
    assert controls.rated("ocr", "high") == ("ocr", "5/s")
    assert controls.for_lane("ocr", "high").concurrency == 3


def test_the_last_one_holds(controls: Controls) -> None:
    controls.set(Control("ocr", paused=True))
    controls.set(Control("ocr"))
    assert not controls.for_lane("ocr", "batch").paused


def test_a_pause_ends_by_itself(clock: FakeClock, controls: Controls) -> None:
    controls.set(Control("ocr/batch", paused=True, paused_until=clock.time() + 60))
    assert controls.for_lane("ocr", "batch").paused
    clock.now += 60
    assert not controls.for_lane("ocr", "batch").paused


def test_of_two_pauses_the_longer_one_counts(clock: FakeClock, controls: Controls) -> None:
    controls.set(Control("ocr/batch", paused=True, paused_until=clock.time() + 60))
    controls.set(Control("ocr", paused=True, paused_until=clock.time() + 90))
    assert controls.for_lane("ocr", "batch").paused_until == clock.time() + 90
    controls.set(Control("ocr", paused=True))
    assert controls.for_lane("ocr", "batch").paused_until is None


def test_who_paused_is_named(controls: Controls) -> None:
    controls.set(Control("ocr", paused=True, owner="mia", reason="repair"))
    controls.set(Control("ocr/batch", rate="1/s", owner="tom"))
    lane = controls.for_lane("ocr", "batch")
    assert (lane.owner, lane.reason, lane.rate) == ("mia", "repair", "1/s")
