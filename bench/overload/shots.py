"""As many distinct photos as are wanted, at once: one picture, whose files differ by a comment."""

from typing import Final

from bench.imports import photos

_COMMENT: Final = b"\xff\xfe"
_SIZES: Final = 8


class Shots:
    """JPEG files by number. `series` tells those of one part of a benchmark from another's."""

    def __init__(self, series: str) -> None:
        self._series = series
        self._pictures = [photos.encoded(number) for number in range(_SIZES)]

    def __getitem__(self, number: int) -> bytes:
        picture = self._pictures[number % _SIZES]
        text = f"{self._series} {number}".encode()
        # A segment behind the start of the image (JPEG, ITU-T T.81, B.2.4.5).
        segment = _COMMENT + (len(text) + 2).to_bytes(2, "big") + text
        return picture[:2] + segment + picture[2:]
