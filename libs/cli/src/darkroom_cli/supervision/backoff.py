"""How long to wait before a program is started again."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Backoff:
    """Doubling from `first` to `limit` seconds; `reset_after` seconds up forgive the past."""

    first: float = 0.5
    limit: float = 10.0
    reset_after: float = 30.0

    def delay(self, failures: int) -> float:
        """Seconds to wait after the given number of failures in a row (1, 2, …)."""
        return min(self.limit, self.first * 2.0 ** min(failures - 1, 16))

    def failures_after(self, failures: int, uptime: float) -> int:
        """The failures in a row that count once a program that ran `uptime` seconds ended."""
        return 1 if uptime >= self.reset_after else failures + 1
