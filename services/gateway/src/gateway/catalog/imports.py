"""Imports: which files a batch has seen, and what became of each.

A batch is `scanning` until its folders are read to the end, then `running` until its last photo
has ended (the recorder writes `completed`). Everything an import does to the catalog is one
transaction per file, so a runner that is killed goes on behind the last file it recorded.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import Any, Final, Literal
from uuid import uuid4

from psycopg.types.json import Jsonb

from darkroom_schemas import ids
from darkroom_schemas.names import BATCH_INTAKE, PHOTO_BATCH_JOINED
from darkroom_schemas.stages import now
from gateway.catalog.outbox import Outbox
from gateway.catalog.submissions import Status, Submission, Submitted, submit_within
from gateway.db import Conn
from gateway.originals import Original
from streamkit import Emit

IMPORTS_CHANNEL: Final = "darkroom_imports"
"""PostgreSQL notifies here when an import is asked for."""

ScanState = Literal["started", "scanning", "sealed"]
"""As `batch.intake` says it."""


@dataclass(frozen=True, slots=True)
class Import:
    """A batch that is being scanned. `roots` are absolute; `found` files are recorded already,
    `expected` ones there are, None while that is not known."""

    batch_id: str
    owner: str
    lane: str
    roots: tuple[str, ...]
    started_at: datetime
    found: int
    expected: int | None = None


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


def create_import(
    conn: Conn, outbox: Outbox, *, owner: str, lane: str, roots: Sequence[str]
) -> str:
    """Ask for an import of files and folders in one transaction; returns the batch's id.

    `roots` are absolute, resolved paths (no symbolic links) that the caller has allowed; their
    order is that of the import.
    """
    batch = Import(str(uuid4()), owner, lane, tuple(roots), now(), 0)
    with conn.transaction():
        conn.execute(
            "INSERT INTO batches (batch_id, owner, lane, state, roots, started_at)"
            " VALUES (%s, %s, %s, 'scanning', %s, %s)",
            (batch.batch_id, owner, lane, Jsonb(list(roots)), batch.started_at),
        )
        outbox.add(conn, [_intake_event(batch, "started", _NOTHING)])
        conn.execute("SELECT pg_notify(%s, '')", (IMPORTS_CHANNEL,))
    return batch.batch_id


def scanning(conn: Conn) -> list[Import]:
    """Imports whose folders are not read to the end, the oldest first."""
    rows = conn.execute(
        "SELECT batch_id, owner, lane, roots, started_at, found, expected FROM batches"
        " WHERE state = 'scanning' ORDER BY started_at, batch_id"
    )
    return [
        Import(
            batch_id=str(row["batch_id"]),
            owner=str(row["owner"]),
            lane=row["lane"],
            roots=tuple(row["roots"]),
            started_at=row["started_at"],
            found=row["found"],
            expected=row["expected"],
        )
        for row in rows
    ]


def expect(conn: Conn, batch: Import, files: int) -> None:
    """Say how many files there are, before they are all recorded: for progress, not for totals."""
    conn.execute("UPDATE batches SET expected = %s WHERE batch_id = %s", (files, batch.batch_id))


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


def record_photo(
    conn: Conn, outbox: Outbox, batch: Import, place: Place, original: Original
) -> Item:
    """Record a file whose bytes are stored, in one transaction with its submission.

    A duplicate is a photo that has an outcome, or one that this batch has seen. One that somebody
    else is still waiting for joins that analysis. Raises psycopg.Error with nothing written.
    """
    submission = Submission(
        owner=batch.owner,
        sha256=original.sha256,
        source_uri=original.uri,
        byte_size=original.byte_size,
        file_name=place.file_name,
        lane=batch.lane,
        submission_id=f"import:{batch.batch_id}:{place.index}",
    )
    with conn.transaction():
        if _seen(conn, batch, submission.photo_id):
            return _insert_duplicate(conn, batch, place, submission.photo_id)
        submitted, events = submit_within(conn, submission)
        if submitted.status is Status.ANALYZED:
            return _insert_duplicate(conn, batch, place, submitted.photo_id)
        outbox.add(conn, [_joined_event(batch, place, submitted), *events])
        return _insert_submitted(conn, batch, place, submitted)


def record_refusal(conn: Conn, batch: Import, place: Place, code: str, message: str) -> Item:
    """Record a file that could not be read: it never becomes a photo."""
    conn.execute(
        "INSERT INTO batch_items (batch_id, index, path, state, code, message)"
        " VALUES (%s, %s, %s, 'refused', %s, %s)",
        (batch.batch_id, place.index, place.path, code, message),
    )
    return Item(ItemState.REFUSED)


def announce(conn: Conn, outbox: Outbox, batch: Import) -> None:
    """Count what was recorded since the last time and publish the totals so far."""
    with conn.transaction():
        counts = _count(conn, batch)
        outbox.add(conn, [_intake_event(batch, "scanning", counts)])


def seal(conn: Conn, outbox: Outbox, batch: Import) -> None:
    """The folders are read to the end: publish the final totals; the batch is `running`."""
    with conn.transaction():
        counts = _count(conn, batch)
        outbox.add(conn, [_intake_event(batch, "sealed", counts)])
        conn.execute(
            "UPDATE batches SET state = 'running' WHERE batch_id = %s AND state = 'scanning'",
            (batch.batch_id,),
        )


def in_flight(conn: Conn, batch_id: str) -> set[str]:
    """Analyses that the batch waits for; reads the whole batch, so ask once."""
    rows = conn.execute(
        """
        SELECT DISTINCT i.analysis_id FROM batch_items i
        WHERE i.batch_id = %s AND i.state = 'submitted'
          AND NOT EXISTS (SELECT FROM outcomes o WHERE o.analysis_id = i.analysis_id)
          AND NOT EXISTS (SELECT FROM rejections r WHERE r.analysis_id = i.analysis_id)
        """,
        (batch_id,),
    )
    return {str(row["analysis_id"]) for row in rows}


def ended(conn: Conn, analyses: Iterable[str]) -> set[str]:
    """Those of `analyses` that have an outcome or a rejection."""
    rows = conn.execute(
        """
        SELECT a FROM unnest(%s::uuid[]) AS a
        WHERE EXISTS (SELECT FROM outcomes o WHERE o.analysis_id = a)
           OR EXISTS (SELECT FROM rejections r WHERE r.analysis_id = a)
        """,
        (list(analyses),),
    )
    return {str(row["a"]) for row in rows}


_NOTHING: Final[Mapping[str, int]] = {"found": 0, "duplicates": 0, "refused": 0, "submitted": 0}


def _count(conn: Conn, batch: Import) -> Mapping[str, int]:
    """Add the files behind the last one counted to the batch's counts; returns the counts.

    `found` says up to which index files are counted, and moves in the same statement: whatever is
    repeated, no file is counted twice, and a million files are not read again and again.
    """
    row = conn.execute(
        """
        WITH fresh AS (
            SELECT count(*) AS found,
                   count(*) FILTER (WHERE i.state = 'duplicate') AS duplicates,
                   count(*) FILTER (WHERE i.state = 'refused') AS refused,
                   count(*) FILTER (WHERE i.state = 'submitted') AS submitted
            FROM (SELECT batch_id, found FROM batches WHERE batch_id = %s FOR UPDATE) b
            JOIN batch_items i ON i.batch_id = b.batch_id AND i.index >= b.found)
        UPDATE batches b SET
            found = b.found + fresh.found, duplicates = b.duplicates + fresh.duplicates,
            refused = b.refused + fresh.refused, submitted = b.submitted + fresh.submitted
        FROM fresh WHERE b.batch_id = %s
        RETURNING b.found, b.duplicates, b.refused, b.submitted
        """,
        (batch.batch_id, batch.batch_id),
    ).fetchone()
    return row if row else _NOTHING


def _seen(conn: Conn, batch: Import, photo_id: str) -> bool:
    row = conn.execute(
        "SELECT FROM batch_items WHERE batch_id = %s AND photo_id = %s LIMIT 1",
        (batch.batch_id, photo_id),
    ).fetchone()
    return row is not None


def _insert_duplicate(conn: Conn, batch: Import, place: Place, photo_id: str) -> Item:
    conn.execute(
        "INSERT INTO batch_items (batch_id, index, path, state, photo_id, duplicate_of)"
        " VALUES (%s, %s, %s, 'duplicate', %s, %s)",
        (batch.batch_id, place.index, place.path, photo_id, photo_id),
    )
    return Item(ItemState.DUPLICATE, photo_id)


def _insert_submitted(conn: Conn, batch: Import, place: Place, submitted: Submitted) -> Item:
    conn.execute(
        "INSERT INTO batch_items (batch_id, index, path, state, photo_id, analysis_id)"
        " VALUES (%s, %s, %s, 'submitted', %s, %s)",
        (batch.batch_id, place.index, place.path, submitted.photo_id, submitted.analysis_id),
    )
    return Item(ItemState.SUBMITTED, submitted.photo_id, submitted.analysis_id)


def _joined_event(batch: Import, place: Place, submitted: Submitted) -> Emit:
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


def _intake_event(batch: Import, state: ScanState, counts: Mapping[str, int]) -> Emit:
    value: dict[str, Any] = {
        "owner": batch.owner,
        "batch_id": batch.batch_id,
        "lane": batch.lane,
        "state": state,
        **counts,
        "started_at": batch.started_at,
        "occurred_at": now(),
    }
    event_id = ids.batch_event_id(batch.batch_id, f"intake:{state}:{counts['found']}")
    return Emit(BATCH_INTAKE, batch.batch_id, value, event_id)
