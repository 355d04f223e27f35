"""Pictures of lines, and what a photo is looked at in."""

import math
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image, ImageDraw

from ocr.contrast import plain
from ocr.cropping import cropped, cut_of, pieces
from ocr.geometry import Box, Strip
from ocr.sheet import Sheet
from stagekit import Photo

HALVES = Image.new("RGB", (400, 300), "white")
ImageDraw.Draw(HALVES).rectangle((100, 100, 199, 139), "red")
ImageDraw.Draw(HALVES).rectangle((200, 100, 299, 139), "blue")
STRIP = Strip(200, 120, 200, 40, 0.0)


def colour_at(pixels: np.ndarray, along: float) -> tuple[int, ...]:
    row = pixels[pixels.shape[0] // 2]
    return tuple(int(n) for n in row[int(along * pixels.shape[1])])


@pytest.mark.parametrize("degrees", [0, 10, -15, 45, 90, 180, 270])
def test_a_line_is_shown_upright_whatever_way_it_lies(degrees: int) -> None:
    turned = HALVES.rotate(-degrees, Image.Resampling.BICUBIC, fillcolor="white")
    angle = math.radians(degrees)
    x, y = STRIP.x - 200, STRIP.y - 150
    strip = Strip(
        200 + x * math.cos(angle) - y * math.sin(angle),
        150 + x * math.sin(angle) + y * math.cos(angle),
        STRIP.length,
        STRIP.height,
        angle,
    )
    pixels = cropped(Sheet(Photo.of(turned)), strip, 48)
    assert pixels.shape == (48, 240, 3)
    assert colour_at(pixels, 0.25) == pytest.approx((255, 0, 0), abs=8)
    assert colour_at(pixels, 0.75) == pytest.approx((0, 0, 255), abs=8)


def test_a_line_read_upside_down_begins_at_its_other_end() -> None:
    pixels = cropped(Sheet(Photo.of(HALVES)), STRIP.turned(2), 48)
    assert colour_at(pixels, 0.25) == pytest.approx((0, 0, 255), abs=8)


def test_small_letters_are_taken_from_the_original_and_large_ones_are_not() -> None:
    asked = []

    def original() -> Image.Image:
        asked.append(True)
        return HALVES

    photo = Photo(HALVES.resize((100, 75)), HALVES.size, original)
    sheet = Sheet(photo)
    cropped(sheet, Strip(200, 120, 200, 100, 0.0), 48)
    assert asked == []
    pixels = cropped(sheet, STRIP, 48)
    cropped(sheet, STRIP, 48)
    assert asked == [True]
    assert colour_at(pixels, 0.49)[0] > 200
    assert colour_at(pixels, 0.51)[2] > 200


def test_a_photo_whose_original_is_its_rendition_is_shown_enlarged() -> None:
    sheet = Sheet(Photo(HALVES, (1600, 1200), lambda: None))
    assert sheet.shown(Box(400, 400, 800, 560), 0.5, 1.0).shape == (80, 200, 3)


@pytest.mark.parametrize("box", [Box(-9, -9, -1, -1), Box(399.9, 299.9, 400, 300), Box(0, 0, 0, 0)])
def test_even_nothing_is_shown_as_a_pixel(box: Box) -> None:
    assert Sheet(Photo.of(HALVES)).shown(box, 1.0, 1.0).size >= 3


def words(count: int, letters: int) -> Image.Image:
    """Bars like letters, 8 px wide with gaps of 2 px, and gaps of 14 px between words."""
    image = Image.new("RGB", (count * (letters * 10 + 12), 48), "white")
    draw = ImageDraw.Draw(image)
    for word in range(count):
        for letter in range(letters):
            left = word * (letters * 10 + 12) + letter * 10
            draw.rectangle((left, 8, left + 7, 40), "black")
    return image


def test_a_long_line_is_cut_between_words() -> None:
    image = words(20, 5)
    strip = Strip(image.width / 2, 24, image.width, 48, 0.0)
    cut = list(pieces(Sheet(Photo.of(image)), strip, 48, 300))
    assert len(cut) > 4
    assert not any(piece.in_word for piece in cut)
    for piece in cut[:-1]:
        assert 49 <= (piece.right * image.width) % 62 <= 62


def test_a_word_longer_than_a_piece_is_cut_all_the_same() -> None:
    image = words(1, 90)
    strip = Strip(image.width / 2, 24, image.width, 48, 0.0)
    cut = list(pieces(Sheet(Photo.of(image)), strip, 48, 300))
    assert [piece.in_word for piece in cut] == [False, True, True, True]


@given(st.integers(1, 3000), st.integers(4, 60), st.integers(60, 400))
def test_pieces_follow_each_other_and_make_up_the_line(
    length: int, height: int, longest: int
) -> None:
    sheet = Sheet(Photo.of(Image.effect_noise((300, 60), 80).convert("RGB")))
    cut = list(pieces(sheet, Strip(150, 30, length, height, 0.0), 48, longest))
    assert (cut[0].left, cut[-1].right) == (0.0, 1.0)
    assert all(a.right == b.left for a, b in pairwise(cut))
    assert all(piece.pixels.shape[0] == 48 for piece in cut)
    assert max(piece.pixels.shape[1] for piece in cut) <= longest + 1


def test_a_cut_goes_through_the_widest_gap_of_the_last_quarter() -> None:
    pixels = np.zeros((48, 400, 3), np.uint8)
    pixels[::2] = 255
    pixels[:, 340:356] = 255
    pixels[:, 100:180] = 255
    assert cut_of(pixels) == (348, True)


@pytest.mark.parametrize(("fg", "bg"), [(200, 225), (120, 100)])
def test_faint_letters_are_made_plain(fg: int, bg: int) -> None:
    picture = np.full((60, 200, 3), bg, np.uint8)
    picture[20:40, 50:150:4] = fg
    levels = plain(picture)[..., 0]
    assert int(levels.max()) - int(levels.min()) >= 4.5 * abs(fg - bg)
    assert (levels[30, 50] < levels[0, 0]) == (fg < bg)


def test_a_picture_with_enough_contrast_stays_as_it_is() -> None:
    picture = np.linspace(20, 220, 3000).reshape(50, 20, 3).astype(np.uint8)
    assert plain(picture) is picture


def test_a_picture_of_one_colour_stays_of_one_colour() -> None:
    assert len(np.unique(plain(np.full((8, 8, 3), 77, np.uint8)))) == 1
