"""What a source held when it was last looked through, and what of it is new.

A run fills a temporary table of its connection with what it sees (`Looked`), then one transaction
compares, begins an import and writes down its files: rows with an import's id are its list. A row
stands for a file that Darkroom has (`photo_id`), or that an import was given to record; once that
import is over, rows of files that it did not take are dropped, so that the next run hands them in
again. A file that is seen twice is a duplicate; none is lost.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Final
from uuid import UUID, uuid4

from gateway.catalog.imports import FINAL
from gateway.db import Conn

_PAGE: Final = 500
_NAMED: Final = 20
"""Paths that a report names."""

Found = tuple[str, str | None]
"""A file's path as it is shown, and its version; None: it is there, but not to be taken now."""


@dataclass(frozen=True, slots=True)
class Difference:
    """Files by how they compare with the last time; `returned` were gone and are there again."""

    found: int
    new: int
    changed: int
    unchanged: int
    unsettled: int
    returned: int

    @property
    def handed_in(self) -> int:
        """Files for an import."""
        return self.new + self.changed


@dataclass(frozen=True, slots=True)
class Gone:
    """Files that are not there any more: how many, and the first few."""

    count: int
    paths: Sequence[str]


class Looked:
    """What a run has seen so far, in a temporary table of its connection."""

    def __init__(self, conn: Conn) -> None:
        self._conn = conn
        conn.execute(_LOOKED)

    def add(self, files: Sequence[Found]) -> None:
        """Files, each path once in a run."""
        with (
            self._conn.cursor() as cursor,
            cursor.copy("COPY looked (path, version) FROM STDIN") as copy,
        ):
            for file in files:
                copy.write_row(file)

    def over(self) -> None:
        """All is added; needed for quick comparisons."""
        self._conn.execute("ANALYZE looked")


def settle(conn: Conn, source_id: UUID, *, refused_too: bool) -> None:
    """Learn what became of files whose import is over.

    Dropped, so that they are handed in again: those that were not recorded or whose analysis was
    cancelled, those that were missing, and those that could not be read once a day has gone by,
    or at once if `refused_too`.
    """
    values = {"source": source_id, "final": list(FINAL), "refused_too": refused_too}
    with conn.transaction():
        conn.execute(_SETTLE, values)
        conn.execute(_DROP, values)


def known(conn: Conn, source_id: UUID) -> int:
    """How many files the source held, those that are gone not among them."""
    row = conn.execute(
        "SELECT count(*) AS files FROM source_files WHERE source_id = %s AND gone_at IS NULL",
        (source_id,),
    ).fetchone()
    return int(row["files"]) if row else 0


def compare(conn: Conn, source_id: UUID) -> Difference:
    """What was seen, compared with what the source held."""
    row = conn.execute(_COMPARE, {"source": source_id}).fetchone()
    return Difference(**row) if row else Difference(0, 0, 0, 0, 0, 0)


def hand_in(conn: Conn, source_id: UUID, batch_id: str) -> None:
    """Write down the new and changed files that were seen as those of an import."""
    conn.execute(_HAND_IN, {"source": source_id, "batch": batch_id})


def part_with(conn: Conn, source_id: UUID, hidden: Sequence[str], *, forget: bool) -> Gone:
    """Mark files that were not seen as gone, or forget them; and those that are there again.

    What could not be looked at (`hidden`, files and folders) may be there with all below it.
    """
    values: dict[str, Any] = {"source": source_id, "hidden": list(hidden)}
    conn.execute(_RETURN, values)
    rows = conn.execute(_FORGET if forget else _MARK_GONE, values).fetchall()
    return Gone(len(rows), sorted(row["path"] for row in rows)[:_NAMED])


def files_of(conn: Conn, source_id: UUID, batch_id: str) -> Iterator[str]:
    """The paths of an import's list, in their order; as of now, by a cursor of the connection."""
    name = f"files_{uuid4().hex}"
    with conn.cursor(name, withhold=True) as cursor:
        cursor.itersize = _PAGE
        cursor.execute(
            "SELECT path FROM source_files WHERE source_id = %s AND batch_id = %s"
            ' ORDER BY path COLLATE "C"',
            (source_id, batch_id),
        )
        for row in cursor:
            yield row["path"]


_LOOKED: Final = """
CREATE TEMPORARY TABLE IF NOT EXISTS looked (
  path text NOT NULL, version text, path_hash text GENERATED ALWAYS AS (md5(path)) STORED);
TRUNCATE looked
"""

_SETTLE: Final = """
UPDATE source_files f SET photo_id = i.photo_id
FROM batches b, batch_items i
WHERE f.source_id = %(source)s AND f.photo_id IS NULL
  AND b.batch_id = f.batch_id AND b.state = ANY(%(final)s)
  AND i.batch_id = f.batch_id AND md5(i.path) = f.path_hash
  AND i.photo_id IS NOT NULL
  -- Ends may be recorded after the import's: of a cancelled one, none yet counts as cancelled.
  AND (i.state <> 'submitted' OR coalesce(i.ended, b.state) <> 'cancelled')
"""

_DROP: Final = """
DELETE FROM source_files f USING batches b
WHERE f.source_id = %(source)s AND f.photo_id IS NULL
  AND b.batch_id = f.batch_id AND b.state = ANY(%(final)s)
  AND NOT EXISTS (SELECT FROM batch_items i
    WHERE i.batch_id = f.batch_id AND md5(i.path) = f.path_hash AND i.state = 'refused'
      AND i.code <> 'file_missing'
      AND NOT (i.code IN ('file_forbidden', 'file_unreadable')
        AND (%(refused_too)s OR f.seen_at < now() - interval '1 day')))
"""

_COMPARE: Final = """
SELECT count(*) AS found,
  count(*) FILTER (WHERE l.version IS NOT NULL AND f.version IS NULL) AS new,
  count(*) FILTER (WHERE f.version <> l.version) AS changed,
  count(*) FILTER (WHERE f.version = l.version) AS unchanged,
  count(*) FILTER (WHERE l.version IS NULL) AS unsettled,
  count(*) FILTER (WHERE f.gone_at IS NOT NULL) AS returned
FROM looked l LEFT JOIN source_files f
  ON f.source_id = %(source)s AND f.path_hash = l.path_hash
"""

_HAND_IN: Final = """
INSERT INTO source_files (source_id, path_hash, path, version, batch_id, seen_at)
SELECT %(source)s, l.path_hash, l.path, l.version, %(batch)s, now()
FROM looked l LEFT JOIN source_files f
  ON f.source_id = %(source)s AND f.path_hash = l.path_hash
WHERE l.version IS NOT NULL AND f.version IS DISTINCT FROM l.version
ON CONFLICT (source_id, path_hash) DO UPDATE SET version = excluded.version,
  batch_id = excluded.batch_id, photo_id = NULL, seen_at = excluded.seen_at
"""

_RETURN: Final = """
UPDATE source_files f SET gone_at = NULL FROM looked l
WHERE f.source_id = %(source)s AND f.gone_at IS NOT NULL AND f.path_hash = l.path_hash
"""

_MARK_GONE: Final = """
UPDATE source_files f SET gone_at = now() WHERE f.source_id = %(source)s AND f.gone_at IS NULL
  AND NOT EXISTS (SELECT FROM looked l WHERE l.path_hash = f.path_hash)
  AND NOT EXISTS (SELECT FROM unnest(%(hidden)s::text[]) AS h
    WHERE f.path = h OR starts_with(f.path, h || '/'))
RETURNING f.path
"""

_FORGET: Final = """
DELETE FROM source_files f WHERE f.source_id = %(source)s
  AND NOT EXISTS (SELECT FROM looked l WHERE l.path_hash = f.path_hash)
  AND NOT EXISTS (SELECT FROM unnest(%(hidden)s::text[]) AS h
    WHERE f.path = h OR starts_with(f.path, h || '/'))
RETURNING f.path
"""
