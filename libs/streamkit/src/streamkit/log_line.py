"""The shape of a log line; `docs/logs-and-traces.md` says what its fields mean."""

from typing import Annotated, Literal

from pydantic import AwareDatetime, BaseModel, ConfigDict, Field

Level = Literal["debug", "info", "warning", "error", "critical"]

LEVELS: tuple[Level, ...] = ("debug", "info", "warning", "error", "critical")
"""Rising."""

_Words = Annotated[str, Field(min_length=1)]


class LogLine(BaseModel):
    """One line. Every line has the first five; the others where they apply, and more of its own."""

    model_config = ConfigDict(frozen=True, extra="allow", strict=True)

    timestamp: Annotated[AwareDatetime, Field(strict=False)]
    level: Level
    logger: _Words
    event: str
    service: _Words
    engine: _Words | None = None
    lane: str | None = None
    topic: _Words | None = None
    partition: Annotated[int, Field(ge=0)] | None = None
    offset: Annotated[int, Field(ge=0)] | None = None
    attempt: Annotated[int, Field(ge=1)] | None = None
    records: int | None = None
    trace_id: Annotated[str, Field(pattern="^[0-9a-f]{32}$")] | None = None
    photo_id: _Words | None = None
    batch_id: _Words | None = None
    exception: str | None = None
