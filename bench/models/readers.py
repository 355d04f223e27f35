"""Text readers side by side: ours as the ocr calls it, and stock EasyOCR at its defaults."""

import time
import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Final

import numpy as np
from bench.models import services
from bench.models.children import Answer
from numpy.typing import NDArray
from PIL import Image

from imaging import RENDITION_SIDE
from imaging.upright import fitted
from stagekit import Photo

Pixels = NDArray[np.uint8]

STOCK: Final = "stock easyocr"


@dataclass(frozen=True, slots=True)
class Read:
    """What was read, its lines from top to bottom, and the seconds it took."""

    text: str
    seconds: float


def reader(name: str, threads: int) -> Answer:
    """Answers pixels (height, width, RGB) with Read; `name`: of an ocr engine, or STOCK. Warm."""
    read = _stock(threads) if name == STOCK else _ours(name, threads)
    warm = np.full((64, 320, 3), 255, np.uint8)
    read(warm)
    return partial(_timed, read)


def _timed(read: Callable[[Pixels], str], pixels: Pixels) -> Read:
    began = time.perf_counter()
    text = read(pixels)
    return Read(text, time.perf_counter() - began)


def _ours(name: str, threads: int) -> Callable[[Pixels], str]:
    loaded = services.load("ocr", name, threads)

    def read(pixels: Pixels) -> str:
        text: str = services.seen(loaded, photo_of(pixels))["text"]
        return text

    return read


def photo_of(pixels: Pixels) -> Photo:
    """A photo as the stage has it: beyond a rendition's size there is an original as well."""
    image = Image.fromarray(pixels)
    size = fitted(image.size, RENDITION_SIDE)
    if size == image.size:
        return Photo.of(image)
    return Photo.of(image.resize(size, Image.Resampling.LANCZOS, reducing_gap=2.0), image)


def _stock(threads: int) -> Callable[[Pixels], str]:
    """EasyOCR as its documentation begins: a Reader for English and `readtext`, no options.

    Its weights are those that it would fetch, out of a package.
    """
    import easyocr
    import torch
    from easyocr_en_models import model_dir

    warnings.simplefilter("ignore")  # how it uses torch is nothing that we could put right
    torch.set_num_threads(threads)
    found = easyocr.Reader(
        ["en"],
        gpu=False,
        model_storage_directory=model_dir(),
        download_enabled=False,
        verbose=False,
    )

    def read(pixels: Pixels) -> str:
        return in_rows([(corners, text) for corners, text, _ in found.readtext(pixels)])

    return read


Corners = Sequence[Sequence[float]]
"""x and y of each corner."""


def in_rows(pieces: Sequence[tuple[Corners, str]]) -> str:
    """Text from top to bottom, and from left to right in a row.

    EasyOCR gives boxes in no order that a text has. A box belongs to a row if its centre is less
    than half its height away from that of the box before, counted along the slope that the boxes
    have on average, so that a row which climbs is one.
    """
    slope = _slope([corners for corners, _ in pieces])
    boxes = sorted(
        (_centre(corners, 1) - slope * _centre(corners, 0), _centre(corners, 0), corners, text)
        for corners, text in pieces
    )
    rows: list[list[tuple[float, str]]] = []
    before = 0.0
    for y, x, corners, text in boxes:
        if not rows or y - before > _height(corners) / 2:
            rows.append([])
            before = y
        rows[-1].append((x, text))
    return "\n".join(" ".join(text for _, text in sorted(row)) for row in rows)


def _centre(corners: Corners, axis: int) -> float:
    return sum(corner[axis] for corner in corners) / len(corners)


def _height(corners: Corners) -> float:
    """Of the left side, which does not grow with the slope."""
    return abs(corners[3][1] - corners[0][1])


def _slope(boxes: Sequence[Corners]) -> float:
    """y by x along the upper sides, the wider the more it counts."""
    width = sum(corners[1][0] - corners[0][0] for corners in boxes)
    return sum(corners[1][1] - corners[0][1] for corners in boxes) / width if width else 0.0
