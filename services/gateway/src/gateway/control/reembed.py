"""Has photos embedded again by the version of the embedder that holds, in the background."""

import threading
from time import monotonic
from typing import Final
from uuid import UUID

import structlog

from gateway.catalog import model_reports, models, reembedding
from gateway.catalog.outbox import Outbox
from gateway.db import Conn

_log = structlog.get_logger("gateway.models")

MODEL: Final = "embedder"

_POLL_S: Final = 2.0
_REST_S: Final = 600.0
"""After all photos were looked at: what comes new has the version that holds. Those whose request
was lost are found by the next round."""

_FIRST: Final = UUID(int=0)


class Reembedder:
    """Asks for photos that lack a vector by the active version, a few at a time.

    What was asked for is kept in the catalog, so that it goes on where it stood.
    """

    def __init__(self, outbox: Outbox, in_flight: int) -> None:
        self._outbox = outbox
        self._in_flight = in_flight
        self._round: tuple[int, UUID | None] = (0, None)
        self._next_at = 0.0

    def work(self, conn: Conn, stop: threading.Event) -> None:
        """Ask until `stop`. Raises psycopg.Error; call it again with a new connection."""
        self._round = (0, None)
        while not stop.is_set():
            if not self.turn(conn):
                stop.wait(_POLL_S)

    def turn(self, conn: Conn) -> int:
        """Ask for some photos; for how many."""
        active = models.current(conn, MODEL)
        if active is None or active.change == "served":
            return 0
        if not model_reports.is_made_everywhere(conn, MODEL, active.generation, active.version):
            return 0  # else another version would answer
        generation, after = self._round
        if generation != active.generation or (after is None and monotonic() >= self._next_at):
            after = _FIRST
        if after is None:
            return 0
        asked, following = reembedding.ask(
            conn, self._outbox, active.version, after, self._in_flight
        )
        self._round = (active.generation, following)
        if following is None:
            self._next_at = monotonic() + _REST_S
        if asked:
            _log.info("embedding_again", photos=asked, model_version=active.version)
        return asked
