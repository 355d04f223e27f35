"""Where uploaded archives lie until their files are imported."""

from datetime import UTC, datetime
from pathlib import Path
from typing import Final, Protocol
from uuid import uuid4

FOLDER_KEY: Final = "archives"
"""Below it all archives are, named by when they came."""

_STAMP: Final = "%Y%m%dT%H%M%SZ"


class LargeStores(Protocol):
    """Where large files are put (streamkit's ObjectStore)."""

    def put_file(self, key: str, file: Path) -> str:
        """Store a file's content; returns the URI."""
        ...


def keep_archive(store: LargeStores, file: Path) -> str:
    """Store an archive under a name of its own; returns the URI. Blocks; raises Retry.

    Each upload has its own object, also of the same bytes: so it goes with its import.
    """
    stamp = datetime.now(UTC).strftime(_STAMP)
    return store.put_file(f"{FOLDER_KEY}/{stamp}-{uuid4().hex}", file)


def kept_since(name: str) -> datetime | None:
    """When the archive of this name below the folder came; None for what is no archive's name."""
    try:
        return datetime.strptime(name.partition("-")[0], _STAMP).replace(tzinfo=UTC)
    except ValueError:
        return None
