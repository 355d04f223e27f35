"""Boxes and slanted strips."""

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ocr.geometry import Box, Strip, around, fractions, levelled

STRIPS = st.builds(
    Strip,
    st.floats(-500, 500),
    st.floats(-500, 500),
    st.floats(1, 400),
    st.floats(1, 40),
    st.floats(-math.pi, math.pi),
)


def numbers(strip: Strip) -> list[float]:
    return [n for corner in strip.corners for n in corner]


def test_the_corners_of_a_level_strip_go_clockwise_from_its_top_left() -> None:
    assert Strip(50, 20, 100, 40, 0).corners == ((0, 0), (100, 0), (100, 40), (0, 40))


def test_a_strip_that_is_read_downwards_begins_at_its_top_right() -> None:
    strip = Strip(20, 50, 100, 40, 0).turned(1)
    assert strip == Strip(20, 50, 40, 100, math.pi / 2)
    assert strip.corners[0] == pytest.approx((70, 30))


@given(STRIPS)
def test_four_quarter_turns_change_nothing(strip: Strip) -> None:
    assert numbers(strip.turned(4)) == pytest.approx(numbers(strip), abs=1e-6)
    assert numbers(strip.turned(1).turned(3)) == pytest.approx(numbers(strip), abs=1e-6)


@given(STRIPS, st.floats(0.01, 0.99))
def test_two_parts_of_a_strip_meet_and_make_it_up(strip: Strip, place: float) -> None:
    first, second = strip.part(0, place), strip.part(place, 1)
    assert first.corners[0] == pytest.approx(strip.corners[0], abs=1e-6)
    assert first.corners[1] == pytest.approx(second.corners[0], abs=1e-6)
    assert second.corners[2] == pytest.approx(strip.corners[2], abs=1e-6)
    assert first.length + second.length == pytest.approx(strip.length)


@given(STRIPS)
def test_all_corners_lie_in_the_box_around_a_strip(strip: Strip) -> None:
    box = strip.box
    for x, y in strip.corners:
        assert box.left <= x <= box.right
        assert box.top <= y <= box.bottom


def test_a_strip_of_a_tile_goes_to_its_place_on_the_photo() -> None:
    assert Strip(50, 20, 60, 10, 0.1).moved(1000, 200, 0.5) == Strip(1100, 240, 120, 20, 0.1)


@pytest.mark.parametrize(
    ("width", "height", "degrees", "length", "angle"),
    [(100, 10, 0, 100, 0), (10, 100, 90, 100, 0), (10, 100, 80, 100, -10), (100, 10, 20, 100, 20)],
)
def test_a_rectangle_of_opencv_is_told_along_its_side_closer_to_the_x_axis(
    width: float, height: float, degrees: float, length: float, angle: float
) -> None:
    strip = levelled(0, 0, width, height, degrees)
    assert (strip.length, math.degrees(strip.angle)) == pytest.approx((length, angle))


def test_boxes_that_share_only_an_edge_do_not_touch() -> None:
    left, right = Box(0, 0, 10, 10), Box(10, 0, 20, 10)
    assert not left.touches(right)
    assert left.grown(1).touches(right)
    assert left.within(Box(50, 50, 60, 60)).width == 0
    assert around([left, right]) == Box(0, 0, 20, 10)


def test_what_lies_outside_of_a_photo_goes_to_its_edge() -> None:
    quad = ((-5.0, 10.0), (120.0, 10.0), (120.0, 60.0), (-5.0, 60.0))
    assert fractions(quad, 100, 50) == ((0.0, 0.2), (1.0, 0.2), (1.0, 1.0), (0.0, 1.0))
