"""Workers, stages and their history in a terminal."""

import io
from collections.abc import Callable
from typing import Any

import pytest
from rich.console import Console

from darkroom_cli import show_operations

HOSTILE = "[/bold] [bold red]x[blink] \x1b[31mred \u202egpj.exe\x00"
AT = "2026-01-01T12:00:00Z"


def printed(tell: Callable[[Console], Any], width: int = 120) -> str:
    out = io.StringIO()
    tell(Console(file=out, width=width, force_terminal=False))
    return out.getvalue()


def lane(**more: Any) -> dict[str, Any]:
    held = [{"topic": HOSTILE, "partition": number} for number in (2, 0)]
    counts = {"waiting": 1, "in_engine": 1_500, "done": 3, "failed": 4}
    limits = {"paused": False, "rate": None, "concurrency": None}
    return {"lane": HOSTILE, "partitions": held, **counts, **limits, **more}


def worker(**more: Any) -> dict[str, Any]:
    names = dict.fromkeys(("worker", "service", "host", "version", "state"), HOSTILE)
    task = dict.fromkeys(("lane", "topic", "key", "engine"), HOSTILE)
    return {
        **names,
        **{"pid": 7, "started_at": AT, "seen_at": AT, "silent_s": 3.0, "every_s": 5.0},
        **{"cpu": 0.5, "cpu_cores": 1.5, "memory": 0.25, "memory_bytes": 1_234_000_000},
        **{"missing": False, "lanes": [lane()]},
        "work": [{**task, "partition": 1, "offset": 2, "attempt": 1, "since": AT}],
        **more,
    }


def service(**more: Any) -> dict[str, Any]:
    waits = {"waiting": None, "per_s": None, "oldest_s": None}
    return {
        **{"name": "ocr", "workers": 1, "missing": 0, "retries": {"high": 0, "bulk": 4}},
        **{"dead_letters": 2, "lanes": [lane(**waits), lane(lane="high", **waits)]},
        **more,
    }


def overview(*services: dict[str, Any], **more: Any) -> dict[str, Any]:
    return {"services": services, "per_s": 2.25, "measured_at": AT, **more}


@pytest.mark.parametrize(
    "tell",
    [
        lambda console: console.print(show_operations.workers_table([worker()])),
        lambda console: show_operations.print_worker(worker(), console),
        lambda console: show_operations.print_stages(overview(service(name=HOSTILE)), console),
    ],
)
def test_what_workers_say_is_shown_and_never_obeyed(tell: Callable[[Console], Any]) -> None:
    told = printed(tell, 400)
    assert "[bold red]x[blink] \\x1b[31mred \\u202egpj.exe\\x00" in told
    assert "\x1b" not in told


def test_a_missing_worker_is_told_in_words() -> None:
    lost = worker(worker="ocr@studio:7", missing=True, silent_s=400.0)
    assert list(show_operations.missing([worker(), lost])) == [
        "ocr@studio:7 is missing: it said something every 5 s, and nothing for 7 min. It did not"
        " say that it goes."
    ]
    table = printed(lambda console: console.print(show_operations.workers_table([lost])))
    assert "missing" in table
    assert "1,500" in table


def test_partitions_stand_together_by_their_topics() -> None:
    held = [{"topic": "a", "partition": 2}, {"topic": "b", "partition": 1}]
    held.append({"topic": "a", "partition": 0})
    one = worker(lanes=[lane(partitions=held)], work=[])
    told = printed(lambda console: show_operations.print_worker(one, console), 400)
    assert "a 0 2, b 1" in told
    assert "nothing in hand" in told


def test_what_is_of_a_whole_service_is_told_once() -> None:
    told = printed(lambda console: show_operations.print_stages(overview(service()), console), 400)
    assert told.count("bulk 4") == 1
    assert told.count("?") == 4, "what was not measured is not 0"
    assert "2.2 photos a second" in told


def test_a_service_without_workers_is_told_in_words() -> None:
    lost = service(workers=0, missing=2, lanes=[])
    told = printed(
        lambda console: show_operations.print_stages(overview(lost, measured_at=None), console)
    )
    assert "ocr: no worker, 2 missing" in told
    assert "is the control door running?" in told


@pytest.mark.parametrize(
    ("lane_said", "told"),
    [
        ({}, "-"),
        ({"paused": True}, "paused"),
        ({"rate": 20.0, "concurrency": 2}, "20/s in all, 2 at a time"),
    ],
)
def test_limits_in_words(lane_said: dict[str, Any], told: str) -> None:
    assert show_operations.limits(lane(**lane_said)) == told


def test_a_plot_leaves_gaps_and_begins_at_nothing() -> None:
    assert show_operations.spark([0, 1, None, 4, 8]) == "▁▂ ▅█"
    assert show_operations.spark([None, None]) == "  "
    assert show_operations.spark([0, 0]) == "▁▁"


def test_a_plot_fits_beside_its_figures() -> None:
    name = "stage.ocr.batch.waiting"
    for width in (80, 120):
        values = [1234.5] * show_operations.points([name, "x"], width)
        found = {"since": AT, "until": AT, "step_s": 10, "series": {name: values, "x": [None]}}
        told = printed(lambda console: show_operations.print_history(found, console), width)  # noqa: B023
        assert "█" * len(values) in told
        assert "1,234" in told
    assert show_operations.points(["x"], 10) == 10
