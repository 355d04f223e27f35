"""What trainings that are due learn from, and those that are under way, for the control door."""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final
from uuid import UUID

import numpy as np
import numpy.typing as npt

from darkroom_schemas import ids
from darkroom_schemas.heads import head_name
from darkroom_schemas.names import TRAINING_PREPARED
from darkroom_schemas.stages import now
from gateway.catalog import models
from gateway.catalog.label_shapes import Example
from gateway.catalog.outbox import Outbox
from gateway.db import Conn
from streamkit import Emit

_AT_ONCE: Final = 1_000
"""Vectors that are read at a time: their text is much larger than they are."""

_MOST: Final = 200
"""Trainings that are looked at in a turn."""

Floats = npt.NDArray[np.float32]


@dataclass(frozen=True, slots=True)
class Due:
    """A training that may begin, and for how many seconds it could have."""

    request_id: str
    owner: str
    model: str
    reason: str
    forced: bool
    waited_s: float


@dataclass(frozen=True, slots=True)
class Holding:
    """The head that a new one is compared with; `file` and `report` are null where it labels other
    embeddings, and can't be."""

    version: str
    file: Mapping[str, str] | None
    report_uri: str | None


@dataclass(frozen=True, slots=True)
class Lesson:
    """Examples that have an embedding, and these in the same order. `left_out`: those without."""

    labels: Sequence[str]
    examples: Sequence[Example]
    vectors: Floats
    left_out: int


@dataclass(frozen=True, slots=True)
class UnderWay:
    """A training that trainers are told of; `silent_s`: since anything was heard of it, or since
    somebody listens."""

    request_id: str
    model: str
    state: str
    note: str | None
    silent_s: float
    age_s: float


def due(conn: Conn) -> list[Due]:
    """Trainings that may begin: of each model the first, where none is under way."""
    rows = conn.execute(_DUE, (_MOST,)).fetchall()
    fresh = [UUID(row["request_id"]) for row in rows if row["waited_s"] is None]
    if fresh:
        conn.execute(
            "UPDATE trainings SET waits_since = clock_timestamp() WHERE request_id = ANY(%s)",
            (fresh,),
        )
    return [Due(**{**row, "waited_s": row["waited_s"] or 0.0}) for row in rows]


_DUE: Final = """
SELECT DISTINCT ON (t.owner, t.model) t.request_id::text, t.owner::text, t.model, t.reason,
  t.forced, extract(epoch FROM clock_timestamp() - t.waits_since)::float8 AS waited_s
FROM trainings t
WHERE t.state = 'requested' AND t.ended_at IS NULL
  AND (t.due_at IS NULL OR t.due_at <= clock_timestamp())
  AND NOT EXISTS (SELECT FROM trainings o WHERE o.owner = t.owner AND o.model = t.model
    AND o.state IN ('prepared', 'running'))
ORDER BY t.owner, t.model, t.due_at, t.requested_at, t.request_id LIMIT %s
"""


def moment(conn: Conn) -> datetime:
    """What the catalog's clock says."""
    row = conn.execute("SELECT clock_timestamp() AS at").fetchone()
    if row is None:  # pragma: no cover  # a SELECT without FROM has a row
        raise LookupError
    at: datetime = row["at"]
    return at


def note(conn: Conn, request_id: str, text: str) -> None:
    """Say what a training waits for."""
    conn.execute(
        "UPDATE trainings SET note = %(note)s WHERE request_id = %(id)s AND ended_at IS NULL"
        " AND note IS DISTINCT FROM %(note)s",
        {"id": request_id, "note": text},
    )


def to_come(conn: Conn, photos: Sequence[str], version: str) -> int:
    """Of how many of these photos an embedding by a version will come: they are being analysed, or
    to be embedded again."""
    row = conn.execute(_TO_COME, {"photos": list(photos), "version": version}).fetchone()
    return int(row["photos"]) if row else 0


_TO_COME: Final = """
SELECT count(*) AS photos FROM unnest(%(photos)s::uuid[]) AS p (photo_id)
WHERE NOT EXISTS (SELECT FROM embeddings e
    WHERE e.photo_id = p.photo_id AND e.model_version = %(version)s)
  AND (EXISTS (SELECT FROM analyses a WHERE a.photo_id = p.photo_id AND a.cancelled_at IS NULL
      AND NOT EXISTS (SELECT FROM outcomes o WHERE o.analysis_id = a.analysis_id)
      AND NOT EXISTS (SELECT FROM rejections r WHERE r.analysis_id = a.analysis_id))
    OR (EXISTS (SELECT FROM embeddings e WHERE e.photo_id = p.photo_id)
      AND NOT EXISTS (SELECT FROM embedding_requests q WHERE q.photo_id = p.photo_id
        AND q.model_version = %(version)s AND q.error IS NOT NULL)))
"""


def lesson(conn: Conn, owned: tuple[str, str], examples: Sequence[Example], version: str) -> Lesson:
    """An owner's set of labels with those of its examples that a version has embedded."""
    owner, name = owned
    found: dict[str, Floats] = {}
    photos = [UUID(one.photo_id) for one in examples]
    for start in range(0, len(photos), _AT_ONCE):
        rows = conn.execute(
            "SELECT photo_id::text, vector::text FROM embeddings"
            " WHERE photo_id = ANY(%s) AND model_version = %s AND owner = %s",
            (photos[start : start + _AT_ONCE], version, owner),
        )
        for row in rows:
            text = row["vector"].strip("[]")
            found[row["photo_id"]] = np.fromstring(text, dtype=np.float32, sep=",")
    # Vectors come from events that anybody may write: of another length they are not by this model.
    lengths = Counter(len(one) for one in found.values()).most_common(1)
    usual = lengths[0][0] if lengths else 0
    kept = [one for one in examples if one.photo_id in found and len(found[one.photo_id]) == usual]
    known = conn.execute(
        "SELECT labels FROM label_sets WHERE owner = %s AND name = %s", (owner, name)
    ).fetchone()
    return Lesson(
        labels=list(known["labels"]) if known else [],
        examples=kept,
        vectors=np.stack([found[one.photo_id] for one in kept])
        if kept
        else np.zeros((0, usual), np.float32),
        left_out=len(examples) - len(kept),
    )


def holding(conn: Conn, owner: str, model: str, version: str) -> Holding | None:
    """The head that holds of an owner's model, where there is one; `version`: of the embeddings."""
    name = head_name(owner, model)
    active = models.current(conn, name)
    if active is None:
        return None
    made = models.version_of(conn, name, active.version)
    if made.embedding_version != version or not made.files:
        return Holding(active.version, None, None)
    sha256 = made.files[0].sha256
    report = conn.execute(
        "SELECT report_uri FROM trainings WHERE owner = %s AND model = %s AND version = %s"
        " AND report_uri IS NOT NULL ORDER BY ended_at DESC LIMIT 1",
        (owner, model, active.version),
    ).fetchone()
    return Holding(
        active.version,
        {"uri": models.file_uri(conn, sha256) or "", "sha256": sha256},
        report["report_uri"] if report else None,
    )


def prepared(
    conn: Conn,
    outbox: Outbox,
    one: Due,
    manifest: tuple[str, str],
    against: str | None,
    as_of: datetime,
) -> bool:
    """Tell trainers of a training, whose `manifest` is a URI and a hash, of what was said until a
    moment; False if it has ended since. One transaction."""
    with conn.transaction():
        row = conn.execute(
            "UPDATE trainings t SET state = 'prepared', note = NULL, against = %(against)s,"
            " prepared_at = %(as_of)s"
            " WHERE request_id = %(id)s AND state = 'requested' AND ended_at IS NULL"
            " RETURNING coalesce((SELECT fence FROM training_fences f WHERE f.owner = t.owner"
            " AND f.model = t.model), 0) AS fence",
            {"id": one.request_id, "against": against, "as_of": as_of},
        ).fetchone()
        if row is None:
            return False
        uri, sha256 = manifest
        value: dict[str, Any] = {
            **{"request_id": one.request_id, "owner": one.owner, "model": one.model},
            **{"reason": one.reason, "manifest_uri": uri, "manifest_sha256": sha256},
            **{"fence": row["fence"], "prepared_at": now()},
        }
        name = ids.batch_event_id(one.request_id, "prepared")
        outbox.add(conn, [Emit(TRAINING_PREPARED, f"{one.owner}:{one.model}", value, name)])
    return True


def under_way(conn: Conn, since: datetime) -> list[UnderWay]:
    """Trainings that trainers are told of, as who listens `since` sees them."""
    rows = conn.execute(
        """
        SELECT request_id::text, model, state, note,
          extract(epoch FROM clock_timestamp()
            - greatest(progressed_at, prepared_at, %s))::float8 AS silent_s,
          extract(epoch FROM clock_timestamp() - prepared_at)::float8 AS age_s
        FROM trainings WHERE state IN ('prepared', 'running')
        """,
        (since,),
    )
    return [UnderWay(**row) for row in rows]
