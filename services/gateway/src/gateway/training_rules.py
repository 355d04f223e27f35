"""What trainings of the user's own labels go by."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class TrainingRules:
    """See the settings of the same names; `least_examples` of each label."""

    least_accuracy: float
    least_examples: int
    time_limit_s: float
    auto_examples: bool = True
