"""Which lane an engine serves next.

Deficit round robin (M. Shreedhar, G. Varghese: Efficient Fair Queueing using Deficit Round Robin,
SIGCOMM 1995) over milliseconds instead of bytes. What work costs is known only afterwards, so a
lane may overdraw its credit and goes without until it has paid ("surplus round robin", S. Floyd
1993). Pure: no clock, no I/O.
"""

from collections.abc import Mapping
from math import ceil


class _Lane:
    """A lane's account."""

    __slots__ = ("credit", "rounds", "seen", "served", "spent", "step")

    def __init__(self, step: float) -> None:
        self.step = step
        """Milliseconds that it gets in each round: quantum x weight."""
        self.credit = 0.0
        """Milliseconds it may still use in this round; negative: it has used more than it got."""
        self.served = float("-inf")
        """When it last was given an engine's time."""
        self.seen: float
        """When it last had work that waited."""
        self.spent: float
        """What all lanes had used by `seen`."""
        self.rounds: int
        """How many rounds had been by `seen`."""


class Scheduler:
    """Shares an engine's time among lanes that have work, in proportion to their weights.

    A lane may go while its credit is not negative. Once no waiting lane may, all of them get
    their weight times `quantum_ms`, as often as it takes. Among those that may go, the heaviest
    goes first (of equals the first named), so that urgent work waits for the one piece under way
    and no longer.
    `weights` by lane, above zero (else ValueError); one that isn't in it weighs 1. Not
    thread-safe.
    """

    def __init__(
        self,
        weights: Mapping[str, float],
        *,
        quantum_ms: float = 10.0,
        age_limit_s: float = 60.0,
    ) -> None:
        if not all(weight > 0 for weight in weights.values()):
            raise ValueError(f"a lane's weight must be above zero: {dict(weights)}")
        self._weights = dict(weights)
        self._quantum_ms = quantum_ms
        self._age_limit_s = age_limit_s
        self._lanes: dict[str, _Lane] = {}
        self._spent = 0.0
        self._rounds = 0
        self._now: float
        self._aged_went = False

    def choose(self, waiting: Mapping[str, float], now: float) -> str | None:
        """The lane to serve next; None if `waiting` is empty.

        `waiting`: lanes with work that the engine may take now, and the monotonic second since
        which their oldest waits. A lane that for over `age_limit_s` had work and was not served
        goes first, the longest waiting of them; but never twice in a row, the shares hold for
        every other choice. Nothing is charged here.
        """
        self._now = now
        first: _Lane | None = None
        chosen = aged = None
        aged_since = now - self._age_limit_s
        lanes = self._lanes
        spent, rounds = self._spent, self._rounds
        for name, since in waiting.items():
            lane = lanes.get(name)
            if lane is None:
                lane = lanes[name] = _Lane(self._quantum_ms * self._weights.get(name, 1.0))
            elif since > lane.seen:
                self._come_back(lane, since)
            lane.seen = now
            lane.spent = spent
            lane.rounds = rounds
            if lane.credit >= 0 and (first is None or lane.step > first.step):
                first, chosen = lane, name
            idle_since = lane.served if lane.served > since else since
            if idle_since < aged_since:
                aged, aged_since = name, idle_since
        self._aged_went = aged is not None and not self._aged_went
        if self._aged_went:
            return aged
        return chosen if chosen is not None else self._next_round(waiting)

    def charge(self, lane: str, ms: float) -> None:
        """A lane that was chosen uses an engine for so long. May be a prediction, told when work
        begins; what it was wrong by follows, and may be negative."""
        account = self._lanes[lane]
        account.credit -= ms
        self._spent += ms
        if ms >= 0:
            account.served = self._now

    def _come_back(self, lane: _Lane, since: float) -> None:
        """It had nothing that waited from `seen` until `since`.

        Credit is not kept. Debt is paid: by the rounds that were meanwhile, and by all of the time
        in which nothing was done. (Were it forgiven, a lane that sends its next record when the
        last is done would pay nothing.)
        """
        missed = (self._rounds - lane.rounds) * lane.step
        idle = max(0.0, 1000 * (since - lane.seen) - (self._spent - lane.spent))
        lane.credit = min(0.0, lane.credit + missed + idle)

    def _next_round(self, waiting: Mapping[str, float]) -> str | None:
        """Give every waiting lane so many rounds that one may go; which."""
        rounds = {name: self._rounds_short(name) for name in waiting}
        if not rounds:
            return None
        fewest = min(rounds.values())
        self._rounds += fewest
        for name in rounds:
            lane = self._lanes[name]
            lane.credit += fewest * lane.step
            lane.rounds = self._rounds
        able = [name for name, short in rounds.items() if short == fewest]
        return max(able, key=lambda name: self._lanes[name].step)

    def _rounds_short(self, name: str) -> int:
        lane = self._lanes[name]
        return ceil(-lane.credit / lane.step)
