"""What the catalog shows to people and programs: photos, imports and their items.

These models are the JSON of the REST surface and of the WebSocket; they are read-only views and
say nothing of how rows are kept.
"""

from datetime import datetime
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field

Lane = Literal["high", "default", "batch", "learning"]
Outcome = Literal["auto_labeled", "suggested", "review"]
AnswerKind = Literal["confirm", "correct", "none", "skip"]
PhotoStatus = Literal["pending", "analyzed", "rejected", "cancelled"]
ItemStatus = Literal["pending", "analyzed", "duplicate", "rejected", "cancelled"]
ImportKind = Literal["folder", "archive", "upload", "store", "reprocess"]
BatchState = Literal[
    "scanning",
    "paused",
    "running",
    "cancelling",
    "completed",
    "completed_with_failures",
    "cancelled",
]
FailureKind = Literal["refused", "rejected", "stage_failed"]
Polygon = Annotated[
    list[float],
    Field(
        description="x0, y0, x1, y1, …: corners as fractions (0..1) of the upright photo",
        examples=[[0.1, 0.1, 0.4, 0.1, 0.4, 0.2, 0.1, 0.2]],
    ),
]
Confidence = Annotated[float, Field(ge=0, le=1, examples=[0.86])]


class Shape(BaseModel):
    """A frozen view."""

    model_config = ConfigDict(frozen=True)


class Label(Shape):
    """What the photo may show."""

    name: str = Field(examples=["Egyptian cat"])
    confidence: Confidence


class OwnLabel(Label):
    """One of the user's own labels, and the version of which set's model said so."""

    set: str = Field(examples=["labels"])
    version: str = Field(examples=["head@2c26b46b68ff"])


class Word(Shape):
    """One word as it was read; its confidence is uncalibrated."""

    text: str
    confidence: float
    polygon: Polygon


class Line(Shape):
    """One line of text, words in order; its confidence is uncalibrated."""

    text: str
    confidence: float
    polygon: Polygon
    words: list[Word]


class DetectedObject(Shape):
    """A thing and its box, in fractions of the upright photo; its confidence is uncalibrated."""

    name: str
    confidence: float
    x: float
    y: float
    width: float
    height: float


class Stage(Shape):
    """Which engine made a stage's part, and its milliseconds of work."""

    ms: float = Field(examples=[31.4])
    engine: str = Field(examples=["efficientnet-lite0"])
    model_version: str = Field(examples=["efficientnet-lite0@0123456789ab"])


class Reason(Shape):
    """Why something was refused: a stable code, and a sentence for a person."""

    code: str = Field(examples=["image_truncated"])
    message: str = Field(examples=["The file ends in the middle of the picture."])


class Reviewed(Shape):
    """What a person says that a photo shows, asked about an outcome."""

    answer_id: str
    answer: AnswerKind = Field(
        description="confirm: the suggested label is right · correct: another one is · none: no"
        " label fits · skip: nothing"
    )
    label: str | None = Field(description="what it shows; null for none and skip")
    reviewer: str = Field(examples=["ada"])
    answered_at: datetime


class Links(Shape):
    """Where the photo and its pictures are; null where there is none (yet)."""

    self: str
    thumbnail: str | None
    rendition: str | None
    original: str | None


class Photo(Shape):
    """A photo and what its analysis came to.

    `analyzed` only once the outcome and every part that it used are in the catalog, so labels,
    text and embedding are never half there.
    """

    photo_id: str = Field(examples=["affa6966-7080-5191-9861-4f6c4adc6cbb"])
    analysis_id: str | None
    revision: int = Field(description="of the analysis, from 1", examples=[1])
    file_name: str | None = Field(examples=["chelsea.jpg"])
    status: PhotoStatus
    outcome: Outcome | None = None
    label: str | None = Field(default=None, description="the best label")
    confidence: float | None = Field(default=None, description="probability of the best label")
    calibrated: bool | None = Field(
        default=None,
        description="whether the confidences of the labels were fitted on at least 200 labelled "
        "photos; false: uncalibrated, 0.9 need not mean right nine times out of ten",
    )
    category: str | None = Field(default=None, examples=["cat"])
    labels: list[Label] = Field(default=[], description="best first")
    own_labels: list[OwnLabel] = Field(
        default=[], description="those of them that are the user's own, best first"
    )
    text: str | None = Field(default=None, description='"" when no text was found')
    lines: list[Line] = []
    objects: list[DetectedObject] = []
    caption: str | None = None
    embedding_dim: int | None = Field(default=None, examples=[1280])
    partial: bool = Field(default=False, description="a stage failed, a person has to look")
    failed_stages: list[str] = []
    reason: str | None = Field(default=None, description="why it was routed so")
    stages: dict[str, Stage] = {}
    lane: Lane
    width: int | None = Field(default=None, description="pixels of the upright original")
    height: int | None = None
    media_type: str | None = Field(default=None, examples=["image/jpeg"])
    byte_size: int | None = None
    taken_at: datetime | None = Field(default=None, description="the camera's local time")
    camera_make: str | None = None
    camera_model: str | None = None
    latitude: float | None = None
    longitude: float | None = None
    submitted_at: datetime
    decided_at: datetime | None = Field(default=None, description="of the outcome or rejection")
    duplicate_of: str | None = Field(
        default=None, description="the photo these bytes already are, in answer to an upload"
    )
    error: Reason | None = Field(default=None, description="why it was rejected")
    reviewed: Reviewed | None = Field(
        default=None, description="the newest answer of a person; what the machine said stays"
    )
    links: Links


class PhotoPage(Shape):
    """Some photos, newest first; `next` is the cursor of the following ones, null at the end."""

    items: list[Photo]
    next: str | None


class Hit(Shape):
    """A search result; scores of one answer can be compared with each other."""

    score: float = Field(ge=0, le=1)
    photo: Photo


class Hits(Shape):
    """Search results, best first."""

    items: list[Hit]


class Failure(Shape):
    """A reason, and how many files of an import it stopped."""

    kind: FailureKind = Field(
        description="refused: never read · rejected: no photo · stage_failed: analysed without it"
    )
    stage: str | None = Field(default=None, description="which stage failed", examples=["ocr"])
    code: str = Field(examples=["image_truncated"])
    message: str = Field(description="for a person, as of the first of the files")
    count: int = Field(ge=1, description="files; one with two failed stages counts for both")
    paths: list[str] = Field(description="the first few of them")


class Batch(Shape):
    """An import. found = duplicates + rejected + accepted + pending, pending 0 at the end;
    accepted = auto_labeled + suggested + review + cancelled.
    """

    batch_id: str
    state: BatchState
    kind: ImportKind
    title: str = Field(description="what is imported, in words", examples=["Pictures and Scans"])
    lane: Lane
    roots: list[str] = Field(description="absolute paths as asked for")
    expected: int | None = Field(description="files that there are; null until they are counted")
    found: int = Field(
        description="files met so far; an import does not run far ahead of its photos"
    )
    duplicates: int
    rejected: int
    accepted: int
    auto_labeled: int
    suggested: int
    review: int
    cancelled: int
    partial: int = Field(description="of the outcomes: those with a failed stage")
    pending: int = Field(description="without an end yet")
    in_flight: int = Field(description="of these: photos that are being analysed now")
    repaired: int = Field(description="of the partial ones: those that a later try made whole")
    sealed: bool = Field(description="the scan is over, `found` is final")
    waits_for: str | None = Field(
        description="why its scan stands still: what is away, or full; null while it goes on"
    )
    rate: float | None = Field(
        description="files a second that ended, over the last 30 s; null while unknown and after"
    )
    rate_overall: float | None = Field(description="the same since the start, pauses included")
    eta_s: float | None = Field(
        description="seconds left; null while unknown, while nothing moves, and when it is over"
    )
    eta_low_s: float | None = Field(description="8 times of 10 it is between this")
    eta_high_s: float | None = Field(description="and this")
    failures: list[Failure] = Field(
        description="by reason, the commonest first; what was repaired is left out"
    )
    failures_of: int = Field(
        description="failed files that `failures` is of: all, but of very many only the first"
    )
    elapsed_s: float
    started_at: datetime
    completed_at: datetime | None
    paused_by: str | None
    paused_at: datetime | None
    paused_until: datetime | None = Field(description="null: until somebody resumes it")
    cancelled_by: str | None
    cancelled_at: datetime | None


class Batches(Shape):
    """Imports, newest first."""

    items: list[Batch]


class Item(Shape):
    """One file of an import. `photo` is null for a duplicate, for a file that was rejected or
    cancelled, and for a photo that is not kept any more."""

    index: int
    path: str
    status: ItemStatus
    photo_id: str | None
    duplicate_of: str | None = Field(description="the photo that these bytes already are")
    duplicate_of_path: str | None = Field(description="a file with the same bytes")
    error: Reason | None
    photo: Photo | None


class ItemPage(Shape):
    """Items by index; `next` is the cursor of the following ones, null at the end."""

    items: list[Item]
    next: str | None


class Counts(Shape):
    """Photos by what became of them, and files that imports could not even read."""

    photos: int
    pending: int
    cancelled: int = Field(description="photos whose analysis was called off with their import")
    auto_labeled: int
    suggested: int
    review: int
    rejected: int
    refused: int = Field(description="files of imports that never became a photo")
