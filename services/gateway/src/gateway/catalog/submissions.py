"""Photos handed in: one analysis for the same bytes, whoever submits them and how often."""

from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import Any
from uuid import UUID

from darkroom_schemas import ids
from darkroom_schemas.names import PHOTO_SUBMITTED
from darkroom_schemas.stages import now
from gateway.catalog.outbox import Outbox
from gateway.db import Conn
from streamkit import Emit


@dataclass(frozen=True, slots=True)
class Submission:
    """A photo whose bytes are stored already at `source_uri`.

    `submission_id` (at most 200 characters) names the act of submitting: the same one repeated is
    the same analysis. `lane` is high, default, batch or learning.
    """

    owner: str
    sha256: str
    source_uri: str
    byte_size: int
    file_name: str | None
    lane: str
    submission_id: str

    @property
    def photo_id(self) -> str:
        """Id of the photo with these bytes of this owner."""
        return ids.photo_id(self.owner, self.sha256)

    @property
    def analysis_id(self) -> str:
        """Id of the analysis that this submission asks for, if none is there."""
        return ids.analysis_id(self.photo_id, self.submission_id)


class Status(StrEnum):
    """What became of a submission."""

    NEW = "new"
    """An analysis was begun."""
    JOINED = "joined"
    """An analysis that was begun before answers this one too."""
    ANALYZED = "analyzed"
    """The photo has an outcome; nothing was begun."""


@dataclass(frozen=True, slots=True)
class Submitted:
    """The answer to a submission; `analysis_id` is the one that was begun, joined or found."""

    status: Status
    photo_id: str
    analysis_id: str


@dataclass(frozen=True, slots=True)
class Known:
    """What the catalog says of a photo: ids of analyses, None where there is none."""

    analyzed: UUID | None
    """The latest with an outcome."""
    unfinished: UUID | None
    """The latest without outcome or rejection."""
    own: UUID | None
    """The one of this very submission, whatever came of it."""


def decide(submission: Submission, known: Known) -> Submitted:
    """What a submission comes to. A photo that was only ever rejected is tried again."""
    photo_id = submission.photo_id
    if known.analyzed is not None:
        return Submitted(Status.ANALYZED, photo_id, str(known.analyzed))
    joined = known.own or known.unfinished
    if joined is not None:
        return Submitted(Status.JOINED, photo_id, str(joined))
    return Submitted(Status.NEW, photo_id, submission.analysis_id)


def submit_photo(conn: Conn, outbox: Outbox, submission: Submission) -> Submitted:
    """Submit a photo in one transaction: photo, analysis and the event that asks for it.

    Idempotent and safe against other doors that submit the same bytes at the same time. Raises
    psycopg.Error with nothing written. Store the bytes before.
    """
    with conn.transaction():
        submitted, events = submit_within(conn, submission)
        outbox.add(conn, events)
    return submitted


def submit_within(conn: Conn, submission: Submission) -> tuple[Submitted, list[Emit]]:
    """`submit_photo` as a part of the caller's transaction on `conn`.

    The caller adds the events to the outbox in that transaction.
    """
    _hold_photo(conn, submission)
    submitted = decide(submission, _known(conn, submission))
    if submitted.status is not Status.NEW:
        return submitted, []
    submitted_at = now()
    _begin_analysis(conn, submission, submitted_at)
    return submitted, [_submitted_event(submission, submitted_at)]


def _hold_photo(conn: Conn, submission: Submission) -> None:
    """Write the photo's row, or lock the one that is there until the end of the transaction.

    That lock puts submissions of the same photo into a row: the second sees the first's analysis.
    Two statements, because ON CONFLICT … DO UPDATE looks at one of the two unique keys only, and
    doors that insert the same photo at once would fail on the other.
    """
    values = {
        "photo_id": submission.photo_id,
        "owner": submission.owner,
        "sha256": submission.sha256,
        "source_uri": submission.source_uri,
        "byte_size": submission.byte_size,
        "file_name": submission.file_name,
    }
    inserted = conn.execute(
        """
        INSERT INTO photos (photo_id, owner, sha256, source_uri, byte_size, file_name)
        VALUES (%(photo_id)s, %(owner)s, %(sha256)s, %(source_uri)s, %(byte_size)s, %(file_name)s)
        ON CONFLICT DO NOTHING
        """,
        values,
    )
    if inserted.rowcount == 0:
        conn.execute(
            """
            UPDATE photos SET source_uri = %(source_uri)s, byte_size = %(byte_size)s,
                file_name = coalesce(file_name, %(file_name)s)
            WHERE photo_id = %(photo_id)s
            """,
            values,
        )


def _known(conn: Conn, submission: Submission) -> Known:
    row = conn.execute(
        """
        SELECT
            (SELECT analysis_id FROM outcomes WHERE photo_id = %(photo)s
             ORDER BY decided_at DESC, revision DESC LIMIT 1) AS analyzed,
            (SELECT analysis_id FROM analyses a WHERE photo_id = %(photo)s
             AND NOT EXISTS (SELECT FROM rejections r WHERE r.analysis_id = a.analysis_id)
             ORDER BY submitted_at DESC LIMIT 1) AS unfinished,
            (SELECT analysis_id FROM analyses WHERE analysis_id = %(own)s) AS own
        """,
        {"photo": submission.photo_id, "own": submission.analysis_id},
    ).fetchone()
    return Known(**row) if row else Known(None, None, None)


def _begin_analysis(conn: Conn, submission: Submission, submitted_at: datetime) -> None:
    conn.execute(
        "INSERT INTO analyses"
        " (analysis_id, photo_id, owner, submission_id, lane, file_name, submitted_at)"
        " VALUES (%s, %s, %s, %s, %s, %s, %s)",
        (
            submission.analysis_id,
            submission.photo_id,
            submission.owner,
            submission.submission_id,
            submission.lane,
            submission.file_name,
            submitted_at,
        ),
    )


def _submitted_event(submission: Submission, submitted_at: datetime) -> Emit:
    value: dict[str, Any] = {
        "owner": submission.owner,
        "photo_id": submission.photo_id,
        "submission_id": submission.submission_id,
        "analysis_id": submission.analysis_id,
        "revision": 1,
        "policy_revision": None,
        "lane": submission.lane,
        "source_uri": submission.source_uri,
        "sha256": submission.sha256,
        "byte_size": submission.byte_size,
        "file_name": submission.file_name,
        "submitted_at": submitted_at,
    }
    return Emit(
        topic=PHOTO_SUBMITTED[submission.lane],
        key=submission.photo_id,
        value=value,
        id=ids.event_id(submission.analysis_id, "submitted", 1),
    )
