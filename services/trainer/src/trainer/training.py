"""A training from its lesson to its end: no Kafka, no Redis, no store."""

from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from typing import Any, Final, Literal

from heads import Head
from trainer.assessing import Answer, Assessment, Kept, assess
from trainer.examples import Examples
from trainer.fitting import Trained, fit
from trainer.manifest import Lesson
from trainer.suspicion import suspicious
from trainer.verdicts import Decision, answers_of, enough, gate

FORMAT: Final = 1
"""Of the report."""

ASSESSING: Final = "assessing"
FITTING: Final = "fitting"

Told = Callable[[str, float], None]
"""Is told what is done, and which share of the work (0 to 1) is over."""


@dataclass(frozen=True, slots=True, eq=False)
class End:
    """How a training ended; `metrics` and `report` as JSON has them, None where there are none."""

    end: Literal["trained", "not_enough", "failed", "cancelled", "timed_out"]
    reason: str
    publish: bool = False
    head: Head | None = None
    metrics: dict[str, Any] | None = None
    report: dict[str, Any] | None = None


def learn(lesson: Lesson, kept: Kept, pause: Callable[[], None], told: Told) -> End:
    """Train and assess; `pause` is called between steps, and what it raises ends the work."""
    verdict = enough(lesson.examples, lesson.labels, lesson.policy)
    if not verdict.enough:
        return End("not_enough", verdict.reason, report=_report(lesson, (), None, {}))
    try:
        work = _Work(lesson, kept, pause, told)
        assessment, examples = work.assessed()
        trained = work.fitted(examples)
    except (ValueError, ArithmeticError) as error:  # of numpy and scipy, and ExamplesError
        reason = f"nothing could be learned from these examples: {error}"
        return End("failed", reason, report=_report(lesson, (), None, {}))
    decision = _decided(lesson, examples, assessment)
    metrics = _metrics(assessment, trained, decision)
    metrics["auto_examples"] = len(examples) - int(examples.judges.sum())
    return End(
        "trained",
        decision.reason,
        decision.publish,
        trained.head,
        metrics,
        _report(lesson, suspicions(lesson, examples, assessment), assessment, metrics),
    )


def variants(examples: Examples) -> Sequence[Examples]:
    """What can be taught: all of them; or what people said alone, where that is less. What heads
    labelled may be wrong, or teach only what is known, so it has to help."""
    judges = examples.judges
    return [examples] if judges.all() else [examples, examples.some(judges)]


class _Work:
    """Counts what is done: every fold is a head as large as the last one, and so is each as long
    as the one before, in calls of `pause`."""

    def __init__(self, lesson: Lesson, kept: Kept, pause: Callable[[], None], told: Told) -> None:
        self._lesson = lesson
        self._kept = kept
        self._pause = pause
        self._told = told
        self._variants = variants(lesson.examples)
        self._heads = 1
        self._done = 0
        self._before = 0
        self._left = 0
        self._calls = 0
        policy = lesson.policy
        self._usual = policy.folds * (len(policy.strengths) + 1) + 2

    def assessed(self) -> tuple[Assessment, Examples]:
        """The best of the variants, the first of equals."""
        lesson = self._lesson
        self._told(ASSESSING, 0.0)
        found: list[tuple[Assessment, Examples]] = []
        for number, examples in enumerate(self._variants, 1):
            self._before, self._left = self._done, len(self._variants) - number
            one = assess(examples, lesson.policy, lesson.seed, self._assessing, self)
            found.append((one, examples))
        return max(found, key=lambda one: one[0].accuracy)

    def fitted(self, examples: Examples) -> Trained:
        """A head of these."""
        lesson = self._lesson
        self._heads = self._done + 1
        self._told(FITTING, self._share())
        return fit(examples, lesson.model_version, lesson.policy, lesson.seed, self._fitting)

    def known(self, fold: int, of: int) -> Sequence[Answer] | None:
        """See Kept. Folds of all variants are numbered through."""
        self._heads = self._before + of * (1 + self._left) + 1
        self._done = self._before + fold
        found = self._kept.known(self._done, self._before + of)
        if found is not None:
            self._over()
        return found

    def keep(self, fold: int, answers: Sequence[Answer]) -> None:
        """See Kept."""
        self._kept.keep(self._before + fold, answers)
        self._usual = max(self._calls, 1)
        self._over()

    def _over(self) -> None:
        self._done, self._calls = self._done + 1, 0
        self._told(ASSESSING, self._share())

    def _assessing(self) -> None:
        self._count(ASSESSING)

    def _fitting(self) -> None:
        self._count(FITTING)

    def _count(self, step: str) -> None:
        self._pause()
        self._calls += 1
        self._told(step, self._share())

    def _share(self) -> float:
        return (self._done + min(self._calls / self._usual, 1.0)) / self._heads


def suspicions(
    lesson: Lesson, examples: Examples, assessment: Assessment
) -> Sequence[dict[str, Any]]:
    """What a person should look at, as the report has it."""
    return [
        _named(lesson, one.key, str(one.doubt), one.reason, one.other)
        for one in suspicious(examples, assessment, lesson.policy)
    ]


def _named(
    lesson: Lesson, key: str, kind: str, reason: str, other: str | None = None
) -> dict[str, Any]:
    about = {"photo_id": key, "kind": kind, "reason": reason, "other": other}
    return {**about, **asdict(lesson.told[key])}


def _decided(lesson: Lesson, examples: Examples, assessment: Assessment) -> Decision:
    active = lesson.active
    said = None if active is None else answers_of(active.head, examples, active.said)
    decision = gate(assessment, said, lesson.policy)
    if decision.publish and lesson.unreadable:
        return Decision(False, lesson.unreadable, decision.accuracy, None)
    return decision


def _metrics(assessment: Assessment, trained: Trained, decision: Decision) -> dict[str, Any]:
    return {
        "accuracy": assessment.accuracy,
        "low": assessment.low,
        "high": assessment.high,
        "active_accuracy": decision.active_accuracy,
        "calibration_error": assessment.calibration_error,
        "examples": assessment.examples,
        "right": assessment.right,
        "labels": list(assessment.labels),
        "confusion": [list(row) for row in assessment.confusion],
        "by_label": {name: asdict(one) for name, one in assessment.by_label.items()},
        "unjudged": list(assessment.unjudged),
        "strength": trained.strength,
        "temperature": trained.head.temperature,
        "chosen_by": trained.chosen_by,
    }


def _report(
    lesson: Lesson,
    doubts: Sequence[dict[str, Any]],
    assessment: Assessment | None,
    metrics: dict[str, Any],
) -> dict[str, Any]:
    left_out = [
        _named(lesson, key, "poisoned", f"It was left out: {why}.")
        for key, why in sorted(lesson.poisoned.items())
    ]
    return {
        "format": FORMAT,
        "said": {} if assessment is None else dict(assessment.said),
        "suspicious": [*left_out, *doubts],
        "metrics": metrics,
    }
