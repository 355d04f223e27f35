"""Sizes, and the seeds that all is drawn from."""

from dataclasses import dataclass
from typing import Final

SEED: Final = 7


@dataclass(frozen=True, slots=True)
class Plan:
    """What is measured.

    `looked_at`: photos per engine, threads and batch. `lines`, `pages`: of known text.
    `variants`: of each labelled photograph. `compared`: photographs of each class for both text
    readers. `photos` go through the system and the scripts. `singles`: photos one after another,
    idle and beside an import of `imported` photos and a document of `document_lines` lines.
    `patience_s`: nothing may stand still for longer.
    """

    looked_at: int
    lines: int
    pages: int
    variants: int
    compared: int
    photos: int
    imported: int
    singles: int = 30
    document_lines: int = 200
    warm: int = 24
    patience_s: float = 180.0


FULL: Final = Plan(
    looked_at=48, lines=240, pages=3, variants=9, compared=24, photos=300, imported=500
)
QUICK: Final = Plan(
    looked_at=16, lines=80, pages=1, variants=3, compared=8, photos=100, imported=170
)

BATCHES: Final = (1, 4, 16)
CHOSEN_BATCH: Final = 1
"""What services look at together. On a CPU more at once gain nothing that an import would notice:
of 0.6 s that a photo takes, labels and embedding are 0.04 s, and that would be 0.036."""
THREADS: Final = (1, 2)
"""Of each engine, in a process of its own."""

PAGE_LINES: Final = 40
"""Lines of small print on each page."""

CORES: Final = 2
"""Threads of whatever has the machine to itself, processes of a script: limits are about 2."""
