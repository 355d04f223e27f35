"""An object as a file that can be read anywhere, and what lies below a folder or a prefix."""

import io
import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO, Final, cast

import obstore
from obstore.store import ObjectStore as Backend

_FETCHED_AT_ONCE: Final = 4 << 20
"""Bytes of a request for a part of an object; a few tens of milliseconds each."""

_LISTED_AT_ONCE: Final = 1_000
"""Keys; S3's limit of a page."""


@dataclass(frozen=True, slots=True)
class Listed:
    """An object below a prefix: its path from there on, bytes, and a version that changes with its
    content."""

    path: str
    size: int
    version: str


def open_object(backend: Backend, path: str) -> BinaryIO:
    """An object as a buffered, seekable file, fetched in parts as it is read.

    Raises what obstore raises, when it is opened and read.
    """
    size = obstore.head(backend, path)["size"]
    return cast("BinaryIO", io.BufferedReader(_ObjectFile(backend, path, size), _FETCHED_AT_ONCE))


class _ObjectFile(io.RawIOBase):
    def __init__(self, backend: Backend, path: str, size: int) -> None:
        self._backend, self._path, self._size = backend, path, size
        self._at = 0

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        start = {io.SEEK_SET: 0, io.SEEK_CUR: self._at, io.SEEK_END: self._size}[whence]
        self._at = max(0, start + offset)
        return self._at

    def tell(self) -> int:
        return self._at

    def readinto(self, buffer: Any) -> int:
        view = memoryview(buffer).cast("B")
        end = min(self._at + len(view), self._size)
        if end <= self._at:
            return 0
        data = obstore.get_range(self._backend, self._path, start=self._at, end=end)
        view[: len(data)] = data
        self._at += len(data)
        return len(data)


def list_objects(backend: Backend, prefix: str) -> Iterator[Listed]:
    """Objects below a prefix (whole names; "" for all), page by page, in the store's order.

    Markers of folders (empty objects whose key ends with a slash) are passed over. Raises what
    obstore raises.
    """
    skipped = len(prefix) + 1 if prefix else 0
    for page in obstore.list(backend, prefix or None, chunk_size=_LISTED_AT_ONCE):
        for meta in page:
            path = meta["path"]
            if meta["size"] or not _marks_folder(backend, path):
                version = meta["e_tag"] or f"{meta['size']}:{meta['last_modified'].isoformat()}"
                yield Listed(path[skipped:], meta["size"], version)


def _marks_folder(backend: Backend, path: str) -> bool:
    """Whether an empty object is none: the listing leaves out the slash at the end of a key."""
    try:
        obstore.head(backend, path)
    except FileNotFoundError:
        return True
    return False


def list_files(folder: Path) -> Iterator[Listed]:
    """Files below a folder, those of a folder before its folders, names in the order of their
    bytes; no links are followed.

    Raises OSError.
    """
    # obstore would follow links, and in no particular order.
    folders = [str(folder)]
    start = len(str(folder).rstrip("/")) + 1
    while folders:
        with os.scandir(folders.pop()) as entries:
            found = sorted(entries, key=lambda entry: os.fsencode(entry.name))
        for entry in found:
            if entry.is_file(follow_symlinks=False):
                status = entry.stat(follow_symlinks=False)
                path = entry.path[start:]
                yield Listed(path, status.st_size, f"{status.st_size}:{status.st_mtime_ns}")
        folders.extend(
            entry.path for entry in reversed(found) if entry.is_dir(follow_symlinks=False)
        )
