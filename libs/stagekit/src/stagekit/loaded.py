"""What a stage has once its engine is loaded."""

import time
from collections.abc import Callable, Generator, Mapping
from contextlib import closing
from dataclasses import dataclass
from typing import Any, Protocol

from stagekit.photo import Photo


class Engine(Protocol):
    """What a part says of the engine that made it."""

    @property
    def name(self) -> str:
        """Of the engine."""

    @property
    def model_version(self) -> str:
        """Names all that changes its answers: see `with_options`."""


Found = Mapping[str, Any]
"""The fields of a stage's event that are its own."""


@dataclass(frozen=True, slots=True)
class Loaded:
    """A stage's engine, loaded.

    `look` says what is found in a photo: gives it, or is a generator that returns it and yields
    wherever more urgent work may go first. It may raise Retry or Reject. The photo's rendition
    keeps at least `enough_pixels` on the short side (None: all of them), so that a large one need
    not be decoded whole.
    """

    engine: Engine
    look: Callable[[Photo], Found | Generator[None, None, Found]]
    enough_pixels: int | None = None


def looked(loaded: Loaded, photo: Photo) -> Generator[None, None, tuple[Found, float]]:
    """Returns what an engine finds, and its milliseconds without those of other work."""
    started, elsewhere_s = time.perf_counter(), 0.0
    found = loaded.look(photo)
    if isinstance(found, Generator):
        found, elsewhere_s = yield from _in_slices(found)
    return found, 1000 * (time.perf_counter() - started - elsewhere_s)


def _in_slices(
    slices: Generator[None, None, Found],
) -> Generator[None, None, tuple[Found, float]]:
    """Returns what was found, and the seconds that other work took in between."""
    elsewhere_s = 0.0
    with closing(slices):
        while True:
            try:
                next(slices)
            except StopIteration as end:
                return end.value, elsewhere_s
            paused = time.perf_counter()
            yield
            elsewhere_s += time.perf_counter() - paused
