"""Decoded pixels → upright 8-bit RGB in sRGB.

Order matters for memory: a picture is first made flat (8 bits, no alpha, no palette) and smaller,
strip by strip, and only then turned and colour-managed, so that besides the decoded picture only
small ones exist.
"""

import io
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache

from PIL import ExifTags, Image, ImageCms

TURN = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}
"""EXIF orientation → what makes the picture upright (EXIF 3.0, tag 274)."""

_FLAT = {"L", "RGB", "CMYK"}
_SIXTEEN_BIT = {"I;16", "I;16B", "I;16L", "I;16N"}
_SHRINK = Image.Resampling.HAMMING
"""From 4000 x 3000 to 2048 x 1536 in half of Lanczos' time (87 against 175 ms on one core in 2026),
with about 90 % of its local contrast, which is what bicubic keeps in 139 ms."""
_STRIP_PIXELS = 4_000_000
"""A strip takes at most some 16 MB per intermediate copy."""


def orientation_of(picture: Image.Image) -> int:
    """The turn that the pixels still need, 1 to 8; 1 for a missing or absurd tag.

    For a decoded picture, as Pillow decodes a PNG to find its EXIF block. It is 1 where the decoder
    has turned the pixels itself (TIFF, HEIC).
    """
    try:
        value = picture.getexif().get(ExifTags.Base.Orientation, 1)
    except Exception:  # noqa: BLE001  # a broken EXIF block is no reason to refuse the pixels
        return 1
    return value if isinstance(value, int) and 1 <= value <= 8 else 1


def upright_rgb(picture: Image.Image, orientation: int, longest: int | None = None) -> Image.Image:
    """Decoded `picture` as upright 8-bit sRGB, alpha on white, without any metadata.

    A picture that is all that already is given back itself, and its metadata are gone: a copy costs
    a third of what decoding does.
    `longest`: bound in pixels for the long side; a smaller picture is never enlarged, and no side
    falls below 1 pixel.
    """
    profile = picture.info.get("icc_profile")
    flat = _flat(picture, _reduction(picture.size, longest))
    if longest is not None:
        flat = _fit(flat, longest)
    if orientation in TURN:
        flat = flat.transpose(TURN[orientation])
    rgb = _to_srgb(flat, profile)
    rgb.info.clear()
    return rgb


def fitted(size: tuple[int, int], longest: int) -> tuple[int, int]:
    """`size` scaled so that its long side is at most `longest`; sides of at least 1 pixel."""
    if max(size) <= longest:
        return size
    scale = longest / max(size)
    return max(1, round(size[0] * scale)), max(1, round(size[1] * scale))


def _fit(picture: Image.Image, longest: int) -> Image.Image:
    size = fitted(picture.size, longest)
    if size == picture.size:
        return picture
    return picture.resize(size, _SHRINK)


def _reduction(size: tuple[int, int], longest: int | None) -> int:
    """By how much box averaging may shrink, leaving twice the wanted pixels to the finer filter."""
    return 1 if longest is None else max(1, max(size) // (2 * longest))


def _flat(picture: Image.Image, reduction: int) -> Image.Image:
    """The picture as L, RGB or CMYK, `reduction` times smaller."""
    flatten = _flattener(picture)
    width, height = picture.size
    if flatten is None:
        return picture.reduce(reduction) if reduction > 1 else picture
    rows = max(1, _STRIP_PIXELS // (width * reduction)) * reduction
    result: Image.Image | None = None
    for top in range(0, height, rows):
        strip = flatten(picture.crop((0, top, width, min(top + rows, height))))
        if reduction > 1:
            strip = strip.reduce(reduction)
        if result is None:
            result = Image.new(strip.mode, (strip.width, -(-height // reduction)))
        result.paste(strip, (0, top // reduction))
    return picture if result is None else result


def _flattener(picture: Image.Image) -> Callable[[Image.Image], Image.Image] | None:
    """What makes one strip of this picture flat; None if it is so already."""
    if picture.mode in _SIXTEEN_BIT:
        return _Scale(0.0, 65535.0)
    if picture.mode in {"I", "F"}:
        return _Scale.of(picture)
    if picture.has_transparency_data:
        return _on_white
    if picture.mode in _FLAT:
        return None
    if picture.mode == "LAB":
        return _lab_to_rgb
    return _plain_rgb


@dataclass(frozen=True, slots=True)
class _Scale:
    """Deep grey → L. Pillow's own conversion would clip everything above 255 to white."""

    low: float
    high: float

    @classmethod
    def of(cls, picture: Image.Image) -> "_Scale":
        """32-bit and float pictures have no nominal white: their own range is stretched."""
        low, high = picture.getextrema()
        if isinstance(low, tuple) or isinstance(high, tuple):
            return cls(0.0, 255.0)
        return cls(0.0, 255.0) if low >= 0 and high <= 255 else cls(float(low), float(high))

    def __call__(self, strip: Image.Image) -> Image.Image:
        scale = 255.0 / ((self.high - self.low) or 1.0)
        shift = 0.5 - self.low * scale  # converting to L cuts decimals off
        return strip.convert("F").point(lambda value: value * scale + shift).convert("L")


def _on_white(strip: Image.Image) -> Image.Image:
    layer = strip.convert("RGBA")
    white = Image.new("RGBA", layer.size, "white")
    return Image.alpha_composite(white, layer).convert("RGB")


def _plain_rgb(strip: Image.Image) -> Image.Image:
    return strip.convert("RGB")


def _lab_to_rgb(strip: Image.Image) -> Image.Image:
    lab = ImageCms.createProfile("LAB")
    return _converted(strip, ImageCms.ImageCmsProfile(lab)) or strip.convert("L").convert("RGB")


@cache
def _srgb() -> ImageCms.ImageCmsProfile:
    return ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB"))


def _to_srgb(flat: Image.Image, icc: object) -> Image.Image:
    profile = _profile(icc, flat.mode)
    converted = None if profile is None else _converted(flat, profile)
    return converted or (flat if flat.mode == "RGB" else flat.convert("RGB"))


def _profile(icc: object, mode: str) -> ImageCms.ImageCmsProfile | None:
    """The embedded profile, if it fits the pixels and is not sRGB anyway."""
    if not isinstance(icc, bytes) or not icc:
        return None
    try:
        profile = ImageCms.ImageCmsProfile(io.BytesIO(icc))
        space = profile.profile.xcolor_space.strip()
        srgb = "sRGB" in (profile.profile.profile_description or "")
    except (ImageCms.PyCMSError, OSError, ValueError):
        return None  # a broken profile is no reason to refuse the pixels
    return profile if not srgb and space == {"L": "GRAY"}.get(mode, mode) else None


def _converted(picture: Image.Image, profile: ImageCms.ImageCmsProfile) -> Image.Image | None:
    try:
        return ImageCms.profileToProfile(
            picture,
            profile,
            _srgb(),
            renderingIntent=ImageCms.Intent.RELATIVE_COLORIMETRIC,
            outputMode="RGB",
            flags=ImageCms.Flags.BLACKPOINTCOMPENSATION,
        )
    except ImageCms.PyCMSError:
        return None
