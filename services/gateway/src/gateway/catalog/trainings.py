"""Requests to train a model of the user's own labels, and what became of them."""

import math
from collections.abc import Mapping
from datetime import datetime
from operator import itemgetter
from typing import Any, Final, LiteralString, NamedTuple
from uuid import UUID, uuid4

from darkroom_schemas import ids
from darkroom_schemas.events import TrainingRequested
from darkroom_schemas.names import TRAINING_CANCELLED, TRAINING_REQUESTED
from darkroom_schemas.stages import now
from gateway import locks
from gateway.catalog.audit import audit
from gateway.catalog.labels import count_examples, label_set
from gateway.catalog.notices import Severity, add_notice
from gateway.catalog.outbox import Outbox
from gateway.catalog.training_shapes import NO_EXAMPLES, State, Training
from gateway.db import Conn
from streamkit import Emit

WAITS_ALREADY: Final = "a training that waits stands for this one, too"
BY_PERSON: Final = "somebody asked for a training at once, which stands for this one, too"

EVERY_S: Final = 3_600.0
"""Between trainings of a model that imports and schedules ask for."""

PERSON: Final = "person"
BATCH: Final = "batch"


class TrainingOverError(Exception):
    """A training that shall be cancelled has ended already; the text is its state."""


class Verdict(NamedTuple):
    """What becomes of a request; `note` says why it is skipped or merged."""

    state: State
    note: str | None = None
    due_at: datetime | None = None
    merged_into: str | None = None


def training_verdict(examples: int) -> Verdict:
    """Whether to train with so many examples that people gave of all labels."""
    return Verdict("requested") if examples > 0 else Verdict("skipped", NO_EXAMPLES)


def record_training(
    conn: Conn, *events: TrainingRequested, every_s: float = EVERY_S, least: int | None = None
) -> None:
    """Requests as they come, as a part of the caller's transaction; a repeated one is known.

    Imports and schedules have a model trained every so many seconds at most: what they ask for
    while another request waits is merged into that. A person's is due at once, and stands for the
    one that waits. An import asks for all sets of labels of its owner; those that have fewer than
    `least` examples of a label are passed over then, without a notice.
    """
    conn.execute("SELECT pg_advisory_xact_lock(%s)", (locks.TRAININGS,))
    meant = [one for event in events for one in _meant(conn, event)]
    for event in sorted(meant, key=itemgetter("requested_at", "request_id")):
        verdict = _verdict(conn, event, every_s, least)
        ended_at = None if verdict.state == "requested" else now()
        row = {**event, **verdict._asdict(), "ended_at": ended_at}
        added = conn.execute(_ADD, row).rowcount
        if added and verdict.state == "requested":
            conn.execute(_TAKE_OVER, {**row, "note": BY_PERSON})
            conn.execute(_FOLLOW, row)
        if added and verdict.note == NO_EXAMPLES:
            tell_end(conn, row, f"skipped: {verdict.note}", _ASKED_AGAIN)


def _verdict(conn: Conn, event: TrainingRequested, every_s: float, least: int | None) -> Verdict:
    verdict = training_verdict(count_examples(conn, event["owner"], event["model"]))
    if verdict.state == "requested" and (lacks := _lacks(conn, event, least)) is not None:
        return Verdict("skipped", lacks)
    return _in_turn(conn, event, every_s) if verdict.state == "requested" else verdict


def _lacks(conn: Conn, event: TrainingRequested, least: int | None) -> str | None:
    """Which examples a set needs first; None: none, or that does not matter, as to a person, who
    may have forced it."""
    if least is None or event["reason"] == PERSON:
        return None
    known = label_set(conn, event["owner"], event["model"], least, False)
    return None if known is None or known.verdict.enough else known.verdict.sentence


def _meant(conn: Conn, event: TrainingRequested) -> list[TrainingRequested]:
    """One request for each model that a request means: whoever joins the ends of an import knows
    no sets of labels."""
    if event["reason"] != BATCH:
        return [event]
    rows = conn.execute(
        "SELECT name FROM label_sets WHERE owner = %s AND name <> %s ORDER BY name",
        (event["owner"], event["model"]),
    ).fetchall()
    others = [row["name"] for row in rows if count_examples(conn, event["owner"], row["name"])]
    own = count_examples(conn, event["owner"], event["model"])
    named = [event] if own or not others else []
    for name in others:
        request_id = ids.batch_event_id(event["request_id"], f"set:{name}")
        named.append({**event, "model": name, "request_id": request_id})
    return named


_ASKED_AGAIN: Final = "Nothing has to be done: it is asked for again by the next large import."

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

_FOLLOW: Final = """
UPDATE trainings t SET merged_into = %(request_id)s
FROM trainings stood
WHERE t.owner = %(owner)s AND t.model = %(model)s AND t.merged_into = stood.request_id
  AND stood.merged_into = %(request_id)s
"""
"""Those that were merged into what is taken over: each names the request that is trained."""


def _in_turn(conn: Conn, event: TrainingRequested, every_s: float) -> Verdict:
    """What becomes of a request for which there are examples."""
    if event["reason"] == PERSON:
        return Verdict("requested", due_at=now())
    about: dict[str, Any] = {**event, "every_s": every_s, "now": now()}
    row = conn.execute(_BEFORE, about).fetchone()
    if row is not None and row["waiting"] is not None:
        return Verdict("merged", WAITS_ALREADY, merged_into=row["waiting"])
    return Verdict("requested", due_at=row["due_at"] if row else None)


# Only what had a training of its own, or will have one.
_BEFORE: Final = """
SELECT (array_agg(request_id::text ORDER BY due_at)
    FILTER (WHERE state = 'requested' AND ended_at IS NULL))[1] AS waiting,
  greatest(%(now)s, max(due_at) + make_interval(secs => %(every_s)s)) AS due_at
FROM trainings
WHERE owner = %(owner)s AND model = %(model)s AND state NOT IN ('skipped', 'merged')
  AND (state <> 'cancelled' OR prepared_at IS NOT NULL) AND request_id <> %(request_id)s
"""


def ask(conn: Conn, outbox: Outbox, owned: tuple[str, str], by: str, *, forced: bool) -> str:
    """Have an owner's model trained at once, as a person wants it; the id of the request.

    It is known at once, and told to all who follow such requests. `forced`: also with fewer
    examples than would be enough.
    """
    owner, model = owned
    event: TrainingRequested = {
        "request_id": str(uuid4()),
        "owner": owner,
        "model": model,
        "reason": PERSON,
        "batch_id": None,
        "requested_at": now(),
    }
    request_id = event["request_id"]
    with conn.transaction():
        record_training(conn, event)
        if forced:
            conn.execute("UPDATE trainings SET forced = true WHERE request_id = %s", (request_id,))
        audit(conn, by, "training.requested", request_id, {"model": model, "forced": forced})
        name = ids.batch_event_id(request_id, "requested")
        outbox.add(conn, [Emit(TRAINING_REQUESTED, model, dict(event), name)])
    return request_id


def cancel(conn: Conn, outbox: Outbox, owner: str, request_id: UUID, by: str) -> bool:
    """End a training at once: what its trainer says later is not taken any more. False if the
    owner has none of this id. One that was cancelled stays so; raises TrainingOverError for one
    that ended otherwise."""
    with conn.transaction():
        row = conn.execute(
            "SELECT state, ended_at FROM trainings WHERE request_id = %s AND owner = %s FOR UPDATE",
            (request_id, owner),
        ).fetchone()
        if row is None:
            return False
        if row["ended_at"] is not None:
            if row["state"] == "cancelled":
                return True
            raise TrainingOverError(row["state"])
        give_up(conn, outbox, str(request_id), ("cancelled", f"{by} cancelled it"), by)
        audit(conn, by, "training.cancelled", str(request_id), {"state": row["state"]})
    return True


def give_up(
    conn: Conn, outbox: Outbox, request_id: str, end: tuple[State, str], by: str = "gateway"
) -> bool:
    """End a training without its trainer, and tell that one; False if it has ended."""
    state, note = end
    row = conn.execute(
        "UPDATE trainings SET state = %s, note = %s, ended_at = clock_timestamp()"
        " WHERE request_id = %s AND ended_at IS NULL"
        " RETURNING request_id::text, owner::text, model",
        (state, note, request_id),
    ).fetchone()
    if row is None:
        return False
    value = {"request_id": request_id, "by": by, "cancelled_at": now()}
    name = ids.batch_event_id(request_id, "cancelled")
    outbox.add(conn, [Emit(TRAINING_CANCELLED, request_id, value, name)])
    severity: Severity = "info" if state == "cancelled" else "warning"
    tell_end(conn, row, f"{state}: {note}", f"Ask again: darkroom train {row['model']}", severity)
    return True


def tell_end(
    conn: Conn, training: Mapping[str, Any], end: str, detail: str, severity: Severity = "info"
) -> None:
    """The one notice of a training's end."""
    add_notice(
        conn,
        kind="training_finished",
        service="gateway",
        subject=training["request_id"],
        severity=severity,
        title=f"Training of {training['model']} {end}",
        detail=detail,
        owner=training["owner"],
        notice_id=ids.batch_event_id(training["request_id"], "notice:training-finished"),
    )


_TRAININGS: LiteralString = (
    "SELECT request_id::text, model, reason, batch_id::text, state, note, merged_into::text,"
    " requested_at, due_at, prepared_at, started_at, ended_at, step, done, token, worker, version,"
    " seconds, metrics, report_uri FROM trainings WHERE owner = %(owner)s"
)


def trainings(
    conn: Conn, owner: str, limit: int, model: str | None = None, *, merged: bool = True
) -> list[Training]:
    """The owner's newest requests, at most `limit`; only those of a model, also the `merged` ones
    that another request stands for."""
    rows = conn.execute(
        _TRAININGS + " AND (%(model)s::text IS NULL OR model = %(model)s)"
        " AND (%(merged)s OR state <> 'merged')"
        " ORDER BY requested_at DESC, request_id LIMIT %(limit)s",
        {"owner": owner, "model": model, "merged": merged, "limit": limit},
    )
    return [_shown(row) for row in rows]


class Found(NamedTuple):
    """A training with what its trainer said, and where it wrote its report."""

    training: Training
    metrics: Mapping[str, Any]
    report_uri: str | None


def training(conn: Conn, owner: str, request_id: UUID) -> Found | None:
    """The owner's training of this id."""
    row = conn.execute(
        _TRAININGS + " AND request_id = %(id)s", {"owner": owner, "id": request_id}
    ).fetchone()
    if row is None:
        return None
    return Found(_shown(row), row["metrics"] or {}, row["report_uri"])


def _shown(row: Mapping[str, Any]) -> Training:
    said: Mapping[str, Any] = row["metrics"] or {}
    whole = bool(row["metrics"] or row["report_uri"])
    return Training.model_validate(
        {
            **row,
            **{f"accuracy{end}": _number(said, name) for end, name in _INTERVAL},
            "calibration_error": _number(said, "calibration_error"),
            "examples": int(_number(said, "examples") or 0) or None,
            "report": f"/v1/trainings/{row['request_id']}" if whole else None,
        }
    )


_INTERVAL: Final = (("", "accuracy"), ("_low", "low"), ("_high", "high"))


def _number(said: Mapping[str, Any], name: str) -> float | None:
    """What a trainer measured; None of what is no number, as of nothing to measure."""
    value = said.get(name)
    known = isinstance(value, int | float) and math.isfinite(value)
    return value if known else None
