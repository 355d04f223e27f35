"""The files of this machine that are uploaded: the same ones that a folder's import takes."""

import errno
import hashlib
import os
import stat
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO, Final

_CHUNK: Final = 1 << 20


@dataclass(frozen=True, slots=True)
class LocalProblem:
    """Why a file can't be read: a code and a sentence of the gateway's."""

    code: str
    message: str


@dataclass(frozen=True, slots=True)
class LocalFile:
    """A file and its name in the import; `sha256` in hex, or why it can't be read."""

    path: str
    name: str
    sha256: str | None
    byte_size: int
    problem: LocalProblem | None = None

    def offer(self) -> dict[str, Any]:
        """As the gateway wants it offered."""
        if self.problem is not None:
            told = {"code": self.problem.code, "message": self.problem.message}
            return {"path": self.name, "problem": told}
        return {"path": self.name, "sha256": self.sha256, "byte_size": self.byte_size}


_MISSING: Final = LocalProblem("file_missing", "The file is not there any more.")
_FORBIDDEN: Final = LocalProblem("file_forbidden", "There is no permission to read it.")
_NOT_A_FILE: Final = LocalProblem("not_a_file", "It is neither a file nor a folder.")
_PROBLEMS: Final = {
    errno.ENOENT: _MISSING,
    errno.ENOTDIR: _MISSING,
    errno.EACCES: _FORBIDDEN,
    errno.EPERM: _FORBIDDEN,
    errno.ELOOP: _NOT_A_FILE,
    errno.ENXIO: _NOT_A_FILE,
}


def problem_of(error: OSError) -> LocalProblem:
    """What a failed system call says about a file."""
    known = _PROBLEMS.get(error.errno or 0)
    reason = f"It can't be read: {error.strerror or error}."
    return known or LocalProblem("file_unreadable", reason[:300])


def shown(path: str) -> str:
    r"""A path as text, different for different paths, as imports show them.

    Bytes that are not UTF-8 are written as \xNN, and therefore a backslash as two.
    """
    raw = os.fsencode(path).replace(b"\\", b"\\\\")
    return raw.decode("utf-8", "backslashreplace")


def walk(roots: Sequence[Path]) -> Iterator[str | tuple[str, LocalProblem]]:
    """Paths of the files in `roots` (absolute), each once, in the order of their bytes; a folder
    that can't be listed comes with its problem.

    Names that begin with a dot, symbolic links and what is neither file nor folder are passed
    over, as in imports of folders.
    """
    for number, root in enumerate(roots):
        before = roots[:number]
        for seen in _below(str(root)):
            if isinstance(seen, str) and any(_reaches(str(one), seen) for one in before):
                continue
            yield seen


def _reaches(root: str, path: str) -> bool:
    if path == root:
        return True
    below = path.removeprefix(f"{root.rstrip('/')}/")
    return below != path and not any(part.startswith(".") for part in below.split("/"))


def _below(root: str) -> Iterator[str | tuple[str, LocalProblem]]:
    # A stack instead of recursion: paths may be deeper than Python's recursion limit.
    stack = [root]
    while stack:
        path = stack.pop()
        try:
            if not stat.S_ISDIR(os.lstat(path).st_mode):
                yield path
                continue
            with os.scandir(path) as entries:
                names = sorted(_taken(entries), key=os.fsencode)
            stack.extend(reversed(names))
        except OSError as error:
            yield path, problem_of(error)


def _taken(entries: Iterable["os.DirEntry[str]"]) -> Iterator[str]:
    for entry in entries:
        plain = entry.is_file(follow_symlinks=False) or entry.is_dir(follow_symlinks=False)
        if plain and not entry.name.startswith("."):
            yield entry.path


def looked_at(seen: str | tuple[str, LocalProblem]) -> LocalFile:
    """The file with the SHA-256 of its bytes, which are read once."""
    if not isinstance(seen, str):
        path, problem = seen
        return LocalFile(path, shown(path), None, 0, problem)
    try:
        with open_file(seen) as file:
            digest, size = hashlib.sha256(), 0
            while chunk := file.read(_CHUNK):
                digest.update(chunk)
                size += len(chunk)
    except OSError as error:
        return LocalFile(seen, shown(seen), None, 0, problem_of(error))
    return LocalFile(seen, shown(seen), digest.hexdigest(), size)


def open_file(path: str) -> BinaryIO:
    """Open a file to read; follows no link in the last step and waits for no pipe.

    Raises OSError.
    """
    handle = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    try:
        if not stat.S_ISREG(os.fstat(handle).st_mode):
            raise OSError(errno.ENXIO, "not a file")
        return os.fdopen(handle, "rb")
    except BaseException:
        os.close(handle)
        raise
