"""From people's answers about photos (`review.answered.v1`) to photos whose labels are known."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Final, Literal, cast, get_args

from detector.calibrate_examples import Example, Names

Kind = Literal["confirm", "correct", "none", "skip", "withdrawn"]

_KINDS: Final = frozenset(get_args(Kind))


@dataclass(frozen=True, slots=True)
class Answer:
    """What a person said about a photo; `label` is None for none, skip and withdrawn."""

    answer_id: str
    photo_id: str
    kind: Kind
    label: str | None
    answered_at: datetime


def answer_of(event: Mapping[str, Any]) -> Answer:
    """The Answer of an event of the topic. Raises ValueError for one that makes no sense."""
    kind, label = event["answer"], event["label"]
    if kind not in _KINDS:
        raise ValueError(f"'{kind}' is no answer: confirm, correct, none, skip or withdrawn are")
    if (kind in ("confirm", "correct")) != bool(label):
        raise ValueError(f"an answer '{kind}' with the label {label!r}")
    return Answer(
        event["answer_id"], event["photo_id"], cast(Kind, kind), label, event["answered_at"]
    )


@dataclass(slots=True)
class Newest:
    """The newest answer about each photo, whatever order they come in. No I/O.

    A skip says nothing, so an answer that was there before it still counts; one that was withdrawn
    does not. Of answers of one moment the one with the largest id is taken.
    """

    answers: int = 0
    skips: int = 0
    _of: dict[str, Answer] = field(default_factory=dict)

    def add(self, answer: Answer) -> None:
        """There is this answer; it may come again."""
        self.answers += 1
        if answer.kind == "skip":
            self.skips += 1
            return
        known = self._of.get(answer.photo_id)
        if known is None or _later(known) < _later(answer):
            self._of[answer.photo_id] = answer

    @property
    def photos(self) -> int:
        """Photos that an answer counts for."""
        return sum(answer.kind != "withdrawn" for answer in self._of.values())

    def examples(self, names: Names) -> tuple[list[Example], list[tuple[str, str]]]:
        """Photos (their ids are their names) with their labels, and those left out with the reason:
        their label is none of this model's.
        """
        found, left_out = [], []
        for photo_id, answer in sorted(self._of.items()):
            if answer.kind == "withdrawn":
                continue
            label = names.label("none" if answer.label is None else answer.label)
            if label is None:
                left_out.append((photo_id, f"'{answer.label}' is no label of this model."))
            else:
                found.append(Example(photo_id, label, photo_id))
        return found, left_out


def _later(answer: Answer) -> tuple[datetime, str]:
    return answer.answered_at, answer.answer_id
