"""Events that are published if, and only if, the transaction that wrote them is committed."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, Protocol
from uuid import UUID

from gateway.db import Conn
from streamkit import Emit, event_headers, tracing

OUTBOX_CHANNEL: Final = "darkroom_outbox"
"""PostgreSQL notifies here when a transaction that wrote events is committed."""


class Encodes(Protocol):
    """What turns a value into the bytes of a Kafka record (streamkit's Codec)."""

    def encode(self, topic: str, value: Mapping[str, Any]) -> bytes:
        """Confluent-framed Avro; raises if the value does not fit the topic's schema."""
        ...


@dataclass(frozen=True, slots=True)
class Tombstone:
    """A record without value: of what a compacted topic says of this key, nothing holds any more.

    `id` as an event's.
    """

    topic: str
    key: str
    id: str


@dataclass(frozen=True, slots=True)
class Row:
    """An encoded event; `headers` are JSON."""

    topic: str
    key: str
    event_id: str
    value: bytes | None
    headers: str


class Outbox:
    """Writes events into the outbox; the relay of the control door publishes them.

    Values are encoded when they are written: an event that its schema refuses fails the
    transaction that wanted it, instead of the relay for ever. `source` is the service that
    speaks, as CloudEvents want it. Raises what the codec raises (RegistryUnavailableError where
    an id was never learned). Thread-safe where the codec is.
    """

    def __init__(self, codec: Encodes, source: str = "gateway") -> None:
        self._codec = codec
        self._source = source

    def add(self, conn: Conn, events: Sequence[Emit | Tombstone]) -> None:
        """Add events, in order, to the transaction in progress on `conn`."""
        self.add_rows(conn, [self.row(event) for event in events])

    def row(self, event: Emit | Tombstone) -> Row:
        """An event as it is written, with the span that wrote it (`tracing.within`), if one did."""
        return Row(event.topic, event.key, event.id, self._value(event), self._headers(event))

    def add_rows(self, conn: Conn, rows: Sequence[Row]) -> None:
        """Add events, in order, to the transaction in progress on `conn`."""
        if not rows:
            return
        columns = {
            "topics": [row.topic for row in rows],
            "keys": [row.key for row in rows],
            "event_ids": [row.event_id for row in rows],
            "values": [row.value for row in rows],
            "headers": [row.headers for row in rows],
            "channel": OUTBOX_CHANNEL,
        }
        conn.execute(_ADD, columns)

    def _value(self, event: Emit | Tombstone) -> bytes | None:
        if isinstance(event, Tombstone):
            return None
        return self._codec.encode(event.topic, event.value)

    def _headers(self, event: Emit | Tombstone) -> str:
        about = Emit(event.topic, event.key, {}, event.id)
        span = tracing.current()
        headers = event_headers(about, source=self._source, span=span)
        kept = {name: text.decode() for name, text in headers}
        if span is None:
            del kept["traceparent"]  # the relay begins a trace
        return json.dumps(kept)


# One statement: an import writes this once per file, and every round trip counts.
_ADD: Final = """
WITH added AS (
    INSERT INTO outbox (topic, key, event_id, value, headers)
    SELECT topic, key, event_id, value, headers::jsonb
    FROM unnest(%(topics)s::text[], %(keys)s::text[], %(event_ids)s::uuid[], %(values)s::bytea[],
                %(headers)s::text[]) WITH ORDINALITY
         AS given (topic, key, event_id, value, headers, place)
    ORDER BY place)
SELECT pg_notify(%(channel)s, '')
"""


@dataclass(frozen=True, slots=True)
class Waiting:
    """A row of the outbox: an encoded event that waits for the broker's acknowledgement. `value`
    is None of a tombstone."""

    id: int
    topic: str
    key: str
    event_id: UUID
    value: bytes | None
    headers: Mapping[str, str]


@dataclass(frozen=True, slots=True)
class Backlog:
    """How many events wait, and for how many seconds the first of them."""

    rows: int
    oldest_s: float


def oldest(conn: Conn, limit: int) -> list[Waiting]:
    """The first `limit` events that wait, in the order of their ids."""
    rows = conn.execute(
        "SELECT id, topic, key, event_id, value, headers FROM outbox ORDER BY id LIMIT %s", (limit,)
    )
    return [Waiting(**row) for row in rows]


def published(conn: Conn, ids: Sequence[int]) -> None:
    """Forget exactly these rows.

    Not "all up to the last": ids are given before commit, so a row with a lower id may appear
    later than one with a higher.
    """
    conn.execute("DELETE FROM outbox WHERE id = ANY(%s)", (list(ids),))


def backlog(conn: Conn) -> Backlog:
    """Count what waits; reads the whole outbox, so ask every few seconds at most."""
    row = conn.execute(
        "SELECT count(*) AS rows, coalesce(extract(epoch FROM now() - min(created_at)), 0)::float8"
        " AS oldest_s FROM outbox"
    ).fetchone()
    return Backlog(**row) if row else Backlog(0, 0.0)
