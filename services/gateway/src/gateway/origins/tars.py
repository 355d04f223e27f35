"""The members of a tar file, plain or compressed, read once from begin to end.

The standard library reads the headers, from a file that gives it no more than headers need: its
own memory grows with what a header says.
"""

import bz2
import gzip
import io
import lzma
import tarfile
import zlib
from collections.abc import Iterator
from typing import Any, BinaryIO, Final, cast

from gateway.origins.files import Problem
from gateway.origins.members import BrokenError, Member

_HEADER_BYTES: Final = 1 << 20
"""Of all headers of one member together: long names, attributes, maps of sparse files."""

_BLOCK: Final = 512

_XZ_MEMORY: Final = 256 << 20
"""A stream says itself how much its decoder needs; `xz -9` 65 MiB."""

_PACKED_READ: Final = 256 << 10

_LINK: Final = Problem("not_a_file", "It is a second name of another file in the archive.")
_SPARSE: Final = Problem("archive_method", "It is packed as a sparse file; pack it whole.")

_BROKEN: Final = (
    *(tarfile.TarError, EOFError, zlib.error, lzma.LZMAError),
    *(ValueError, OverflowError, RecursionError),  # from headers made to be wrong
)


def tar_members(file: BinaryIO) -> Iterator[Member]:
    """The members in their order; `file` is the tar itself, unpacked, and is never sought back.

    Raises BrokenError where it can't be read on, also where the end was not written.
    """
    headers = _Headers(file)
    try:
        tar: Any = tarfile.TarFile(fileobj=cast("Any", headers), encoding="utf-8")
        while (info := tar.next()) is not None:
            yield _member(file, info)
            tar.members = []  # it remembers all
            headers.begin()
    except _BROKEN as error:
        raise BrokenError(f"it is damaged or cut off: {error}") from error
    if headers.last != bytes(_BLOCK):
        raise BrokenError("it is damaged or cut off")


class _Headers:
    """A tar for tarfile: forwards only, and a bounded number of bytes per member."""

    def __init__(self, file: BinaryIO) -> None:
        self._file = file
        self._left = _HEADER_BYTES
        self.last = b""
        """What was read last; at a proper end a block of zeros."""

    def begin(self) -> None:
        """The next member's headers."""
        self._left = _HEADER_BYTES

    def read(self, size: int) -> bytes:
        if not 0 <= size <= self._left:
            raise BrokenError("a file's header is larger than any name needs")
        self._left -= size
        self.last = self._file.read(size)
        return self.last

    def seek(self, place: int) -> int:
        if place < self._file.tell():
            raise BrokenError("a file has an impossible size")
        return self._file.seek(place)

    def tell(self) -> int:
        return self._file.tell()


def _member(file: BinaryIO, info: tarfile.TarInfo) -> Member:
    problem = _LINK if info.islnk() else _SPARSE if info.issparse() else None
    return Member(
        name=info.name,
        size=max(0, info.size),
        unpack=lambda: _read(file, info),
        passed_over=not info.isreg() and not info.islnk(),
        problem=problem,
    )


def _read(file: BinaryIO, info: tarfile.TarInfo) -> bytes:
    try:
        file.seek(info.offset_data)
        data = file.read(info.size)
    except _BROKEN as error:
        raise BrokenError(str(error)) from error
    if len(data) != info.size:
        raise BrokenError("it was cut off")
    return data


def gunzip(file: BinaryIO) -> BinaryIO:
    """A gzip file, unpacked while it is read."""
    return cast("BinaryIO", gzip.GzipFile(fileobj=file, mode="rb"))


def bunzip(file: BinaryIO) -> BinaryIO:
    """A bzip2 file, unpacked while it is read."""
    return cast("BinaryIO", bz2.BZ2File(file))


def unxz(file: BinaryIO) -> BinaryIO:
    """An xz file, unpacked while it is read; raises lzma.LZMAError where memory is too small."""
    return cast("BinaryIO", io.BufferedReader(_Xz(file), _PACKED_READ))


class _Xz(io.RawIOBase):
    """The standard library's LZMAFile has no limit of memory."""

    def __init__(self, file: BinaryIO) -> None:
        self._file = file
        self._decoder = _decoder()
        self._at = 0

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def tell(self) -> int:
        return self._at

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        place = offset + (self._at if whence == io.SEEK_CUR else 0)
        while self._at < place and self.read(min(_PACKED_READ, place - self._at)):
            pass
        return self._at

    def readinto(self, buffer: Any) -> int:
        view = memoryview(buffer).cast("B")
        data = b""
        while not data and (packed := self._packed()) is not None:
            data = self._decoder.decompress(packed, len(view))
        view[: len(data)] = data
        self._at += len(data)
        return len(data)

    def _packed(self) -> bytes | None:
        """What the decoder gets next; None at the end."""
        if self._decoder.eof:
            rest = self._decoder.unused_data.lstrip(b"\0") or self._file.read(_PACKED_READ)
            if not rest.strip(b"\0"):
                return None
            self._decoder = _decoder()  # streams may follow each other
            return rest
        if not self._decoder.needs_input:
            return b""
        packed = self._file.read(_PACKED_READ)
        if not packed:
            raise EOFError("the compressed file ends too early")
        return packed


def _decoder() -> lzma.LZMADecompressor:
    return lzma.LZMADecompressor(format=lzma.FORMAT_XZ, memlimit=_XZ_MEMORY)
