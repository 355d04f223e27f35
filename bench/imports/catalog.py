"""What the catalog says of an import."""

import time
from collections.abc import Callable, Mapping
from typing import Any, Final

import psycopg
from bench.imports.totals import Item
from psycopg.rows import dict_row

from darkroom_cli.errors import DarkroomError

_POLL_S: Final = 0.1
_FINAL: Final = frozenset({"completed", "completed_with_failures", "cancelled"})

Conn = psycopg.Connection[dict[str, Any]]


class StandsStillError(DarkroomError):
    """Nothing moves any more."""


def connect(database: str) -> Conn:
    """A connection in autocommit mode, with rows as dictionaries."""
    return psycopg.connect(database, autocommit=True, row_factory=dict_row)


def follow(
    conn: Conn, batch_id: str, told: Callable[[int], None], patience_s: float
) -> Mapping[str, Any]:
    """Wait until an import is over and every file of it has its end in the catalog; its row.

    `told` hears how many files are done. Raises StandsStillError.
    """
    moved, last = time.monotonic(), -1
    while True:
        row = _row(conn, batch_id)
        totals = row["totals"] or {}
        done = max(row["duplicates"], totals.get("duplicates", 0)) + totals.get("accepted", 0)
        told(done)
        if row["state"] in _FINAL and not _open(conn, batch_id):
            return row
        if done != last:
            moved, last = time.monotonic(), done
        if time.monotonic() - moved > patience_s:
            raise StandsStillError(f"the import has not moved for {patience_s:.0f} s, at {done}")
        time.sleep(_POLL_S)


def items(conn: Conn, batch_id: str) -> list[Item]:
    """All files of an import, in their order."""
    rows = conn.execute(
        "SELECT i.index, i.path, i.state, i.photo_id::text, i.ended, o.outcome"
        " FROM batch_items i LEFT JOIN outcomes o ON o.analysis_id = i.analysis_id"
        " AND o.revision = 1 WHERE i.batch_id = %s ORDER BY i.index",
        (batch_id,),
    )
    return [Item(**row) for row in rows]


def _row(conn: Conn, batch_id: str) -> Mapping[str, Any]:
    row = conn.execute("SELECT * FROM batches WHERE batch_id = %s", (batch_id,)).fetchone()
    if row is None:
        raise StandsStillError(f"the import {batch_id} is not in the catalog")
    return row


def _open(conn: Conn, batch_id: str) -> bool:
    query = (
        "SELECT FROM batch_items WHERE batch_id = %s AND state = 'submitted' AND ended IS NULL"
        " LIMIT 1"
    )
    return conn.execute(query, (batch_id,)).fetchone() is not None
