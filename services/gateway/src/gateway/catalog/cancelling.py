"""Cancelling an import: its totals, then the ends of the photos that it waits for, in slices.
And cancelling the analysis of one photo.

An end is an event, `batch.photo-ended`, and the first one of a file counts wherever ends are read,
so a photo that is decided meanwhile keeps its outcome. Nothing here says who was first: the order
in the topic does. Whoever is killed begins again and publishes the same events under the same ids.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final
from uuid import UUID

from darkroom_schemas import ids
from darkroom_schemas.names import BATCH_PHOTO_ENDED, PHOTO_ANALYSIS_CANCELLED
from darkroom_schemas.stages import now
from gateway.catalog.audit import audit
from gateway.catalog.imports import Import, count, intake_event
from gateway.catalog.outbox import Outbox
from gateway.db import Conn
from streamkit import Emit

NO_INDEX: Final = -1
"""Before the first file."""


@dataclass(frozen=True, slots=True)
class Slice:
    """Files that were cancelled, and the index of the last one; None where there was none left."""

    files: int
    last: int | None


def tell_totals(conn: Conn, outbox: Outbox, batch: Import) -> None:
    """No file comes any more: publish the final totals, before the ends that complete them."""
    with conn.transaction():
        conn.execute("SELECT FROM batches WHERE batch_id = %s FOR UPDATE", (batch.batch_id,))
        outbox.add(conn, [intake_event(batch, "cancelled", count(conn, batch.batch_id))])


def cancel_some(conn: Conn, outbox: Outbox, batch: Import, after: int, most: int) -> Slice:
    """End at most `most` waiting files behind index `after`, in one transaction.

    An analysis that was begun by an import, and that nobody waits for but imports that are
    cancelled, ends as well.
    """
    with conn.transaction():
        files = conn.execute(_OPEN, (batch.batch_id, after, most)).fetchall()
        if not files:
            return Slice(0, None)
        at = now()
        events = [_ended_event(batch, file, at) for file in files]
        analyses = _end_analyses(conn, [file["analysis_id"] for file in files], at)
        events += [_cancelled_event(analysis, at) for analysis in analyses]
        outbox.add(conn, events)
    return Slice(len(files), int(files[-1]["index"]))


class NothingToCancelError(Exception):
    """No analysis of the photo is in progress."""


def cancel_photo(  # one argument per part of the question
    conn: Conn, outbox: Outbox, owner: str, photo_id: UUID, by: str, reason: str | None
) -> bool:
    """Call off what is in progress of a photo, whoever waits for it, in one transaction with the
    audit log. False if the owner has no such photo; raises NothingToCancelError.

    The end of each import's file is told by the aggregator, which knows whether the photo was
    decided before; if it forgot the file, the reconciler tells it.
    """
    with conn.transaction():
        photo = conn.execute(_HOLD_PHOTO, (photo_id, owner)).fetchone()
        if photo is None:
            return False
        at = now()
        analyses = conn.execute(_END_OF_PHOTO, {"photo": photo_id, "at": at}).fetchall()
        if not analyses:
            raise NothingToCancelError
        outbox.add(conn, [_cancelled_event(analysis, at) for analysis in analyses])
        detail = {
            "analyses": [str(analysis["analysis_id"]) for analysis in analyses],
            "reason": reason,
        }
        audit(conn, by, "photo.cancelled", str(photo_id), detail)
    return True


_HOLD_PHOTO: Final = "SELECT FROM photos WHERE photo_id = %s AND owner = %s FOR NO KEY UPDATE"

_END_OF_PHOTO: Final = """
UPDATE analyses a SET cancelled_at = %(at)s
WHERE a.photo_id = %(photo)s AND a.cancelled_at IS NULL
  AND NOT EXISTS (SELECT FROM outcomes o WHERE o.analysis_id = a.analysis_id)
  AND NOT EXISTS (SELECT FROM rejections r WHERE r.analysis_id = a.analysis_id)
RETURNING a.*
"""


def finish(conn: Conn, batch: Import) -> None:
    """All ends are told; the import is over when they have come round."""
    conn.execute("UPDATE batches SET sealed = true WHERE batch_id = %s", (batch.batch_id,))


_OPEN: Final = """
SELECT i.index, i.photo_id, i.analysis_id, a.revision
FROM batch_items i LEFT JOIN analyses a USING (analysis_id)
WHERE i.batch_id = %s AND i.state = 'submitted' AND i.ended IS NULL AND i.index > %s
ORDER BY i.index LIMIT %s
"""

_HOLD_PHOTOS: Final = """
SELECT FROM photos WHERE photo_id IN (
  SELECT photo_id FROM analyses WHERE analysis_id = ANY(%s))
ORDER BY photo_id FOR NO KEY UPDATE
"""
"""As whoever submits one of them does: nobody joins an analysis while it is being cancelled."""

_END_ANALYSES: Final = """
UPDATE analyses a SET cancelled_at = %(at)s
WHERE a.analysis_id = ANY(%(analyses)s) AND a.cancelled_at IS NULL AND NOT a.awaited
  AND NOT EXISTS (SELECT FROM outcomes o WHERE o.analysis_id = a.analysis_id)
  AND NOT EXISTS (SELECT FROM rejections r WHERE r.analysis_id = a.analysis_id)
  AND EXISTS (SELECT FROM batch_items i WHERE i.analysis_id = a.analysis_id AND a.submission_id
    IN (concat('import:', i.batch_id, ':', i.index), concat('again:', i.batch_id, ':', i.index)))
  AND NOT EXISTS (SELECT FROM batch_items i JOIN batches b USING (batch_id)
    WHERE i.analysis_id = a.analysis_id AND i.state = 'submitted' AND i.ended IS NULL
      AND b.cancelled_at IS NULL)
RETURNING a.*
"""


def _end_analyses(conn: Conn, analyses: Sequence[Any], at: datetime) -> Sequence[Mapping[str, Any]]:
    conn.execute(_HOLD_PHOTOS, (analyses,))
    return conn.execute(_END_ANALYSES, {"analyses": analyses, "at": at}).fetchall()


def _ended_event(batch: Import, file: Mapping[str, Any], at: datetime) -> Emit:
    index = int(file["index"])
    value: dict[str, Any] = {
        "owner": batch.owner,
        "batch_id": batch.batch_id,
        "index": index,
        "photo_id": str(file["photo_id"]),
        "analysis_id": str(file["analysis_id"]),
        "revision": file["revision"] or 1,
        "end": "cancelled",
        "partial": False,
        "ended_at": at,
    }
    key = ids.chunk_key(batch.batch_id, ids.chunk_of(index))
    event_id = ids.batch_event_id(batch.batch_id, f"cancelled:{index}")
    return Emit(BATCH_PHOTO_ENDED, key, value, event_id)


def _cancelled_event(analysis: Mapping[str, Any], at: datetime) -> Emit:
    analysis_id, photo_id = str(analysis["analysis_id"]), str(analysis["photo_id"])
    value: dict[str, Any] = {
        "owner": str(analysis["owner"]),
        "photo_id": photo_id,
        "analysis_id": analysis_id,
        "revision": analysis["revision"],
        "policy_revision": analysis["policy_revision"],
        "lane": analysis["lane"],
        "cancelled_at": at,
    }
    event_id = ids.event_id(analysis_id, "cancelled", analysis["revision"])
    return Emit(PHOTO_ANALYSIS_CANCELLED, photo_id, value, event_id)
