"""Photos a second, time and memory of every engine that loads here, each in its own process."""

import resource
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any, Final

from bench.models import photographs, services
from bench.models.children import Answer, Child, ChildError
from bench.models.plan import BATCHES, CHOSEN_BATCH, SEED, THREADS, Plan
from bench.runtime.stats import percentile
from PIL import Image

_KIB_IN_MB: Final = 1024
_PHOTO: Final = (1024, 768)
_LEAST_BATCHES: Final = 4

Write = Callable[[str], None]


@dataclass(frozen=True, slots=True)
class Speed:
    """Of an engine that looks at `batch` photos at once with `threads` threads.

    `chosen`: whether services have batches of that size. `p50_ms`, `p95_ms`: of a batch.
    `memory_mb`: the most that its process had so far; batches grow. `load_s`: from the start of the
    process to an engine that is warm.
    """

    stage: str
    engine: str
    threads: int
    batch: int
    chosen: bool
    photos_per_s: float
    p50_ms: float
    p95_ms: float
    memory_mb: float
    load_s: float


@dataclass(frozen=True, slots=True)
class Speeds:
    """All of them, and why others could not be measured, by stage and name."""

    measured: list[Speed]
    missing: Mapping[str, str]


def measure(plan: Plan, write: Write) -> Speeds:
    """Every engine that the services know; one that does not load here is told and left out."""
    measured: list[Speed] = []
    missing: dict[str, str] = {}
    for stage in services.STAGES:
        for engine in services.known(stage):
            write(f"speed of {stage} {engine}")
            try:
                measured += _of_engine(plan, stage, engine)
            except ChildError as error:
                missing[f"{stage} {engine}"] = str(error)
                write(f"  not measured: {error}")
    return Speeds(measured, missing)


def _of_engine(plan: Plan, stage: str, engine: str) -> Iterator[Speed]:
    batches = (1,) if stage == "ocr" else BATCHES
    for threads in THREADS:
        began = time.monotonic()
        with Child(partial(looker, stage, engine, threads), threads) as child:
            load_s = time.monotonic() - began
            for batch in batches:
                seconds, memory_mb = child.ask((plan.looked_at, batch))
                yield Speed(
                    stage,
                    engine,
                    threads,
                    batch,
                    chosen=batch == CHOSEN_BATCH,
                    photos_per_s=len(seconds) * batch / sum(seconds),
                    p50_ms=1000 * percentile(seconds, 50),
                    p95_ms=1000 * percentile(seconds, 95),
                    memory_mb=memory_mb,
                    load_s=load_s,
                )


def looker(stage: str, engine: str, threads: int) -> Answer:
    """Answers (photos, batch) with the seconds of each batch and the MB of the process."""
    look = services.together(stage, services.load(stage, engine, threads))
    look([_photo(0)])

    def answer(asked: tuple[int, int]) -> tuple[list[float], float]:
        photos, batch = asked
        seconds = []
        for number in range(max(_LEAST_BATCHES, photos // batch)):
            images = [_photo(number * batch + one) for one in range(batch)]
            seconds.append(_seconds(look, images))
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss  # KiB on Linux
        return seconds, peak / _KIB_IN_MB

    return answer


def _photo(number: int) -> Image.Image:
    names = photographs.WITHOUT_TEXT
    return photographs.crop(names[number % len(names)], _PHOTO, (SEED, 1, number))


def _seconds(look: Callable[[list[Image.Image]], Any], images: list[Image.Image]) -> float:
    began = time.perf_counter()
    look(images)
    return time.perf_counter() - began
