"""A lane that is full takes nothing in, whoever asks, and without reading what is sent."""

from typing import Any, cast

import pytest

from gateway.api.admission import FRESH_S, Admission
from gateway.api.catalog import Catalog
from gateway.api.problems import ProblemError
from gateway.catalog.loads import Standing
from gateway.load import Intake


class Measured:
    """A catalog that knows one lane's standing, and counts who asks."""

    def __init__(self, standing: Standing | None) -> None:
        self.standing = standing
        self.asked: list[str] = []

    async def ask(self, _question: object, lane: str, _most: int) -> Standing | None:
        self.asked.append(lane)
        return self.standing


class Clock:
    """Moved by hand."""

    now = 100.0

    def __call__(self) -> float:
        return self.now


def admission(measured: Measured, clock: Clock | None = None) -> Admission:
    return Admission(cast(Catalog, measured), 1_000, clock or Clock())


OPEN = Standing(Intake.OPEN, 10, None, 0)
CLOSED = Standing(Intake.CLOSED, 700, "detector is not running.", 60)


@pytest.mark.parametrize(
    "standing", [None, OPEN, Standing(Intake.WARNED, 999, "detector has much to do.", 0)]
)
async def test_a_lane_that_is_not_full_or_that_nobody_measures_is_open(
    standing: Standing | None,
) -> None:
    await admission(Measured(standing)).require("default")


@pytest.mark.parametrize(
    ("standing", "after_s", "words"),
    [
        (CLOSED, "60", "detector is not running."),
        (Standing(Intake.OPEN, 1_000, None, 0), "5", "1,000 photos of lane default wait."),
    ],
)
async def test_a_full_lane_refuses_with_cause_and_time(
    standing: Standing, after_s: str, words: str
) -> None:
    with pytest.raises(ProblemError) as caught:
        await admission(Measured(standing)).require("default")
    error = caught.value
    assert (error.status_code, error.code) == (503, "lane_full")
    assert error.headers == {"Retry-After": after_s}
    assert words in str(error.detail)
    assert error.more == {"lane": "default", "records": standing.records}


async def test_refusing_costs_no_question_each_time_and_each_lane_is_its_own() -> None:
    clock, measured = Clock(), Measured(CLOSED)
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


async def test_what_is_recorded_is_judged_by_what_is_known_then(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def standing(_conn: Any, _owner: str, lane: str, most: int) -> Standing:
        assert (lane, most) == ("batch", 1_000)
        return CLOSED

    asks = admission(Measured(OPEN))
    await asks.require("batch")
    monkeypatch.setattr("gateway.catalog.loads.standing", standing)
    with pytest.raises(ProblemError):
        asks.check(cast(Any, None), "owner", "batch")
