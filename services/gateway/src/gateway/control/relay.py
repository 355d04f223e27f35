"""The outbox relay: publishes committed events and forgets them once they are acknowledged."""

import threading
import time
from collections.abc import Callable, Sequence
from typing import Final

import structlog

from gateway.catalog import outbox
from gateway.catalog.outbox import OUTBOX_CHANNEL, Waiting
from gateway.control import metrics
from gateway.db import Conn, wait_for_notice
from streamkit import Busy, RawRecord, RecordLines, delay_s, tracing

_log = structlog.get_logger("gateway.relay")

_ROWS: Final = 500
"""Events published at once: enough to fill the network, few enough to repeat after a crash."""

_POLL_S: Final = 1.0
"""A notice that got lost costs this much at most."""

_MEASURE_S: Final = 5.0


class Relay:
    """Moves events from the outbox to the broker, in order, at least once.

    `publish` blocks until the broker has acknowledged all records, or raises Busy, after which
    all of them are published again.
    """

    def __init__(self, publish: Callable[[Sequence[RawRecord]], None], rows: int = _ROWS) -> None:
        self._publish = publish
        self._rows = rows
        self._measured_at = 0.0
        self._lines = RecordLines()

    def work(self, conn: Conn, stop: threading.Event) -> None:
        """Relay until `stop`; waits for an absent broker. Raises psycopg.Error."""
        conn.execute(f"LISTEN {OUTBOX_CHANNEL}")
        try:
            self._relay(conn, stop)
        finally:
            metrics.OUTBOX_BACKLOG.set(0)
            metrics.OUTBOX_OLDEST.set(0)

    def _relay(self, conn: Conn, stop: threading.Event) -> None:
        failures = 0
        while not stop.is_set():
            self._measure(conn)
            try:
                moved = self.turn(conn)
                failures = 0
            except Busy as error:
                failures += 1
                _log.warning("broker_away", reason=str(error), times=failures)
                stop.wait(delay_s(failures))
                continue
            if not moved:
                wait_for_notice(conn, _POLL_S)

    def turn(self, conn: Conn) -> int:
        """Publish the first events and forget exactly them; returns how many. Raises Busy."""
        waiting = outbox.oldest(conn, self._rows)
        if waiting:
            records = [record_of(one) for one in waiting]
            self._publish(records)
            outbox.published(conn, [one.id for one in waiting])
            metrics.OUTBOX_PUBLISHED.inc(len(waiting))
            self._lines.published(records)
        return len(waiting)

    def _measure(self, conn: Conn) -> None:
        if time.monotonic() - self._measured_at < _MEASURE_S:
            return
        backlog = outbox.backlog(conn)
        metrics.OUTBOX_BACKLOG.set(backlog.rows)
        metrics.OUTBOX_OLDEST.set(backlog.oldest_s)
        self._measured_at = time.monotonic()


def record_of(waiting: Waiting) -> RawRecord:
    """The Kafka record of an event in the outbox. It carries the span of being published, a part of
    the trace of what wrote the event."""
    span = tracing.published(waiting.topic, waiting.headers.get("traceparent"))
    headers = {**waiting.headers, "traceparent": span}
    raw = [(name, text.encode()) for name, text in headers.items()]
    return RawRecord(waiting.topic, waiting.key.encode(), waiting.value, raw)
