"""/v1/reviews: photos that a person shall look at, given out, answered, taken back."""

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Annotated, Final
from uuid import UUID, uuid4

from fastapi import APIRouter, Query
from pydantic import BaseModel, ConfigDict, Field

from gateway.api.cursors import decode_answer, encode_answer
from gateway.api.door import Door, Wired
from gateway.api.problems import ProblemError, documented, not_found
from gateway.api.speakers import NOBODY, Claim
from gateway.catalog import review_reading, reviews
from gateway.catalog.results import batches_of
from gateway.catalog.review_shapes import (
    Order,
    Released,
    ReviewAnswer,
    ReviewAnswers,
    ReviewError,
    ReviewItems,
    Reviews,
    Said,
    Undone,
)
from gateway.catalog.shapes import AnswerKind
from gateway.db import Conn
from gateway.recorder.news import photo_news
from gateway.texts import Name

router = APIRouter(prefix="/v1/reviews", tags=["reviews"])

By = Annotated[Name, Query(description="who asks, if they have no key", examples=["ada"])]

_NOBODY: Final = NOBODY.root


class AnswerRequest(BaseModel):
    """What a photo shows."""

    model_config = ConfigDict(extra="forbid")

    answer: AnswerKind = Field(
        description="confirm: the suggested label is right · correct: `label` is · none: no label"
        " fits · skip: ask me later"
    )
    label: Name | None = Field(None, description="of `correct`", examples=["receipt"])
    lease: UUID | None = Field(None, description="with which you were given the photo")
    answer_id: UUID | None = Field(
        None, description="yours: an answer that is sent again is then recorded once"
    )
    analysis_id: UUID | None = Field(None, description="what you looked at, without a lease")
    revision: int | None = Field(None, ge=1, description="the same")
    by: Claim = Field(NOBODY, description="who answers", examples=["ada"])


class ReleaseRequest(BaseModel):
    """Whose photo it was."""

    lease: UUID | None = Field(None, description="with which you were given the photo")
    by: Claim = Field(NOBODY, description="who gives it back", examples=["ada"])


@contextmanager
def _allowed() -> Iterator[None]:
    try:
        yield
    except ReviewError as error:
        raise ProblemError(error.status, error.code, str(error), more=error.more) from error


@router.get("", summary="How much is to be looked at", responses=documented(503))
async def get_reviews(door: Wired) -> Reviews:
    """Photos that wait for a person, by outcome and label, and who answered how many today."""
    return await door.catalog.ask(review_reading.reviews)


@router.get("/next", summary="Get photos to look at", responses=documented(403, 422, 503))
async def get_next(
    door: Wired,
    count: Annotated[int, Query(ge=1, le=reviews.MOST, description="at most so many")] = 1,
    order: Annotated[
        Order,
        Query(
            description="useful: those whose answers teach most, doubtful and unlike each other and"
            " what was answered · uncertain: those that it knows least of"
        ),
    ] = "useful",
    by: By = _NOBODY,
) -> ReviewItems:
    """Photos whose outcome is `review` or `suggested`, and that nobody has answered since. They are
    yours for a while (`leased_until`): nobody else gets them, nor do you get them again. What you
    skipped comes behind all others. About one of ten is an audit (`audit`): it was labelled without
    asking, and drawn by lot to tell how often such labels are right.
    """
    who = door.speaker.named(Claim(by))
    seconds = door.settings.review_lease_s
    items = await door.catalog.ask(reviews.lease, who, count, order, seconds)
    return ReviewItems(items=items)


@router.get("/answers", summary="Answers, newest first", responses=documented(422, 503))
async def list_answers(
    door: Wired,
    photo: Annotated[UUID | None, Query(description="only about this photo")] = None,
    reviewer: Annotated[Name | None, Query(description="only of this person")] = None,
    limit: Annotated[int, Query(ge=1, le=200)] = 50,
    cursor: Annotated[str | None, Query(max_length=300, description="an answer's `next`")] = None,
) -> ReviewAnswers:
    """What people said that photos show; also what was undone."""
    items, place = await door.catalog.ask(
        review_reading.answers, (photo, reviewer), decode_answer(cursor), limit
    )
    return ReviewAnswers(items=items, next=encode_answer(place))


@router.post(
    "/{photo_id}",
    summary="Answer",
    responses=documented(403, 404, 409, 413, 422, 503),
)
async def post_answer(photo_id: UUID, wanted: AnswerRequest, door: Wired) -> ReviewAnswer:
    """Say what a photo shows. The newest answer about it counts; what the machine said stays.

    Any photo with an outcome may be answered, also one that waits for nobody. 409: `leased` if
    somebody else looks at it; `lease_over` if yours has ended and it was given on, or answered,
    since; `outcome_changed` if it has another outcome by now than the one that you were shown;
    `answer_id_taken` if another answer has that id; `no_outcome` if there is none yet.
    """
    said = Said(
        answer_id=wanted.answer_id or uuid4(),
        answer=wanted.answer,
        label=wanted.label,
        reviewer=door.speaker.named(wanted.by),
        lease=wanted.lease,
        seen=(wanted.analysis_id, wanted.revision),
    )
    with _allowed():
        answered = await door.catalog.ask(door.writes.answer, photo_id, said)
    if answered is None:
        raise not_found("photo")
    await _tell(door, answered)
    return answered


@router.delete("/{photo_id}", summary="Undo", responses=documented(403, 404, 409, 422, 503))
async def delete_answer(
    photo_id: UUID,
    door: Wired,
    answer_id: Annotated[
        UUID | None, Query(description="which one; repeating is harmless then")
    ] = None,
    by: By = _NOBODY,
) -> Undone:
    """Take back your last answer about a photo. What was said of it before holds again; if nothing
    was, the photo waits again. 409 `nothing_to_undo` if you have said nothing."""
    who = door.speaker.named(Claim(by))
    with _allowed():
        undone = await door.catalog.ask(door.writes.undo_answer, photo_id, who, answer_id)
    if undone is None:
        raise not_found("photo")
    await _tell(door, undone.undone)
    return undone


@router.post(
    "/{photo_id}/release",
    summary="Give a photo back unanswered",
    responses=documented(403, 413, 422, 503),
)
async def post_release(
    photo_id: UUID, door: Wired, wanted: ReleaseRequest | None = None
) -> Released:
    """Others may be given it at once. Harmless if you don't have it (any more)."""
    wanted = wanted or ReleaseRequest()
    who = door.speaker.named(wanted.by)
    return Released(released=await door.catalog.ask(reviews.release, photo_id, who, wanted.lease))


async def _tell(door: Door, answered: ReviewAnswer) -> None:
    """Whoever shows the photo looks again."""

    def imports(conn: Conn, _owner: str) -> list[str]:
        found = batches_of(conn, [answered.analysis_id])
        return found.get(answered.analysis_id, [])

    batches = await door.catalog.ask(imports)
    news = photo_news(answered.photo_id, answered.analysis_id, batches)
    await asyncio.to_thread(door.tell, [news])
