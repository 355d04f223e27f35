"""A training from its lesson to its end: no Kafka, no Redis, no store."""

from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from typing import Any, Final, Literal

from heads import Head
from trainer.assessing import Answer, Assessment, Kept, assess
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
        assessment = work.assessed()
        trained = work.fitted()
    except (ValueError, ArithmeticError) as error:  # of numpy and scipy, and ExamplesError
        reason = f"nothing could be learned from these examples: {error}"
        return End("failed", reason, report=_report(lesson, (), None, {}))
    decision = _decided(lesson, assessment)
    metrics = _metrics(assessment, trained, decision)
    return End(
        "trained",
        decision.reason,
        decision.publish,
        trained.head,
        metrics,
        _report(lesson, suspicions(lesson, assessment), assessment, metrics),
    )


class _Work:
    """Counts what is done: every fold is a head as large as the last one, and so is each as long
    as the one before, in calls of `pause`."""

    def __init__(self, lesson: Lesson, kept: Kept, pause: Callable[[], None], told: Told) -> None:
        self._lesson = lesson
        self._kept = kept
        self._pause = pause
        self._told = told
        self._heads = 1
        self._done = 0
        self._calls = 0
        policy = lesson.policy
        self._usual = policy.folds * (len(policy.strengths) + 1) + 2

    def assessed(self) -> Assessment:
        lesson = self._lesson
        self._told(ASSESSING, 0.0)
        return assess(lesson.examples, lesson.policy, lesson.seed, self._assessing, self)

    def fitted(self) -> Trained:
        lesson = self._lesson
        self._told(FITTING, self._share())
        return fit(lesson.examples, lesson.model_version, lesson.policy, lesson.seed, self._fitting)

    def known(self, fold: int, of: int) -> Sequence[Answer] | None:
        """See Kept."""
        self._heads, self._done = of + 1, fold
        found = self._kept.known(fold, of)
        if found is not None:
            self._over()
        return found

    def keep(self, fold: int, answers: Sequence[Answer]) -> None:
        """See Kept."""
        self._kept.keep(fold, answers)
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


def suspicions(lesson: Lesson, assessment: Assessment) -> Sequence[dict[str, Any]]:
    """What a person should look at, as the report has it."""
    return [
        {"photo_id": one.key, "kind": str(one.doubt), "reason": one.reason, "other": one.other}
        for one in suspicious(lesson.examples, assessment, lesson.policy)
    ]


def _decided(lesson: Lesson, assessment: Assessment) -> Decision:
    active = lesson.active
    said = None if active is None else answers_of(active.head, lesson.examples, active.said)
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
        {"photo_id": key, "kind": "poisoned", "reason": f"It was left out: {why}.", "other": None}
        for key, why in sorted(lesson.poisoned.items())
    ]
    return {
        "format": FORMAT,
        "said": {} if assessment is None else dict(assessment.said),
        "suspicious": [*left_out, *doubts],
        "metrics": metrics,
    }
