"""Stored width and height from a file's header, in plain Python.

No decoder is entered, so a hostile file can at worst be refused: this is safe in a process that
serves people. Each function takes the file's bytes and returns (width, height) in pixels as stored,
before any rotation; it raises ValueError for a broken header, struct.error or IndexError where the
bytes end inside it.
"""

import struct
from collections.abc import Callable, Mapping

from imaging import kinds
from imaging.isobmff import primary_size

Size = tuple[int, int]

_NO_LENGTH = {0x01, *range(0xD0, 0xD9)}  # JPEG markers that stand alone: TEM, RST0-7, SOI
_NOT_FRAMES = {0xC4, 0xC8, 0xCC}  # inside C0-CF, but DHT, JPG and DAC
_MOST_STEPS = 10_000  # a header is found within far fewer; a hostile one would keep us counting
_TIFF_SIZES = {256: 0, 257: 1}  # tags ImageWidth and ImageLength
_TIFF_FORMATS = {3: "H", 4: "I", 16: "Q"}  # SHORT, LONG, LONG8


def _jpeg(data: bytes) -> Size:
    at = 2
    for _ in range(_MOST_STEPS):
        if data[at] != 0xFF:
            raise ValueError("a JPEG marker is missing")
        marker = data[at + 1]
        if marker == 0xFF:
            at += 1
        elif marker in _NO_LENGTH:
            at += 2
        elif marker in range(0xC0, 0xD0) and marker not in _NOT_FRAMES:
            height, width = struct.unpack_from(">HH", data, at + 5)
            return width, height
        elif marker in {0xD9, 0xDA}:
            raise ValueError("the JPEG has no frame header")
        else:
            at += 2 + struct.unpack_from(">H", data, at + 2)[0]
    raise ValueError("the JPEG's header has no end")


def _png(data: bytes) -> Size:
    kind, width, height = struct.unpack_from(">4sII", data, 12)
    if kind != b"IHDR":
        raise ValueError("the PNG does not begin with its header")
    return width, height


def _gif(data: bytes) -> Size:
    width, height = struct.unpack_from("<HH", data, 6)
    return width, height


def _bmp(data: bytes) -> Size:
    (header,) = struct.unpack_from("<I", data, 14)
    width, height = struct.unpack_from("<HH" if header == 12 else "<ii", data, 18)
    return width, abs(height)  # a negative height says that the rows run from the top


def _webp(data: bytes) -> Size:
    kind = struct.unpack_from("4s", data, 12)[0]
    if kind == b"VP8X":
        low_w, high_w, low_h, high_h = struct.unpack_from("<HBHB", data, 24)
        return (high_w << 16 | low_w) + 1, (high_h << 16 | low_h) + 1
    if kind == b"VP8 ":
        width, height = struct.unpack_from("<HH", data, 26)
        return width & 0x3FFF, height & 0x3FFF
    if kind == b"VP8L":
        (bits,) = struct.unpack_from("<I", data, 21)
        return (bits & 0x3FFF) + 1, (bits >> 14 & 0x3FFF) + 1
    raise ValueError("the WebP does not begin with a picture")


def _tiff(data: bytes) -> Size:
    order = "<" if data[:2] == b"II" else ">"
    big = data[2:4] in {b"+\x00", b"\x00+"}
    (at,) = struct.unpack_from(f"{order}{'Q' if big else 'I'}", data, 8 if big else 4)
    (entries,) = struct.unpack_from(f"{order}{'Q' if big else 'H'}", data, at)
    at += 8 if big else 2
    size = [0, 0]
    for _ in range(min(entries, _MOST_STEPS)):
        tag, kind = struct.unpack_from(f"{order}HH", data, at)
        if tag in _TIFF_SIZES and kind in _TIFF_FORMATS:
            value = struct.unpack_from(order + _TIFF_FORMATS[kind], data, at + (12 if big else 8))
            size[_TIFF_SIZES[tag]] = value[0]
        if all(size):
            break
        at += 20 if big else 12
    return size[0], size[1]


STORED_SIZE: Mapping[str, Callable[[bytes], Size]] = {
    kinds.JPEG: _jpeg,
    kinds.PNG: _png,
    kinds.GIF: _gif,
    kinds.BMP: _bmp,
    kinds.WEBP: _webp,
    kinds.TIFF: _tiff,
    kinds.AVIF: primary_size,
    kinds.HEIC: primary_size,
}
"""Media type → reader of its header."""
