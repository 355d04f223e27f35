"""Sizes, and the seed that all is drawn from."""

from dataclasses import dataclass
from typing import Final

SEED: Final = 7


@dataclass(frozen=True, slots=True)
class Plan:
    """What is measured.

    `each`: pictures of every label that are made. `seeds`: times that everything is drawn anew.
    `answers`: of a person in random order, for each label in the mean: suggested photos have to
    teach as much as these.
    """

    each: int
    seeds: int
    answers: int = 4


FULL: Final = Plan(each=80, seeds=20)
QUICK: Final = Plan(each=40, seeds=5)

EXAMPLES: Final = (1, 2, 4, 8)
"""Of every label."""

STEP: Final = 10
"""Answers between two trainings, at most."""
