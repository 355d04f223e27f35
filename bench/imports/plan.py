"""Sizes, and what is expected of them."""

from dataclasses import dataclass
from typing import Final


@dataclass(frozen=True, slots=True)
class Plan:
    """What is measured.

    `photos` go through the whole system; `replayed` ends of photos through the aggregator alone,
    `replayed_per_s` of them a second at most. `patience_s`: nothing may stand still for longer.
    """

    photos: int
    replayed: int = 1_000_000
    replayed_per_s: int = 4_000
    patience_s: float = 120.0


MAKES_PER_S: Final = 150
STARTS_S: Final = 60
IMPORTS_PER_S: Final = 50
REIMPORTS_PER_S: Final = 300
"""What to expect of a machine with 2 cores, so that people know how long it takes."""


def said(seconds: float) -> str:
    """A time to expect, for people."""
    return f"about {seconds:.0f} s" if seconds < 90 else f"about {seconds / 60:.0f} minutes"
