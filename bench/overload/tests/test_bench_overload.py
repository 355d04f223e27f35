"""What the benchmark says of what it saw, and that its photos are photos, each another."""

import io
from dataclasses import replace

import pytest
from bench.overload.report import Found, figures, judged, retry_after_error
from bench.overload.shots import Shots
from bench.overload.standstill import Probe, Standstill
from bench.overload.storm import Storm
from PIL import Image

STORM = Storm(
    can_per_s=20.0,
    asked_per_s=100.0,
    idle_ms=[10.0] * 20,
    accepted_ms=[15.0] * 20,
    refused_ms=[5.0] * 99 + [80.0],
    codes={"lane_full": 100},
    high=(30, 30),
    memory_before_mb={"gateway-api": 100.0, "ocr": 200.0},
    memory_peak_mb={"gateway-api": 150.0, "ocr": 210.0},
    lost=0,
)
STILL = Standstill(
    pushed=1_500,
    accepted=1_000,
    highest=1_040,
    seen=["open", "warned", "closed", "open"],
    cause="detector is not running: 1,000 photos of lane default wait.",
    retry_after_s=[60],
    probes=[Probe(60, 15.0), Probe(12, 10.0), Probe(9, 8.0)],
    high=(7, 7, 7),
    lost=0,
)


def missed(found: Found) -> set[str]:
    return {limit.figure for limit in judged(figures(found)) if not limit.ok}


def test_what_is_as_it_must_be_misses_nothing() -> None:
    found = Found(STORM, STILL)
    assert missed(found) == set()
    values = figures(found)
    assert values["accepted_p95_over_idle"] == pytest.approx(1.5)
    assert values["memory_over_before"] == pytest.approx(1.2)
    assert values["overshoot_ratio"] == pytest.approx(1.04)


@pytest.mark.parametrize(
    ("found", "figure"),
    [
        (Found(replace(STORM, refused_ms=[120.0] * 10), STILL), "refusal_p99_ms"),
        (
            Found(replace(STORM, codes={"lane_full": 99, "internal_error": 1}), STILL),
            "refused_otherwise",
        ),
        (Found(replace(STORM, accepted_ms=[25.0] * 20), STILL), "accepted_p95_over_idle"),
        (Found(replace(STORM, lost=1), STILL), "lost"),
        (Found(replace(STORM, high=(30, 29)), STILL), "high_refused"),
        (Found(STORM, replace(STILL, high=(7, 7, 6))), "high_refused"),
        (Found(STORM, replace(STILL, lost=2)), "lost"),
        (Found(STORM, replace(STILL, highest=1_101)), "overshoot_ratio"),
        (Found(STORM, replace(STILL, cause="it is slow")), "right_cause"),
        (
            Found(STORM, replace(STILL, seen=["open", "closed", "open"])),
            "warned_then_closed_then_open",
        ),
        (Found(STORM, replace(STILL, probes=[Probe(60, 15.0)])), "retry_after_error"),
        (
            Found(replace(STORM, memory_peak_mb={"gateway-api": 400.0, "ocr": 210.0}), STILL),
            "memory_over_before",
        ),
    ],
)
def test_what_is_wrong_is_missed(found: Found, figure: str) -> None:
    assert missed(found) == {figure}


def test_an_error_within_what_can_be_known_is_none_and_a_large_one_is() -> None:
    assert retry_after_error([Probe(3, 1.5), Probe(2, 3.5)]) == 0
    assert retry_after_error([Probe(30, 10.0)]) == pytest.approx(1.8)


def test_photos_are_photos_and_each_is_another() -> None:
    one, other = Shots("one"), Shots("other")
    made = {one[number] for number in range(20)} | {other[number] for number in range(20)}
    assert len(made) == 40
    with Image.open(io.BytesIO(one[3])) as image:
        assert image.size == (640, 480)
        image.load()
