"""The files of imports: what became of each.

Everything that an import does for a file is one transaction, so whoever is killed goes on behind
the last file that was recorded. Each looks at the import's state, whose commands wait for it:
no file is recorded after a pause or a cancellation began. All raise NotScanningError then.
"""

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from darkroom_schemas import ids
from darkroom_schemas.names import PHOTO_BATCH_JOINED
from darkroom_schemas.stages import now
from gateway.catalog.imports import Import, NotScanningError
from gateway.catalog.outbox import Outbox
from gateway.catalog.submissions import Status, Submission, Submitted, submit_all_within
from gateway.db import Conn
from gateway.originals import Original
from streamkit import Emit


class ItemState(StrEnum):
    """What became of a file."""

    SUBMITTED = "submitted"
    DUPLICATE = "duplicate"
    REFUSED = "refused"


@dataclass(frozen=True, slots=True)
class Item:
    """A recorded file; ids are None where the file never became a photo."""

    state: ItemState
    photo_id: str | None = None
    analysis_id: str | None = None


@dataclass(frozen=True, slots=True)
class Place:
    """Where a file stands in an import: its index from 0 and its path as people read it."""

    index: int
    path: str

    @property
    def file_name(self) -> str:
        """The last part of the path."""
        return self.path.rpartition("/")[2]


def next_index(conn: Conn, batch_id: str) -> int:
    """The index of the next file; indices have no gaps."""
    row = conn.execute(
        "SELECT coalesce(max(index) + 1, 0) AS next FROM batch_items WHERE batch_id = %s",
        (batch_id,),
    ).fetchone()
    return int(row["next"]) if row else 0


def recorded(conn: Conn, batch_id: str, paths: Sequence[str]) -> set[str]:
    """Those of `paths` that the batch has recorded already."""
    rows = conn.execute(
        """
        SELECT path FROM batch_items WHERE batch_id = %(batch)s AND path = ANY(%(paths)s)
          AND md5(path) = ANY(ARRAY(SELECT md5(p) FROM unnest(%(paths)s::text[]) AS p))
        """,
        {"batch": batch_id, "paths": list(paths)},
    )
    return {row["path"] for row in rows}


def record_known(
    conn: Conn, batch: Import, place: Place, sha256: str, byte_size: int
) -> Item | None:
    """Record a file as a duplicate if it is one, without its bytes; None, with nothing written, if
    it is none.

    A duplicate is a photo that has an outcome, or one that this batch has seen.
    """
    photo_id = ids.photo_id(batch.owner, sha256)
    with conn.transaction():
        if not _hold_batch(conn, batch, [photo_id]):
            return None
        duplicate = Item(ItemState.DUPLICATE, photo_id)
        _insert(conn, batch, [(place, duplicate, byte_size)])
    return duplicate


def known_photos(conn: Conn, batch: Import, photos: Sequence[str]) -> set[str]:
    """Those photos whose files are duplicates, as things are now."""
    rows = conn.execute(
        """
        SELECT photo_id FROM batch_items
        WHERE batch_id = %(batch)s AND photo_id = ANY(%(photos)s::uuid[])
        UNION SELECT photo_id FROM outcomes WHERE photo_id = ANY(%(photos)s::uuid[])
        """,
        {"batch": batch.batch_id, "photos": list(photos)},
    )
    return {str(row["photo_id"]) for row in rows}


def record_photo(
    conn: Conn, outbox: Outbox, batch: Import, place: Place, original: Original
) -> Item:
    """`record_photos` for one file."""
    return record_photos(conn, outbox, batch, [(place, original)])[0]


class NotStoredError(Exception):
    """A file's bytes were not stored, since its photo was known, and it is so no more."""


def record_photos(
    conn: Conn, outbox: Outbox, batch: Import, files: Sequence[tuple[Place, Original]]
) -> list[Item]:
    """Record files whose bytes are stored, in one transaction with their submissions.

    A duplicate is as of `record_known`; its bytes need not be stored (`uri` is empty then). A photo
    that somebody else is still waiting for joins that analysis. Raises psycopg.Error and
    NotStoredError with nothing written.
    """
    submissions = [_submission(batch, place, original) for place, original in files]
    with conn.transaction():
        seen = _hold_batch(conn, batch, [one.photo_id for one in submissions])
        fresh: list[Submission] = []
        for one in submissions:
            if one.photo_id not in seen:
                seen.add(one.photo_id)
                fresh.append(one)
        if not all(one.source_uri for one in fresh):
            raise NotStoredError
        answers = submit_all_within(conn, fresh) if fresh else []
        begun = {
            one.submission_id: answer
            for one, answer in zip(fresh, answers, strict=True)
            if answer[0].status is not Status.ANALYZED
        }
        items: list[tuple[Place, Item, int]] = []
        events: list[Emit] = []
        for (place, original), one in zip(files, submissions, strict=True):
            item = Item(ItemState.DUPLICATE, one.photo_id)
            if one.submission_id in begun:
                submitted, asked = begun[one.submission_id]
                item = Item(ItemState.SUBMITTED, one.photo_id, submitted.analysis_id)
                events += [joined_event(batch, place, submitted), *asked]
            items.append((place, item, original.byte_size))
        with conn.pipeline():
            outbox.add(conn, events)
            _insert(conn, batch, items)
    return [item for _, item, _ in items]


def _submission(batch: Import, place: Place, original: Original) -> Submission:
    return Submission(
        owner=batch.owner,
        sha256=original.sha256,
        source_uri=original.uri,
        byte_size=original.byte_size,
        file_name=place.file_name,
        lane=batch.lane,
        submission_id=f"import:{batch.batch_id}:{place.index}",
    )


def record_refusal(
    conn: Conn,
    batch: Import,
    place: Place,
    code: str,
    message: str,
    byte_size: int | None = None,
) -> Item:
    """Record a file that could not be read: it never becomes a photo."""
    written = conn.execute(
        """
        INSERT INTO batch_items (batch_id, index, path, state, code, message, byte_size)
        SELECT batch_id, %(index)s, %(path)s, 'refused', %(code)s, %(message)s, %(size)s
        FROM batches WHERE batch_id = %(batch)s AND state = 'scanning' FOR KEY SHARE
        """,
        {
            "batch": batch.batch_id,
            "index": place.index,
            "path": place.path,
            "code": code,
            "message": message,
            "size": byte_size,
        },
    )
    if written.rowcount == 0:
        raise NotScanningError
    return Item(ItemState.REFUSED)


def open_indices(conn: Conn, batch_id: str) -> set[int]:
    """Submitted files that have no end yet."""
    rows = conn.execute(
        "SELECT index FROM batch_items WHERE batch_id = %s AND state = 'submitted'"
        " AND ended IS NULL",
        (batch_id,),
    )
    return {row["index"] for row in rows}


def open_count(conn: Conn, batch_id: str) -> int:
    """How many submitted files have no end yet."""
    row = conn.execute(
        "SELECT count(*) AS files FROM batch_items WHERE batch_id = %s AND state = 'submitted'"
        " AND ended IS NULL",
        (batch_id,),
    ).fetchone()
    return int(row["files"]) if row else 0


def still_open(conn: Conn, batch_id: str, indices: Collection[int]) -> set[int]:
    """Those of `indices` that have no end yet."""
    rows = conn.execute(
        "SELECT index FROM batch_items WHERE batch_id = %s AND index = ANY(%s)"
        " AND state = 'submitted' AND ended IS NULL",
        (batch_id, list(indices)),
    )
    return {row["index"] for row in rows}


def joined_event(batch: Import, place: Place, submitted: Submitted) -> Emit:
    """The import waits for an analysis."""
    value: dict[str, Any] = {
        "owner": batch.owner,
        "photo_id": submitted.photo_id,
        "analysis_id": submitted.analysis_id,
        "batch_id": batch.batch_id,
        "index": place.index,
        "joined_at": now(),
    }
    event_id = ids.batch_event_id(batch.batch_id, f"joined:{place.index}")
    return Emit(PHOTO_BATCH_JOINED, submitted.photo_id, value, event_id)


def _hold_batch(conn: Conn, batch: Import, photos: Sequence[str]) -> set[str]:
    """Keep the import's commands out until the end of the transaction; those of the photos whose
    files are duplicates."""
    # KEY SHARE keeps out the commands, and nobody else: the recorder, which holds photos and writes
    # totals, never waits for us, nor we for it.
    row = conn.execute(
        "SELECT state FROM batches WHERE batch_id = %s FOR KEY SHARE", (batch.batch_id,)
    ).fetchone()
    if row is None or row["state"] != "scanning":
        raise NotScanningError
    return known_photos(conn, batch, photos)


def _insert(conn: Conn, batch: Import, files: Sequence[tuple[Place, Item, int]]) -> None:
    with conn.cursor() as cursor:
        cursor.executemany(
            "INSERT INTO batch_items"
            " (batch_id, index, path, state, photo_id, analysis_id, duplicate_of, byte_size)"
            " VALUES (%s, %s, %s, %s, %s, %s, %s, %s)",
            [
                (
                    *(batch.batch_id, place.index, place.path, item.state.value),
                    *(item.photo_id, item.analysis_id),
                    item.photo_id if item.state is ItemState.DUPLICATE else None,
                    byte_size,
                )
                for place, item, byte_size in files
            ],
        )
