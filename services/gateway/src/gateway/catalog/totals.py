"""How much the catalog has of everything, of the whole installation: for metrics."""

from collections.abc import Mapping, Sequence
from typing import Final, LiteralString

from gateway.catalog.model_reports import LIVE_S
from gateway.catalog.operations import SERVICES
from gateway.db import Conn

Totals = Mapping[str, Mapping[tuple[str, ...], float]]
"""By metric: label values to a number."""

OUTCOMES: Final = ("auto_labeled", "suggested", "review", "rejected")
ANSWERS: Final = ("confirm", "correct", "none", "skip")
WAITS: Final = ("review", "suggested", "audit")
TRAINING_STATES: Final = (
    *("requested", "skipped", "merged", "prepared", "running", "published", "candidate"),
    *("not_enough", "failed", "cancelled", "timed_out"),
)
IMPORT_STATES: Final = (
    *("scanning", "paused", "running", "cancelling"),
    *("completed", "completed_with_failures", "cancelled"),
)

_ALWAYS: Final[Mapping[str, Sequence[str]]] = {
    "darkroom_photos": OUTCOMES,
    "darkroom_review_answers": ANSWERS,
    "darkroom_reviews_waiting": WAITS,
    "darkroom_imports": IMPORT_STATES,
    "darkroom_trainings": TRAINING_STATES,
    "darkroom_dead_letters_waiting": SERVICES,
}
"""What is told of although there is none: a line that begins at 0 is not a gap."""


def totals(conn: Conn) -> Totals:
    """All of it. Reads every row of `reviews` and of `review_answers`: a tenth of a second for a
    million photos."""
    with conn.transaction():
        found = {name: _counted(conn, query) for name, query in _QUERIES.items()}
    for name, values in _ALWAYS.items():
        found[name] = {(value,): 0.0 for value in values} | found[name]
    return found


def _counted(conn: Conn, query: LiteralString) -> dict[tuple[str, ...], float]:
    rows = conn.execute(query, {"live_s": LIVE_S})
    found: dict[tuple[str, ...], float] = {}
    for row in rows:
        *labels, value = row.values()
        found[tuple(map(str, labels))] = float(value)
    return found


_QUERIES: Final[Mapping[str, LiteralString]] = {
    "darkroom_photos": """
        SELECT outcome, count(*) AS photos FROM reviews GROUP BY outcome
        UNION ALL
        SELECT 'rejected', count(DISTINCT r.photo_id) FROM rejections r
        WHERE NOT EXISTS (SELECT FROM reviews v WHERE v.photo_id = r.photo_id)
        """,
    "darkroom_imports": "SELECT state, count(*) AS imports FROM batches GROUP BY state",
    "darkroom_reviews_waiting": """
        SELECT CASE WHEN audit THEN 'audit' ELSE outcome END AS why, count(*) AS photos
        FROM reviews WHERE waiting GROUP BY 1
        """,
    "darkroom_reviews_oldest_seconds": """
        SELECT coalesce(extract(epoch FROM now() - min(decided_at)), 0)::float8 AS seconds
        FROM reviews WHERE waiting AND NOT audit AND outcome = 'review'
        """,
    "darkroom_review_answers": """
        SELECT answer, count(*) AS answers FROM review_answers WHERE undone_at IS NULL
        GROUP BY answer
        """,
    "darkroom_trainings": "SELECT state, count(*) AS trainings FROM trainings GROUP BY state",
    "darkroom_model_replicas": """
        SELECT name, state, count(*) AS replicas FROM model_replicas
        WHERE state <> 'gone' AND seen_at > now() - make_interval(secs => %(live_s)s)
        GROUP BY name, state
        """,
    "darkroom_heads_failed": """
        SELECT count(DISTINCT head) AS heads
        FROM model_replicas, jsonb_object_keys(heads_failed) AS head
        WHERE state <> 'gone' AND seen_at > now() - make_interval(secs => %(live_s)s)
        """,
    "darkroom_dead_letters_waiting": """
        SELECT service, count(*) AS letters FROM dead_letters
        WHERE "offset" > coalesce(covered, -1) GROUP BY service
        """,
    "darkroom_catalog_bytes": "SELECT pg_database_size(current_database()) AS bytes",
}
