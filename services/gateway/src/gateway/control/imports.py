"""The import runner: all imports that take files or are being cancelled, a step of each in turn."""

import threading
import time
from collections.abc import Mapping
from typing import Final

import structlog

from gateway.catalog import imports
from gateway.catalog.import_commands import end_pauses
from gateway.catalog.imports import IMPORTS_CHANNEL, Import
from gateway.control import metrics
from gateway.control.again import PhotosAgain
from gateway.control.cancelling import Cancelling
from gateway.control.collecting import Collecting
from gateway.control.recording import Recording
from gateway.control.scan import Scan
from gateway.control.sync import SOURCE, HandedIn
from gateway.control.work import Means, Step, Work
from gateway.db import Conn, wait_for_notice
from gateway.pacing import share

_log = structlog.get_logger("gateway.imports")

_POLL_S: Final = 1.0
"""A notice of a new import that got lost costs this much at most."""

_FULL_POLL_S: Final = (0.05, 0.25)
"""How often, at least and at most, ends are looked for while too many photos are under way."""


def work_of(conn: Conn, batch: Import, means: Means) -> Work:
    """What is to be done for an import, from where it stands."""
    if batch.state == "cancelling":
        return Cancelling(conn, batch, means)
    if batch.kind == "upload":
        return Collecting(conn, batch, means)
    if batch.kind == "reprocess":
        again = PhotosAgain(conn, means.outbox, batch)
        return Scan(conn, batch, means, again, lambda index, some: [again.record(index, some[0])])
    origin = means.open_origin(batch.kind, batch.roots, batch.location)
    if SOURCE in batch.location:
        origin = HandedIn(conn, batch.batch_id, batch.location[SOURCE], origin)
    return Scan(conn, batch, means, origin, Recording(conn, batch, means, origin).record)


class ImportRunner:
    """Runs the imports; one that was interrupted goes on where it stood."""

    def __init__(self, means: Means) -> None:
        self._means = means
        self._works: dict[str, Work] = {}
        self._looked_at = 0.0

    def work(self, conn: Conn, stop: threading.Event) -> None:
        """Run imports until `stop`. Raises psycopg.Error; call it again with a new connection."""
        conn.execute(f"LISTEN {IMPORTS_CHANNEL}")
        self._looked_at = 0.0
        try:
            while not stop.is_set():
                if time.monotonic() - self._looked_at >= _POLL_S:
                    self.look(conn)
                self._rest(conn, self.turn())
        finally:
            for work in self._works.values():
                work.close()
            self._works = {}
            metrics.IMPORT_IN_FLIGHT.set(0)

    def turn(self) -> set[Step]:
        """One step of all works; what they came to."""
        most = share(self._means.pace.in_flight, len(self._works))
        steps = {batch_id: work.step(most) for batch_id, work in self._works.items()}
        for batch_id, step in steps.items():
            if step in (Step.SEALED, Step.STOPPED):
                self._give_up(batch_id, step.name.lower())
        metrics.IMPORT_IN_FLIGHT.set(sum(work.under_way for work in self._works.values()))
        return set(steps.values())

    def look(self, conn: Conn) -> None:
        """Take up what was asked for since the last look, and give up what is stopped."""
        self._looked_at = time.monotonic()
        end_pauses(conn)
        wanted = {batch.batch_id: batch for batch in imports.open_imports(conn)}
        for batch_id, work in list(self._works.items()):
            if batch_id not in wanted or wanted[batch_id].state != work.batch.state:
                self._give_up(batch_id, "stopped")
        for batch in wanted.values():
            if batch.batch_id not in self._works:
                _log.info("import_taken_up", **_about(batch), found=batch.found)
                self._works[batch.batch_id] = work_of(conn, batch, self._means)

    def _give_up(self, batch_id: str, why: str) -> None:
        work = self._works.pop(batch_id)
        work.close()
        _log.info(f"import_{why}", **_about(work.batch))

    def _rest(self, conn: Conn, steps: set[Step]) -> None:
        if steps & {Step.WORKED, Step.SEALED, Step.STOPPED}:
            return
        seconds = self._next_look_s() if Step.WAITING in steps else _POLL_S
        if wait_for_notice(conn, seconds) or not steps:
            self._looked_at = 0.0

    def _next_look_s(self) -> float:
        """No sooner than something may have changed: each look is a query."""
        least, most = _FULL_POLL_S
        return max(least, min(most, *(work.next_end_s for work in self._works.values())))


def _about(batch: Import) -> Mapping[str, str]:
    return {"batch": batch.batch_id, "kind": batch.kind, "state": batch.state}
