"""What the camera wrote beside the pixels, validated and bounded."""

import math
import warnings
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from PIL import ExifTags, Image

_LONGEST_NAME = 100
"""Characters kept of a maker's or model's name."""
_EXTENDED_XMP = b"http://ns.adobe.com/xmp/extension/\0"
"""How a JPEG's APP1 segment with a part of extended XMP begins (XMP specification, part 3)."""
_YEARS = range(1826, 2100)
"""From the first photograph on; the upper bound is fixed so that a photo's record never changes."""


@dataclass(frozen=True, slots=True)
class Metadata:
    """`taken_at`: local time of the camera, ISO 8601 without zone. Degrees: WGS 84, or null."""

    taken_at: str | None = None
    camera_make: str | None = None
    camera_model: str | None = None
    latitude: float | None = None
    longitude: float | None = None


def read_metadata(picture: Image.Image, *, keep_gps: bool = False) -> Metadata:
    """Metadata of an opened picture; the place only if `keep_gps`.

    Absurd or unreadable values become null; never raises.
    """
    tags = _tags(picture, None)
    exif = _tags(picture, ExifTags.IFD.Exif)
    place = _place(_tags(picture, ExifTags.IFD.GPSInfo)) if keep_gps else None
    return Metadata(
        taken_at=_time(exif.get(ExifTags.Base.DateTimeOriginal))
        or _time(exif.get(ExifTags.Base.DateTimeDigitized)),
        camera_make=_name(tags.get(ExifTags.Base.Make)),
        camera_model=_name(tags.get(ExifTags.Base.Model)),
        latitude=place[0] if place else None,
        longitude=place[1] if place else None,
    )


def tells_place(picture: Image.Image) -> bool:
    """Whether the file says where it was taken, in EXIF or XMP, or may say it: EXIF that can't be
    read here may well be read elsewhere."""
    xmp = picture.info.get("xmp", b"")
    packets = [xmp if isinstance(xmp, bytes) else str(xmp).encode()]
    # A JPEG may have several packets, of which Pillow names the last one.
    packets += [data for marker, data in getattr(picture, "applist", ()) if marker == "APP1"]
    return any(_xmp_may_locate(each) for each in packets) or _may_locate(picture.info.get("exif"))


def _xmp_may_locate(packet: bytes) -> bool:
    """Without the NULs, text in UTF-16 and UTF-32 reads like ASCII. Extended XMP is cut at any
    byte, and tells what had no room."""
    return packet.startswith(_EXTENDED_XMP) or b"GPSLatitude" in packet.replace(b"\0", b"")


def _may_locate(block: bytes | None) -> bool:
    """Parsed afresh: the picture's own EXIF forgets what was wrong with it once it was read."""
    exif = Image.Exif()
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("error")  # of what it passes over, Pillow only warns
            exif.load(block)  # type: ignore[arg-type] # None is an empty block
            return ExifTags.IFD.GPSInfo in exif
    except Exception:  # noqa: BLE001  # Pillow's parser raises anything over a broken block
        return True


def _tags(picture: Image.Image, ifd: int | None) -> dict[int, Any]:
    try:
        exif = picture.getexif()
        return dict(exif) if ifd is None else dict(exif.get_ifd(ifd))
    except Exception:  # noqa: BLE001  # Pillow's parser raises anything over a broken block
        return {}


def _text(value: object) -> str:
    raw = value.decode("utf-8", errors="replace") if isinstance(value, bytes) else value
    return raw if isinstance(raw, str) else ""


def _name(value: object) -> str | None:
    """Printable characters up to the first NUL, which ends a string in EXIF."""
    kept = "".join(c for c in _text(value).split("\x00")[0] if c.isprintable())
    return kept.strip()[:_LONGEST_NAME].strip() or None


def _time(value: object) -> str | None:
    try:
        taken = datetime.strptime(_text(value).strip("\x00 "), "%Y:%m:%d %H:%M:%S")
    except ValueError:
        return None
    return taken.isoformat() if taken.year in _YEARS else None


def _place(gps: dict[int, Any]) -> tuple[float, float] | None:
    latitude = _degrees(gps.get(ExifTags.GPS.GPSLatitude), 90)
    longitude = _degrees(gps.get(ExifTags.GPS.GPSLongitude), 180)
    if latitude is None or longitude is None:
        return None
    south = _text(gps.get(ExifTags.GPS.GPSLatitudeRef)).upper().startswith("S")
    west = _text(gps.get(ExifTags.GPS.GPSLongitudeRef)).upper().startswith("W")
    return (-latitude if south else latitude), (-longitude if west else longitude)


def _degrees(value: object, most: float) -> float | None:
    """Degrees, minutes and seconds as one number of at most 7 decimals (about 1 cm)."""
    if not isinstance(value, tuple) or len(value) != 3:
        return None
    try:
        degrees, minutes, seconds = (float(part) for part in value)
    except (TypeError, ValueError, ZeroDivisionError):
        return None
    total = degrees + minutes / 60 + seconds / 3600
    return round(total, 7) if math.isfinite(total) and 0 <= total <= most else None
