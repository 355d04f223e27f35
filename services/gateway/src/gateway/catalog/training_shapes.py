"""Trainings of the user's own labels as people and programs see them."""

from datetime import datetime
from typing import Any, Final, Literal

from pydantic import Field

from gateway.catalog.label_shapes import Source
from gateway.catalog.shapes import Shape

State = Literal[
    "requested",
    "skipped",
    "merged",
    "prepared",
    "running",
    "published",
    "candidate",
    "not_enough",
    "failed",
    "cancelled",
    "timed_out",
]

NO_EXAMPLES: Final = "no label has examples"


class Training(Shape):
    """A request to train, and what came of it."""

    request_id: str
    model: str = Field(description="and the set of labels that it learns", examples=["labels"])
    reason: str = Field(description="batch, person or schedule")
    batch_id: str | None = Field(description="the import that was large enough, if it asked")
    state: State = Field(
        description="requested: it waits · prepared: a trainer may take it · running · published:"
        " its version holds · candidate: the version is kept, and note says why it does not hold ·"
        " not_enough: examples are missing · failed, cancelled, timed_out · skipped, merged: it had"
        " no training of its own"
    )
    note: str | None = Field(
        description="what it waits for; at the end why it ended so", examples=[NO_EXAMPLES]
    )
    merged_into: str | None = Field(
        description="the request that stands for this one, too; itself not merged"
    )
    requested_at: datetime
    due_at: datetime | None = Field(description="it begins no sooner; null: it does not begin")
    prepared_at: datetime | None = Field(description="since then trainers are told of it")
    started_at: datetime | None = Field(description="since then a trainer has it")
    ended_at: datetime | None
    step: str | None = Field(description="what is done", examples=["assessing"])
    done: float | None = Field(description="share of the work, 0 to 1")
    token: int | None = Field(description="of the trainer; nothing by a lower one is taken")
    worker: str | None = Field(description="who trains", examples=["trainer@studio:4711"])
    version: str | None = Field(description="that came of it", examples=["head@2c26b46b68ff"])
    seconds: float | None = Field(description="that it took")
    accuracy: float | None = Field(description="on examples that were held out")
    accuracy_low: float | None = Field(description="of its 95 % interval")
    accuracy_high: float | None
    calibration_error: float | None
    examples: int | None = Field(description="that it was assessed by")
    report: str | None = Field(
        description="where the report is", examples=["/v1/trainings/{request_id}"]
    )


class Trainings(Shape):
    """Requests, newest first."""

    items: list[Training]


Since = Literal["changed", "removed"]


class Doubt(Shape):
    """Why an example is suspicious."""

    kind: str = Field(examples=["mislabelled"])
    reason: str


class Suspicious(Shape):
    """An example that is likely wrong, or of little use."""

    photo_id: str
    file_name: str | None
    thumbnail: str = Field(description="its small picture")
    label: str | None = Field(description="that it was taught as; null: none, if source is known")
    source: Source | None = Field(description="who said so; null: not known any more")
    since: Since | None = Field(
        description="what people did with the example after the training; null: nothing"
    )
    label_now: str | None = Field(
        description="that people say it shows now; null: none, or nobody says anything"
    )
    doubts: list[Doubt]


class TrainingDetail(Training):
    """A training with its report, as far as it has one."""

    metrics: dict[str, Any] = Field(
        description="confusion, precision and recall by label, and the rest that its trainer says"
    )
    suspicious: list[Suspicious]
    suspicious_of: int = Field(description="how many photos; 200 are listed")
    report_missing: str | None = Field(
        description="why what the report says of examples can't be had"
    )
