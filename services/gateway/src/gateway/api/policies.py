"""/v1/policy: how sure is sure enough, by revision, and how sure would be; /v1/precision: how often
labels are right; /v1/audit: who changed what."""

from typing import Annotated, Final, Self

from fastapi import APIRouter, Query
from pydantic import BaseModel, Field, model_validator

from gateway.api.cursors import decode_index, encode_index
from gateway.api.door import Wired
from gateway.api.problems import ProblemError, documented
from gateway.api.speakers import NOBODY, Claim
from gateway.catalog import audit, policies, precision
from gateway.catalog.audit import AuditPage
from gateway.catalog.policies import Policy, PolicyChangedError, PolicyPage, Wanted
from gateway.catalog.precision_shapes import PolicySuggestions, Precisions
from gateway.catalog.shapes import Shape
from gateway.db import Conn
from gateway.texts import Name, Reason

router = APIRouter(prefix="/v1", tags=["policy"])

MOST_LABELS: Final = 1_000
"""With thresholds of their own; the whole policy is one event."""

Probability = Annotated[float, Field(ge=0, le=1, allow_inf_nan=False)]
Cursor = Annotated[str | None, Query(max_length=300, description="an answer's `next`")]


class ThresholdsRequest(BaseModel):
    """Surer than `auto_above` is labelled without asking, less sure than `review_below` goes to a
    person, what lies between is suggested."""

    auto_above: Probability = Field(examples=[0.8])
    review_below: Probability = Field(examples=[0.5])

    @model_validator(mode="after")
    def _ordered(self) -> Self:
        if self.review_below > self.auto_above:
            raise ValueError("review_below is above auto_above")
        return self


class PolicyRequest(ThresholdsRequest):
    """The whole policy as it shall be, and why."""

    labels: dict[Name, ThresholdsRequest] = Field(
        {}, max_length=MOST_LABELS, description="labels with thresholds of their own"
    )
    reason: Reason = Field(examples=["Too many cats were labelled wrongly."])
    by: Claim = Field(NOBODY, description="who changes it", examples=["ada"])
    expected_revision: int | None = Field(
        None, ge=1, description="refuse with 409 if the policy is another by now"
    )


class PolicyInForce(Shape):
    """The newest policy; `policy` is null while the aggregator's settings hold (revision 1)."""

    revision: int = Field(examples=[2])
    policy: Policy | None


@router.get("/policy", summary="The confidence policy", responses=documented(503))
async def get_policy(door: Wired) -> PolicyInForce:
    """By which thresholds photos are routed that are handed in now, or labelled again."""

    def newest(conn: Conn, _owner: str) -> Policy | None:
        return policies.current(conn)

    policy = await door.catalog.ask(newest)
    return PolicyInForce(revision=policy.revision if policy else policies.FIRST, policy=policy)


@router.post(
    "/policy",
    status_code=201,
    summary="Change the confidence policy",
    responses=documented(403, 409, 413, 422, 503),
)
async def post_policy(wanted: PolicyRequest, door: Wired) -> Policy:
    """Make the next revision, which routes what is handed in from now on.

    Photos of before are routed by it when they are labelled again: when a head of the owner's own
    labels is another, or by `POST /v1/reprocess`. Photos that are under way keep theirs. With
    `expected_revision` two people can't overwrite each other's change: the second gets 409
    `policy_changed` and reads anew.
    """
    change = Wanted(
        auto_above=wanted.auto_above,
        review_below=wanted.review_below,
        labels={name: (t.auto_above, t.review_below) for name, t in wanted.labels.items()},
        reason=wanted.reason,
        changed_by=door.speaker.named(wanted.by),
    )
    try:
        return await door.catalog.ask(door.writes.policy, change, wanted.expected_revision)
    except PolicyChangedError as error:
        detail = f"The policy was changed in between: it has revision {error.revision} now."
        raise ProblemError(409, "policy_changed", detail) from error


@router.get("/policy/history", summary="Policies, newest first", responses=documented(422, 503))
async def list_policies(
    door: Wired, limit: Annotated[int, Query(ge=1, le=100)] = 20, cursor: Cursor = None
) -> PolicyPage:
    """Every revision that was made, by whom and why."""

    def page(conn: Conn, _owner: str, before: int | None) -> tuple[list[Policy], int | None]:
        return policies.history(conn, before, limit)

    items, following = await door.catalog.ask(page, _before(cursor))
    return PolicyPage(items=items, next=encode_index(following))


@router.get(
    "/policy/suggestions", summary="Thresholds that answers suggest", responses=documented(422, 503)
)
async def get_suggestions(
    door: Wired,
    target: Annotated[
        float | None,
        Query(gt=0, lt=1, description="share of labels that shall be right; else the setting's"),
    ] = None,
    label: Annotated[Name | None, Query(description="only of this label")] = None,
) -> PolicySuggestions:
    """For each label that people answered the lowest threshold above which it is right as often as
    is wanted, with 95 % certainty, and what would become of the photos that are shown now, when
    they are labelled again by such a policy: when a head of the owner's own labels is another, or
    by `POST /v1/reprocess`. Nothing changes by it: `POST /v1/policy` makes one.
    """
    wanted = door.settings.policy_target if target is None else target
    return await door.catalog.ask(precision.suggestions, wanted, label)


@router.get(
    "/precision", tags=["reviews"], summary="How often labels are right", responses=documented(503)
)
async def get_precision(door: Wired) -> Precisions:
    """By label and confidence, as far as people have said so. Of labels that were given without
    asking audits tell it: photos that were drawn by lot."""
    return await door.catalog.ask(precision.precision)


@router.get("/audit", tags=["audit"], summary="Who changed what", responses=documented(422, 503))
async def list_audit(
    door: Wired,
    limit: Annotated[int, Query(ge=1, le=200)] = 50,
    cursor: Cursor = None,
    what: Annotated[
        str | None,
        Query(max_length=100, description="only such changes: `policy`, `import.paused`"),
    ] = None,
) -> AuditPage:
    """The changes that people and jobs made, newest first."""

    def page(conn: Conn, _owner: str, before: int | None) -> AuditPage:
        items, following = audit.entries(conn, what=_searchable(what), before=before, limit=limit)
        return AuditPage(items=items, next=encode_index(following))

    return await door.catalog.ask(page, _before(cursor))


def _before(cursor: str | None) -> int | None:
    return None if cursor is None else decode_index(cursor)


def _searchable(what: str | None) -> str | None:
    return what and what.replace("\0", "")
