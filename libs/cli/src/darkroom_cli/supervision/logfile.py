"""One program's log: prefixed lines in a file of bounded size."""

from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import BinaryIO

_LONGEST_LINE = 64 * 1024  # a longer one is cut into pieces, or a stuck program fills memory


def _utc_now() -> datetime:
    return datetime.now(UTC)


class LogFile:
    """Appends lines as `TIME NAME | LINE` (UTC) and rotates at `limit` bytes.

    Keeps `copies` files in all: NAME.log, NAME.log.1, … Not safe for several writers.
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
        self._file = self._open()

    def feed(self, data: bytes) -> None:
        """Add raw output; complete lines are written, the rest waits for its end."""
        *lines, rest = (self._rest + data).split(b"\n")
        while len(rest) > _LONGEST_LINE:
            lines.append(rest[:_LONGEST_LINE])
            rest = rest[_LONGEST_LINE:]
        self._rest = rest
        for line in lines:
            self._write(line)
        self._file.flush()

    def note(self, text: str) -> None:
        """Add a remark of the supervisor itself."""
        self.flush_rest()
        self._write(f"[{text}]".encode())
        self._file.flush()

    def flush_rest(self) -> None:
        """Write an unfinished last line."""
        if self._rest:
            self._write(self._rest)
            self._rest = b""

    def close(self) -> None:
        self.flush_rest()
        self._file.close()

    def _write(self, line: bytes) -> None:
        stamp = self._now().strftime("%Y-%m-%dT%H:%M:%S.%f")[:-3].encode()
        record = b"%sZ %s | %s\n" % (stamp, self._name, line.rstrip(b"\r"))
        if self._file.tell() + len(record) > self._limit and self._file.tell():
            self._rotate()
        self._file.write(record)

    def _rotate(self) -> None:
        self._file.close()
        for number in range(self._copies - 1, 0, -1):
            older = self._numbered(number)
            newer = self._numbered(number - 1) if number > 1 else self._path
            if newer.exists():
                newer.replace(older)
        self._file = self._open()

    def _numbered(self, number: int) -> Path:
        return self._path.with_name(f"{self._path.name}.{number}")

    def _open(self) -> BinaryIO:
        file = self._path.open("ab")
        file.seek(0, 2)
        return file
