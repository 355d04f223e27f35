"""Photographs that packages ship, what they show, and as many crops of them as are asked for.

Nothing is downloaded. Whose they are stands in `darkroom_cli.sample`.
"""

from collections.abc import Mapping
from functools import cache
from importlib.util import find_spec
from pathlib import Path
from typing import Final

import numpy as np
from PIL import Image, ImageEnhance, ImageOps

_SKIMAGE: Final = ("skimage", "data")
_SKLEARN: Final = ("sklearn", "datasets/images")
_MATPLOTLIB: Final = ("matplotlib", "mpl-data/sample_data")

FILES: Final[Mapping[str, tuple[str, str, str]]] = {
    "astronaut": (*_SKIMAGE, "astronaut.png"),
    "brick": (*_SKIMAGE, "brick.png"),
    "cameraman": (*_SKIMAGE, "camera.png"),
    "cat": (*_SKIMAGE, "chelsea.png"),
    "coffee": (*_SKIMAGE, "coffee.png"),
    "deep field": (*_SKIMAGE, "hubble_deep_field.jpg"),
    "flower": (*_SKLEARN, "flower.jpg"),
    "grace hopper": (*_MATPLOTLIB, "grace_hopper.jpg"),
    "gravel": (*_SKIMAGE, "gravel.png"),
    "moon": (*_SKIMAGE, "moon.png"),
    "motorcycle": (*_SKIMAGE, "motorcycle_left.png"),
    "motorcycle again": (*_SKIMAGE, "motorcycle_right.png"),
    "retina": (*_SKIMAGE, "retina.jpg"),
    "rocket": (*_SKIMAGE, "rocket.jpg"),
    "temple": (*_SKLEARN, "china.jpg"),
}
"""By a name for people: package, folder in it, file."""

LABELS: Final[Mapping[str, frozenset[str]]] = {
    "astronaut": frozenset({"space shuttle"}),
    "cameraman": frozenset({"tripod", "reflex camera"}),
    "cat": frozenset({"tabby cat", "tiger cat", "Egyptian cat"}),
    "coffee": frozenset({"espresso", "cup", "coffee mug"}),
    "grace hopper": frozenset({"military uniform"}),
    "motorcycle": frozenset({"moped", "motor scooter"}),
    "motorcycle again": frozenset({"moped", "motor scooter"}),
    "rocket": frozenset({"missile", "projectile"}),
    "temple": frozenset({"palace", "monastery", "stupa"}),
}
"""What each shows, by a person who looked at it, in words of ImageNet-1k: any of them is right.
The others show nothing that ImageNet has a word for."""

WITHOUT_TEXT: Final = (
    *("brick", "cat", "coffee", "deep field", "flower", "gravel", "moon", "retina", "rocket"),
    "temple",
)
"""Photographs on which nothing is written. On the others there are names, badges, tins."""

SIZES: Final = ((640, 480), (1024, 768), (1600, 1200))
"""Width and height in pixels of crops, taking turns."""

_LEAST_CROP: Final = 0.6
"""Share of a photograph's sides that a crop has at least."""

_LIGHT: Final = (0.7, 1.3)
"""By what a crop's brightness is multiplied."""


@cache
def photograph(name: str) -> Image.Image:
    """One of them: RGB, as large as it is. Raises FileNotFoundError if its package is away."""
    package, inside, file = FILES[name]
    spec = find_spec(package)
    if spec is None or spec.origin is None:
        raise FileNotFoundError(f"the package {package} is not installed")
    with Image.open(Path(spec.origin).parent / inside / file) as picture:
        return picture.convert("RGB")


def crop(name: str, size: tuple[int, int], seed: tuple[int, ...]) -> Image.Image:
    """A part of a photograph, scaled to `size`, perhaps mirrored, lighter or darker.

    The same seed gives the same pixels, another one other pixels.
    """
    draw = np.random.default_rng(seed)
    whole = photograph(name)
    share = draw.uniform(_LEAST_CROP, 1.0)
    scale = share * min(whole.width / size[0], whole.height / size[1])
    width, height = scale * size[0], scale * size[1]
    left = draw.uniform(0, whole.width - width)
    top = draw.uniform(0, whole.height - height)
    box = (left, top, left + width, top + height)
    part = whole.resize(size, Image.Resampling.BICUBIC, box=box)
    if draw.integers(2):
        part = ImageOps.mirror(part)
    return ImageEnhance.Brightness(part).enhance(draw.uniform(*_LIGHT))


def labelled(variants: int, seed: int) -> list[tuple[Image.Image, frozenset[str]]]:
    """Every labelled photograph as it is, and `variants` crops of each that keep 85 % and more of
    what is seen; with the labels that are right."""
    found = []
    for number, (name, right) in enumerate(LABELS.items()):
        found.append((photograph(name), right))
        found += [(_variant(name, (seed, number, one)), right) for one in range(variants)]
    return found


def _variant(name: str, seed: tuple[int, ...]) -> Image.Image:
    draw = np.random.default_rng(seed)
    whole = photograph(name)
    width, height = (round(draw.uniform(0.85, 1.0) * side) for side in whole.size)
    left = int(draw.integers(whole.width - width + 1))
    top = int(draw.integers(whole.height - height + 1))
    part = whole.crop((left, top, left + width, top + height))
    if draw.integers(2):
        part = ImageOps.mirror(part)
    return ImageEnhance.Brightness(part).enhance(draw.uniform(*_LIGHT))
