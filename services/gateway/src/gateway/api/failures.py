"""/v1/failures: what went wrong, and what people do about it."""

from typing import Annotated, Literal
from uuid import UUID

from fastapi import APIRouter, Query, Response
from pydantic import BaseModel, Field

from gateway.api.cursors import decode_failure, encode_failure
from gateway.api.door import Wired
from gateway.api.problems import documented, not_found
from gateway.api.speakers import NOBODY, Claim
from gateway.catalog import failure_discards, failure_replays, failures
from gateway.catalog.failure_shapes import (
    Changed,
    ChosenFailures,
    FailedStage,
    FailurePage,
    Failures,
    FailureState,
    Replay,
    ReplayPreview,
    Replays,
)
from gateway.catalog.reprocess import AgainLane
from gateway.roles import reaches
from gateway.texts import Name, Reason

router = APIRouter(prefix="/v1/failures", tags=["failures"])

Most = Annotated[int, Query(ge=1, le=100, description="at most so many")]


class ReplayRequest(BaseModel):
    """Which failures, and how urgently."""

    filter: Annotated[ChosenFailures, Field(examples=[{"stage": "ocr", "code": "engine_failed"}])]
    lane: AgainLane = "batch"
    most: int = Field(
        failure_replays.MOST, ge=1, le=failure_replays.MOST, description="at most so many"
    )
    dry_run: bool = Field(False, description="only say how many that means")
    by: Claim = Field(NOBODY, description="who asks", examples=["ada"])


class DiscardRequest(BaseModel):
    """Which failures, and why."""

    filter: ChosenFailures
    reason: Annotated[Reason, Field(examples=["These are screenshots of the scanner."])]
    by: Claim = Field(NOBODY, description="who asks", examples=["ada"])


class RestoreRequest(BaseModel):
    """Which discarded failures."""

    filter: ChosenFailures
    by: Claim = Field(NOBODY, description="who asks", examples=["ada"])


class StopRequest(BaseModel):
    """Who stops a replay."""

    by: Claim = Field(NOBODY, description="who asks", examples=["ada"])


@router.get("", summary="The inbox of failures", responses=documented(503))
async def get_failures(door: Wired) -> Failures:
    """All photos, of all imports and by themselves, that failed and are not whole yet, in groups of
    one stage and code. One leaves the inbox as soon as a later try makes it whole.

    `letters`, only for admins: records that were given up and belong to no photo.
    """
    letters = reaches(door.speaker.role, "admin")
    return await door.catalog.ask(failures.inbox, letters=letters)


@router.get("/items", summary="Failures, one by one", responses=documented(422, 503))
async def get_items(
    door: Wired,
    stage: FailedStage | None = None,
    code: Name | None = None,
    batch: UUID | None = None,
    state: Annotated[
        Literal["inbox", "open", "replaying", "discarded"],
        Query(description="inbox: open and replaying"),
    ] = "inbox",
    cursor: str | None = None,
    limit: Most = 50,
) -> FailurePage:
    """The newest first, each with all that happened to it."""
    chosen = ChosenFailures(stage=stage, code=code, batch=batch)
    states: tuple[FailureState, ...] = failures.INBOX if state == "inbox" else (state,)
    items, place = await door.catalog.ask(
        failures.failures, chosen, states, after=decode_failure(cursor), limit=limit
    )
    return FailurePage(items=items, next=encode_failure(place))


@router.post(
    "/replay",
    summary="Try failures again",
    responses={
        200: {"model": ReplayPreview, "description": "Of a dry run: nothing was begun"},
        202: {"model": Replay, "description": "Begun; goes on also if the gateway restarts"},
        **documented(403, 413, 422, 503),
    },
)
async def post_replay(
    wanted: ReplayRequest, door: Wired, response: Response
) -> ReplayPreview | Replay:
    """Once what made them fail was put right. Stages that gave up look again, they alone, which
    makes the next revision of the photo's outcome; rejected photos are analysed anew.

    What is being tried again already, or was discarded, is left out, so asking twice does nothing
    twice. Follow it at `/v1/failures/replays/{id}`.
    """
    if wanted.dry_run:
        return await door.catalog.ask(failure_replays.preview, wanted.filter, wanted.most)
    begun = await door.catalog.ask(
        door.writes.replay,
        wanted.filter,
        wanted.lane,
        door.speaker.named(wanted.by),
        wanted.most,
    )
    response.status_code = 202
    return await _replay(door, UUID(begun))


@router.get("/replays", summary="Replays", responses=documented(422, 503))
async def get_replays(door: Wired, limit: Most = 20) -> Replays:
    """The newest first."""
    return Replays(items=await door.catalog.ask(failure_replays.replays, limit))


@router.get("/replays/{replay_id}", summary="A replay", responses=documented(404, 422, 503))
async def get_replay(replay_id: UUID, door: Wired) -> Replay:
    """How far it is, and how many results it changed."""
    return await _replay(door, replay_id)


@router.post(
    "/replays/{replay_id}/stop",
    summary="Stop a replay",
    responses=documented(403, 404, 413, 422, 503),
)
async def post_stop(replay_id: UUID, door: Wired, wanted: StopRequest | None = None) -> Replay:
    """Begin no more of it; what is under way goes on. The others are open again."""
    by = door.speaker.named((wanted or StopRequest()).by)
    await door.catalog.ask(failure_replays.stop, replay_id, by)
    return await _replay(door, replay_id)


@router.post("/discard", summary="Discard failures", responses=documented(403, 413, 422, 503))
async def post_discard(wanted: DiscardRequest, door: Wired) -> Changed:
    """They leave the inbox, and come back if they are restored, or fail once more. Those that are
    being tried again stay. Photos and what is known of them stay as they are."""
    count = await door.catalog.ask(
        failure_discards.discard, wanted.filter, wanted.reason, door.speaker.named(wanted.by)
    )
    return Changed(count=count)


@router.post(
    "/restore", summary="Put discarded failures back", responses=documented(403, 413, 422, 503)
)
async def post_restore(wanted: RestoreRequest, door: Wired) -> Changed:
    """They are in the inbox again."""
    count = await door.catalog.ask(
        failure_discards.restore, wanted.filter, door.speaker.named(wanted.by)
    )
    return Changed(count=count)


async def _replay(door: Wired, replay_id: UUID) -> Replay:
    found = await door.catalog.ask(failure_replays.replay, replay_id)
    if found is None:
        raise not_found("replay")
    return found
