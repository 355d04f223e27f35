"""Failures that are tried again.

A stage that gave up is asked alone: its part, of the revision that lacks it, makes the next
revision of the outcome. A photo that was rejected, or whose analysis is so old that nobody may
remember what it lacks, is analysed anew as a whole. What is asked of whom, and that it was asked,
is one transaction, so that a kill repeats and loses nothing.
"""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from typing import Any, Final, LiteralString
from uuid import UUID, uuid4

from psycopg.types.json import Jsonb

from darkroom_schemas import ids
from darkroom_schemas.names import PHOTO_ANALYSIS_REQUESTED
from gateway.catalog.audit import audit
from gateway.catalog.failed import FAILED, REPLAYABLE, arguments, where
from gateway.catalog.failure_shapes import ChosenFailures, Replay, ReplayPreview
from gateway.catalog.failures import how_many
from gateway.catalog.outbox import Outbox
from gateway.catalog.reprocess import AgainLane
from gateway.catalog.schedules import REPUBLISH
from gateway.catalog.submissions import Submission, begin_analysis
from gateway.db import Conn
from streamkit import Emit

MOST: Final = 10_000
"""Failures of one replay."""

SURE_DAYS: Final = 14
"""For so long the aggregator surely knows what an outcome lacks: topics keep their records so
long, and it keeps what came of them for longer; but not over the loss of a broker, after which
everything is republished."""

UNANSWERED_S: Final = 3600.0
"""After so long without a word a failure may be tried again."""

_AT_ONCE: Final = 100


def preview(conn: Conn, owner: str, chosen: ChosenFailures, most: int = MOST) -> ReplayPreview:
    """What a replay of these would do."""
    count = how_many(conn, owner, chosen, ("open",), REPLAYABLE)
    return ReplayPreview(count=min(count, most), beyond=max(0, count - most))


def begin_replay(
    conn: Conn,
    owner: str,
    chosen: ChosenFailures,
    lane: AgainLane,
    by: str,
    most: int = MOST,
) -> str:
    """Have failures tried again, those that failed first before others; returns the replay's id.

    What is being tried again, or was discarded, is left out.
    """
    replay_id = str(uuid4())
    with conn.transaction():
        seen = preview(conn, owner, chosen, most)
        stored = chosen.model_dump(mode="json", exclude_none=True)
        conn.execute(
            "INSERT INTO failure_replays (replay_id, owner, asked_by, lane, chosen, beyond)"
            " VALUES (%s, %s, %s, %s, %s, %s)",
            (replay_id, owner, by, lane, Jsonb(stored), seen.beyond),
        )
        query = FAILED + _ADD + where(chosen, ("open",)) + REPLAYABLE + _FIRST
        given = {**arguments(owner, chosen, ("open",)), "replay": replay_id, "most": most}
        count = conn.execute(query, given).rowcount
        detail = {"filter": stored, "lane": lane, "count": count}
        audit(conn, by, "failures.replayed", replay_id, detail)
    return replay_id


_ADD: LiteralString = """
INSERT INTO failure_replay_items
  (replay_id, place, analysis_id, stage, photo_id, code, message, failed_at)
SELECT %(replay)s, row_number() OVER (ORDER BY failed.failed_at, failed.failure_id),
  failed.analysis_id, failed.stage, failed.photo_id, failed.code, failed.message, failed.failed_at
FROM failed
"""

# Two who ask for the same at once: the second gets what the first left.
_FIRST: LiteralString = """
ORDER BY failed.failed_at, failed.failure_id LIMIT %(most)s
ON CONFLICT (analysis_id, stage) WHERE ended_at IS NULL DO NOTHING
"""


def stop(conn: Conn, owner: str, replay_id: UUID, by: str) -> bool:
    """Ask for no more of a replay; what is under way goes on. False if there is none."""
    with conn.transaction():
        held = conn.execute(
            "SELECT stopped_at FROM failure_replays WHERE replay_id = %s AND owner = %s FOR UPDATE",
            (replay_id, owner),
        ).fetchone()
        if held is None:
            return False
        ended = conn.execute(
            "UPDATE failure_replay_items SET ended_at = now(), result = 'stopped'"
            " WHERE replay_id = %s AND ended_at IS NULL AND sent_at IS NULL",
            (replay_id,),
        ).rowcount
        if ended:
            conn.execute(
                "UPDATE failure_replays SET stopped_at = now(), stopped_by = %s"
                " WHERE replay_id = %s",
                (by, replay_id),
            )
            audit(conn, by, "failures.replay_stopped", str(replay_id), {"count": ended})
    return True


_REPLAYS: LiteralString = """
SELECT r.replay_id::text, r.asked_by, r.lane, r.chosen AS filter, r.asked_at, r.beyond,
  CASE WHEN i.waiting + i.under_way > 0 THEN 'running' WHEN r.stopped_at IS NOT NULL
    THEN 'stopped' ELSE 'done' END AS state,
  CASE WHEN i.waiting + i.under_way = 0 THEN coalesce(i.last_at, r.asked_at) END AS ended_at, i.*
FROM failure_replays r CROSS JOIN LATERAL (
  SELECT count(*) AS total, max(ended_at) AS last_at,
    count(*) FILTER (WHERE ended_at IS NULL AND sent_at IS NULL) AS waiting,
    count(*) FILTER (WHERE ended_at IS NULL AND sent_at IS NOT NULL) AS under_way,
    count(*) FILTER (WHERE result = 'changed') AS changed,
    count(*) FILTER (WHERE result = 'failed_again') AS failed_again,
    count(*) FILTER (WHERE result = 'unanswered') AS unanswered,
    count(*) FILTER (WHERE result = 'impossible') AS impossible,
    count(*) FILTER (WHERE result = 'settled') AS settled,
    count(*) FILTER (WHERE result = 'stopped') AS stopped
  FROM failure_replay_items i WHERE i.replay_id = r.replay_id) i
WHERE r.owner = %(owner)s
"""


def replay(conn: Conn, owner: str, replay_id: UUID) -> Replay | None:
    """Where a replay stands."""
    given = {"owner": owner, "replay": replay_id}
    row = conn.execute(_REPLAYS + " AND r.replay_id = %(replay)s", given).fetchone()
    return Replay.model_validate(row) if row else None


def replays(conn: Conn, owner: str, limit: int) -> list[Replay]:
    """The newest replays, at most `limit`."""
    query = _REPLAYS + " ORDER BY r.asked_at DESC, r.replay_id LIMIT %(limit)s"
    rows = conn.execute(query, {"owner": owner, "limit": limit})
    return [Replay.model_validate(row) for row in rows]


# -- what the control door does ----------------------------------------------------------------


def settle(conn: Conn) -> int:
    """Write down what became of failures that were tried again; of how many."""
    return conn.execute(_SETTLE, {"unanswered": UNANSWERED_S}).rowcount


_SETTLE: LiteralString = """
UPDATE failure_replay_items t SET ended_at = now(), result = s.result
FROM (
  SELECT i.replay_id, i.place, CASE
    WHEN NOT i.stage = ANY(o.failed_stages) THEN 'changed'
    WHEN i.new_analysis_id IS NULL AND EXISTS (SELECT FROM stage_failures f
      WHERE f.analysis_id = i.analysis_id AND f.stage = i.stage AND f.failed_at > i.failed_at)
      THEN 'failed_again'
    WHEN i.new_analysis_id IS NOT NULL AND (o.analysis_id IS NOT NULL
      OR EXISTS (SELECT FROM rejections r WHERE r.analysis_id = i.new_analysis_id))
      THEN 'failed_again'
    WHEN i.sent_at < now() - make_interval(secs => %(unanswered)s)
      OR EXISTS (SELECT FROM analyses a
        WHERE a.analysis_id = i.new_analysis_id AND a.cancelled_at IS NOT NULL)
      THEN 'unanswered' END AS result
  FROM failure_replay_items i
  LEFT JOIN LATERAL (SELECT x.analysis_id, x.failed_stages FROM outcomes x
    WHERE x.analysis_id = coalesce(i.new_analysis_id, i.analysis_id)
    ORDER BY x.revision DESC LIMIT 1) o ON true
  WHERE i.ended_at IS NULL AND i.sent_at IS NOT NULL) s
WHERE t.replay_id = s.replay_id AND t.place = s.place AND t.ended_at IS NULL
  AND s.result IS NOT NULL
"""


def send(conn: Conn, outbox: Outbox, under_way: int) -> int:
    """Ask for some of the failures that wait for it, those of the first replay first; of how many
    that was the turn. No more than `under_way` are without an answer at a time. One transaction.
    """
    with conn.transaction():
        sent = conn.execute(
            "SELECT count(*) AS count FROM failure_replay_items"
            " WHERE ended_at IS NULL AND sent_at IS NOT NULL"
        ).fetchone()
        room = min(_AT_ONCE, under_way - (sent["count"] if sent else 0))
        items = conn.execute(_NEXT, {"room": room}).fetchall() if room > 0 else []
        if items:
            _send(conn, outbox, items)
    return len(items)


_NEXT: LiteralString = """
SELECT i.replay_id::text, i.place, i.analysis_id, i.stage, r.owner::text, r.lane
FROM failure_replay_items i JOIN failure_replays r USING (replay_id)
WHERE i.ended_at IS NULL AND i.sent_at IS NULL AND r.replay_id = (
  SELECT x.replay_id FROM failure_replays x WHERE EXISTS (SELECT FROM failure_replay_items y
    WHERE y.replay_id = x.replay_id AND y.ended_at IS NULL AND y.sent_at IS NULL)
  ORDER BY x.asked_at, x.replay_id LIMIT 1)
ORDER BY i.place LIMIT %(room)s FOR UPDATE OF i
"""


def _send(conn: Conn, outbox: Outbox, items: Sequence[Mapping[str, Any]]) -> None:
    """Ask for failures of one replay, so far as there is still something to ask for."""
    asked = items[0]
    given = {
        "owner": asked["owner"],
        "analyses": [item["analysis_id"] for item in items],
        "stages": [item["stage"] for item in items],
        "days": SURE_DAYS,
        "republish": REPUBLISH,
    }
    # Whoever submits one of these photos meanwhile waits, and sees the new analysis.
    conn.execute(_HOLD, given)
    known = {(row["analysis_id"], row["stage"]): row for row in conn.execute(_KNOWN, given)}
    rows = [known.get((item["analysis_id"], item["stage"])) for item in items]
    alone: dict[tuple[UUID, int], list[Mapping[str, Any]]] = defaultdict(list)
    for row in rows:
        if row is not None and row["alone"]:
            alone[row["analysis_id"], row["revision"]].append(row)
    anew, events = _begin_anew(conn, rows, asked)
    with conn.cursor() as cursor:
        cursor.executemany(
            _SENT,
            [
                {"replay": item["replay_id"], "place": item["place"], **_way(row, anew)}
                for item, row in zip(items, rows, strict=True)
            ],
        )
    outbox.add(conn, [*events, *(_request(stages, asked) for stages in alone.values())])


def _way(row: Mapping[str, Any] | None, anew: Mapping[str, str]) -> dict[str, str | None]:
    """How a failure is tried again, or why not; `anew` names analyses of whole photos."""
    if row is None:
        return {"new": None, "result": "settled"}
    if row["alone"]:
        return {"new": None, "result": None}
    new = anew.get(row["photo_id"])
    return {"new": new, "result": "impossible" if new is None else None}


def _begin_anew(
    conn: Conn, rows: Sequence[Mapping[str, Any] | None], asked: Mapping[str, Any]
) -> tuple[dict[str, str], list[Emit]]:
    """The analyses by which whole photos are tried again, by photo: one that is under way
    anyhow, else a new one, with the event that asks for it."""
    anew: dict[str, str] = {}
    events: list[Emit] = []
    for row in rows:
        if row is None or row["alone"] or row["photo_id"] in anew:
            continue
        if row["unfinished"] is not None:
            anew[row["photo_id"]] = row["unfinished"]
        elif row["source_uri"] is not None and row["byte_size"] is not None:
            submission = _submission(row, asked)
            anew[row["photo_id"]] = submission.analysis_id
            events.append(begin_analysis(conn, submission, row["policy"]))
    return anew, events


_HOLD: LiteralString = """
SELECT FROM photos WHERE photo_id IN (
  SELECT a.photo_id FROM analyses a WHERE a.analysis_id = ANY(%(analyses)s))
ORDER BY photo_id FOR NO KEY UPDATE
"""

_KNOWN: LiteralString = (
    FAILED  # noqa: S608  # literals only
    + """
SELECT failed.analysis_id, failed.stage, failed.revision, failed.photo_id::text, p.owner::text,
  p.sha256, p.source_uri, p.byte_size, p.media_type, p.width, p.height, p.orientation, p.frames,
  p.rendition_uri, p.rendition_width, p.rendition_height, p.thumbnail_uri, p.camera_make,
  p.camera_model, p.latitude, p.longitude, to_char(p.taken_at, 'YYYY-MM-DD"T"HH24:MI:SS')
    AS taken_at, coalesce(a.file_name, p.file_name) AS file_name, a.submission_id,
  a.policy_revision, a.submitted_at, a.requested_at, coalesce(a.intake_ms, 0) AS intake_ms,
  failed.stage <> 'intake' AND p.rendition_uri IS NOT NULL AND a.requested_at IS NOT NULL
    AND failed.decided_at > greatest(now() - make_interval(days => %(days)s),
      (SELECT max(started_at) FROM job_runs WHERE job = %(republish)s)) AS alone,
  (SELECT max(revision) FROM policies) AS policy,
  (SELECT n.analysis_id::text FROM analyses n
    WHERE n.photo_id = p.photo_id AND n.cancelled_at IS NULL
    AND NOT EXISTS (SELECT FROM outcomes o WHERE o.analysis_id = n.analysis_id)
    AND NOT EXISTS (SELECT FROM rejections r WHERE r.analysis_id = n.analysis_id)
    ORDER BY n.submitted_at DESC LIMIT 1) AS unfinished
FROM failed LEFT JOIN photos p ON p.photo_id = failed.photo_id
LEFT JOIN analyses a ON a.analysis_id = failed.analysis_id
WHERE failed.analysis_id = ANY(%(analyses)s) AND failed.stage = ANY(%(stages)s)
"""
)

_SENT: LiteralString = """
UPDATE failure_replay_items SET result = %(result)s, new_analysis_id = %(new)s,
  sent_at = CASE WHEN %(result)s::text IS NULL THEN now() END,
  ended_at = CASE WHEN %(result)s::text IS NOT NULL THEN now() END
WHERE replay_id = %(replay)s AND place = %(place)s
"""


def _submission(row: Mapping[str, Any], replayed: Mapping[str, Any]) -> Submission:
    names = ("owner", "sha256", "source_uri", "byte_size", "file_name")
    return Submission(
        **{name: row[name] for name in names},
        lane=replayed["lane"],
        submission_id=f"replay:{replayed['replay_id']}",
    )


_REQUESTED: Final = (
    *("owner", "photo_id", "revision", "policy_revision", "submission_id", "source_uri", "sha256"),
    *("byte_size", "media_type", "width", "height", "orientation", "frames", "rendition_uri"),
    *("rendition_width", "rendition_height", "thumbnail_uri", "file_name", "taken_at"),
    *("camera_make", "camera_model", "latitude", "longitude", "intake_ms", "submitted_at"),
    "requested_at",
)


def _request(rows: Sequence[Mapping[str, Any]], replayed: Mapping[str, Any]) -> Emit:
    """What asks stages that failed in an analysis, and only these, to look again."""
    row, stages = rows[0], sorted(one["stage"] for one in rows)
    analysis = str(row["analysis_id"])
    value = {
        **{name: row[name] for name in _REQUESTED},
        "analysis_id": analysis,
        "lane": replayed["lane"],
        "stages": stages,
    }
    what = f"again:{replayed['replay_id']}:{','.join(stages)}"
    name = ids.event_id(analysis, what, row["revision"])
    return Emit(PHOTO_ANALYSIS_REQUESTED[replayed["lane"]], row["photo_id"], value, name)
