"""Where lines are searched, by a detector that sees black bars."""

from collections.abc import Sequence
from itertools import pairwise

import cv2
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image, ImageDraw

from ocr.geometry import Box, levelled
from ocr.joining import Seen
from ocr.search import SearchPolicy, first_scale, search, tiles_of
from ocr.sheet import Pixels, Sheet
from stage_part import whole
from stagekit import Photo

POLICY = SearchPolicy(200, side=200, overlap=40, least_height=16, most_pixels=1e7)


class BarFinder:
    """Sees black bars that are at least `least` pixels high, and remembers what it was shown."""

    def __init__(self, least: float = 3.0) -> None:
        self._least = least
        self.sizes: list[tuple[int, int]] = []

    def __call__(self, picture: Pixels) -> list[Seen]:
        self.sizes.append((picture.shape[1], picture.shape[0]))
        dark = (picture.max(axis=2) < 100).astype(np.uint8)
        contours, _ = cv2.findContours(dark, cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_SIMPLE)
        found = []
        for contour in contours:
            (x, y), (width, height), degrees = cv2.minAreaRect(contour)
            strip = levelled(x, y, width + 1, height + 1, degrees)
            if min(strip.length, strip.height) >= self._least:
                found.append(Seen(strip, 0.9))
        return found


def bars(size: tuple[int, int], *boxes: tuple[int, int, int, int]) -> Image.Image:
    image = Image.new("RGB", size, "white")
    for box in boxes:
        ImageDraw.Draw(image).rectangle(box, "black")
    return image


def found(photo: Photo, find: BarFinder, policy: SearchPolicy = POLICY) -> list[Box]:
    lines: Sequence[Seen] = whole(search(Sheet(photo), find, policy))
    return sorted((line.strip.box for line in lines), key=lambda box: (box.top, box.left))


def test_a_large_photo_without_anything_is_looked_at_once_and_small() -> None:
    find = BarFinder()
    assert found(Photo.of(bars((2000, 1500))), find) == []
    assert find.sizes == [(200, 150)]


def test_a_large_line_is_not_looked_at_again() -> None:
    find = BarFinder()
    (box,) = found(Photo.of(bars((800, 600), (100, 200, 700, 279))), find)
    assert (box.left, box.top, box.right, box.bottom) == pytest.approx((100, 200, 700, 280), abs=6)
    assert len(find.sizes) == 1


def test_a_small_line_is_looked_at_closer_where_it_is_until_it_is_large() -> None:
    find = BarFinder()
    (box,) = found(Photo.of(bars((1600, 1200), (800, 600, 1000, 631))), find)
    assert (box.left, box.top, box.right, box.bottom) == pytest.approx((800, 600, 1000, 632), abs=4)
    assert find.sizes[0] == (200, 150)
    assert len(find.sizes) == 3
    assert all(width * height < 150 * 100 for width, height in find.sizes[1:])


def test_a_line_longer_than_a_tile_is_found_whole() -> None:
    (box,) = found(Photo.of(bars((1600, 400), (50, 200, 1550, 229))), BarFinder())
    assert (box.left, box.right) == pytest.approx((50, 1550), abs=6)


@pytest.mark.parametrize("size", [(20_000, 10), (10, 20_000)])
def test_a_panorama_is_looked_at_in_tiles_along_its_length(size: tuple[int, int]) -> None:
    find = BarFinder()
    spots = [
        (15_000, 2, 15_150, 7) if size[0] > size[1] else (2, 15_000, 7, 15_150),
    ]
    (box,) = found(Photo.of(bars(size, *spots)), find, SearchPolicy())
    places = (box.left, box.right) if size[0] > size[1] else (box.top, box.bottom)
    assert places == pytest.approx((15_000, 15_151), abs=4)
    assert all(max(shown) <= 704 for shown in find.sizes)


def test_lines_that_run_down_are_joined_over_tiles() -> None:
    (box,) = found(Photo.of(bars((400, 1600), (200, 50, 229, 1550))), BarFinder())
    assert (box.top, box.bottom) == pytest.approx((50, 1550), abs=6)


def test_small_print_is_looked_at_in_the_original() -> None:
    original = bars((1600, 1200), (800, 600, 1000, 611))
    rendition = original.resize((400, 300), Image.Resampling.BOX)
    (box,) = found(Photo.of(rendition, original), BarFinder(least=1.0))
    assert (box.top, box.bottom) == pytest.approx((600, 612), abs=2)


def test_no_closer_look_is_taken_that_would_cost_too_much() -> None:
    find = BarFinder()
    rows = [(50, y, 1550, y + 30) for y in range(20, 1180, 60)]
    policy = SearchPolicy(200, side=200, overlap=40, least_height=16, most_pixels=60_000)
    assert len(found(Photo.of(bars((1600, 1200), *rows)), find, policy)) == len(rows)
    assert find.sizes == [(200, 150)]


def test_a_first_look_larger_than_a_tile_is_taken_in_tiles() -> None:
    find = BarFinder()
    policy = SearchPolicy(600, side=200, overlap=40)
    (box,) = found(Photo.of(bars((1200, 900), (100, 400, 1100, 479))), find, policy)
    assert (box.left, box.right) == pytest.approx((100, 1100), abs=6)
    assert len(find.sizes) == 12
    assert max(max(size) for size in find.sizes) <= 200


def test_only_the_surest_strips_of_a_look_are_kept() -> None:
    rows = [(50, y, 750, y + 60) for y in range(20, 560, 100)]
    policy = SearchPolicy(800, side=800, most_seen=3)
    assert len(found(Photo.of(bars((800, 600), *rows)), BarFinder(), policy)) == 3


def test_other_work_may_go_first_after_each_tile() -> None:
    find = BarFinder()
    slices = search(Sheet(Photo.of(bars((1600, 200)))), find, POLICY)
    assert len(list(slices)) == len(find.sizes) > 1


@given(
    st.floats(1, 30_000),
    st.floats(1, 30_000),
    st.floats(0.01, 4),
)
def test_tiles_cover_everything_are_no_larger_than_allowed_and_overlap(
    width: float, height: float, scale: float
) -> None:
    side, overlap = 700 / scale, 96 / scale
    if width * height > 400 * side**2:
        return
    tiles = tiles_of(Box(0, 0, width, height), scale, SearchPolicy(side=700, overlap=96))
    columns = sorted({(tile.left, tile.right) for tile in tiles})
    rows = sorted({(tile.top, tile.bottom) for tile in tiles})
    for stretches, length in ((columns, width), (rows, height)):
        assert stretches[0][0] == 0
        assert stretches[-1][1] == pytest.approx(length)
        assert all(end - start <= side * 1.000001 for start, end in stretches)
        pairs = pairwise(stretches)
        assert all(a[1] - b[0] >= overlap * 0.999999 for a, b in pairs)
    assert len(tiles) == len(columns) * len(rows)


@pytest.mark.parametrize("side", [704, 960, 1600])
def test_a_photo_that_is_shown_whole_is_one_tile_whatever_its_size(side: int) -> None:
    policy = SearchPolicy(side=side, overlap=96)
    for length in range(1, 20_001):
        area = Box(0, 0, length, length * 3 // 4)
        scale = side / length
        assert tiles_of(area, scale, policy) == [area], length


def test_one_that_is_a_little_larger_is_two() -> None:
    for more in (1e-5, 1e-3, 1.0, 50.0):
        tiles = tiles_of(Box(0, 0, 704 + more, 500), 1.0, SearchPolicy(side=704, overlap=96))
        assert [tile.right for tile in tiles] == pytest.approx([704, 704 + more])


@pytest.mark.parametrize(
    ("width", "height", "scale"),
    [(150, 120, 1.0), (2000, 1000, 0.1), (20_000, 500, 0.1), (500_000, 40, 60 * 160 / 5e5)],
)
def test_long_photos_are_not_shrunk_to_nothing(width: int, height: int, scale: float) -> None:
    assert first_scale(Box(0, 0, width, height), POLICY) == pytest.approx(min(1.0, scale))
