"""What stages had to do: a task for each analysis and stage, the newest first.

A task is done or failed by the last thing that its stage said of the analysis, cancelled if the
analysis was called off before it said anything, else it waits. Of intake there are those that it
refused. Nothing is written down for it: each state is a question of its own to the tables that
events feed, and answers from an index in the order of the list, so that a page costs the same among
a thousand analyses and a million. A task's place is when it ended, or was handed in.

Indexes, of migration 0008 unless others are named: done: parts_finished, parts_by_model,
parts_slow; failed: stage_failures_recent, stage_failures_by_code, rejections_recent (0007);
cancelled: analyses_cancelled; waiting: analyses_open. By lane: analyses_by_lane where few have it;
by photo: analyses_of_photo (0001); by import: batch_items' key (0001).
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final, Literal, LiteralString
from uuid import UUID

from pydantic import AwareDatetime, Field

from darkroom_schemas.stages import STAGES
from gateway.catalog.shapes import Lane, Shape
from gateway.db import Conn
from gateway.texts import Name

TaskStage = Literal["intake", "detector", "ocr", "embedder"]
TaskState = Literal["waiting", "done", "failed", "cancelled"]


class Task(Shape):
    """What a stage had to do for an analysis, and what became of it."""

    analysis_id: str
    revision: int
    photo_id: str
    stage: TaskStage
    lane: Lane
    state: TaskState
    submitted_at: datetime
    ended_at: datetime | None = Field(description="null while it waits")
    ms: float | None = Field(description="of work, if it is done", examples=[31.4])
    engine: str | None = Field(examples=["efficientnet-lite0"])
    model_version: str | None = Field(examples=["efficientnet-lite0@0123456789ab"])
    code: str | None = Field(description="why it failed", examples=["engine_failed"])
    message: str | None = Field(description="the same for a person")
    attempts: int | None = Field(description="how often it was tried, if it failed")
    file_name: str | None = Field(examples=["chelsea.jpg"])


class TaskPage(Shape):
    """Tasks, the newest first; `next` is the cursor of the earlier ones, null at the end."""

    items: list[Task]
    next: str | None


class TaskFilter(Shape):
    """Which tasks: those that fit everything that is set."""

    stage: TaskStage | None = Field(None, description="intake: photos that it refused")
    lane: Lane | None = None
    state: TaskState | None = None
    since: AwareDatetime | None = Field(
        None, description="ended at or after; while they wait: handed in"
    )
    until: AwareDatetime | None = Field(None, description="ended before; while they wait alike")
    photo_id: UUID | None = None
    batch_id: UUID | None = Field(None, description="of this import")
    model_version: Name | None = Field(None, description="done by it", examples=["stub@1"])
    code: Name | None = Field(None, description="failed with it", examples=["engine_failed"])
    slower_ms: float | None = Field(
        None, ge=0, allow_inf_nan=False, description="done in more milliseconds", examples=[500]
    )


@dataclass(frozen=True, slots=True)
class TaskPlace:
    """A place in the list, newest first."""

    at: datetime
    analysis_id: UUID
    stage: str


@dataclass(frozen=True, slots=True)
class _Source:
    """Where the tasks of a state come from, as parts of a query: `at`, `analysis` and `stage` are
    their columns, `takes` the filters that say something about them beside the common ones."""

    state: TaskState
    stages: frozenset[str]
    at: LiteralString
    analysis: LiteralString
    stage: LiteralString
    found: LiteralString
    rows: LiteralString
    takes: Mapping[str, LiteralString]


_NOTHING: LiteralString = (
    "NULL::float8 AS ms, NULL::text AS engine, NULL::text AS model_version,"
    " NULL::text AS code, NULL::text AS message, NULL::int AS attempts"
)

_UNSAID: LiteralString = """
NOT EXISTS (SELECT FROM parts y WHERE y.analysis_id = a.analysis_id AND y.stage = s.stage)
AND NOT EXISTS (SELECT FROM stage_failures y
  WHERE y.analysis_id = a.analysis_id AND y.stage = s.stage)
AND NOT EXISTS (SELECT FROM rejections y WHERE y.analysis_id = a.analysis_id)
"""
"""Of an analysis `a` and a stage `s`: it has said nothing, and nothing keeps it from doing so."""

_DONE: Final = _Source(
    state="done",
    stages=frozenset(STAGES),
    at="p.finished_at",
    analysis="p.analysis_id",
    stage="p.stage",
    found="p.revision, p.ms, p.engine, p.model_version, NULL::text AS code,"
    " NULL::text AS message, NULL::int AS attempts",
    rows="""
FROM parts p JOIN analyses a ON a.analysis_id = p.analysis_id
WHERE p.owner = %(owner)s
  AND NOT EXISTS (SELECT FROM parts y WHERE y.analysis_id = p.analysis_id
    AND y.stage = p.stage AND y.revision > p.revision)
  AND NOT EXISTS (SELECT FROM stage_failures y WHERE y.analysis_id = p.analysis_id
    AND y.stage = p.stage AND y.revision > p.revision)
""",
    takes={
        "model_version": " AND p.model_version = %(model_version)s",
        "slower_ms": " AND p.ms > %(slower_ms)s",
    },
)

_FAILED: Final = _Source(
    state="failed",
    stages=frozenset(STAGES),
    at="f.failed_at",
    analysis="f.analysis_id",
    stage="f.stage",
    found="f.revision, NULL::float8 AS ms, NULL::text AS engine, NULL::text AS model_version,"
    " f.code, f.message, f.attempts",
    rows="""
FROM stage_failures f JOIN analyses a ON a.analysis_id = f.analysis_id
WHERE f.owner = %(owner)s
  AND NOT EXISTS (SELECT FROM parts y WHERE y.analysis_id = f.analysis_id
    AND y.stage = f.stage AND y.revision >= f.revision)
  AND NOT EXISTS (SELECT FROM stage_failures y WHERE y.analysis_id = f.analysis_id
    AND y.stage = f.stage AND y.revision > f.revision)
""",
    takes={"code": " AND f.code = %(code)s"},
)

_REFUSED: Final = _Source(
    state="failed",
    stages=frozenset({"intake"}),
    at="r.rejected_at",
    analysis="r.analysis_id",
    stage="'intake'",
    found="r.revision, NULL::float8 AS ms, NULL::text AS engine, NULL::text AS model_version,"
    " r.code, r.message, NULL::int AS attempts",
    rows="""
FROM rejections r JOIN analyses a ON a.analysis_id = r.analysis_id
WHERE r.owner = %(owner)s
  AND NOT EXISTS (SELECT FROM rejections y
    WHERE y.analysis_id = r.analysis_id AND y.revision > r.revision)
""",
    takes={"code": " AND r.code = %(code)s"},
)

_CANCELLED: Final = _Source(
    state="cancelled",
    stages=frozenset(STAGES),
    at="a.cancelled_at",
    analysis="a.analysis_id",
    stage="s.stage",
    found="a.revision, " + _NOTHING,
    rows="""
FROM analyses a CROSS JOIN unnest(%(stages)s::text[]) AS s (stage)
WHERE a.owner = %(owner)s AND a.cancelled_at IS NOT NULL AND """
    + _UNSAID,
    takes={},
)

_WAITING: Final = _Source(
    state="waiting",
    stages=frozenset(STAGES),
    at="a.submitted_at",
    analysis="a.analysis_id",
    stage="s.stage",
    found="a.revision, " + _NOTHING,
    rows="""
FROM analyses a CROSS JOIN unnest(%(stages)s::text[]) AS s (stage)
WHERE a.owner = %(owner)s AND a.open AND a.cancelled_at IS NULL AND """
    + _UNSAID
    + " AND NOT EXISTS (SELECT FROM outcomes o WHERE o.analysis_id = a.analysis_id)",
    takes={},
)

_SOURCES: Final = (_DONE, _FAILED, _REFUSED, _CANCELLED, _WAITING)

_OWN: Final = ("model_version", "code", "slower_ms")
"""Filters that only some sources take: the others have nothing that fits."""


def tasks(
    conn: Conn, owner: str, chosen: TaskFilter, after: TaskPlace | None, limit: int
) -> tuple[list[Task], TaskPlace | None]:
    """At most `limit` tasks after a place, newest first, and the place to go on from.

    One that ends in between moves to the front.
    """
    sources = [source for source in _SOURCES if _fits(source, chosen)]
    if not sources:
        return [], None
    arguments: dict[str, Any] = {
        **{name: getattr(chosen, name) for name in TaskFilter.model_fields},
        "owner": owner,
        "stages": list(STAGES),
        "at": after.at if after else None,
        "analysis": after.analysis_id if after else None,
        "place": after.stage if after else None,
        "limit": limit + 1,
    }
    query = _query([_of(source, chosen, after) for source in sources])
    # Never as a prepared statement, whose plan would be for any arguments: how rare it is what is
    # asked for decides where to begin.
    rows = conn.execute(query, arguments, prepare=False).fetchall()
    here = rows[:limit]
    place = None
    if len(rows) > limit:
        place = TaskPlace(here[-1]["at"], here[-1]["analysis_id"], here[-1]["stage"])
    return [_task(row) for row in here], place


def _fits(source: _Source, chosen: TaskFilter) -> bool:
    return (
        chosen.state in (None, source.state)
        and (chosen.stage is None or chosen.stage in source.stages)
        and all(name in source.takes for name in _OWN if getattr(chosen, name) is not None)
    )


_ORDER: LiteralString = " ORDER BY at DESC, analysis_id, stage LIMIT %(limit)s"


def _query(parts: Sequence[LiteralString]) -> LiteralString:
    """The first of all, out of the first of each."""
    query: LiteralString = " UNION ALL ".join("(" + part + _ORDER + ")" for part in parts)
    return "SELECT * FROM (" + query + ") each" + _ORDER  # noqa: S608  # literals only


def _of(source: _Source, chosen: TaskFilter, after: TaskPlace | None) -> LiteralString:
    query: LiteralString = "SELECT '" + source.state + "' AS state, " + source.at + " AS at, "
    query += source.analysis + " AS analysis_id, " + source.stage + " AS stage, " + source.found
    query += ", a.photo_id, a.lane, a.submitted_at, a.file_name" + source.rows
    for name, condition in source.takes.items():
        if getattr(chosen, name) is not None:
            query += condition
    if chosen.stage is not None:
        query += " AND " + source.stage + " = %(stage)s"
    if chosen.lane is not None:
        query += " AND a.lane = %(lane)s"
    if chosen.photo_id is not None:
        query += " AND a.photo_id = %(photo_id)s"
    if chosen.batch_id is not None:
        query += (
            " AND a.analysis_id IN (SELECT i.analysis_id FROM batch_items i"
            " WHERE i.batch_id = %(batch_id)s AND i.state = 'submitted')"
        )
    if chosen.since is not None:
        query += " AND " + source.at + " >= %(since)s"
    if chosen.until is not None:
        query += " AND " + source.at + " < %(until)s"
    if after is not None:
        query += " AND " + source.at + " <= %(at)s AND (" + source.at + " < %(at)s OR "
        query += "(" + source.analysis + ", " + source.stage + ") > (%(analysis)s, %(place)s))"
    return query


def _task(row: Mapping[str, Any]) -> Task:
    fields = {name: row[name] for name in Task.model_fields if name in row}
    fields |= {"analysis_id": str(row["analysis_id"]), "photo_id": str(row["photo_id"])}
    return Task(**fields, ended_at=None if row["state"] == "waiting" else row["at"])
