"""Distinct JPEG files as people bring them home: crops of photographs, a third with text."""

import io
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor
from functools import partial
from pathlib import Path
from typing import Final

from bench.models import lettering, photographs
from PIL import Image

_QUALITY: Final = 88
_PROCESSES: Final = 2


def make(folder: Path, count: int, seed: tuple[int, ...], edition: int = 0) -> Sequence[Path]:
    """Write `count` files; the same seed gives the same pixels, another edition other bytes."""
    folder.mkdir(parents=True, exist_ok=True)
    with ProcessPoolExecutor(_PROCESSES) as pool:
        return list(pool.map(partial(_write, folder, seed, edition), range(count)))


def shot(number: int, seed: tuple[int, ...]) -> Image.Image:
    """Sizes take turns; every third has a sign in it, of each size as many."""
    names = tuple(photographs.FILES)
    size = photographs.SIZES[number % len(photographs.SIZES)]
    image = photographs.crop(names[number // 3 % len(names)], size, (*seed, number))
    return lettering.signed(image, (*seed, number)).image if with_text(number) else image


def with_text(number: int) -> bool:
    """Whether this one has."""
    return number % 3 == number // 3 % 3


def encoded(image: Image.Image, edition: int) -> bytes:
    """As a JPEG file; the edition stands in its comment."""
    data = io.BytesIO()
    image.save(data, "JPEG", quality=_QUALITY, comment=f"edition {edition}".encode())
    return data.getvalue()


def _write(folder: Path, seed: tuple[int, ...], edition: int, number: int) -> Path:
    path = folder / f"{number:05}.jpg"
    path.write_bytes(encoded(shot(number, seed), edition))
    return path
