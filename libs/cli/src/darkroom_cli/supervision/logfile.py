"""One program's log: prefixed lines in a file of bounded size."""

import errno
import os
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path

_FULL = (errno.ENOSPC, errno.EDQUOT)
_LONGEST_LINE = 64 * 1024  # a longer one is cut into pieces, or a stuck program fills memory


def _utc_now() -> datetime:
    return datetime.now(UTC)


class LogFile:
    """Appends lines as `TIME NAME | LINE` (UTC) and rotates at `limit` bytes.

    Keeps `copies` files in all: NAME.log, NAME.log.1, … Lines for which the disk has no room are
    dropped, and counted in a remark once there is some. Not safe for several writers.
    """

    def __init__(
        self,
        path: Path,
        *,
        limit: int = 10 * 1024 * 1024,
        copies: int = 3,
        now: Callable[[], datetime] = _utc_now,
    ) -> None:
        self._path = path
        self._limit = limit
        self._copies = copies
        self._now = now
        self._name = path.stem.encode()
        self._rest = b""
        self._dropped = 0
        # Unbuffered: what a full disk did not take is not kept, to be written at some other time.
        self._file = path.open("ab", buffering=0)
        self._size = self._file.seek(0, os.SEEK_END)

    def feed(self, data: bytes) -> None:
        """Add raw output; complete lines are written, the rest waits for its end."""
        *lines, rest = (self._rest + data).split(b"\n")
        while len(rest) > _LONGEST_LINE:
            lines.append(rest[:_LONGEST_LINE])
            rest = rest[_LONGEST_LINE:]
        self._rest = rest
        for line in lines:
            self._write(line)

    def note(self, text: str) -> None:
        """Add a remark of the supervisor itself."""
        self.flush_rest()
        self._write(f"[{text}]".encode())

    def flush_rest(self) -> None:
        """Write an unfinished last line."""
        if self._rest:
            self._write(self._rest)
            self._rest = b""

    def close(self) -> None:
        self.flush_rest()
        self._file.close()

    def _write(self, line: bytes) -> None:
        dropped = self._dropped
        if dropped and not self._append(b"[%d lines are missing: the disk was full]" % dropped):
            self._dropped += 1
        elif self._append(line):
            self._dropped = 0
        else:
            self._dropped = 1 if dropped else self._dropped + 1

    def _append(self, line: bytes) -> bool:
        """Whether there was room for it."""
        stamp = self._now().strftime("%Y-%m-%dT%H:%M:%S.%f")[:-3].encode()
        record = b"%sZ %s | %s\n" % (stamp, self._name, line.rstrip(b"\r"))
        try:
            if self._size + len(record) > self._limit and self._size:
                self._rotate()
            written = self._file.write(record)
        except OSError as error:
            if error.errno not in _FULL:
                raise
            return False
        if written < len(record):  # the disk's last bytes
            self._file.truncate(self._size)
            return False
        self._size += written
        return True

    def _rotate(self) -> None:
        fresh = self._path.with_suffix(".new")
        file = fresh.open("wb", buffering=0)  # first, since there may be no room for it
        self._file.close()
        for number in range(self._copies - 1, 0, -1):
            older = self._numbered(number)
            newer = self._numbered(number - 1) if number > 1 else self._path
            if newer.exists():
                newer.replace(older)
        fresh.replace(self._path)
        self._file, self._size = file, 0

    def _numbered(self, number: int) -> Path:
        return self._path.with_name(f"{self._path.name}.{number}")
