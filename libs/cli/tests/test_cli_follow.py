"""Watching an import."""

import io
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from rich.console import Console

from darkroom_cli.client import Gateway, GatewayAwayError
from darkroom_cli.follow import Lines, StalledError, follow, follow_with_bar, watch
from darkroom_cli.import_words import pace, state

FAILURE = {"stage": None, "message": "It ends in the middle.", "count": 3, "code": "truncated"}


def batch(done: int, state: str = "running", **more: Any) -> dict[str, Any]:
    none = ("auto_labeled", "suggested", "rejected", "duplicates", "cancelled", "partial")
    unknown = ("rate", "eta_s", "eta_low_s", "eta_high_s", "paused_by", "paused_until", "waits_for")
    return {
        **dict.fromkeys((*none, "repaired"), 0),
        **dict.fromkeys(unknown),
        "review": done,
        "accepted": done,
        "expected": 10,
        "found": 10,
        "pending": 10 - done,
        "state": state,
        "failures": [],
        **more,
    }


class FakeGateway(Gateway):
    """Answers one after another, the last one for ever; an exception is raised."""

    def __init__(self, *answers: Any) -> None:
        self._answers = list(answers)

    def batch(self, batch_id: str) -> dict[str, Any]:
        answer = self._answers.pop(0) if len(self._answers) > 1 else self._answers[0]
        if isinstance(answer, BaseException):
            raise answer
        return dict(answer)


@pytest.fixture(autouse=True)
def _no_waiting(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("darkroom_cli.follow._POLL_S", 0.0)


def test_a_gateway_that_blinks_is_waited_for() -> None:
    gateway = FakeGateway(batch(1), GatewayAwayError("gone"), batch(10, "completed"))
    seen: list[int] = []
    last = follow(gateway, "b", lambda one: seen.append(one["accepted"]))
    assert (last["state"], seen) == ("completed", [1, 10])


@pytest.mark.parametrize("final", ["completed", "completed_with_failures", "cancelled"])
def test_watching_ends_with_every_final_state(final: str) -> None:
    gateway = FakeGateway(batch(1), batch(1, "paused"), batch(2, "cancelling"), batch(10, final))
    assert follow(gateway, "b", lambda _one: None)["state"] == final


def test_one_that_stays_away_is_told_with_what_becomes_of_the_import(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("darkroom_cli.follow._AWAY_S", -1.0)
    with pytest.raises(GatewayAwayError, match="The import b7 goes on by itself"):
        follow(FakeGateway(GatewayAwayError("gone")), "b7", lambda _one: None)


def test_what_stands_still_is_told_but_a_pause_is_waited_for(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("darkroom_cli.follow._STALLED_S", 0.0)
    pauses = [batch(1, "paused")] * 50
    gateway = FakeGateway(*pauses, batch(10, "completed"))
    assert follow(gateway, "b", lambda _one: None)["state"] == "completed"
    with pytest.raises(StalledError, match="has not moved"):
        follow(FakeGateway(batch(1)), "b", lambda _one: None)


def bar_of(*answers: Any, width: int = 80) -> str:
    out = io.StringIO()
    console = Console(file=out, width=width, force_terminal=True)
    follow_with_bar(FakeGateway(*answers), "b", console)
    return out.getvalue()


@pytest.mark.parametrize("width", [60, 80, 140])
def test_bar_total_and_counts_are_seen_at_any_width(width: int) -> None:
    text = bar_of(batch(4), batch(10, "completed"), width=width)
    assert "10/10" in text
    assert "━━━━━" in text
    assert "10 to review" in text


def test_rate_and_time_left_stand_below_the_bar_with_their_spread() -> None:
    left = {"rate": 12.3, "eta_s": 300.0, "eta_low_s": 240.0, "eta_high_s": 420.0}
    text = bar_of(batch(4, "completed", **left))
    assert "12.3/s, 5 min left (4–7 min)" in text


def test_what_an_import_waits_for_stands_in_place_of_its_rate() -> None:
    full = "the object store has no room left"
    assert pace(batch(4, "scanning", rate=0.0, waits_for=full)) == f"waits: {full}"
    assert pace(batch(4, "scanning", rate=0.0)) == "nothing moves at the moment"


def test_reasons_stand_below_the_bar() -> None:
    many = [dict(FAILURE, count=9 - n, message=f"reason {n}") for n in range(6)]
    text = bar_of(batch(10, "completed_with_failures", failures=many))
    assert "9 × reason 0" in text
    assert "and 15 more" in text
    assert "reason 3" not in text


@pytest.mark.parametrize(
    "over",
    [
        batch(0, "completed", found=0, expected=0),
        batch(0, "cancelled", found=0, expected=None),
        batch(4, "cancelled", found=4, expected=4),
        batch(3, "completed_with_failures", found=3, expected=3, rejected=3, accepted=0),
    ],
    ids=["empty", "cancelled at once", "cancelled", "only failures"],
)
def test_the_bar_is_full_at_the_end(over: dict[str, Any]) -> None:
    last = bar_of(over).rsplit("\x1b[1m", 1)[-1]
    assert "━" in last
    assert "╸" not in last, "a half-drawn end"
    assert "╺" not in last, "a part that is not done"


def test_without_a_terminal_whole_lines_are_printed_now_and_then() -> None:
    out, times = io.StringIO(), iter([0.0, 1.0, 11.0, 12.0, 12.1])
    lines = Lines(Console(file=out, width=40), lambda: next(times))
    for done, standing in ((1, "scanning"), (2, "scanning"), (3, "scanning"), (4, "paused")):
        lines(batch(done, standing, paused_by="ada" if standing == "paused" else None))
    lines(batch(10, "completed"))
    told = out.getvalue().splitlines()
    assert [line.split(";")[0] for line in told] == [
        "importing: 1 of 10 files",
        "importing: 3 of 10 files",
        "paused by ada: 4 of 10 files",
        "completed: 10 of 10 files",
    ]
    assert "\x1b" not in out.getvalue()


def test_the_end_of_a_pause_is_told_in_local_time() -> None:
    later = (datetime.now().astimezone() + timedelta(days=40)).replace(hour=7, minute=5)
    paused = batch(1, "paused", paused_until=later.astimezone(UTC).isoformat())
    assert state(paused) == f"paused until {later:%Y-%m-%d} 07:05"


def test_an_import_at_which_nothing_moves_says_so() -> None:
    assert pace(batch(3, rate=0.0)) == "nothing moves at the moment"
    assert pace(batch(0, rate=0.0)) == "", "it has only just begun"
    assert pace(batch(3, rate=0.5)) == "30.0/min"


def test_a_pipe_gets_no_live_bar() -> None:
    out = io.StringIO()
    watch(FakeGateway(batch(10, "completed")), "b", Console(file=out, width=80))
    assert out.getvalue().startswith("completed: 10 of 10 files; ")
    assert out.getvalue().endswith("\n")
