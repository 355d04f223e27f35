"""A lane that is full takes nothing in, whoever asks, and without reading what is sent."""

from typing import Any, cast
from unittest.mock import MagicMock

import pytest

from gateway.api.admission import FRESH_S, Admission
from gateway.api.catalog import Catalog
from gateway.api.problems import ProblemError
from gateway.catalog.loads import Standing
from gateway.catalog.outbox import Outbox
from gateway.load import Intake, Limits


class Measured:
    """A catalog that knows one lane's standing, and notes who asks and who closes it."""

    def __init__(self, standing: Standing | None, monkeypatch: pytest.MonkeyPatch) -> None:
        self.standing = standing
        self.asked: list[str] = []
        self.closed: list[str] = []
        monkeypatch.setattr("gateway.catalog.loads.standing", self._standing)
        monkeypatch.setattr("gateway.catalog.loads.fill", self._fill)

    async def ask(self, question: Any, lane: str) -> Standing | None:
        found: Standing | None = question(MagicMock(), "owner", lane)
        return found

    def _standing(self, _conn: Any, _owner: str, lane: str, most: int) -> Standing | None:
        assert most == LIMITS.refuse_at
        self.asked.append(lane)
        return self.standing

    def _fill(
        self, _conn: Any, _owner: str, _outbox: Any, lane: str, limits: Limits
    ) -> Standing | None:
        assert limits is LIMITS
        self.closed.append(lane)
        return CLOSED


class Clock:
    """Moved by hand."""

    now = 100.0

    def __call__(self) -> float:
        return self.now


LIMITS = Limits(500, 1_000)


def admission(measured: Measured, clock: Clock | None = None) -> Admission:
    return Admission(cast(Catalog, measured), cast(Outbox, None), LIMITS, clock or Clock())


OPEN = Standing(Intake.OPEN, 10, None, 0)
CLOSED = Standing(Intake.CLOSED, 700, "detector is not running.", 60)


@pytest.mark.parametrize(
    "standing", [None, OPEN, Standing(Intake.WARNED, 999, "detector has much to do.", 0)]
)
async def test_a_lane_that_is_not_full_or_that_nobody_measures_is_open(
    standing: Standing | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    measured = Measured(standing, monkeypatch)
    asks = admission(measured)
    await asks.require("default")
    assert asks.sort(cast(Any, None), "owner", ["default"]) == ({}, [0], [])
    assert measured.closed == []


@pytest.mark.parametrize(
    ("standing", "closed"),
    [(CLOSED, []), (Standing(Intake.WARNED, 1_000, "detector has much to do.", 0), ["default"])],
)
async def test_a_full_lane_is_closed_and_refuses_with_cause_and_time(
    standing: Standing, closed: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    measured = Measured(standing, monkeypatch)
    asks = admission(measured)
    with pytest.raises(ProblemError) as caught:
        await asks.require("default")
    error = caught.value
    assert (error.status_code, error.code) == (503, "lane_full")
    assert error.headers == {"Retry-After": "60"}
    assert "detector is not running." in str(error.detail)
    assert error.more == {"lane": "default", "records": 700}
    assert measured.closed == closed
    refused, taken, filled = asks.sort(cast(Any, None), "owner", ["default"])
    assert (list(refused), taken, filled) == ([] if closed else [0], [], closed)
    assert measured.closed == closed


async def test_of_many_at_once_as_many_are_taken_as_there_is_room_for(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    measured = Measured(Standing(Intake.WARNED, 998, "detector has much to do.", 0), monkeypatch)
    asks = admission(measured)
    found = asks.sort(cast(Any, None), "owner", ["default"] * 5)
    assert (found, measured.asked) == (({}, [0, 1], []), ["default"])
    measured.standing = None
    lanes = ["default", "high", "default"]
    assert sorted(asks.sort(cast(Any, None), "owner", lanes).taken) == [0, 1, 2]


async def test_refusing_costs_no_question_each_time_and_each_lane_is_its_own(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    clock, measured = Clock(), Measured(CLOSED, monkeypatch)
    asks = admission(measured, clock)

    async def refused(lane: str) -> None:
        with pytest.raises(ProblemError):
            await asks.require(lane)

    for lane in ("default", "default", "batch", "default"):
        await refused(lane)
    assert measured.asked == ["default", "batch"]
    clock.now += FRESH_S
    measured.standing = OPEN
    await asks.require("default")
    assert measured.asked == ["default", "batch", "default"]
