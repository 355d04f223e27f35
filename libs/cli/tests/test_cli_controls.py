"""`darkroom ops pause | resume | rate | …`: what the gateway is asked, and what is shown of it."""

import json
from datetime import UTC, datetime
from typing import Any

import pytest
from typer.testing import CliRunner, Result

from darkroom_cli.app import build
from darkroom_cli.client import Gateway

AT = "2026-11-24T10:00:00Z"
HOSTILE = "[bold]x\x1b[31m"
PHOTO = "affa6966-7080-5191-9861-4f6c4adc6cbb"
CONTROL: dict[str, Any] = {
    **{"target": "ocr/batch", "service": "ocr", "lane": "batch", "paused": False},
    **{"paused_until": None, "rate": None, "concurrency": None, "owner": HOSTILE},
    **{"reason": HOSTILE, "changed_at": AT},
}
TASK: dict[str, Any] = {
    **{"analysis_id": PHOTO, "revision": 1, "photo_id": PHOTO, "stage": "ocr", "lane": "batch"},
    **{"state": "done", "submitted_at": AT, "ended_at": AT, "ms": 1234.4, "engine": "stub"},
    **{"model_version": HOSTILE, "code": None, "message": None, "attempts": None},
    "file_name": HOSTILE,
}


class FakeGateway(Gateway):
    """Answers that a test sets, and what it was asked."""

    def __init__(self) -> None:
        self.asked: list[tuple[str, str, Any]] = []
        self.answers: dict[str, Any] = {}

    def ask(self, method: str, path: str, **request: Any) -> dict[str, Any]:
        body = request.get("json", request.get("params"))
        self.asked.append((method, path, dict(body) if body is not None else None))
        answer = self.answers.get(method, {"items": [], "next": None})
        return dict(answer.pop(0) if isinstance(answer, list) else answer)


@pytest.fixture
def gateway(monkeypatch: pytest.MonkeyPatch) -> FakeGateway:
    fake = FakeGateway()
    fake.answers["PATCH"] = CONTROL
    monkeypatch.setattr("darkroom_cli.door.gateway", lambda *_: fake)
    monkeypatch.setenv("COLUMNS", "250")
    return fake


def run(*words: str) -> Result:
    return CliRunner().invoke(build("ops"), ["ops", *words])


@pytest.mark.parametrize(
    ("words", "path", "wanted"),
    [
        (
            ("pause", "ocr/batch", "--for", "10m", "--reason", "a disk"),
            "ocr/batch",
            {"paused": True, "pause_s": 600, "reason": "a disk"},
        ),
        (
            ("pause", "ocr", "--reason", "a disk"),
            "ocr",
            {"paused": True, "paused_until": None, "reason": "a disk"},
        ),
        (("resume", "ocr"), "ocr", {"paused": False}),
        (("resume", "ocr", "--reason", "done"), "ocr", {"paused": False, "reason": "done"}),
        (("rate", "ocr", "20/s"), "ocr", {"rate": "20/s"}),
        (("rate", "ocr", "none"), "ocr", {"rate": None}),
        (("concurrency", "ocr/high", "2"), "ocr/high", {"concurrency": 2}),
        (("concurrency", "ocr", "none"), "ocr", {"concurrency": None}),
        (("rate", "a?b/c#d", "1/s"), "a%3Fb/c%23d", {"rate": "1/s"}),
    ],
)
def test_what_is_asked(
    gateway: FakeGateway, words: tuple[str, ...], path: str, wanted: dict[str, Any]
) -> None:
    assert run(*words, "--by", "mia").exit_code == 0
    asked = gateway.asked[0]
    assert asked == ("PATCH", f"/v1/operations/controls/{path}", {**wanted, "by": "mia"})


@pytest.mark.parametrize(
    "words",
    [
        ("pause", "ocr"),
        ("pause", "ocr", "--reason", " "),
        ("pause", "ocr", "--reason", "x", "--for", "soon"),
        ("pause", "ocr", "--reason", "x", "--for", "0m"),
        ("pause", "ocr/", "--reason", "x"),
        ("pause", "/batch", "--reason", "x"),
        ("resume", "ocr/batch/7"),
        ("concurrency", "ocr", "0"),
        ("concurrency", "ocr", "-1"),
        ("concurrency", "ocr", "many"),
        ("tasks", "--state", "broken"),
        ("tasks", "--stage", "aggregator"),
        ("tasks", "--lane", "slow"),
        ("tasks", "--since", "long ago"),
    ],
)
def test_what_makes_no_sense_is_not_asked(gateway: FakeGateway, words: tuple[str, ...]) -> None:
    assert run(*words).exit_code == 2
    assert gateway.asked == []


def test_each_tells_what_holds_now_of_a_lane_also_for_its_service(gateway: FakeGateway) -> None:
    until = datetime(2026, 11, 24, 10, tzinfo=UTC).astimezone()
    gateway.answers["PATCH"] = {**CONTROL, "paused": True, "paused_until": AT, "rate": "20/s"}
    service = {**CONTROL, "target": "ocr", "lane": None, "concurrency": 2, "reason": ""}
    gateway.answers["GET"] = {"items": [service, CONTROL | {"target": "ocr/high"}]}
    told = run("resume", "ocr/batch").stdout.splitlines()
    assert told == [
        f"ocr/batch: paused until {until:%Y-%m-%d %H:%M:%S}, 20/s in all workers together;"
        " by [bold]x\\x1b[31m ([bold]x\\x1b[31m)",
        "ocr: 2 at a time; by [bold]x\\x1b[31m",
    ]
    gateway.answers["PATCH"] = {**CONTROL, "target": "ocr", "lane": None}
    assert run("resume", "ocr").stdout == "ocr: nothing is set.\n"


def test_the_list_says_who_and_why(gateway: FakeGateway) -> None:
    assert "Nothing is paused" in run("controls").stdout
    gateway.answers["GET"] = {"items": [CONTROL | {"paused": True}]}
    shown = run("controls").stdout
    assert "paused until somebody resumes it" in shown
    assert "[bold]x\\x1b[31m" in shown
    assert json.loads(run("controls", "--json").stdout)[0]["target"] == "ocr/batch"


def test_tasks_are_asked_for_page_by_page(gateway: FakeGateway) -> None:
    gateway.answers["GET"] = [
        {"items": [TASK] * 200, "next": "more"},
        {"items": [TASK] * 200, "next": "yet more"},
    ]
    words = ("--stage", "ocr", "--lane", "batch", "--state", "done", "--slower", "7")
    more = ("--model", "m@1", "--code", "c", "--photo", PHOTO, "--import", PHOTO, "--json")
    given = run("tasks", *words, *more, "--since", "2026-11-24T10:00Z", "--limit", "300")
    assert len(json.loads(given.stdout)) == 300
    first, second = (query for _, _, query in gateway.asked)
    assert second == {**first, "cursor": "more"}
    assert first == {
        **{"stage": "ocr", "lane": "batch", "state": "done", "since": "2026-11-24T10:00:00+00:00"},
        **{"photo_id": PHOTO, "batch_id": PHOTO, "model_version": "m@1", "code": "c"},
        **{"slower_ms": 7.0, "limit": 200},
    }


def test_tasks_in_a_table(gateway: FakeGateway) -> None:
    failed = {"state": "failed", "ms": None, "code": "engine_failed", "message": HOSTILE}
    gateway.answers["GET"] = {"items": [TASK, {**TASK, **failed, "attempts": 4}], "next": None}
    shown = run("tasks").stdout
    for text in ("1,234", "done", "engine_failed: [bold]x\\x1b[31m (4 tries)", PHOTO):
        assert text in shown
    gateway.answers["GET"] = {"items": [], "next": None}
    assert run("tasks").stdout == "Nothing fits.\n"


def test_a_photo_is_cancelled(gateway: FakeGateway) -> None:
    gateway.answers["POST"] = {"photo_id": PHOTO, "file_name": None, "status": "cancelled"}
    told = run("cancel", PHOTO, "--reason", "no", "--by", "mia").stdout
    assert told == f"{PHOTO}: cancelled\n"
    path = f"/v1/photos/{PHOTO}/cancel"
    assert gateway.asked == [("POST", path, {"reason": "no", "by": "mia"})]
