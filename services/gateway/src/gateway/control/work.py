"""What the import runner does for one import, a step at a time, and what all of that shares."""

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from enum import Enum, auto
from typing import Any, Protocol

from gateway.catalog.imports import Import
from gateway.catalog.outbox import Outbox
from gateway.originals import Stores
from gateway.origins import Origin
from gateway.pacing import LEAST, Pacer


@dataclass(frozen=True, slots=True)
class Pace:
    """How an import behaves: photos that may be under way at once, the seconds that none of them
    should wait for its end, and so many that always may be; bytes of the largest file; files that
    are recorded at once; when totals are announced (files or seconds since the last time)."""

    in_flight: int
    limit: int
    wait_s: float = 10.0
    least: int = LEAST
    at_once: int = 1
    announce_files: int = 100
    announce_s: float = 1.0

    def pacer(self, now: float, in_flight: int) -> Pacer:
        """The window of an import of which so many photos are under way."""
        return Pacer(self.in_flight, self.wait_s, now, in_flight, self.least)


class Opens(Protocol):
    """Where an import's files come from (`gateway.origins.open_origin`)."""

    def __call__(self, kind: str, roots: Sequence[str], location: Mapping[str, Any], /) -> Origin:
        """The origin, of which nothing is read yet; raises ValueError for what is none."""
        ...


@dataclass(frozen=True, slots=True)
class Means:
    """What all imports of a process share."""

    outbox: Outbox
    store: Stores
    pace: Pace
    open_origin: Opens
    clock: Callable[[], float] = time.monotonic


class Step(Enum):
    """What a step came to."""

    WORKED = auto()
    """Something was done; there may be more."""
    WAITING = auto()
    """Nothing can be done now: too many photos under way, or something is away."""
    IDLE = auto()
    """There is nothing to do for a second or so."""
    SEALED = auto()
    """The last file is recorded, or has its end; this work is over."""
    STOPPED = auto()
    """The import's state is another one now; this work is over."""


class Work(Protocol):
    """A piece of work that can be given up after any step and taken up again by another one: all
    state that matters is in the catalog."""

    @property
    def batch(self) -> Import:
        """The import as it was when the work was taken up."""
        ...

    @property
    def under_way(self) -> int:
        """Photos that, as far as is known, wait for their end."""
        ...

    @property
    def next_end_s(self) -> float:
        """Seconds until another of them may be expected to have its end."""
        ...

    def step(self, most: int) -> Step:
        """Do a bounded piece, with no more than `most` photos under way. Raises psycopg.Error."""
        ...

    def close(self) -> None:
        """Let go of what is open."""
        ...
