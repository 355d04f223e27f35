"""From pictures to the network's input."""

from collections.abc import Sequence
from typing import Final

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from backbones.architecture import SIDE

# As the weights were trained: TensorFlow's reference for EfficientNet-Lite (MEAN_RGB, STDDEV_RGB).
_MEAN: Final = np.float32(127.0)
_DEVIATION: Final = np.float32(128.0)
_CROP: Final = SIDE / (SIDE + 32)
"""Share of the short side that the centred square crop takes; the same reference."""


def crop(image: Image.Image) -> Image.Image:
    """The centre as 224 x 224 RGB, bicubic; works for every size from 1 x 1."""
    rgb = image if image.mode == "RGB" else image.convert("RGB")
    side = min(rgb.size) * _CROP
    left, top = (rgb.width - side) / 2, (rgb.height - side) / 2
    # Cropped and scaled in one step, so a strip of 1 x 10,000 px never becomes a large picture.
    return rgb.resize(
        (SIDE, SIDE), Image.Resampling.BICUBIC, box=(left, top, left + side, top + side)
    )


def to_batch(images: Sequence[Image.Image]) -> NDArray[np.float32]:
    """(n, 3, 224, 224) float32."""
    pixels = np.stack([np.asarray(crop(image)) for image in images]).transpose(0, 3, 1, 2)
    batch = pixels.astype(np.float32, order="C")
    batch -= _MEAN
    batch /= _DEVIATION
    return batch
