"""Pictures of two labels that nobody has taught, each of other colours, places and grain."""

from collections.abc import Callable
from typing import Final

import numpy as np
from PIL import Image, ImageDraw

Draw = Callable[[ImageDraw.ImageDraw, tuple[int, int, int, int], tuple[int, ...]], None]


def rings(draw: ImageDraw.ImageDraw, box: tuple[int, int, int, int], ink: tuple[int, ...]) -> None:
    for step in range(0, 60, 12):
        inner = (box[0] + step, box[1] + step, box[2] - step, box[3] - step)
        draw.ellipse(inner, outline=ink, width=4)


def bars(draw: ImageDraw.ImageDraw, box: tuple[int, int, int, int], ink: tuple[int, ...]) -> None:
    for x in range(box[0], box[2], 16):
        draw.rectangle((x, box[1], x + 8, box[3]), fill=ink)


DRAWN: Final[dict[str, Draw]] = {"rings": rings, "bars": bars}


def picture(label: str, number: int) -> Image.Image:
    """Of a label: each has other colours, places and grain."""
    draw = np.random.default_rng((number, sorted(DRAWN).index(label)))
    grain = draw.integers(0, 40, (240, 320, 3)) + draw.integers(0, 60, 3)
    image = Image.fromarray(grain.astype(np.uint8))
    left, top = (int(one) for one in draw.integers(5, 40, 2))
    ink = tuple(int(one) for one in draw.integers(150, 255, 3))
    DRAWN[label](ImageDraw.Draw(image), (left, top, left + 220, top + 180), ink)
    return image
