"""Memory of process trees, in MB of proportional set size where the system tells it."""

import threading
from collections.abc import Callable, Mapping
from pathlib import Path
from types import TracebackType
from typing import Self

import psutil

_MB = 1024 * 1024


def _bytes_of(pid: int) -> int:
    """PSS from smaps_rollup (Linux), else RSS; 0 for a process that has gone."""
    try:
        for line in Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines():
            if line.startswith("Pss:"):
                return int(line.split()[1]) * 1024
    except OSError:
        pass  # not Linux, or not ours to read
    try:
        return int(psutil.Process(pid).memory_info().rss)
    except psutil.Error:
        return 0


def tree_memory_mb(roots: Mapping[str, int]) -> dict[str, float]:
    """MB of each named process together with its descendants.

    A descendant that is a root itself counts for its own name only.
    """
    owners = {pid: name for name, pid in roots.items()}
    parents = {process.pid: process.info["ppid"] for process in psutil.process_iter(["ppid"])}
    totals = dict.fromkeys(roots, 0)
    for pid in parents:
        ancestor: int | None = pid
        while ancestor and ancestor not in owners:
            ancestor = parents.get(ancestor)
        if ancestor:
            totals[owners[ancestor]] += _bytes_of(pid)
    return {name: round(total / _MB, 1) for name, total in totals.items()}


class MemoryPeaks:
    """Samples process trees twice a second on a thread and keeps each name's highest value.

    `roots` is asked at every sample, so that restarted programs are followed. Use it as a
    context manager; `peaks` (MB per name) may be read at any time.
    """

    def __init__(self, roots: Callable[[], Mapping[str, int]], every: float = 0.5) -> None:
        self._roots = roots
        self._every = every
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name="memory-peaks", daemon=True)
        self._peaks: dict[str, float] = {}
        self._lock = threading.Lock()

    @property
    def peaks(self) -> dict[str, float]:
        with self._lock:
            return dict(self._peaks)

    def sample(self) -> None:
        """Take one sample now."""
        for name, value in tree_memory_mb(self._roots()).items():
            with self._lock:
                self._peaks[name] = max(value, self._peaks.get(name, 0.0))

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._stop.set()
        self._thread.join()

    def _run(self) -> None:
        self.sample()
        while not self._stop.wait(self._every):
            self.sample()
