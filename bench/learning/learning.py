"""What is learned from some examples of each label, and from answers one after another."""

import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

import numpy as np
from bench.learning.known import NONE, Known, Numbers
from bench.learning.plan import EXAMPLES, STEP, Plan
from numpy.typing import NDArray

from heads import Head, Predictions
from heads.suggesting import suggest, uncertainty
from trainer.assessing import assess
from trainer.calibration import calibration_error
from trainer.fitting import fit

Told = Callable[[str], None]

_ORDERS: Final = ("random", "suggested")


@dataclass(frozen=True, slots=True)
class Lesson:
    """With so many `examples` of each label, once for each seed.

    `accuracy`: share of unseen pictures whose label, or `none`, is said; `named`: of those that
    show a label, if the likeliest label were always said. `ece`: expected calibration error of
    the answers. `assessed`: the trainer's own accuracy, where examples could be held out.
    `train_s`: choosing, fitting and assessing, as a training does.
    """

    examples: int
    accuracy: list[float]
    named: list[float]
    ece: list[float]
    assessed: list[float]
    train_s: list[float]


@dataclass(frozen=True, slots=True)
class Answered:
    """After `answers` answers: accuracies on unseen pictures by order, once for each seed."""

    answers: list[int]
    accuracy: dict[str, list[list[float]]]


def lessons(known: Known, plan: Plan, told: Told) -> list[Lesson]:
    """One for each number of examples."""
    found = []
    for examples in EXAMPLES:
        lesson = Lesson(examples, [], [], [], [], [])
        for seed in range(plan.seeds):
            _teach(known, lesson, seed)
        told(f"{examples} examples: accuracy {np.mean(lesson.accuracy):.3f}")
        found.append(lesson)
    return found


def answered(known: Known, plan: Plan, told: Told) -> Answered:
    """A person answers some photos at a time, asked in random order and as suggested."""
    pool = min(int((~known.unseen(seed)).sum()) for seed in range(plan.seeds))
    most = min(2 * plan.answers * len(known.names), pool)
    step = max(1, min(STEP, most // 16))
    answers = [*range(step, most, step), most]
    found = Answered(answers, {order: [] for order in _ORDERS})
    for seed in range(plan.seeds):
        for order, curves in found.accuracy.items():
            curves.append(_curve(known, answers, seed, asked_as=order))
        told(f"answers: seed {seed + 1} of {plan.seeds}")
    return found


def _teach(known: Known, lesson: Lesson, seed: int) -> None:
    unseen = known.unseen(seed)
    draw = np.random.default_rng((seed, 1))
    labels = np.array(known.labels)
    shown = []
    for name in known.names:
        pool = np.flatnonzero(~unseen & (labels == name))
        shown.append(draw.permutation(pool)[: lesson.examples])
    examples = known.examples(np.concatenate(shown))
    began = time.perf_counter()
    head = fit(examples, known.model_version, seed=seed).head
    assessment = assess(examples, seed=seed)
    lesson.train_s.append(time.perf_counter() - began)
    found = head.predict(known.vectors[unseen])
    best = found.best()
    right = np.array([said or NONE for said, _ in best]) == labels[unseen]
    lesson.accuracy.append(float(right.mean()))
    lesson.named.append(named(found, labels[unseen]))
    lesson.ece.append(calibration_error(np.array([sure for _, sure in best]), right))
    if assessment.examples:
        lesson.assessed.append(assessment.accuracy)


def _curve(known: Known, answers: list[int], seed: int, asked_as: str) -> list[float]:
    unseen = known.unseen(seed)
    labels = np.array(known.labels)
    pool = np.random.default_rng((seed, 2)).permutation(np.flatnonzero(~unseen))
    asked: Numbers = np.empty(0, np.int64)
    head: Head | None = None
    found = []
    for total in answers:
        rest = pool[~np.isin(pool, asked)]
        count = total - len(asked)
        if asked_as == "random":
            chosen = rest[:count]
        else:
            seen, left = known.vectors[asked], known.vectors[rest]
            doubts = uncertainty(left, head) if head else None
            chosen = rest[suggest(left, count, doubts, seen, seed)]
        asked = np.concatenate([asked, chosen])
        if (labels[asked] == NONE).all():
            found.append(0.0)  # no label was met yet
            continue
        head = fit(known.examples(asked), known.model_version, seed=seed).head
        found.append(named(head.predict(known.vectors[unseen]), labels[unseen]))
    return found


def named(found: Predictions, true: NDArray[np.str_]) -> float:
    """Share of pictures that show a label whose likeliest label is right."""
    likeliest = np.array(found.labels)[found.confidences.argmax(axis=1)]
    return float((likeliest == true)[true != NONE].mean())
