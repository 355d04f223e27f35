"""Sources: folders and prefixes of stores that are looked through again and again.

Each has a job of its own (`job_of`), which is written in the same transaction.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final, Literal
from uuid import UUID, uuid4

from psycopg.errors import UniqueViolation
from psycopg.types.json import Jsonb
from pydantic import Field

from gateway.catalog import schedules
from gateway.catalog.audit import audit
from gateway.catalog.schedules import SYNC, Schedule
from gateway.catalog.shapes import Lane, Shape
from gateway.cron import Cron
from gateway.db import Conn

MOST: Final = 200
"""Sources of one owner."""

Kind = Literal["folder", "store"]
Deletions = Literal["report", "forget"]


class Source(Shape):
    """A source as it is set up, and what it held when it was last looked through."""

    source_id: str
    name: str = Field(examples=["nas"])
    kind: Kind
    place: str = Field(
        description="the folder's path, or the prefix's URI", examples=["/mnt/photos"]
    )
    include: list[str]
    exclude: list[str]
    hidden: bool
    lane: Lane
    deletions: Deletions = Field(
        description="what is done about a file that vanishes: it is told, or forgotten besides;"
        " its photo stays in either case"
    )
    created_at: datetime
    files: int = Field(description="files that it holds")
    gone: int = Field(description="files that it held once")
    job: Schedule = Field(description="when it is looked through, and how that went last")


class Sources(Shape):
    """All sources, by name."""

    items: list[Source]


@dataclass(frozen=True, slots=True)
class NewSource:
    """A source to be. `location` as of an import of its kind, with the `place` besides; what it
    names is checked. `schedule` None: it is looked through only if that is asked for."""

    name: str
    kind: Kind
    location: Mapping[str, Any]
    lane: str
    schedule: Cron | None
    deletions: Deletions
    enabled: bool


@dataclass(frozen=True, slots=True)
class Place:
    """What a run needs of a source."""

    source_id: UUID
    owner: str
    kind: Kind
    location: Mapping[str, Any]
    lane: str
    deletions: Deletions

    @property
    def root(self) -> str:
        """The folder's path, or the prefix's URI."""
        return str(self.location["place"])


class NameTakenError(Exception):
    """There is a source of this name."""


class TooManyError(Exception):
    """There are as many sources as there may be."""


class BusyError(Exception):
    """An import of the source is still recording files."""


def job_of(name: str) -> str:
    """The job of a source."""
    return f"{SYNC}{name}"


def add(conn: Conn, owner: str, new: NewSource, by: str) -> UUID:
    """Set up a source with its job, and have it looked through at once if it is enabled.

    Raises NameTakenError, TooManyError.
    """
    source_id = uuid4()
    try:
        with conn.transaction():
            _check_number(conn, owner)
            conn.execute(
                "INSERT INTO sources (source_id, owner, name, kind, location, lane, schedule,"
                " deletions, enabled) VALUES (%s, %s, %s, %s, %s, %s, %s, %s, %s)",
                (
                    *(source_id, owner, new.name, new.kind, Jsonb(dict(new.location)), new.lane),
                    *(new.schedule and new.schedule.text, new.deletions, new.enabled),
                ),
            )
            conn.execute(
                "INSERT INTO jobs (name, schedule, enabled) VALUES (%s, %s, %s)",
                (job_of(new.name), new.schedule.text if new.schedule else "", new.enabled),
            )
            detail = {"place": new.location["place"], "kind": new.kind}
            audit(conn, by, "source.added", new.name, detail)
            if new.enabled:
                schedules.ask(conn, job_of(new.name), by)
    except UniqueViolation as error:
        raise NameTakenError(new.name) from error
    return source_id


def sources(conn: Conn, owner: str, ids: Sequence[UUID] | None = None) -> list[Source]:
    """The owner's sources by name, or those with these ids."""
    rows = conn.execute(
        """
        SELECT s.*, coalesce(f.files, 0) AS files, coalesce(f.gone, 0) AS gone FROM sources s
        LEFT JOIN LATERAL (SELECT count(*) FILTER (WHERE gone_at IS NULL) AS files,
            count(gone_at) AS gone FROM source_files WHERE source_id = s.source_id) f ON true
        WHERE s.owner = %(owner)s AND (%(ids)s::uuid[] IS NULL OR s.source_id = ANY(%(ids)s))
        ORDER BY s.name
        """,
        {"owner": owner, "ids": None if ids is None else list(ids)},
    ).fetchall()
    jobs = {one.name: one for one in schedules.schedules(conn)} if rows else {}
    return [_source(row, jobs[job_of(row["name"])]) for row in rows if job_of(row["name"]) in jobs]


def source(conn: Conn, owner: str, source_id: UUID) -> Source | None:
    """The owner's source with this id."""
    return next(iter(sources(conn, owner, [source_id])), None)


def place_of(conn: Conn, job: str) -> Place | None:
    """The source that a job looks through, None if it is there no more."""
    row = conn.execute(
        "SELECT source_id, owner::text, kind, location, lane, deletions FROM sources"
        " WHERE %s || name = %s",
        (SYNC, job),
    ).fetchone()
    return Place(**row) if row else None


def change(
    conn: Conn, owner: str, source_id: UUID, changes: Mapping[str, Any], by: str
) -> str | None:
    """Change a source: `schedule` (a Cron, or None for by hand only), `enabled`, `lane`,
    `deletions`. Returns its name, None if there is no such source."""
    with conn.transaction():
        row = _hold(conn, owner, source_id)
        if row is None:
            return None
        cron = changes.get("schedule")
        written = dict(changes)
        if "schedule" in changes:
            written["schedule"] = cron.text if isinstance(cron, Cron) else None
        changed = {key: value for key, value in written.items() if value != row[key]}
        if changed:
            wanted = {key: written.get(key, row[key]) for key in _CHANGEABLE}
            conn.execute(_CHANGE, wanted | {"source": source_id})
            schedules.rewrite(
                conn,
                job_of(row["name"]),
                schedule=wanted["schedule"] or "",
                enabled=wanted["enabled"],
            )
            audit(conn, by, "source.changed", row["name"], changed)
    return str(row["name"])


def remove(conn: Conn, owner: str, source_id: UUID, by: str) -> Source | None:
    """Forget a source, its job and what it held; its photos and imports stay. Raises BusyError."""
    with conn.transaction():
        row = _hold(conn, owner, source_id)
        if row is None:
            return None
        busy = conn.execute(
            "SELECT FROM batches WHERE source_id = %s AND state IN ('scanning', 'paused') LIMIT 1",
            (source_id,),
        ).fetchone()
        if busy is not None:
            raise BusyError
        removed = source(conn, owner, source_id)
        conn.execute("DELETE FROM sources WHERE source_id = %s", (source_id,))
        conn.execute("DELETE FROM jobs WHERE name = %s", (job_of(row["name"]),))
        conn.execute("DELETE FROM job_runs WHERE job = %s", (job_of(row["name"]),))
        audit(conn, by, "source.removed", row["name"], {"place": row["location"]["place"]})
    return removed


_CHANGEABLE: Final = ("schedule", "enabled", "lane", "deletions")

_CHANGE: Final = """
UPDATE sources SET schedule = %(schedule)s, enabled = %(enabled)s, lane = %(lane)s,
    deletions = %(deletions)s WHERE source_id = %(source)s
"""


def _hold(conn: Conn, owner: str, source_id: UUID) -> Mapping[str, Any] | None:
    return conn.execute(
        "SELECT * FROM sources WHERE owner = %s AND source_id = %s FOR UPDATE", (owner, source_id)
    ).fetchone()


def _check_number(conn: Conn, owner: str) -> None:
    row = conn.execute("SELECT count(*) AS n FROM sources WHERE owner = %s", (owner,)).fetchone()
    if row and row["n"] >= MOST:
        raise TooManyError


def _source(row: Mapping[str, Any], job: Schedule) -> Source:
    location = row["location"]
    return Source(
        source_id=str(row["source_id"]),
        name=row["name"],
        kind=row["kind"],
        place=location["place"],
        include=location.get("include", []),
        exclude=location.get("exclude", []),
        hidden=location.get("hidden", False),
        lane=row["lane"],
        deletions=row["deletions"],
        created_at=row["created_at"],
        files=row["files"],
        gone=row["gone"],
        job=job,
    )
