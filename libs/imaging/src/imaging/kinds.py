"""What a file is, by its first bytes; a name or a declared type is never believed."""

from imaging.errors import ImageRejected, RejectionCode

JPEG = "image/jpeg"
PNG = "image/png"
WEBP = "image/webp"
GIF = "image/gif"
TIFF = "image/tiff"
BMP = "image/bmp"
AVIF = "image/avif"
HEIC = "image/heic"

MEDIA_TYPES = (JPEG, PNG, WEBP, GIF, TIFF, BMP, AVIF, HEIC)
"""The media types that can be decoded. HEIF files with HEVC inside count as image/heic."""

SUPPORTED = "JPEG, PNG, WebP, GIF, TIFF, BMP, AVIF and HEIC can be read"

_PICTURES = (
    (b"\xff\xd8\xff", JPEG),
    (b"\x89PNG\r\n\x1a\n", PNG),
    (b"GIF87a", GIF),
    (b"GIF89a", GIF),
    (b"II*\x00", TIFF),
    (b"MM\x00*", TIFF),
    (b"II+\x00\x08\x00\x00\x00", TIFF),
    (b"MM\x00+\x00\x08\x00\x00", TIFF),
)
_OTHER_PICTURES = (
    (b"\xff\x0a", "a JPEG XL picture"),
    (b"\x00\x00\x00\x0cJXL ", "a JPEG XL picture"),
    (b"\x00\x00\x00\x0cjP  ", "a JPEG 2000 picture"),
    (b"\xff\x4f\xff\x51", "a JPEG 2000 picture"),
    (b"8BPS", "a Photoshop document"),
    (b"\x00\x00\x01\x00", "a Windows icon"),
    (b"FUJIFILMCCD-RAW", "a Fujifilm raw file"),
    (b"%!PS", "a PostScript file"),
    (b"qoif", "a QOI picture"),
)
_NOT_PICTURES = (
    (b"%PDF", "a PDF document"),
    (b"PK\x03\x04", "a ZIP archive or office document"),
    (b"\x1f\x8b", "a gzip archive"),
    (b"7z\xbc\xaf\x27\x1c", "a 7-Zip archive"),
    (b"Rar!", "a RAR archive"),
    (b"\x7fELF", "a program"),
    (b"MZ", "a program"),
    (b"ID3", "a sound file"),
    (b"OggS", "a sound file"),
    (b"fLaC", "a sound file"),
    (b"\x1aE\xdf\xa3", "a video"),
)
_AVIF_BRANDS = {b"avif", b"avis"}
_HEIC_BRANDS = {b"heic", b"heix", b"heim", b"heis", b"hevc", b"hevx", b"hevm", b"hevs"}


def media_type_of(data: bytes) -> str:
    """One of MEDIA_TYPES.

    Raises ImageRejected: the file is empty, is a picture of a type that is not read here, or is
    no picture (the message says what it seems to be).
    """
    if not data:
        raise ImageRejected(RejectionCode.EMPTY_FILE, "The file is empty (0 bytes).")
    found = _supported(data)
    if found is not None:
        return found
    other = _other_picture(data)
    if other is not None:
        raise ImageRejected(RejectionCode.UNSUPPORTED_TYPE, f"This is {other}; only {SUPPORTED}.")
    raise ImageRejected(
        RejectionCode.NOT_AN_IMAGE, f"This is not a picture, it seems to be {_seems(data)}."
    )


def _supported(data: bytes) -> str | None:
    found = _named(data, _PICTURES)
    if found is not None:
        # A Canon raw file is a TIFF whose first page is not the photo.
        return None if found == TIFF and data[8:10] == b"CR" else found
    if data.startswith(b"RIFF") and data[8:12] == b"WEBP":
        return WEBP
    if data.startswith(b"BM") and data[6:10] == b"\x00\x00\x00\x00":
        return BMP
    brands = brands_of(data)
    if brands & _AVIF_BRANDS:
        return AVIF
    return HEIC if brands & _HEIC_BRANDS else None


def _named(data: bytes, table: tuple[tuple[bytes, str], ...]) -> str | None:
    return next((name for magic, name in table if data.startswith(magic)), None)


def brands_of(data: bytes) -> set[bytes]:
    """The major and compatible brands of an ISO base media file; empty for anything else."""
    if data[4:8] != b"ftyp":
        return set()
    end = min(int.from_bytes(data[:4], "big"), 512, len(data))
    return {data[8:12], *(data[at : at + 4] for at in range(16, end - 3, 4))}


def _other_picture(data: bytes) -> str | None:
    if data.startswith(b"II*\x00") or b"crx " in brands_of(data):
        return "a Canon raw file"
    if b"<svg" in data[:1024].lower():
        return "an SVG drawing"
    return _named(data, _OTHER_PICTURES)


def _seems(data: bytes) -> str:
    start = data[:1024]
    if brands_of(data) or (data.startswith(b"RIFF") and data[8:12] == b"AVI "):
        return "a video"
    if data.startswith(b"RIFF") and data[8:12] == b"WAVE":
        return "a sound file"
    if start.lstrip().lower().startswith((b"<!doctype html", b"<html")):
        return "a web page"
    return _named(data, _NOT_PICTURES) or _shapeless(start)


def _shapeless(start: bytes) -> str:
    if _is_text(start):
        return "plain text"
    return "data of an unknown kind" if any(start) else "nothing but zero bytes"


def _is_text(start: bytes) -> bool:
    # The piece may end inside a multi-byte character, so up to three bytes are given away.
    text = start.decode("utf-8", errors="ignore")
    whole = len(start) - len(text.encode()) <= 3
    return whole and all(c.isprintable() or c in "\t\r\n\f\ufeff" for c in text)
