"""What anybody would write to look at a folder of photos: a loop, in one process or in two."""

import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, suppress
from dataclasses import dataclass
from functools import partial
from itertools import pairwise
from pathlib import Path
from queue import Empty, SimpleQueue
from typing import Final

import psutil
from bench.imports.progress import Progress
from bench.models import services
from bench.models.children import Answer, Child

from imaging import open_upright_rgb, sha256_hex
from imaging.render import prepare
from stagekit import Photo

Write = Callable[[str], None]


@dataclass(frozen=True, slots=True)
class Way:
    """Processes, and threads of the engines in each."""

    processes: int
    threads: int

    @property
    def about(self) -> str:
        """For people."""
        return f"{self.processes} processes x {self.threads} threads"


WAYS: Final = (Way(1, 2), Way(2, 1))


@dataclass(frozen=True, slots=True)
class Ran:
    """All files, from the first to the last; CPU of all processes; milliseconds a file by step."""

    way: Way
    took_s: float
    cpu_s: float
    step_ms: dict[str, float]


def measure(way: Way, files: Sequence[Path], warm: Sequence[Path], write: Write) -> Ran:
    """Have the engines loaded and warm, then go through the files. Raises ChildError."""
    write(f"a plain script, {way.about}: {len(files)} photos")
    with ExitStack() as open_now:
        children = [
            open_now.enter_context(Child(partial(analyser, way.threads), way.threads))
            for _ in range(way.processes)
        ]
        for child in children:
            for file in warm:
                child.ask(file)
        before, began = _cpu_s(children), time.perf_counter()
        steps = _shared(children, files, Progress("photos", len(files), write))
        took = time.perf_counter() - began
        return Ran(way, took, _cpu_s(children) - before, _mean(steps))


def analyser(threads: int) -> Answer:
    """Answers a path with the seconds that each step took."""
    engines = {stage: services.load(stage, "auto", threads) for stage in services.STAGES}

    def answer(file: Path) -> dict[str, float]:
        marks = [("", time.perf_counter())]

        def done(step: str) -> None:
            marks.append((step, time.perf_counter()))

        data = file.read_bytes()
        sha256_hex(data)
        done("hash")
        prepared = prepare(data)
        done("decode and render")
        rendition = open_upright_rgb(prepared.rendition or data)
        photo = Photo.of(rendition)
        done("open")
        for stage, loaded in engines.items():
            services.seen(loaded, photo)
            done(stage)
        return {step: at - before for (_, before), (step, at) in pairwise(marks)}

    return answer


def _shared(
    children: Sequence[Child], files: Sequence[Path], told: Callable[[int], None]
) -> list[dict[str, float]]:
    """Whoever is done takes the next file."""
    left: SimpleQueue[Path] = SimpleQueue()
    for file in files:
        left.put(file)
    steps: list[dict[str, float]] = []

    def work(child: Child) -> None:
        with suppress(Empty):
            while True:
                steps.append(child.ask(left.get_nowait()))
                told(len(steps))

    with ThreadPoolExecutor(len(children)) as pool:
        for done in [pool.submit(work, child) for child in children]:
            done.result()
    return steps


def _mean(steps: Sequence[dict[str, float]]) -> dict[str, float]:
    return {name: 1000 * sum(one[name] for one in steps) / len(steps) for name in steps[0]}


def _cpu_s(children: Sequence[Child]) -> float:
    times = [psutil.Process(child.pid).cpu_times() for child in children]
    return float(sum(one.user + one.system for one in times))
