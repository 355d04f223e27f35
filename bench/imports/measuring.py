"""What the system uses, seen from outside: memory, CPU, disk."""

from collections.abc import Mapping
from pathlib import Path
from typing import Final

import psutil

TOTALS: Final = ("darkroom-aggregator-chunks-changelog", "darkroom-aggregator-batches-changelog")
"""The changelogs of what counts imports."""


def log_bytes(kafka: Path, topics: tuple[str, ...] = TOTALS) -> int:
    """Bytes of these topics' records as they lie in a broker's data folder, with their framing.

    Nothing is taken out of a log's newest segment, and these logs have but that one: so it is all
    that ever was written. Raises ValueError if one has more.
    """
    total = 0
    for topic in topics:
        for folder in kafka.glob(f"{topic}-*"):
            segments = list(folder.glob("*.log"))
            if len(segments) > 1:
                raise ValueError(f"{folder.name} has {len(segments)} segments: some may be cleaned")
            total += sum(segment.stat().st_size for segment in segments)
    return total


def cpu_seconds(roots: Mapping[str, int]) -> dict[str, float]:
    """CPU (user and system) that each process and all that it started have used; also those of
    them that have ended, if they were waited for."""
    return {name: _of_tree(pid) for name, pid in roots.items()}


def _of_tree(pid: int) -> float:
    try:
        root = psutil.Process(pid)
        family = [root, *root.children(recursive=True)]
    except psutil.Error:
        return 0.0
    return sum(map(_of_one, family))


def _of_one(process: psutil.Process) -> float:
    try:
        times = process.cpu_times()
    except psutil.Error:
        return 0.0
    return float(times.user + times.system + times.children_user + times.children_system)
