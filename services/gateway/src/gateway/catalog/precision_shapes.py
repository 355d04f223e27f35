"""How often labels are right, and the thresholds that follow from it, as people see them."""

from collections.abc import Sequence
from math import sqrt
from typing import Final, Literal

from pydantic import Field

from gateway.catalog.policies import Thresholds
from gateway.catalog.shapes import Outcome, Shape

_Z: Final = 1.959964
"""Of an interval that holds in 95 of 100 cases."""


def wilson(right: float, answers: float) -> tuple[float, float]:
    """Wilson's interval of a share; numbers may be parts of one."""
    if answers <= 0:
        return 0.0, 1.0
    share, square = right / answers, _Z * _Z
    middle = share + square / (2 * answers)
    half = _Z * sqrt(share * (1 - share) / answers + square / (4 * answers * answers))
    whole = 1 + square / answers
    return max(0.0, (middle - half) / whole), min(1.0, (middle + half) / whole)


class Measured(Shape):
    """Answers that said whether a label is right; null where there are none."""

    answers: int
    right: int
    precision: float | None
    low: float | None = Field(description="end of the interval that holds in 95 of 100 cases")
    high: float | None = Field(description="its other end")

    @classmethod
    def of(cls, rights: Sequence[bool]) -> "Measured":
        """Of answers that count the same."""
        answers, right = len(rights), sum(rights)
        low, high = wilson(right, answers) if answers else (None, None)
        share = right / answers if answers else None
        return cls(answers=answers, right=right, precision=share, low=low, high=high)


class ConfidenceBand(Shape):
    """Answers about labels of such a confidence: audits, and photos that people were asked about
    anyway."""

    least: float = Field(examples=[0.9])
    below: float = Field(examples=[0.95], description="the last band has 1 itself, too")
    audits: Measured
    asked: Measured


class LabelPrecision(Shape):
    """How often a label is right, as far as people have said so."""

    label: str
    audits: Measured = Field(
        description="where it was given without asking: of audits, which are drawn by lot"
    )
    asked: Measured = Field(description="where it was but suggested")
    bands: list[ConfidenceBand] = Field(description="those with answers, the least sure first")


class Precisions(Shape):
    """How often labels are right; those that were answered most often first, 200 at most."""

    audits: Measured = Field(description="of all labels that were given without asking")
    items: list[LabelPrecision]


class SamplePhoto(Shape):
    """A photo to look at."""

    photo_id: str
    thumbnail: str


class Rerouted(Shape):
    """Photos that have this outcome, and the one that they would have were they handed in now."""

    now: Outcome
    then: Outcome
    photos: int
    samples: list[SamplePhoto] = Field(description="5 at most")


class Suggestion(Shape):
    """Thresholds of a label that follow from people's answers.

    `state`: suggested · too_few_answers: for `missing` more it can be said · not_reached: not even
    the surest are right often enough, or it is not certain yet; then `missing` more answers would
    be enough if all said that it is right (null: there is no telling).
    """

    label: str
    state: Literal["suggested", "too_few_answers", "not_reached"]
    answers: int
    missing: int | None
    now: Thresholds | None = Field(description="null: the aggregator's settings hold")
    thresholds: Thresholds | None
    precision: float | None = Field(
        description="share of right labels above the threshold that is suggested, else above the"
        " best one; estimated for all photos, not only those that were answered"
    )
    low: float | None = Field(description="end of the interval that holds in 95 of 100 cases")
    changes: list[Rerouted] = Field(
        description="photos of this label that are shown now: what becomes of them when they are"
        " labelled again by such a policy"
    )


class PolicySuggestions(Shape):
    """Suggestions for labels that people answered, by label."""

    target: float = Field(description="share of right labels that is wanted")
    revision: int = Field(description="of the policy that they were compared with")
    items: list[Suggestion]
