"""What people may ask of an import that is under way: to pause, to go on, to be cancelled.

Each command is one transaction that holds the batch's row, so a file is recorded wholly before it
or not at all. Repeating one is harmless. All return False where the owner has no such import, and
raise ImportStateError where its state does not allow it.
"""

from datetime import datetime
from typing import Any
from uuid import UUID

from gateway.catalog.audit import audit
from gateway.catalog.imports import FINAL, count, notify
from gateway.db import Conn


class ImportStateError(Exception):
    """The import's state does not allow it: a stable code and a sentence for a person."""

    def __init__(self, code: str, message: str) -> None:
        super().__init__(message)
        self.code = code
        self.message = message


def pause(conn: Conn, owner: str, batch_id: UUID, by: str, until: datetime | None) -> bool:
    """Record no more files until somebody resumes the import, or `until`.

    Photos that are under way go on. Of one that is paused already, its end is set anew. Raises
    ImportStateError: `import_over`, `import_sealed` where every file is recorded already.
    """
    with conn.transaction():
        state = _hold(conn, owner, batch_id)
        if state is None:
            return False
        if state not in ("scanning", "paused"):
            raise refusal_of(state)
        conn.execute(
            "UPDATE batches SET state = 'paused', paused_by = %s, paused_at = now(),"
            " paused_until = %s WHERE batch_id = %s",
            (by, until, batch_id),
        )
        count(conn, str(batch_id))
        _written(conn, batch_id, by, "paused", until=until and until.isoformat())
    return True


def resume(conn: Conn, owner: str, batch_id: UUID, by: str) -> bool:
    """Go on. Nothing changes where the import is not paused; raises `import_over`."""
    with conn.transaction():
        state = _hold(conn, owner, batch_id)
        if state is None:
            return False
        if state not in ("scanning", "paused", "running"):
            raise refusal_of(state)
        if state == "paused":
            _go_on(conn, batch_id, by)
    return True


def cancel(conn: Conn, owner: str, batch_id: UUID, by: str) -> bool:
    """Record no more files and wait for no photo any more; the import runner does the rest.

    Photos that have their end keep it. Raises `import_over` where all of them have.
    """
    with conn.transaction():
        state = _hold(conn, owner, batch_id)
        if state is None:
            return False
        if state in FINAL:
            raise refusal_of(state)
        if state != "cancelling":
            # Not sealed until the runner has told the last end.
            conn.execute(
                "UPDATE batches SET state = 'cancelling', sealed = false, cancelled_by = %s,"
                " cancelled_at = now(), paused_by = NULL, paused_at = NULL, paused_until = NULL"
                " WHERE batch_id = %s",
                (by, batch_id),
            )
            _written(conn, batch_id, by, "cancelled", was=state)
    return True


def end_pauses(conn: Conn) -> int:
    """Resume the imports whose pause is over; returns how many."""
    with conn.transaction():
        rows = conn.execute(
            "SELECT batch_id FROM batches WHERE state = 'paused' AND paused_until <= now()"
            " ORDER BY batch_id FOR UPDATE"
        ).fetchall()
        for row in rows:
            _go_on(conn, row["batch_id"], "the pause's end")
    return len(rows)


def _hold(conn: Conn, owner: str, batch_id: UUID) -> str | None:
    # FOR UPDATE, not NO KEY UPDATE: that is what the KEY SHARE of `items` waits for.
    row = conn.execute(
        "SELECT state FROM batches WHERE batch_id = %s AND owner = %s FOR UPDATE",
        (batch_id, owner),
    ).fetchone()
    return row["state"] if row else None


def _go_on(conn: Conn, batch_id: UUID, by: str) -> None:
    conn.execute(
        "UPDATE batches SET state = 'scanning', paused_by = NULL, paused_at = NULL,"
        " paused_until = NULL WHERE batch_id = %s",
        (batch_id,),
    )
    _written(conn, batch_id, by, "resumed")


def _written(conn: Conn, batch_id: UUID, by: str, what: str, **detail: Any) -> None:
    audit(conn, by, f"import.{what}", str(batch_id), detail)
    notify(conn)


def refusal_of(state: str) -> ImportStateError:
    """Why an import in this state takes neither a pause nor a file."""
    if state in FINAL:
        return ImportStateError("import_over", f"The import is over: {state.replace('_', ' ')}.")
    if state == "cancelling":
        return ImportStateError("import_over", "The import is being cancelled.")
    if state == "paused":
        return ImportStateError("import_paused", "The import is paused.")
    message = "All files of the import are recorded; only its photos are waited for."
    return ImportStateError("import_sealed", message)
