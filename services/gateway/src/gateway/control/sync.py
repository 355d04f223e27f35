"""Sync: a source is looked through, and what is new in it becomes an import.

A look changes nothing but the catalog's idea of what the source holds. An import is begun only
where something is new or changed, and has just those files, so the import runner does the rest
with its pace, its states and its report. Nothing in the source is ever written, and no photo is
deleted because its file is gone.
"""

import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import closing
from dataclasses import dataclass
from itertools import islice
from typing import Any, Final
from uuid import UUID

import structlog

from gateway.catalog import source_files, sources
from gateway.catalog.imports import begin_import
from gateway.catalog.outbox import Outbox
from gateway.catalog.schedules import SYNC
from gateway.catalog.source_files import Found, Looked
from gateway.catalog.sources import Place
from gateway.control.job_run import Job, JobContext, JobError
from gateway.control.work import Opens
from gateway.db import Conn
from gateway.origins import Origin, Seen, UnreadableError
from gateway.origins.files import shown, unshown, version_of
from streamkit import Busy, Retry

_log = structlog.get_logger("gateway.sync")

SOURCE: Final = "source_id"
"""In the location of an import: its files are those of this source that were handed in with it."""

_AT_ONCE: Final = 1_000
_NAMED: Final = 20
_SETTLE_S: Final = 10.0
"""A file that was written to more recently may not be whole: the next run looks at it again."""

_TIME_LIMIT_S: Final = 6 * 3_600.0


def sync_job(outbox: Outbox, open_origin: Opens) -> Job:
    """What the jobs of all sources run; each has the schedule of its source."""
    return Job(f"{SYNC}*", "", Sync(outbox, open_origin).run, time_limit_s=_TIME_LIMIT_S)


@dataclass(frozen=True, slots=True)
class Trouble:
    """What could not be looked at."""

    path: str
    code: str
    message: str


class Sync:
    """Looks through sources. `settle_s` and `clock` in seconds since 1970 are for files alone:
    what a store lists is whole."""

    def __init__(
        self,
        outbox: Outbox,
        open_origin: Opens,
        settle_s: float = _SETTLE_S,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._outbox, self._open_origin = outbox, open_origin
        self._settle_s, self._clock = settle_s, clock

    def run(self, conn: Conn, context: JobContext) -> Mapping[str, Any]:
        """Look through the source of the job; the report. Raises JobError where it is away."""
        place = sources.place_of(conn, context.job)
        if place is None:
            raise JobError("There is no such source any more.")
        person = context.reason == "person"
        source_files.settle(conn, place.source_id, refused_too=person)
        held = source_files.known(conn, place.source_id)
        troubles = self._look(conn, place, context)
        with conn.transaction():
            found = source_files.compare(conn, place.source_id)
            check_presence(place.root, held, found.found, troubles)
            batch_id = self._hand_in(conn, place) if found.handed_in else None
            hidden = [one.path for one in troubles if one.code != "file_missing"]
            forget = place.deletions == "forget"
            gone = source_files.part_with(conn, place.source_id, hidden, forget=forget)
        return {
            **{"found": found.found, "new": found.new, "changed": found.changed},
            **{"unchanged": found.unchanged, "unsettled": found.unsettled},
            **{"gone": gone.count, "gone_paths": list(gone.paths), "returned": found.returned},
            **{"troubles": [_told(one) for one in troubles[:_NAMED]], "batch_id": batch_id},
        }

    def _look(self, conn: Conn, place: Place, context: JobContext) -> list[Trouble]:
        """Fill the table of what is seen; what could not be looked at."""
        looked, troubles = Looked(conn), list[Trouble]()
        origin = self._open_origin(place.kind, [place.root], place.location)
        try:
            with closing(origin):
                walk = self._judged(origin.walk(), place, troubles)
                while some := list(islice(walk, _AT_ONCE)):
                    context.check()
                    looked.add(some)
        except (Busy, Retry) as error:
            raise JobError(f"{place.root} does not answer: {error}") from error
        looked.over()
        return troubles

    def _judged(
        self, walk: Iterator[Seen], place: Place, troubles: list[Trouble]
    ) -> Iterator[Found]:
        now = self._clock()
        for seen in walk:
            path, problem = shown(seen.path), seen.problem
            if problem is None:
                try:
                    version = seen.version or version_of(seen.path)
                except UnreadableError as error:
                    problem = error.problem
                else:
                    fresh = place.kind == "folder" and is_fresh(version, now, self._settle_s)
                    yield path, None if fresh else version
                    continue
            troubles.append(Trouble(path, problem.code, problem.message))

    def _hand_in(self, conn: Conn, place: Place) -> str:
        batch_id = begin_import(
            conn,
            self._outbox,
            owner=place.owner,
            lane=place.lane,
            kind=place.kind,
            roots=[place.root],
            location={**place.location, SOURCE: str(place.source_id)},
            source_id=place.source_id,
        )
        source_files.hand_in(conn, place.source_id, batch_id)
        return batch_id


def is_fresh(version: str, now: float, settle_s: float) -> bool:
    """Whether a file with this version (`size:mtime in ns`) may still be written to.

    A time in the future, be it of a clock that is a little ahead, counts alike; one far off is a
    wrong date, and not waited for.
    """
    changed_at = int(version.rpartition(":")[2]) / 1e9
    return abs(now - changed_at) < settle_s


def check_presence(root: str, held: int, found: int, troubles: list[Trouble]) -> None:
    """Raise JobError where the source seems to be away: then nothing of it counts as gone."""
    for trouble in troubles:
        if trouble.path == root:
            raise JobError(
                f"{root} can't be looked through: {trouble.message} Nothing of it counts as gone."
            )
    if held and not found:
        raise JobError(
            f"{root} is empty, and held {held} files. Is its drive mounted? Nothing of it counts"
            " as gone. If it is meant to be empty, remove the source."
        )


class HandedIn:
    """The files of a source that were handed in with one import, as an origin.

    Which they are stands in the catalog, their bytes come from the source's own origin.
    """

    def __init__(self, conn: Conn, batch_id: str, source_id: str, origin: Origin) -> None:
        self._conn, self._batch_id, self._source_id = conn, batch_id, UUID(source_id)
        self._origin = origin

    def walk(self) -> Iterator[Seen]:
        """In the order of their paths. Raises psycopg.Error."""
        for path in source_files.files_of(self._conn, self._source_id, self._batch_id):
            yield Seen(unshown(path))

    def count(self) -> Iterator[Seen]:
        """The same once more."""
        return self.walk()

    def read(self, path: str, limit: int) -> bytes:
        """A file's bytes, as the source's origin reads them."""
        return self._origin.read(path, limit)

    def close(self) -> None:
        """Close the source's origin."""
        self._origin.close()


def _told(trouble: Trouble) -> Mapping[str, str]:
    return {"path": trouble.path, "code": trouble.code, "message": trouble.message}
