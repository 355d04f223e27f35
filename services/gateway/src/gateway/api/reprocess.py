"""/v1/reprocess: known photos analysed again."""

from typing import Annotated
from uuid import UUID

from fastapi import APIRouter, Response
from pydantic import BaseModel, Field

from darkroom_schemas.stages import now
from gateway.api.door import Wired
from gateway.api.problems import documented, not_found
from gateway.api.speakers import NOBODY, Claim
from gateway.catalog import read_batches
from gateway.catalog.reprocess import AgainLane, Preview, Selection, preview
from gateway.catalog.shapes import Batch

router = APIRouter(prefix="/v1/reprocess", tags=["imports"])


class ReprocessRequest(BaseModel):
    """Which photos, and how urgently."""

    filter: Annotated[Selection, Field(examples=[{"missing": "ocr"}])]
    lane: AgainLane = "batch"
    dry_run: bool = Field(False, description="only say which photos that means")
    by: Claim = Field(NOBODY, description="who asks", examples=["ada"])


@router.post(
    "",
    summary="Analyse photos again",
    responses={
        200: {"model": Preview, "description": "Of a dry run: nothing was begun"},
        202: {"model": Batch, "description": "Begun, as an import of the kind `reprocess`"},
        **documented(403, 413, 422, 429, 503),
    },
)
async def post_reprocess(
    wanted: ReprocessRequest, door: Wired, response: Response
) -> Preview | Batch:
    """Give the photos that fit the filter a new analysis, with today's models and policy.

    What is known of a photo is shown until the new outcome is there. It is an import like others:
    it can be followed, paused, resumed and cancelled. Photos that are handed in later are none of
    it.
    """
    if wanted.dry_run:
        return await door.catalog.ask(preview, wanted.filter, now())
    by = door.speaker.named(wanted.by)
    batch_id = await door.catalog.ask(door.writes.reprocess, wanted.filter, wanted.lane, by)
    batch = await door.catalog.ask(read_batches.batch, UUID(batch_id))
    if batch is None:
        raise not_found("import")
    response.status_code = 202
    return batch
