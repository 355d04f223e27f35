"""Telling what keeps an engine from working, without filling the log."""

import time
from collections.abc import Callable
from typing import Final

import structlog

_log = structlog.get_logger("streamkit.engine")

_FIRST_S: Final = 5.0
_LONGEST_S: Final = 60.0


class Trouble:
    """A cause is told at once, and as long as it lasts after 5 s, 10 s, 20 s … up to a minute.

    Another cause begins anew. Not thread-safe.
    """

    def __init__(self, engine: str, clock: Callable[[], float] = time.monotonic) -> None:
        self._engine = engine
        self._clock = clock
        self.over()

    def over(self) -> None:
        """What comes now is new, whatever was told before."""
        self._cause, self._times = "", 0
        self._again_at, self._pause_s = 0.0, _FIRST_S

    def tell(
        self, event: str, cause: str, *, trace: str = "", fatal: bool = False, **about: object
    ) -> None:
        """Log it, if it is due; with its traceback (`trace`) only the first time."""
        if cause != self._cause:
            self.over()
            self._cause = cause
        self._times += 1
        now = self._clock()
        if self._times > 1:
            if now < self._again_at:
                return
            self._pause_s = min(_LONGEST_S, 2 * self._pause_s)
            about["times"] = self._times
        elif trace:
            about["exception"] = trace
        self._again_at = now + self._pause_s
        log = _log.error if fatal else _log.warning
        log(event, engine=self._engine, reason=cause, **about)
