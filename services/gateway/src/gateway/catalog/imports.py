"""Imports: their states and totals. What became of each file is in `items`.

    scanning ⇄ paused       no file is recorded meanwhile
    scanning → running      sealed: every file is recorded, their photos are waited for
    any of these → cancelling → cancelled
    running → completed | completed_with_failures

The control door seals (the api door, where the files are uploaded), people pause, resume and
cancel (`import_commands`), the recorder ends an import when its totals say so.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final, Literal
from uuid import UUID, uuid4

from psycopg.types.json import Jsonb

from darkroom_schemas import ids
from darkroom_schemas.names import BATCH_INTAKE
from darkroom_schemas.stages import now
from gateway.catalog.outbox import Outbox
from gateway.db import Conn
from streamkit import Emit

IMPORTS_CHANNEL: Final = "darkroom_imports"
"""PostgreSQL notifies here when an import is asked for, or shall go another way."""

Kind = Literal["folder", "archive", "upload", "store", "reprocess"]
"""Where a batch's files come from."""

_REASON_CHARS: Final = 500

FINAL: Final = ("completed", "completed_with_failures", "cancelled")
"""States that an import never leaves."""

IntakeState = Literal["started", "scanning", "sealed", "cancelled"]
"""As `batch.intake` says it."""


class NotScanningError(Exception):
    """The import takes no file now: it is paused, sealed, or is being cancelled. Nothing was
    written."""


@dataclass(frozen=True, slots=True)
class Import:
    """A batch that takes files or is being cancelled.

    `roots` is what was asked for; `found` files are counted already, `expected` ones there are,
    None while that is not known.
    """

    batch_id: str
    owner: str
    lane: str
    kind: Kind
    roots: tuple[str, ...]
    location: Mapping[str, Any]
    started_at: datetime
    found: int = 0
    expected: int | None = None
    state: Literal["scanning", "cancelling"] = "scanning"


def begin_import(  # noqa: PLR0913 - what an import is made of
    conn: Conn,
    outbox: Outbox,
    *,
    owner: str,
    lane: str,
    kind: Kind,
    roots: Sequence[str],
    location: Mapping[str, Any],
    source_id: UUID | None = None,
) -> str:
    """Begin an import in one transaction, or as a part of the caller's; returns the batch's id.

    `roots` is what was asked for, as people read it; of kind `folder` they are absolute, resolved
    paths (no symbolic links) that the caller has allowed, in the order of the import. `location`
    is what `gateway.origins` needs beside them. `source_id` names the source that is synced.
    """
    batch_id, started_at = str(uuid4()), now()
    batch = Import(batch_id, owner, lane, kind, tuple(roots), dict(location), started_at)
    with conn.transaction():
        conn.execute(
            "INSERT INTO batches"
            " (batch_id, owner, lane, state, kind, roots, location, source_id, started_at)"
            " VALUES (%s, %s, %s, 'scanning', %s, %s, %s, %s, %s)",
            (
                *(batch_id, owner, lane, kind, Jsonb(list(roots)), Jsonb(dict(location))),
                *(source_id, started_at),
            ),
        )
        outbox.add(conn, [intake_event(batch, "started", _NOTHING)])
        notify(conn)
    return batch_id


def notify(conn: Conn) -> None:
    """Tell the import runner, once the transaction in progress is committed."""
    conn.execute("SELECT pg_notify(%s, '')", (IMPORTS_CHANNEL,))


_IMPORT: Final = (
    "SELECT batch_id, owner, lane, kind, roots, location, started_at, found, expected, state"
    " FROM batches"
)


def open_imports(conn: Conn) -> list[Import]:
    """Imports that take files, and those whose cancellation is not through; the oldest first."""
    rows = conn.execute(
        f"{_IMPORT} WHERE state = 'scanning' OR (state = 'cancelling' AND NOT sealed)"
        " ORDER BY started_at, batch_id"
    )
    return [import_of(row) for row in rows]


def import_of(row: Mapping[str, Any]) -> Import:
    """The import of a row of `batches`."""
    return Import(
        batch_id=str(row["batch_id"]),
        owner=str(row["owner"]),
        lane=row["lane"],
        kind=row["kind"],
        roots=tuple(row["roots"]),
        location=row["location"],
        started_at=row["started_at"],
        found=row["found"],
        expected=row["expected"],
        state=row["state"],
    )


def expect(conn: Conn, batch_id: str, files: int) -> None:
    """Say how many files there are, before they are all recorded: for progress, not for totals."""
    conn.execute("UPDATE batches SET expected = %s WHERE batch_id = %s", (files, batch_id))


def announce(conn: Conn, outbox: Outbox, batch: Import) -> None:
    """Count what was recorded since the last time and publish the totals so far.

    Does nothing once the import is sealed or cancelled: its totals are final then, or soon told.
    """
    with conn.transaction():
        if _hold(conn, batch) in ("scanning", "paused"):
            outbox.add(conn, [intake_event(batch, "scanning", count(conn, batch.batch_id))])


def wait_for(conn: Conn, batch_id: str, reason: str | None) -> None:
    """Note what the import stands still for; None: it goes on."""
    said = None if reason is None else reason.replace("\0", "")[:_REASON_CHARS]
    conn.execute(
        "UPDATE batches SET waits_for = %(said)s"
        " WHERE batch_id = %(batch)s AND waits_for IS DISTINCT FROM %(said)s",
        {"said": said, "batch": batch_id},
    )


def seal(conn: Conn, outbox: Outbox, batch: Import) -> None:
    """Every file is recorded: publish the final totals; the batch is `running`.

    Raises NotScanningError.
    """
    with conn.transaction():
        if _hold(conn, batch) != "scanning":
            raise NotScanningError
        outbox.add(conn, [intake_event(batch, "sealed", count(conn, batch.batch_id))])
        conn.execute(
            "UPDATE batches SET state = 'running', sealed = true WHERE batch_id = %s",
            (batch.batch_id,),
        )


def _hold(conn: Conn, batch: Import) -> str | None:
    """The state, which nobody else changes before the end of the transaction."""
    row = conn.execute(
        "SELECT state FROM batches WHERE batch_id = %s FOR UPDATE", (batch.batch_id,)
    ).fetchone()
    return row["state"] if row else None


_NOTHING: Final[Mapping[str, int]] = {"found": 0, "duplicates": 0, "refused": 0, "submitted": 0}


def count(conn: Conn, batch_id: str) -> Mapping[str, int]:
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
        (batch_id, batch_id),
    ).fetchone()
    return row if row else _NOTHING


def intake_event(batch: Import, state: IntakeState, counts: Mapping[str, int]) -> Emit:
    """How far the scan is; `counts` as of `count`."""
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
