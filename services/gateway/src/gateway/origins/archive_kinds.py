"""Which kind of archive a file is, by its content."""

import lzma
import tarfile
import zlib
from collections.abc import Callable, Iterator
from functools import partial
from typing import BinaryIO, Final

from gateway.origins.members import BrokenError, Member
from gateway.origins.tars import bunzip, gunzip, tar_members, unxz
from gateway.origins.zips import zip_members

_BLOCK: Final = 512

_ZIPS: Final = (b"PK\x03\x04", b"PK\x05\x06")
_PACKED: Final[dict[bytes, Callable[[BinaryIO], BinaryIO]]] = {
    b"\x1f\x8b": gunzip,
    b"BZh": bunzip,
    b"\xfd7zXZ\0": unxz,
}


def members_of(file: BinaryIO) -> Iterator[Member]:
    """The members of a zip or tar (plain, gzip, bzip2, xz), in their order.

    Raises BrokenError where it can't be read on, what `file` raises, OSError without a number
    where it can't be unpacked.
    """
    reading = _reading(file)
    if reading is None:
        raise BrokenError("it is neither zip nor tar")
    return reading()


def is_archive(file: BinaryIO) -> bool:
    """Whether `members_of` knows this kind; what is broken further on is one, too."""
    return _reading(file) is not None


def _reading(file: BinaryIO) -> Callable[[], Iterator[Member]] | None:
    file.seek(0)
    head = file.read(_BLOCK)
    file.seek(0)
    if head.startswith(_ZIPS):
        return partial(zip_members, file)
    for magic, unpack in _PACKED.items():
        if head.startswith(magic):
            head = _head(unpack(file))
            file.seek(0)
            return partial(_unpacked, unpack, file) if _begins_tar(head) else None
    return partial(tar_members, file) if _begins_tar(head) else None


def _unpacked(unpack: Callable[[BinaryIO], BinaryIO], file: BinaryIO) -> Iterator[Member]:
    yield from tar_members(unpack(file))


def _head(unpacked: BinaryIO) -> bytes:
    """The first block of a compressed file; empty if it can't be unpacked."""
    try:
        return unpacked.read(_BLOCK)
    except (EOFError, ValueError, zlib.error, lzma.LZMAError):
        return b""
    except OSError as error:
        if error.errno is None:  # so gzip and bz2 say that these are none
            return b""
        raise


def _begins_tar(head: bytes) -> bool:
    try:
        tarfile.TarInfo.frombuf(head, "utf-8", "surrogateescape")
    except tarfile.HeaderError:
        return head == bytes(_BLOCK)  # an archive of nothing
    return True
