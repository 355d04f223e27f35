"""What the services found, as their events say it.

Each function is a part of the caller's transaction. Events come in any order and more than once:
rows have unique keys, the first one wins, and an import's totals only grow.
"""

from collections.abc import Mapping
from typing import Any, Final

from psycopg.types.json import Jsonb

from darkroom_schemas import ids
from darkroom_schemas.events import (
    BatchCompleted,
    BatchProgressed,
    PhotoAnalysisRequested,
    PhotoEmbedded,
    PhotoObjectsDetected,
    PhotoOutcome,
    PhotoRejected,
    PhotoStageFailed,
    PhotoTextRead,
)
from gateway.db import Conn
from streamkit import Reject

_MOST_WORDS: Final = 250_000
"""Characters of a text that are searched; a tsvector may have at most 1 MiB."""


def record_request(conn: Conn, event: PhotoAnalysisRequested) -> None:
    """What intake learned of a photo. Other producers' photos are heard of here first.

    Raises Reject where the photo's id is not the one of its bytes.
    """
    # Two statements, as in `submissions`: there are two unique keys, and doors write both at once.
    conn.execute(
        "INSERT INTO photos (photo_id, owner, sha256, source_uri)"
        " VALUES (%(photo_id)s, %(owner)s, %(sha256)s, %(source_uri)s) ON CONFLICT DO NOTHING",
        event,
    )
    completed = conn.execute(_COMPLETE_PHOTO, event)
    if completed.rowcount == 0:
        raise Reject("foreign_photo_id", "The photo's id does not belong to its bytes.")
    conn.execute(
        """
        INSERT INTO analyses (
            analysis_id, photo_id, owner, submission_id, lane, revision, policy_revision,
            file_name, submitted_at, requested_at, intake_ms)
        VALUES (
            %(analysis_id)s, %(photo_id)s, %(owner)s, %(submission_id)s, %(lane)s, %(revision)s,
            %(policy_revision)s, %(file_name)s, %(submitted_at)s, %(requested_at)s, %(intake_ms)s)
        ON CONFLICT (analysis_id) DO UPDATE SET
            revision = excluded.revision, policy_revision = excluded.policy_revision,
            requested_at = excluded.requested_at, intake_ms = excluded.intake_ms
        WHERE excluded.revision >= analyses.revision
        """,
        event,
    )


_COMPLETE_PHOTO: Final = """
UPDATE photos SET
    source_uri = coalesce(source_uri, %(source_uri)s), byte_size = %(byte_size)s,
    file_name = coalesce(file_name, %(file_name)s), media_type = %(media_type)s,
    width = %(width)s, height = %(height)s, orientation = %(orientation)s, frames = %(frames)s,
    rendition_uri = %(rendition_uri)s, rendition_width = %(rendition_width)s,
    rendition_height = %(rendition_height)s, thumbnail_uri = %(thumbnail_uri)s,
    taken_at = %(taken_at)s, camera_make = %(camera_make)s, camera_model = %(camera_model)s,
    latitude = %(latitude)s, longitude = %(longitude)s
WHERE photo_id = %(photo_id)s AND sha256 = %(sha256)s
"""


def record_objects(conn: Conn, event: PhotoObjectsDetected) -> None:
    """The detector's part."""
    body = {
        "category": event["category"],
        "labels": event["labels"],
        "objects": event["objects"],
        "caption": event["caption"],
        "calibrated": event["calibrated"],
    }
    names = [one["name"] for one in (*event["labels"], *event["objects"])]
    words = " ".join([*names, event["category"] or "", event["caption"] or ""])
    _insert_part(conn, event, body, words)


def record_text(conn: Conn, event: PhotoTextRead) -> None:
    """The ocr's part."""
    _insert_part(conn, event, {"text": event["text"], "lines": event["lines"]}, event["text"])


def record_embedding(conn: Conn, event: PhotoEmbedded) -> None:
    """The embedder's part, and the vector for the search by likeness."""
    labels = event["labels"]
    body = {"labels": labels, "dimension": len(event["vector"])}
    _insert_part(conn, event, body, " ".join(label["name"] for label in labels))
    vector = "[" + ",".join(map(repr, event["vector"])) + "]"
    conn.execute(
        "INSERT INTO embeddings (photo_id, model_version, owner, vector) VALUES (%s, %s, %s, %s)"
        " ON CONFLICT (photo_id, model_version) DO NOTHING",
        (event["photo_id"], event["model_version"], event["owner"], vector),
    )


def record_failure(conn: Conn, event: PhotoStageFailed) -> None:
    """A stage gave up."""
    conn.execute(
        """
        INSERT INTO stage_failures (
            analysis_id, stage, revision, photo_id, owner, code, message, attempts, failed_at)
        VALUES (
            %(analysis_id)s, %(stage)s, %(revision)s, %(photo_id)s, %(owner)s, %(code)s,
            %(message)s, %(attempts)s, %(failed_at)s)
        ON CONFLICT (analysis_id, stage, revision) DO NOTHING
        """,
        event,
    )


def record_outcome(conn: Conn, event: PhotoOutcome, event_id: str) -> None:
    """What an analysis came to; `event_id` is the CloudEvents id."""
    values = {
        **event,
        "labels": Jsonb(event["labels"]),
        "parts": Jsonb(event["parts"]),
        "event_id": event_id,
    }
    conn.execute(
        """
        INSERT INTO outcomes (
            analysis_id, revision, photo_id, owner, policy_revision, lane, outcome, label,
            confidence, calibrated, category, labels, partial, failed_stages, parts, reason,
            decided_at, event_id)
        VALUES (
            %(analysis_id)s, %(revision)s, %(photo_id)s, %(owner)s, %(policy_revision)s, %(lane)s,
            %(outcome)s, %(label)s, %(confidence)s, %(calibrated)s, %(category)s, %(labels)s,
            %(partial)s, %(failed_stages)s, %(parts)s, %(reason)s, %(decided_at)s, %(event_id)s)
        ON CONFLICT (analysis_id, revision) DO NOTHING
        """,
        values,
    )


def record_rejection(conn: Conn, event: PhotoRejected) -> None:
    """Intake refused a photo. Of another producer's photo this is all that is ever known."""
    conn.execute(
        """
        INSERT INTO rejections (
            analysis_id, revision, photo_id, owner, file_name, code, message, rejected_at)
        VALUES (
            %(analysis_id)s, %(revision)s, %(photo_id)s, %(owner)s, %(file_name)s, %(code)s,
            %(message)s, %(rejected_at)s)
        ON CONFLICT (analysis_id, revision) DO NOTHING
        """,
        event,
    )
    if ids.photo_id(event["owner"], event["sha256"]) != event["photo_id"]:
        return  # refused for that; as a photo it would stand in the way of the true one
    conn.execute(
        "INSERT INTO photos (photo_id, owner, sha256, file_name)"
        " VALUES (%(photo_id)s, %(owner)s, %(sha256)s, %(file_name)s) ON CONFLICT DO NOTHING",
        event,
    )
    conn.execute(
        """
        INSERT INTO analyses (
            analysis_id, photo_id, owner, submission_id, lane, revision, policy_revision,
            file_name, submitted_at)
        VALUES (
            %(analysis_id)s, %(photo_id)s, %(owner)s, %(submission_id)s, %(lane)s, %(revision)s,
            %(policy_revision)s, %(file_name)s, %(rejected_at)s)
        ON CONFLICT (analysis_id) DO NOTHING
        """,
        event,
    )


def record_progress(conn: Conn, event: BatchProgressed) -> None:
    """Where an import stands; a record that says less than what is known is passed over."""
    conn.execute(
        """
        UPDATE batches SET totals = %(totals)s WHERE batch_id = %(batch_id)s
        AND state <> 'completed' AND (totals IS NULL OR (
            (totals ->> 'found')::bigint <= %(found)s
            AND (totals ->> 'accepted')::bigint + (totals ->> 'rejected')::bigint <= %(ended)s))
        """,
        {
            "batch_id": event["batch_id"],
            "found": event["found"],
            "ended": event["accepted"] + event["rejected"],
            "totals": Jsonb(_totals(event, event["pending"], event["sealed"])),
        },
    )


def record_completion(conn: Conn, event: BatchCompleted) -> None:
    """An import is over; its first completion stands."""
    conn.execute(
        "UPDATE batches SET totals = %s, state = 'completed', completed_at = %s"
        " WHERE batch_id = %s AND state <> 'completed'",
        (Jsonb(_totals(event, 0, True)), event["completed_at"], event["batch_id"]),
    )


def batches_of(conn: Conn, analysis_id: str) -> list[str]:
    """The imports that wait, or waited, for an analysis."""
    rows = conn.execute(
        "SELECT DISTINCT batch_id FROM batch_items WHERE analysis_id = %s", (analysis_id,)
    )
    return sorted(str(row["batch_id"]) for row in rows)


def _insert_part(
    conn: Conn,
    event: PhotoObjectsDetected | PhotoTextRead | PhotoEmbedded,
    body: Mapping[str, Any],
    words: str,
) -> None:
    conn.execute(
        """
        INSERT INTO parts (
            analysis_id, stage, revision, photo_id, owner, engine, model_version, ms, finished_at,
            body, words)
        VALUES (
            %(analysis_id)s, %(stage)s, %(revision)s, %(photo_id)s, %(owner)s, %(engine)s,
            %(model_version)s, %(ms)s, %(finished_at)s, %(body)s, to_tsvector('english', %(words)s))
        ON CONFLICT (analysis_id, stage, revision) DO NOTHING
        """,
        {**event, "body": Jsonb(body), "words": words[:_MOST_WORDS]},
    )


def _totals(event: BatchProgressed | BatchCompleted, pending: int, sealed: bool) -> dict[str, Any]:
    counts = (
        *("found", "duplicates", "accepted", "auto_labeled", "suggested", "review"),
        *("rejected", "cancelled", "partial"),
    )
    values: Mapping[str, Any] = event
    return {**{name: values[name] for name in counts}, "pending": pending, "sealed": sealed}
