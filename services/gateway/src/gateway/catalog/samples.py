"""A day of measurements, one every ten seconds, and how they are shown with fewer points."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Final

from psycopg import sql
from psycopg.types.json import Jsonb
from pydantic import Field

from gateway.catalog.operations import LANES, SERVICES, STAGES, Overview
from gateway.catalog.shapes import Shape
from gateway.db import Conn

EVERY_S: Final = 10
KEPT_S: Final = 24 * 3600

_AT_ONCE: Final = 500

_LANE: Final = ("records", "outbox", "state")
_STAGE: Final = ("waiting", "per_s", "oldest_s")
_SERVICE: Final = (
    *("workers", "missing", "cpu", "memory", "memory_bytes"),
    *("retries", "dead_letters"),
)
_HIGHEST: Final = (".state", ".waiting", ".oldest_s", ".records", ".dead_letters", ".retries")
"""Ends of the names whose peaks matter more than their mean."""

OURS: Final = frozenset(
    {
        *(f"lane.{lane}.{what}" for lane in LANES for what in _LANE),
        *(f"stage.{one}.{lane}.{what}" for one in STAGES for lane in LANES for what in _STAGE),
        *(f"service.{name}.{what}" for name in SERVICES for what in _SERVICE),
        *(f"share.{lane}" for lane in LANES),
        "photos.per_s",
    }
)
"""Series that can be asked for from the beginning, also if nothing was measured yet."""

Number = int | float


class History(Shape):
    """Measurements, with fewer points than there are: each stands for `step_s` seconds."""

    since: datetime
    until: datetime = Field(description="before this")
    step_s: int = Field(description="seconds of a point", examples=[240])
    at: list[datetime] = Field(description="when each point begins")
    series: dict[str, list[float | None]] = Field(
        description="by name, a value for each point: the mean, or the highest of names that end"
        f" in {', '.join(_HIGHEST)}; null: nothing was measured"
    )


class SeriesNames(Shape):
    """Names of series."""

    items: list[str]


@dataclass(frozen=True, slots=True)
class Span:
    """A time, cut into at most `points` pieces of whole steps of the grid."""

    since: datetime
    until: datetime
    step_s: int

    def at(self) -> list[datetime]:
        """When each piece begins."""
        step = timedelta(seconds=self.step_s)
        pieces = -((self.since - self.until) // step)
        return [self.since + number * step for number in range(pieces)]


def span(since: datetime | None, until: datetime, points: int) -> Span:
    """The span of the samples that lie in this time, from `since` (else a day before the end) until
    before `until`. Raises ValueError, OverflowError where none is."""
    last = _place(until)
    first = last - KEPT_S // EVERY_S if since is None else _place(since)
    if since is not None and since >= until:
        raise ValueError("`since` has to be before `until`")
    steps = max(1, -((first - last) // points))
    return Span(_moment(first), _moment(last), steps * EVERY_S)


def _place(moment: datetime) -> int:
    """The first on the grid that is not before this moment."""
    return -int(-moment.timestamp() // EVERY_S)


def _moment(place: int) -> datetime:
    return datetime.fromtimestamp(place * EVERY_S, UTC)


def measured(now: Overview) -> dict[str, Number]:
    """What is known now, by the names of the series. What is not known is left out: a gap."""
    found: dict[str, Number] = {"photos.per_s": now.per_s}
    if now.measured:
        for load in now.lanes:
            values = (load.records, load.outbox, load.state.number)
            found |= zip((f"lane.{load.lane}.{what}" for what in _LANE), values, strict=True)
            for stage in load.stages:
                name = f"stage.{stage.name}.{load.lane}"
                found |= {f"{name}.waiting": stage.records, f"{name}.per_s": stage.per_s}
                found[f"{name}.oldest_s"] = stage.oldest_s
    for one in now.services:
        retries = sum(one.retries.values()) if one.retries and now.measured else None
        figures = (one.workers, one.missing, one.cpu, one.memory, one.memory_bytes)
        values_of = zip(_SERVICE, (*figures, retries, one.dead_letters), strict=True)
        found |= {f"service.{one.name}.{what}": v for what, v in values_of if v is not None}
    return found | {f"share.{one.lane}": one.share for one in now.admission}


def slot(conn: Conn) -> datetime:
    """The place on the grid at which the catalog's clock stands."""
    (row,) = conn.execute(
        "SELECT date_bin(make_interval(secs => %s), clock_timestamp(), 'epoch') AS at", (EVERY_S,)
    )
    at: datetime = row["at"]
    return at


def add(conn: Conn, at: datetime, values: Mapping[str, Number]) -> bool:
    """Keep a sample; whether there was none at this place yet."""
    return (
        conn.execute(
            "INSERT INTO samples (at, measured) VALUES (%s, %s) ON CONFLICT DO NOTHING",
            (at, Jsonb(dict(values))),
        ).rowcount
        == 1
    )


def forget(conn: Conn) -> int:
    """Forget some of the samples that are older than a day; how many."""
    return conn.execute(
        "DELETE FROM samples WHERE at IN (SELECT at FROM samples"
        " WHERE at < now() - make_interval(secs => %s) ORDER BY at LIMIT %s)",
        (KEPT_S, _AT_ONCE),
    ).rowcount


def names(conn: Conn, _owner: str) -> list[str]:
    """All series that can be asked for."""
    rows = conn.execute("SELECT DISTINCT jsonb_object_keys(measured) AS name FROM samples")
    return sorted(OURS | {row["name"] for row in rows})


def unknown(conn: Conn, owner: str, wanted: Collection[str]) -> list[str]:
    """Those of the names that no series has."""
    others = set(wanted) - OURS
    return sorted(others.difference(names(conn, owner))) if others else []


def history(conn: Conn, _owner: str, wanted: Sequence[str], over: Span) -> History:
    """The series over this span. The names have to be those of series.

    Reckoned in the database, which reads each sample once and sends what is asked for: a day of 100
    series takes 0.2 s for 40 of them. To take them apart by jsonb_each takes 0.7 s, by an operator
    for each name 2.6 s, here 1.6 s.
    """
    wanted = list(dict.fromkeys(wanted))
    points = over.at()
    series: dict[str, list[float | None]] = {name: [None] * len(points) for name in wanted}
    columns = [sql.Identifier(name) for name in wanted]
    query = sql.SQL(_HISTORY).format(
        values=sql.SQL(", ").join(
            sql.SQL("max({})" if name.endswith(_HIGHEST) else "avg({})").format(column)
            for name, column in zip(wanted, columns, strict=True)
        ),
        columns=sql.SQL(", ").join(sql.SQL("{} float8").format(column) for column in columns),
    )
    place = {"since": over.since, "until": over.until, "step_s": over.step_s}
    for row in conn.execute(query, place):
        for name, value in zip(wanted, row["measured"], strict=True):
            series[name][row["point"]] = value
    return History(since=over.since, until=over.until, step_s=over.step_s, at=points, series=series)


_HISTORY: Final = """
SELECT floor(extract(epoch FROM s.at - %(since)s) / %(step_s)s)::int AS point,
  ARRAY[{values}] AS measured
FROM samples s, jsonb_to_record(s.measured) AS r({columns})
WHERE s.at >= %(since)s AND s.at < %(until)s
GROUP BY 1
"""
