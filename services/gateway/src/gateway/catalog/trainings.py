"""Requests to train a model of the user's own labels, and what became of them."""

from datetime import datetime
from operator import itemgetter
from typing import Any, Final, Literal, NamedTuple

from pydantic import Field

from darkroom_schemas import ids
from darkroom_schemas.events import TrainingRequested
from darkroom_schemas.stages import now
from gateway import locks
from gateway.catalog.labels import count_examples
from gateway.catalog.notices import add_notice
from gateway.catalog.shapes import Shape
from gateway.db import Conn

NO_EXAMPLES: Final = "no label has examples"

WAITS_ALREADY: Final = "a training that waits stands for this one, too"
BY_PERSON: Final = "somebody asked for a training at once, which stands for this one, too"

EVERY_S: Final = 3_600.0
"""Between trainings of a model that imports and schedules ask for."""

State = Literal["requested", "skipped", "merged"]


class Training(Shape):
    """A request to train, and what came of it."""

    request_id: str
    model: str = Field(examples=["labels"])
    reason: str = Field(description="batch, person or schedule")
    batch_id: str | None = Field(description="the import that was large enough, if it asked")
    state: State
    note: str | None = Field(description="why it was skipped or merged", examples=[NO_EXAMPLES])
    merged_into: str | None = Field(description="the request that stands for this one, too")
    requested_at: datetime
    due_at: datetime | None = Field(description="it begins no sooner; null: it does not begin")
    ended_at: datetime | None


class Trainings(Shape):
    """Requests, newest first."""

    items: list[Training]


class Verdict(NamedTuple):
    """What becomes of a request; `note` says why it is skipped or merged."""

    state: State
    note: str | None = None
    due_at: datetime | None = None
    merged_into: str | None = None


def training_verdict(examples: int) -> Verdict:
    """Whether to train with so many examples that people gave of all labels."""
    return Verdict("requested") if examples > 0 else Verdict("skipped", NO_EXAMPLES)


def record_training(conn: Conn, *events: TrainingRequested, every_s: float = EVERY_S) -> None:
    """Requests as they come, as a part of the caller's transaction; a repeated one is known.

    Imports and schedules have a model trained every so many seconds at most: what they ask for
    while another request waits is merged into that. A person's is due at once, and stands for the
    one that waits.
    """
    conn.execute("SELECT pg_advisory_xact_lock(%s)", (locks.TRAININGS,))
    for event in sorted(events, key=itemgetter("requested_at", "request_id")):
        verdict = training_verdict(count_examples(conn, event["owner"], event["model"]))
        if verdict.state == "requested":
            verdict = _in_turn(conn, event, every_s)
        ended_at = None if verdict.state == "requested" else now()
        row = {**event, **verdict._asdict(), "ended_at": ended_at}
        added = conn.execute(_ADD, row).rowcount
        if added and verdict.state == "requested":
            conn.execute(_TAKE_OVER, {**row, "note": BY_PERSON})
        if added and verdict.state == "skipped":
            _tell(conn, event, f"{verdict.state}: {verdict.note}")


_ADD: Final = """
INSERT INTO trainings (request_id, owner, model, reason, batch_id, state, note, requested_at,
  ended_at, due_at, merged_into)
VALUES (%(request_id)s, %(owner)s, %(model)s, %(reason)s, %(batch_id)s, %(state)s, %(note)s,
  %(requested_at)s, %(ended_at)s, %(due_at)s, %(merged_into)s)
ON CONFLICT (request_id) DO NOTHING
"""

_TAKE_OVER: Final = """
UPDATE trainings SET state = 'merged', note = %(note)s, merged_into = %(request_id)s,
  ended_at = clock_timestamp(), due_at = NULL
WHERE owner = %(owner)s AND model = %(model)s AND state = 'requested' AND ended_at IS NULL
  AND request_id <> %(request_id)s
"""


def _in_turn(conn: Conn, event: TrainingRequested, every_s: float) -> Verdict:
    """What becomes of a request for which there are examples."""
    if event["reason"] == "person":
        return Verdict("requested", due_at=now())
    about: dict[str, Any] = {**event, "every_s": every_s, "now": now()}
    row = conn.execute(_BEFORE, about).fetchone()
    if row is not None and row["waiting"] is not None:
        return Verdict("merged", WAITS_ALREADY, merged_into=row["waiting"])
    return Verdict("requested", due_at=row["due_at"] if row else None)


# Those that were merged are not in it: they never had a training of their own.
_BEFORE: Final = """
SELECT (array_agg(request_id::text ORDER BY due_at) FILTER (WHERE ended_at IS NULL))[1] AS waiting,
  greatest(%(now)s, max(due_at) + make_interval(secs => %(every_s)s)) AS due_at
FROM trainings
WHERE owner = %(owner)s AND model = %(model)s AND state = 'requested'
  AND request_id <> %(request_id)s
"""


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
        "SELECT request_id::text, model, reason, batch_id::text, state, note, merged_into::text,"
        " requested_at, due_at, ended_at FROM trainings WHERE owner = %s"
        " ORDER BY requested_at DESC, request_id LIMIT %s",
        (owner, limit),
    )
    return [Training(**row) for row in rows]
