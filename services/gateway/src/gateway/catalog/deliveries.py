"""Notices on their way: read by people, and taken step by step by the duty that sends them."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, LiteralString
from uuid import UUID

from gateway.catalog.notice_shapes import ChannelKind, Delivery, Notice
from gateway.catalog.notices import TEST, Severity
from gateway.db import Conn


@dataclass(frozen=True, slots=True)
class Told:
    """What a channel is to tell."""

    notice_id: UUID
    kind: str
    service: str
    subject: str
    severity: Severity
    title: str
    detail: str
    occurred_at: datetime


@dataclass(frozen=True, slots=True)
class Due:
    """A notice that is to be sent by a channel now; `attempts` were made before."""

    channel_id: UUID
    channel_kind: ChannelKind
    target: Mapping[str, Any]
    attempts: int
    told: Told


# Of each channel only the first, so that one whose receiver hangs holds up nothing but itself.
_DUE: LiteralString = """
SELECT * FROM (
  SELECT DISTINCT ON (d.channel_id) d.channel_id, d.attempts, d.next_at,
    c.kind AS channel_kind, c.target, n.notice_id, n.kind, n.service, n.subject, n.severity,
    n.title, n.detail, n.occurred_at
  FROM deliveries d JOIN channels c USING (channel_id) JOIN notices n USING (notice_id)
  WHERE d.state = 'waiting' AND d.next_at <= now() AND (c.enabled OR n.kind = %(test)s)
    AND d.channel_id <> ALL(%(busy)s)
  ORDER BY d.channel_id, d.next_at, n.recorded_at) first
ORDER BY next_at LIMIT %(limit)s
"""


def due(conn: Conn, busy: Collection[UUID], limit: int) -> list[Due]:
    """What is to be sent now, at most one for each channel that is not `busy`."""
    arguments = {"busy": list(busy), "limit": limit, "test": TEST}
    return [
        Due(
            **{name: row[name] for name in ("channel_id", "channel_kind", "target", "attempts")},
            told=Told(**{name: row[name] for name in Told.__slots__}),
        )
        for row in conn.execute(_DUE, arguments)
    ]


def delivered(conn: Conn, one: Due, remark: str | None) -> None:
    """It was sent; `remark`: whom it did not reach all the same."""
    conn.execute(
        "UPDATE deliveries SET state = 'delivered', attempts = attempts + 1, delivered_at = now(),"
        " error = %s WHERE notice_id = %s AND channel_id = %s AND state = 'waiting'",
        (remark, one.told.notice_id, one.channel_id),
    )


def failed(conn: Conn, one: Due, error: str, pause_s: float | None) -> None:
    """A try failed; the next is after `pause_s`, None: it is given up."""
    conn.execute(
        """
        UPDATE deliveries SET attempts = attempts + 1, error = %(error)s,
            state = CASE WHEN %(pause)s::float8 IS NULL THEN 'failed' ELSE state END,
            next_at = now() + make_interval(secs => coalesce(%(pause)s::float8, 0))
        WHERE notice_id = %(notice)s AND channel_id = %(channel)s AND state = 'waiting'
        """,
        {
            **{"error": error, "pause": pause_s},
            **{"notice": one.told.notice_id, "channel": one.channel_id},
        },
    )


@dataclass(frozen=True, slots=True)
class NoticePlace:
    """Where a page of notices ended."""

    recorded_at: datetime
    notice_id: UUID


@dataclass(frozen=True, slots=True)
class NoticeFilter:
    """Which notices are meant: those that fit all that is set."""

    kind: str | None = None
    undelivered: bool = False
    """Only those that some channel could not tell."""


_NOTICES: LiteralString = """
SELECT n.* FROM notices n
WHERE (n.owner IS NULL OR n.owner = %(owner)s)
  AND (%(kind)s::text IS NULL OR n.kind = %(kind)s)
  AND (NOT %(undelivered)s OR EXISTS (SELECT FROM deliveries d
    WHERE d.notice_id = n.notice_id AND d.state = 'failed'))
  AND (%(at)s::timestamptz IS NULL OR (n.recorded_at, n.notice_id) < (%(at)s, %(id)s::uuid))
ORDER BY n.recorded_at DESC, n.notice_id DESC LIMIT %(limit)s
"""


def notices(
    conn: Conn, owner: str, wanted: NoticeFilter, after: NoticePlace | None, limit: int
) -> tuple[list[Notice], NoticePlace | None]:
    """A page of notices, newest first, and where to go on."""
    arguments = {
        **{"owner": owner, "kind": wanted.kind, "undelivered": wanted.undelivered},
        **{"at": after and after.recorded_at, "id": after and after.notice_id},
        "limit": limit + 1,
    }
    rows = conn.execute(_NOTICES, arguments).fetchall()
    here = rows[:limit]
    last = NoticePlace(here[-1]["recorded_at"], here[-1]["notice_id"]) if here else None
    return _shown(conn, owner, here), last if len(rows) > limit else None


def notices_by_id(conn: Conn, owner: str, ids: Sequence[UUID]) -> dict[UUID, Notice]:
    """Those of the notices that the catalog has for this owner."""
    rows = conn.execute(
        "SELECT * FROM notices WHERE (owner IS NULL OR owner = %s) AND notice_id = ANY(%s)",
        (owner, list(ids)),
    ).fetchall()
    return {UUID(one.notice_id): one for one in _shown(conn, owner, rows)}


def notice(conn: Conn, owner: str, notice_id: UUID) -> Notice | None:
    """The notice with this id."""
    return notices_by_id(conn, owner, [notice_id]).get(notice_id)


def _shown(conn: Conn, owner: str, rows: Sequence[Mapping[str, Any]]) -> list[Notice]:
    by_notice: dict[UUID, list[Delivery]] = {row["notice_id"]: [] for row in rows}
    found = conn.execute(
        "SELECT d.*, c.name AS channel FROM deliveries d JOIN channels c USING (channel_id)"
        " WHERE c.owner = %s AND d.notice_id = ANY(%s) ORDER BY c.name",
        (owner, list(by_notice)),
    )
    for row in found:
        by_notice[row["notice_id"]].append(_delivery(row))
    columns = [name for name in Notice.model_fields if name not in ("notice_id", "deliveries")]
    return [
        Notice(
            notice_id=str(row["notice_id"]),
            deliveries=by_notice[row["notice_id"]],
            **{name: row[name] for name in columns},
        )
        for row in rows
    ]


def _delivery(row: Mapping[str, Any]) -> Delivery:
    columns = ("channel", "state", "attempts", "delivered_at", "error")
    return Delivery(
        channel_id=str(row["channel_id"]),
        next_at=row["next_at"] if row["state"] == "waiting" else None,
        **{name: row[name] for name in columns},
    )
