"""The channels by which people are told of notices, and what they want to be told of."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final
from urllib.parse import urlsplit
from uuid import UUID, uuid4

import psycopg
from psycopg.types.json import Jsonb

from gateway.catalog.audit import audit
from gateway.catalog.notice_shapes import Channel, ChannelKind
from gateway.catalog.notices import DEFAULT_CHANNELS, Severity, add_test, ensure_defaults
from gateway.db import Conn

MOST_CHANNELS: Final = 50
"""Channels of one owner."""


class NameTakenError(ValueError):
    """The owner has a channel of this name."""


class TooManyChannelsError(ValueError):
    """The owner has MOST_CHANNELS."""


@dataclass(frozen=True, slots=True)
class ChannelWish:
    """A channel that is to be made; `target` as `notifying` reads it: {"url", "secret"} of a
    webhook, {"to": [address]} of an email, else {}."""

    name: str
    kind: ChannelKind
    target: Mapping[str, Any]
    kinds: Sequence[str]
    least_severity: Severity
    enabled: bool


def channels(conn: Conn, owner: str) -> list[Channel]:
    """All channels of the owner, by name."""
    ensure_defaults(conn)
    rows = conn.execute("SELECT * FROM channels WHERE owner = %s ORDER BY name", (owner,))
    return [_shown(row) for row in rows]


def channel(conn: Conn, owner: str, channel_id: UUID) -> Channel | None:
    """The owner's channel with this id."""
    ensure_defaults(conn)
    row = conn.execute(
        "SELECT * FROM channels WHERE owner = %s AND channel_id = %s", (owner, channel_id)
    ).fetchone()
    return None if row is None else _shown(row)


def make_channel(conn: Conn, owner: str, wish: ChannelWish, by: str) -> Channel:
    """Make a channel; raises NameTakenError, TooManyChannelsError."""
    with conn.transaction():
        made = _made(conn, owner, wish)
        about = {"kind": made.kind, "target": made.target, "enabled": made.enabled}
        audit(conn, by, "channel.added", made.name, about)
    return made


def _made(conn: Conn, owner: str, wish: ChannelWish) -> Channel:
    ensure_defaults(conn)
    try:
        row = conn.execute(
            """
            INSERT INTO channels (channel_id, owner, name, kind, target, kinds, least_severity,
                enabled)
            SELECT %(id)s::uuid, %(owner)s::uuid, %(name)s, %(kind)s, %(target)s, %(kinds)s,
                %(least)s, %(enabled)s
            WHERE (SELECT count(*) FROM channels WHERE owner = %(owner)s::uuid) < %(most)s
            RETURNING *
            """,
            {
                **{"id": uuid4(), "owner": owner, "name": wish.name, "kind": wish.kind},
                **{"target": Jsonb(dict(wish.target)), "kinds": list(wish.kinds)},
                **{"least": wish.least_severity, "enabled": wish.enabled, "most": MOST_CHANNELS},
            },
        ).fetchone()
    except psycopg.errors.UniqueViolation as error:
        raise NameTakenError(wish.name) from error
    if row is None:
        raise TooManyChannelsError(wish.name)
    return _shown(row)


def change_channel(  # one argument per preference
    conn: Conn,
    owner: str,
    channel_id: UUID,
    *,
    kinds: Sequence[str] | None,
    least_severity: Severity | None,
    enabled: bool | None,
    by: str,
) -> Channel | None:
    """Change what is not None; the channel, or None if there is none.

    What waits for a channel that is disabled waits on, and is sent once it is enabled.
    """
    wanted = {
        **{"kinds": None if kinds is None else list(kinds)},
        **{"least_severity": least_severity, "enabled": enabled},
    }
    with conn.transaction():
        ensure_defaults(conn)
        row = conn.execute(
            """
            UPDATE channels SET kinds = coalesce(%(kinds)s, kinds),
                least_severity = coalesce(%(least_severity)s, least_severity),
                enabled = coalesce(%(enabled)s, enabled)
            WHERE owner = %(owner)s AND channel_id = %(channel)s RETURNING *
            """,
            {**wanted, "owner": owner, "channel": channel_id},
        ).fetchone()
        if row is None:
            return None
        changed = {name: value for name, value in wanted.items() if value is not None}
        audit(conn, by, "channel.changed", row["name"], changed)
    return _shown(row)


def remove_channel(conn: Conn, owner: str, channel_id: UUID, by: str) -> bool:
    """Remove a channel with what waits for it; False if there is none.

    A default channel would come again: it is disabled instead (see `is_default`).
    """
    with conn.transaction():
        row = conn.execute(
            "DELETE FROM channels WHERE owner = %s AND channel_id = %s RETURNING *",
            (owner, channel_id),
        ).fetchone()
        if row is None:
            return False
        shown = _shown(row)
        audit(conn, by, "channel.removed", shown.name, {"kind": shown.kind, "target": shown.target})
    return True


def try_channel(conn: Conn, owner: str, channel_id: UUID) -> UUID | None:
    """Send a notice by this channel alone, even if it is disabled; the notice's id."""
    found = channel(conn, owner, channel_id)
    if found is None:
        return None
    notice_id = uuid4()
    add_test(conn, owner, channel_id, found.name, str(notice_id))
    return notice_id


def is_default(channel_id: UUID) -> bool:
    """Whether it is one that Darkroom makes by itself."""
    return str(channel_id) in DEFAULT_CHANNELS


def _shown(row: Mapping[str, Any]) -> Channel:
    return Channel(
        channel_id=str(row["channel_id"]),
        target=_target_shown(row["kind"], row["target"]),
        **{name: row[name] for name in ("name", "kind", "kinds", "least_severity")},
        **{name: row[name] for name in ("enabled", "created_at")},
    )


def _target_shown(kind: ChannelKind, target: Mapping[str, Any]) -> str:
    match kind:
        case "webhook":
            url = urlsplit(target["url"])
            rest = "…" if url.path.strip("/") or url.query else ""
            return f"{url.scheme}://{url.netloc}/{rest}"
        case "email":
            return ", ".join(target["to"])
        case "websocket":
            return "/v1/events"
    return "the control door's log"
