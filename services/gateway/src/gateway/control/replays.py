"""Tries failures again that people asked for, a few at a time."""

import threading
from typing import Final

import structlog

from gateway.catalog import failure_replays
from gateway.catalog.outbox import Outbox
from gateway.db import Conn

_log = structlog.get_logger("gateway.replays")

UNDER_WAY: Final = 500
"""Failures that may be without an answer: as many as a lane may hold before it is warned of."""

_POLL_S: Final = 0.5


class Replayer:
    """What was asked for, and what became of it, is in the catalog: it goes on where it stood."""

    def __init__(self, outbox: Outbox, under_way: int = UNDER_WAY) -> None:
        self._outbox = outbox
        self._under_way = under_way

    def work(self, conn: Conn, stop: threading.Event) -> None:
        """Replay until `stop`. Raises psycopg.Error; call it again with a new connection."""
        while not stop.is_set():
            if not self.turn(conn):
                stop.wait(_POLL_S)

    def turn(self, conn: Conn) -> int:
        """Note what was answered and ask for some more; of how many that was the turn."""
        ended = failure_replays.settle(conn)
        sent = failure_replays.send(conn, self._outbox, self._under_way)
        if ended or sent:
            _log.info("replaying", sent=sent, ended=ended)
        return sent
