"""The import runner: all imports that are being scanned, a file of each in turn."""

import threading
import time
from typing import Final

import structlog

from gateway import metrics
from gateway.catalog import imports
from gateway.catalog.imports import IMPORTS_CHANNEL
from gateway.control.scan import Means, Scan, Step
from gateway.db import Conn, wait_for_notice

_log = structlog.get_logger("gateway.imports")

_POLL_S: Final = 1.0
"""A notice of a new import that got lost costs this much at most."""

_FULL_POLL_S: Final = 0.05
"""How often outcomes are looked for while too many photos are under way."""


class ImportRunner:
    """Runs the scans; an import that was interrupted goes on where it stood."""

    def __init__(self, means: Means) -> None:
        self._means = means
        self._scans: dict[str, Scan] = {}
        self._looked_at = 0.0

    def work(self, conn: Conn, stop: threading.Event) -> None:
        """Run imports until `stop`. Raises psycopg.Error; call it again with a new connection."""
        conn.execute(f"LISTEN {IMPORTS_CHANNEL}")
        self._scans = {}
        self._looked_at = 0.0
        while not stop.is_set():
            self._take_up(conn)
            if not self.turn():
                self._rest(conn)

    def turn(self) -> bool:
        """One step of every scan; whether any of them could do something."""
        steps = {batch_id: scan.step() for batch_id, scan in self._scans.items()}
        for batch_id, step in steps.items():
            if step is Step.SEALED:
                del self._scans[batch_id]
                _log.info("import_sealed", batch=batch_id)
        metrics.IMPORT_IN_FLIGHT.set(sum(scan.under_way for scan in self._scans.values()))
        return any(step is not Step.WAITING for step in steps.values())

    def _take_up(self, conn: Conn) -> None:
        """Begin the scans of imports that were asked for since the last look."""
        if time.monotonic() - self._looked_at < _POLL_S:
            return
        self._looked_at = time.monotonic()
        for batch in imports.scanning(conn):
            if batch.batch_id not in self._scans:
                _log.info("import_taken_up", batch=batch.batch_id, found=batch.found)
                self._scans[batch.batch_id] = Scan(conn, batch, self._means)

    def _rest(self, conn: Conn) -> None:
        if self._scans:
            wait_for_notice(conn, _FULL_POLL_S)
        else:
            wait_for_notice(conn, _POLL_S)
            self._looked_at = 0.0
