"""What zip and tar have in common: members, their names as paths, and ways to be broken."""

import hashlib
import os
import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from gateway.origins.files import Problem, UnreadableError

ESCAPES: Final = Problem(
    "path_escapes", "Its name leads out of the archive; put it in under a relative name."
)
DAMAGED: Final = Problem("archive_broken", "Its bytes in the archive are damaged or cut off.")

_DRIVE: Final = re.compile("[A-Za-z]:")


class BrokenError(Exception):
    """The archive can't be read on, or not further: why, for programs and for a person."""

    def __init__(self, why: str, code: str = "archive_broken") -> None:
        super().__init__(why)
        self.problem = Problem(code, f"The archive can't be read to its end: {why}.")


@dataclass(frozen=True, slots=True)
class Member:
    """An entry of an archive: name (surrogateescape), bytes when unpacked, as the archive says.

    `passed_over`: a folder, a link to a name, a device. `problem`: a file that is never read.
    `unpack`, given the size that it has, returns its bytes until the next member is asked for;
    raises BrokenError, or UnreadableError.
    """

    name: str
    size: int
    unpack: Callable[[], bytes]
    passed_over: bool = False
    problem: Problem | None = None

    def read(self, limit: int) -> bytes:
        """Its bytes, if they are at most `limit`; raises UnreadableError."""
        if self.size > limit:
            message = f"It has {self.size} bytes; the limit is {limit}."
            raise UnreadableError(Problem("file_too_large", message))
        try:
            return self.unpack()
        except BrokenError as error:
            raise UnreadableError(DAMAGED) from error


def path_of(name: str) -> str | None:
    """A member's path below its archive; None if it would lead anywhere else."""
    parts = name.split("/")
    if name.startswith("/") or ".." in parts or _DRIVE.match(name):
        return None
    return "/".join(part for part in parts if part not in ("", "."))


def is_of_macos(path: str) -> bool:
    """Whether macOS made it for itself; other hidden names are for the patterns' rule."""
    return path.startswith("__MACOSX/") or "/__MACOSX/" in path


class Names:
    """Gives each member a path of its own, the same one in every pass over the archive.

    Of names that come again, the second is `a (2).jpg`. Passes ask by the member's number; the
    first one to come so far decides, and only what differs from the name is kept.
    """

    def __init__(self) -> None:
        self._decided = 0
        self._taken: set[int] = set()
        self._last_again: dict[int, int] = {}
        self._again: dict[int, int] = {}

    def path(self, number: int, wanted: str) -> str:
        """The path of the member with this number, counted from 0."""
        if number >= self._decided:
            self._decided = number + 1
            again = self._free(wanted)
            if again > 1:
                self._again[number] = again
        return _numbered(wanted, self._again.get(number, 1))

    def complete(self) -> None:
        """A pass came to the end: nothing has to be decided any more."""
        self._taken, self._last_again = set(), {}

    def _free(self, wanted: str) -> int:
        """The first number under which the name is free; takes it."""
        mark = _mark(wanted)
        again = self._last_again.get(mark, 0) + 1
        while (taken := _mark(_numbered(wanted, again))) in self._taken:
            again += 1
        self._taken.add(taken)
        if again > 1:  # an archive of nothing but one name would else ask for all numbers each time
            self._last_again[mark] = again
        return again


def _numbered(path: str, again: int) -> str:
    if again == 1:
        return path
    folder, slash, file = path.rpartition("/")
    stem, dot, suffix = file.rpartition(".")
    name = f"{stem} ({again}).{suffix}" if stem and dot else f"{file} ({again})"
    return f"{folder}{slash}{name}"


def _mark(path: str) -> int:
    """64 bits for a path: a million of them are 60 MB less than their texts."""
    return int.from_bytes(hashlib.blake2b(os.fsencode(path), digest_size=8).digest(), "big")
