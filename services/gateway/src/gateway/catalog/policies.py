"""Confidence policies: how sure is sure enough, by revision.

A revision is never changed. The newest one routes what is submitted from then on, and photos of
before when they are reprocessed or rescored; the aggregator learns each by `ops.policy.v1`.
Revision 1 is what the aggregator's own settings say: the catalog does not know it.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final, LiteralString
from uuid import UUID, uuid5

from psycopg.types.json import Jsonb
from pydantic import Field

from darkroom_schemas import ids
from darkroom_schemas.names import OPS_POLICY
from darkroom_schemas.stages import now
from gateway import locks
from gateway.catalog.audit import audit
from gateway.catalog.outbox import Outbox
from gateway.catalog.shapes import Shape
from gateway.db import Conn
from streamkit import Emit

FIRST: Final = 1
"""The revision of the aggregator's settings."""


class Thresholds(Shape):
    """Surer than `auto_above` is labelled without asking, less sure than `review_below` goes to a
    person, what lies between is suggested."""

    auto_above: float = Field(examples=[0.8])
    review_below: float = Field(examples=[0.5])


class Policy(Thresholds):
    """A revision of the policy, who made it and why."""

    revision: int = Field(examples=[2])
    labels: dict[str, Thresholds] = Field(description="labels with thresholds of their own")
    reason: str
    changed_by: str
    changed_at: datetime


class PolicyPage(Shape):
    """Policies, the newest first; `next` is the cursor of the earlier ones, null at the end."""

    items: list[Policy]
    next: str | None


@dataclass(frozen=True, slots=True)
class Wanted:
    """A policy that somebody wants. Thresholds are in 0..1 with review_below ≤ auto_above."""

    auto_above: float
    review_below: float
    labels: Mapping[str, tuple[float, float]]
    """Label to its auto_above and review_below."""
    reason: str
    changed_by: str


class PolicyChangedError(Exception):
    """Somebody else has changed the policy in between; `revision` is the newest."""

    def __init__(self, revision: int) -> None:
        super().__init__(f"the policy has revision {revision}")
        self.revision = revision


_POLICY: LiteralString = (
    "SELECT revision, auto_above, review_below, labels, reason, changed_by, changed_at"
    " FROM policies"
)


def current(conn: Conn) -> Policy | None:
    """The newest policy; None while the aggregator's settings hold."""
    row = conn.execute(_POLICY + " ORDER BY revision DESC LIMIT 1").fetchone()
    return _shown(row) if row else None


def history(conn: Conn, before: int | None, limit: int) -> tuple[list[Policy], int | None]:
    """At most `limit` policies with a revision below `before`; the one to go on before."""
    rows = conn.execute(
        _POLICY + " WHERE %(before)s::bigint IS NULL OR revision < %(before)s"
        " ORDER BY revision DESC LIMIT %(limit)s",
        {"before": before, "limit": limit + 1},
    ).fetchall()
    here = [_shown(row) for row in rows[:limit]]
    return here, here[-1].revision if len(rows) > limit else None


def said(conn: Conn) -> list[Emit]:
    """The event of every revision, once more."""
    return [_event(_shown(row)) for row in conn.execute(_POLICY + " ORDER BY revision")]


def change(conn: Conn, outbox: Outbox, wanted: Wanted, expected: int | None = None) -> Policy:
    """Make the next revision, in one transaction with the audit log and the event.

    `expected` is the revision that the caller has seen (1: none was made yet); None does not
    compare. Raises PolicyChangedError, with nothing written, if it is not the newest any more.
    """
    with conn.transaction():
        conn.execute("SELECT pg_advisory_xact_lock(%s)", (locks.POLICIES,))
        newest = current(conn)
        revision = newest.revision if newest else FIRST
        if expected is not None and expected != revision:
            raise PolicyChangedError(revision)
        policy = _next(wanted, revision + 1)
        _insert(conn, policy)
        audit(conn, policy.changed_by, "policy.changed", str(policy.revision), _detail(policy))
        outbox.add(conn, [_event(policy)])
    return policy


def _next(wanted: Wanted, revision: int) -> Policy:
    return Policy(
        revision=revision,
        auto_above=wanted.auto_above,
        review_below=wanted.review_below,
        labels={
            name: Thresholds(auto_above=above, review_below=below)
            for name, (above, below) in sorted(wanted.labels.items())
        },
        reason=wanted.reason,
        changed_by=wanted.changed_by,
        changed_at=now(),
    )


def _insert(conn: Conn, policy: Policy) -> None:
    conn.execute(
        "INSERT INTO policies"
        " (revision, auto_above, review_below, labels, reason, changed_by, changed_at)"
        " VALUES (%s, %s, %s, %s, %s, %s, %s)",
        (
            *(policy.revision, policy.auto_above, policy.review_below),
            Jsonb({name: [t.auto_above, t.review_below] for name, t in policy.labels.items()}),
            *(policy.reason, policy.changed_by, policy.changed_at),
        ),
    )


def _detail(policy: Policy) -> dict[str, Any]:
    return policy.model_dump(include={"auto_above", "review_below", "labels", "reason"})


def _event(policy: Policy) -> Emit:
    value = {
        "revision": policy.revision,
        "auto_above": policy.auto_above,
        "review_below": policy.review_below,
        "labels": [{"label": name, **t.model_dump()} for name, t in policy.labels.items()],
        "reason": policy.reason,
        "changed_by": policy.changed_by,
        "changed_at": policy.changed_at,
    }
    name = str(uuid5(UUID(ids.LOCAL_OWNER), f"policy:{policy.revision}"))
    return Emit(OPS_POLICY, str(policy.revision), value, name)


def _shown(row: Mapping[str, Any]) -> Policy:
    labels = {
        name: Thresholds(auto_above=above, review_below=below)
        for name, (above, below) in row["labels"].items()
    }
    return Policy.model_validate({**row, "labels": labels})
