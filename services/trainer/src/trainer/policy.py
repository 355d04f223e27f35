"""What training goes by."""

from dataclasses import dataclass
from typing import Final


@dataclass(frozen=True, slots=True)
class Policy:
    """All of it; the defaults are what the benchmark (bench/learning) measures.

    `least_examples` a label needs, near copies counted once. Heads are published above
    `least_accuracy`. `folds` of cross-validation; with at most `tiny` examples each is held out
    alone. `strengths`: how closely examples may be followed, of which one is chosen;
    `usual_strength` and `usual_temperature` where examples are too few to choose by, and what few
    examples are drawn to. Examples whose cosine is above `copy_cosine` are near copies.
    `most_rejected`: share of a person's examples that the rule for `none` may refuse, at most.
    `least_none`: examples of `none` that the rule is fitted to; fewer only help.
    """

    least_examples: int = 5
    least_accuracy: float = 0.8
    folds: int = 5
    tiny: int = 16
    strengths: tuple[float, ...] = (1.0, 10.0, 100.0, 1000.0)
    usual_strength: float = 100.0
    usual_temperature: float = 0.5
    copy_cosine: float = 0.98
    most_rejected: float = 0.05
    least_none: int = 5


USUAL: Final = Policy()
