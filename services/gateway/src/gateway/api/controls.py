"""/v1/operations/controls: what operators set for services and lanes while they run."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from typing import Annotated, Any, Final, Self

from fastapi import APIRouter, Path, Query
from pydantic import AfterValidator, AwareDatetime, BaseModel, ConfigDict, Field, model_validator

from gateway.api.door import Door, Wired
from gateway.api.problems import ProblemError, documented
from gateway.api.speakers import NOBODY, Claim
from gateway.catalog import controls
from gateway.catalog.controls import Control, UnknownTargetError, UnruledError
from gateway.catalog.shapes import Shape
from gateway.texts import Name, Reason
from streamkit.rate import parse_rate

router = APIRouter(prefix="/v1/operations/controls", tags=["operations"])

LONGEST_PAUSE: Final = timedelta(days=30)
"""Longer than anybody means; the topics keep what waits for 14 days."""

_MOST_AT_A_TIME: Final = 10_000


def _rate(text: str) -> str:
    parse_rate(text)
    return text


Rate = Annotated[str, Field(max_length=20), AfterValidator(_rate)]
ServiceName = Annotated[str, Path(max_length=100, examples=["ocr"])]
LaneName = Annotated[str, Path(max_length=100, examples=["batch"])]
By = Annotated[Name, Query(description="who does it")]


class ControlChange(BaseModel):
    """What shall be otherwise; what is absent stays as it is, null takes it back."""

    model_config = ConfigDict(extra="forbid")

    paused: bool | None = Field(None, description="whether its work is held back")
    paused_until: AwareDatetime | None = Field(
        None, description="pause until then, at most 30 days; null: until somebody resumes it"
    )
    pause_s: float | None = Field(
        None, gt=0, le=LONGEST_PAUSE.total_seconds(), description="pause for so many seconds"
    )
    rate: Rate | None = Field(
        None,
        description="records that may begin, in all its workers together",
        examples=["20/s", "100/m"],
    )
    concurrency: int | None = Field(
        None,
        ge=1,
        le=_MOST_AT_A_TIME,
        description="records of a lane that a worker's engines hold at a time",
    )
    reason: Reason | None = Field(
        None, description="for the next person; a pause needs one", examples=["a new disk"]
    )
    by: Claim = Field(NOBODY, description="who does it", examples=["ada"])

    @model_validator(mode="after")
    def _sensible(self) -> Self:
        given = self.model_fields_set
        if not given & {"paused", "paused_until", "pause_s", "rate", "concurrency", "reason"}:
            raise ValueError("says nothing that shall be otherwise")
        ends = [self.paused_until, self.pause_s]
        if None not in ends:
            raise ValueError("give either `paused_until` or `pause_s`")
        timed = ends != [None, None]
        if timed and self.paused is False:
            raise ValueError("`paused` is false, and there is an end of a pause")
        if (timed or self.paused) and not (self.reason or "").strip():
            raise ValueError("say a `reason` for the pause: the next person will ask")
        if self.paused_until is not None:
            _check_end(self.paused_until)
        return self

    def changes(self) -> Mapping[str, Any]:
        """As `controls.change` takes them."""
        named = self.model_dump(
            include=self.model_fields_set & {"paused", "paused_until", "rate", "concurrency"}
        )
        if named.get("paused", ...) is None:  # JSON's null: as if it were not there
            del named["paused"]
        if self.pause_s is not None:
            named["paused_until"] = datetime.now(UTC) + timedelta(seconds=self.pause_s)
        if named.get("paused_until") is not None:
            named["paused"] = True
        if self.reason is not None:
            named["reason"] = self.reason
        return named


def _check_end(until: datetime) -> None:
    now = datetime.now(UTC)
    if until <= now:
        raise ValueError("`paused_until` is over already")
    if until > now + LONGEST_PAUSE:
        raise ValueError(f"a pause may last {LONGEST_PAUSE.days} days at most")


class Controls(Shape):
    """All that holds, by target."""

    items: list[Control]


@router.get("", summary="What is paused, bounded or held to a rate", responses=documented(503))
async def list_controls(door: Wired) -> Controls:
    """What was set here, as far as it still holds. What others write straight into
    `ops.control.v1` workers obey as well, and it is not known here."""
    return Controls(items=await door.catalog.ask(controls.controls))


@router.patch(
    "/{service}",
    summary="Pause, bound or slow a service",
    responses=documented(403, 404, 409, 413, 422, 503),
)
async def patch_service(service: ServiceName, change: ControlChange, door: Wired) -> Control:
    """All its lanes, in all its workers, within seconds and until it is taken back: nothing waits
    for a restart, and nothing is lost. A pause ends by itself where it has an end. What a lane has
    of its own goes before what its service has. Answers with what holds now.

    The services are intake, detector, ocr, embedder and gateway (its recorder).
    """
    return await _change(door, service, None, change)


@router.patch(
    "/{service}/{lane}",
    summary="Pause, bound or slow a lane of a service",
    responses=documented(403, 404, 409, 413, 422, 503),
)
async def patch_lane(
    service: ServiceName, lane: LaneName, change: ControlChange, door: Wired
) -> Control:
    """As for a service, of one lane: high, default, batch or learning; of the gateway recorder."""
    return await _change(door, service, lane, change)


@router.delete(
    "/{service}",
    summary="Take back what was set for a service",
    responses=documented(403, 404, 409, 422, 503),
)
async def delete_service(service: ServiceName, door: Wired, by: By = NOBODY.root) -> Control:
    """Also what others wrote straight into the topic. What its lanes have of their own stays."""
    return await _remove(door, service, None, by)


@router.delete(
    "/{service}/{lane}",
    summary="Take back what was set for a lane",
    responses=documented(403, 404, 409, 422, 503),
)
async def delete_lane(
    service: ServiceName, lane: LaneName, door: Wired, by: By = NOBODY.root
) -> Control:
    """What its service has holds for it again."""
    return await _remove(door, service, lane, by)


async def _change(door: Door, service: str, lane: str | None, change: ControlChange) -> Control:
    with _explained():
        target = controls.target_of(service, lane)
    by = door.speaker.named(change.by)
    return await door.catalog.ask(door.writes.control, target, change.changes(), by)


async def _remove(door: Door, service: str, lane: str | None, by: str) -> Control:
    with _explained():
        target = controls.target_of(service, lane)
    return await door.catalog.ask(door.writes.no_control, target, door.speaker.named(Claim(by)))


@contextmanager
def _explained() -> Iterator[None]:
    try:
        yield
    except UnknownTargetError as error:
        raise ProblemError(404, "unknown_target", str(error)) from error
    except UnruledError as error:
        raise ProblemError(409, "obeys_nothing", str(error)) from error
