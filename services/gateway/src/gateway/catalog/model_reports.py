"""What replicas say of the models that they have; contracts as in `results`."""

from collections.abc import Sequence
from operator import itemgetter
from typing import Final

from darkroom_schemas.events import ModelReported
from gateway.catalog import model_options, models, reembedding
from gateway.catalog.model_shapes import Model, ModelDetail, ModelName, Replica
from gateway.db import Conn

LIVE_S: Final = 30.0
"""A replica says something every 10 seconds; one that was silent for so long is not waited for."""

_SHOWN_S: Final = 600.0
"""So long a replica that is gone is still shown."""

_FORGOTTEN_DAYS: Final = 7

HISTORY: Final = 20


def record_reports(conn: Conn, *events: ModelReported) -> None:
    """Who has what, and what versions may be. Those that services bring along become known."""
    ordered = sorted(events, key=itemgetter("replica"))
    with conn.cursor() as cursor:
        cursor.executemany(_REPORT, ordered)
        cursor.executemany(
            _BUILT_IN,
            [one for one in ordered if one["generation"] == 0 and one["version"] is not None],
        )
        cursor.executemany(_HELD, [one for one in ordered if one["state"] == "ready"])
    model_options.record_takes(conn, ordered)


# A replica's reports come in order, but may come twice. seen_at stays where nothing is new: a
# repetition is no sign of life.
_REPORT: Final = """
INSERT INTO model_replicas (replica, name, state, generation, wanted, version, engine, shadow,
  message, reported_at)
VALUES (%(replica)s, %(name)s, %(state)s, %(generation)s, %(wanted)s, %(version)s, %(engine)s,
  %(shadow)s, %(message)s, %(reported_at)s)
ON CONFLICT (replica) DO UPDATE SET name = excluded.name, state = excluded.state,
  generation = excluded.generation, wanted = excluded.wanted, version = excluded.version,
  engine = excluded.engine, shadow = excluded.shadow, message = excluded.message,
  reported_at = excluded.reported_at, seen_at = clock_timestamp()
WHERE excluded.reported_at > model_replicas.reported_at
"""

_HELD: Final = """
UPDATE model_activations SET held_at = %(reported_at)s
WHERE name = %(name)s AND version = %(version)s AND generation <= %(generation)s
  AND held_at IS NULL
"""

_BUILT_IN: Final = """
INSERT INTO model_versions (name, version, engine, options, files, sha256, built_in, stage,
  created_by)
VALUES (%(name)s, %(version)s, %(engine)s, '{}', '[]', '', true, 'candidate', %(name)s)
ON CONFLICT DO NOTHING
"""


def replicas(conn: Conn, name: str) -> list[Replica]:
    """Those that were heard of lately, in the order of their names."""
    rows = conn.execute(
        "SELECT replica, state, generation, wanted, version, engine, shadow, message,"
        " extract(epoch FROM clock_timestamp() - seen_at)::float8 AS seen_s FROM model_replicas"
        " WHERE name = %s AND seen_at > clock_timestamp() - make_interval(secs => %s)"
        " ORDER BY replica",
        (name, _SHOWN_S),
    )
    return [
        Replica.model_validate({**row, "live": row["state"] != "gone" and row["seen_s"] < LIVE_S})
        for row in rows
    ]


def model(conn: Conn, owner: str, name: ModelName) -> Model:
    """What holds of a model, and who has it."""
    active, having = models.current(conn, name), replicas(conn, name)
    live = [one for one in having if one.live]
    generation = active.generation if active is not None else 0
    behind = _behind(live, generation)
    version = active.version if active is not None else _served(live)
    return Model(
        name=name,
        generation=generation,
        active=version,
        shadow=active and active.shadow,
        shadow_share=active.shadow_share if active is not None else 0.0,
        everywhere=bool(live) and not behind,
        waiting_for=behind,
        replicas=having,
        reembedding=(
            reembedding.progress(conn, owner, version)
            if name == "embedder" and version is not None
            else None
        ),
    )


def is_made_everywhere(conn: Conn, name: str, generation: int, version: str) -> bool:
    """Whether every live replica makes all that it has in hand by this version of a generation;
    False where there is no replica, or one was set to something else since."""
    live = [one for one in replicas(conn, name) if one.live]
    made = {one.version for one in live}
    return made == {version} and not _behind(live, generation)


def detail(conn: Conn, owner: str, name: ModelName) -> ModelDetail:
    """A model with its versions and its last changes."""
    return ModelDetail(
        **model(conn, owner, name).model_dump(),
        versions=models.versions(conn, name),
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
