"""Uploads that are too large for memory lie on disk until they are stored."""

import asyncio
import errno
import fcntl
import os
import shutil
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import BinaryIO, Final
from uuid import uuid4

from gateway.api.problems import ProblemError, unavailable

KEPT_FREE: Final = 500_000_000
"""Bytes of the disk that are left to all others."""

MOST_AT_ONCE: Final = 4
"""Uploads; each may take the disk's last bytes."""

_WRITTEN_AT_ONCE: Final = 1 << 20

_FULL: Final = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)


class Spool:
    """Takes bodies in; to be used from one event loop."""

    def __init__(self) -> None:
        self._coming = 0

    @asynccontextmanager
    async def take(
        self, body: AsyncIterator[bytes], folder: Path, declared: int
    ) -> AsyncIterator[Path]:
        """The whole body as a file, which is gone after the context; `sweep` removes it, if this
        process is killed.

        `declared` bytes are expected. Raises ProblemError: 507 `disk_full`, 503
        `too_many_uploads`.
        """
        if self._coming >= MOST_AT_ONCE:
            raise unavailable("too_many_uploads", "Too many archives are being uploaded at once.")
        self._coming += 1
        try:
            file, path = await asyncio.to_thread(_create, folder)
            try:
                await _write(body, file, folder, declared)
                yield path
            finally:
                await asyncio.to_thread(_remove, file, path)
        finally:
            self._coming -= 1


async def _write(body: AsyncIterator[bytes], file: BinaryIO, folder: Path, declared: int) -> None:
    await asyncio.to_thread(_check_room, folder, declared)
    pending = bytearray()
    async for chunk in body:
        pending += chunk
        if len(pending) >= _WRITTEN_AT_ONCE:
            await asyncio.to_thread(_append, file, bytes(pending), folder)
            pending.clear()
    await asyncio.to_thread(_append, file, bytes(pending), folder)
    await asyncio.to_thread(file.flush)


def _append(file: BinaryIO, data: bytes, folder: Path) -> None:
    _check_room(folder, len(data))
    try:
        file.write(data)
    except OSError as error:
        if error.errno in _FULL:
            raise _disk_full() from error
        raise


def _check_room(folder: Path, wanted: int) -> None:
    if shutil.disk_usage(folder).free < wanted + KEPT_FREE:
        raise _disk_full()


def _disk_full() -> ProblemError:
    detail = "There is no room for it on Darkroom's disk; see the setting DARKROOM_SPOOL."
    return ProblemError(507, "disk_full", detail, {"Connection": "close"})


def _create(folder: Path) -> tuple[BinaryIO, Path]:
    """A file that is locked while its process lives."""
    folder.mkdir(parents=True, exist_ok=True)
    sweep(folder)
    while True:
        path = folder / f"upload-{uuid4()}"
        file = path.open("xb")
        fcntl.flock(file, fcntl.LOCK_EX)
        if os.fstat(file.fileno()).st_nlink:
            return file, path
        file.close()  # another door swept it away before it was locked


def sweep(folder: Path) -> None:
    """Remove what doors left behind that were killed; what others write is left. Blocks."""
    for path in folder.glob("upload-*"):
        with suppress(FileNotFoundError), path.open("rb") as file:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                continue
            path.unlink()


def _remove(file: BinaryIO, path: Path) -> None:
    path.unlink(missing_ok=True)
    with suppress(OSError):  # what could not be written is not missed
        file.close()
