"""What a person should know, and to whom it is to be sent.

A notice and its deliveries are written in one transaction with what it tells of: whoever is told
can trust that it is so, and nothing that happened is left untold by a crash. `control/notices.py`
sends the deliveries.
"""

import time
from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import Final, Literal, cast
from uuid import UUID

from darkroom_schemas import ids
from darkroom_schemas.events import Notice
from gateway.db import Conn
from gateway.locks import TOLD
from streamkit.notices import DEPENDENCY_AWAY, FIRST_DEAD_LETTER, notice

NOTICES_CHANNEL: Final = "darkroom_notices"
"""PostgreSQL notifies here when a transaction that made deliveries is committed."""

TEST: Final = "test"
"""The kind of notice by which a channel is tried out: it goes to that channel alone."""

DEFAULT_CHANNELS: Final = {
    ids.batch_event_id(ids.LOCAL_OWNER, "notices:log"): ("log", "log"),
    ids.batch_event_id(ids.LOCAL_OWNER, "notices:page"): ("page", "websocket"),
}
"""Channels that exist without anybody's doing, name and kind by id: the control door's log, and
whoever looks at the page."""

Severity = Literal["info", "warning", "critical"]

SEVERITIES: Final[tuple[Severity, ...]] = ("info", "warning", "critical")
"""From the least on."""

_AGAIN_AFTER: Final = {FIRST_DEAD_LETTER: timedelta(days=1)}
"""How long a kind that a worker tells is not told again, if not an hour. What follows a first dead
letter is told by the digests."""

_HOUR: Final = timedelta(hours=1)
_TITLE_CHARS: Final = 200
_DETAIL_CHARS: Final = 4000
_NAME_CHARS: Final = 500
_WHY_CHARS: Final = 1000


def add_notice(  # noqa: PLR0913 - one argument per column
    conn: Conn,
    *,
    kind: str,
    service: str,
    subject: str,
    severity: Severity,
    title: str,
    detail: str,
    owner: str | None = None,
    notice_id: str,
) -> None:
    """Tell a person, if the transaction in progress on `conn` is committed.

    `title` is one line that says what happened, `detail` what it means and what to do. `owner`
    None: whoever runs Darkroom. `notice_id` is a UUID of the fact: the same fact is one notice.
    """
    _tell(
        conn,
        _cleaned(kind, service, subject, title, detail),
        notice_id=notice_id,
        owner=owner,
        severity=severity,
    )


def tell_overload(conn: Conn, waiting: int) -> None:
    """Nothing is taken in any more; told once an hour."""
    add_notice(
        conn,
        kind="overload",
        service="gateway",
        subject="outbox",
        severity="critical",
        title="Nothing is taken in any more",
        detail=(
            f"{waiting} events wait for Kafka. Is it up, and is the control door? What is handed in"
            " now is refused with `outbox_full`; nothing is lost."
        ),
        notice_id=ids.batch_event_id(ids.LOCAL_OWNER, f"overload:{int(time.time() // 3600)}"),
    )


def tell_away(conn: Conn, dependency: str, why: str) -> None:
    """The gateway itself finds a dependency away; told as if a worker had said so."""
    detail = (
        f"{why[:_WHY_CHARS]}\nPhotos that are handed in now are refused, imports wait; nothing is"
        " lost, and work goes on by itself once that is over."
    )
    title = f"gateway waits for {dependency}"
    said = notice(DEPENDENCY_AWAY, "gateway", dependency, title, detail, time.time())
    record_notice(conn, cast("Notice", said.value))


def record_notice(conn: Conn, event: Notice) -> None:
    """What a worker says (`ops.notified.v1`); a part of the caller's transaction.

    Those that say the same of the same subject within an hour are one notice, whichever was
    recorded first; so is a dead letter's kind within a day, of each service.
    """
    severity = event["severity"] if event["severity"] in SEVERITIES else "warning"
    cleaned = _cleaned(
        event["kind"], event["service"], event["subject"], event["title"], event["detail"]
    )
    # Two that say it at once: the second sees what the first has written.
    conn.execute("SELECT pg_advisory_xact_lock(%s, hashtext(%s))", (TOLD, cleaned["subject"]))
    _tell(
        conn,
        cleaned,
        notice_id=event["notice_id"],
        severity=severity,
        occurred_at=event["occurred_at"],
        again=_AGAIN_AFTER.get(event["kind"], _HOUR),
    )


def add_test(conn: Conn, owner: str, channel_id: UUID, name: str, notice_id: str) -> None:
    """Try out a channel: a notice for it alone."""
    with conn.transaction():
        conn.execute(
            "INSERT INTO notices (notice_id, owner, kind, service, subject, severity, title,"
            " detail, occurred_at) VALUES (%s, %s, %s, 'gateway', %s, 'info', %s, %s, now())",
            (
                *(notice_id, owner, TEST, name, f"Darkroom can reach you by {name}"),
                "Somebody tries out this channel. There is nothing to do.",
            ),
        )
        conn.execute(
            "INSERT INTO deliveries (notice_id, channel_id, state) VALUES (%s, %s, 'waiting')",
            (notice_id, channel_id),
        )
        _wake(conn)


def ensure_defaults(conn: Conn) -> None:
    """Make the channels that exist without anybody's doing, the first time."""
    conn.execute(
        "INSERT INTO channels (channel_id, owner, name, kind, target, least_severity)"
        " SELECT c.id, %(owner)s, c.name, c.kind, '{}', 'info'"
        " FROM unnest(%(ids)s::uuid[], %(names)s::text[], %(kinds)s::text[]) AS c(id, name, kind)"
        " ON CONFLICT DO NOTHING",
        {
            **{"owner": ids.LOCAL_OWNER, "ids": list(DEFAULT_CHANNELS)},
            "names": [name for name, _ in DEFAULT_CHANNELS.values()],
            "kinds": [kind for _, kind in DEFAULT_CHANNELS.values()],
        },
    )


def forget_notices(conn: Conn, days: int) -> int:
    """Delete notices that are older, with their deliveries; returns how many."""
    gone = conn.execute(
        "DELETE FROM notices WHERE recorded_at < now() - make_interval(days => %s)", (days,)
    )
    return gone.rowcount


def _tell(
    conn: Conn,
    texts: Mapping[str, str],
    *,
    notice_id: str,
    severity: Severity,
    owner: str | None = None,
    occurred_at: datetime | None = None,
    again: timedelta | None = None,
) -> None:
    """Write a notice, unless it or (with `again`) another that says the same within that time is
    there, and a delivery by each channel that wants it."""
    ensure_defaults(conn)
    conn.execute(
        _TELL,
        {
            **texts,
            **{"notice_id": notice_id, "owner": owner, "severity": severity},
            **{"occurred_at": occurred_at, "again": again, "apart": FIRST_DEAD_LETTER},
            **{"severities": list(SEVERITIES), "channel": NOTICES_CHANNEL},
        },
    )


# One statement: whoever tells something amid others does not wait to hear whether it was new.
_TELL: Final = """
WITH told AS (
    INSERT INTO notices (
        notice_id, owner, kind, service, subject, severity, title, detail, occurred_at)
    SELECT %(notice_id)s::uuid, %(owner)s::uuid, %(kind)s::text, %(service)s::text,
        %(subject)s::text, %(severity)s::text, %(title)s::text, %(detail)s::text,
        coalesce(%(occurred_at)s::timestamptz, now())
    WHERE NOT EXISTS (
        SELECT FROM notices WHERE kind = %(kind)s AND subject = %(subject)s
        AND (service = %(service)s OR kind <> %(apart)s)
        AND occurred_at BETWEEN %(occurred_at)s::timestamptz - %(again)s::interval
            AND %(occurred_at)s::timestamptz + %(again)s::interval)
    ON CONFLICT (notice_id) DO NOTHING
    RETURNING notice_id, owner, kind, severity
), addressed AS (
    INSERT INTO deliveries (notice_id, channel_id, state)
    SELECT n.notice_id, c.channel_id, 'waiting'
    FROM told n JOIN channels c ON n.owner IS NULL OR n.owner = c.owner
    WHERE c.enabled AND (c.kinds = '{}' OR n.kind = ANY(c.kinds))
    AND array_position(%(severities)s, n.severity)
        >= array_position(%(severities)s, c.least_severity)
    RETURNING channel_id)
SELECT pg_notify(%(channel)s, '') FROM addressed LIMIT 1
"""


def _wake(conn: Conn) -> None:
    conn.execute("SELECT pg_notify(%s, '')", (NOTICES_CHANNEL,))


def _cleaned(kind: str, service: str, subject: str, title: str, detail: str) -> dict[str, str]:
    """The texts as PostgreSQL can hold them and people read them."""
    return {
        **{"kind": _text(kind, _NAME_CHARS), "service": _text(service, _NAME_CHARS)},
        **{"subject": _text(subject, _NAME_CHARS), "detail": _text(detail, _DETAIL_CHARS)},
        "title": " ".join(_text(title, _TITLE_CHARS).split()),
    }


def _text(text: str, most: int) -> str:
    return text.replace("\0", "").encode("utf-8", "replace").decode()[:most]
