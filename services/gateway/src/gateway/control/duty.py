"""Work that one of all replicas does, on the connection that proves that it may."""

import threading
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

import psycopg
import structlog

from gateway.control.metrics import LEADING
from gateway.db import Conn, away
from streamkit import delay_s

_log = structlog.get_logger("gateway.duty")

_STANDBY_POLL_S: Final = 1.0


@dataclass(slots=True)
class Duty:
    """A piece of work with one leader among all replicas.

    The leader holds a session advisory lock on the connection with which it works, so a leader
    that lost the lock can't write any more: its connection is gone. `connect` must give a
    connection straight to the server (no transaction pooler in between); `work` gets it, runs
    until the event is set, and raises psycopg errors as they come.
    """

    name: str
    lock: int
    connect: Callable[[], Conn]
    work: Callable[[Conn, threading.Event], None]
    connected: bool = False

    def run(self, stop: threading.Event) -> None:
        """Do the work whenever this replica leads, until `stop`; blocks.

        A database that is away is waited for; any other error is raised.
        """
        self._failures = 0
        # Said from the start: if the leader goes, others do not lead, and alerts see that.
        LEADING.labels(self.name).set(0)
        while not stop.is_set():
            try:
                self._serve(stop)
            except psycopg.Error as error:
                if not away(error):
                    raise
                self._failures += 1
                _log.warning("catalog_away", duty=self.name, reason=str(error).strip())
                stop.wait(delay_s(self._failures))
            finally:
                self.connected = False
                LEADING.labels(self.name).set(0)

    _failures: int = 0

    def _serve(self, stop: threading.Event) -> None:
        with self.connect() as conn:
            self.connected = True
            self._failures = 0
            if self._lead(conn, stop):
                _log.info("leading", duty=self.name)
                LEADING.labels(self.name).set(1)
                self.work(conn, stop)

    def _lead(self, conn: Conn, stop: threading.Event) -> bool:
        """Wait for the lock; False if `stop` came first."""
        while not stop.is_set():
            row = conn.execute("SELECT pg_try_advisory_lock(%s) AS ours", (self.lock,)).fetchone()
            if row is not None and row["ours"]:
                return True
            stop.wait(_STANDBY_POLL_S)
        return False
