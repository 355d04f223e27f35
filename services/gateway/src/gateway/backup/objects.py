"""The objects of the store into a folder and back, a few at a time."""

import hashlib
import os
import re
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from itertools import islice
from pathlib import Path
from typing import BinaryIO, Final, TypeVar

from gateway.backup.manifest import BackupError, File, Object, check, described
from streamkit import ObjectStore, Reject, Retry

FOLDER: Final = "objects"

_THREADS: Final = 4
_WINDOW: Final = 256
_AT_ONCE: Final = 1 << 20
_STAGED: Final = re.compile(r"#\d+$")
"""How the name of a local file ends while it is being written; see obstore."""

T = TypeVar("T")
R = TypeVar("R")


def copy_out(store: ObjectStore, folder: Path) -> Iterator[Object]:
    """Copy all objects of the store into the backup's folder; those that an earlier backup left
    there are not fetched again: an object is never changed. Raises Reject, Retry, OSError."""
    whole = store.uri_of("")

    def copied(key: str, size: int) -> Object | None:
        path = f"{FOLDER}/{key}"
        target = folder / path
        if not (target.is_file() and target.stat().st_size == size):
            try:
                _fetch(store, store.within(whole, key), target)
            except Reject as error:
                if error.code == "object_missing":  # an archive that was forgotten meanwhile
                    return None
                raise
        found = described(folder, path)
        return Object(key=key, bytes=found.bytes, sha256=found.sha256)

    try:
        listed = ((one.path, one.size) for one in store.list(whole) if not _STAGED.search(one.path))
        for made in _in_threads(lambda one: copied(*one), listed):
            if made is not None:
                yield made
    except Reject as error:
        if error.code != "object_missing":  # no such folder: nothing was ever stored
            raise


def copy_in(store: ObjectStore, folder: Path, some: Iterable[Object]) -> Iterator[Object]:
    """Put objects of the backup into the store, except for those that it has; gives each that is
    there then. Raises Retry, OSError."""

    def put(one: Object) -> Object:
        if _digest(store, one) != one.sha256:
            with (folder / FOLDER / one.key).open("rb") as file:
                store.replace(one.key, file)
        return one

    return _in_threads(put, some)


def checked(folder: Path, some: Iterable[Object]) -> Iterator[Object]:
    """Read objects of the backup; gives each that is as it was. Raises BackupError."""

    def read(one: Object) -> Object:
        check(folder, File(path=f"{FOLDER}/{one.key}", bytes=one.bytes, sha256=one.sha256))
        return one

    return _in_threads(read, some)


def listed_in(folder: Path, listing: File) -> Iterator[Object]:
    """What the backup's listing says."""
    with (folder / listing.path).open(encoding="utf-8") as lines:
        for line in lines:
            yield Object.model_validate_json(line)


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


def _fetch(store: ObjectStore, uri: str, target: Path) -> None:
    target.parent.mkdir(parents=True, exist_ok=True)
    fresh = target.with_name(f"{target.name}#1")
    with store.open(uri) as source, fresh.open("wb") as file:
        for data in _pieces(source):
            file.write(data)
    fresh.replace(target)


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
