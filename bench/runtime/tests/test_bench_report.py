"""The result has the figures that are asked for, and judges them."""

import io
import json
import math
from dataclasses import replace

import pytest
from bench.runtime.fanout import Round
from bench.runtime.latency import Latency, Times
from bench.runtime.plan import FULL, QUICK, photos_of_round
from bench.runtime.report import Limit, as_json, figures, judged, met
from bench.runtime.results import Found, SystemRounds, Trial, WorkerRuns
from bench.runtime.single import Run
from bench.runtime.table import tell, verdict
from rich.console import Console


def rounds(*rates: float) -> SystemRounds:
    return SystemRounds(
        "a setting",
        [Round(5_000, rate, rate * 0.9, 0, {"workers": 2.0, "broker": 0.5}, 1.9) for rate in rates],
        [Trial("another setting", 50.0)],
    )


def runs(*rates: float) -> WorkerRuns:
    return WorkerRuns("a setting", [Run(rate, 0, {"worker": 30.0}, 1.2) for rate in rates])


def latency(idle: float, loaded: float) -> Latency:
    return Latency(
        Times(200, idle / 2, idle, idle + 1, 0.5), Times(200, loaded / 2, loaded, loaded, 0.5), 700
    )


FOUND = Found(
    fanout={
        "darkroom": rounds(900.0, 1000.0, 950.0),
        "celery": rounds(100.0, 110.0, 120.0),
        "dramatiq": rounds(400.0, 380.0, 390.0),
    },
    stage={"stage": runs(5000.0, 6000.0, 7000.0), "bare": runs(15000.0, 14000.0, 16000.0)},
    cpu_us_by_part={"decode": 12.5, "tracker": 0.4},
    latency={"darkroom": latency(30.0, 45.0), "celery": latency(30.0, 84.0)},
)

ASKED = (
    "fanout_photos_per_s",
    "celery_photos_per_s",
    "dramatiq_photos_per_s",
    "fanout_vs_celery",
    "stage_vs_bare",
    "high_p95_idle_ms",
    "high_p95_loaded_ms",
    "high_p95_loaded_over_idle",
    "celery_high_p95_loaded_over_idle",
)


def test_all_figures_that_are_asked_for_are_there() -> None:
    assert set(ASKED) <= figures(FOUND).keys()


def test_ratios_are_those_of_the_medians() -> None:
    values = figures(FOUND)
    assert values["fanout_vs_celery"] == pytest.approx(950 / 110)
    assert values["fanout_vs_dramatiq"] == pytest.approx(950 / 390)
    assert values["stage_vs_bare"] == pytest.approx(6000 / 15000)
    assert values["high_p95_loaded_over_idle"] == pytest.approx(1.5)
    assert values["celery_high_p95_loaded_over_idle"] == pytest.approx(2.8)


def test_what_was_not_measured_has_no_figure_and_no_verdict() -> None:
    found = Found(latency=FOUND.latency)
    assert "fanout_vs_celery" not in figures(found)
    told = {limit.figure: limit.ok for limit in judged(figures(found))}
    assert told == {
        "fanout_vs_celery": None,
        "stage_vs_bare": None,
        "high_p95_loaded_over_idle": True,
    }


def test_one_missed_limit_is_enough() -> None:
    slow = replace(FOUND, latency={"darkroom": latency(30.0, 60.1)})
    assert met(judged(figures(FOUND)))
    assert not met(judged(figures(slow)))


def test_nothing_measured_meets_nothing() -> None:
    assert not met(judged({}))


@pytest.mark.parametrize(
    ("value", "kind", "ok", "aim"),
    [
        (4.0, "least", True, False),
        (3.9, "least", False, False),
        (8.0, "least", True, True),
        (4.1, "most", False, True),
    ],
)
def test_a_limit_holds_at_its_bound(value: float, kind: str, ok: bool, aim: bool) -> None:
    limit = Limit("ratio", "least" if kind == "least" else "most", 4.0, 8.0, value)
    assert (limit.ok, limit.aim_reached) == (ok, aim)


def test_the_json_holds_figures_limits_rounds_and_spreads() -> None:
    told = json.loads(json.dumps(as_json(FOUND, {"machine": {"cores": 2}})))
    assert told["fanout_photos_per_s"] == 950.0
    assert told["limits_met"] is True
    assert {limit["figure"]: limit["ok"] for limit in told["limits"]}["stage_vs_bare"] is True
    assert [one["photos_per_s"] for one in told["fanout"]["celery"]["rounds"]] == [100, 110, 120]
    assert told["fanout"]["celery"]["trials"][0]["about"] == "another setting"
    assert told["spread"]["darkroom"] == pytest.approx(100 / 950)
    assert told["stage_cpu_us_by_part"]["decode"] == 12.5
    assert told["machine"] == {"cores": 2}


def test_the_table_tells_all_parts_and_each_limit() -> None:
    out = io.StringIO()
    tell(FOUND, judged(figures(FOUND)), Console(file=out, width=120))
    text = out.getvalue()
    for word in ("darkroom", "celery", "dramatiq", "bare", "(a)", "(b)", "(c)", "decode 12.5"):
        assert word in text
    assert "fanout_vs_celery: 8.64 (at least 4, aim 8)" in text


def test_a_missed_limit_is_said_so() -> None:
    limit = Limit("high_p95_loaded_over_idle", "most", 2.0, None, 2.5)
    assert verdict(limit) == "[red]MISSED[/]  high_p95_loaded_over_idle: 2.50 (at most 2)"


def test_a_slow_peer_has_shorter_rounds_in_the_quick_run_only() -> None:
    assert photos_of_round(QUICK, 50.0) == 2_250
    assert photos_of_round(QUICK, 10.0) == QUICK.fewest_photos
    assert photos_of_round(QUICK, 500.0) == photos_of_round(QUICK, math.inf) == QUICK.photos
    assert photos_of_round(FULL, 10.0) == FULL.photos
