"""Whether there is enough to learn from, and whether what was learned may be used."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

import numpy as np

from heads import Head
from trainer.assessing import Assessment
from trainer.examples import Examples, Label
from trainer.folds import copies
from trainer.policy import USUAL, Policy
from trainer.suspicion import named


@dataclass(frozen=True, slots=True)
class Verdict:
    """`missing`: how many more examples each label needs. `reason` is for people."""

    enough: bool
    missing: Mapping[str, int]
    reason: str


@dataclass(frozen=True, slots=True)
class Decision:
    """Whether a head is published, and why or why not.

    `active_accuracy`: of the head in use, on the same examples; None if there is none.
    """

    publish: bool
    reason: str
    accuracy: float
    active_accuracy: float | None


def enough(examples: Examples, labels: Iterable[str], policy: Policy = USUAL) -> Verdict:
    """Whether every one of `labels` has examples enough. Only what a person gave counts, and near
    copies count once."""
    groups = copies(examples.vectors, policy.copy_cosine)
    judges = examples.judges
    seen: dict[Label, set[int]] = {}
    for label, group, judge in zip(examples.labels, groups.tolist(), judges, strict=True):
        if judge:
            seen.setdefault(label, set()).add(group)
    wanted = sorted({*labels, *examples.names})
    missing = {
        name: policy.least_examples - len(seen.get(name, ()))
        for name in wanted
        if len(seen.get(name, ())) < policy.least_examples
    }
    if missing:
        needs = [f"{more} more of {named(name)}" for name, more in missing.items()]
        return Verdict(False, missing, f"needs {_listed(needs)}")
    if not wanted or (len(wanted) == 1 and len(seen.get(None, ())) < policy.least_examples):
        return Verdict(False, {}, _only(wanted, policy.least_examples - len(seen.get(None, ()))))
    return Verdict(True, {}, "enough examples of every label")


def answers_of(
    head: Head, examples: Examples, remembered: Mapping[str, Label]
) -> Mapping[str, Label]:
    """What the head in use says of each example, by key. Of what it was shown it remembers what was
    said by its own assessment: by heads that had not been shown it, so that neither head is asked
    what it was told."""
    said = [label for label, _ in head.predict(examples.vectors).best()] if len(examples) else []
    return {key: remembered.get(key, label) for key, label in zip(examples.keys, said, strict=True)}


def gate(
    assessment: Assessment, active: Mapping[str, Label] | None = None, policy: Policy = USUAL
) -> Decision:
    """Published only above the least accuracy, and not if the head in use is right more often about
    the same examples; `active`: what that one says (answers_of)."""
    counted = [answer for answer in assessment.answers if answer.judges]
    accuracy = assessment.accuracy
    before = None
    if active is not None and counted:
        before = float(np.mean([active.get(one.key) == one.true for one in counted]))
    if assessment.unjudged:
        names = _listed([named(name) for name in assessment.unjudged])
        reason = f"no example of {names} could be held out: nothing tells how good it is"
    elif not counted:
        reason = "no example could be held out: nothing tells how good it is"
    elif accuracy <= policy.least_accuracy:
        reason = (
            f"accuracy {accuracy:.1%} ({assessment.low:.1%} to {assessment.high:.1%}) is not above"
            f" {policy.least_accuracy:.1%}"
        )
    elif before is not None and before > accuracy:
        reason = (
            f"the version in use is right about {before:.1%} of the same {len(counted)} examples,"
            f" this one about {accuracy:.1%}"
        )
    else:
        beside = "" if before is None else f", the version in use {before:.1%} on the same"
        reason = f"accuracy {accuracy:.1%} on {len(counted)} examples{beside}"
        return Decision(True, reason, accuracy, before)
    return Decision(False, reason, accuracy, before)


def _only(wanted: list[str], more: int) -> str:
    if not wanted:
        return "needs a label with examples"
    return f"needs a second label, or {more} more of `none`: {named(wanted[0])} alone says nothing"


def _listed(parts: list[str]) -> str:
    return " and ".join(filter(None, (", ".join(parts[:-1]), parts[-1])))
