"""Watching an import."""

import io
from typing import Any

import pytest
from rich.console import Console

from darkroom_cli.client import Gateway, GatewayAwayError
from darkroom_cli.follow import follow, follow_with_bar


def batch(done: int, state: str = "running") -> dict[str, Any]:
    counts = dict.fromkeys(("auto_labeled", "suggested", "rejected", "duplicates"), 0)
    return {
        **counts,
        "review": done,
        "accepted": done,
        "expected": 10,
        "found": 10,
        "pending": 10 - done,
        "state": state,
    }


class FakeGateway(Gateway):
    """Answers one after another; an exception is raised."""

    def __init__(self, *answers: Any) -> None:
        self._answers = list(answers)

    def batch(self, batch_id: str) -> dict[str, Any]:
        answer = self._answers.pop(0)
        if isinstance(answer, Exception):
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


def test_one_that_stays_away_is_told_with_what_becomes_of_the_import(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("darkroom_cli.follow._AWAY_S", -1.0)
    with pytest.raises(GatewayAwayError, match="The import b7 goes on by itself"):
        follow(FakeGateway(GatewayAwayError("gone")), "b7", lambda _one: None)


@pytest.mark.parametrize("width", [60, 80, 140])
def test_bar_total_and_counts_are_seen_at_any_width(width: int) -> None:
    out = io.StringIO()
    console = Console(file=out, width=width, force_terminal=True)
    follow_with_bar(FakeGateway(batch(4), batch(10, "completed")), "b", console)
    text = out.getvalue()
    assert "10/10" in text
    assert "━━━━━" in text
    assert "10 to review" in text
