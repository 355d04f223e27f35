"""Requests to train a model of the user's own labels, and what became of them."""

from datetime import datetime
from operator import itemgetter
from typing import Final, Literal, NamedTuple

from pydantic import Field

from darkroom_schemas import ids
from darkroom_schemas.events import TrainingRequested
from darkroom_schemas.stages import now
from gateway.catalog.notices import add_notice
from gateway.catalog.shapes import Shape
from gateway.db import Conn

NO_EXAMPLES: Final = "no label has examples"

State = Literal["requested", "skipped"]


class Training(Shape):
    """A request to train, and what came of it."""

    request_id: str
    model: str = Field(examples=["labels"])
    reason: str = Field(description="batch, person or schedule")
    batch_id: str | None = Field(description="the import that was large enough, if it asked")
    state: State
    note: str | None = Field(description="why it was skipped", examples=[NO_EXAMPLES])
    requested_at: datetime
    ended_at: datetime | None


class Trainings(Shape):
    """Requests, newest first."""

    items: list[Training]


class Verdict(NamedTuple):
    """What becomes of a request; `note` says why it is skipped."""

    state: State
    note: str | None


def training_verdict(examples: int) -> Verdict:
    """Whether to train with so many examples that people gave of all labels."""
    return Verdict("requested", None) if examples > 0 else Verdict("skipped", NO_EXAMPLES)


def record_training(conn: Conn, *events: TrainingRequested) -> None:
    """Requests as they come, as a part of the caller's transaction; a repeated one is known.

    Nothing keeps examples yet, so there are none.
    """
    state, note = training_verdict(0)
    ended_at = now() if state == "skipped" else None
    for event in sorted(events, key=itemgetter("request_id")):
        added = conn.execute(
            """
            INSERT INTO trainings (
                request_id, owner, model, reason, batch_id, state, note, requested_at, ended_at)
            VALUES (
                %(request_id)s, %(owner)s, %(model)s, %(reason)s, %(batch_id)s, %(state)s,
                %(note)s, %(requested_at)s, %(ended_at)s)
            ON CONFLICT (request_id) DO NOTHING
            """,
            {**event, "state": state, "note": note, "ended_at": ended_at},
        )
        if added.rowcount and ended_at is not None:
            _tell(conn, event, f"{state}: {note}")


def _tell(conn: Conn, event: TrainingRequested, end: str) -> None:
    add_notice(
        conn,
        kind="training_finished",
        service="gateway",
        subject=event["request_id"],
        severity="info",
        title=f"Training of {event['model']} {end}",
        detail="Nothing has to be done: it is asked for again by the next large import.",
        owner=event["owner"],
        notice_id=ids.batch_event_id(event["request_id"], "notice:training-finished"),
    )


def trainings(conn: Conn, owner: str, limit: int) -> list[Training]:
    """The owner's newest requests, at most `limit`."""
    rows = conn.execute(
        "SELECT request_id::text, model, reason, batch_id::text, state, note, requested_at,"
        " ended_at FROM trainings WHERE owner = %s ORDER BY requested_at DESC, request_id LIMIT %s",
        (owner, limit),
    )
    return [Training(**row) for row in rows]
