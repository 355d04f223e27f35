"""Photos that were seen before, labelled by the user's own heads of now from stored embeddings.

Nothing is looked at again: the other stages' parts stay as they were, a new embedder's part has the
labels. What was said of a photo is kept, so that it is said once, however often it is looked at.
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Final, LiteralString
from uuid import UUID

from psycopg.types.json import Jsonb

from darkroom_schemas import ids
from darkroom_schemas.heads import head_of
from darkroom_schemas.names import PHOTO_RESCORED
from darkroom_schemas.stages import STAGES, now
from gateway.catalog.model_shapes import Rescoring
from gateway.catalog.models import shown
from gateway.catalog.outbox import Outbox
from gateway.catalog.read import CURRENT
from gateway.db import Conn
from streamkit import Emit

REST_S: Final = 600.0
"""Between rounds: what was embedded since, or was on its way, is looked at by the next one."""

_LATE_S: Final = 3600.0
"""So late a photo may be recorded, or the outcome of a rescoring."""

_WITHIN: Final = 0.001
"""Confidences that differ by no more are the same: what stores and sums round."""

_TICK: Final = timedelta(milliseconds=1)

FIRST: Final = UUID(int=0)


@dataclass(frozen=True, slots=True)
class ActiveHead:
    """A head that holds: the file that it is kept in (`uri`: None, if that is gone), the embeddings
    that it is made for; `held`: every live replica of the embedder labels by it."""

    name: str
    owner: str
    version: str
    embedding_version: str | None
    sha256: str
    uri: str | None
    held: bool


_HEADS: Final = """
WITH live AS (SELECT heads FROM model_replicas WHERE name = 'embedder' AND state <> 'gone'
  AND seen_at > clock_timestamp() - make_interval(secs => %(live_s)s)),
active AS (SELECT DISTINCT ON (name) name, generation, version FROM model_activations
  WHERE starts_with(name, 'head:') ORDER BY name, generation DESC)
SELECT a.name, a.version, v.embedding_version, v.files -> 0 ->> 'sha256' AS sha256, f.uri,
  coalesce((SELECT bool_and(coalesce((heads ->> a.name)::bigint, 0) >= a.generation) FROM live),
    false) AS held
FROM active a JOIN model_versions v USING (name, version)
LEFT JOIN model_files f ON f.sha256 = v.files -> 0 ->> 'sha256'
ORDER BY a.name
"""


def active_heads(conn: Conn, live_s: float) -> list[ActiveHead]:
    """All owners' heads, in the order of their names; replicas that were silent for so long do not
    count."""
    rows = conn.execute(_HEADS, {"live_s": live_s}).fetchall()
    return [
        ActiveHead(**row, owner=head.owner)
        for row in rows
        if (head := head_of(row["name"])) is not None
    ]


def versions(conn: Conn) -> dict[str, dict[str, str]]:
    """Which version of which head each owner's photos are labelled by, or were last."""
    return {
        str(row["owner"]): row["heads"]
        for row in conn.execute("SELECT owner, heads FROM rescorings")
    }


@dataclass(frozen=True, slots=True)
class Place:
    """Where a round through an owner's photos stands: behind `after`, among those that were
    embedded later than `since` (None: all)."""

    owner: str
    embedding_version: str
    since: datetime | None
    after: UUID


def begin(conn: Conn, owner: str, embedding_version: str, heads: Mapping[str, str]) -> Place | None:
    """Where to go on; from the beginning, if the heads or the embeddings are others than before.
    None while there is nothing to do."""
    about = {
        **{"owner": owner, "version": embedding_version, "heads": Jsonb(dict(heads))},
        **{"first": FIRST, "late": _LATE_S},
    }
    conn.execute(_ANEW, about)
    conn.execute(_NEXT_ROUND, about)
    row = conn.execute(
        "SELECT since, after FROM rescorings WHERE owner = %s AND after IS NOT NULL", (owner,)
    ).fetchone()
    return None if row is None else Place(owner, embedding_version, row["since"], row["after"])


_ANEW: Final = """
INSERT INTO rescorings AS r (owner, heads, embedding_version, after, photos)
SELECT %(owner)s, %(heads)s, %(version)s, %(first)s, (SELECT count(*) FROM embeddings e
  WHERE e.owner = %(owner)s AND e.model_version = %(version)s)
WHERE NOT EXISTS (SELECT FROM rescorings k WHERE k.owner = %(owner)s
  AND k.heads = %(heads)s AND k.embedding_version = %(version)s)
ON CONFLICT (owner) DO UPDATE SET heads = excluded.heads,
  embedding_version = excluded.embedding_version, photos = excluded.photos, done = 0, changed = 0,
  started_at = now(), ended_at = NULL, round_at = now(), since = NULL, after = excluded.after,
  next_at = NULL
"""

_NEXT_ROUND: Final = """
UPDATE rescorings SET since = round_at - make_interval(secs => %(late)s), round_at = now(),
  after = %(first)s, next_at = NULL
WHERE owner = %(owner)s AND after IS NULL AND next_at <= now()
"""


@dataclass(frozen=True, slots=True)
class Seen:
    """A photo with an embedding. `said`: the own labels that are shown of it, or that are on their
    way; None where it has no outcome that they could be changed of."""

    photo_id: str
    vector: str
    said: Sequence[Mapping[str, Any]] | None
    row: Mapping[str, Any]


_SEEN: LiteralString = (
    """
WITH chosen AS MATERIALIZED (
  SELECT e.photo_id, e.vector FROM embeddings e
  WHERE e.owner = %(owner)s AND e.model_version = %(version)s AND e.photo_id > %(after)s
    AND (%(since)s::timestamptz IS NULL OR e.embedded_at > %(since)s)
  ORDER BY e.photo_id LIMIT %(limit)s)
SELECT e.photo_id::text, e.vector::text, c.analysis_id::text, c.decided_at, c.failed_stages,
  s.parts, f.failed, greatest(c.revision, s.last, q.revision, (
    SELECT max(o.revision) FROM outcomes o WHERE o.analysis_id = c.analysis_id)) AS revision,
  q.rescored_at, q.labels AS asked, q.rescored_at > now() - make_interval(secs => %(late)s)
    AND q.revision > (s.parts -> 'embedder' ->> 'revision')::int AS under_way
FROM chosen e LEFT JOIN photos p USING (photo_id)
"""  # noqa: S608  # literals only
    + CURRENT
    + """
LEFT JOIN rescored_photos q ON q.photo_id = p.photo_id AND q.analysis_id = c.analysis_id
LEFT JOIN LATERAL (
  SELECT max(y.revision) AS last, jsonb_object_agg(y.stage, jsonb_build_object(
    'revision', y.revision, 'engine', y.engine, 'model_version', y.model_version,
    'finished_at', y.finished_at, 'labels', y.body -> 'labels', 'category', y.body -> 'category',
    'calibrated', y.body -> 'calibrated')) FILTER (WHERE u.stage IS NOT NULL) AS parts
  FROM parts y LEFT JOIN jsonb_to_recordset(c.used) AS u (stage text, revision int)
    ON u.stage = y.stage AND u.revision = y.revision
  WHERE y.analysis_id = c.analysis_id) s ON true
LEFT JOIN LATERAL (
  SELECT jsonb_object_agg(x.stage, x.failed_at) AS failed FROM (
    SELECT DISTINCT ON (y.stage) y.stage, y.failed_at FROM stage_failures y
    WHERE y.analysis_id = c.analysis_id ORDER BY y.stage, y.revision DESC) x) f ON true
ORDER BY e.photo_id
"""
)


def seen(conn: Conn, place: Place, limit: int) -> list[Seen]:
    """The next photos of a round."""
    about = {
        **{"owner": place.owner, "version": place.embedding_version, "after": place.after},
        **{"since": place.since, "limit": limit, "late": _LATE_S},
    }
    return [_seen(row) for row in conn.execute(_SEEN, about)]


def _seen(row: Mapping[str, Any]) -> Seen:
    embedder = (row["parts"] or {}).get("embedder")
    said = row["asked"] if row["under_way"] else (embedder or {}).get("labels", [])
    whole = embedder and row["decided_at"] and _covers(row)
    return Seen(row["photo_id"], row["vector"], said if whole else None, row)


def _covers(row: Mapping[str, Any]) -> bool:
    """Whether each stage has its part or its failure, as an event of a rescoring says it."""
    return sorted([*row["parts"], *row["failed_stages"]]) == sorted(STAGES)


def differ(some: Sequence[Mapping[str, Any]], others: Sequence[Mapping[str, Any]]) -> bool:
    """Whether labels are others, by other versions, or clearly more or less sure."""
    one, other = sorted(some, key=_whose), sorted(others, key=_whose)
    return [_whose(label) for label in one] != [_whose(label) for label in other] or any(
        abs(label["confidence"] - same["confidence"]) > _WITHIN
        for label, same in zip(one, other, strict=True)
    )


def _whose(label: Mapping[str, Any]) -> tuple[str, str, str]:
    return label["head"], label["name"], label["head_version"]


@dataclass(frozen=True, slots=True)
class Changed:
    """A photo that has other labels from now on, best first."""

    photo: Seen
    labels: Sequence[Mapping[str, Any]]


def go_on(
    conn: Conn,
    outbox: Outbox,
    place: Place,
    looked: Sequence[Seen],
    changed: Sequence[Changed],
    *,
    more: bool,
) -> list[Emit]:
    """Tell of the changed ones among those that were looked at, in one transaction with where the
    round stands; whether there are `more` photos. Returns what is told."""
    with conn.transaction():
        emits = _events(conn, place, changed)
        with conn.cursor() as cursor:
            cursor.executemany(
                _SAID, [{**one.value, "labels": Jsonb(one.value["labels"])} for one in emits]
            )
        outbox.add(conn, emits)
        conn.execute(
            _GONE_ON,
            {
                **{"owner": place.owner, "looked": len(looked), "changed": len(emits)},
                **{"after": looked[-1].photo_id if more else None, "rest": REST_S},
            },
        )
    return emits


_SAID: Final = """
INSERT INTO rescored_photos (photo_id, analysis_id, revision, labels, rescored_at)
VALUES (%(photo_id)s, %(analysis_id)s, %(revision)s, %(labels)s, %(rescored_at)s)
ON CONFLICT (photo_id) DO UPDATE SET analysis_id = excluded.analysis_id,
  revision = excluded.revision, labels = excluded.labels, rescored_at = excluded.rescored_at
"""

_GONE_ON: Final = """
UPDATE rescorings SET after = %(after)s, changed = changed + %(changed)s,
  done = done + CASE WHEN since IS NULL THEN %(looked)s ELSE 0 END,
  ended_at = CASE WHEN %(after)s::uuid IS NULL THEN coalesce(ended_at, now()) ELSE ended_at END,
  next_at = CASE WHEN %(after)s::uuid IS NULL THEN now() + make_interval(secs => %(rest)s) END
WHERE owner = %(owner)s
"""


def _events(conn: Conn, place: Place, changed: Sequence[Changed]) -> list[Emit]:
    newest = conn.execute("SELECT coalesce(max(revision), 1) AS revision FROM policies").fetchone()
    policy_revision = newest["revision"] if newest else 1
    return [_event(place, one, policy_revision) for one in changed]


def _event(place: Place, changed: Changed, policy_revision: int) -> Emit:
    row = changed.photo.row
    others = {stage: part for stage, part in row["parts"].items() if stage != "embedder"}
    known = row["failed"] or {}
    failed = {
        stage: _moment(known[stage]) if stage in known else row["decided_at"]
        for stage in row["failed_stages"]
    }
    value = {
        "owner": place.owner,
        "photo_id": row["photo_id"],
        "analysis_id": row["analysis_id"],
        "revision": row["revision"] + 1,
        "policy_revision": policy_revision,
        "lane": "learning",
        "stage": "embedder",
        "engine": place.embedding_version.partition("@")[0],
        "model_version": place.embedding_version,
        "labels": list(changed.labels),
        "others": [_other(stage, part) for stage, part in others.items()],
        "failed": [{"stage": stage, "failed_at": at} for stage, at in failed.items()],
    }
    before = [row["decided_at"], row["rescored_at"], *failed.values()]
    before += [one["finished_at"] for one in value["others"]]
    # Names the rescoring, and its outcome: so it is later than all that this is made of.
    value["rescored_at"] = max(now(), *(_ms(one) + _TICK for one in before if one is not None))
    name = ids.event_id(row["analysis_id"], "rescored", value["revision"])
    return Emit(PHOTO_RESCORED, row["photo_id"], value, name)


def _other(stage: str, part: Mapping[str, Any]) -> dict[str, Any]:
    return {
        "stage": stage,
        **{name: part[name] for name in ("revision", "engine", "model_version", "category")},
        "finished_at": _moment(part["finished_at"]),
        "labels": part["labels"] or [],
        "calibrated": bool(part["calibrated"]),
    }


def _moment(text: str) -> datetime:
    return datetime.fromisoformat(text)


def _ms(moment: datetime) -> datetime:
    return moment.replace(microsecond=moment.microsecond // 1000 * 1000)


def vector_of(seen: Seen) -> list[float]:
    """A photo's embedding."""
    vector: list[float] = json.loads(seen.vector)
    return vector


def is_shown(conn: Conn, emit: Emit) -> bool:
    """Whether what a rescoring came to is in the catalog."""
    row = conn.execute(
        "SELECT FROM outcomes WHERE analysis_id = %(analysis_id)s AND revision >= %(revision)s"
        " LIMIT 1",
        emit.value,
    ).fetchone()
    return row is not None


def progress(conn: Conn, owner: str, name: str) -> Rescoring | None:
    """How far an owner's photos are labelled by a head and the owner's other ones; None for a model
    that labels none."""
    row = conn.execute(
        """
        SELECT a.version, r.heads, r.heads ->> a.name AS by, r.photos, r.done, r.changed, r.ended_at
        FROM model_activations a LEFT JOIN rescorings r ON r.owner = %(owner)s
        WHERE a.name = %(name)s ORDER BY a.generation DESC LIMIT 1
        """,
        {"owner": owner, "name": name},
    ).fetchone()
    if row is None or head_of(name) is None:
        return None
    if row["by"] != row["version"]:
        nothing = dict.fromkeys(("photos", "done", "changed"), 0)
        return Rescoring(version=row["version"], state="waiting", heads=[], **nothing)
    return Rescoring(
        version=row["version"],
        state="running" if row["ended_at"] is None else "done",
        heads=sorted(shown(one) for one in row["heads"]),
        **{name: row[name] for name in ("photos", "done", "changed")},
    )
