"""Characters out of columns, and regions out of maps."""

import math

import numpy as np
import pytest

from ocr.ctc import decoded
from ocr.geometry import Strip
from ocr.regions import regions

CHARACTERS = ("a", "b", " ")


def columns(*classes: int, sure: float = 0.9) -> np.ndarray:
    seen = np.full((len(classes), 4), (1 - sure) / 3, np.float32)
    seen[np.arange(len(classes)), list(classes)] = sure
    return seen


def test_repeated_columns_are_one_character_and_an_empty_one_parts_two() -> None:
    line = decoded(columns(0, 1, 1, 0, 1, 2, 3, 2), CHARACTERS, 8.0)
    assert line.text == "aab b"
    assert list(line.columns) == [1, 4, 5, 7]
    assert line.confidence == pytest.approx(0.9)
    assert len(line.confidences) == len(line.text)
    assert line.width == 8.0


def test_columns_without_characters_are_no_text_at_all() -> None:
    line = decoded(columns(0, 0, 0), CHARACTERS, 3.0)
    assert (line.text, line.confidence) == ("", 0.0)


def test_a_class_of_the_padding_counts_for_nothing() -> None:
    assert decoded(columns(1, 0, 0, 0), CHARACTERS, 1.0).width == 1.0


def map_with(strip: Strip, value: float = 0.9) -> np.ndarray:
    rows, cols = np.mgrid[0:200, 0:300]
    cos, sin = math.cos(strip.angle), math.sin(strip.angle)
    along = (cols - strip.x) * cos + (rows - strip.y) * sin
    across = (rows - strip.y) * cos - (cols - strip.x) * sin
    inside = (abs(along) <= strip.length / 2) & (abs(across) <= strip.height / 2)
    return np.where(inside, value, 0.0).astype(np.float32)


@pytest.mark.parametrize("degrees", [0, 10, -20, 40])
def test_a_region_is_grown_to_the_line_around_its_core(degrees: int) -> None:
    core = Strip(150, 100, 160, 12, math.radians(degrees))
    (seen,) = regions(map_with(core))
    grown = 1.6 * 160 * 12 / (160 + 12)
    assert (seen.strip.x, seen.strip.y) == pytest.approx((150, 100), abs=2)
    assert seen.strip.length == pytest.approx(160 + grown, abs=5)
    assert seen.strip.height == pytest.approx(12 + grown, abs=5)
    assert math.degrees(seen.strip.angle) == pytest.approx(degrees, abs=1.5)
    assert seen.score > 0.7


@pytest.mark.parametrize(
    "faint", [map_with(Strip(150, 100, 80, 20, 0), 0.25), map_with(Strip(150, 100, 1, 1, 0))]
)
def test_what_is_faint_or_a_speck_is_no_region(faint: np.ndarray) -> None:
    assert regions(faint) == []


def test_a_region_may_touch_every_edge() -> None:
    (seen,) = regions(np.full((64, 96), 0.8, np.float32))
    assert seen.score == pytest.approx(0.8, abs=0.01)
