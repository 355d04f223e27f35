"""Whether records may go to an engine now: breakers, and a surge of dead letters."""

from typing import Final

from streamkit.breaker import Breaker, Surge
from streamkit.metrics import Meter

BROKER = "kafka"
DEAD_LETTERS = "dead letters"

_THRESHOLD: Final = 3
"""Failures in a row that open a breaker: fewer than a record has attempts, so that a single record
in a quiet lane does not burn them all."""

_LONGEST_S: Final = 5.0
"""Longest time between probes: so long a person may have to wait when all is well again."""

_SURGE_S: Final = 30.0
"""The same for a surge of dead letters, where each probe may be one more."""


class Gate:
    """Closed while a breaker is open; lets one record probe a breaker that is half-open."""

    def __init__(self, meter: Meter) -> None:
        self._meter = meter
        self._breakers: dict[str, Breaker] = {}
        self._surge = Surge()
        self.opened: list[tuple[str, str]] = []
        """Dependencies whose breakers opened, and why, since somebody last looked."""

    def room(self, most: int, now: float, *, urgent: bool = False) -> int:
        """How many of `most` records the breakers let begin now; 1 of a probe. A surge of dead
        letters does not hold up `urgent` records: nobody should wait for what others handed in."""
        if not self._breakers:
            return most
        shut = self._shut(urgent)
        if not all(one.allows(now) for one in shut):
            return 0
        return 1 if shut else most

    def probe(self, now: float, *, urgent: bool = False) -> bool:
        """A record begins; whether it is a probe."""
        shut = self._shut(urgent)
        for one in shut:
            one.probing(now)
        return bool(shut)

    def _shut(self, urgent: bool) -> list[Breaker]:
        return [
            one
            for name, one in self._breakers.items()
            if one.state != "closed" and not (urgent and name == DEAD_LETTERS)
        ]

    def next_at(self, looked: float) -> float | None:
        """When to look again, if something is shut; it was `looked` last at that moment."""
        times = [at for one in self._breakers.values() if (at := one.opens_at()) is not None]
        return min((at for at in times if at > looked), default=None)

    def failed(self, dependency: str, why: str, now: float, *, at_once: bool = False) -> bool:
        """A dependency failed; whether it is taken to be away (its breaker is not closed)."""
        breaker = self._breakers.get(dependency)
        if breaker is None:
            longest_s = _SURGE_S if dependency == DEAD_LETTERS else _LONGEST_S
            breaker = self._breakers[dependency] = Breaker(
                dependency, threshold=_THRESHOLD, longest_s=longest_s
            )
        if breaker.failed(now, at_once=at_once):
            self._meter.breaker(dependency, True)
            self.opened.append((dependency, why))
        return breaker.state != "closed"

    def succeeded(self) -> None:
        """Work was done: failures that were not many enough to open a breaker are forgotten."""
        for name, breaker in list(self._breakers.items()):
            if breaker.state == "closed":
                del self._breakers[name]

    def probed(self, now: float) -> None:
        """A probe succeeded: all that it passed are there again. The broker is only once it has
        acknowledged something; see `there`."""
        for name, breaker in list(self._breakers.items()):
            if name != BROKER and breaker.succeeded(now):
                self.there(name)

    def probe_failed(self, now: float, dependency: str = "") -> None:
        """A probe failed, for want of `dependency` or by itself: that says nothing of all others,
        but if by itself, that records are still given up."""
        at_fault = dependency or DEAD_LETTERS
        for name, breaker in self._breakers.items():
            if name == at_fault and breaker.state != "closed":
                breaker.failed(now)
            else:
                breaker.forgotten()

    def there(self, dependency: str) -> None:
        """A dependency is known to be there."""
        if self._breakers.pop(dependency, None) is not None:
            self._meter.breaker(dependency, False)

    def forgotten(self) -> None:
        """A probe came back without an answer."""
        for breaker in self._breakers.values():
            breaker.forgotten()

    def finished(self, now: float, *, dead: bool) -> None:
        """A record is over; many dead letters in a row shut the gate."""
        if self._surge.record(now, dead):
            self.failed(DEAD_LETTERS, "over half of the last records were given up", now,
                        at_once=True)  # fmt: skip

    def open_breakers(self) -> list[str]:
        """Names of dependencies that are taken to be away."""
        return [name for name, one in self._breakers.items() if one.state != "closed"]
