"""What the catalog says of an import as a whole: why files failed, and how it went in numbers."""

from pydantic import Field

from gateway.catalog.shapes import BatchState, Failure, FailureKind, Shape


class FailedFile(Shape):
    """A file of an import that failed, or a stage on it."""

    index: int
    path: str
    kind: FailureKind
    stage: str | None
    code: str
    message: str
    photo_id: str | None


class Failures(Shape):
    """Why files of an import failed: all reasons (on the first page), and the files by index;
    `next` is the cursor of the following ones, null at the end."""

    reasons: list[Failure]
    items: list[FailedFile]
    next: str | None


class LabelCount(Shape):
    """Photos of an import by their best label, and how sure of it their analysis was."""

    label: str = Field(examples=["Egyptian cat"])
    count: int
    auto_labeled: int
    suggested: int
    review: int


class Spread(Shape):
    """Milliseconds: half of the files took at most p50, 95 of 100 at most p95."""

    p50: float
    p95: float
    of: int = Field(description="files that were looked at")


class Statistics(Shape):
    """An import in numbers. total = duplicates + success + failed + cancelled + pending."""

    batch_id: str
    state: BatchState
    total: int
    success: int = Field(description="files with an outcome")
    failed: int = Field(description="refused and rejected files")
    duplicates: int
    cancelled: int
    pending: int
    partial: int = Field(description="of the successes: those with a failed stage")
    success_rate: float | None = Field(
        description="success / (success + failed), 0..1; null while there are neither"
    )
    files_per_s: float | None
    elapsed_s: float
    labels: list[LabelCount] = Field(description="the commonest first")
    labels_left_out: int = Field(description="further labels, too many to list")
    durations: dict[str, Spread] = Field(
        description="`total`: from submission to end; else by stage, the stage's own work. Of at"
        " most about 20,000 files, evenly spread"
    )
