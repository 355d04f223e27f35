"""Pictures with known labels that packages ship, or that are made here, and a person's own folder.

No picture of the pool shows anything of one that is unseen. A photograph is cut into two strips
with a gap between them, and a crop is of one of them; each face is another photograph, each row
of digits has others, and what is made is made anew.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from importlib.util import find_spec
from pathlib import Path
from typing import Final

import numpy as np
from numpy.typing import NDArray
from PIL import (
    Image,
    ImageDraw,
    ImageEnhance,
    ImageFilter,
    ImageFont,
    ImageOps,
    UnidentifiedImageError,
)

_SKIMAGE: Final = ("skimage", "data")
_SKLEARN: Final = ("sklearn", "datasets/images")
_MATPLOTLIB: Final = ("matplotlib", "mpl-data")

PHOTOGRAPHS: Final[Mapping[str, Sequence[tuple[str, str, str]]]] = {
    "brick": [(*_SKIMAGE, "brick.png")],
    "cat": [(*_SKIMAGE, "chelsea.png")],
    "clock": [(*_SKIMAGE, "clock_motion.png")],
    "coffee": [(*_SKIMAGE, "coffee.png")],
    "coins": [(*_SKIMAGE, "coins.png")],
    "flower": [(*_SKLEARN, "flower.jpg")],
    "grass": [(*_SKIMAGE, "grass.png")],
    "gravel": [(*_SKIMAGE, "gravel.png")],
    "motorcycle": [(*_SKIMAGE, "motorcycle_left.png")],
    "person": [
        (*_SKIMAGE, "astronaut.png"),
        (*_SKIMAGE, "camera.png"),
        (*_MATPLOTLIB, "sample_data/grace_hopper.jpg"),
    ],
    "print": [(*_SKIMAGE, "page.png"), (*_SKIMAGE, "text.png")],
    "retina": [(*_SKIMAGE, "retina.jpg")],
    "rocket": [(*_SKIMAGE, "rocket.jpg")],
    "sky": [(*_SKIMAGE, "hubble_deep_field.jpg"), (*_SKIMAGE, "moon.png")],
    "temple": [(*_SKLEARN, "china.jpg")],
    "tissue": [(*_SKIMAGE, "ihc.png"), (*_SKIMAGE, "cell.png")],
}
"""By label: package, folder in it, file."""

SIDE: Final = 320
"""Pixels of the longer side, at most: the engine looks at 224."""

_GAP: Final = 0.06
"""Of a photograph's longer side, between its strips."""
_LEAST_CROP: Final = 0.45
"""Of a strip's sides."""
_FACES: Final = 100
"""The first of the file's 200 are faces."""
_PAPER: Final = (300, 420)


@dataclass(frozen=True, slots=True)
class Picture:
    """`source`: what it is a part of, by number. `side`: of which of its strips, 0 or 1; None where
    the source has none, so that it is unseen as a whole or not at all."""

    label: str
    image: Image.Image
    source: int
    side: int | None = None


def made(each: int, seed: int) -> Iterator[Picture]:
    """`each` pictures of every label. The same seed gives the same pixels."""
    source = 0
    for number, (label, files) in enumerate(PHOTOGRAPHS.items()):
        for count in range(each):
            file, side = count % len(files), count // len(files) % 2
            image = _crop(_photograph(*files[file]), side, (seed, number, count))
            yield Picture(label, image, source + file, side)
        source += len(files)
    for number, (label, draw) in enumerate(_DISTINCT.items(), len(PHOTOGRAPHS)):
        for count in range(each):
            image = _taken(draw(count, seed), np.random.default_rng((seed, number, count)))
            yield Picture(label, image, source)
            source += 1


def of_folder(folder: Path, told: Callable[[str], None]) -> Iterator[Picture]:
    """Photos in `folder/LABEL/`, however deep; each is a source. What is no photo is told.

    Raises ValueError unless there are two labels.
    """
    labels = sorted(path for path in folder.iterdir() if path.is_dir())
    if len(labels) < 2:
        raise ValueError(f"{folder} needs a folder of photos for each of two labels or more")
    source = 0
    for label in labels:
        for file in sorted(path for path in label.rglob("*") if path.is_file()):
            try:
                with Image.open(file) as opened:
                    opened.draft("RGB", (SIDE * 2, SIDE * 2))
                    image = ImageOps.exif_transpose(opened).convert("RGB")
            except (UnidentifiedImageError, OSError, ValueError, Image.DecompressionBombError):
                told(f"{file.relative_to(folder)} is no photo that can be read")
                continue
            image.thumbnail((SIDE * 2, SIDE * 2))
            yield Picture(label.name, image, source)
            source += 1


def strip(size: tuple[int, int], side: int) -> tuple[int, int, int, int]:
    """One half of a photograph along its longer side, less half of the gap."""
    width, height = size
    first, second = round(max(size) * (0.5 - _GAP / 2)), round(max(size) * (0.5 + _GAP / 2))
    if width >= height:
        return (second, 0, width, height) if side else (0, 0, first, height)
    return (0, second, width, height) if side else (0, 0, width, first)


@cache
def _photograph(package: str, inside: str, file: str) -> Image.Image:
    with Image.open(_data(package, inside, file)) as picture:
        return picture.convert("RGB")


def _data(package: str, *inside: str) -> Path:
    spec = find_spec(package)
    if spec is None or spec.origin is None:
        raise FileNotFoundError(f"the package {package} is not installed")
    return Path(spec.origin).parent.joinpath(*inside)


def _crop(photograph: Image.Image, side: int, seed: tuple[int, ...]) -> Image.Image:
    draw = np.random.default_rng(seed)
    left, top, right, bottom = strip(photograph.size, side)
    width, height = (
        round(draw.uniform(_LEAST_CROP, 1.0) * whole) for whole in (right - left, bottom - top)
    )
    left += int(draw.integers(right - left - width + 1))
    top += int(draw.integers(bottom - top - height + 1))
    return _taken(photograph.crop((left, top, left + width, top + height)), draw)


def _taken(image: Image.Image, draw: np.random.Generator) -> Image.Image:
    """As another photo would have it: mirrored, turned a little, lighter, softer, with grain."""
    image = image.copy()
    image.thumbnail((SIDE, SIDE))
    if draw.integers(2):
        image = ImageOps.mirror(image)
    image = image.rotate(draw.uniform(-8, 8), Image.Resampling.BILINEAR, fillcolor=_mean(image))
    image = ImageEnhance.Brightness(image).enhance(draw.uniform(0.6, 1.4))
    image = ImageEnhance.Color(image).enhance(draw.uniform(0.5, 1.3))
    image = image.filter(ImageFilter.GaussianBlur(draw.uniform(0, 1.5)))
    pixels = np.asarray(image, np.float32)
    grainy = pixels + draw.normal(0, draw.uniform(0, 12), pixels.shape)
    return Image.fromarray(np.clip(grainy, 0, 255).astype(np.uint8))


def _mean(image: Image.Image) -> tuple[int, ...]:
    return tuple(int(part) for part in np.asarray(image).reshape(-1, 3).mean(axis=0))


@cache
def _faces() -> NDArray[np.uint8]:
    """100 photographs, 25 x 25 pixels in grey (of Labeled Faces in the Wild)."""
    faces = np.load(_data(*_SKIMAGE, "lfw_subset.npy"))[:_FACES]
    return np.asarray(faces * 255, np.uint8)


def _face(count: int, _seed: int) -> Image.Image:
    faces = _faces()
    face = Image.fromarray(faces[count % len(faces)]).convert("RGB")
    return face.resize((200, 200), Image.Resampling.BICUBIC)


@cache
def _digits() -> NDArray[np.uint8]:
    from sklearn.datasets import load_digits

    return np.asarray(255 - load_digits().images * 255 / 16, np.uint8)


def _handwriting(count: int, seed: int) -> Image.Image:
    """A row of digits that people wrote, 8 x 8 pixels each."""
    digits = _digits()
    draw = np.random.default_rng((seed, 1, count))
    first = count * 5 % (len(digits) - 5)
    row = Image.new("RGB", (300, 200), tuple(int(one) for one in draw.integers(225, 256, 3)))
    for place in range(int(draw.integers(2, 6))):
        one = Image.fromarray(digits[first + place]).resize((52, 64), Image.Resampling.BICUBIC)
        row.paste(one.convert("RGB"), (10 + 56 * place, int(draw.integers(20, 110))))
    return row


def _receipt(count: int, seed: int) -> Image.Image:
    """A narrow slip with goods and prices."""
    draw = np.random.default_rng((seed, 2, count))
    slip = Image.new("RGB", (int(draw.integers(180, 260)), _PAPER[1]), (250, 249, 244))
    pen, letters = ImageDraw.Draw(slip), _font("DejaVuSansMono.ttf", int(draw.integers(11, 16)))
    for row in range(int(draw.integers(8, 20))):
        goods = "".join(chr(97 + int(one)) for one in draw.integers(0, 26, draw.integers(4, 9)))
        price = f"{draw.uniform(0.5, 90):6.2f}"
        pen.text((10, 14 + 20 * row), f"{goods:<10}{price}", font=letters, fill=(40, 40, 40))
    desk = Image.new("RGB", (360, 460), tuple(int(one) for one in draw.integers(40, 200, 3)))
    desk.paste(slip, (int(draw.integers(10, 90)), int(draw.integers(5, 35))))
    return desk


def _chart(count: int, seed: int) -> Image.Image:
    """Bars or lines in colours between axes."""
    draw = np.random.default_rng((seed, 3, count))
    sheet = Image.new("RGB", (360, 260), (255, 255, 255))
    pen = ImageDraw.Draw(sheet)
    bars = bool(draw.integers(2))
    places = np.linspace(45, 330, int(draw.integers(5, 12)))
    for _ in range(1 if bars else int(draw.integers(1, 4))):
        colour = tuple(int(one) for one in draw.integers(0, 210, 3))
        heights = draw.uniform(30, 210, len(places))
        if bars:
            for place, height in zip(places, heights, strict=True):
                pen.rectangle((place - 8, 235 - height, place + 8, 235), fill=colour)
        else:
            points = [(float(x), float(235 - y)) for x, y in zip(places, heights, strict=True)]
            pen.line(points, fill=colour, width=3)
    pen.line(((30, 15), (30, 235), (345, 235)), fill=(30, 30, 30), width=2)
    letters = _font("DejaVuSans.ttf", 11)
    for number in range(5):
        pen.text((6, 228 - 50 * number), str(20 * number), font=letters, fill=(30, 30, 30))
    return sheet


@cache
def _font(file: str, size: int) -> ImageFont.FreeTypeFont:
    basic = ImageFont.Layout.BASIC  # part of Pillow; another one would depend on the machine
    return ImageFont.truetype(_data(*_MATPLOTLIB, "fonts/ttf", file), size, layout_engine=basic)


_DISTINCT: Final[Mapping[str, Callable[[int, int], Image.Image]]] = {
    "chart": _chart,
    "face": _face,
    "handwriting": _handwriting,
    "receipt": _receipt,
}
"""Each picture of these is a thing of its own."""
