"""The inbox of failures; contracts as in `read`."""

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final, LiteralString, get_args
from uuid import UUID

from gateway.catalog.cures import cure_of
from gateway.catalog.failed import FAILED, arguments, where
from gateway.catalog.failure_shapes import (
    ChosenFailures,
    Discard,
    FailedPhoto,
    FailureGroup,
    FailureItem,
    Failures,
    FailureState,
    Step,
    StepKind,
)
from gateway.catalog.letters import letter_groups
from gateway.db import Conn

INBOX: Final[tuple[FailureState, ...]] = ("open", "replaying")
STATES: Final[tuple[FailureState, ...]] = get_args(FailureState)

_EXAMPLES: Final = 4
_ORDER: Final[tuple[StepKind, ...]] = get_args(StepKind)
"""Of what happened at the same moment."""


@dataclass(frozen=True, slots=True)
class FailurePlace:
    """A place in the list of failures, the newest first."""

    failed_at: datetime
    failure_id: str


_GROUPS: LiteralString = (
    FAILED  # noqa: S608  # literals only
    + """,
ranked AS (
  SELECT failed.*, row_number() OVER (PARTITION BY failed.stage, failed.code
    ORDER BY failed.failed_at DESC, failed.failure_id DESC) AS rank
  FROM failed WHERE failed.state <> 'discarded')
SELECT r.stage, r.code, count(*) AS count, count(*) FILTER (WHERE r.state = 'replaying')
    AS replaying, min(r.failed_at) AS first_at, max(r.failed_at) AS last_at,
  (array_agg(r.message ORDER BY r.rank))[1] AS reason,
  jsonb_agg(jsonb_build_object('failure_id', r.failure_id, 'photo_id', r.photo_id,
      'file_name', coalesce(r.file_name, p.file_name),
      'thumbnail', p.thumbnail_uri IS NOT NULL) ORDER BY r.rank)
    FILTER (WHERE r.rank <= %(examples)s) AS examples
FROM ranked r LEFT JOIN photos p ON p.photo_id = r.photo_id AND r.rank <= %(examples)s
GROUP BY r.stage, r.code ORDER BY count DESC, r.stage, r.code
"""
)


def inbox(conn: Conn, owner: str, *, letters: bool) -> Failures:
    """All failures of an owner in groups; with `letters`, which are nobody's, also these."""
    known = arguments(owner, ChosenFailures(), ("discarded",))
    groups = [_group(row) for row in conn.execute(_GROUPS, known | {"examples": _EXAMPLES})]
    return Failures(
        count=sum(group.count for group in groups),
        replaying=sum(group.replaying for group in groups),
        discarded=how_many(conn, owner, ChosenFailures(), ("discarded",)),
        groups=groups,
        letters=letter_groups(conn) if letters else [],
    )


def how_many(
    conn: Conn,
    owner: str,
    chosen: ChosenFailures,
    states: Sequence[FailureState],
    further: LiteralString = "",
) -> int:
    """How many failures are meant; `further` as conditions behind `where`."""
    query = FAILED + "SELECT count(*) AS count FROM failed" + where(chosen, states) + further  # noqa: S608
    row = conn.execute(query, arguments(owner, chosen, states)).fetchone()
    return row["count"] if row else 0


def failures(
    conn: Conn,
    owner: str,
    chosen: ChosenFailures,
    states: Sequence[FailureState],
    *,
    after: FailurePlace | None,
    limit: int,
) -> tuple[list[FailureItem], FailurePlace | None]:
    """At most `limit` failures after a place, newest first, and the place to go on from."""
    query = (
        FAILED  # noqa: S608  # literals only
        + "SELECT failed.*, p.thumbnail_uri, coalesce(failed.file_name, p.file_name) AS shown_name"
        " FROM failed LEFT JOIN photos p ON p.photo_id = failed.photo_id" + where(chosen, states)
    )
    if after is not None:
        query += " AND (failed.failed_at, failed.failure_id) < (%(at)s, %(id)s)"
    query += " ORDER BY failed.failed_at DESC, failed.failure_id DESC LIMIT %(limit)s"
    given = {
        **arguments(owner, chosen, states),
        "at": after and after.failed_at,
        "id": after and after.failure_id,
        "limit": limit + 1,
    }
    rows = conn.execute(query, given).fetchall()
    here = rows[:limit]
    following = None
    if len(rows) > limit:
        following = FailurePlace(here[-1]["failed_at"], here[-1]["failure_id"])
    steps = _steps(conn, [row["analysis_id"] for row in here])
    return [_item(row, steps) for row in here], following


def _group(row: Mapping[str, Any]) -> FailureGroup:
    examples = [
        FailedPhoto(**{**one, "thumbnail": _thumbnail(one["photo_id"], one["thumbnail"])})
        for one in row["examples"]
    ]
    return FailureGroup(
        **{**row, "examples": examples},
        cure=cure_of(row["code"], row["stage"]),
        replayable=row["stage"] != "import",
    )


def _thumbnail(photo_id: UUID | str, there: object) -> str | None:
    return f"/v1/photos/{photo_id}/thumbnail" if there else None


def _item(row: Mapping[str, Any], steps: Mapping[tuple[UUID, str], list[Step]]) -> FailureItem:
    discard = None
    if row["state"] == "discarded":
        discard = Discard(
            reason=row["discard_reason"], by=row["discarded_by"], at=row["discarded_at"]
        )
    names = ("failure_id", "stage", "code", "attempts", "failed_at", "state")
    analysis = row["analysis_id"]
    timeline = [*steps.get((analysis, ""), ()), *steps.get((analysis, row["stage"]), ())]
    if row["photo_id"] is None:
        told = f"{row['code']}: {row['message']}"
        timeline.append(Step(at=row["failed_at"], what="failed", detail=told))
    return FailureItem(
        **{name: row[name] for name in names},
        photo_id=row["photo_id"] and str(row["photo_id"]),
        analysis_id=row["photo_id"] and str(analysis),
        file_name=row["shown_name"],
        reason=row["message"],
        cure=cure_of(row["code"], row["stage"]),
        discard=discard,
        thumbnail=_thumbnail(row["photo_id"], row["thumbnail_uri"]),
        timeline=sorted(timeline, key=lambda step: (step.at, _ORDER.index(step.what))),
    )


# Of a failure that was tried again and failed again, the replay knows how it was before.
_STEPS: LiteralString = """
SELECT analysis_id, '' AS stage, submitted_at AS at, 'submitted' AS what, lane AS detail,
  NULL AS by FROM analyses WHERE analysis_id = ANY(%(ids)s)
UNION ALL
SELECT analysis_id, '', requested_at, 'prepared', NULL, NULL FROM analyses
WHERE analysis_id = ANY(%(ids)s) AND requested_at IS NOT NULL
UNION ALL
SELECT analysis_id, '', decided_at, 'decided', 'revision ' || revision || ': ' || outcome
  || CASE WHEN partial THEN ', without ' || array_to_string(failed_stages, ', ') ELSE '' END, NULL
FROM outcomes WHERE analysis_id = ANY(%(ids)s)
UNION ALL
SELECT analysis_id, stage, failed_at, 'failed', code || ': ' || message, NULL
FROM stage_failures WHERE analysis_id = ANY(%(ids)s)
UNION ALL
SELECT analysis_id, 'intake', rejected_at, 'failed', code || ': ' || message, NULL
FROM rejections WHERE analysis_id = ANY(%(ids)s)
UNION
SELECT analysis_id, stage, failed_at, 'failed', code || ': ' || message, NULL
FROM failure_replay_items WHERE analysis_id = ANY(%(ids)s)
UNION ALL
SELECT i.analysis_id, i.stage, r.asked_at, 'replay_asked', NULL, r.asked_by
FROM failure_replay_items i JOIN failure_replays r USING (replay_id)
WHERE i.analysis_id = ANY(%(ids)s)
UNION ALL
SELECT analysis_id, stage, sent_at, 'replayed',
  CASE WHEN new_analysis_id IS NULL THEN 'by ' || stage || ' alone' ELSE 'as a whole' END, NULL
FROM failure_replay_items WHERE analysis_id = ANY(%(ids)s) AND sent_at IS NOT NULL
UNION ALL
SELECT analysis_id, stage, ended_at, 'replay_ended', replace(result, '_', ' '), NULL
FROM failure_replay_items WHERE analysis_id = ANY(%(ids)s) AND ended_at IS NOT NULL
UNION ALL
SELECT analysis_id, stage, discarded_at, 'discarded', reason, discarded_by
FROM failure_discards WHERE analysis_id = ANY(%(ids)s)
UNION ALL
SELECT analysis_id, stage, restored_at, 'restored', NULL, restored_by
FROM failure_discards WHERE analysis_id = ANY(%(ids)s) AND restored_at IS NOT NULL
"""


def _steps(conn: Conn, analyses: Iterable[UUID]) -> dict[tuple[UUID, str], list[Step]]:
    """What happened to analyses, by stage; "" is of all stages."""
    found: dict[tuple[UUID, str], list[Step]] = defaultdict(list)
    for row in conn.execute(_STEPS, {"ids": list(set(analyses))}):
        step = Step(at=row["at"], what=row["what"], detail=row["detail"], by=row["by"])
        found[row["analysis_id"], row["stage"]].append(step)
    return found
