"""The stored size of the primary picture in an ISO base media file (AVIF, HEIC).

Layout: ISO/IEC 14496-12 (boxes) and 23008-12 (`ispe`, `ipma`). Only bytes are read, nothing is
decoded.
"""

import struct
from collections.abc import Iterator

_MOST_STEPS = 10_000  # a grid of 150 megapixels has some 600 tiles; a hostile file would go on


def primary_size(data: bytes) -> tuple[int, int]:
    """(width, height) in pixels before any rotation.

    Raises ValueError for a file without a readable picture, struct.error where it ends early.
    """
    meta = _find(data, 0, len(data), b"meta")
    inside = (meta[0] + 4, meta[1])
    properties = _find(data, *_find(data, *inside, b"iprp"), b"ipco")
    sizes = {
        index: struct.unpack_from(">II", data, start + 4)
        for index, (kind, start, _) in enumerate(_boxes(data, *properties), 1)
        if kind == b"ispe"
    }
    item = _primary_item(data, _find(data, *inside, b"pitm")[0])
    association = _find(data, *_find(data, *inside, b"iprp"), b"ipma")[0]
    for index in _properties_of(data, association, item):
        if index in sizes:
            width, height = sizes[index]
            return width, height
    raise ValueError("the primary picture has no size")


def _boxes(data: bytes, start: int, end: int) -> Iterator[tuple[bytes, int, int]]:
    """(type, start of content, end of content) of each box in a row."""
    for _ in range(_MOST_STEPS):
        if start + 8 > end:
            return
        size, kind = struct.unpack_from(">I4s", data, start)
        header = 8
        if size == 1:
            (size,) = struct.unpack_from(">Q", data, start + 8)
            header = 16
        elif size == 0:
            size = end - start
        if size < header:
            raise ValueError("a box is smaller than its own header")
        yield kind, start + header, min(start + size, end)
        start += size
    raise ValueError("too many boxes")


def _find(data: bytes, start: int, end: int, wanted: bytes) -> tuple[int, int]:
    for kind, inside, after in _boxes(data, start, end):
        if kind == wanted:
            return inside, after
    raise ValueError(f"no {wanted.decode()} box")


def _primary_item(data: bytes, at: int) -> int:
    wide = data[at] > 0
    return int(struct.unpack_from(">I" if wide else ">H", data, at + 4)[0])


def _properties_of(data: bytes, at: int, wanted: int) -> list[int]:
    """1-based property indices of one item, from an `ipma` box."""
    version, flags, entries = data[at], data[at + 3], struct.unpack_from(">I", data, at + 4)[0]
    at += 8
    id_format = ">I" if version > 0 else ">H"
    index_format, mask = (">H", 0x7FFF) if flags & 1 else (">B", 0x7F)
    step = struct.calcsize(index_format)
    for _ in range(min(entries, _MOST_STEPS)):
        (item,) = struct.unpack_from(id_format, data, at)
        at += struct.calcsize(id_format)
        count = data[at]
        at += 1
        if item == wanted:
            return [
                struct.unpack_from(index_format, data, at + step * i)[0] & mask
                for i in range(count)
            ]
        at += step * count
    raise ValueError("the primary picture has no properties")
