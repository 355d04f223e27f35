"""Pieces of lines made whole."""

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ocr.geometry import Strip
from ocr.joining import Seen, distinct, joined


def seen(left: float, right: float, y: float = 50, height: float = 20) -> Seen:
    return Seen(Strip((left + right) / 2, y, right - left, height, 0.0), 0.8)


def slanted(piece: Seen, degrees: float) -> Seen:
    s, angle = piece.strip, math.radians(degrees)
    x = s.x * math.cos(angle) - s.y * math.sin(angle)
    y = s.x * math.sin(angle) + s.y * math.cos(angle)
    return Seen(Strip(x, y, s.length, s.height, s.angle + angle), piece.score)


def test_pieces_that_overlap_are_one_line_from_end_to_end() -> None:
    (line,) = joined([seen(0, 640), seen(544, 1184, y=51), seen(1100, 1500)], 0.0)
    box = line.strip.box
    assert (box.left, box.right) == pytest.approx((0, 1500), abs=1)


def test_words_are_one_line_if_they_are_close_enough() -> None:
    words = [seen(0, 60), seen(72, 200), seen(300, 380)]
    assert len(joined(words, 0.0)) == 3
    assert sorted(round(line.strip.length) for line in joined(words, 0.7)) == [80, 200]


def test_rows_one_below_the_other_stay_apart() -> None:
    assert len(joined([seen(0, 300, y=50), seen(0, 300, y=72)], 1.0)) == 2


def test_a_headline_does_not_swallow_small_print_beside_it() -> None:
    assert len(joined([seen(0, 300, height=60), seen(290, 500, height=12)], 1.0)) == 2


@given(
    st.integers(2, 40),
    st.integers(300, 700),
    st.floats(0.1, 0.5),
    st.floats(-15, 15),
    st.randoms(use_true_random=False),
)
def test_a_line_cut_into_tiles_is_made_whole_whatever_its_slope(
    count: int, side: int, overlap: float, degrees: float, chance: st.DataObject
) -> None:
    step = side * (1 - overlap)
    pieces = [slanted(seen(n * step, n * step + side), degrees) for n in range(count)]
    chance.shuffle(pieces)  # type: ignore[attr-defined]
    (line,) = joined(pieces, 0.0)
    assert line.strip.length == pytest.approx((count - 1) * step + side, rel=0.01)
    assert math.degrees(line.strip.angle) == pytest.approx(degrees, abs=0.5)
    assert line.strip.height < 24


def test_a_line_that_two_looks_found_is_kept_once() -> None:
    kept = distinct([seen(0, 300), seen(10, 290, y=52, height=16), seen(100, 180)])
    assert [line.strip.length for line in kept] == [300]


def test_a_block_that_turns_out_to_be_several_lines_is_dropped_for_them() -> None:
    rows = [seen(0, 300, y=20), seen(0, 280, y=50), seen(0, 300, y=80)]
    block = Seen(Strip(150, 50, 320, 110, 0.0), 0.6)
    assert sorted(line.strip.y for line in distinct([block, *rows])) == [20, 50, 80]


def test_words_of_one_line_do_not_make_it_several() -> None:
    assert len(distinct([seen(0, 300), seen(0, 100), seen(120, 300)])) == 1


def test_a_line_on_its_side_covers_itself() -> None:
    upright = Seen(Strip(100, 300, 40, 500, 0.0), 0.8)
    lying = Seen(upright.strip.turned(1), 0.8)
    assert len(distinct([upright, lying])) == 1
