"""How much memory an engine process holds."""

import time
from contextlib import suppress
from typing import Final

import psutil

_LOOK_S: Final = 10.0
"""Looking for children costs milliseconds, since it means reading all processes of the machine."""


class Memory:
    """Resident memory of a process and of those that it has started.

    Pages that processes share (what the fork server preloaded) count for each of them.
    """

    def __init__(self, pid: int) -> None:
        self._family: list[psutil.Process] = []
        with suppress(psutil.NoSuchProcess):
            self._family.append(psutil.Process(pid))
        self._look_at = time.monotonic() + _LOOK_S

    def resident(self) -> int:
        """In bytes; 0 once the process has ended."""
        now = time.monotonic()
        if self._family and now >= self._look_at:
            self._look_at = now + _LOOK_S
            self._family[1:] = _children(self._family[0])
        return sum(map(_resident, self._family))


def _children(process: psutil.Process) -> list[psutil.Process]:
    try:
        return process.children(recursive=True)
    except psutil.NoSuchProcess:
        return []


def _resident(process: psutil.Process) -> int:
    try:
        return int(process.memory_info().rss)
    except psutil.NoSuchProcess:
        return 0
