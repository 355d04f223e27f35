"""/v1/load: how much of each lane waits, and how much more is taken in."""

from typing import Annotated, Final

from fastapi import APIRouter, Query
from pydantic import AfterValidator, BaseModel, Field

from gateway.adapting import SHARES
from gateway.api.door import Wired
from gateway.api.problems import documented
from gateway.api.speakers import NOBODY, Claim
from gateway.catalog import loads, shares
from gateway.catalog.loads import Load
from gateway.catalog.shapes import Lane, Shape
from gateway.catalog.shares import Share
from gateway.texts import Name, Reason

router = APIRouter(prefix="/v1/load", tags=["operations"])

_LONGEST_S: Final = 30 * 24 * 3600.0


class Loads(Shape):
    """All lanes as the control door measured them last; none before it has."""

    warn_at: int = Field(description="photos that may wait before a lane is warned of", ge=1)
    refuse_at: int = Field(description="photos from which on new ones are refused", ge=1)
    lanes: list[Load]
    admission: list[Share] = Field(description="how much of the limits is let in of each lane")


def _known(share: float) -> float:
    if share not in SHARES:
        raise ValueError("is 0.5, 1 or 2")
    return share


class PinRequest(BaseModel):
    """How much of a lane shall be let in, and why."""

    share: Annotated[float, AfterValidator(_known)] = Field(
        description="times what is configured: 0.5, 1 or 2", examples=[0.5]
    )
    for_s: float | None = Field(
        None, gt=0, le=_LONGEST_S, description="for so many seconds; null: until it is taken back"
    )
    reason: Reason = Field(examples=["The other half of this machine is needed tonight."])
    by: Claim = Field(NOBODY, description="who sets it", examples=["ada"])


@router.get("", summary="How much waits, and what is refused", responses=documented(503))
async def get_load(door: Wired) -> Loads:
    """Each lane's load is what waits in the outbox and for intake, and what waits for the stage
    with most to do. From `refuse_at` on new photos of that lane are refused with 503 `lane_full`
    until there are fewer than `warn_at`; imports pace themselves instead.

    `admission` says by how much more or less than the limits is let in of each lane now, and why:
    half where the workers are busy, twice as much where they have room."""
    limits = door.settings.lag_limits
    lanes = await door.catalog.ask(loads.loads)
    admission = await door.catalog.ask(shares.shares)
    return Loads(
        warn_at=limits.warn_at, refuse_at=limits.refuse_at, lanes=lanes, admission=admission
    )


@router.put(
    "/{lane}/share",
    summary="Set how much of a lane is let in",
    responses=documented(403, 413, 422, 503),
)
async def put_share(lane: Lane, wanted: PinRequest, door: Wired) -> Share:
    """It holds instead of what the load of the workers comes to, at every door within a second."""
    about = door.speaker.named(wanted.by), wanted.reason
    pinned = await door.catalog.ask(shares.pin, lane, wanted.share, wanted.for_s, about)
    door.shares.forget()
    return pinned


@router.delete(
    "/{lane}/share", summary="Let the load decide again", responses=documented(403, 422, 503)
)
async def delete_share(
    lane: Lane,
    door: Wired,
    by: Annotated[Name, Query(description="who takes it back")] = NOBODY.root,
) -> Share:
    """What is measured holds again. Harmless to repeat."""
    unpinned = await door.catalog.ask(shares.unpin, lane, door.speaker.named(Claim(by)))
    door.shares.forget()
    return unpinned
