"""When to stop calling what does not answer, and when to try it again.

The circuit breaker of M. Nygard, Release It! (2007), ch. 5: closed (work flows), open (it waits),
half-open (one piece of work probes). Pure: time is passed in, monotonic seconds.
"""

from collections import deque
from typing import Final, Literal

State = Literal["closed", "open", "half-open"]


class Breaker:
    """Guards one dependency. Opens after `threshold` failures in a row.

    It stays open for `first_s`, and for twice as long after each probe that fails, up to
    `longest_s`. Not thread-safe.
    """

    def __init__(
        self, name: str, *, threshold: int = 5, first_s: float = 1.0, longest_s: float = 30.0
    ) -> None:
        self.name = name
        self.state: State = "closed"
        self._threshold = threshold
        self._first_s = first_s
        self._longest_s = longest_s
        self._failures = 0
        self._open_s: float
        self._until: float
        self._probe_until: float | None = None

    def failed(self, now: float, *, at_once: bool = False) -> bool:
        """Work failed for want of it. True if this opened the breaker, so that one person is told
        once: a probe that fails opens it again silently. `at_once`: don't count, open.

        What fails late, begun before the opening, neither lengthens nor doubles anything.
        """
        if self.state == "closed":
            self._failures += 1
            if at_once or self._failures >= self._threshold:
                self._open(now, self._first_s)
                return True
        elif self.state == "half-open" and self._probe_until is not None:
            self._open(now, min(self._longest_s, 2 * self._open_s))
        return False

    def succeeded(self, _now: float) -> bool:
        """Work succeeded that needs it. True if this closed the breaker: it was the probe.

        What was begun before the opening closes nothing. While a probe is under way only its own
        success may be told here.
        """
        closes = self._probe_until is not None
        if self.state == "closed" or closes:
            self.state = "closed"
            self._failures = 0
            self._probe_until = None
        return closes

    def allows(self, now: float) -> bool:
        """Whether work may begin: all of it if closed, one probe if half-open."""
        if self.state == "open" and now >= self._until:
            self.state = "half-open"
        if self.state == "open":
            return False
        return self._probe_until is None or now >= self._probe_until

    def probing(self, now: float) -> None:
        """A probe begins; only after `allows`. One that isn't heard of for `longest_s` is taken
        to be forgotten."""
        if self.state == "half-open":
            self._probe_until = now + self._longest_s

    def forgotten(self) -> None:
        """The probe came to nothing (it was handed back, or its engine died): another may go."""
        self._probe_until = None

    def opens_at(self) -> float | None:
        """When `allows` will next change by itself; None if it won't."""
        return self._until if self.state == "open" else self._probe_until

    def _open(self, now: float, seconds: float) -> None:
        self.state = "open"
        self._open_s = seconds
        self._until = now + seconds
        self._probe_until = None


_MINUTE: Final = 60


class Surge:
    """Notices when most of what is finished ends in the dead letters: then something common is
    broken, and going on would only fill them.

    Counts by the second over the last minute, so it holds 60 small buckets at most.
    """

    def __init__(self, least: int = 50) -> None:
        self._least = least
        self._buckets: deque[list[int]] = deque()
        self._finished = 0
        self._dead = 0

    def record(self, now: float, dead: bool) -> bool:
        """A record is finished, `dead` if it was given up. True if `least` or more dead letters
        of the last minute are over half of what it finished; counting then begins anew."""
        second = int(now)
        buckets = self._buckets
        if not buckets or buckets[-1][0] != second:
            self._forget(second - _MINUTE)
            buckets.append([second, 0, 0])
        bucket = buckets[-1]
        bucket[1] += 1
        self._finished += 1
        if not dead:
            return False
        bucket[2] += 1
        self._dead += 1
        if self._dead < self._least or 2 * self._dead <= self._finished:
            return False
        buckets.clear()
        self._finished = self._dead = 0
        return True

    def _forget(self, second: int) -> None:
        while self._buckets and self._buckets[0][0] <= second:
            _, finished, dead = self._buckets.popleft()
            self._finished -= finished
            self._dead -= dead
