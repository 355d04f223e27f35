"""A labelled folder of crops of the photographs that come with packages.

    python tests/support/sample_crops.py FOLDER [CROPS OF EACH, 20]

It shows that calibration works from end to end. It is worth nothing as a set to calibrate on: all
crops of a label are of one photograph, so each photograph is a group of its own.
"""

import importlib.util
import random
import sys
from pathlib import Path
from typing import Final

from PIL import Image, ImageEnhance

PHOTOS: Final = {
    "tabby cat": (("skimage", "data/chelsea.png"),),
    "espresso": (("skimage", "data/coffee.png"),),
    "missile": (("skimage", "data/rocket.jpg"),),
    "analog clock": (("skimage", "data/clock_motion.png"),),
    "military uniform": (("matplotlib", "mpl-data/sample_data/grace_hopper.jpg"),),
    "palace": (("sklearn", "datasets/images/china.jpg"),),
    "none": (
        ("skimage", "data/astronaut.png"),
        ("skimage", "data/coins.png"),
        ("skimage", "data/hubble_deep_field.jpg"),
        ("skimage", "data/retina.jpg"),
        ("skimage", "data/grass.png"),
        ("skimage", "data/page.png"),
    ),
}
"""By what ImageNet-1k calls what they show: package and path in it."""

_SMALLEST: Final = 0.5
"""Of the photograph's sides."""


def write(folder: Path, crops: int) -> None:
    """`LABEL/PHOTO/N.jpg`: seeded crops, half of them mirrored, of changing brightness."""
    for label, photos in PHOTOS.items():
        for package, path in photos:
            photo = Image.open(_place(package) / path).convert("RGB")
            target = folder / label / Path(path).stem
            target.mkdir(parents=True)
            for number in range(crops):
                crop(photo, f"{path}:{number}").save(target / f"{number:03}.jpg", quality=90)


def crop(photo: Image.Image, seed: str) -> Image.Image:
    """A part of a photo; the same seed gives the same part."""
    chance = random.Random(seed)
    width, height = (round(side * chance.uniform(_SMALLEST, 1)) for side in photo.size)
    left, top = chance.randint(0, photo.width - width), chance.randint(0, photo.height - height)
    part = photo.crop((left, top, left + width, top + height))
    if chance.random() < 0.5:
        part = part.transpose(Image.Transpose.FLIP_LEFT_RIGHT)
    return ImageEnhance.Brightness(part).enhance(chance.uniform(0.6, 1.3))


def _place(package: str) -> Path:
    spec = importlib.util.find_spec(package)
    if spec is None or spec.origin is None:
        raise ModuleNotFoundError(package)
    return Path(spec.origin).parent


if __name__ == "__main__":
    write(Path(sys.argv[1]), int(sys.argv[2]) if len(sys.argv) > 2 else 20)
