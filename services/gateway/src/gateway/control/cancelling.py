"""The end of an import that was cancelled: a slice of its waiting photos a step."""

from typing import Final

from gateway.catalog import cancelling
from gateway.catalog.imports import Import
from gateway.control.work import Means, Step
from gateway.db import Conn

SLICE: Final = 500
"""Files that end in one transaction: other imports wait for it."""


class Cancelling:
    """Tells that an import's waiting photos have ended; the recorder ends the import by that."""

    def __init__(self, conn: Conn, batch: Import, means: Means, files: int = SLICE) -> None:
        self.batch = batch
        self._conn, self._outbox, self._files = conn, means.outbox, files
        self._after: int | None = None

    @property
    def under_way(self) -> int:
        """None are waited for any more."""
        return 0

    @property
    def next_end_s(self) -> float:
        """It does not wait for ends."""
        return 0.0

    def step(self, most: int) -> Step:  # noqa: ARG002 - begins nothing
        """Publish the final totals, then cancel slice by slice. Raises psycopg.Error."""
        if self._after is None:
            cancelling.tell_totals(self._conn, self._outbox, self.batch)
            self._after = cancelling.NO_INDEX
            return Step.WORKED
        done = cancelling.cancel_some(
            self._conn, self._outbox, self.batch, self._after, self._files
        )
        if done.last is not None:
            self._after = done.last
            return Step.WORKED
        cancelling.finish(self._conn, self.batch)
        return Step.SEALED

    def close(self) -> None:
        """Nothing is open."""
