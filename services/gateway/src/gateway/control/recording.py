"""Files of an import become items: their bytes are read, known or stored, and recorded."""

from collections.abc import Sequence
from hashlib import sha256
from typing import Final, NamedTuple

import psycopg
import structlog
from psycopg.errors import ProgramLimitExceeded

from darkroom_schemas import ids
from gateway.catalog import items
from gateway.catalog.imports import Import
from gateway.catalog.items import Item, NotStoredError, Place
from gateway.control.work import Means
from gateway.db import Conn
from gateway.originals import Original, store_original
from gateway.origins import Origin, Problem, Seen, UnreadableError
from gateway.origins.files import shortened, shown

_log = structlog.get_logger("gateway.imports")

_UNSTORABLE = Problem("path_unstorable", "The catalog can't hold this file under its path.")

_BYTES_AT_ONCE: Final = 16_000_000
"""Files are read until they are so many: all of them lie in memory until they are stored."""


class _Read(NamedTuple):
    """A file that was read, and the photo that it is."""

    place: Place
    data: bytes
    sha256: str
    photo_id: str


class Recording:
    """Records the files of one import. Blocks while files are read and stored.

    Raises Busy and Retry where an origin or the object store is away, NotScanningError where the
    import takes no files any more, psycopg.Error; nothing is written then.
    """

    def __init__(self, conn: Conn, batch: Import, means: Means, origin: Origin) -> None:
        self._conn, self._batch, self._origin = conn, batch, origin
        self._outbox, self._store, self._limit = means.outbox, means.store, means.pace.limit

    def record(self, index: int, some: Sequence[Seen]) -> Sequence[Item]:
        """The first of these files, at least one, are the import's from `index` on.

        They are recorded in one transaction; those that are refused one by one.
        """
        files, problem = self._read(index, some)
        if not files and problem is not None:
            return [self._refused(Place(index, shown(some[0].path)), problem)]
        try:
            return self._recorded(files)
        except (psycopg.DataError, psycopg.IntegrityError, ProgramLimitExceeded) as error:
            # The database is there and refuses one of the rows: no reason to stop the others.
            if len(files) > 1:
                return self.record(index, some[:1])
            _log.warning("path_unstorable", batch_id=self._batch.batch_id, reason=str(error))
            return [self._refuse(Place(index, shortened(files[0].place.path)), _UNSTORABLE)]

    def _read(self, index: int, some: Sequence[Seen]) -> tuple[list[_Read], Problem | None]:
        """The first files, up to one that can't be read, and why it can't."""
        files: list[_Read] = []
        size = 0
        for number, seen in enumerate(some, index):
            if seen.problem is not None:
                return files, seen.problem
            try:
                data = self._origin.read(seen.path, self._limit)
            except UnreadableError as error:
                return files, error.problem
            digest = sha256(data).hexdigest()
            photo_id = ids.photo_id(self._batch.owner, digest)
            files.append(_Read(Place(number, shown(seen.path)), data, digest, photo_id))
            size += len(data)
            if size >= _BYTES_AT_ONCE:
                break
        return files, None

    def _recorded(self, files: Sequence[_Read]) -> Sequence[Item]:
        """Store what is not known, and record all."""
        known = items.known_photos(self._conn, self._batch, [one.photo_id for one in files])
        try:
            return self._stored(files, known)
        except NotStoredError:
            return self._stored(files, set())

    def _stored(self, files: Sequence[_Read], known: set[str]) -> Sequence[Item]:
        originals = [
            Original(one.sha256, "", len(one.data))
            if one.photo_id in known
            else store_original(self._store, one.data)
            for one in files
        ]
        places = [one.place for one in files]
        return items.record_photos(
            self._conn, self._outbox, self._batch, list(zip(places, originals, strict=True))
        )

    def _refused(self, place: Place, problem: Problem) -> Item:
        """Refuse a file that can't be read, under a stand-in where its path can't be kept."""
        try:
            return self._refuse(place, problem)
        except (psycopg.DataError, psycopg.IntegrityError, ProgramLimitExceeded) as error:
            _log.warning("path_unstorable", batch_id=self._batch.batch_id, reason=str(error))
            return self._refuse(Place(place.index, shortened(place.path)), _UNSTORABLE)

    def _refuse(self, place: Place, problem: Problem) -> Item:
        return items.record_refusal(self._conn, self._batch, place, problem.code, problem.message)
