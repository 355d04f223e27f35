"""Keys, by which programs and people are known, and sessions of pages.

A key is told once, as `dk_ID_SECRET`: the id finds the row, of the secret only the SHA-256 is kept.
It has 256 random bits, so a plain hash is enough.
"""

import hashlib
import hmac
import secrets
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Annotated, Any, Final

import psycopg
from pydantic import AwareDatetime, ConfigDict, Field, StringConstraints, field_validator

from gateway.catalog.audit import audit
from gateway.catalog.shapes import Shape
from gateway.db import Conn
from gateway.roles import Role

MARK: Final = "dk_"
"""A key's first letters, by which people and scanners of secrets know it."""

SESSION: Final = timedelta(hours=12)

_SECRET_BYTES: Final = 32
_ID_BYTES: Final = 6
_SHOWN: Final = 20
"""Letters of what was said to be a key's id, in the audit log."""
_USED: Final = timedelta(minutes=1)
"""So precise is `last_used_at`: else each request would write."""

KeyName = Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9][A-Za-z0-9 ._@-]{0,59}$")]
"""Of a key or an owner."""


class Key(Shape):
    """A key without its secret."""

    key_id: str = Field(examples=["5f0c4a7e9b21"])
    prefix: str = Field(description="how it begins, to be recognised", examples=["dk_5f0c4a7e9b21"])
    name: str = Field(examples=["nas"])
    role: Role
    owner: str = Field(description="whose photos it sees", examples=["local"])
    created_by: str
    created_at: datetime
    expires_at: datetime | None
    revoked_at: datetime | None
    last_used_at: datetime | None = Field(description="to a minute")


class NewKey(Key):
    """A key that was just made; `token` is never shown again."""

    token: str = Field(examples=["dk_5f0c4a7e9b21_…"])


class KeyRequest(Shape):
    """A key that is to be made. Its name is never another key's, also after it is revoked."""

    model_config = ConfigDict(extra="forbid")

    name: KeyName = Field(examples=["nas"])
    role: Role
    owner: KeyName = Field("local", description="whose photos it hands in and sees")
    expires_at: AwareDatetime | None = Field(None, description="null: until it is revoked")

    @field_validator("expires_at")
    @classmethod
    def _ahead(cls, at: datetime | None) -> datetime | None:
        if at is not None and at <= datetime.now(UTC):
            raise ValueError("has passed")
        return at


@dataclass(frozen=True, slots=True)
class Holder:
    """Whom a key or a session stands for; `session` is when that ends."""

    key_id: str
    name: str
    role: Role
    owner: str
    session: datetime | None = None


@dataclass(frozen=True, slots=True)
class Stranger:
    """Why a key opens nothing; `key_id` is what it said, if it is a key at all."""

    reason: str
    key_id: str | None = None


class KeyNameTakenError(ValueError):
    """There is, or was, a key of this name."""


def make_key(conn: Conn, _owner: str, wish: KeyRequest, by: str) -> NewKey:
    """Make a key; raises KeyNameTakenError."""
    key_id, secret = secrets.token_hex(_ID_BYTES), secrets.token_urlsafe(_SECRET_BYTES)
    values = {
        **{"key_id": key_id, "secret": _digest(secret), "name": wish.name, "role": wish.role},
        **{"owner": wish.owner, "by": by, "expires_at": wish.expires_at},
    }
    about = {"key_id": key_id, "role": wish.role, "owner": wish.owner}
    until = wish.expires_at and wish.expires_at.isoformat()
    try:
        with conn.transaction():
            row = conn.execute(
                "INSERT INTO api_keys (key_id, secret_sha256, name, role, owner, created_by,"
                " expires_at) VALUES (%(key_id)s, %(secret)s, %(name)s, %(role)s, %(owner)s,"
                " %(by)s, %(expires_at)s) RETURNING *",
                values,
            ).fetchone()
            audit(conn, by, "key.created", wish.name, {**about, "expires_at": until})
    except psycopg.errors.UniqueViolation as error:
        raise KeyNameTakenError(wish.name) from error
    return NewKey(**_fields(row or {}), token=f"{MARK}{key_id}_{secret}")


def keys(conn: Conn, _owner: str) -> list[Key]:
    """All keys that were ever made, the newest first."""
    rows = conn.execute("SELECT * FROM api_keys ORDER BY created_at DESC, key_id")
    return [Key(**_fields(row)) for row in rows]


def revoke_key(conn: Conn, _owner: str, which: str, by: str) -> Key | None:
    """Have a key, by its id or name, open nothing any more; its sessions end with it.

    Harmless for one that is revoked already; None if there is none.
    """
    with conn.transaction():
        row = conn.execute(
            "SELECT * FROM api_keys WHERE key_id = %(which)s OR name = %(which)s"
            " ORDER BY key_id = %(which)s DESC LIMIT 1 FOR UPDATE",
            {"which": which},
        ).fetchone()
        if row is None:
            return None
        if row["revoked_at"] is not None:
            return Key(**_fields(row))
        row = conn.execute(
            "UPDATE api_keys SET revoked_at = now() WHERE key_id = %s RETURNING *",
            (row["key_id"],),
        ).fetchone()
        key = Key(**_fields(row or {}))
        audit(conn, by, "key.revoked", key.name, {"key_id": key.key_id, "role": key.role})
        return key


def holder_of(conn: Conn, _owner: str, token: str) -> Holder | Stranger:
    """Whom a key stands for now."""
    key_id, _, secret = token.removeprefix(MARK).partition("_")
    if not (token.startswith(MARK) and token.isascii() and key_id.isalnum() and secret):
        return Stranger("no key of Darkroom")
    row = conn.execute(_BY_ID, (key_id,)).fetchone()
    if row is None or not hmac.compare_digest(_digest(secret), row["secret_sha256"]):
        return Stranger("unknown", key_id[:_SHOWN])
    if row["revoked"] or row["expired"]:
        return Stranger("revoked" if row["revoked"] else "expired", row["key_id"])
    return _holder(conn, row)


def holds(conn: Conn, _owner: str, key_id: str) -> bool:
    """Whether a key that opened something still would."""
    row = conn.execute(_BY_ID, (key_id,)).fetchone()
    return row is not None and not row["revoked"] and not row["expired"]


def begin_session(conn: Conn, _owner: str, holder: Holder, address: str) -> tuple[str, datetime]:
    """The secret of a new session of a key, and when it ends: with its key at the latest."""
    secret = secrets.token_urlsafe(_SECRET_BYTES)
    with conn.transaction():
        row = conn.execute(
            "INSERT INTO sessions (session_sha256, key_id, expires_at)"
            " SELECT %s, key_id, least(now() + %s, expires_at) FROM api_keys WHERE key_id = %s"
            " RETURNING expires_at",
            (_digest(secret), SESSION, holder.key_id),
        ).fetchone()
        assert row is not None, "keys are never deleted"  # noqa: S101
        audit(conn, f"key:{holder.name}", "session.begun", holder.key_id, {"address": address})
    return secret, row["expires_at"]


def holder_of_session(conn: Conn, _owner: str, secret: str) -> Holder | None:
    """Whom a session stands for now; None if it, or its key, is over."""
    row = conn.execute(_BY_SESSION, (_digest(secret),)).fetchone()
    if row is None or row["revoked"] or row["expired"]:
        return None
    return _holder(conn, row, row["ends_at"])


def end_session(conn: Conn, _owner: str, secret: str) -> None:
    """Harmless if there is none."""
    conn.execute("DELETE FROM sessions WHERE session_sha256 = %s", (_digest(secret),))


def forget_sessions(conn: Conn) -> int:
    """Delete those that are over; how many."""
    return conn.execute("DELETE FROM sessions WHERE expires_at <= now()").rowcount


def tell_stranger(conn: Conn, _owner: str, stranger: Stranger, address: str) -> None:
    """Write down that somebody tried a key that opens nothing."""
    about = {"reason": stranger.reason, "address": address}
    audit(conn, "unknown", "key.refused", stranger.key_id or "-", about)


_BY_ID: Final = """
SELECT *, revoked_at IS NOT NULL AS revoked, coalesce(expires_at <= now(), false) AS expired
FROM api_keys WHERE key_id = %s
"""
_BY_SESSION: Final = """
SELECT k.*, k.revoked_at IS NOT NULL AS revoked, coalesce(k.expires_at <= now(), false) AS expired,
  s.expires_at AS ends_at
FROM sessions s JOIN api_keys k USING (key_id)
WHERE s.session_sha256 = %s AND s.expires_at > now()
"""


def _holder(conn: Conn, row: Mapping[str, Any], session: datetime | None = None) -> Holder:
    used = row["last_used_at"]
    if used is None or datetime.now(UTC) - used > _USED:
        conn.execute(
            "UPDATE api_keys SET last_used_at = now() WHERE key_id = %s"
            " AND (last_used_at IS NULL OR last_used_at < now() - %s)",
            (row["key_id"], _USED),
        )
    return Holder(row["key_id"], row["name"], row["role"], row["owner"], session)


def _digest(secret: str) -> bytes:
    return hashlib.sha256(secret.encode()).digest()


def _fields(row: Mapping[str, Any]) -> dict[str, Any]:
    named = {name: row[name] for name in Key.model_fields if name != "prefix"}
    return named | {"prefix": f"{MARK}{row['key_id']}"}
