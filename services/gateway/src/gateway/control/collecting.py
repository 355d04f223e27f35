"""An import whose files the api door records: only its totals are told from here."""

from gateway.catalog import imports, items
from gateway.catalog.imports import Import
from gateway.control.work import Means, Step
from gateway.db import Conn


class Collecting:
    """Announces what has come, every second or so. Whoever uploads seals the import."""

    def __init__(self, conn: Conn, batch: Import, means: Means) -> None:
        self.batch = batch
        self._conn, self._outbox, self._clock = conn, means.outbox, means.clock
        self._every_s = means.pace.announce_s
        self._found = batch.found
        self._not_before = 0.0
        self._open = 0

    @property
    def under_way(self) -> int:
        """Photos that waited for their end at the last look."""
        return self._open

    @property
    def next_end_s(self) -> float:
        """It does not wait for ends."""
        return self._every_s

    def step(self, most: int) -> Step:  # noqa: ARG002 - begins nothing
        """Announce, if it is time and files have come. Raises psycopg.Error."""
        if self._clock() >= self._not_before:
            self._not_before = self._clock() + self._every_s
            found = items.next_index(self._conn, self.batch.batch_id)
            if found > self._found:
                imports.announce(self._conn, self._outbox, self.batch)
                self._found = found
            self._open = items.open_count(self._conn, self.batch.batch_id)
        return Step.IDLE

    def close(self) -> None:
        """Nothing is open."""
