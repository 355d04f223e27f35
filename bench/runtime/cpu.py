"""CPU that process trees use, sampled from outside."""

import threading
import time
from collections.abc import Mapping
from types import TracebackType
from typing import Final, NamedTuple, Self

import psutil
from bench.runtime.stats import at

_EVERY_S: Final = 0.25
_FAMILY_EVERY: Final = 4
"""The members of a tree are looked up at every so many samples: that is the dear part."""


class Used(NamedTuple):
    """CPU seconds of a program's own process, and of those that it started."""

    own: float
    children: float

    @property
    def total(self) -> float:
        """Of the whole tree."""
        return self.own + self.children


class CpuMeter:
    """Samples the CPU seconds (user and system) of named process trees while in its context.

    What a process used that has ended before its last sample is lost: at most one interval's.
    """

    def __init__(self, roots: Mapping[str, int]) -> None:
        self._roots = {name: psutil.Process(pid) for name, pid in roots.items()}
        self._families: dict[str, list[psutil.Process]] = {}
        self._used: dict[str, dict[int, float]] = {name: {} for name in roots}
        self._samples: dict[str, list[tuple[float, float, float]]] = {name: [] for name in roots}
        self._done = threading.Event()
        self._sampler = threading.Thread(target=self._run, daemon=True)

    def __enter__(self) -> Self:
        self._sampler.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._done.set()
        self._sampler.join()

    def used(self, began: float, ended: float) -> dict[str, Used]:
        """What each tree used between two moments (time.monotonic)."""
        return {name: self._between(name, began, ended) for name in self._samples}

    def _between(self, name: str, began: float, ended: float) -> Used:
        own = [(moment, used) for moment, used, _ in self._samples[name]]
        children = [(moment, used) for moment, _, used in self._samples[name]]
        return Used(*(at(one, ended) - at(one, began) for one in (own, children)))

    def _run(self) -> None:
        turn = 0
        while not self._done.wait(_EVERY_S):
            if turn % _FAMILY_EVERY == 0:
                self._look_up_families()
            turn += 1
            self._sample()
        self._sample()

    def _look_up_families(self) -> None:
        for name, root in self._roots.items():
            try:
                self._families[name] = [root, *root.children(recursive=True)]
            except psutil.Error:
                continue  # it has ended; its members' last figures stand

    def _sample(self) -> None:
        for name, family in self._families.items():
            used = self._used[name]
            for member in family:
                try:
                    times = member.cpu_times()
                except psutil.Error:
                    continue
                used[member.pid] = times.user + times.system
            own = used.get(self._roots[name].pid, 0.0)
            sample = (time.monotonic(), own, sum(used.values()) - own)
            self._samples[name].append(sample)
