"""Which files an import sees, and their bytes. No catalog, no Kafka.

Folders are read to the bottom, names in the order of their bytes. Symbolic links are passed over,
and so is what is neither file nor folder; which names, the rule says (`patterns`).
"""

import errno
import hashlib
import os
import re
import stat
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path, PurePosixPath
from typing import Final

from gateway.origins.patterns import EVERYTHING, Rule
from streamkit import Busy


@dataclass(frozen=True, slots=True)
class Problem:
    """Why a file can't be read: a stable code and a sentence for a person."""

    code: str
    message: str


class UnreadableError(Exception):
    """A file that never becomes a photo."""

    def __init__(self, problem: Problem) -> None:
        super().__init__(problem.message)
        self.problem = problem


@dataclass(frozen=True, slots=True)
class Seen:
    """A file, or a folder that can't be listed, which has a `problem`.

    `path` is as the operating system's interface of Python gives it (surrogateescape). `version`
    changes with the content, where the walk learns it at no cost (stores); for a file of this
    machine ask `version_of`.
    """

    path: str
    problem: Problem | None = None
    version: str | None = None


_MISSING: Final = Problem("file_missing", "The file is not there any more.")
_FORBIDDEN: Final = Problem("file_forbidden", "There is no permission to read it.")
_NOT_A_FILE: Final = Problem("not_a_file", "It is neither a file nor a folder.")

_PROBLEMS: Final = {
    errno.ENOENT: _MISSING,
    errno.ENOTDIR: _MISSING,
    errno.EACCES: _FORBIDDEN,
    errno.EPERM: _FORBIDDEN,
    errno.ELOOP: _NOT_A_FILE,  # a symbolic link took the file's place
    errno.ENXIO: _NOT_A_FILE,  # a socket
}

_KEPT_OF_A_PATH: Final = 200
"""Characters of a path that the catalog does not take; enough to find the folder."""

_PASSING: Final = frozenset(
    # Our own shortage, or a network folder that sleeps: no reason to refuse a file.
    {
        *(errno.EMFILE, errno.ENFILE, errno.ENOMEM, errno.EINTR),
        *(errno.ESTALE, errno.ETIMEDOUT, errno.EHOSTDOWN, errno.EHOSTUNREACH, errno.ENOTCONN),
    }
)


def problem_of(error: OSError) -> Problem:
    """What a failed system call says about a file; raises Busy for trouble that may pass."""
    if error.errno in _PASSING:
        raise Busy(f"reading failed: {error.strerror}") from error
    known = _PROBLEMS.get(error.errno or 0)
    return known or Problem("file_unreadable", f"It can't be read: {error.strerror}.")


def shown(path: str) -> str:
    r"""A path as text for people and for the catalog, different for different paths.

    Bytes that are not UTF-8 are written as \xNN, and therefore a backslash as two.
    """
    raw = os.fsencode(path).replace(b"\\", b"\\\\")
    return raw.decode("utf-8", "backslashreplace")


def unshown(text: str) -> str:
    """The path that `shown` shows so."""
    raw = _ESCAPED.sub(_unescaped, text.encode("utf-8"))
    return os.fsdecode(raw)


_ESCAPED: Final = re.compile(rb"\\(\\|x([0-9a-f]{2}))")


def _unescaped(found: re.Match[bytes]) -> bytes:
    return b"\\" if found[2] is None else bytes.fromhex(found[2].decode())


def shortened(path: str) -> str:
    """A stand-in for a path as `shown`: short, printable, and for the same path always the same."""
    begin = "".join(letter for letter in path if letter.isprintable())[:_KEPT_OF_A_PATH]
    return f"{begin}… ({hashlib.sha256(path.encode()).hexdigest()[:16]})"


def walk(roots: Sequence[str], rule: Rule = EVERYTHING) -> Iterator[Seen]:
    """The files in `roots`, which are absolute paths of files and folders, in their order.

    The rule is about paths below a root; of a root that is a file, about its name, but never
    because that is hidden. What several roots reach comes once, with the first of them. Lists one
    folder at a time, when it is reached. Raises Busy for trouble that may pass; the walk is over
    then, so begin a new one.
    """
    before = _Before(rule)
    for root in dict.fromkeys(roots):
        yield from _below(root, rule, before)
        before.roots.append(root)


class _Before:
    """What the earlier roots of a walk had: theirs, and folders that could not be listed."""

    def __init__(self, rule: Rule) -> None:
        self._rule = rule
        self.roots: list[str] = []
        self.unlisted: set[str] = set()

    def has_file(self, path: str) -> bool:
        return any(
            _within(root, path) and _takes(root, self._rule, path) and not self._hid(path)
            for root in self.roots
        )

    def has_folder(self, path: str) -> bool:
        return any(
            _within(root, path) and _enters(root, self._rule, path) and not self._hid(path)
            for root in self.roots
        )

    def _hid(self, path: str) -> bool:
        """Whether a folder that can be entered but not listed hid it from an earlier walk."""
        return any(str(folder) in self.unlisted for folder in PurePosixPath(path).parents)


def _below(root: str, rule: Rule, before: _Before) -> Iterator[Seen]:
    # A stack instead of recursion: paths may be deeper than Python's recursion limit.
    stack = [(root, _mode(root))]
    while stack:
        path, mode = stack.pop()
        if isinstance(mode, Problem):
            yield Seen(path, mode)
        elif stat.S_ISREG(mode):
            if _takes(root, rule, path) and not before.has_file(path):
                yield Seen(path)
        elif not stat.S_ISDIR(mode):
            yield Seen(path, _NOT_A_FILE)
        elif _enters(root, rule, path):
            listed = _listed(path, hidden=rule.hidden)
            if not isinstance(listed, Problem):
                stack.extend(reversed(listed))
            elif not before.has_folder(path):
                before.unlisted.add(path)
                yield Seen(path, listed)


def _takes(root: str, rule: Rule, path: str) -> bool:
    if path == root:
        return replace(rule, hidden=True).takes(path.rpartition("/")[2])
    return rule.takes(_relative(root, path))


def _enters(root: str, rule: Rule, path: str) -> bool:
    return path == root or rule.enters(_relative(root, path))


def _within(root: str, path: str) -> bool:
    return path == root or path.startswith(f"{root.rstrip('/')}/")


def _relative(root: str, path: str) -> str:
    return path[len(root.rstrip("/")) + 1 :]


def _mode(root: str) -> int | Problem:
    try:
        return Path(root).lstat().st_mode
    except OSError as error:
        return problem_of(error)


def _listed(folder: str, *, hidden: bool) -> list[tuple[str, int | Problem]] | Problem:
    """Files and folders in a folder with their kinds, sorted, without what is passed over."""
    try:
        with os.scandir(folder) as entries:
            found = [
                (entry.path, _kind(entry)) for entry in entries if hidden or entry.name[0] != "."
            ]
    except OSError as error:
        return problem_of(error)
    return sorted(
        ((path, kind) for path, kind in found if kind is not None),
        key=lambda one: os.fsencode(one[0]),
    )


def _kind(entry: "os.DirEntry[str]") -> int | None:
    if entry.is_dir(follow_symlinks=False):
        return stat.S_IFDIR
    return stat.S_IFREG if entry.is_file(follow_symlinks=False) else None


def version_of(path: str) -> str:
    """Size and time of change of a file, without following links; another one once it is changed.

    Raises UnreadableError or Busy.
    """
    try:
        status = os.lstat(path)
    except OSError as error:
        raise UnreadableError(problem_of(error)) from error
    return f"{status.st_size}:{status.st_mtime_ns}"


def read_file(path: str, limit: int) -> bytes:
    """All bytes of a file, at most `limit`.

    Raises UnreadableError if it can't become a photo, Busy for trouble that may pass. Follows no
    symbolic link in the last step and waits for no pipe.
    """
    try:
        with open(path, "rb", opener=_open) as file:
            status = os.fstat(file.fileno())
            if not stat.S_ISREG(status.st_mode):
                raise UnreadableError(_NOT_A_FILE)
            data = file.read(limit + 1) if status.st_size <= limit else None
    except OSError as error:
        raise UnreadableError(problem_of(error)) from error
    if data is None or len(data) > limit:
        size = max(status.st_size, limit + 1)
        message = f"It has {size} bytes; the limit is {limit}."
        raise UnreadableError(Problem("file_too_large", message))
    return data


def _open(path: str, flags: int) -> int:
    return os.open(path, flags | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
