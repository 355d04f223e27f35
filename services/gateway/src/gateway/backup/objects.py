"""The objects of the store into a folder and back, a few at a time."""

import hashlib
import os
import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from itertools import islice
from pathlib import Path
from typing import BinaryIO, Final, TypeVar

from gateway.backup.manifest import BackupError, File, Object, check, described, read_manifest
from gateway.originals import named_sha256
from streamkit import ObjectStore, Reject, Retry

FOLDER: Final = "objects"

_THREADS: Final = 4
_WINDOW: Final = 256
_AT_ONCE: Final = 1 << 20
_STAGED: Final = re.compile(r"#\d+$")
"""How the name of a local file ends while it is being written; see obstore."""

T = TypeVar("T")
R = TypeVar("R")


def listed_before(folder: Path) -> dict[str, str]:
    """Key → SHA-256 of the objects of the backup that lies in the folder; empty where there is
    none, or none whose listing can be believed."""
    try:
        listing = read_manifest(folder).objects.listing
        check(folder, listing)
    except BackupError:
        return {}
    return {one.key: one.sha256 for one in listed_in(folder, listing)}


def copy_out(store: ObjectStore, folder: Path, before: Mapping[str, str]) -> Iterator[Object]:
    """Copy all objects of the store into the backup's folder. Those that it has as `before`, or
    their names, say are not fetched again: an object is never changed. An original that is not
    what its name says is left out. Raises Reject, Retry, OSError."""
    whole = store.uri_of("")

    def copied(key: str, size: int) -> Object | None:
        there = kept(folder, key, before)
        if there is not None and there.bytes == size:
            return there
        try:
            return _fetch(store, folder, key)
        except Reject as error:
            if error.code == "object_missing":  # an archive that was forgotten meanwhile
                return None
            raise

    try:
        listed = ((one.path, one.size) for one in store.list(whole) if not _STAGED.search(one.path))
        for made in _in_threads(lambda one: copied(*one), listed):
            if made is not None:
                yield made
    except Reject as error:
        if error.code != "object_missing":  # no such folder: nothing was ever stored
            raise


def kept(folder: Path, key: str, before: Mapping[str, str]) -> Object | None:
    """An object that the backup's folder has, if it is what its name, or `before`, says."""
    path = f"{FOLDER}/{key}"
    expected = named_sha256(key) or before.get(key)
    if expected is None or not (folder / path).is_file():
        return None
    found = described(folder, path)
    if found.sha256 != expected:
        return None
    return Object(key=key, bytes=found.bytes, sha256=found.sha256)


def copy_in(store: ObjectStore, folder: Path, some: Iterable[Object]) -> Iterator[Object]:
    """Put objects of the backup into the store, except for those that it has; gives each that is
    there then. Nothing is replaced by bytes that are not what they should be. Raises BackupError,
    Retry, OSError."""

    def put(one: Object) -> Object:
        expected = _expected(one)
        if _digest(store, one) != expected.sha256:
            check(folder, expected)
            with (folder / FOLDER / one.key).open("rb") as file:
                store.replace(one.key, file)
        return one

    return _in_threads(put, some)


def checked(folder: Path, some: Iterable[Object]) -> Iterator[Object]:
    """Read objects of the backup; gives each that is as it was. Raises BackupError."""

    def read(one: Object) -> Object:
        check(folder, _expected(one))
        return one

    return _in_threads(read, some)


def listed_in(folder: Path, listing: File) -> Iterator[Object]:
    """What the backup's listing says."""
    with (folder / listing.path).open(encoding="utf-8") as lines:
        for line in lines:
            yield Object.model_validate_json(line)


def _expected(one: Object) -> File:
    """The file of an object; of an original its name says what it is."""
    sha256 = named_sha256(one.key) or one.sha256
    return File(path=f"{FOLDER}/{one.key}", bytes=one.bytes, sha256=sha256)


def _digest(store: ObjectStore, one: Object) -> str | None:
    """The SHA-256 of what the store has under the key; None if that is nothing, or of another
    size."""
    digest = hashlib.sha256()
    try:
        with store.open(store.within(store.uri_of(""), one.key)) as file:
            if file.seek(0, os.SEEK_END) != one.bytes:
                return None
            file.seek(0)
            for data in _pieces(file):
                digest.update(data)
    except Reject as error:
        if error.code in ("object_missing", "outside_stores"):
            return None
        raise
    return digest.hexdigest()


def _fetch(store: ObjectStore, folder: Path, key: str) -> Object | None:
    """Copy an object into the backup; None, and nothing copied, if it is an original that is not
    what its name says."""
    target = folder / FOLDER / key
    target.parent.mkdir(parents=True, exist_ok=True)
    fresh = target.with_name(f"{target.name}#1")
    digest, size = hashlib.sha256(), 0
    with store.open(store.within(store.uri_of(""), key)) as source, fresh.open("wb") as file:
        for data in _pieces(source):
            file.write(data)
            digest.update(data)
            size += len(data)
    sha256 = digest.hexdigest()
    if named_sha256(key) not in (None, sha256):
        fresh.unlink()
        return None
    fresh.replace(target)
    return Object(key=key, bytes=size, sha256=sha256)


def _pieces(file: BinaryIO) -> Iterator[bytes]:
    while data := file.read(_AT_ONCE):
        yield data


def _in_threads(act: Callable[[T], R], some: Iterable[T]) -> Iterator[R]:
    """The results, in order; few are under way, so that a long list is never in memory."""
    rest = iter(some)
    with ThreadPoolExecutor(_THREADS) as pool:
        while window := list(islice(rest, _WINDOW)):
            yield from pool.map(act, window)


def told_of_store(error: Retry | Reject) -> BackupError:
    """What a store's trouble means here."""
    return BackupError(f"The object store: {error}", "Nothing is lost: run the same command again.")
