"""Distinct JPEG files of 640 x 480 pixels, 20 to 40 kB each, as fast as cores make them."""

import hashlib
import io
import os
from concurrent.futures import ProcessPoolExecutor
from functools import cache
from pathlib import Path
from typing import Any, Final

import numpy as np
from PIL import Image

SIZE: Final = (640, 480)
_SEED: Final = 6
_TEXTURES: Final = 8
_IN_FOLDER: Final = 1_000
_AT_ONCE: Final = 250
_QUALITY: Final = 80

Pixels = np.ndarray[Any, np.dtype[np.uint8]]


def make(folder: Path, count: int) -> dict[str, str]:
    """Write `count` photos below `folder`, a thousand in a folder; SHA-256 in hex by path.

    No two have the same pixels, and the same numbers always give the same files. Uses all cores.
    """
    starts = range(0, count, _AT_ONCE)
    with ProcessPoolExecutor(os.cpu_count()) as pool:
        made = pool.map(_make_some, [(folder, at, min(at + _AT_ONCE, count)) for at in starts])
        return {path: sha256 for some in made for path, sha256 in some.items()}


def _make_some(asked: tuple[Path, int, int]) -> dict[str, str]:
    folder, start, stop = asked
    made: dict[str, str] = {}
    for number in range(start, stop):
        path = folder / f"{number // _IN_FOLDER:04}" / f"{number:07}.jpg"
        path.parent.mkdir(parents=True, exist_ok=True)
        data = encoded(number)
        path.write_bytes(data)
        made[str(path)] = hashlib.sha256(data).hexdigest()
    return made


def encoded(number: int) -> bytes:
    """The photo with this number."""
    data = io.BytesIO()
    Image.fromarray(pixels(number)).save(data, "JPEG", quality=_QUALITY)
    return data.getvalue()


def pixels(number: int) -> Pixels:
    """A texture, moved and lit in a way that no other number has.

    The pixel at the top left says how sure the empty detector is (`engines`): all outcomes occur.
    """
    height, width = SIZE[1], SIZE[0]
    draw = np.random.default_rng((_SEED, number))
    moved = np.roll(
        _texture(number % _TEXTURES),
        (int(draw.integers(height)), int(draw.integers(width))),
        axis=(0, 1),
    )
    moved[:16, :16] = draw.integers(256)
    # The number itself, as light and dark blocks that survive the encoding.
    for bit in range(24):
        moved[:16, 24 + 16 * bit : 40 + 16 * bit] = 230 if number >> bit & 1 else 25
    return moved


@cache
def _texture(which: int) -> Pixels:
    """Soft shapes with a grain, as photographs have."""
    draw = np.random.default_rng((_SEED, 1_000_000, which))
    small = draw.integers(0, 256, (12, 16, 3), dtype=np.uint8)
    soft = np.asarray(Image.fromarray(small).resize(SIZE, Image.Resampling.BICUBIC), np.int16)
    grain = draw.normal(0, 4, soft.shape)
    return np.clip(soft + grain, 0, 255).astype(np.uint8)
