"""Claim check: records carry the URI of large bytes, the bytes lie in an object store."""

import errno
import os
import re
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from datetime import timedelta
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO, Final
from urllib.parse import quote, unquote, urlsplit

import obstore
from obstore.exceptions import (
    AlreadyExistsError,
    BaseError,
    InvalidPathError,
    NotFoundError,
    PermissionDeniedError,
    UnauthenticatedError,
)
from obstore.store import ObjectStore as Backend
from obstore.store import from_url

from streamkit.errors import Reject, Retry, StoreFull
from streamkit.object_files import Listed, list_files, list_objects, open_object

if TYPE_CHECKING:
    from obstore.store import RetryConfig

OBJECT_STORE: Final = "object store"
"""What its troubles are called as a dependency."""

_LONGEST_PATH: Final = 1024
"""Characters; S3's limit of a key, in bytes."""

_LONGEST_NAME: Final = 255
"""Bytes of one part of a path; that of common file systems."""


_LOCAL: Final = "file://"

_PART: Final = 16 << 20
"""Bytes of a part of a large object that is sent; S3 takes 10,000 parts."""

_NO_ROOM: Final = (errno.ENOSPC, errno.EDQUOT)
_NO_ROOM_TOLD: Final = tuple(f"(os error {number})" for number in _NO_ROOM)
"""How obstore tells the same, in its text alone."""

_RETRIES: "Final[RetryConfig]" = {
    "max_retries": 4,
    "backoff": {"init_backoff": timedelta(milliseconds=100), "max_backoff": timedelta(seconds=1)},
    "retry_timeout": timedelta(seconds=20),
}
"""A moment's trouble is over by then. Whoever calls tries again by itself, or has a person wait:
obstore's own 10 retries within 3 minutes are for programs that do neither."""

_AWAY_AFTER: Final = 3
"""Failures in a row that are not one call's bad luck any more; as for a worker's breaker."""

_REFUSED: Final = re.compile(r"non-2xx status code: (\d{3})")
"""A listing's errors have no types for these: obstore 0.12 gives their text."""


class ObjectStore:
    """Reads URIs inside allowed prefixes, writes below one of them.

    `objects` is the URL that is written to and read from (file:///folder, s3://bucket/prefix, …);
    `stores` are further URLs that may be read. `away` is called with the reason, in the thread
    that failed, whenever `objects` has failed three times in a row. Thread-safe; calls block.
    """

    def __init__(
        self,
        objects: str,
        stores: Sequence[str] = (),
        *,
        away: Callable[[str], None] | None = None,
    ) -> None:
        self._objects = objects.rstrip("/")
        self._away = away
        self._failed = 0
        self._lock = threading.Lock()
        self._backends = {
            base.rstrip("/"): _open(base.rstrip("/"), create=base == objects)
            for base in (objects, *stores)
        }

    @property
    def folder(self) -> Path | None:
        """The folder that is written to; None where that is no file system."""
        return _folder(self._objects) if self._objects.startswith(_LOCAL) else None

    def get(self, uri: str, *, limit: int) -> bytes:
        """The bytes at `uri`, at most `limit` of them.

        Raises Reject (`outside_stores`, `object_missing`, `object_too_large`) or Retry.
        """
        base, path = self._locate(uri)
        with self._calling(base):
            if base.startswith(_LOCAL):
                # A tenth of what the way through obstore's own threads takes.
                with (_folder(base) / path).open("rb") as file:
                    _check_size(os.fstat(file.fileno()).st_size, limit)
                    return file.read()
            found = obstore.get(self._backends[base], path)
            _check_size(found.meta["size"], limit)
            return bytes(found.bytes())

    def open(self, uri: str) -> BinaryIO:
        """The object at `uri` as a seekable file, of which only what is read is fetched.

        Raises Reject (`outside_stores`, `object_missing`) or Retry, and when it is read Retry; of
        a local file OSError.
        """
        base, path = self._locate(uri)
        with self._calling(base):
            if base.startswith(_LOCAL):
                return (_folder(base) / path).open("rb")
            return open_object(self._backends[base], path)

    def list(self, uri: str) -> Iterator[Listed]:
        """Objects below an allowed prefix, in a stable order (of S3: that of their keys).

        Takes whole names: `s3://bucket/a` has not what lies below `a.b`. The iterator raises
        Reject (`outside_stores`, `object_missing` where there is no such bucket or folder,
        `store_forbidden`, `store_unlistable` at a key that is no path) or Retry, and is over then.
        """
        base, path = self._locate_prefix(uri)
        with _failures(), _listing_failures():
            if base.startswith(_LOCAL):
                yield from list_files(_folder(base) / path)
            else:
                yield from list_objects(self._backends[base], path)

    def uri_of(self, key: str) -> str:
        """The URI of what is, or would be, stored under a key."""
        return f"{self._objects}/{key}"

    def is_own(self, uri: str) -> bool:
        """Whether it is below the URL that is written to."""
        return uri.startswith(f"{self._objects}/")

    def within(self, uri: str, path: str) -> str:
        """The URI of an object that `list` found at `path` below a prefix."""
        return f"{uri.rstrip('/')}/{quote(os.fsencode(path))}"

    def put(self, key: str, data: bytes) -> str:
        """Store `data` once under a key that names its content; returns the URI.

        A key that exists is left as it is. Raises Retry, of its kinds StoreFull.
        """
        with self._calling(self._objects), suppress(AlreadyExistsError):
            # A key that exists names the content, so the bytes are the same.
            obstore.put(self._backends[self._objects], key, data, mode="create")
        return self.uri_of(key)

    def put_file(self, key: str, file: Path) -> str:
        """Store a file's content under a key that nothing has; returns the URI. Raises as `put`.

        On the same file system it becomes another name of the file, which must not be changed
        afterwards; else it is sent in parts.
        """
        with self._calling(self._objects):
            if not (self._objects.startswith(_LOCAL) and _link(file, _folder(self._objects) / key)):
                obstore.put(self._backends[self._objects], key, file, chunk_size=_PART)
        return self.uri_of(key)

    def replace(self, key: str, file: BinaryIO) -> str:
        """Store what a file has from where it stands on, in place of what the key had; returns the
        URI. Readers see the one or the other. Raises Retry, of its kinds StoreFull.
        """
        with self._calling(self._objects):
            obstore.put(self._backends[self._objects], key, file, chunk_size=_PART)
        return self.uri_of(key)

    def delete(self, uri: str) -> None:
        """Remove an object that `put` or `put_file` stored; one that is gone is no error.

        Raises Reject (`outside_stores`) or Retry.
        """
        base, path = self._locate(uri)
        if base != self._objects:
            raise _outside()
        with self._calling(base), suppress(NotFoundError, FileNotFoundError):
            obstore.delete(self._backends[base], path)

    @contextmanager
    def _calling(self, base: str) -> Iterator[None]:
        """What a store says, as instructions; and what it comes to, if it is the one written to."""
        try:
            with _failures():
                yield
        except Retry as error:
            if base == self._objects and self._away is not None and self._is_away():
                self._away(str(error))
            raise
        except Reject:
            self._answered(base)
            raise
        self._answered(base)

    def _is_away(self) -> bool:
        with self._lock:
            self._failed += 1
            return self._failed % _AWAY_AFTER == 0

    def _answered(self, base: str) -> None:
        if base == self._objects and self._failed:
            with self._lock:
                self._failed = 0

    def _locate(self, uri: str) -> tuple[str, str]:
        """The allowed prefix and the path below it."""
        for base in self._backends:
            path = unquote(uri.removeprefix(f"{base}/"))
            if uri.startswith(f"{base}/") and _plain(path) and _readable(base, path):
                return base, path
        raise _outside()

    def _locate_prefix(self, uri: str) -> tuple[str, str]:
        for base in self._backends:
            path = unquote(uri.removeprefix(base)).strip("/")
            inside = f"{uri}/".startswith(f"{base}/") and (not path or _plain(path))
            if inside and (not base.startswith(_LOCAL) or _below(base, path) is not None):
                return base, path
        raise _outside()


def is_denied(error: Retry) -> bool:
    """Whether a store that failed is there, but does not let us read this."""
    return isinstance(error.__cause__, PermissionDeniedError | UnauthenticatedError)


def _check_size(size: int, limit: int) -> None:
    if size > limit:
        raise Reject("object_too_large", f"The file has {size} bytes; the limit is {limit}.")


def _outside() -> Reject:
    return Reject("outside_stores", "The file's address is outside the allowed stores.")


@contextmanager
def _failures() -> Iterator[None]:
    """What a store says, as instructions."""
    try:
        yield
    except (NotFoundError, FileNotFoundError) as error:
        raise Reject("object_missing", "The file is not in the store.") from error
    except (BaseError, OSError) as error:
        if _is_full(error):
            raise StoreFull("the object store has no room left", dependency=OBJECT_STORE) from error
        raise Retry(f"the object store failed: {error}", dependency=OBJECT_STORE) from error


def _is_full(error: Exception) -> bool:
    if isinstance(error, OSError):
        return error.errno in _NO_ROOM
    return any(told in str(error) for told in _NO_ROOM_TOLD)


@contextmanager
def _listing_failures() -> Iterator[None]:
    """What only a listing says; the rest is left to `_failures`."""
    try:
        yield
    except InvalidPathError as error:
        reason = str(error).partition("\n")[0]
        message = f"A key in the store is no path, so nothing behind it can be listed: {reason}"
        raise Reject("store_unlistable", message) from error
    except (PermissionDeniedError, UnauthenticatedError) as error:
        raise _forbidden() from error
    except (FileNotFoundError, NotADirectoryError) as error:
        raise _nowhere() from error
    except BaseError as error:
        refused = _REFUSED.search(str(error))
        status = refused.group(1) if refused else ""
        if status in ("401", "403"):
            raise _forbidden() from error
        if status == "404":
            raise _nowhere() from error
        raise


def _forbidden() -> Reject:
    return Reject("store_forbidden", "The store does not let Darkroom list it.")


def _nowhere() -> Reject:
    return Reject("object_missing", "There is no such bucket or folder.")


@cache
def _folder(base: str) -> Path:
    return Path(unquote(urlsplit(base).path))


def _link(file: Path, target: Path) -> bool:
    """Give a file a second name, unless that is on another file system."""
    target.parent.mkdir(parents=True, exist_ok=True)
    try:
        target.hardlink_to(file)
    except OSError as error:
        if error.errno in (errno.EXDEV, errno.EPERM, errno.EOPNOTSUPP, errno.EMLINK):
            return False
        raise
    return True


def _open(base: str, *, create: bool) -> Backend:
    if create and base.startswith(_LOCAL):
        _folder(base).mkdir(parents=True, exist_ok=True)
    return from_url(base) if base.startswith(_LOCAL) else from_url(base, retry_config=_RETRIES)


def _plain(path: str) -> bool:
    """Whether a path names one object, by printable parts that lead nowhere else."""
    parts = path.split("/")
    short = len(path) <= _LONGEST_PATH and all(len(p.encode()) <= _LONGEST_NAME for p in parts)
    return short and path.isprintable() and not {"", ".", ".."} & set(parts)


def _readable(base: str, path: str) -> bool:
    """Whether a local path stays below its base even when symbolic links are followed, and is not
    something that reading could wait on, such as a pipe. True for other stores."""
    if not base.startswith(_LOCAL):
        return True
    place = _below(base, path)
    return place is not None and (place.is_file() or not place.exists())


def _below(base: str, path: str) -> Path | None:
    """A path in a local store, with symbolic links resolved; None if they lead out of it."""
    root = _folder(base).resolve()
    place = (root / path).resolve()
    return place if place.is_relative_to(root) else None
