"""What a process and those that it has started use."""

import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from typing import Final, TypeVar

import psutil

_LOOK_S: Final = 10.0
"""Looking for children costs milliseconds, since it means reading all processes of the machine."""

_Found = TypeVar("_Found")


class Family:
    """A process and those that it has started.

    Pages that processes share (what the fork server preloaded) count for each of them. `at_once`:
    it may have started some already.
    """

    def __init__(self, pid: int, *, at_once: bool = False) -> None:
        self._members: list[psutil.Process] = []
        with suppress(psutil.NoSuchProcess):
            self._members.append(psutil.Process(pid))
        self._look_at = time.monotonic() + (0.0 if at_once else _LOOK_S)

    def resident(self) -> int:
        """Their memory in bytes; 0 once the process has ended."""
        return sum(self._each(lambda one: int(one.memory_info().rss)).values())

    def cpu_s(self) -> Mapping[psutil.Process, float]:
        """Seconds of CPU that each of them has used since it began."""
        return self._each(_cpu_s)

    def _each(self, asked: Callable[[psutil.Process], _Found]) -> dict[psutil.Process, _Found]:
        """What each that is still there answers."""
        now = time.monotonic()
        if self._members and now >= self._look_at:
            self._look_at = now + _LOOK_S
            self._members[1:] = _children(self._members[0])
        found = {}
        for one in self._members:
            with suppress(psutil.NoSuchProcess):
                found[one] = asked(one)
        return found


def _cpu_s(process: psutil.Process) -> float:
    times = process.cpu_times()
    return float(times.user + times.system)


def _children(process: psutil.Process) -> list[psutil.Process]:
    try:
        return process.children(recursive=True)
    except psutil.NoSuchProcess:
        return []
