"""The members of a zip file, read as a stream: memory is bounded whatever the file says.

After PKWARE's APPNOTE.TXT 6.3.10. The standard library's zipfile would hold every entry of the
directory as an object, also those of a directory that was made to be too large.
"""

import stat
import struct
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from typing import BinaryIO, Final

from gateway.origins.files import Problem, UnreadableError
from gateway.origins.members import BrokenError, Member

_ENTRY: Final = struct.Struct("<4s2B5H3L5H2L")
_LOCAL: Final = struct.Struct("<4s5H3L2H")
_END: Final = struct.Struct("<4s4H2LH")
_END_64: Final = struct.Struct("<4sQ2H2L4Q")
_LOCATOR_64: Final = struct.Struct("<4sLQL")

_END_MARK: Final = b"PK\x05\x06"
_LONGEST_COMMENT: Final = 0xFFFF
_IN_EXTRA: Final = 0xFFFFFFFF
"""A size or place that does not fit is in the extra field 1."""

_READ: Final = 1 << 20
"""Bytes of the directory, or of packed data, that are held at once."""

_STORED: Final = 0
_DEFLATED: Final = 8
_ENCRYPTED_FLAGS: Final = 0x2001  # the data; the directory
_UNIX: Final = (3, 19)  # systems whose attributes are a file's mode; 19: macOS
_DOS_FOLDER: Final = 0x10

_ENCRYPTED: Final = Problem(
    "archive_encrypted", "It is encrypted; pack the photos without a password."
)


def zip_members(file: BinaryIO) -> Iterator[Member]:
    """The members in the order of the directory; raises BrokenError where it can't be read."""
    directory = _find_directory(file)
    for entry in _entries(file, directory):
        yield _member(file, entry, directory.shift)


@dataclass(frozen=True, slots=True)
class _Directory:
    """Where it lies, and by how much all places in it are off (bytes before the archive)."""

    start: int
    size: int
    shift: int


@dataclass(frozen=True, slots=True)
class _Entry:
    name: bytes
    system: int
    flags: int
    method: int
    crc: int
    packed: int
    size: int
    attributes: int
    place: int


def _find_directory(file: BinaryIO) -> _Directory:
    length = file.seek(0, 2)
    begin = max(0, length - _END.size - _LONGEST_COMMENT)
    tail = _read_at(file, begin, length - begin)
    at = _find_end(tail)
    fields = _END.unpack_from(tail, at)
    disk, size, start, end = fields[1], fields[5], fields[6], begin + at
    if end >= _LOCATOR_64.size:
        signature, _, place, _ = _LOCATOR_64.unpack(
            _read_at(file, end - _LOCATOR_64.size, _LOCATOR_64.size)
        )
        if signature == b"PK\x06\x07":
            disk, size, start, end = _end_64(file, place, end - _LOCATOR_64.size)
    shift = end - size - start
    if disk or shift < 0:
        raise BrokenError("it is a part of several, or its directory is damaged")
    return _Directory(start + shift, size, shift)


def _find_end(tail: bytes) -> int:
    """Where the end record is: the last one whose comment ends with the file, or before it."""
    possible: list[int] = []
    at = tail.rfind(_END_MARK)
    while at >= 0:
        if at + _END.size <= len(tail):
            end = at + _END.size + _END.unpack_from(tail, at)[7]
            if end == len(tail):
                return at
            possible += [at] if end < len(tail) else []
        at = tail.rfind(_END_MARK, 0, at)
    if not possible:
        raise BrokenError("its directory is missing, so it was cut off")
    return possible[0]


def _end_64(file: BinaryIO, place: int, locator: int) -> tuple[int, int, int, int]:
    for at in (place, locator - _END_64.size):
        if 0 <= at <= locator - _END_64.size:
            fields = _END_64.unpack(_read_at(file, at, _END_64.size))
            if fields[0] == b"PK\x06\x06":
                return fields[4], fields[8], fields[9], at
    raise BrokenError("its directory is damaged")


def _entries(file: BinaryIO, directory: _Directory) -> Iterator[_Entry]:
    buffer, offset = b"", 0
    place, end = directory.start, directory.start + directory.size
    while offset < len(buffer) or place < end:
        needed = _ENTRY.size + 3 * 0xFFFF
        if len(buffer) - offset < needed and place < end:
            # Read in large parts, so that packed data elsewhere can be read between them.
            fresh = _read_at(file, place, min(_READ, end - place))
            buffer, offset, place = buffer[offset:] + fresh, 0, place + len(fresh)
        entry, offset = _parse(buffer, offset)
        yield entry


def _parse(buffer: bytes, offset: int) -> tuple[_Entry, int]:
    if len(buffer) - offset < _ENTRY.size:
        raise BrokenError("its directory is cut off")
    fields = _ENTRY.unpack_from(buffer, offset)
    names = offset + _ENTRY.size
    extras, comment = names + fields[11], names + fields[11] + fields[12]
    end = comment + fields[13]
    if fields[0] != b"PK\x01\x02" or end > len(buffer):
        raise BrokenError("its directory is damaged")
    size, packed, place = _large(
        buffer[extras:comment], size=fields[10], packed=fields[9], place=fields[17]
    )
    entry = _Entry(
        name=buffer[names:extras].partition(b"\0")[0],
        system=fields[2],
        flags=fields[4],
        method=fields[5],
        crc=fields[8],
        packed=packed,
        size=size,
        attributes=fields[16],
        place=place,
    )
    return entry, end


def _large(extra: bytes, *, size: int, packed: int, place: int) -> tuple[int, int, int]:
    """Sizes and place, from the extra field where they don't fit."""
    values = [size, packed, place]
    while len(extra) >= 4:
        kind, length = struct.unpack_from("<2H", extra)
        body, extra = extra[4 : 4 + length], extra[4 + length :]
        if kind == 1:
            for index, value in enumerate(values):
                if value == _IN_EXTRA and len(body) >= 8:
                    values[index] = struct.unpack_from("<Q", body)[0]
                    body = body[8:]
            break
    return values[0], values[1], values[2]


def _member(file: BinaryIO, entry: _Entry, shift: int) -> Member:
    # Windows' programs write backslashes, whatever the format says.
    name = entry.name.decode("utf-8", "surrogateescape").replace("\\", "/")
    return Member(
        name=name,
        size=entry.size,
        unpack=lambda: _unpack(file, entry, shift),
        passed_over=_passed_over(name, entry),
        problem=_ENCRYPTED if entry.flags & _ENCRYPTED_FLAGS else None,
    )


def _passed_over(name: str, entry: _Entry) -> bool:
    mode = entry.attributes >> 16 if entry.system in _UNIX else 0
    special = stat.S_IFMT(mode) not in (0, stat.S_IFREG)
    return name.endswith("/") or special or bool(not entry.size and entry.attributes & _DOS_FOLDER)


def _unpack(file: BinaryIO, entry: _Entry, shift: int) -> bytes:
    """All bytes of a member, never more than the directory says."""
    place = entry.place + shift
    local = _LOCAL.unpack(_read_at(file, place, _LOCAL.size))
    if local[0] != b"PK\x03\x04":
        raise BrokenError("a file is not where the directory says")
    file.seek(place + _LOCAL.size + local[9] + local[10])
    if entry.method == _STORED and entry.packed == entry.size:
        data = file.read(entry.size)
    elif entry.method == _DEFLATED:
        data = _inflate(file, entry.packed, entry.size)
    elif entry.method == _STORED:
        raise BrokenError("a stored file has two sizes")
    else:
        message = f"It is packed by method {entry.method}; Darkroom unpacks deflated files only."
        raise UnreadableError(Problem("archive_method", message))
    if len(data) != entry.size or zlib.crc32(data) != entry.crc:
        raise BrokenError("a file's bytes are damaged")
    return data


def _inflate(file: BinaryIO, packed: int, size: int) -> bytes:
    inflating = zlib.decompressobj(-zlib.MAX_WBITS)
    data = bytearray()
    while packed and not inflating.eof and len(data) <= size:
        chunk = file.read(min(_READ, packed))
        if not chunk:
            break
        packed -= len(chunk)
        try:
            data += inflating.decompress(chunk, size + 1 - len(data))
        except zlib.error as error:
            raise BrokenError(f"a file can't be unpacked: {error}") from error
    return bytes(data)


def _read_at(file: BinaryIO, place: int, size: int) -> bytes:
    try:
        file.seek(place)
    except (OSError, OverflowError, ValueError) as error:  # no file is as large as that
        raise BrokenError("its directory is damaged") from error
    data = file.read(size)
    if len(data) != size:
        raise BrokenError("it was cut off")
    return data
