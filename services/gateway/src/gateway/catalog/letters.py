"""Dead letters as the catalog knows them: which lie there, and whether something was done about
each. The topics are the truth; this follows them.

Most belong to a failure of a photo, which is where people look: those are marked in their topic
once the photo is whole or its failure was discarded. The others are shown beside the failures.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any, Final, LiteralString
from uuid import UUID

from gateway.catalog.cures import cure_of
from gateway.catalog.failure_shapes import LetterGroup
from gateway.db import Conn
from streamkit.letters import Action, Letter, Mark, Place

KEPT_DAYS: Final = 30
"""As the topics keep them."""

_MOST_GROUPS: Final = 100
_TEXT: Final = 1_000
_AT_ONCE: Final = 500


@dataclass(frozen=True, slots=True)
class Read:
    """What was read of a service's topic: letters, marks, and where to go on in each partition."""

    letters: list[Letter] = field(default_factory=list)
    marks: list[tuple[str, Mark]] = field(default_factory=list)
    offsets: dict[int, int] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Settled:
    """A letter that waits though there is nothing left to do about it."""

    service: str
    letter_id: str
    ends: tuple[Place, ...]
    action: Action
    why: str


def offsets_of(conn: Conn, service: str) -> dict[int, int]:
    """From where on the service's topic was not read yet, by partition."""
    rows = conn.execute(
        'SELECT partition, "offset" FROM dead_letter_places WHERE service = %s', (service,)
    )
    return {row["partition"]: row["offset"] for row in rows}


def record(conn: Conn, service: str, read: Read) -> None:
    """Write down what was read. One transaction; harmless if it is repeated."""
    letters = [
        {
            **{"service": service, "letter": _text(one.id), "code": _text(one.code)},
            **{"message": _text(one.message), "photo": _uuid(one.key)},
            **{"partition": one.place.partition, "offset": one.place.offset},
            "at": _moment(one.died_ms),
        }
        for one in read.letters
    ]
    marks = [
        {
            **{"service": service, "letter": _text(name), "at": _moment(mark.at_ms)},
            **{"partition": place.partition, "offset": place.offset},
        }
        for name, mark in read.marks
        for place in mark.upto
    ]
    places = [
        {"service": service, "partition": partition, "offset": offset}
        for partition, offset in read.offsets.items()
    ]
    with conn.transaction(), conn.cursor() as cursor:
        cursor.executemany(_LETTER, letters)
        cursor.executemany(_MARK, marks)
        cursor.executemany(_PLACE, places)


_LETTER: LiteralString = """
INSERT INTO dead_letters AS l
  (service, letter_id, partition, "offset", code, message, photo_id, died_at)
VALUES (%(service)s, %(letter)s, %(partition)s, %(offset)s, %(code)s, %(message)s, %(photo)s,
  %(at)s)
ON CONFLICT (service, letter_id, partition) DO UPDATE SET "offset" = excluded."offset",
  code = excluded.code, message = excluded.message, photo_id = excluded.photo_id,
  died_at = excluded.died_at
WHERE l."offset" IS NULL OR l."offset" < excluded."offset"
"""

_MARK: LiteralString = """
INSERT INTO dead_letters AS l (service, letter_id, partition, covered, died_at)
VALUES (%(service)s, %(letter)s, %(partition)s, %(offset)s, %(at)s)
ON CONFLICT (service, letter_id, partition) DO UPDATE SET
  covered = greatest(l.covered, excluded.covered)
"""

_PLACE: LiteralString = """
INSERT INTO dead_letter_places (service, partition, "offset")
VALUES (%(service)s, %(partition)s, %(offset)s)
ON CONFLICT (service, partition) DO UPDATE SET "offset" = excluded."offset"
"""


def forget(conn: Conn) -> int:
    """Forget what the topics do not keep any more; how much that was."""
    return conn.execute(
        "DELETE FROM dead_letters WHERE died_at < now() - make_interval(days => %s)", (KEPT_DAYS,)
    ).rowcount


_WAITS: LiteralString = """l."offset" > coalesce(l.covered, -1)"""

_OF_A_FAILURE: LiteralString = """
CASE WHEN l.service = 'intake'
  THEN EXISTS (SELECT FROM rejections r WHERE r.photo_id = l.photo_id)
  ELSE EXISTS (SELECT FROM analyses a JOIN stage_failures f ON f.analysis_id = a.analysis_id
    AND f.stage = l.service WHERE a.photo_id = l.photo_id) END
"""


def letter_groups(conn: Conn) -> list[LetterGroup]:
    """Letters that wait and belong to no failure of a photo, the commonest first."""
    query = (
        "SELECT l.service, l.code, count(DISTINCT l.letter_id) AS count,"  # noqa: S608  # literals
        " min(l.died_at) AS first_at, max(l.died_at) AS last_at,"
        " (array_agg(l.message ORDER BY l.died_at DESC))[1] AS reason FROM dead_letters l WHERE "
        + _WAITS
        + " AND NOT "
        + _OF_A_FAILURE
        + " GROUP BY l.service, l.code ORDER BY count DESC, l.service, l.code LIMIT %s"
    )
    return [
        LetterGroup(
            **row,
            cure=cure_of(row["code"]),
            command=f"darkroom dlq list {row['service']} --code {row['code']}",
        )
        for row in conn.execute(query, (_MOST_GROUPS,))
    ]


_SETTLED: LiteralString = (
    """
SELECT l.service, l.letter_id, jsonb_agg(jsonb_build_array(l.partition, l."offset")) AS ends,
  min(d.reason) AS discarded
FROM dead_letters l
LEFT JOIN LATERAL (SELECT x.reason FROM analyses a JOIN failure_discards x
  ON x.analysis_id = a.analysis_id AND x.stage = l.service AND x.restored_at IS NULL
  WHERE a.photo_id = l.photo_id AND x.discarded_at > l.died_at LIMIT 1) d ON true
WHERE """  # noqa: S608  # literals only
    + _WAITS
    + """ AND l.photo_id IS NOT NULL AND (d.reason IS NOT NULL OR EXISTS (
  SELECT FROM analyses a
  LEFT JOIN parts y ON y.analysis_id = a.analysis_id AND y.stage = l.service
  WHERE a.photo_id = l.photo_id
    AND CASE WHEN l.service = 'intake' THEN a.requested_at ELSE y.finished_at END > l.died_at))
GROUP BY l.service, l.letter_id LIMIT %s
"""
)


def settled(conn: Conn) -> list[Settled]:
    """Some of the letters whose photo was done since, or whose failure was laid aside."""
    return [_settled(row) for row in conn.execute(_SETTLED, (_AT_ONCE,))]


def _settled(row: Mapping[str, Any]) -> Settled:
    discarded = row["discarded"]
    return Settled(
        service=row["service"],
        letter_id=row["letter_id"],
        ends=tuple(Place(*end) for end in row["ends"]),
        action="replayed" if discarded is None else "discarded",
        why="The photo was done since." if discarded is None else discarded,
    )


def _text(text: str) -> str:
    return text.replace("\0", "")[:_TEXT]


def _uuid(text: str) -> UUID | None:
    try:
        return UUID(text)
    except ValueError:
        return None


def _moment(ms: int) -> datetime:
    return datetime.fromtimestamp(max(0, ms) / 1000, UTC)
