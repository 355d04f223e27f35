"""What the services found in photos, as their events say it.

Each function writes any number of events as a part of the caller's transaction, without reading, so
that all of it may go through one pipeline. Events come in any order and more than once: rows have
unique keys, and the first one wins; of a stage that was tried again, the last failure. What many
events write is written in the order of photos, so that two recorders hardly ever wait for each
other in a circle.
"""

from collections.abc import Mapping, Sequence
from operator import itemgetter
from typing import Any, Final

from psycopg.types.json import Jsonb

from darkroom_schemas import ids
from darkroom_schemas.events import (
    AnalysisDeadlineReached,
    PhotoAnalysisCancelled,
    PhotoAnalysisRequested,
    PhotoEmbedded,
    PhotoObjectsDetected,
    PhotoOutcome,
    PhotoReembedded,
    PhotoRejected,
    PhotoRescored,
    PhotoStageFailed,
    PhotoTextRead,
)
from gateway.db import Conn
from streamkit import Reject

_MOST_WORDS: Final = 250_000
"""Characters of a text that are searched; a tsvector may have at most 1 MiB."""

_BY_PHOTO: Final = itemgetter("photo_id")


def record_request(conn: Conn, *events: PhotoAnalysisRequested) -> None:
    """What intake learned of photos. Other producers' photos are heard of here first.

    Raises Reject where a photo's id is not the one of its bytes.
    """
    ordered = sorted(events, key=_BY_PHOTO)
    if not all(map(_is_true, ordered)):
        raise Reject("foreign_photo_id", "The photo's id does not belong to its bytes.")
    with conn.cursor() as cursor:
        # Two statements, as in `submissions`: there are two unique keys, and doors write both at
        # once.
        cursor.executemany(_ADD_PHOTO, ordered)
        cursor.executemany(_COMPLETE_PHOTO, ordered)
        cursor.executemany(_BEGIN_ANALYSIS, ordered)


_ADD_PHOTO: Final = """
INSERT INTO photos (photo_id, owner, sha256, source_uri)
VALUES (%(photo_id)s, %(owner)s, %(sha256)s, %(source_uri)s) ON CONFLICT DO NOTHING
"""

_COMPLETE_PHOTO: Final = """
UPDATE photos SET
    source_uri = coalesce(source_uri, %(source_uri)s), byte_size = %(byte_size)s,
    file_name = coalesce(file_name, %(file_name)s), media_type = %(media_type)s,
    width = %(width)s, height = %(height)s, orientation = %(orientation)s, frames = %(frames)s,
    rendition_uri = %(rendition_uri)s, rendition_width = %(rendition_width)s,
    rendition_height = %(rendition_height)s, thumbnail_uri = %(thumbnail_uri)s,
    taken_at = %(taken_at)s, camera_make = %(camera_make)s, camera_model = %(camera_model)s,
    latitude = %(latitude)s, longitude = %(longitude)s
WHERE photo_id = %(photo_id)s
"""

_BEGIN_ANALYSIS: Final = """
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
"""


def record_objects(conn: Conn, *events: PhotoObjectsDetected) -> None:
    """The detector's parts."""
    _insert_parts(conn, [_objects(event) for event in events])


def _objects(event: PhotoObjectsDetected) -> dict[str, Any]:
    body = {
        "category": event["category"],
        "labels": event["labels"],
        "objects": event["objects"],
        "caption": event["caption"],
        "calibrated": event["calibrated"],
    }
    names = [one["name"] for one in (*event["labels"], *event["objects"])]
    words = " ".join([*names, event["category"] or "", event["caption"] or ""])
    return _part(event, body, words)


def record_text(conn: Conn, *events: PhotoTextRead) -> None:
    """The ocr's parts."""
    _insert_parts(
        conn,
        [
            _part(event, {"text": event["text"], "lines": event["lines"]}, event["text"])
            for event in events
        ],
    )


def record_embedding(conn: Conn, *events: PhotoEmbedded) -> None:
    """The embedder's parts, and the vectors for the search by likeness."""
    _insert_parts(conn, [_embedded(event) for event in events])
    add_vectors(conn, events)


def add_vectors(conn: Conn, events: Sequence[PhotoEmbedded | PhotoReembedded]) -> None:
    """Vectors for the search by likeness, one of each photo and version."""
    with conn.cursor() as cursor:
        cursor.executemany(
            "INSERT INTO embeddings (photo_id, model_version, owner, vector, embedded_at)"
            " VALUES (%(photo_id)s, %(model_version)s, %(owner)s, %(vector)s, %(finished_at)s)"
            " ON CONFLICT (photo_id, model_version) DO UPDATE"
            " SET embedded_at = greatest(embeddings.embedded_at, excluded.embedded_at)",
            [
                {**event, "vector": "[" + ",".join(map(repr, event["vector"])) + "]"}
                for event in sorted(events, key=_BY_PHOTO)
            ],
        )


def _embedded(event: PhotoEmbedded) -> dict[str, Any]:
    labels = event["labels"]
    body = {"labels": labels, "dimension": len(event["vector"])}
    return _part(event, body, " ".join(label["name"] for label in labels))


def record_rescored(conn: Conn, *events: PhotoRescored) -> None:
    """The embedder's parts that rescorings made, of vectors that are there already."""
    with conn.cursor() as cursor:
        cursor.executemany(
            """
            INSERT INTO parts (
                analysis_id, stage, revision, photo_id, owner, engine, model_version, ms,
                finished_at, body, words)
            SELECT %(analysis_id)s, %(stage)s, %(revision)s, %(photo_id)s, %(owner)s, %(engine)s,
                %(model_version)s, coalesce((SELECT y.ms FROM parts y
                    WHERE y.analysis_id = %(analysis_id)s AND y.stage = %(stage)s
                    ORDER BY y.revision LIMIT 1), 0), %(rescored_at)s,
                jsonb_build_object('labels', %(labels)s::jsonb, 'dimension', (
                    SELECT vector_dims(vector) FROM embeddings
                    WHERE photo_id = %(photo_id)s AND model_version = %(model_version)s)),
                to_tsvector('english', %(words)s)
            ON CONFLICT (analysis_id, stage, revision) DO NOTHING
            """,
            [
                {
                    **event,
                    "labels": Jsonb(event["labels"]),
                    "words": " ".join(label["name"] for label in event["labels"]),
                }
                for event in sorted(events, key=_BY_PHOTO)
            ],
        )


def record_failure(conn: Conn, *events: PhotoStageFailed) -> None:
    """Stages gave up."""
    _insert_failures(conn, events)


def record_deadline(conn: Conn, *events: AnalysisDeadlineReached) -> None:
    """Stages that will not say anything any more count as failed."""
    _insert_failures(
        conn,
        [
            {
                **event,
                "stage": stage,
                "code": "deadline",
                "message": f"The {stage} said nothing of the photo in time.",
                "attempts": 0,
                "failed_at": event["reached_at"],
            }
            for event in events
            for stage in event["stages"]
        ],
    )


def record_outcome(conn: Conn, *outcomes: tuple[PhotoOutcome, str]) -> None:
    """What analyses came to, each with its CloudEvents id."""
    values = [
        {
            **event,
            "labels": Jsonb(event["labels"]),
            "parts": Jsonb(event["parts"]),
            "event_id": event_id,
        }
        for event, event_id in outcomes
    ]
    with conn.cursor() as cursor:
        cursor.executemany(
            """
            INSERT INTO outcomes (
                analysis_id, revision, photo_id, owner, policy_revision, lane, outcome, label,
                confidence, calibrated, category, labels, partial, failed_stages, parts, reason,
                decided_at, event_id)
            VALUES (
                %(analysis_id)s, %(revision)s, %(photo_id)s, %(owner)s, %(policy_revision)s,
                %(lane)s, %(outcome)s, %(label)s, %(confidence)s, %(calibrated)s, %(category)s,
                %(labels)s, %(partial)s, %(failed_stages)s, %(parts)s, %(reason)s, %(decided_at)s,
                %(event_id)s)
            ON CONFLICT (analysis_id, revision) DO NOTHING
            """,
            sorted(values, key=_BY_PHOTO),
        )


def record_rejection(conn: Conn, *events: PhotoRejected) -> None:
    """Intake refused photos. Of another producer's photo this is all that is ever known."""
    ordered = sorted(events, key=_BY_PHOTO)
    # One that was refused for its false id would as a photo stand in the way of the true one.
    true = [event for event in ordered if _is_true(event)]
    with conn.cursor() as cursor:
        # As doors do: photos, then analyses, which a trigger of rejections locks, too.
        cursor.executemany(
            "INSERT INTO photos (photo_id, owner, sha256, file_name)"
            " VALUES (%(photo_id)s, %(owner)s, %(sha256)s, %(file_name)s) ON CONFLICT DO NOTHING",
            true,
        )
        cursor.executemany(
            """
            INSERT INTO rejections (
                analysis_id, revision, photo_id, owner, file_name, code, message, rejected_at)
            VALUES (
                %(analysis_id)s, %(revision)s, %(photo_id)s, %(owner)s, %(file_name)s, %(code)s,
                %(message)s, %(rejected_at)s)
            ON CONFLICT (analysis_id, revision) DO NOTHING
            """,
            ordered,
        )
        cursor.executemany(
            """
            INSERT INTO analyses (
                analysis_id, photo_id, owner, submission_id, lane, revision, policy_revision,
                file_name, submitted_at)
            VALUES (
                %(analysis_id)s, %(photo_id)s, %(owner)s, %(submission_id)s, %(lane)s,
                %(revision)s, %(policy_revision)s, %(file_name)s, %(rejected_at)s)
            ON CONFLICT (analysis_id) DO NOTHING
            """,
            true,
        )


def record_cancellation(conn: Conn, *events: PhotoAnalysisCancelled) -> None:
    """Nobody waits for these analyses any more; the first one stands."""
    with conn.cursor() as cursor:
        cursor.executemany(
            "UPDATE analyses SET cancelled_at = %(cancelled_at)s"
            " WHERE analysis_id = %(analysis_id)s AND cancelled_at IS NULL",
            sorted(events, key=_BY_PHOTO),
        )


def batches_of(conn: Conn, analyses: Sequence[str]) -> dict[str, list[str]]:
    """The imports that wait, or waited, for each of these analyses; sorted."""
    rows = conn.execute(
        "SELECT analysis_id, array_agg(DISTINCT batch_id ORDER BY batch_id) AS batches"
        " FROM batch_items WHERE analysis_id = ANY(%s::uuid[]) GROUP BY analysis_id",
        (list(analyses),),
    )
    return {str(row["analysis_id"]): [str(one) for one in row["batches"]] for row in rows}


def durations(conn: Conn, analyses: Sequence[str]) -> list[tuple[str, float]]:
    """Of those of these analyses that have a first outcome: lane, and seconds that it took."""
    rows = conn.execute(
        "SELECT o.lane, greatest(0, extract(epoch FROM o.decided_at - a.submitted_at))::float8 AS s"
        " FROM outcomes o JOIN analyses a USING (analysis_id)"
        " WHERE o.revision = 1 AND o.analysis_id = ANY(%s::uuid[])",
        (list(analyses),),
    )
    return [(row["lane"], row["s"]) for row in rows]


def _is_true(event: PhotoAnalysisRequested | PhotoRejected) -> bool:
    """Whether the photo's id is the one of its bytes."""
    return ids.photo_id(event["owner"], event["sha256"]) == event["photo_id"]


def _part(
    event: PhotoObjectsDetected | PhotoTextRead | PhotoEmbedded,
    body: Mapping[str, Any],
    words: str,
) -> dict[str, Any]:
    return {**event, "body": Jsonb(body), "words": words[:_MOST_WORDS]}


def _insert_parts(conn: Conn, parts: Sequence[Mapping[str, Any]]) -> None:
    with conn.cursor() as cursor:
        cursor.executemany(
            """
            INSERT INTO parts (
                analysis_id, stage, revision, photo_id, owner, engine, model_version, ms,
                finished_at, body, words)
            VALUES (
                %(analysis_id)s, %(stage)s, %(revision)s, %(photo_id)s, %(owner)s, %(engine)s,
                %(model_version)s, %(ms)s, %(finished_at)s, %(body)s,
                to_tsvector('english', %(words)s))
            ON CONFLICT (analysis_id, stage, revision) DO NOTHING
            """,
            sorted(parts, key=_BY_PHOTO),
        )


def _insert_failures(conn: Conn, failures: Sequence[Mapping[str, Any]]) -> None:
    with conn.cursor() as cursor:
        cursor.executemany(
            """
            INSERT INTO stage_failures (
                analysis_id, stage, revision, photo_id, owner, code, message, attempts, failed_at)
            VALUES (
                %(analysis_id)s, %(stage)s, %(revision)s, %(photo_id)s, %(owner)s, %(code)s,
                %(message)s, %(attempts)s, %(failed_at)s)
            ON CONFLICT (analysis_id, stage, revision) DO UPDATE SET
                code = excluded.code, message = excluded.message, attempts = excluded.attempts,
                failed_at = excluded.failed_at
            WHERE excluded.failed_at > stage_failures.failed_at
            """,
            sorted(failures, key=_BY_PHOTO),
        )
