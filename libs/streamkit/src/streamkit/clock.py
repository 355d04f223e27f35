"""Time, so that tests can bring their own."""

import time
from typing import Protocol


class Clock(Protocol):
    """What the runtime reads; nothing else of it looks at a clock."""

    def monotonic(self) -> float:
        """Seconds since some moment; never goes back."""

    def time(self) -> float:
        """Seconds since 1970."""


class SystemClock:
    """The machine's clock."""

    def monotonic(self) -> float:
        """See Clock."""
        return time.monotonic()

    def time(self) -> float:
        """See Clock."""
        return time.time()
