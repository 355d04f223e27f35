"""Who changed what: entries are added and read, never changed; old ones go if a setting says so."""

from collections.abc import Mapping
from datetime import datetime
from typing import Any

from psycopg.types.json import Jsonb
from pydantic import Field

from gateway.catalog.shapes import Shape
from gateway.db import Conn


class AuditEntry(Shape):
    """One change, as it was written down."""

    id: int
    at: datetime
    who: str = Field(examples=["ada"])
    what: str = Field(examples=["policy.changed"])
    subject: str = Field(examples=["2"])
    detail: dict[str, Any]


class AuditPage(Shape):
    """Changes, the newest first; `next` is the cursor of the earlier ones, null at the end."""

    items: list[AuditEntry]
    next: str | None


def audit(conn: Conn, who: str, what: str, subject: str, detail: Mapping[str, Any]) -> None:
    """Write down a change, in the transaction in progress on `conn`.

    `who` names the person or job, `what` the change in the form `policy.changed`, `subject` the
    thing (an id or a name); `detail` is JSON.
    """
    conn.execute(
        "INSERT INTO audit (who, what, subject, detail) VALUES (%s, %s, %s, %s)",
        (who, what, subject, Jsonb(dict(detail))),
    )


def forget_audit(conn: Conn, days: int) -> int:
    """Delete entries that are older than that; how many."""
    return conn.execute(
        "DELETE FROM audit WHERE at < now() - make_interval(days => %s)", (days,)
    ).rowcount


def entries(
    conn: Conn, *, what: str | None = None, before: int | None = None, limit: int
) -> tuple[list[AuditEntry], int | None]:
    """At most `limit` entries with an id below `before`, newest first; the id to go on before."""
    rows = conn.execute(
        "SELECT id, at, who, what, subject, detail FROM audit"
        " WHERE (%(before)s::bigint IS NULL OR id < %(before)s)"
        " AND (%(what)s::text IS NULL OR what = %(what)s OR starts_with(what, %(what)s || '.'))"
        " ORDER BY id DESC LIMIT %(limit)s",
        {"what": what, "before": before, "limit": limit + 1},
    ).fetchall()
    here = rows[:limit]
    more = len(rows) > limit
    return [AuditEntry.model_validate(row) for row in here], here[-1]["id"] if more else None
