"""Claim check: records carry the URI of large bytes, the bytes lie in an object store."""

from collections.abc import Sequence
from pathlib import Path
from typing import Final
from urllib.parse import unquote, urlsplit

import obstore
from obstore.exceptions import AlreadyExistsError, BaseError, NotFoundError
from obstore.store import ObjectStore as Backend
from obstore.store import from_url

from streamkit.errors import Reject, Retry

OBJECT_STORE: Final = "object store"
"""What its troubles are called as a dependency."""

_LONGEST_PATH: Final = 1024
"""Characters; S3's limit of a key, in bytes."""

_LONGEST_NAME: Final = 255
"""Bytes of one part of a path; that of common file systems."""


class ObjectStore:
    """Reads URIs inside allowed prefixes, writes below one of them.

    `objects` is the URL that is written to and read from (file:///folder, s3://bucket/prefix, …);
    `stores` are further URLs that may be read. Thread-safe; calls block.
    """

    def __init__(self, objects: str, stores: Sequence[str] = ()) -> None:
        self._objects = objects.rstrip("/")
        self._backends = {
            base.rstrip("/"): _open(base.rstrip("/"), create=base == objects)
            for base in (objects, *stores)
        }

    def get(self, uri: str, *, limit: int) -> bytes:
        """The bytes at `uri`, at most `limit` of them.

        Raises Reject (`outside_stores`, `object_missing`, `object_too_large`) or Retry.
        """
        base, path = self._locate(uri)
        try:
            found = obstore.get(self._backends[base], path)
            size = found.meta["size"]
            if size > limit:
                message = f"The file has {size} bytes; the limit is {limit}."
                raise Reject("object_too_large", message)
            return bytes(found.bytes())
        except (NotFoundError, FileNotFoundError) as error:
            raise Reject("object_missing", "The file is not in the store.") from error
        except (BaseError, OSError) as error:
            raise Retry(f"the object store failed: {error}", dependency=OBJECT_STORE) from error

    def put(self, key: str, data: bytes) -> str:
        """Store `data` once under a key that names its content; returns the URI.

        A key that exists is left as it is. Raises Retry.
        """
        try:
            obstore.put(self._backends[self._objects], key, data, mode="create")
        except AlreadyExistsError:
            pass  # the key names the content, so the bytes are the same
        except (BaseError, OSError) as error:
            raise Retry(f"the object store failed: {error}", dependency=OBJECT_STORE) from error
        return f"{self._objects}/{key}"

    def _locate(self, uri: str) -> tuple[str, str]:
        """The allowed prefix and the path below it."""
        for base in self._backends:
            path = unquote(uri.removeprefix(f"{base}/"))
            if uri.startswith(f"{base}/") and _plain(path) and _readable(base, path):
                return base, path
        raise Reject("outside_stores", "The file's address is outside the allowed stores.")


def _open(base: str, *, create: bool) -> Backend:
    if create and base.startswith("file://"):
        Path(unquote(urlsplit(base).path)).mkdir(parents=True, exist_ok=True)
    return from_url(base)


def _plain(path: str) -> bool:
    """Whether a path names one object, by printable parts that lead nowhere else."""
    parts = path.split("/")
    short = len(path) <= _LONGEST_PATH and all(len(p.encode()) <= _LONGEST_NAME for p in parts)
    return short and path.isprintable() and not {"", ".", ".."} & set(parts)


def _readable(base: str, path: str) -> bool:
    """Whether a local path stays below its base even when symbolic links are followed, and is not
    something that reading could wait on, such as a pipe. True for other stores."""
    if not base.startswith("file://"):
        return True
    root = Path(unquote(urlsplit(base).path)).resolve()
    place = (root / path).resolve()
    return place.is_relative_to(root) and (place.is_file() or not place.exists())
