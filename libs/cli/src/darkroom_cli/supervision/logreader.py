"""Reading the logs that `logfile` writes, while they grow and rotate."""

from collections.abc import Sequence
from pathlib import Path


def last_lines(path: Path, count: int) -> list[str]:
    """The last lines of a log, older first; none when there is no log yet."""
    if count <= 0 or not path.is_file():
        return []
    with path.open("rb") as file:
        size = file.seek(0, 2)
        start, text = size, b""
        while start > 0 and text.count(b"\n") <= count:
            start = max(0, start - 65536)
            file.seek(start)
            text = file.read(size - start)
    return text.decode(errors="replace").splitlines()[-count:]


def merged(files: Sequence[Path], count: int) -> list[str]:
    """The last lines of several logs in the order of their times (each line starts with one)."""
    if count <= 0:
        return []
    return sorted(line for file in files for line in last_lines(file, count))[-count:]


class Follower:
    """Reads what is added to a log from now on, across its rotation."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._inode = path.stat().st_ino if path.exists() else 0
        self._offset = path.stat().st_size if path.exists() else 0

    def new_lines(self) -> list[str]:
        """Complete lines since the last call."""
        if not self._path.exists():
            return []
        with self._path.open("rb") as file:
            lines = []
            inode = self._path.stat().st_ino
            if inode != self._inode:
                lines = self._rest_of_rotated()
                self._inode, self._offset = inode, 0
            file.seek(self._offset)
            complete, newline, _ = file.read().rpartition(b"\n")
            self._offset += len(complete) + len(newline)
        return lines + complete.decode(errors="replace").splitlines()

    def _rest_of_rotated(self) -> list[str]:
        older = self._path.with_name(f"{self._path.name}.1")
        if not older.exists() or older.stat().st_ino != self._inode:
            return []
        with older.open("rb") as file:
            file.seek(self._offset)
            return file.read().decode(errors="replace").splitlines()
