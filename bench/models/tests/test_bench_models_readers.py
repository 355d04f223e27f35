"""EasyOCR's boxes are put in the order in which a person would read them."""

import numpy as np
from bench.models.readers import in_rows, photo_of

Corners = list[list[float]]


def box(left: float, top: float, width: float, height: float, climb: float = 0.0) -> Corners:
    right, rise = left + width, climb * width
    bottom = top + height
    return [[left, top], [right, top + rise], [right, bottom + rise], [left, bottom]]


def test_rows_go_from_top_to_bottom_and_each_from_left_to_right() -> None:
    pieces = [
        (box(300, 12, 100, 20), "right"),
        (box(10, 60, 100, 20), "below"),
        (box(10, 10, 100, 20), "left"),
    ]
    assert in_rows(pieces) == "left right\nbelow"


def test_a_row_that_climbs_is_one_row() -> None:
    slope = -0.14  # eight degrees
    pieces = [(box(x, 200 + slope * x, 150, 20, slope), f"word{x}") for x in (0, 200, 400)]
    assert in_rows(pieces[::-1]) == "word0 word200 word400"


def test_nothing_found_is_no_text() -> None:
    assert in_rows([]) == ""


def test_only_what_is_larger_than_a_rendition_has_an_original_beside_it() -> None:
    small = photo_of(np.zeros((30, 40, 3), np.uint8))
    assert small.rendition.size == small.original_size == (40, 30)
    assert small.original() is None
    large = photo_of(np.zeros((3000, 4000, 3), np.uint8))
    assert large.rendition.size == (2048, 1536)
    assert large.original_size == (4000, 3000)
