"""Fits what is let in to how busy the workers are, every other second."""

import threading
import time
from collections.abc import Mapping, Sequence
from math import nan
from typing import Final

import structlog

from gateway.adapting import WHOLE, Adapting, Marks, Measure, Usage
from gateway.catalog import shares
from gateway.control import metrics
from gateway.db import Conn

_log = structlog.get_logger("gateway.shares")

EVERY_S: Final = 2.0


class AdmissionShares:
    """Writes what is let in of each lane into the catalog, whence all replicas of the api door read
    it. `lanes` from the lowest to the highest; `marks` None: it is what the limits say, always."""

    def __init__(self, lanes: Sequence[str], marks: Marks | None) -> None:
        self._lanes, self._marks = lanes, marks
        self._adapting = Adapting(lanes, marks or Marks())
        self._known: Mapping[str, Measure] = {}

    def work(self, conn: Conn, stop: threading.Event) -> None:
        """Look until `stop`. Raises psycopg.Error."""
        self.begin(conn)
        try:
            while not stop.is_set():
                self.turn(conn, time.monotonic())
                stop.wait(EVERY_S)
        finally:
            metrics.WORKERS_USAGE.clear()
            metrics.ADMISSION_SHARE.clear()

    def begin(self, conn: Conn) -> None:
        """Go on where whoever did this before has ended."""
        self._known = shares.measures(conn)
        self._adapting = Adapting(self._lanes, self._marks or Marks())
        self._adapting.restore(self._known)

    def turn(self, conn: Conn, now: float) -> Mapping[str, Measure]:
        """One look at monotonic second `now`."""
        usage = shares.usage(conn)
        if self._marks is None:
            found: Mapping[str, Measure] = dict.fromkeys(self._lanes, Measure(WHOLE, None))
        else:
            found = self._adapting.saw(now, usage, shares.high_p95_s(conn))
        shares.record(conn, found)
        for lane, one in found.items():
            if lane in self._known and self._known[lane].share != one.share:
                _log.info("share_changed", lane=lane, share=one.share, cause=one.cause)
        self._known = found
        _show(usage, shares.shares(conn, ""))
        return found


def _show(usage: Usage | None, holding: list[shares.Share]) -> None:
    cpu, memory = usage or (nan, nan)
    metrics.WORKERS_USAGE.labels("cpu").set(cpu)
    metrics.WORKERS_USAGE.labels("memory").set(memory)
    for share in holding:
        metrics.ADMISSION_SHARE.labels(share.lane).set(share.share)
