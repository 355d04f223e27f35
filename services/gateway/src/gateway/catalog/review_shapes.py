"""Reviews as people and programs see them."""

from dataclasses import dataclass
from datetime import datetime
from typing import Literal
from uuid import UUID

from pydantic import Field

from gateway.catalog.shapes import AnswerKind, Label, Links, Outcome, Reviewed, Shape

Order = Literal["useful", "uncertain", "newest", "oldest"]


class ReviewItem(Shape):
    """A photo that somebody was given to look at; until `leased_until` nobody else gets it."""

    photo_id: str
    analysis_id: str
    revision: int = Field(description="of the analysis; another one by then is refused")
    file_name: str | None
    outcome: Outcome
    label: str | None = Field(description="what `confirm` confirms")
    confidence: float | None
    calibrated: bool
    labels: list[Label] = Field(description="best first")
    category: str | None
    reason: str = Field(description="why it has this outcome")
    audit: bool = Field(
        description="whether it was labelled without asking, and drawn by lot: is that label right?"
    )
    partial: bool
    doubt: float = Field(description="1 - confidence of the best label")
    decided_at: datetime
    lease: str = Field(description="send it with the answer")
    leased_until: datetime
    links: Links


class ReviewItems(Shape):
    """Photos to look at, in the order that was asked for; none if nobody has to look at any."""

    items: list[ReviewItem]


class ReviewAnswer(Reviewed):
    """What somebody said of a photo, and what they were shown."""

    photo_id: str
    analysis_id: str
    revision: int
    suggested_label: str | None
    suggested_confidence: float | None
    calibrated: bool
    model_version: str | None = Field(description="weights that suggested it")
    undone_at: datetime | None = Field(description="since when it counts no more")


class ReviewAnswers(Shape):
    """Answers, the newest first; `next` is the cursor of the earlier ones, null at the end."""

    items: list[ReviewAnswer]
    next: str | None


class Undone(Shape):
    """An answer that counts no more, and the one that holds of the photo then, if any does."""

    undone: ReviewAnswer
    holds: ReviewAnswer | None


class Released(Shape):
    """Whether you had it."""

    released: bool


class WaitingLabel(Shape):
    """Photos that wait, of one outcome and suggested label."""

    outcome: Outcome
    label: str | None
    waiting: int


class ReviewerToday(Shape):
    """What somebody answered since midnight, UTC; without what they undid."""

    reviewer: str
    answers: int
    confirm: int
    correct: int
    none: int
    skip: int


class Reviews(Shape):
    """How much is to be looked at, and who does."""

    waiting: int
    leased: int = Field(description="of these: that somebody is looking at")
    audits: int = Field(description="of these: that were labelled without asking, and drawn by lot")
    by_outcome: dict[Outcome, int] = Field(description="without audits")
    by_label: list[WaitingLabel] = Field(description="the commonest first, 200 at most")
    answered_today: int
    today: list[ReviewerToday] = Field(description="the busiest first")


@dataclass(frozen=True, slots=True)
class Said:
    """What somebody says of a photo. `lease` and `seen` (analysis and revision): what they answer
    to, None if they don't say."""

    answer_id: UUID
    answer: AnswerKind
    label: str | None
    reviewer: str
    lease: UUID | None = None
    seen: tuple[UUID | None, int | None] = (None, None)


@dataclass(frozen=True, slots=True)
class AnswerPlace:
    """A place in the list of answers."""

    answered_at: datetime
    answer_id: UUID


class ReviewError(Exception):
    """An answer that can't be taken: a stable code, a sentence, and the same by fields.

    Its `status` is that of HTTP: 409 if it comes too late, 422 if it makes no sense.
    """

    def __init__(self, code: str, message: str, status: int = 409, **more: object) -> None:
        super().__init__(message)
        self.code = code
        self.status = status
        self.more = more
