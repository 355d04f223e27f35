"""What replicas say of the models that they have; contracts as in `results`."""

from collections.abc import Sequence
from operator import itemgetter
from typing import Final, LiteralString

from psycopg.types.json import Jsonb

from darkroom_schemas.events import ModelReported
from darkroom_schemas.heads import head_of
from gateway.catalog import model_options, models, reembedding, rescoring
from gateway.catalog.model_shapes import Activation, Model, ModelDetail, Replica
from gateway.db import Conn

LIVE_S: Final = 30.0
"""A replica says something every 10 seconds; one that was silent for so long is not waited for."""

_SHOWN_S: Final = 600.0
"""So long a replica that is gone is still shown."""

_FORGOTTEN_DAYS: Final = 7

HISTORY: Final = 20

EMBEDDER: Final = "embedder"
"""The stage that applies heads."""


def record_reports(conn: Conn, *events: ModelReported) -> None:
    """Who has what, and what versions may be. Those that services bring along become known."""
    ordered = sorted(events, key=itemgetter("replica"))
    rows = [
        {**one, "heads": Jsonb(one["heads"]), "heads_failed": Jsonb(one["heads_failed"])}
        for one in ordered
    ]
    with conn.cursor() as cursor:
        cursor.executemany(_REPORT, rows)
        cursor.executemany(
            _BUILT_IN,
            [one for one in ordered if one["generation"] == 0 and one["version"] is not None],
        )
        cursor.executemany(_HELD, [one for one in ordered if one["state"] == "ready"])
        cursor.executemany(
            _HEADS_HELD, [row for row, one in zip(rows, ordered, strict=True) if one["heads"]]
        )
    model_options.record_takes(conn, ordered)


# A replica's reports come in order, but may come twice. seen_at stays where nothing is new: a
# repetition is no sign of life.
_REPORT: Final = """
INSERT INTO model_replicas (replica, name, state, generation, wanted, version, engine, shadow,
  message, heads, heads_failed, reported_at)
VALUES (%(replica)s, %(name)s, %(state)s, %(generation)s, %(wanted)s, %(version)s, %(engine)s,
  %(shadow)s, %(message)s, %(heads)s, %(heads_failed)s, %(reported_at)s)
ON CONFLICT (replica) DO UPDATE SET name = excluded.name, state = excluded.state,
  generation = excluded.generation, wanted = excluded.wanted, version = excluded.version,
  engine = excluded.engine, shadow = excluded.shadow, message = excluded.message,
  heads = excluded.heads, heads_failed = excluded.heads_failed,
  reported_at = excluded.reported_at, seen_at = clock_timestamp()
WHERE excluded.reported_at > model_replicas.reported_at
"""

_HELD: Final = """
UPDATE model_activations SET held_at = %(reported_at)s
WHERE name = %(name)s AND version = %(version)s AND generation <= %(generation)s
  AND held_at IS NULL
"""

# Of a head a replica says the generation alone: what that means, the registry knows.
_HEADS_HELD: Final = """
UPDATE model_activations a SET held_at = %(reported_at)s
FROM jsonb_each_text(%(heads)s) AS said (name, generation)
JOIN model_activations made
  ON made.name = said.name AND made.generation = said.generation::bigint
WHERE a.name = made.name AND a.version = made.version AND a.generation <= made.generation
  AND a.held_at IS NULL
"""

_BUILT_IN: Final = """
INSERT INTO model_versions (name, version, engine, options, files, sha256, built_in, stage,
  created_by)
VALUES (%(name)s, %(version)s, %(engine)s, '{}', '[]', '', true, 'candidate', %(name)s)
ON CONFLICT DO NOTHING
"""


def replicas(conn: Conn, name: str) -> list[Replica]:
    """Those that were heard of lately, in the order of their names; of a head the embedder's."""
    head = head_of(name) is not None
    rows = conn.execute(
        _HEAD_REPLICAS if head else _REPLICAS,
        {"name": name, "stage": EMBEDDER if head else name, "shown_s": _SHOWN_S},
    )
    return [
        Replica.model_validate({**row, "live": row["state"] != "gone" and row["seen_s"] < LIVE_S})
        for row in rows
    ]


_HEARD_OF: LiteralString = """
SELECT *, extract(epoch FROM clock_timestamp() - seen_at)::float8 AS seen_s FROM model_replicas
WHERE name = %(stage)s AND seen_at > clock_timestamp() - make_interval(secs => %(shown_s)s)
"""

_REPLICAS: LiteralString = (
    "SELECT replica, state, generation, wanted, version, engine, shadow, message, seen_s"  # noqa: S608  # literals only
    f" FROM ({_HEARD_OF}) r ORDER BY replica"
)

_HEAD_REPLICAS: LiteralString = f"""
WITH newest AS (
  SELECT coalesce(max(generation), 0) AS newest FROM model_activations WHERE name = %(name)s),
heard_of AS (
  SELECT r.*, coalesce((heads ->> %(name)s)::bigint, 0) AS has, heads_failed ->> %(name)s AS why
  FROM ({_HEARD_OF}) r)
SELECT replica, has AS generation, newest AS wanted, a.version, 'head' AS engine, a.shadow,
  why AS message, seen_s, CASE WHEN state = 'gone' THEN 'gone' WHEN has >= newest THEN 'ready'
    WHEN why IS NOT NULL THEN 'failed' ELSE 'loading' END AS state
FROM heard_of CROSS JOIN newest
LEFT JOIN model_activations a ON a.name = %(name)s AND a.generation = has
ORDER BY replica
"""  # noqa: S608  # literals only


def model(conn: Conn, owner: str, name: str) -> Model:
    """What holds of a model of the registry, and who has it."""
    active, having = models.current(conn, name), replicas(conn, name)
    live = [one for one in having if one.live]
    generation = active.generation if active is not None else 0
    behind = _behind(live, generation)
    version = active.version if active is not None else _served(live)
    return Model(
        name=models.shown(name),
        generation=generation,
        active=version,
        shadow=active and active.shadow,
        shadow_share=active.shadow_share if active is not None else 0.0,
        everywhere=bool(live) and not behind,
        waiting_for=behind,
        replicas=having,
        warning=_warning(conn, name, active),
        reembedding=(
            reembedding.progress(conn, owner, version)
            if name == EMBEDDER and version is not None
            else None
        ),
        rescoring=rescoring.progress(conn, owner, name),
    )


def _warning(conn: Conn, name: str, active: Activation | None) -> str | None:
    """Why a head that holds labels nothing."""
    if head_of(name) is None or active is None:
        return None
    made = models.version_of(conn, name, active.version).embedding_version
    embeds = embedding_version(conn)
    if made is None or embeds is None or made == embeds:
        return None
    return f"Made for embeddings of {made}, photos are embedded by {embeds}: train again."


def embedding_version(conn: Conn) -> str | None:
    """By which version photos are embedded: the one that holds, else what all replicas of the
    embedder have; None where that is not known."""
    active = models.current(conn, EMBEDDER)
    if active is not None:
        return active.version
    return _served([one for one in replicas(conn, EMBEDDER) if one.live])


def is_made_everywhere(conn: Conn, name: str, generation: int, version: str) -> bool:
    """Whether every live replica makes all that it has in hand by this version of a generation;
    False where there is no replica, or one was set to something else since."""
    live = [one for one in replicas(conn, name) if one.live]
    made = {one.version for one in live}
    return made == {version} and not _behind(live, generation)


def detail(conn: Conn, owner: str, name: str) -> ModelDetail:
    """A model with its versions and its last changes. Raises RegistryError for a head that was
    never trained."""
    versions = models.versions(conn, name)
    if head_of(name) is not None and not versions:
        raise models.RegistryError(
            "no_such_model", f"{models.shown(name)} has no version: train it first."
        )
    return ModelDetail(
        **model(conn, owner, name).model_dump(),
        versions=versions,
        history=models.history(conn, name, HISTORY),
    )


def forget_replicas(conn: Conn) -> int:
    """Delete replicas that were not heard of for days; how many."""
    return conn.execute(
        "DELETE FROM model_replicas WHERE seen_at < now() - make_interval(days => %s)",
        (_FORGOTTEN_DAYS,),
    ).rowcount


def _behind(live: Sequence[Replica], generation: int) -> list[str]:
    return [one.replica for one in live if one.state != "ready" or one.generation < generation]


def _served(live: Sequence[Replica]) -> str | None:
    """What all replicas have by their own settings, if it is the same."""
    having = {one.version for one in live}
    return having.pop() if len(having) == 1 else None
