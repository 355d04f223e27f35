"""From bytes to a Pillow picture: the seam to the decoders.

Whatever a decoder raises over hostile bytes leaves this module as ImageRejected. Decoders may also
crash or eat memory, so originals are decoded in `imaging.sandbox`; only what went through it once
(a rendition) is opened in place, by `open_upright_rgb`.
"""

import io

import pi_heif
from PIL import AvifImagePlugin, Image, ImageFile

from imaging import kinds
from imaging.errors import ImageRejected, RejectionCode
from imaging.limits import LIMITS, Limits
from imaging.probe import Header, check_size, probe
from imaging.upright import orientation_of, upright_rgb

_PILLOW_FORMAT = {
    kinds.JPEG: "JPEG",
    kinds.PNG: "PNG",
    kinds.WEBP: "WEBP",
    kinds.GIF: "GIF",
    kinds.TIFF: "TIFF",
    kinds.BMP: "BMP",
    kinds.AVIF: "AVIF",
}
# Our own check, before anything is opened, has the last word. Pillow warns above its number and
# refuses above twice of it, by default within our limit; raised, it still guards against frames
# that are larger than the header says.
Image.MAX_IMAGE_PIXELS = LIMITS.max_pixels
# Each decoder thread maps a stack and an arena of address space, which is limited in the sandbox,
# and the machine's cores belong to the models.
AvifImagePlugin.DEFAULT_MAX_THREADS = 2
pi_heif.options.DECODE_THREADS = 2
# Only the primary picture is of use.
pi_heif.options.THUMBNAILS = False
pi_heif.options.DEPTH_IMAGES = False
pi_heif.options.AUX_IMAGES = False


def open_upright_rgb(
    data: bytes, *, at_least: int | None = None, limits: Limits = LIMITS
) -> Image.Image:
    """The picture upright, 8-bit RGB in sRGB, first frame, alpha on white; decoded in place.

    For renditions and other bytes that `DecodeProcess` has accepted. `at_least`: the caller needs
    no more than this many pixels on the short side; a JPEG is then decoded at 1/2, 1/4 or 1/8 of
    its size as long as both sides keep that many, which is several times faster. The size of the
    result may be anything from there to the full size. Blocks; raises ImageRejected.
    """
    header = probe(data, limits)
    picture = open_picture(data, header, limits)
    if at_least is not None:
        picture.draft(None, (at_least, at_least))
    load(picture, data, header.media_type)
    return upright_rgb(picture, orientation_of(picture))


def open_picture(data: bytes, header: Header, limits: Limits = LIMITS) -> ImageFile.ImageFile:
    """Opens the picture lazily with the one decoder for its type; nothing is decoded yet.

    Raises ImageRejected, also where the decoder finds a larger picture than the header claims.
    """
    try:
        if header.media_type == kinds.HEIC:
            picture: ImageFile.ImageFile = pi_heif.HeifImageFile(io.BytesIO(data))
        else:
            formats = [_PILLOW_FORMAT[header.media_type]]
            picture = Image.open(io.BytesIO(data), formats=formats)
    except Exception as error:  # decoders raise anything at all over hostile bytes
        raise _rejected(error, data, header.media_type) from error
    check_size(*picture.size, limits)
    return picture


def frames_of(
    picture: ImageFile.ImageFile, data: bytes, media_type: str, limits: Limits = LIMITS
) -> int:
    """Frames of an animation or pages, else 1. Raises ImageRejected for more than the limit."""
    if media_type == kinds.JPEG:
        return 1  # what else lies in a JPEG (MPO) is previews and depth maps
    try:
        frames = int(getattr(picture, "n_frames", 1))
    except Exception as error:  # as above
        raise _rejected(error, data, media_type) from error
    if frames > limits.max_frames:
        raise ImageRejected(
            RejectionCode.TOO_MANY_FRAMES,
            f"The file has {frames} frames; the limit is {limits.max_frames}.",
        )
    return frames


def load(picture: ImageFile.ImageFile, data: bytes, media_type: str) -> None:
    """Decodes the first frame. Raises ImageRejected: cut off, damaged, out of memory."""
    try:
        picture.load()
    except Exception as error:  # as above
        raise _rejected(error, data, media_type) from error


def _rejected(error: Exception, data: bytes, media_type: str) -> ImageRejected:
    text = str(error).lower()
    if isinstance(error, Image.DecompressionBombError):
        return ImageRejected(
            RejectionCode.TOO_MANY_PIXELS, "The picture holds more pixels than its header claims."
        )
    if isinstance(error, MemoryError) or "out of memory" in text or "bad_alloc" in text:
        return ImageRejected(
            RejectionCode.DECODE_OUT_OF_MEMORY, "The picture needs too much memory to be opened."
        )
    if "truncated" in text or is_cut_off(data, media_type):
        return ImageRejected(
            RejectionCode.IMAGE_TRUNCATED,
            f"The file is cut off: the picture does not end within its {len(data)} bytes.",
        )
    return ImageRejected(
        RejectionCode.IMAGE_CORRUPT, "The picture is damaged: its data cannot be decoded."
    )


def is_cut_off(data: bytes, media_type: str) -> bool:
    """Whether the end of the file is missing, by its container; tells truncated from damaged."""
    if media_type == kinds.JPEG:
        return b"\xff\xd9" not in data[-65536:]
    if media_type == kinds.PNG:
        return b"IEND" not in data[-65536:]
    if media_type == kinds.GIF:
        return b"\x3b" not in data[-1:]
    if media_type == kinds.WEBP:
        return int.from_bytes(data[4:8], "little") + 8 > len(data)
    if media_type in {kinds.AVIF, kinds.HEIC}:
        return _boxes_overrun(data)
    return False


def _boxes_overrun(data: bytes) -> bool:
    at = 0
    while at + 8 <= len(data):
        size = int.from_bytes(data[at : at + 4], "big")
        if size == 1:
            size = int.from_bytes(data[at + 8 : at + 16], "big")
        if size < 8:
            return False
        at += size
    return at != len(data)
