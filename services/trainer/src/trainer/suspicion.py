"""Examples that a person should look at again, and why."""

from collections.abc import Iterator
from dataclasses import dataclass
from enum import StrEnum
from typing import Final

import numpy as np

from trainer.assessing import Answer, Assessment
from trainer.examples import Examples, Label
from trainer.folds import copies
from trainer.policy import USUAL, Policy

_STRANGE: Final = 3.5
"""Robust standard deviations below the label's median (Iglewicz and Hoaglin, 1993)."""
_LEAST_OF_LABEL: Final = 5
_LESS_SURE: Final = 0.25
_NORMAL: Final = 1.4826
"""By what the median of deviations is multiplied to be a standard deviation."""


class Doubt(StrEnum):
    """What is doubtful about an example."""

    CONTRADICTED = "contradicted"
    """A near copy has another label."""
    MISLABELLED = "mislabelled"
    COPY = "copy"
    OUTLIER = "outlier"


@dataclass(frozen=True, slots=True)
class Suspicion:
    """`reason` is for people; `other`: the example that it is a near copy of."""

    key: str
    doubt: Doubt
    reason: str
    other: str | None = None


def suspicious(
    examples: Examples, assessment: Assessment, policy: Policy = USUAL
) -> list[Suspicion]:
    """At most one doubt of each kind about an example, by key; near copies after the first."""
    found = [
        *_copies(examples, policy.copy_cosine),
        *_mislabelled(assessment),
        *_outliers(examples),
    ]
    return sorted(found, key=lambda one: (one.key, one.doubt))


def _copies(examples: Examples, cosine: float) -> Iterator[Suspicion]:
    groups = copies(examples.vectors, cosine)
    for number in np.flatnonzero(np.bincount(groups) > 1):
        members = np.flatnonzero(groups == number)
        labels = {examples.labels[at] for at in members}
        if len(labels) > 1:
            yield from _contradicted(examples, members.tolist())
        first = members[0]
        for at in members[1:]:
            if examples.labels[at] == examples.labels[first]:
                yield Suspicion(
                    examples.keys[at],
                    Doubt.COPY,
                    f"It is a near copy of {examples.keys[first]} and teaches nothing new.",
                    examples.keys[first],
                )


def _contradicted(examples: Examples, members: list[int]) -> Iterator[Suspicion]:
    for at in members:
        other = next(one for one in members if examples.labels[one] != examples.labels[at])
        yield Suspicion(
            examples.keys[at],
            Doubt.CONTRADICTED,
            f"It is {named(examples.labels[at])}, but its near copy {examples.keys[other]} is"
            f" {named(examples.labels[other])}.",
            examples.keys[other],
        )


def _mislabelled(assessment: Assessment) -> Iterator[Suspicion]:
    """After confident learning (Northcutt and others, 2021): a head that was not shown the example
    is as sure of another label as it is of that label's own examples. A quarter of these may be
    less sure: with their mean as the border, half of what is mislabelled would pass. How sure it is
    that any label fits is left aside, except about what is said to be `none`."""
    labels = assessment.labels
    shares = [_shares(one) for one in assessment.answers]
    own: dict[Label, list[float]] = {}
    for one, row in zip(assessment.answers, shares, strict=True):
        if one.true is not None:
            own.setdefault(one.true, []).append(row[labels.index(one.true)])
    least = {label: float(np.quantile(row, _LESS_SURE)) for label, row in own.items()}
    for one, row in zip(assessment.answers, shares, strict=True):
        likeliest = labels[int(np.argmax(row))]
        fits = one.true is not None or one.said is not None
        if fits and likeliest != one.true and max(row) >= least.get(likeliest, np.inf):
            yield Suspicion(
                one.key,
                Doubt.MISLABELLED,
                f"It is {named(one.true)}, but looks like {named(likeliest)}.",
            )


def _shares(answer: Answer) -> list[float]:
    """Of the labels, together 1, however likely `none` is."""
    *labels, none = answer.confidences
    return [one / max(1.0 - none, 1e-6) for one in labels]


def _outliers(examples: Examples) -> Iterator[Suspicion]:
    """Far less like the other examples of its label than these are like each other. `none` is no
    one thing and has none."""
    targets = examples.targets
    for number, name in enumerate(examples.names):
        places = np.flatnonzero(targets == number)
        if len(places) < _LEAST_OF_LABEL:
            continue
        vectors = examples.vectors[places].astype(np.float64)
        alike = (vectors @ vectors.sum(axis=0) - 1.0) / (len(places) - 1)
        middle = float(np.median(alike))
        spread = _NORMAL * float(np.median(np.abs(alike - middle)))
        for at in np.flatnonzero(alike < middle - _STRANGE * max(spread, 0.01)):
            yield Suspicion(
                examples.keys[places[at]],
                Doubt.OUTLIER,
                f"It is unlike the other examples of {named(name)} (cosine {alike[at]:.2f} in the"
                f" mean, theirs {middle:.2f}).",
            )


def named(label: Label) -> str:
    """A label as sentences have it."""
    return f"`{'none' if label is None else label}`"
