"""Photos through the whole system, beside plain scripts that do the same work."""

import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Self

import psutil
from bench.imports.measuring import cpu_seconds
from bench.models import script
from bench.models.script import Ran
from bench.models.system import System

from darkroom_cli.errors import DarkroomError

_SAMPLED_EVERY_S: Final = 1.0

Write = Callable[[str], None]


class WrongError(DarkroomError):
    """Photos were lost or failed: what is measured then is nothing."""


@dataclass(frozen=True, slots=True)
class Imported:
    """An import of `photos`. `cpu_ms`: of CPU for each photo, by process; `stage_ms`: the mean time
    of a part by stage. `tail_s`: how long the ocr alone still had work, and `tail_cores`: how many
    cores it used then."""

    photos: int
    took_s: float
    cpu_ms: dict[str, float]
    stage_ms: dict[str, float]
    tail_s: float
    tail_cores: float


def scripts(files: Sequence[Path], warm: Sequence[Path], write: Write) -> list[Ran]:
    """Every way of running the script, one after another. Raises ChildError."""
    return [script.measure(way, files, warm, write) for way in script.WAYS]


def through(system: System, folder: Path, warm: Path, write: Write) -> Imported:
    """Import `warm`, so that all is loaded, then the folder.

    Raises WrongError, StandsStillError.
    """
    write("warming the system up with a small import")
    system.follow(system.begin(warm), _count(warm))
    photos = _count(folder)
    write(f"the whole system: {photos} photos")
    roots = {name: pid for name, pid in system.stack.pids().items() if name != "supervisor"}
    with _Sampled(roots["ocr"]) as sampled:
        before, began = cpu_seconds(roots), time.perf_counter()
        batch_id = system.begin(folder)
        row = system.follow(batch_id, photos)
        took, after = time.perf_counter() - began, cpu_seconds(roots)
    if row["state"] != "completed" or row["totals"]["accepted"] != photos:
        raise WrongError(f"the import ended as {row['state']} with {row['totals']}")
    stages = system.stages(batch_id)
    others = max(one.last.timestamp() for name, one in stages.items() if name != "ocr")
    end = stages["ocr"].last.timestamp()
    return Imported(
        photos,
        took,
        cpu_ms={name: 1000 * (after[name] - before[name]) / photos for name in roots},
        stage_ms={name: one.ms for name, one in stages.items()},
        tail_s=max(0.0, end - others),
        tail_cores=sampled.cores(others, end),
    )


class _Sampled:
    """The CPU of a process and of those it has started by now, second by second, until the context
    ends."""

    def __init__(self, pid: int) -> None:
        root = psutil.Process(pid)
        self._family = [root, *root.children(recursive=True)]
        self._samples: list[tuple[float, float]] = []
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._run, name="cpu-samples", daemon=True)

    def cores(self, since: float, until: float) -> float:
        """Cores used between two times (seconds since 1970); 0 if that is too short to say."""
        inside = [one for one in self._samples if since <= one[0] <= until]
        if len(inside) < 2:
            return 0.0
        (first, used), (last, used_later) = inside[0], inside[-1]
        return (used_later - used) / (last - first)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._over.set()
        self._thread.join()

    def _run(self) -> None:
        while not self._over.wait(_SAMPLED_EVERY_S):
            times = [one.cpu_times() for one in self._family]
            self._samples.append((time.time(), sum(one.user + one.system for one in times)))


def _count(folder: Path) -> int:
    return sum(1 for _ in folder.iterdir())
