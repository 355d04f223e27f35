"""What every measurement is given."""

import time
from collections.abc import Callable, Collection
from dataclasses import dataclass
from typing import Final

from bench.runtime.ground import Ground
from bench.runtime.plan import Plan

SYSTEMS: Final = ("darkroom", "celery", "dramatiq", "bare")

START_S: Final = 8.0
"""What starting and ending the programs of a measurement takes, for the progress line."""


@dataclass(frozen=True, slots=True)
class Context:
    """How much to measure, on which ground; `systems` leaves out what is not wanted."""

    plan: Plan
    ground: Ground
    write: Callable[[str], None]
    systems: Collection[str] = SYSTEMS

    def say(self, what: str, about_s: float) -> None:
        """Tell what begins now, and how long that may take."""
        clock = time.strftime("%H:%M:%S")
        self.write(f"{clock} {what}; about {about_s:.0f} s")
