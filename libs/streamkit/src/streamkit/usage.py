"""How much of the CPU and the memory that a process may use is in use.

What it may use is what its container allows (Linux's control groups, version 2), or else all that
its host has.
"""

import os
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Final, NamedTuple

import psutil

from streamkit.family import Family

GROUPS: Final = Path("/sys/fs/cgroup")
OWN: Final = Path("/proc/self/cgroup")

_LEAST_S: Final = 0.5
"""CPU is not measured over less: the kernel counts it by hundredths of a second."""


# -- what the kernel's files say ------------------------------------------------------------------


def own_group(own: str) -> str | None:
    """The group of a process out of its /proc/…/cgroup; None if version 2 is not in use.

    One that lies outside of what the process can see (`/../…`) is taken for the outermost.
    """
    for line in own.splitlines():
        if line.startswith("0::/"):
            name = line[len("0::/") :]
            return "" if name.startswith("..") else name
    return None


def cores_allowed(cpu_max: str) -> float | None:
    """Cores' worth of CPU out of cpu.max (`200000 100000`); None: as many as there are."""
    quota, _, period = cpu_max.partition(" ")
    return None if quota.strip() == "max" else float(quota) / float(period)


def bytes_allowed(memory_max: str) -> int | None:
    """Bytes out of memory.max; None: as many as there are."""
    return None if memory_max.strip() == "max" else int(memory_max)


def field_of(stat: str, name: str) -> int:
    """A number out of cpu.stat or memory.stat; 0 if it is not there."""
    for line in stat.splitlines():
        if line.startswith(f"{name} "):
            return int(line[len(name) :])
    return 0


# -- a container --------------------------------------------------------------------------------


class CpuLimit(NamedTuple):
    """What a container may use, and has used since it began."""

    cores: float
    used_s: float


class Container:
    """The groups that a process is in: its own, and those above, any of which may have a limit."""

    def __init__(self, folders: Sequence[Path]) -> None:
        self._folders = folders

    @classmethod
    def own(cls, groups: Path = GROUPS, own: Path = OWN) -> "Container":
        """The one that this process is in."""
        name = None
        with suppress(OSError):
            name = own_group(own.read_text(encoding="ascii", errors="replace"))
        if name is None:
            return cls(())
        folder = groups / name
        above = [one for one in folder.parents if one.is_relative_to(groups)]
        return cls((folder, *above))

    def cpu(self) -> CpuLimit | None:
        """Of the nearest group that limits CPU; None if none does."""
        for folder in self._folders:
            with suppress(OSError, ValueError):
                cores = cores_allowed(_text(folder, "cpu.max"))
                if cores:
                    used = field_of(_text(folder, "cpu.stat"), "usage_usec")
                    return CpuLimit(cores, used / 1e6)
        return None

    def memory(self) -> float | None:
        """Share in use, of the nearest group that limits memory; None if none does. What it could
        give back at once, pages of files, is not in use."""
        for folder in self._folders:
            with suppress(OSError, ValueError):
                allowed = bytes_allowed(_text(folder, "memory.max"))
                if allowed:
                    spare = field_of(_text(folder, "memory.stat"), "inactive_file")
                    return (int(_text(folder, "memory.current")) - spare) / allowed
        return None


def _text(folder: Path, name: str) -> str:
    return (folder / name).read_text(encoding="ascii")


# -- a host -------------------------------------------------------------------------------------


class HostTimes(NamedTuple):
    """Seconds of all cores of a host: those at work, and all."""

    busy_s: float
    all_s: float


def host_times(times: Mapping[str, float]) -> HostTimes:
    """Out of psutil.cpu_times() by name. What guests use is counted as the user's already."""
    total = sum(seconds for name, seconds in times.items() if not name.startswith("guest"))
    return HostTimes(total - times.get("idle", 0.0) - times.get("iowait", 0.0), total)


class Host:
    """The machine, or all of it that can be seen."""

    def cpu(self) -> HostTimes:
        """How busy it has been since it began."""
        return host_times(psutil.cpu_times()._asdict())

    def memory(self) -> float:
        """Share in use."""
        found = psutil.virtual_memory()
        return 1.0 - float(found.available) / float(found.total)


# -- together -----------------------------------------------------------------------------------


class Used(NamedTuple):
    """Shares (0 to 1) that are in use of all that may be used; cores' worth of CPU and bytes of
    memory that the process and its children use."""

    cpu: float
    cpu_cores: float
    memory: float
    memory_bytes: int


@dataclass(frozen=True, slots=True)
class _Reading:
    """Counters at a moment."""

    at: float
    limit: CpuLimit | None
    host: HostTimes
    own: Mapping[psutil.Process, float]


class Usage:
    """Measures a process and its children, from one measurement to the next; CPU is 0 at first.

    Blocks for milliseconds.
    """

    def __init__(
        self,
        family: Family | None = None,
        container: Container | None = None,
        host: Host | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._family = family or Family(os.getpid(), at_once=True)
        self._container = container or Container.own()
        self._host = host or Host()
        self._clock = clock
        self._cpu = (0.0, 0.0)
        self._before = self._read()

    def measure(self) -> Used:
        """What is in use now; of CPU, since the last time that was half a second ago or more."""
        if self._clock() - self._before.at >= _LEAST_S:
            now = self._read()
            before, self._before = self._before, now
            self._cpu = (_clip(_share(before, now)), _cores(before, now))
        memory = self._container.memory()
        if memory is None:
            memory = self._host.memory()
        return Used(*self._cpu, _clip(memory), self._family.resident())

    def _read(self) -> _Reading:
        return _Reading(
            self._clock(), self._container.cpu(), self._host.cpu(), self._family.cpu_s()
        )


def _share(before: _Reading, now: _Reading) -> float:
    """Of the CPU that may be used."""
    if before.limit is not None and now.limit is not None:
        return (now.limit.used_s - before.limit.used_s) / (now.limit.cores * (now.at - before.at))
    passed_s = now.host.all_s - before.host.all_s
    return (now.host.busy_s - before.host.busy_s) / passed_s if passed_s > 0 else 0.0


def _cores(before: _Reading, now: _Reading) -> float:
    """Of those that have ended meanwhile nothing is known any more."""
    used_s = sum(seconds - before.own.get(one, 0.0) for one, seconds in now.own.items())
    return max(0.0, used_s) / (now.at - before.at)


def _clip(share: float) -> float:
    return min(1.0, max(0.0, share))
