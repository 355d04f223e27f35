"""An original's bytes → what the rest of the system works on. Runs inside the decode process."""

import io
from dataclasses import dataclass

from PIL import Image, ImageFile

from imaging import kinds
from imaging.decode import frames_of, load, open_picture
from imaging.limits import LIMITS, Limits
from imaging.metadata import Metadata, read_metadata, tells_place
from imaging.probe import probe
from imaging.upright import fitted, orientation_of, upright_rgb

RENDITION_SIDE = 2048
"""Pixels on a rendition's long side, at most."""
THUMBNAIL_SIDE = 320
"""Pixels on a thumbnail's long side, at most."""
RENDITION_TYPE = THUMBNAIL_TYPE = "image/jpeg"

_RENDITION_QUALITY = 90
_THUMBNAIL_QUALITY = 80
_THUMBNAIL_FILTER = Image.Resampling.HAMMING
_THUMBNAIL_GAP = 1.0
"""Averages of whole numbers of pixels, and a fast filter for the rest of the way: a tenth of what
Lanczos takes, which for a small photo is more than its decoding. At this size nobody sees it."""
_OWN_RENDITION_BYTES = 8_000_000
"""More than any sane JPEG of 2048 x 2048 has; a larger file carries something else along."""
_TURNS_ASIDE = {5, 6, 7, 8}
"""Orientations that exchange width and height."""


@dataclass(frozen=True, slots=True)
class Prepared:
    """A photo that was decoded once in full.

    `width` x `height`: pixels of the upright original. `orientation`: 1 to 8, as the file said.
    `frames`: of an animation or of pages, else 1. `rendition`: JPEG bytes, or None where the
    original is its own rendition. `thumbnail`: JPEG bytes.
    """

    media_type: str
    width: int
    height: int
    orientation: int
    frames: int
    rendition: bytes | None
    rendition_width: int
    rendition_height: int
    thumbnail: bytes
    metadata: Metadata


def prepare(data: bytes, limits: Limits = LIMITS, *, keep_gps: bool = False) -> Prepared:
    """Checks, decodes and renders a photo in this process. Raises ImageRejected.

    Hostile bytes may crash or stop the process: call `DecodeProcess.prepare` instead wherever the
    process matters.
    """
    header = probe(data, limits)
    picture = open_picture(data, header, limits)
    frames = frames_of(picture, data, header.media_type, limits)
    full = picture.size
    # Pillow turns a TIFF while it decodes and then forgets the tag. Elsewhere EXIF is read after
    # decoding: for a PNG, reading it decodes, and would hide what that raises.
    turned = orientation_of(picture) if header.media_type == kinds.TIFF else None
    drafted = picture.draft(None, fitted(full, RENDITION_SIDE)) is not None
    load(picture, data, header.media_type)
    pending = orientation_of(picture)
    size = full if drafted else picture.size
    own = pending == 1 and _is_rendition(picture, size, len(data))
    metadata = read_metadata(picture, keep_gps=keep_gps)
    upright = upright_rgb(picture, pending, RENDITION_SIDE)
    width, height = size[::-1] if pending in _TURNS_ASIDE else size
    return Prepared(
        media_type=header.media_type,
        width=width,
        height=height,
        orientation=turned or pending,
        frames=frames,
        rendition=None if own else _jpeg(upright, _RENDITION_QUALITY),
        rendition_width=upright.width,
        rendition_height=upright.height,
        thumbnail=_jpeg(_thumbnail(upright), _THUMBNAIL_QUALITY),
        metadata=metadata,
    )


def _is_rendition(picture: ImageFile.ImageFile, size: tuple[int, int], file_size: int) -> bool:
    """Whether an upright original can stand for its rendition: it must not tell its place."""
    return (
        picture.format == "JPEG"
        and picture.mode in {"L", "RGB"}
        and max(size) <= RENDITION_SIDE
        and file_size <= _OWN_RENDITION_BYTES
        and not tells_place(picture)
    )


def _thumbnail(upright: Image.Image) -> Image.Image:
    size = fitted(upright.size, THUMBNAIL_SIDE)
    return upright.resize(size, _THUMBNAIL_FILTER, reducing_gap=_THUMBNAIL_GAP)


def _jpeg(picture: Image.Image, quality: int) -> bytes:
    file = io.BytesIO()
    picture.save(file, "JPEG", quality=quality)
    return file.getvalue()
