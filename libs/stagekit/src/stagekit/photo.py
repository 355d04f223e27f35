"""The photo that a stage looks at."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Self

from PIL import Image


def _no_other() -> None:
    """There is no other picture than the rendition."""


@dataclass(frozen=True, slots=True)
class Photo:
    """What intake has made of a photo, and a way back to what was handed in.

    `rendition`: upright RGB, at most 2048 px on its long side. `original_size`: width and height in
    pixels of the upright original, which may be larger. `original` fetches and decodes it: upright
    RGB in its full size, or None where the rendition is the original; raises as the store does, and
    Reject where it can't be decoded. It is slow and large (12 megapixels: 80 ms, 36 MB).
    """

    rendition: Image.Image
    original_size: tuple[int, int]
    original: Callable[[], Image.Image | None] = _no_other

    @classmethod
    def of(cls, rendition: Image.Image, original: Image.Image | None = None) -> Self:
        """A photo whose pictures are there already."""
        size = rendition.size if original is None else original.size
        return cls(rendition, size, lambda: original)
