"""What goes on now: how much waits, who works on it, how fast that goes."""

from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime, timedelta
from typing import Final

from pydantic import Field

from darkroom_schemas.names import PHOTO_SUBMITTED
from gateway.catalog import loads
from gateway.catalog.controls import Control, controls
from gateway.catalog.loads import STALE_S, Load
from gateway.catalog.shapes import Shape
from gateway.catalog.shares import Share, shares
from gateway.catalog.workers import Worker, WorkerLane, workers
from gateway.db import Conn

LANES: Final = tuple(PHOTO_SUBMITTED)
STAGES: Final = ("intake", "detector", "ocr", "embedder")
SERVICES: Final = (*STAGES, "aggregator", "trainer", "gateway")
"""Those of Darkroom, in the order of the work. Services of others follow if they are there."""

_RATE_S: Final = 60


class ServiceLane(Shape):
    """A lane of a service: what waits (null: not measured), and how its workers do it."""

    lane: str
    waiting: int | None = Field(description="records that are not done yet")
    per_s: float | None = Field(description="records done a second, lately")
    oldest_s: float | None = Field(description="seconds that the first of them waits")
    in_engine: int = Field(description="records that engines hold")
    paused: bool = Field(description="whether a worker holds it back")
    rate: float | None = Field(description="records a second in all workers; null: any")
    concurrency: int | None = Field(description="records at a time in each worker; null: any")


class Service(Shape):
    """A service: its workers together."""

    name: str = Field(examples=["ocr"])
    workers: int = Field(description="that are there")
    missing: int = Field(description="that fell silent and did not say that they go")
    cpu: float | None = Field(description="share in use, of the worker with most; null: no worker")
    memory: float | None = Field(description="the same of memory")
    memory_bytes: int | None = Field(description="resident, of all together")
    retries: dict[str, int] = Field(
        description="records that wait for another attempt: of lane high, and of all others (bulk)"
    )
    dead_letters: int = Field(description="records that it gave up and that wait for somebody")
    lanes: list[ServiceLane]


class Overview(Shape):
    """All that goes on."""

    at: datetime = Field(description="by the catalog's clock")
    measured_at: datetime | None = Field(description="when lanes were measured; null: never yet")
    lanes: list[Load]
    services: list[Service]
    per_s: float = Field(description=f"outcomes a second, of the last {_RATE_S} s")
    controls: list[Control] = Field(description="what operators have set")
    admission: list[Share] = Field(description="how much of each lane is let in")

    @property
    def measured(self) -> bool:
        """Whether what is said of lanes is so now."""
        at = self.measured_at
        return at is not None and self.at - at <= timedelta(seconds=STALE_S)


def overview(conn: Conn, owner: str) -> Overview:
    """All that goes on, as of now; of the installation, whoever asks."""
    measured = loads.loads(conn, owner)
    there = workers(conn, owner)
    letters = _letters(conn)
    others = sorted({one.service for one in there} | letters.keys())
    return Overview(
        at=loads.clock(conn),
        measured_at=max((one.measured_at for one in measured), default=None),
        lanes=measured,
        services=[
            _service(
                name,
                [one for one in there if one.service == name],
                measured,
                letters.get(name, 0),
            )
            for name in dict.fromkeys((*SERVICES, *others))
        ],
        per_s=_per_s(conn),
        controls=controls(conn, owner),
        admission=shares(conn, owner),
    )


def _service(name: str, known: Sequence[Worker], measured: Sequence[Load], letters: int) -> Service:
    there = [one for one in known if one.works]
    return Service(
        name=name,
        workers=len(there),
        missing=sum(one.missing for one in known),
        cpu=max((one.cpu for one in there), default=None),
        memory=max((one.memory for one in there), default=None),
        memory_bytes=sum(one.memory_bytes for one in there) if there else None,
        retries=_retries(name, measured),
        dead_letters=letters,
        lanes=list(_lanes(name, there, measured)),
    )


def _retries(name: str, measured: Sequence[Load]) -> dict[str, int]:
    """What waits of lane high, and what of all others: those wait together, so each of them was
    told the same."""
    if name not in STAGES or not measured:
        return {}
    high = [one.retries.get(name, 0) for one in measured if one.lane == "high"]
    bulk = [one.retries.get(name, 0) for one in measured if one.lane != "high"]
    return {"high": max(high, default=0), "bulk": max(bulk, default=0)}


def _lanes(name: str, there: Sequence[Worker], measured: Sequence[Load]) -> Iterable[ServiceLane]:
    """Lanes that are measured, and those that workers speak of."""
    waits: dict[str, loads.Stage] = {
        load.lane: stage for load in measured for stage in load.stages if stage.name == name
    }
    said: dict[str, list[WorkerLane]] = {}
    for each in (lane for one in there for lane in one.lanes):
        said.setdefault(each.lane, []).append(each)
    for lane in dict.fromkeys((*waits, *sorted(said))):
        stage, held = waits.get(lane), said.get(lane, [])
        yield ServiceLane(
            lane=lane,
            waiting=None if stage is None else stage.records,
            per_s=None if stage is None else stage.per_s,
            oldest_s=None if stage is None else stage.oldest_s,
            in_engine=sum(one.in_engine for one in held),
            paused=any(one.paused for one in held),
            rate=min((one.rate for one in held if one.rate is not None), default=None),
            concurrency=min(
                (one.concurrency for one in held if one.concurrency is not None), default=None
            ),
        )


def _letters(conn: Conn) -> Mapping[str, int]:
    rows = conn.execute(
        'SELECT service, count(*) AS letters FROM dead_letters WHERE "offset"'
        " > coalesce(covered, -1) GROUP BY service"
    )
    return {row["service"]: row["letters"] for row in rows}


def _per_s(conn: Conn) -> float:
    (row,) = conn.execute(_PER_S, {"seconds": _RATE_S})
    return round(float(row["outcomes"]) / _RATE_S, 3)


# Owners one by one, since the index of outcomes begins with them. Later outcomes of an analysis are
# no more work done: whoever rescores makes thousands of them.
_PER_S: Final = """
WITH RECURSIVE owners AS (
  (SELECT owner FROM outcomes ORDER BY owner LIMIT 1)
  UNION ALL
  SELECT (SELECT o.owner FROM outcomes o WHERE o.owner > w.owner ORDER BY o.owner LIMIT 1)
  FROM owners w WHERE w.owner IS NOT NULL)
SELECT coalesce(sum((SELECT count(*) FROM outcomes o WHERE o.owner = w.owner
  AND o.decided_at > now() - make_interval(secs => %(seconds)s)
  AND NOT EXISTS (SELECT FROM outcomes f WHERE f.analysis_id = o.analysis_id
    AND f.revision < o.revision))), 0)::float8 AS outcomes
FROM owners w WHERE w.owner IS NOT NULL
"""
