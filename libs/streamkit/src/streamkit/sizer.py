"""How much an engine gets at once: the size of micro-batches, and of chunks of single records.

Learnt from what work took, since it depends on the device: on a GPU large batches pay, on a CPU
often nothing is gained, and beyond some size memory thrashes. No form of the costs is assumed but
that there is one best region. Pure: no clock, no chance.
"""

from itertools import pairwise
from typing import Final

from streamkit.costs import Costs

_NEAR: Final = 1.02
"""A smaller size is as good if a record costs up to this many times as much."""

_DOUBT: Final = 0.03
"""So much more or less a cost may be for not being known so well, when sizes are compared."""

_EXPLORING: Final = 0.02
"""Share of the time that trying worse sizes again may cost."""

_TRIAL: Final = 0.1
"""What a try costs besides, as a share of its micro-batch, so that at most every fifth is one."""

_WIDE: Final = 1.1
"""A gap between known sizes is looked into if they differ by more than this factor."""

_BEYOND: Final = 4
"""Sizes up to so many times the best are tried, in case it only seems to be the best."""


class Sizer:
    """Finds the size of micro-batches at which a record costs least.

    Begins with `start`, tries sizes at growing distance, narrows down between neighbours of the
    best, and goes on trying a little, as machines change. Of sizes that are as good it takes the
    smallest. Never above `largest`, nor what is known to take more than `budget_ms` (but 1 always
    may). Not thread-safe.
    """

    def __init__(self, *, largest: int, budget_ms: float, start: int = 1) -> None:
        self._costs = Costs(largest)
        self._budget_ms = budget_ms
        self._top = len(self._costs.sizes) - 1
        self._allowance = 0.0
        self._now = self._costs.below(start)

    def size(self) -> int:
        """Records to put into the next micro-batch; the same until `observe` or `halve`."""
        return self._costs.sizes[self._now]

    def observe(self, records: int, ms: float) -> None:
        """A micro-batch of `records` took `ms`."""
        if records > 0:
            self._allowance += _EXPLORING * ms
            self._now = self._plan(self._costs.learn(records, ms))

    def halve(self) -> None:
        """The size in use was too large for memory: never again more than half of it."""
        self._top = self._costs.below(self.size() // 2)
        self._now = min(self._now, self._top)

    def predicted_ms(self, records: int) -> float:
        """What a micro-batch of `records` will take, about; before anything is known, its share of
        the budget."""
        predicted = self._costs.predicted_ms(records)
        if predicted is None:
            return records * self._budget_ms / self._costs.sizes[-1]
        return predicted

    def _plan(self, done: int) -> int:
        """The next size, after one of index `done`."""
        costs = self._costs
        if done == self._now and not costs.known(done):
            return done
        known = [one for one in range(self._top + 1) if costs.known(one)]
        fitting = [one for one in known if self._fits(one, costs.ms[one])]
        if not fitting:
            return 0
        best = min(fitting, key=costs.ms.__getitem__)
        good = costs.ms[best] * (_NEAR + min(costs.doubt(best), _DOUBT))
        pick = next(one for one in fitting if costs.hoped(one, _DOUBT) <= good)
        if done != self._now:
            return pick
        trial = self._unknown(known, best, pick)
        if trial is None:
            trial = self._doubtful(known, pick)
        return pick if trial is None or not self._affords(trial, pick) else trial

    def _fits(self, index: int, cost: float) -> bool:
        """Whether a size keeps the budget, if a record costs so much."""
        return index == 0 or self._costs.sizes[index] * cost <= self._budget_ms

    def _unknown(self, known: list[int], best: int, pick: int) -> int | None:
        """A size worth trying for the first time: beyond all known ones, or else in the gaps
        around the good ones."""
        sizes, last = self._costs.sizes, known[-1]
        if sizes[last] < _BEYOND * sizes[best]:
            new = min(self._costs.below(self._reach(known[0], last)), self._top)
            if new > last:
                return new
        for low, high in pairwise(known):
            wide = high - low > 1 and sizes[high] > _WIDE * sizes[low]
            if wide and not {low, high}.isdisjoint((best, pick)):
                new = (low + high) // 2
                if self._may_fit(low, new, high):
                    return new
        return None

    def _reach(self, first: int, last: int) -> int:
        """How many records may fit the budget, up to twice those of the last known size. Judged by
        the line through the first and the last; if there is but one, one record more may."""
        sizes, ms = self._costs.sizes, self._costs.ms
        size, took = sizes[last], sizes[last] * ms[last]
        if took >= self._budget_ms:
            return size
        if first == last:
            return max(size + 1, min(2 * size, int(self._budget_ms / ms[last])))
        slope = max(0.0, took - sizes[first] * ms[first]) / (size - sizes[first])
        return size + int(min(size, (self._budget_ms - took) / slope if slope else size))

    def _may_fit(self, low: int, new: int, high: int) -> bool:
        """Whether a size between two may fit the budget, judged by the lower one (thrashing may
        begin just below the higher) or by the line between them."""
        sizes, ms = self._costs.sizes, self._costs.ms
        below, above = sizes[low] * ms[low], sizes[high] * ms[high]
        part = (sizes[new] - sizes[low]) / (sizes[high] - sizes[low])
        return min(sizes[new] * ms[low], below + part * (above - below)) <= self._budget_ms

    def _doubtful(self, known: list[int], pick: int) -> int | None:
        """A known size that may be better than it seems; the least known of them."""
        costs = self._costs
        limit = costs.ms[pick]
        doubtful = [
            one
            for one in known
            if one != pick and (cost := costs.hoped(one)) < limit and self._fits(one, cost)
        ]
        return min(doubtful, key=costs.weight, default=None)

    def _affords(self, trial: int, pick: int) -> bool:
        """Whether a try may be made now; then it is paid for."""
        limit = self._costs.ms[pick]
        excess = max(0.0, self._costs.ms[trial] - limit)
        price = self._costs.sizes[trial] * (excess + _TRIAL * limit)
        affordable = price <= self._allowance
        if affordable:
            self._allowance -= price
        return affordable


class Pace:
    """What a record of a lane takes, for handlers that take them one by one.

    An exponentially weighted mean by record, so that many at once weigh more than few. Not
    thread-safe.
    """

    __slots__ = ("ms",)

    _KEPT: Final = 0.9
    """Of the mean, for every new record: the last ten make up most of it. Old work says little
    of the next chunk, and a slow first record (models load lazily) is soon forgotten."""

    def __init__(self, ms: float = 10.0) -> None:
        self.ms = ms
        """Predicted milliseconds per record. Before any is known so many that they go singly."""

    def observe(self, records: int, ms: float) -> None:
        """`records` took `ms` together."""
        if records > 0:
            mean = ms / records
            self.ms = mean + (self.ms - mean) * self._KEPT**records

    def records_within(self, budget_ms: float, most: int) -> int:
        """How many records will take up to `budget_ms`, as predicted; from 1 up to `most`."""
        if self.ms * most <= budget_ms:
            return max(1, most)
        return max(1, int(budget_ms / self.ms))
