"""The figures that matter, whether they are as they must be, and how people see them. Pure but for
writing to the console it is given."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from statistics import fmean
from typing import Any, Final

from bench.learning.figures import Interval, mean_interval, saved
from bench.learning.learning import Answered, Lesson
from bench.learning.plan import SEED
from bench.learning.usage import Usage
from bench.runtime.report import Limit
from bench.runtime.table import verdict
from rich.console import Console
from rich.table import Table

LIMITS: Final = (
    Limit("accuracy_8", "least", 0.8, None),
    Limit("answers_saved_by_active_learning", "least", 0.2, None),
    Limit("upload_to_use_seconds", "most", 60.0, None),
)


@dataclass(frozen=True, slots=True)
class Found:
    """All that was measured."""

    lessons: list[Lesson]
    answered: Answered
    usage: Usage

    @property
    def compared_after(self) -> int:
        """Answers in random order: half of all, so that suggested ones can also need more."""
        return max(1, self.answered.answers[-1] // 2)


def accuracies(found: Found) -> dict[str, Interval]:
    """By the number of examples of each label."""
    return {str(one.examples): mean_interval(one.accuracy, SEED) for one in found.lessons}


def figures(found: Found) -> dict[str, float]:
    """The figures by their names; of calibration and training, with the most examples."""
    last = found.lessons[-1]
    fewer = saved(found.answered, found.compared_after, SEED)
    return {
        **{f"accuracy_{count}": one.value for count, one in accuracies(found).items()},
        "ece": fmean(last.ece),
        "train_seconds": fmean(last.train_s),
        "answers_saved_by_active_learning": fewer.value,
        "answers_saved_low": fewer.low,
        "answers_saved_high": fewer.high,
        "upload_to_use_seconds": found.usage.used_s,
    }


def judged(values: Mapping[str, float]) -> Sequence[Limit]:
    """The limits with the figures that they are about."""
    return [
        Limit(one.figure, one.kind, one.bound, one.aim, values.get(one.figure)) for one in LIMITS
    ]


def as_json(found: Found, about: Mapping[str, Any]) -> dict[str, Any]:
    """The whole result: figures on top, then limits, then what they are made of, then `about`."""
    values, by_examples = figures(found), accuracies(found)
    return {
        "accuracy_by_examples": {count: round(one.value, 4) for count, one in by_examples.items()},
        "accuracy_intervals": {
            count: [round(one.low, 4), round(one.high, 4)] for count, one in by_examples.items()
        },
        **{name: round(value, 4) for name, value in values.items()},
        "limits": [{**asdict(one), "ok": one.ok} for one in judged(values)],
        "lessons": [asdict(one) for one in found.lessons],
        "answered": asdict(found.answered),
        "usage": asdict(found.usage),
        "compared_after": found.compared_after,
        **about,
    }


def tell(found: Found, console: Console) -> None:
    """A table of examples, a sentence on answers, then the limits."""
    columns = ("examples", "accuracy", "95 %", "without none", "assessed", "ECE", "trains s")
    table = Table(title="\nUnseen pictures", title_justify="left", box=None, pad_edge=False)
    for column in columns:
        table.add_column(column, justify="right", no_wrap=True)
    for one, interval in zip(found.lessons, accuracies(found).values(), strict=True):
        table.add_row(
            str(one.examples),
            f"{interval.value:.3f}",
            f"{interval.low:.3f} to {interval.high:.3f}",
            f"{fmean(one.named):.3f}",
            f"{fmean(one.assessed):.3f}" if one.assessed else "-",
            f"{fmean(one.ece):.3f}",
            f"{fmean(one.train_s):.2f}",
        )
    console.print(table, highlight=False)
    values = figures(found)
    console.print(
        f"\nAs right as after {found.compared_after} answers in random order, with"
        f" {values['answers_saved_by_active_learning']:.0%} fewer if suggested"
        f" ({values['answers_saved_low']:.0%} to {values['answers_saved_high']:.0%}).\n",
        highlight=False,
    )
    used = found.usage
    console.print(
        f"{used.photos} unseen photos of {used.labels} labels, brought as one labelled folder:"
        f" analysed after {used.analyzed_s:.1f} s, trained after {used.trained_s:.1f}, the new"
        f" version at all {used.replicas} replicas after {used.everywhere_s:.1f}, and a photo"
        f" labelled by it after {used.used_s:.1f} ({'rightly' if used.right else 'wrongly'}).\n",
        highlight=False,
    )
    for limit in judged(values):
        console.print(verdict(limit), highlight=False)
