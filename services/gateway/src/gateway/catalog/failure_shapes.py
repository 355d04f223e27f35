"""Failures as people and programs see them: what went wrong, what helps, what was done about it."""

from datetime import datetime
from typing import Annotated, Literal, get_args
from uuid import UUID

from pydantic import AwareDatetime, ConfigDict, Field, StringConstraints

from gateway.catalog.shapes import Shape
from gateway.texts import Name

FailedStage = Literal["import", "intake", "detector", "ocr", "embedder"]
FailureState = Literal["open", "replaying", "discarded"]
ReplayState = Literal["running", "done", "stopped"]
StepKind = Literal[
    "submitted",
    "prepared",
    "failed",
    "decided",
    "replay_asked",
    "replayed",
    "replay_ended",
    "discarded",
    "restored",
]

MOST_NAMED = 1_000
"""Failures that can be named one by one."""

FailureId = Annotated[
    str,
    StringConstraints(
        pattern="^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}:("
        + "|".join(get_args(FailedStage))
        + ")$"
    ),
    Field(examples=["a5473df0-ba57-53d7-a6ba-f6a00c0e973f:ocr"]),
]
"""Analysis and stage; of a file of an import, which has no analysis, an id of its own."""


class ChosenFailures(Shape):
    """Which failures: those that fit everything that is set; nothing set: all."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    stage: FailedStage | None = Field(
        None, description="import: the file could not be read; intake: the photo was rejected"
    )
    code: Name | None = Field(None, examples=["engine_failed"])
    batch: UUID | None = Field(None, description="of this import")
    after: AwareDatetime | None = Field(None, description="failed at or after")
    before: AwareDatetime | None = Field(None, description="failed before")
    failures: tuple[FailureId, ...] | None = Field(None, max_length=MOST_NAMED)


class FailedPhoto(Shape):
    """A photo that failed."""

    failure_id: str
    photo_id: str | None = Field(description="null of a file that is none")
    file_name: str | None
    thumbnail: str | None


class FailureGroup(Shape):
    """Failures of one stage with one code."""

    stage: FailedStage
    code: str = Field(examples=["engine_failed"])
    reason: str = Field(description="for a person, as the newest of them has it")
    cure: str = Field(description="what to do about it")
    count: int
    replaying: int = Field(description="of these: those that are being tried again")
    replayable: bool = Field(description="whether there are photos to look at again")
    first_at: datetime
    last_at: datetime
    examples: list[FailedPhoto] = Field(description="the newest few")


class LetterGroup(Shape):
    """Dead letters that belong to no photo here, such as records that can't be read."""

    service: str = Field(examples=["intake"])
    code: str = Field(examples=["not_framed"])
    reason: str
    cure: str
    count: int
    first_at: datetime
    last_at: datetime
    command: str = Field(description="shows them", examples=["darkroom dlq list intake"])


class Failures(Shape):
    """The inbox: what failed and is not whole yet, the commonest first; what nobody can try again
    here; and how many were laid aside."""

    count: int
    replaying: int
    discarded: int
    groups: list[FailureGroup]
    letters: list[LetterGroup]


class Step(Shape):
    """Something that happened to a failed photo."""

    at: datetime
    what: StepKind
    detail: str | None = None
    by: str | None = None


class Discard(Shape):
    """That, and why, somebody laid a failure aside."""

    reason: str
    by: str
    at: datetime


class FailureItem(Shape):
    """One failure, with all that happened, the oldest first."""

    failure_id: str
    photo_id: str | None = Field(description="null of a file that is none")
    analysis_id: str | None = Field(description="null likewise")
    file_name: str | None
    stage: FailedStage
    code: str
    reason: str
    cure: str
    attempts: int | None = Field(description="null of a rejected photo")
    failed_at: datetime
    state: FailureState
    discard: Discard | None
    thumbnail: str | None
    timeline: list[Step]


class FailurePage(Shape):
    """Failures, the newest first; `next` is the cursor of the earlier ones, null at the end."""

    items: list[FailureItem]
    next: str | None


class ReplayPreview(Shape):
    """What a replay would do."""

    count: int = Field(description="failures that it would try again")
    beyond: int = Field(description="further ones that fit, and are too many for one replay")


class Replay(Shape):
    """Failures that are tried again. total = waiting + under_way + changed + failed_again +
    unanswered + impossible + settled + stopped."""

    replay_id: str
    state: ReplayState
    asked_by: str
    lane: str
    filter: ChosenFailures
    asked_at: datetime
    ended_at: datetime | None
    total: int
    beyond: int = Field(description="failures that fit, too, and were too many for one replay")
    waiting: int = Field(description="not begun yet")
    under_way: int
    changed: int = Field(description="the photo has a new revision or outcome without the failure")
    failed_again: int
    unanswered: int = Field(description="nothing was heard for an hour")
    impossible: int = Field(description="there are no bytes to look at")
    settled: int = Field(description="were whole already when their turn came")
    stopped: int = Field(description="not begun, since somebody stopped it")


class Replays(Shape):
    """Replays, the newest first."""

    items: list[Replay]


class Changed(Shape):
    """How many failures something was done about."""

    count: int
