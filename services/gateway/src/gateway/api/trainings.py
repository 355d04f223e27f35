"""/v1/trainings: what asked for a model of the user's own labels, and what came of it."""

import asyncio
import json
from collections.abc import Mapping
from typing import Annotated, Any, Final
from uuid import UUID

from fastapi import APIRouter, Query
from pydantic import BaseModel, ConfigDict, Field

from gateway.api.door import Door, Wired
from gateway.api.problems import ProblemError, documented, not_found
from gateway.api.speakers import NOBODY, Claim
from gateway.catalog import labels, training_reports, trainings
from gateway.catalog.label_shapes import DEFAULT_SET, SetName
from gateway.catalog.training_shapes import Training, TrainingDetail, Trainings
from gateway.catalog.trainings import TrainingOverError
from streamkit import Reject, Retry

router = APIRouter(prefix="/v1/trainings", tags=["trainings"])

_REPORT_BYTES: Final = 64_000_000
_LISTED: Final = 200


class TrainRequest(BaseModel):
    """Which labels shall be learned."""

    model_config = ConfigDict(extra="forbid")

    model: SetName = Field(DEFAULT_SET, description="the set of labels, whose name the model has")
    force: bool = Field(
        False, description="also where examples are missing; the gate judges what comes of it"
    )
    by: Claim = Field(NOBODY, description="who asks", examples=["ada"])


class CancelRequest(BaseModel):
    """Who does not want a training any more."""

    model_config = ConfigDict(extra="forbid")

    by: Claim = Field(NOBODY, examples=["ada"])


@router.get("", summary="Requests to train, newest first", responses=documented(422, 503))
async def list_trainings(
    door: Wired,
    model: Annotated[SetName | None, Query(description="only those of this model")] = None,
    limit: Annotated[int, Query(ge=1, le=100)] = 10,
    merged: Annotated[
        bool, Query(description="also those that another request stands for (`merged`)")
    ] = False,
) -> Trainings:
    """What asked for a model of the user's own labels, and what became of it."""
    items = await door.catalog.ask(trainings.trainings, limit, model, merged=merged)
    return Trainings(items=items)


@router.post(
    "",
    status_code=202,
    summary="Have a model trained",
    responses=documented(403, 404, 409, 413, 422, 503),
)
async def post_training(wanted: TrainRequest, door: Wired) -> Training:
    """It begins at once, or when a training of the same model that is under way has ended; it
    stands for those that wait. 409 `not_enough_examples` says what is missing, unless `force`.
    """
    name, by = wanted.model, door.speaker.named(wanted.by)
    found = await door.catalog.ask(labels.label_set, name, door.settings.examples_least, False)
    if found is None:
        raise ProblemError(404, "no_such_set", f"There is no set of labels named {name}.")
    if not found.verdict.enough and not wanted.force:
        missing = [one.model_dump() for one in found.verdict.missing]
        raise ProblemError(
            409, "not_enough_examples", found.verdict.sentence, more={"missing": missing}
        )
    request_id = await door.catalog.ask(door.writes.train, name, by, forced=wanted.force)
    return (await _found(door, UUID(request_id))).training


@router.get(
    "/{request_id}", summary="A training and its report", responses=documented(404, 422, 503)
)
async def get_training(request_id: UUID, door: Wired) -> TrainingDetail:
    """How far it is; at the end how good its version is (`metrics`), and which examples are likely
    wrong."""
    found = await _found(door, request_id)
    report, why = await asyncio.to_thread(_report, door, found.report_uri)
    told = training_reports.told(report.get("suspicious"))
    suspicious = await door.catalog.ask(
        training_reports.suspicious, found.training.model, told[:_LISTED]
    )
    return TrainingDetail(
        **found.training.model_dump(),
        metrics=dict(found.metrics),
        suspicious=suspicious,
        suspicious_of=len(told),
        report_missing=why,
    )


@router.post(
    "/{request_id}/cancel",
    summary="Call a training off",
    responses=documented(403, 404, 409, 413, 422, 503),
)
async def post_cancel(request_id: UUID, wanted: CancelRequest, door: Wired) -> Training:
    """It has ended then: whatever its trainer says later changes nothing. Repeating is harmless;
    409 `training_over` where it ended by itself."""
    by = door.speaker.named(wanted.by)
    try:
        known = await door.catalog.ask(door.writes.cancel_training, request_id, by)
    except TrainingOverError as error:
        detail = f"The training has ended: {error}."
        raise ProblemError(409, "training_over", detail) from error
    if not known:
        raise not_found("training")
    return (await _found(door, request_id)).training


async def _found(door: Door, request_id: UUID) -> trainings.Found:
    found = await door.catalog.ask(trainings.training, request_id)
    if found is None:
        raise not_found("training")
    return found


def _report(door: Door, uri: str | None) -> tuple[Mapping[str, Any], str | None]:
    """What the trainer wrote down, or why that can't be had."""
    if uri is None:
        return {}, None
    try:
        found = json.loads(door.objects.get(uri, limit=_REPORT_BYTES))
    except (Reject, Retry) as error:
        return {}, str(error)
    except ValueError:
        return {}, "The report is no JSON."
    return (found, None) if isinstance(found, dict) else ({}, "The report is no JSON object.")
