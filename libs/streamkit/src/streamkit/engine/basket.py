"""Results that are sent together."""

import os
import threading
import time
from collections import deque
from collections.abc import Callable, Sequence
from time import perf_counter
from typing import Final

import structlog

from streamkit.engine.work import Result

_log = structlog.get_logger("streamkit.engine")

_LONGEST_S: Final = 0.005
"""No result waits longer for others."""

_PARKED_AFTER: Final = 20
"""After so many looks (5 ms apart) that found nothing, the thread waits to be woken. Waking it for
each result would cost more than a small handler does."""

_LOST: Final = 70
"""Exit status of an engine process that can't tell its results."""

Send = Callable[[Sequence[Result]], None]


class Basket:
    """Collects results and sends them together: once the first has waited for 5 ms, even while
    the next record's handler takes long (a thread sees to that), and when it is flushed.

    `put` and `flush` are called by one thread, `send` by that one and by the basket's own.
    """

    def __init__(self, send: Send) -> None:
        self._send = send
        self._results: deque[Result] = deque()
        self._since = 0.0
        self._sending = threading.Lock()
        self._stirred = threading.Event()
        self._parked = False
        self._closed = False
        self._broken: OSError | None = None
        self._thread = threading.Thread(target=self._watch, name="basket", daemon=True)
        self._thread.start()

    def put(self, results: Sequence[Result], now: float) -> None:
        """Send these soon; `now` is perf_counter's. Raises OSError as `flush` does."""
        if not self._results:
            self._since = now
        self._results.extend(results)
        if self._parked:
            self._stirred.set()
        if now - self._since >= _LONGEST_S:
            self.flush()

    def flush(self) -> None:
        """Send what there is. Raises OSError once `send` has."""
        with self._sending:
            if self._broken is not None:
                raise self._broken
            # Counted first, since the other thread may be putting more.
            results = [self._results.popleft() for _ in range(len(self._results))]
            if results:
                self._send(results)

    def close(self) -> None:
        """Send what there is, if it still can be sent, and end the thread."""
        self._closed = True
        self._stirred.set()
        self._thread.join()

    def _watch(self) -> None:
        empty = 0
        while not self._closed:
            if self._results and perf_counter() - self._since >= _LONGEST_S:
                self._flush_late()
            empty = 0 if self._results else empty + 1
            if empty < _PARKED_AFTER:
                time.sleep(_LONGEST_S)
            else:
                self._park()
        self._flush_late()

    def _park(self) -> None:
        self._stirred.clear()
        self._parked = True
        if not self._results and not self._closed:  # else nobody may have seen it parked
            self._stirred.wait()
        self._parked = False

    def _flush_late(self) -> None:
        try:
            self.flush()
        except OSError as error:
            self._broken = error
        except BaseException:  # noqa: BLE001 - see below
            # Results are lost, and nobody would notice: better lose the process, whose work is
            # then done again.
            _log.critical("results_lost", exc_info=True)
            os._exit(_LOST)
