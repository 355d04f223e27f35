"""Time that only moves when it is told to."""

from datetime import UTC, datetime
from typing import Final

EPOCH: Final = datetime(2026, 1, 1, tzinfo=UTC).timestamp()
"""What a FakeClock's time begins at."""


class FakeClock:
    """A Clock for tests: `now` is seconds since it was made."""

    def __init__(self) -> None:
        self.now = 0.0

    def monotonic(self) -> float:
        """See Clock."""
        return self.now

    def time(self) -> float:
        """See Clock."""
        return EPOCH + self.now

    def move_to(self, moment: float) -> None:
        """Go on to a later moment."""
        self.now = max(self.now, moment)
