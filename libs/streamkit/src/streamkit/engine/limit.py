"""Soft deadlines: an exception inside the handler that has taken too long."""

import math
import signal
from time import monotonic
from types import FrameType
from typing import Final, Protocol

from streamkit.errors import DeadlineExceeded

_KEPT: Final = 1 / 8
"""A timer is set anew for a handler that begins later than this share of the deadline after it
was set: a system call for each of many short handlers would cost more than they do. So no signal
comes before a handler has used up most of its time."""


class Limit(Protocol):
    """Is told when a handler begins and ends."""

    def begin(self, spent_s: float = 0.0) -> None:
        """A handler begins; or goes on, having taken so many seconds in earlier slices."""

    def end(self) -> None:
        """It has ended or paused: from here on nothing is interrupted."""


class NoLimit:
    """Handlers may take as long as they like."""

    def begin(self, spent_s: float = 0.0) -> None:
        """See Limit."""

    def end(self) -> None:
        """See Limit."""


class AlarmLimit:
    """Raises DeadlineExceeded in a handler that has taken `soft_s` seconds, by SIGALRM.

    To be made and used in the main thread of a process; handlers must leave SIGALRM and
    ITIMER_REAL alone. Foreign code that doesn't return to the interpreter isn't interrupted until
    it does. Between `end` and the next `begin` nothing is raised, however late a signal comes.
    """

    def __init__(self, soft_s: float) -> None:
        self._soft_s = soft_s
        self._deadline = math.inf
        self._renew_at = -math.inf
        signal.signal(signal.SIGALRM, self._ring)

    def begin(self, spent_s: float = 0.0) -> None:
        """See Limit."""
        now = monotonic()
        if spent_s or now > self._renew_at:
            left = max(self._soft_s - spent_s, 0.001)
            self._renew_at = -math.inf if spent_s else now + _KEPT * self._soft_s
            signal.setitimer(signal.ITIMER_REAL, left)
        self._deadline = now + self._soft_s - spent_s

    def end(self) -> None:
        """See Limit."""
        self._deadline = math.inf

    def _ring(self, _number: int, _frame: FrameType | None) -> None:
        deadline, self._deadline = self._deadline, math.inf
        self._renew_at = -math.inf
        left = deadline - monotonic()
        if left <= 0:
            raise DeadlineExceeded(f"It took longer than {self._soft_s:g} s.")
        if left < math.inf:  # a later handler than the one that the timer was set for
            self._deadline = deadline
            signal.setitimer(signal.ITIMER_REAL, left)
