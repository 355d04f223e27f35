"""Photos handed in: one analysis for the same bytes, whoever submits them and how often."""

from collections.abc import Sequence
from contextvars import Context, copy_context
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from typing import Any, Final
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
    """The latest without outcome or rejection that was not cancelled."""
    own: UUID | None
    """The one of this very submission, whatever came of it."""
    policy_revision: int | None = None
    """That of the newest confidence policy, None if there is none."""


def decide(submission: Submission, known: Known) -> Submitted:
    """What a submission comes to. A photo that was only ever rejected is tried again."""
    photo_id = submission.photo_id
    if known.analyzed is not None:
        return Submitted(Status.ANALYZED, photo_id, str(known.analyzed))
    joined = known.own or known.unfinished
    if joined is not None:
        return Submitted(Status.JOINED, photo_id, str(joined))
    return Submitted(Status.NEW, photo_id, submission.analysis_id)


@dataclass(frozen=True, slots=True)
class HandedIn:
    """A photo that somebody waits for; `context` is that of the request, for its trace."""

    submission: Submission
    context: Context = field(default_factory=copy_context)


def submit_photo(conn: Conn, outbox: Outbox, submission: Submission) -> Submitted:
    """Submit a photo in one transaction; see `submit_photos`."""
    with conn.transaction():
        (submitted,) = submit_photos(conn, outbox, [HandedIn(submission)])
    return submitted


def submit_photos(conn: Conn, outbox: Outbox, photos: Sequence[HandedIn]) -> list[Submitted]:
    """Submit different photos as a part of the caller's transaction: each with its analysis and the
    event that asks for it. The answers are in their order.

    Whoever submits so waits for the outcome: an analysis that is joined outlives the import that
    began it, should that be cancelled.

    Idempotent and safe against other doors that submit the same bytes at the same time. Raises
    psycopg.Error; in a pipeline perhaps at the caller's next question only. Store the bytes before.
    """
    answers = submit_all_within(conn, [one.submission for one in photos])
    joined = [one.analysis_id for one, _ in answers if one.status is Status.JOINED]
    if joined:
        conn.execute(
            "UPDATE analyses SET awaited = true"
            " WHERE analysis_id = ANY(%s::uuid[]) AND NOT awaited",
            (joined,),
        )
    rows = [
        one.context.run(outbox.row, event)
        for one, (_, events) in zip(photos, answers, strict=True)
        for event in events
    ]
    outbox.add_rows(conn, rows)
    return [submitted for submitted, _ in answers]


def submit_within(conn: Conn, submission: Submission) -> tuple[Submitted, list[Emit]]:
    """`submit_photo` as a part of the caller's transaction on `conn`.

    The caller adds the events to the outbox in that transaction.
    """
    ((submitted, events),) = submit_all_within(conn, [submission])
    return submitted, events


def submit_all_within(
    conn: Conn, submissions: Sequence[Submission]
) -> list[tuple[Submitted, list[Emit]]]:
    """`submit_within` for submissions of different photos, in their order."""
    known = _hold_photos(conn, submissions) if submissions else {}
    answers = [decide(one, known[one.photo_id]) for one in submissions]
    new = [
        (one, known[one.photo_id].policy_revision)
        for one, answer in zip(submissions, answers, strict=True)
        if answer.status is Status.NEW
    ]
    begun = iter(begin_analyses(conn, new))
    return [(one, [next(begun)] if one.status is Status.NEW else []) for one in answers]


def _hold_photos(conn: Conn, submissions: Sequence[Submission]) -> dict[str, Known]:
    """Write the photos' rows, or lock those that are there until the end of the transaction; what
    is known of each photo then, by its id.

    That lock puts submissions of the same photo into a row: the second sees the first's analysis.
    Two statements, because ON CONFLICT … DO UPDATE looks at one of the two unique keys only, and
    doors that insert the same photo at once would fail on the other. In the order of photos, so
    that doors hardly ever wait for each other in a circle. Where all photos are new, which is
    usual, it costs one round trip in a pipeline.
    """
    ordered = sorted(submissions, key=lambda submission: submission.photo_id)
    columns: dict[str, Any] = {
        "photos": [one.photo_id for one in ordered],
        "owners": [one.owner for one in ordered],
        "sha256s": [one.sha256 for one in ordered],
        "uris": [one.source_uri for one in ordered],
        "sizes": [one.byte_size for one in ordered],
        "names": [one.file_name for one in ordered],
        "own": [one.analysis_id for one in ordered],
    }
    inserted = conn.execute(f"{_GIVEN} {_INSERT_PHOTOS}", columns)
    rows = conn.execute(_KNOWN, columns).fetchall()
    if inserted.rowcount < len(ordered):
        conn.execute(f"{_GIVEN} {_COMPLETE_PHOTOS}", columns)
        rows = conn.execute(_KNOWN, columns).fetchall()
    return {str(row.pop("photo_id")): Known(**row) for row in rows}


_GIVEN: Final = """
WITH given AS (
    SELECT * FROM unnest(
        %(photos)s::uuid[], %(owners)s::uuid[], %(sha256s)s::text[], %(uris)s::text[],
        %(sizes)s::bigint[], %(names)s::text[])
    AS g (photo_id, owner, sha256, source_uri, byte_size, file_name))
"""

_INSERT_PHOTOS: Final = """
INSERT INTO photos (photo_id, owner, sha256, source_uri, byte_size, file_name)
SELECT * FROM given ORDER BY photo_id ON CONFLICT DO NOTHING
"""

_COMPLETE_PHOTOS: Final = """
UPDATE photos SET source_uri = given.source_uri, byte_size = given.byte_size,
    file_name = coalesce(photos.file_name, given.file_name)
FROM given WHERE photos.photo_id = given.photo_id
"""


_KNOWN: Final = """
SELECT given.photo_id,
    (SELECT analysis_id FROM outcomes o WHERE o.photo_id = given.photo_id
     ORDER BY decided_at DESC, o.revision DESC LIMIT 1) AS analyzed,
    (SELECT analysis_id FROM analyses a WHERE a.photo_id = given.photo_id
     AND a.cancelled_at IS NULL
     AND NOT EXISTS (SELECT FROM rejections r WHERE r.analysis_id = a.analysis_id)
     ORDER BY submitted_at DESC LIMIT 1) AS unfinished,
    (SELECT analysis_id FROM analyses a WHERE a.analysis_id = given.own) AS own,
    (SELECT max(revision) FROM policies) AS policy_revision
FROM unnest(%(photos)s::uuid[], %(own)s::uuid[]) AS given (photo_id, own)
"""


def begin_analysis(conn: Conn, submission: Submission, policy_revision: int | None) -> Emit:
    """`begin_analyses` for one."""
    (event,) = begin_analyses(conn, [(submission, policy_revision)])
    return event


def begin_analyses(conn: Conn, submissions: Sequence[tuple[Submission, int | None]]) -> list[Emit]:
    """Write down new analyses of photos that are there; returns the events that ask for them.

    A part of the caller's transaction. With each goes the newest policy's revision, None if there
    is none.
    """
    if not submissions:
        return []
    submitted_at = now()
    columns = {
        "analyses": [one.analysis_id for one, _ in submissions],
        "photos": [one.photo_id for one, _ in submissions],
        "owners": [one.owner for one, _ in submissions],
        "submissions": [one.submission_id for one, _ in submissions],
        "lanes": [one.lane for one, _ in submissions],
        "names": [one.file_name for one, _ in submissions],
        "policies": [1 if revision is None else revision for _, revision in submissions],
        "at": submitted_at,
    }
    conn.execute(_INSERT_ANALYSES, columns)
    return [submitted_event(one, submitted_at, revision) for one, revision in submissions]


_INSERT_ANALYSES: Final = """
INSERT INTO analyses (analysis_id, photo_id, owner, submission_id, lane, file_name,
    policy_revision, submitted_at)
SELECT given.*, %(at)s FROM unnest(%(analyses)s::uuid[], %(photos)s::uuid[], %(owners)s::uuid[],
    %(submissions)s::text[], %(lanes)s::text[], %(names)s::text[], %(policies)s::int[]) AS given
"""


def submitted_event(
    submission: Submission, submitted_at: datetime, policy_revision: int | None
) -> Emit:
    """What asks for the analysis of a submission."""
    value: dict[str, Any] = {
        "owner": submission.owner,
        "photo_id": submission.photo_id,
        "submission_id": submission.submission_id,
        "analysis_id": submission.analysis_id,
        "revision": 1,
        "policy_revision": policy_revision,
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
