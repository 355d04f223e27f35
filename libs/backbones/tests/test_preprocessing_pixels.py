"""What the network is shown, pixel by pixel, without its weights."""

import io
from collections.abc import Callable

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from backbones import preprocessing
from imaging import open_upright_rgb
from tiny_checkpoints import photograph

ORIENTATION = 0x0112


def _seen(image: Image.Image) -> NDArray[np.float32]:
    seen: NDArray[np.float32] = preprocessing.to_batch([image])[0]
    return seen


def _levels(image: Image.Image) -> NDArray[np.float32]:
    """What is seen, as levels of 0 to 255, rows and columns first."""
    return _seen(image).transpose(1, 2, 0) * 128 + 127


def test_a_level_becomes_its_distance_from_127_in_parts_of_128() -> None:
    seen = _seen(Image.new("RGB", (300, 200), (255, 127, 0)))
    assert seen.shape == (3, 224, 224)
    assert seen.dtype == np.float32
    assert [float(plane.min()) for plane in seen] == [1.0, 0.0, -127 / 128]
    assert [float(plane.max()) for plane in seen] == [1.0, 0.0, -127 / 128]


def test_a_picture_of_256_pixels_is_cut_to_its_centre_unchanged() -> None:
    image = photograph(256, 256)
    np.testing.assert_array_equal(_levels(image), np.asarray(image)[16:240, 16:240])


def test_of_a_wide_picture_the_middle_is_seen() -> None:
    image = photograph(512, 256)
    np.testing.assert_array_equal(_levels(image), np.asarray(image)[16:240, 144:368])


def test_a_mirrored_picture_is_seen_mirrored() -> None:
    image = photograph(512, 256)
    mirrored = image.transpose(Image.Transpose.FLIP_LEFT_RIGHT)
    np.testing.assert_array_equal(_seen(mirrored), _seen(image)[:, :, ::-1])


TURNS: dict[int, Callable[[Image.Image], Image.Image]] = {
    1: lambda image: image,
    2: lambda image: image.transpose(Image.Transpose.FLIP_LEFT_RIGHT),
    3: lambda image: image.transpose(Image.Transpose.ROTATE_180),
    4: lambda image: image.transpose(Image.Transpose.FLIP_TOP_BOTTOM),
    5: lambda image: image.transpose(Image.Transpose.TRANSPOSE),
    6: lambda image: image.transpose(Image.Transpose.ROTATE_90),
    7: lambda image: image.transpose(Image.Transpose.TRANSVERSE),
    8: lambda image: image.transpose(Image.Transpose.ROTATE_270),
}
"""How a camera that writes this orientation holds an upright picture."""


@pytest.mark.parametrize("orientation", TURNS)
def test_a_photo_is_seen_upright_however_the_camera_was_held(orientation: int) -> None:
    upright = photograph(512, 256)
    stored, exif = io.BytesIO(), Image.Exif()
    exif[ORIENTATION] = orientation
    TURNS[orientation](upright).save(stored, "PNG", exif=exif)
    np.testing.assert_array_equal(_seen(open_upright_rgb(stored.getvalue())), _seen(upright))


@pytest.mark.parametrize("mode", ["L", "1", "LA", "I;16"])
def test_grey_is_seen_as_three_equal_planes(mode: str) -> None:
    grey = photograph(256, 256).convert("L")
    if mode == "I;16":
        grey = Image.fromarray(np.asarray(grey).astype(np.uint16) * 257)
    stored = io.BytesIO()
    (grey if mode == "I;16" else grey.convert(mode)).save(stored, "PNG")
    seen = _seen(open_upright_rgb(stored.getvalue()))
    np.testing.assert_array_equal(seen[0], seen[1])
    np.testing.assert_array_equal(seen[0], seen[2])
    if mode != "1":
        np.testing.assert_allclose(
            (seen[0] * 128 + 127), np.asarray(photograph(256, 256).convert("L"))[16:240, 16:240],
            atol=1,
        )  # fmt: skip


def test_what_is_opaque_is_seen_as_without_its_alpha() -> None:
    image, stored = photograph(256, 256), io.BytesIO()
    image.convert("RGBA").save(stored, "PNG")
    np.testing.assert_array_equal(_seen(open_upright_rgb(stored.getvalue())), _seen(image))


def test_inks_are_seen_as_the_colours_that_pillow_makes_of_them() -> None:
    inks = photograph(256, 256).convert("CMYK")
    np.testing.assert_array_equal(_seen(inks), _seen(inks.convert("RGB")))


@pytest.mark.parametrize("size", [(1, 1), (1, 10_000), (10_000, 1), (2, 3), (223, 225)])
def test_a_flat_picture_of_any_shape_is_seen_flat(size: tuple[int, int]) -> None:
    levels = _levels(Image.new("RGB", size, (200, 100, 50)))
    np.testing.assert_array_equal(levels, np.broadcast_to([200, 100, 50], levels.shape))


def test_pictures_stay_in_their_order() -> None:
    images = [photograph(60, 40, seed=seed) for seed in range(3)]
    batch = preprocessing.to_batch(images)
    assert batch.flags.c_contiguous
    for row, image in zip(batch, images, strict=True):
        np.testing.assert_array_equal(row, _seen(image))
