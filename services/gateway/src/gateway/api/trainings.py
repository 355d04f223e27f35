"""/v1/trainings: what asked for a model of the user's own labels."""

from typing import Annotated

from fastapi import APIRouter, Query

from gateway.api.door import Wired
from gateway.api.problems import documented
from gateway.catalog.trainings import Trainings, trainings

router = APIRouter(prefix="/v1/trainings", tags=["trainings"])


@router.get("", summary="Requests to train, newest first", responses=documented(422, 503))
async def list_trainings(door: Wired, limit: Annotated[int, Query(ge=1, le=100)] = 10) -> Trainings:
    """What asked for a model of the user's own labels, and what became of it."""
    return Trainings(items=await door.catalog.ask(trainings, limit))
