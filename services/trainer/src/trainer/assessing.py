"""How good a head of these examples is: told by those that it was not shown."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final, Protocol

import numpy as np
from numpy.typing import NDArray

from heads import Head
from trainer.calibration import calibration_error, wilson
from trainer.examples import FULL_WEIGHT, Examples, Label
from trainer.fitting import Pause, fit, nothing
from trainer.folds import ALWAYS_TAUGHT, folds, held_out
from trainer.policy import USUAL, Policy


@dataclass(frozen=True, slots=True)
class Answer:
    """What a head that was not shown an example says of it.

    `confidences`: of the labels in the order of their names, then of `none`. `judges`: a person
    gave the example, so that the answer counts.
    """

    key: str
    true: Label
    said: Label
    confidence: float
    confidences: tuple[float, ...]
    judges: bool

    @property
    def right(self) -> bool:
        """Whether it says what the person said."""
        return self.said == self.true


@dataclass(frozen=True, slots=True)
class OfLabel:
    """How a label fares; None: it was never said, or has no example that could be held out."""

    precision: float | None
    recall: float | None
    examples: int


@dataclass(frozen=True, slots=True)
class Assessment:
    """The accuracy lies between `low` and `high` in 95 of 100 samples like this one.

    `confusion`: by what a person said, then by what the head says, both in the order of `labels`
    and `none` last. `unjudged`: labels of which no example could be held out.
    """

    labels: tuple[str, ...]
    examples: int
    right: int
    accuracy: float
    low: float
    high: float
    calibration_error: float
    confusion: tuple[tuple[int, ...], ...]
    by_label: Mapping[str, OfLabel]
    unjudged: tuple[str, ...]
    answers: tuple[Answer, ...]

    @property
    def said(self) -> Mapping[str, Label]:
        """What is said of each example, by its key: to compare with a later head."""
        return {answer.key: answer.said for answer in self.answers}


class Kept(Protocol):
    """Where answers about finished folds are kept, for who assesses the same once more."""

    def known(self, fold: int, of: int, /) -> Sequence[Answer] | None:
        """What was kept of a fold, of so many, that comes next; None if nothing was."""

    def keep(self, fold: int, answers: Sequence[Answer], /) -> None:
        """A fold is finished."""


class _Forgetful:
    """Keeps nothing."""

    def known(self, _fold: int, _of: int) -> Sequence[Answer] | None:
        """See Kept."""
        return None

    def keep(self, _fold: int, _answers: Sequence[Answer]) -> None:
        """See Kept."""


_FORGETFUL: Final = _Forgetful()


def assess(
    examples: Examples,
    policy: Policy = USUAL,
    seed: int = 0,
    pause: Pause = nothing,
    kept: Kept = _FORGETFUL,
) -> Assessment:
    """Cross-validated: for each fold a head is trained from the others, from the choice of its
    strength to the rule for `none`, and asked about it. Only what a person said is judged by, and
    near copies are held out together. What was `kept` of a fold is not worked out again."""
    of_folds = folds(examples, policy, seed)
    names = examples.names
    answers: list[Answer] = []
    parts = list(held_out(of_folds))
    for fold, out in enumerate(parts):
        asked = examples.some(out)
        found = kept.known(fold, len(parts))
        if found is None or not _about(found, asked, names):
            pause()
            head = fit(examples.some(~out), "assessment", policy, seed, pause).head
            found = _answers(head, asked, names)
            kept.keep(fold, found)
        answers += found
    return _assessment(
        names, sorted(answers, key=lambda answer: answer.key), _alone(examples, of_folds)
    )


def _about(answers: Sequence[Answer], asked: Examples, names: tuple[str, ...]) -> bool:
    """Whether these are answers about these examples."""
    told = [(one.key, one.true, len(one.confidences)) for one in answers]
    size = len(names) + 1
    return told == [(key, true, size) for key, true in zip(asked.keys, asked.labels, strict=True)]


def _answers(head: Head, asked: Examples, names: tuple[str, ...]) -> list[Answer]:
    found = head.predict(asked.vectors)
    places = [names.index(label) for label in head.labels]
    confidences = np.zeros((len(asked), len(names) + 1))
    confidences[:, places] = found.confidences
    confidences[:, -1] = found.none
    return [
        Answer(key, true, said, sure, tuple(row), bool(weight >= FULL_WEIGHT))
        for key, true, (said, sure), row, weight in zip(
            asked.keys,
            asked.labels,
            found.best(),
            confidences.tolist(),
            asked.weights,
            strict=True,
        )
    ]


def _alone(examples: Examples, of_folds: NDArray[np.int64]) -> tuple[str, ...]:
    held = (of_folds != ALWAYS_TAUGHT) & examples.judges
    judged = {label for label, one in zip(examples.labels, held, strict=True) if one}
    return tuple(name for name in examples.names if name not in judged)


def _assessment(
    names: tuple[str, ...], answers: list[Answer], unjudged: tuple[str, ...]
) -> Assessment:
    counted = [answer for answer in answers if answer.judges]
    right = sum(answer.right for answer in counted)
    confusion = _confusion(names, counted)
    low, high = wilson(right, len(counted))
    return Assessment(
        labels=names,
        examples=len(counted),
        right=right,
        accuracy=right / len(counted) if counted else 0.0,
        low=low,
        high=high,
        calibration_error=calibration_error(
            np.array([answer.confidence for answer in counted]),
            np.array([answer.right for answer in counted], np.bool_),
        ),
        confusion=tuple(tuple(row) for row in confusion.tolist()),
        by_label={name: _of_label(confusion, at) for at, name in enumerate((*names, "none"))},
        unjudged=unjudged,
        answers=tuple(answers),
    )


def _confusion(names: tuple[str, ...], answers: list[Answer]) -> NDArray[np.int64]:
    places: dict[Label, int] = {name: at for at, name in enumerate(names)}
    places[None] = len(names)
    table = np.zeros((len(places), len(places)), np.int64)
    for answer in answers:
        table[places[answer.true], places[answer.said]] += 1
    return table


def _of_label(confusion: NDArray[np.int64], at: int) -> OfLabel:
    right, said, there = confusion[at, at], confusion[:, at].sum(), confusion[at].sum()
    return OfLabel(
        float(right / said) if said else None,
        float(right / there) if there else None,
        int(there),
    )
