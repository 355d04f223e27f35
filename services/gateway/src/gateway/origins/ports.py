"""What an import reads from, whatever it is: the files that it has and their bytes."""

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Final, Protocol

from gateway.origins.files import Seen
from streamkit import ObjectStore

FOLDER: Final = "folder"
ARCHIVE: Final = "archive"
STORE: Final = "store"

WALKED: Final = (FOLDER, ARCHIVE, STORE)
"""Kinds of imports whose files `open_origin` finds; those of others are recorded elsewhere."""


class Origin(Protocol):
    """The files of one import. Used by one thread at a time; nothing is read before a call.

    A path is as the operating system's interface of Python gives it (surrogateescape; see
    `files.shown`) and names one file of this origin for ever: absolute in a folder, below the
    archive or the prefix elsewhere. It is not more than a name: it may hold anything.
    """

    def walk(self) -> Iterator[Seen]:
        """Every file once, in a stable order, also those that can't be read (`problem`).

        The iterator raises Busy for trouble that may pass and is over then: walk anew, from the
        first file. A step may take as long as reading a few large files (compressed archives), so
        whoever takes many at once should look at the clock, too.
        """
        ...

    def count(self) -> Iterator[Seen]:
        """The same files, by an iterator of its own, for whoever counts ahead of the work."""
        ...

    def read(self, path: str, limit: int) -> bytes:
        """The bytes of a file that `walk` named, at most `limit`; cheapest in the walk's order.

        Raises UnreadableError if it can't become a photo, Busy for trouble that may pass.
        """
        ...

    def close(self) -> None:
        """Let go of what is open; the origin may be used again, and opens anew."""
        ...


@dataclass(frozen=True, slots=True)
class ArchiveLimits:
    """What is taken from one archive at most: entries, folders among them, and their bytes
    together when they are unpacked."""

    members: int = 1_000_000
    expanded_bytes: int = 100_000_000_000


@dataclass(frozen=True, slots=True)
class OriginMeans:
    """What all origins of a process share."""

    objects: ObjectStore
    archives: ArchiveLimits = field(default_factory=ArchiveLimits)
