"""What to do when the worker's loop stands still: say where, then have the process replaced."""

import faulthandler
import signal
import sys
import threading
import traceback
from collections.abc import Callable, Mapping, Sequence
from typing import Final, Self

import structlog

from streamkit.clock import Clock, SystemClock

_log = structlog.get_logger("streamkit.watchdog")

STALL_S: Final = 10.0
"""A loop that has not turned for so long gets its stacks dumped, once."""

DEAD_S: Final = 60.0
"""A loop that has not turned for so long is given up: /livez says so."""

_LOOK_S: Final = 1.0
_MOST_FRAMES: Final = 50


def dump_on_signal() -> None:
    """From now on a crash (a segmentation fault, …) and SIGUSR1 write all stacks to standard
    error; SIGUSR1 does so even while the interpreter is stuck in foreign code."""
    if sys.__stderr__ is not None:
        faulthandler.enable(file=sys.__stderr__, all_threads=True)
        faulthandler.register(signal.SIGUSR1, file=sys.__stderr__, all_threads=True)


def dump_stacks(event: str, **fields: object) -> None:
    """Write all threads' stacks to standard error, then as a log line `event` with `fields`.

    In this order: the log itself may be what everybody waits for (a full pipe).
    """
    if sys.__stderr__ is not None:
        faulthandler.dump_traceback(file=sys.__stderr__, all_threads=True)
    _log.error(event, stacks=stacks(), **fields)


def stacks() -> Mapping[str, Sequence[str]]:
    """The stack of each thread by its name, outermost call first."""
    names = {thread.ident: thread.name for thread in threading.enumerate()}
    return {
        f"{names.get(ident, 'foreign')}-{ident}": [
            f"{frame.filename}:{frame.lineno} {frame.name}"
            for frame in traceback.extract_stack(top)[-_MOST_FRAMES:]
        ]
        for ident, top in sys._current_frames().items()
    }


def _nothing() -> None:
    """Tell nobody."""


class Watchdog:
    """Watches a loop that says `beat` at each turn, from a thread of its own.

    Once the loop has stood still for `stall_s`, `stalled` is called (a metric) and all stacks are
    dumped; again only after it has turned. After `dead_s`, `trouble` says so. A context manager,
    to be entered once: outside of it nothing is watched.
    """

    def __init__(
        self,
        *,
        stall_s: float = STALL_S,
        dead_s: float = DEAD_S,
        stalled: Callable[[], None] = _nothing,
        clock: Clock | None = None,
    ) -> None:
        self._stall_s = stall_s
        self._dead_s = dead_s
        self._stalled = stalled
        self._monotonic = (clock or SystemClock()).monotonic
        self._beat = self._looked = self._monotonic()
        self._dumped_for: float | None = None
        self._end = threading.Event()
        self._thread = threading.Thread(target=self._run, name="watchdog", daemon=True)
        self._watching = False

    def beat(self) -> None:
        """The loop has turned. Costs 0.1 µs."""
        self._beat = self._monotonic()

    def trouble(self) -> str:
        """What is wrong, as a sentence for /livez; empty if nothing is."""
        still_s = self._monotonic() - self._beat
        if not self._watching or still_s < self._dead_s:
            return ""
        return f"The worker's loop has stood still for {still_s:.0f} s."

    def look(self) -> None:
        """See whether the loop turns; called every second by the thread.

        If this comes late itself, the whole process was stopped (SIGSTOP, a suspended machine) and
        the loop gets another second.
        """
        now, beat = self._monotonic(), self._beat
        held_up = now - self._looked > 5 * _LOOK_S
        self._looked = now
        if held_up or now - beat < self._stall_s or self._dumped_for == beat:
            return
        self._dumped_for = beat
        self._stalled()
        dump_stacks("stalled", still_s=round(now - beat, 1))

    def __enter__(self) -> Self:
        self._beat = self._looked = self._monotonic()
        self._watching = True
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._watching = False
        self._end.set()
        # Not for ever: it may be in the midst of writing to a pipe that nobody reads.
        self._thread.join(1.0)

    def _run(self) -> None:
        while not self._end.wait(_LOOK_S):
            self.look()
