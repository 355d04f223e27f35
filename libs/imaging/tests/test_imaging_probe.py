"""What a file is, and how large it claims to be, is known before anything is decoded."""

import io
from collections.abc import Callable
from typing import Any

import pytest
from PIL import Image

from imaging import ImageRejected, Limits, RejectionCode, probe

Encode = Callable[..., bytes]


@pytest.mark.parametrize(
    ("kind", "options", "media_type"),
    [
        ("JPEG", {}, "image/jpeg"),
        ("JPEG", {"progressive": True, "comment": b"c" * 60_000}, "image/jpeg"),
        ("PNG", {}, "image/png"),
        ("WEBP", {}, "image/webp"),
        ("WEBP", {"lossless": True}, "image/webp"),
        ("WEBP", {"exif": b"Exif\x00\x00MM\x00*\x00\x00\x00\x08\x00\x00"}, "image/webp"),
        ("GIF", {}, "image/gif"),
        ("TIFF", {}, "image/tiff"),
        ("TIFF", {"big_tiff": True}, "image/tiff"),
        ("BMP", {}, "image/bmp"),
        ("AVIF", {}, "image/avif"),
    ],
)
def test_the_header_alone_tells_type_and_size(
    scene: Image.Image, encode: Encode, kind: str, options: dict[str, Any], media_type: str
) -> None:
    header = probe(encode(scene, kind, **options))
    assert (header.media_type, header.width, header.height) == (media_type, 96, 64)


def test_a_big_endian_tiff_is_read_too(scene: Image.Image) -> None:
    file = io.BytesIO()
    Image.new("I;16B", (40, 30)).save(file, "TIFF")
    assert file.getvalue()[:2] == b"MM"
    header = probe(file.getvalue())
    assert (header.media_type, header.width, header.height) == ("image/tiff", 40, 30)


@pytest.mark.parametrize(
    ("data", "code", "words"),
    [
        (b"", RejectionCode.EMPTY_FILE, "empty"),
        (b"Dear diary,\nno photo today.\n", RejectionCode.NOT_AN_IMAGE, "plain text"),
        ("Grüße aus Köln".encode(), RejectionCode.NOT_AN_IMAGE, "plain text"),
        (b"%PDF-1.7\n%\xe2\xe3", RejectionCode.NOT_AN_IMAGE, "PDF"),
        (b"PK\x03\x04\x14\x00", RejectionCode.NOT_AN_IMAGE, "ZIP"),
        (b" <!DOCTYPE html><p>404", RejectionCode.NOT_AN_IMAGE, "web page"),
        (b"\x00\x00\x00\x18ftypisom\x00\x00\x02\x00", RejectionCode.NOT_AN_IMAGE, "video"),
        (bytes(500), RejectionCode.NOT_AN_IMAGE, "zero bytes"),
        (b"\x93\x00\xfe\x81\x02", RejectionCode.NOT_AN_IMAGE, "unknown"),
        (b"8BPS\x00\x01", RejectionCode.UNSUPPORTED_TYPE, "Photoshop"),
        (b"\xff\x0a\x00", RejectionCode.UNSUPPORTED_TYPE, "JPEG XL"),
        (b"<svg xmlns=''/>", RejectionCode.UNSUPPORTED_TYPE, "SVG"),
        (b"II*\x00\x10\x00\x00\x00CR\x02\x00", RejectionCode.UNSUPPORTED_TYPE, "Canon raw"),
        (b"\xff\xd8\xff\xe0\x00\x10JFIF", RejectionCode.IMAGE_TRUNCATED, "cut off"),
        (b"\x89PNG\r\n\x1a\n\x00\x00", RejectionCode.IMAGE_TRUNCATED, "cut off"),
        (b"\xff\xd8\xff\xd9", RejectionCode.IMAGE_CORRUPT, "damaged"),
    ],
)
def test_what_is_no_picture_is_refused_with_its_own_reason(
    data: bytes, code: RejectionCode, words: str
) -> None:
    with pytest.raises(ImageRejected) as refused:
        probe(data)
    assert refused.value.code == code
    assert words in refused.value.message


def test_a_header_that_claims_900_megapixels_is_refused_in_words(
    png_claiming: Callable[[int, int], bytes],
) -> None:
    bomb = png_claiming(30_000, 30_000)
    assert len(bomb) < 1_000
    with pytest.raises(ImageRejected) as refused:
        probe(bomb)
    assert refused.value.code == RejectionCode.TOO_MANY_PIXELS
    assert "30000 × 30000 pixels (900 megapixels); the limit is 150" in refused.value.message


def test_a_picture_without_pixels_is_refused(png_claiming: Callable[[int, int], bytes]) -> None:
    with pytest.raises(ImageRejected, match="no pixels"):
        probe(png_claiming(0, 100))


def test_bytes_over_the_limit_are_refused_and_at_the_limit_accepted(
    scene: Image.Image, encode: Encode
) -> None:
    data = encode(scene, "PNG")
    assert probe(data, Limits(max_bytes=len(data))).width == 96
    with pytest.raises(ImageRejected) as refused:
        probe(data, Limits(max_bytes=len(data) - 1))
    assert refused.value.code == RejectionCode.FILE_TOO_LARGE


@pytest.mark.parametrize(
    "data",
    [
        b"\xff\xd8" + b"\xff" * 5_000_000,
        b"\x00\x00\x00\x0cftypavif" + b"\x00\x00\x00\x08free" * 600_000,
        b"II+\x00\x08\x00\x00\x00" + b"\xff" * 5_000_000,
    ],
    ids=["endless fill bytes", "endless boxes", "an offset beyond all memory"],
)
@pytest.mark.timeout(2)
def test_a_header_without_end_does_not_keep_the_reader_busy(data: bytes) -> None:
    with pytest.raises(ImageRejected):
        probe(data)


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP", "GIF", "TIFF", "BMP", "AVIF"])
def test_no_beginning_of_a_picture_raises_anything_but_a_rejection(
    scene: Image.Image, encode: Encode, kind: str
) -> None:
    data = encode(scene, kind)
    for length in range(min(len(data), 700)):
        try:
            header = probe(data[:length])
        except ImageRejected:
            continue
        assert (header.width, header.height) == (96, 64)
