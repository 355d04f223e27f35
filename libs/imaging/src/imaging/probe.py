"""What a file claims to be, and whether that is within the limits, before anything is decoded."""

import struct
from dataclasses import dataclass

from imaging.errors import ImageRejected, RejectionCode
from imaging.headers import STORED_SIZE
from imaging.kinds import media_type_of
from imaging.limits import LIMITS, Limits


@dataclass(frozen=True, slots=True)
class Header:
    """Media type by content, and width x height in pixels as stored (not yet turned upright)."""

    media_type: str
    width: int
    height: int


def probe(data: bytes, limits: Limits = LIMITS) -> Header:
    """The header of a picture that may be decoded.

    Plain Python over the first bytes, no decoder: microseconds, no memory, safe in any process.
    Raises ImageRejected for an empty or too large file, an unknown or unsupported type, a header
    that cannot be read and for more pixels than `limits` allow.
    """
    check_bytes(len(data), limits)
    media_type = media_type_of(data)
    try:
        width, height = STORED_SIZE[media_type](data)
    except (struct.error, IndexError, OverflowError):
        raise ImageRejected(
            RejectionCode.IMAGE_TRUNCATED,
            f"The file is cut off: it ends inside its header, after {len(data)} bytes.",
        ) from None
    except ValueError:
        raise ImageRejected(
            RejectionCode.IMAGE_CORRUPT, "The picture is damaged: its header cannot be read."
        ) from None
    check_size(width, height, limits)
    return Header(media_type, width, height)


def check_bytes(size: int, limits: Limits = LIMITS) -> None:
    """Raises ImageRejected if a file of `size` bytes is too large; usable before reading it."""
    if size > limits.max_bytes:
        raise ImageRejected(
            RejectionCode.FILE_TOO_LARGE,
            f"The file has {_mega(size)} MB; the limit is {_mega(limits.max_bytes)} MB.",
        )


def check_size(width: int, height: int, limits: Limits = LIMITS) -> None:
    """Raises ImageRejected if a picture has no pixels or more than the limit."""
    if width <= 0 or height <= 0:
        raise ImageRejected(
            RejectionCode.IMAGE_CORRUPT, "The picture is damaged: its header says it has no pixels."
        )
    if width * height > limits.max_pixels:
        raise ImageRejected(
            RejectionCode.TOO_MANY_PIXELS,
            f"The picture claims {width} × {height} pixels ({_mega(width * height)} megapixels); "
            f"the limit is {_mega(limits.max_pixels)}.",
        )


def _mega(count: int) -> str:
    return f"{count / 1e6:.1f}".removesuffix(".0")
