"""The result has the figures that are asked for, and judges them."""

import io
import json
from dataclasses import replace

import pytest
from bench.models.accuracy import Accuracy, Texts
from bench.models.people import People, Singles
from bench.models.pipeline import Imported
from bench.models.report import as_json, figures, judged, tell
from bench.models.run import Found
from bench.models.scores import Errors, Interval
from bench.models.script import Ran, Way
from bench.models.speed import Speed, Speeds
from bench.models.versus import Side, Versus
from bench.runtime.report import met
from rich.console import Console

LINES = Texts(
    Interval(0.02, 0.01, 0.03, 240),
    Interval(0.08, 0.06, 0.1, 240),
    Interval(-0.06, -0.08, -0.04, 240),
    20.0,
    80.0,
    ["3 edits"],
)
RIGHT = Accuracy(LINES, LINES, 0.8, 0.95, 90)
IMPORTED = Imported(300, 115.0, {"ocr": 640.0, "kafka": 10.0}, {"ocr": 610.0}, 80.0, 1.9)
PEOPLE = People(Singles([500.0] * 30), Singles([600.0] * 28 + [900.0] * 2), 300, 12, 25.0)
FOUND = Found(
    Speeds(
        [Speed("ocr", "rapidocr", 1, 1, True, 2.5, 400.0, 700.0, 410.0, 2.0)],
        {"detector detr": "ChildError: there is no checkpoint"},
    ),
    RIGHT,
    Versus(
        24,
        {"with text": Side(1.0, [Errors(1, 100)], 0), "without": Side(2.0, [], 3)},
        {"with text": Side(0.2, [Errors(4, 100)], 0), "without": Side(0.1, [], 9)},
    ),
    (Ran(Way(1, 2), 130.0, 240.0, {"ocr": 600.0}), Ran(Way(2, 1), 100.0, 190.0, {"ocr": 500.0})),
    IMPORTED,
    PEOPLE,
)

ASKED = (
    "text_vs_easyocr_with_text",
    "text_vs_easyocr_without",
    "text_cer",
    "easyocr_cer",
    "pipeline_seconds",
    "script_seconds",
    "pipeline_over_script",
    "single_p95_idle_ms",
    "single_p95_loaded_ms",
    "single_p95_loaded_over_idle",
)


def test_the_json_has_all_figures_that_are_asked_for() -> None:
    told = json.loads(json.dumps(as_json(FOUND, {"seed": 7}), allow_nan=False))
    assert set(ASKED) <= told.keys()
    assert told["text_vs_easyocr_with_text"] == 5.0
    assert told["text_vs_easyocr_without"] == 20.0
    assert told["script_seconds"] == 100.0
    assert told["pipeline_over_script"] == 1.15
    assert told["single_p50_loaded_over_idle"] == 1.2
    assert told["easyocr_photo_cer"] == 0.04
    assert told["speeds"]["missing"] == {"detector detr": "ChildError: there is no checkpoint"}
    assert told["seed"] == 7


def test_all_limits_hold_and_each_is_judged() -> None:
    limits = judged(figures(FOUND))
    assert [one.ok for one in limits] == [True] * len(limits)
    assert met(limits)


WORSE = replace(LINES, difference=Interval(0.001, -0.01, 0.02, 240))


@pytest.mark.parametrize(
    ("found", "missed"),
    [
        (
            replace(FOUND, accuracy=replace(RIGHT, lines=WORSE)),
            "text_cer_less_easyocr_cer",
        ),
        (
            replace(FOUND, imported=replace(IMPORTED, took_s=120.1)),
            "pipeline_over_script",
        ),
        (
            replace(FOUND, people=replace(PEOPLE, beside_document=0)),
            "singles_beside_document",
        ),
        (
            replace(FOUND, people=replace(PEOPLE, loaded=Singles([751.0] * 30))),
            "single_p50_loaded_over_idle",
        ),
    ],
)
def test_a_limit_that_is_missed_is_told(found: Found, missed: str) -> None:
    limits = judged(figures(found))
    assert [one.figure for one in limits if not one.ok] == [missed]
    assert not met(limits)


def test_parts_that_were_not_measured_have_neither_figures_nor_verdicts() -> None:
    only = Found(people=PEOPLE)
    assert "text_cer" not in figures(only)
    assert {one.figure for one in judged(figures(only)) if one.ok is not None} == {
        "single_p95_loaded_over_idle",
        "single_p50_loaded_over_idle",
        "singles_beside_document",
    }
    assert "speeds" not in as_json(only, {})


def test_the_tables_show_every_part() -> None:
    out = io.StringIO()
    tell(FOUND, Console(file=out, width=120))
    text = out.getvalue()
    for words in (
        "ocr rapidocr",
        "detector detr",
        "2.00% (1.00% to 3.00%)",
        "top-1 80%, top-5 95%",
        "script, 2 processes x 1 threads",
        "text alone for 80 s on 1.90 cores",
        "beside an import",
        "pipeline_over_script: 1.15 (at most 1.2)",
    ):
        assert words in text
