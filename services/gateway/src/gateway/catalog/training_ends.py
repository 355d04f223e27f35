"""What trainers say of trainings: how far they are, how they ended.

Each trainer of a model has a token, higher than all before it. The catalog keeps the highest that
it has heard of, the model's fence, and takes nothing by a lower one: a trainer that was held up
while another took its place changes nothing any more, whatever it says and whenever.
"""

import json
from collections.abc import Mapping
from typing import Any, Final

import structlog
from psycopg.types.json import Jsonb

from darkroom_schemas.events import TrainingEnded, TrainingProgressed
from darkroom_schemas.heads import ENGINE, FILE, head_name
from gateway.catalog import model_reports, models
from gateway.catalog.model_shapes import ModelFile, ModelVersion
from gateway.catalog.models import By, RegistryError, Wanted
from gateway.catalog.notices import Severity
from gateway.catalog.outbox import Outbox
from gateway.catalog.training_shapes import State
from gateway.catalog.trainings import tell_end
from gateway.db import Conn

_log = structlog.get_logger("gateway.trainings")

TRAINER: Final = "trainer"
"""Who registers and activates what was trained."""

_ENDS: Final[Mapping[str, State]] = {
    "not_enough": "not_enough",
    "cancelled": "cancelled",
    "timed_out": "timed_out",
    "failed": "failed",
}

_WORDS: Final[Mapping[State, tuple[Severity, str]]] = {
    "published": ("info", "ended: its new version labels photos"),
    "candidate": ("warning", "ended: its new version is not used"),
    "not_enough": ("warning", "ended: examples are missing"),
    "cancelled": ("info", "was cancelled"),
    "timed_out": ("warning", "took too long"),
    "failed": ("warning", "failed"),
}


def record_progress(conn: Conn, *events: TrainingProgressed) -> None:
    """How far trainings are; a part of the caller's transaction."""
    for event in events:
        if _locked(conn, event) is not None:
            conn.execute(_PROGRESS, event)


# One statement: whether the token holds is decided by the row that the same statement locks.
_FENCED: Final = """
WITH fenced AS (
  INSERT INTO training_fences AS f (owner, model, fence)
  VALUES (%(owner)s, %(model)s, %(token)s)
  ON CONFLICT (owner, model) DO UPDATE SET fence = excluded.fence
    WHERE f.fence <= excluded.fence
  RETURNING fence)
"""

_PROGRESS: Final = (
    _FENCED
    + """
UPDATE trainings SET state = 'running', note = NULL, token = %(token)s, worker = %(worker)s,
  step = %(step)s, done = %(done)s, said_at = %(at)s, progressed_at = clock_timestamp(),
  started_at = coalesce(started_at, %(at)s)
WHERE request_id = %(request_id)s AND state IN ('prepared', 'running')
  AND EXISTS (SELECT FROM fenced)
  AND (token IS NULL OR token < %(token)s OR (token = %(token)s AND said_at < %(at)s))
"""
)

_END: Final = (
    _FENCED
    + """
UPDATE trainings SET ended_at = %(ended_at)s, token = %(token)s, report_uri = %(report_uri)s,
  metrics = %(metrics)s, seconds = %(seconds)s
WHERE request_id = %(request_id)s AND ended_at IS NULL AND EXISTS (SELECT FROM fenced)
RETURNING request_id::text, owner::text, model, against
"""
)


def _locked(conn: Conn, event: TrainingProgressed | TrainingEnded) -> Mapping[str, Any] | None:
    """The training, which nobody else ends until the end of the transaction; None if it is not
    known. Locks are taken in one order: its row, then the fence of its model.
    """
    return conn.execute(
        "SELECT state, ended_at FROM trainings"
        " WHERE request_id = %(request_id)s AND owner = %(owner)s AND model = %(model)s FOR UPDATE",
        event,
    ).fetchone()


def record_end(conn: Conn, outbox: Outbox, *events: TrainingEnded) -> None:
    """Ends of trainings, with the versions that came of them; a part of the caller's transaction.

    The first end that a trainer may tell counts. What is published holds from this transaction on.
    """
    for event in events:
        if _locked(conn, event) is None:
            continue
        said = {**event, "metrics": Jsonb(metrics_of(event["metrics"]))}
        row = conn.execute(_END, said).fetchone()
        if row is None:
            about = {one: event[one] for one in ("request_id", "model", "token", "end")}
            _log.info("training_end_ignored", **about)
            continue
        state, note, version = _came_of(conn, outbox, row, event)
        conn.execute(
            "UPDATE trainings SET state = %s, note = %s, version = %s, done = 1"
            " WHERE request_id = %s",
            (state, note, version, event["request_id"]),
        )
        severity, words = _WORDS[state]
        tell_end(
            conn,
            row,
            words,
            f"{note.rstrip('.')}. See: darkroom trainings show {row['request_id']}",
            severity,
        )


def metrics_of(text: str) -> Mapping[str, Any]:
    """What a trainer measured; nothing where it is no JSON object that can be kept."""
    try:
        found = json.loads(text.replace("\\u0000", ""), parse_constant=lambda _: None)
    except ValueError:
        return {}
    return found if isinstance(found, dict) else {}


def _came_of(
    conn: Conn, outbox: Outbox, training: Mapping[str, Any], event: TrainingEnded
) -> tuple[State, str, str | None]:
    """State, note and version of a training that ended."""
    head = event["head"]
    if event["end"] != "trained" or head is None:
        return _ENDS.get(event["end"], "failed"), event["reason"], None
    name = head_name(event["owner"], event["model"])
    models.keep_file(conn, head["sha256"], head["byte_size"], head["uri"])
    made, _ = models.register(
        conn,
        Wanted(
            name=name,
            engine=ENGINE,
            by=TRAINER,
            files=[ModelFile(path=FILE, sha256=head["sha256"], byte_size=head["byte_size"])],
            source=f"training {event['request_id']}",
            metrics=metrics_of(event["metrics"]),
            embedding_version=head["model_version"],
        ),
    )
    if not event["publish"]:
        return "candidate", event["reason"], made.version
    kept = _kept(conn, outbox, (name, made), training["against"], event)
    if kept is not None:
        return "candidate", kept, made.version
    return "published", event["reason"], made.version


def _kept(
    conn: Conn,
    outbox: Outbox,
    what: tuple[str, ModelVersion],
    against: str | None,
    event: TrainingEnded,
) -> str | None:
    """Have a version hold that its gate lets through; why it stays a candidate, if it does.

    It was compared with what held when its examples were written down, for the embeddings of then.
    """
    name, made = what
    active = models.current(conn, name)
    holds = active.version if active else None
    if made.stage == "retired":
        return f"{event['reason']}; but somebody has retired this very version"
    if holds not in {against, made.version}:
        return f"{event['reason']}; but meanwhile {holds} holds, with which it was not compared"
    embeds = model_reports.embedding_version(conn)
    if embeds is not None and embeds != made.embedding_version:
        return (
            f"{event['reason']}; but it is made for embeddings of {made.embedding_version}, and"
            f" photos are embedded by {embeds} now: train again"
        )
    by = By(TRAINER, event["reason"], active.generation if active else 0)
    try:
        models.activate(conn, outbox, name, made.version, by)
    except RegistryError as error:  # somebody changed it since the lines above
        return f"{event['reason']}; but {error}"
    return None
