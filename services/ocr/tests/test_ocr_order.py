"""Reading order: rows, columns, and pages that lie on their side."""

import math
import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ocr.geometry import Strip
from ocr.order import direction, reading_order


def line(left: float, top: float, right: float, bottom: float) -> Strip:
    return Strip((left + right) / 2, (top + bottom) / 2, right - left, bottom - top, 0.0)


def turned(strips: list[Strip], degrees: float) -> list[Strip]:
    """The page turned clockwise around its corner."""
    angle = math.radians(degrees)
    cos, sin = math.cos(angle), math.sin(angle)
    return [
        Strip(s.x * cos - s.y * sin, s.x * sin + s.y * cos, s.length, s.height, s.angle + angle)
        for s in strips
    ]


HEADLINE = line(100, 0, 900, 40)
LEFT = [line(0, 60 + 30 * n, 380 + 20 * (n % 2), 80 + 30 * n) for n in range(5)]
RIGHT = [line(500, 64 + 30 * n, 900, 84 + 30 * n) for n in range(4)]
FOOTER = line(0, 240, 900, 260)
TWO_COLUMNS = [HEADLINE, *LEFT, *RIGHT, FOOTER]
RECEIPT = [
    entry
    for n in range(6)
    for entry in (line(0, 40 * n, 240, 40 * n + 20), line(700, 40 * n, 790, 40 * n + 20))
]
TURNS = [0, 90, 180, 270, 8, -15, 97]


def test_rows_are_read_from_top_to_bottom_and_each_from_left_to_right() -> None:
    lines = [line(60, 11, 90, 16), line(10, 30, 90, 35), line(10, 10, 40, 15)]
    assert reading_order(lines) == [2, 0, 1]


def test_close_rows_stay_apart() -> None:
    assert reading_order([line(50, 10, 90, 15), line(10, 15, 40, 20)]) == [0, 1]


def test_small_print_beside_a_headline_does_not_pull_the_next_row_up() -> None:
    lines = [line(0, 0, 50, 20), line(60, 0, 90, 3), line(60, 17, 90, 20)]
    assert reading_order(lines) == [1, 0, 2]


@pytest.mark.parametrize("degrees", TURNS)
def test_columns_are_read_one_after_the_other_between_headline_and_footer(degrees: float) -> None:
    page = turned(TWO_COLUMNS, degrees)
    mixed = random.Random(7).sample(range(len(page)), len(page))
    read = [mixed[index] for index in reading_order([page[number] for number in mixed])]
    assert read == list(range(len(page)))


@pytest.mark.parametrize("degrees", TURNS)
def test_the_prices_of_a_receipt_stay_in_the_rows_of_what_they_are_for(degrees: float) -> None:
    assert reading_order(turned(RECEIPT, degrees)) == list(range(len(RECEIPT)))


def test_three_columns_are_read_from_left_to_right() -> None:
    columns = [
        line(left, 40 * n, left + 250, 40 * n + 20) for left in (0, 300, 600) for n in range(4)
    ]
    by_rows = sorted(range(len(columns)), key=lambda index: columns[index].y)
    read = reading_order([columns[index] for index in by_rows])
    assert [by_rows[index] for index in read] == list(range(len(columns)))


def test_two_short_columns_are_rows() -> None:
    lines = [line(0, 0, 300, 20), line(400, 0, 700, 20), line(0, 40, 300, 60)]
    assert reading_order(lines) == [0, 1, 2]


def test_nothing_is_in_order_and_runs_nowhere() -> None:
    assert reading_order([]) == []
    assert direction([]) == 0.0


@pytest.mark.parametrize("degrees", TURNS)
def test_most_of_the_text_says_how_the_page_lies(degrees: float) -> None:
    page = [*turned(TWO_COLUMNS, degrees), Strip(0, 0, 90, 20, math.radians(degrees + 90))]
    found = direction(page)
    assert math.cos(found - math.radians(degrees)) == pytest.approx(1.0, abs=1e-6)


@given(
    st.lists(
        st.builds(
            Strip,
            st.floats(0, 1000),
            st.floats(0, 1000),
            st.floats(1, 900),
            st.floats(1, 90),
            st.floats(-4, 4),
        ),
        max_size=24,
    )
)
def test_every_line_is_read_once(lines: list[Strip]) -> None:
    assert sorted(reading_order(lines)) == list(range(len(lines)))
