"""Photos that are analysed again, as the files of an import."""

from collections.abc import Iterator

from gateway.catalog.again import record_again
from gateway.catalog.imports import Import
from gateway.catalog.items import Item, Place
from gateway.catalog.outbox import Outbox
from gateway.catalog.reprocess import chosen_of
from gateway.db import Conn
from gateway.origins import Problem, Seen, UnreadableError


class PhotosAgain:
    """An Origin whose paths are ids of photos, and which records them. All raise psycopg.Error."""

    def __init__(self, conn: Conn, outbox: Outbox, batch: Import) -> None:
        self._conn, self._outbox, self._batch = conn, outbox, batch

    def walk(self) -> Iterator[Seen]:
        """See Origin."""
        return (Seen(photo_id) for photo_id in chosen_of(self._conn, self._batch))

    def count(self) -> Iterator[Seen]:
        """See Origin."""
        return self.walk()

    def read(self, _path: str, _limit: int) -> bytes:
        """Never asked for: intake has the bytes."""
        raise UnreadableError(Problem("not_a_file", "It is a photo that is there already."))

    def close(self) -> None:
        """See Origin; nothing is open."""

    def record(self, index: int, seen: Seen) -> Item:
        """Begin the photo's new analysis as the import's `index`-th file."""
        place = Place(index, seen.path)
        return record_again(self._conn, self._outbox, self._batch, place, seen.path)
