"""Reading order and parts of lines."""

import pytest

from ocr.geometry import Quad, reading_order, slice_of, turned


def box(left: float, top: float, right: float, bottom: float) -> Quad:
    return ((left, top), (right, top), (right, bottom), (left, bottom))


def test_rows_are_read_from_top_to_bottom_and_each_from_left_to_right() -> None:
    lines = [
        (box(0.6, 0.11, 0.9, 0.16), "right"),
        (box(0.1, 0.3, 0.9, 0.35), "below"),
        (box(0.1, 0.1, 0.4, 0.15), "left"),
    ]
    assert reading_order(lines) == ["left", "right", "below"]


def test_close_rows_stay_apart() -> None:
    lines = [(box(0.5, 0.1, 0.9, 0.15), "first"), (box(0.1, 0.15, 0.4, 0.2), "second")]
    assert reading_order(lines) == ["first", "second"]


def test_small_print_beside_a_headline_does_not_pull_the_next_row_up() -> None:
    lines = [
        (box(0.0, 0.0, 0.5, 0.2), "headline"),
        (box(0.6, 0.0, 0.9, 0.03), "over"),
        (box(0.6, 0.17, 0.9, 0.2), "under"),
    ]
    assert reading_order(lines) == ["over", "headline", "under"]


def test_nothing_is_in_order() -> None:
    assert reading_order([]) == []


def test_a_part_of_a_slanted_line_is_as_slanted() -> None:
    slanted = ((0.0, 0.0), (1.0, 0.5), (1.0, 0.6), (0.0, 0.1))
    found = slice_of(slanted, 0.5, 1.0)
    assert [n for point in found for n in point] == pytest.approx(
        [0.5, 0.25, 1.0, 0.5, 1.0, 0.6, 0.5, 0.35]
    )


def test_turning_by_two_quarters_begins_at_the_opposite_corner() -> None:
    quad = box(0, 0, 1, 1)
    assert turned(quad, 2)[0] == (1, 1)
    assert turned(turned(quad, 1), 3) == quad
