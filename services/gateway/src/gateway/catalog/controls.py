"""What operators have set for services and lanes, as `ops.control.v1` tells it to the workers.

The catalog knows what was set through it. What others write straight into the topic, workers obey
all the same, and it is not seen here, until a change of the same target replaces it.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any, Final
from uuid import uuid4

from pydantic import Field

from darkroom_schemas.names import OPS_CONTROL, PHOTO_SUBMITTED
from darkroom_schemas.stages import now
from gateway import locks
from gateway.catalog.audit import audit
from gateway.catalog.outbox import Outbox, Tombstone
from gateway.catalog.shapes import Shape
from gateway.db import Conn
from streamkit import Emit

_LANES: Final = tuple(PHOTO_SUBMITTED)

LANES: Final[Mapping[str, tuple[str, ...]]] = {
    "intake": _LANES,
    "detector": _LANES,
    "ocr": _LANES,
    "embedder": _LANES,
    "trainer": ("learning",),
    "gateway": ("recorder",),
}
"""Who obeys, and the lanes that it works on."""

_UNRULED: Final = (
    "The aggregator can't be paused, nor held to a rate: it follows no controls, since it only"
    " joins what the stages say. Pause the stages before it instead."
)


class UnknownTargetError(Exception):
    """Nobody obeys what is set for such a target; the text says what there is."""


class UnruledError(Exception):
    """There is such a service, and it obeys nothing."""


class Control(Shape):
    """What holds for a service or a lane. A pause that is over is none."""

    target: str = Field(examples=["ocr/batch"])
    service: str = Field(examples=["ocr"])
    lane: str | None = Field(description="null: all lanes of the service", examples=["batch"])
    paused: bool
    paused_until: datetime | None = Field(description="null: until somebody takes it back")
    rate: str | None = Field(
        description="records that may begin, in all its workers together", examples=["20/s"]
    )
    concurrency: int | None = Field(
        description="records of a lane that a worker's engines hold at a time", examples=[2]
    )
    owner: str = Field(description="who has set it", examples=["key:ada"])
    reason: str
    changed_at: datetime


@dataclass(frozen=True, slots=True)
class Held:
    """What holds, as far as somebody has set it."""

    paused: bool = False
    paused_until: datetime | None = None
    rate: str | None = None
    concurrency: int | None = None
    reason: str = ""

    def changed(self, changes: Mapping[str, Any]) -> "Held":
        """With these fields as they shall be; what is not among them stays."""
        merged = replace(self, **changes)
        return merged if merged.paused else replace(merged, paused_until=None)

    def at(self, moment: datetime) -> "Held":
        """What is left of it at that moment: no pause that is over."""
        over = self.paused_until is not None and self.paused_until <= moment
        return replace(self, paused=False, paused_until=None) if over else self

    @property
    def nothing(self) -> bool:
        """Whether it is as if nobody had set anything."""
        return not self.paused and self.rate is None and self.concurrency is None


def target_of(service: str, lane: str | None = None) -> str:
    """The target of a service or of one of its lanes. Raises UnknownTargetError, UnruledError."""
    if service == "aggregator":
        raise UnruledError(_UNRULED)
    lanes = LANES.get(service)
    if lanes is None:
        raise UnknownTargetError(f"There is no such service: {', '.join(LANES)} are there.")
    if lane is not None and lane not in lanes:
        raise UnknownTargetError(f"The {service} has no such lane: it has {', '.join(lanes)}.")
    return service if lane is None else f"{service}/{lane}"


def controls(conn: Conn, _owner: str) -> list[Control]:
    """All that holds now, by target. Workers are the installation's, so all owners see the same."""
    moment = now()
    rows = conn.execute("SELECT * FROM controls ORDER BY target").fetchall()
    held = [(row, _held(row).at(moment)) for row in rows]
    return [_shown(row["target"], one, row) for row, one in held if not one.nothing]


def said(conn: Conn) -> list[Emit]:
    """Events of all that holds now."""
    return [_told(one) for one in controls(conn, "")]


def change(conn: Conn, outbox: Outbox, target: str, changes: Mapping[str, Any], by: str) -> Control:
    """Set these fields of Held for a target and leave its others, in one transaction with the
    audit log and the event; what holds then. `target` as of `target_of`.

    Who changes the same target at once waits, and changes what the first one has made of it.
    """
    with conn.transaction():
        held = _hold(conn, target)
        return _write(conn, outbox, target, held.changed(changes), "changed", by, changes)


def remove(conn: Conn, outbox: Outbox, target: str, by: str) -> Control:
    """Take back all that was set for a target, also what others wrote straight into the topic."""
    with conn.transaction():
        _hold(conn, target)
        return _write(conn, outbox, target, Held(), "removed", by, {})


def _hold(conn: Conn, target: str) -> Held:
    """What holds, which nobody else changes before the end of the transaction.

    One lock for all, since a target that nothing is set for has no row to lock.
    """
    conn.execute("SELECT pg_advisory_xact_lock(%s)", (locks.CONTROLS,))
    row = conn.execute("SELECT * FROM controls WHERE target = %s", (target,)).fetchone()
    return _held(row).at(now()) if row else Held()


def _write(
    conn: Conn,
    outbox: Outbox,
    target: str,
    held: Held,
    what: str,
    by: str,
    changes: Mapping[str, Any],
) -> Control:
    about = {"owner": by, "changed_at": now()}
    control = _shown(target, held, about)
    conn.execute("DELETE FROM controls WHERE target = %s", (target,))
    if not held.nothing:
        conn.execute(_INSERT, control.model_dump())
    detail = {name: _plain(value) for name, value in changes.items()}
    audit(conn, by, f"control.{what}", target, detail)
    outbox.add(conn, [_event(control, held)])
    return control


_INSERT: Final = """
INSERT INTO controls
  (target, rate, paused, paused_until, concurrency, owner, reason, changed_at)
VALUES (%(target)s, %(rate)s, %(paused)s, %(paused_until)s, %(concurrency)s, %(owner)s, %(reason)s,
  %(changed_at)s)
"""


def _event(control: Control, held: Held) -> Emit | Tombstone:
    if held.nothing:
        return Tombstone(OPS_CONTROL, control.target, str(uuid4()))
    return _told(control)


def _told(control: Control) -> Emit:
    value = control.model_dump(exclude={"service", "lane"})
    return Emit(OPS_CONTROL, control.target, value, str(uuid4()))


def _held(row: Mapping[str, Any]) -> Held:
    fields = ("paused", "paused_until", "rate", "concurrency", "reason")
    return Held(**{name: row[name] for name in fields})


def _shown(target: str, held: Held, about: Mapping[str, Any]) -> Control:
    service, _, lane = target.partition("/")
    return Control(
        target=target,
        service=service,
        lane=lane or None,
        paused=held.paused,
        paused_until=held.paused_until,
        rate=held.rate,
        concurrency=held.concurrency,
        owner=about["owner"],
        reason=held.reason,
        changed_at=about["changed_at"],
    )


def _plain(value: object) -> object:
    return value.isoformat() if isinstance(value, datetime) else value
