"""Workers as they last said that they are, and for how long each has been silent."""

from collections.abc import Collection, Mapping
from datetime import datetime
from typing import Annotated, Any, Final

from psycopg.types.json import Jsonb
from pydantic import AfterValidator, ConfigDict, Field, StringConstraints

from gateway.catalog.shapes import Shape
from gateway.db import Conn

MISSED: Final = 3
"""Who is silent for so many of its heartbeats is missing."""

GONE: Final = "gone"
MISSING: Final = "missing"

_KEPT_HOURS: Final = 24
_GONE_HOURS: Final = 1
_LONGEST: Final = 500
_MOST: Final = 1_000


def _held(text: str) -> str:
    """As PostgreSQL's text can hold it, and not too long: a record's key may be anything."""
    return text.replace("\0", "")[:_LONGEST]


_Text = Annotated[str, AfterValidator(_held)]
_Name = Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9_.-]+$", max_length=40)]
_Count = Annotated[int, Field(ge=0)]


def _rounded(number: float) -> float:
    """As PostgreSQL's `real` can hold it: that refuses what is too near to 0."""
    return round(number, 4)


_Share = Annotated[float, Field(ge=0, le=1), AfterValidator(_rounded)]


class _Said(Shape):
    """Part of what a worker says of itself: what is no number would stop the catalog's JSON."""

    model_config = ConfigDict(frozen=True, allow_inf_nan=False)


class Partition(_Said):
    """A partition that is assigned to a worker."""

    topic: _Text
    partition: int


class WorkerLane(_Said):
    """What a worker does of a lane."""

    lane: _Text
    partitions: list[Partition]
    waiting: _Count = Field(description="records that it has fetched and not begun")
    in_engine: _Count = Field(description="records that its engines hold")
    concurrency: int | None = Field(description="records that they may hold at a time; null: any")
    rate: float | None = Field(
        description="records a second that may begin in all workers together; null: any"
    )
    paused: bool = Field(description="whether its work is held back")
    done: _Count = Field(description="records that it has finished since it began")
    failed: _Count = Field(description="records among them that it gave up")


class Task(_Said):
    """A record that an engine has in hand."""

    lane: _Text
    topic: _Text
    partition: int
    offset: int
    key: _Text = Field(description="of the record: a photo's id in most topics")
    attempt: int = Field(description="from 1")
    engine: _Text
    since: datetime


class Heartbeat(_Said):
    """What a worker says of itself (`ops.worker.v1`)."""

    worker: Annotated[str, StringConstraints(pattern=r"^[^\x00]+$", max_length=300)] = Field(
        description="service@host:process id", examples=["ocr@studio:4711"]
    )
    service: _Name = Field(examples=["ocr"])
    host: _Text
    pid: int
    version: _Text = Field(description="of Darkroom")
    state: _Name = Field(description="starting, working, stopping, gone")
    started_at: datetime
    reported_at: datetime = Field(description="by its own clock")
    every_s: Annotated[float, AfterValidator(_rounded)] = Field(
        ge=0.01, le=3600, description="seconds to its next heartbeat, at most"
    )
    cpu: _Share = Field(description="share in use of the CPU of its container, else of its host")
    cpu_cores: float = Field(ge=0, description="cores' worth that it and its engines used")
    memory: _Share = Field(description="share in use of the memory, in the same way")
    memory_bytes: _Count = Field(description="resident memory of it and its engines")
    lanes: list[WorkerLane]
    work: list[Task] = Field(description="what its engines have in hand, the oldest first")


class Worker(Heartbeat):
    """A worker's last heartbeat, and since when nothing was heard of it."""

    seen_at: datetime = Field(description="by the catalog's clock")
    silent_s: float = Field(ge=0, description="seconds since then")
    missing: bool = Field(
        description=f"silent for more than {MISSED} of its heartbeats, without having said that"
        " it goes"
    )

    @property
    def works(self) -> bool:
        """Whether it is there."""
        return not self.missing and self.state != GONE


class Workers(Shape):
    """Workers by service and name; those that are missing for a day, or have gone an hour ago, are
    forgotten."""

    items: list[Worker]


def note(conn: Conn, heartbeats: Collection[Heartbeat]) -> None:
    """Write down what workers said; at most one heartbeat of each."""
    if heartbeats:
        conn.execute(_NOTE, (Jsonb([one.model_dump(mode="json") for one in heartbeats]),))


# Who takes over reads the last minute again: what is known is no sign of life. What is far older is
# news again, of a clock that was put back.
_NOTE: Final = """
INSERT INTO workers AS w (worker, service, state, cpu, memory, every_s, said, seen_at)
SELECT h ->> 'worker', h ->> 'service', h ->> 'state', (h ->> 'cpu')::real, (h ->> 'memory')::real,
  (h ->> 'every_s')::real, h, clock_timestamp() FROM jsonb_array_elements(%s) h
ON CONFLICT (worker) DO UPDATE SET service = excluded.service, state = excluded.state,
  cpu = excluded.cpu, memory = excluded.memory, every_s = excluded.every_s, said = excluded.said,
  seen_at = excluded.seen_at
WHERE ((excluded.said ->> 'reported_at')::timestamptz, excluded.state)
    IS DISTINCT FROM ((w.said ->> 'reported_at')::timestamptz, w.state)
  AND ((excluded.said ->> 'reported_at')::timestamptz >= (w.said ->> 'reported_at')::timestamptz
    OR (excluded.said ->> 'reported_at')::timestamptz
      < (w.said ->> 'reported_at')::timestamptz - interval '2 minutes')
"""


def unheard(conn: Conn, seconds: float) -> Mapping[str, float]:
    """Who has said nothing for so long and not that it goes, and for how many seconds; of very many
    those that were seen last."""
    rows = conn.execute(_UNHEARD, {"gone": GONE, "seconds": seconds, "most": _MOST})
    return {row["worker"]: row["silent_s"] for row in rows}


_UNHEARD: Final = """
SELECT worker, extract(epoch FROM clock_timestamp() - seen_at)::float8 AS silent_s FROM workers
WHERE state <> %(gone)s AND seen_at < clock_timestamp() - make_interval(secs => %(seconds)s)
ORDER BY seen_at DESC LIMIT %(most)s
"""

_MISSING: Final = (
    f"(w.state <> '{GONE}'"
    f" AND clock_timestamp() > w.seen_at + {MISSED} * make_interval(secs => w.every_s))"
)


def forget(conn: Conn) -> int:
    """Forget who has not been seen for a day, and who said an hour ago that it goes; how many."""
    return conn.execute(
        "DELETE FROM workers WHERE seen_at < now() - make_interval(hours =>"
        " CASE WHEN state = %s THEN %s ELSE %s END)",
        (GONE, _GONE_HOURS, _KEPT_HOURS),
    ).rowcount


def counts(conn: Conn) -> Mapping[tuple[str, str], int]:
    """How many workers there are, by service and state; `missing` is one here."""
    rows = conn.execute(_COUNTS, (MISSING,))
    return {(row["service"], row["state"]): row["workers"] for row in rows}


_COUNTS: Final = f"""
SELECT service, CASE WHEN {_MISSING} THEN %s ELSE state END AS state, count(*) AS workers
FROM workers w GROUP BY 1, 2
"""  # noqa: S608  # literals only


def workers(conn: Conn, _owner: str, service: str | None = None) -> list[Worker]:
    """All workers, or those of a service; of very many those that were seen last."""
    rows = conn.execute(_WORKERS, {"service": service, "worker": None, "most": _MOST})
    found = [_worker(row) for row in rows]
    return sorted(found, key=lambda one: (one.service, one.worker))


def worker(conn: Conn, _owner: str, name: str) -> Worker | None:
    """The worker of this name."""
    row = conn.execute(_WORKERS, {"service": None, "worker": name, "most": 1}).fetchone()
    return None if row is None else _worker(row)


_WORKERS: Final = f"""
SELECT w.said, w.seen_at, {_MISSING} AS missing,
  greatest(0, extract(epoch FROM clock_timestamp() - w.seen_at))::float8 AS silent_s
FROM workers w
WHERE (%(service)s::text IS NULL OR w.service = %(service)s)
  AND (%(worker)s::text IS NULL OR w.worker = %(worker)s)
ORDER BY w.seen_at DESC LIMIT %(most)s
"""  # noqa: S608  # literals only


def _worker(row: Mapping[str, Any]) -> Worker:
    about = {"seen_at": row["seen_at"], "missing": row["missing"]}
    return Worker.model_validate({**row["said"], **about, "silent_s": round(row["silent_s"], 1)})
