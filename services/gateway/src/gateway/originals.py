"""The bytes of photos as they were handed in, stored once by content."""

import hashlib
import re
from dataclasses import dataclass
from typing import Final, Protocol

_KEY: Final = re.compile(r"originals/([0-9a-f]{2})/(\1[0-9a-f]{62})")


@dataclass(frozen=True, slots=True)
class Original:
    """Stored bytes: SHA-256 in hex, where they are, how many."""

    sha256: str
    uri: str
    byte_size: int


class Stores(Protocol):
    """Where bytes are put (streamkit's ObjectStore)."""

    def put(self, key: str, data: bytes) -> str:
        """Store `data`; repeating is harmless. Returns the URI."""
        ...


def original_key(sha256: str) -> str:
    """Key of the original with this SHA-256 in the object store."""
    return f"originals/{sha256[:2]}/{sha256}"


def named_sha256(key: str) -> str | None:
    """The SHA-256 that the key of an original names; None for another object's key."""
    found = _KEY.fullmatch(key)
    return found and found[2]


def store_original(store: Stores, data: bytes) -> Original:
    """Store a photo's bytes; blocks. Do it before, and outside of, the transaction that submits.

    Bytes whose transaction then fails stay without a row, and are found again by the next try.
    """
    sha256 = hashlib.sha256(data).hexdigest()
    return Original(sha256, store.put(original_key(sha256), data), len(data))
