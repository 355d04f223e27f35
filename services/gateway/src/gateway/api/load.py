"""/v1/load: how much of each lane waits, and whether more is taken in."""

from fastapi import APIRouter
from pydantic import Field

from gateway.api.door import Wired
from gateway.api.problems import documented
from gateway.catalog import loads
from gateway.catalog.loads import Load
from gateway.catalog.shapes import Shape

router = APIRouter(prefix="/v1/load", tags=["operations"])


class Loads(Shape):
    """All lanes as the control door measured them last; none before it has."""

    warn_at: int = Field(description="photos that may wait before a lane is warned of", ge=1)
    refuse_at: int = Field(description="photos from which on new ones are refused", ge=1)
    lanes: list[Load]


@router.get("", summary="How much waits, and what is refused", responses=documented(503))
async def get_load(door: Wired) -> Loads:
    """Each lane's load is what waits in the outbox and for intake, and what waits for the stage
    with most to do. From `refuse_at` on new photos of that lane are refused with 503 `lane_full`
    until there are fewer than `warn_at`; imports pace themselves instead."""
    limits = door.settings.lag_limits
    lanes = await door.catalog.ask(loads.loads)
    return Loads(warn_at=limits.warn_at, refuse_at=limits.refuse_at, lanes=lanes)
