"""Pictures to test with, made in memory."""

import io
import struct
import zlib
from collections.abc import Callable
from typing import Any

import pytest
from PIL import Image, ImageDraw

Encode = Callable[..., bytes]


@pytest.fixture(scope="session")
def scene() -> Image.Image:
    """96 x 64, each corner of another colour: no turn or flip of it looks like another."""
    picture = Image.new("RGB", (96, 64), (128, 128, 128))
    draw = ImageDraw.Draw(picture)
    draw.rectangle((0, 0, 47, 31), fill=(220, 30, 30))
    draw.rectangle((48, 0, 95, 31), fill=(30, 200, 30))
    draw.rectangle((0, 32, 47, 63), fill=(30, 30, 210))
    return picture


@pytest.fixture(scope="session")
def encode() -> Encode:
    """A picture as the bytes of a file: `encode(picture, "PNG", **options of Pillow)`."""

    def encoded(picture: Image.Image, kind: str, **options: Any) -> bytes:
        file = io.BytesIO()
        picture.save(file, kind, **options)
        return file.getvalue()

    return encoded


@pytest.fixture(scope="session")
def png_claiming() -> Callable[[int, int], bytes]:
    """A PNG of some hundred bytes whose header claims any size; its data holds 3 rows of it."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        return (
            struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))
        )

    def built(width: int, height: int) -> bytes:
        header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
        rows = zlib.compress(bytes(3 * (1 + 3 * min(width, 1000))))
        return (
            b"\x89PNG\r\n\x1a\n"
            + chunk(b"IHDR", header)
            + chunk(b"IDAT", rows)
            + chunk(b"IEND", b"")
        )

    return built
