"""Parts of a photo at any scale, taken from the smallest picture of it that shows enough."""

from typing import Final

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from ocr.contrast import plain
from ocr.geometry import Box
from stagekit import Photo

Pixels = NDArray[np.uint8]
"""Height x width x 3, RGB."""

_SHARP_ENOUGH: Final = 0.75
"""A picture that has to be enlarged by less than a third is as good as one that has not."""


class Sheet:
    """A photo in the pixels of its full size. Fetches the original at most once, and only if asked
    for more than the rendition shows."""

    def __init__(self, photo: Photo) -> None:
        self._photo = photo
        self.width, self.height = photo.original_size
        self._original: Image.Image | None = None
        self._asked = False

    @property
    def whole(self) -> Box:
        """All of it."""
        return Box(0.0, 0.0, float(self.width), float(self.height))

    def shown(self, box: Box, scale: float, needed: float) -> Pixels:
        """What the box shows, `scale` times as many pixels wide and high as it is, but at least 1;
        with more contrast where it has little.

        The original is fetched where the rendition has less than `needed` pixels to a pixel of the
        photo's full size. Raises what fetching raises.
        """
        picture = self._picture(needed)
        across, down = picture.width / self.width, picture.height / self.height
        size = (max(1, round(box.width * scale)), max(1, round(box.height * scale)))
        place = _inside(box, across, down, picture.size)
        smaller = size[0] < place[2] - place[0]
        how = Image.Resampling.BILINEAR if smaller else Image.Resampling.BICUBIC
        shown: Pixels = np.asarray(picture.resize(size, how, box=place, reducing_gap=3.0))
        return plain(shown)

    def _picture(self, needed: float) -> Image.Image:
        rendition = self._photo.rendition
        if min(needed, 1.0) * _SHARP_ENOUGH * max(self.width, self.height) <= max(rendition.size):
            return rendition
        if not self._asked:
            self._original, self._asked = self._photo.original(), True
        return self._original or rendition


def _inside(
    box: Box, across: float, down: float, size: tuple[int, int]
) -> tuple[float, float, float, float]:
    """The box in pixels of a picture; at least a thousandth of a pixel of it."""
    left = min(max(0.0, box.left * across), size[0] - 1e-3)
    top = min(max(0.0, box.top * down), size[1] - 1e-3)
    right = min(float(size[0]), max(left + 1e-3, box.right * across))
    bottom = min(float(size[1]), max(top + 1e-3, box.bottom * down))
    return left, top, right, bottom
