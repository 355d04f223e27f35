"""What a record costs, by the size of the micro-batch it came in; learnt from noisy figures."""

from bisect import bisect_left, bisect_right
from math import sqrt
from statistics import median
from typing import Final

TRIES: Final = 3
"""Micro-batches of a size before it is known well enough to be compared."""

_STEP: Final = 1.06
"""Neighbouring sizes that are told apart differ by this factor, or by one record."""

_LEAST_MS: Final = 1e-6
"""Of a record; what costs nothing can't be compared."""

_LEAST_NOISE: Final = 0.03
"""Usual deviation from the mean, relatively; no machine is steadier."""

_MEMORY: Final = 50
"""So many last micro-batches of a size make up its mean, about."""

_HALF_LIFE: Final = 400
"""After so many micro-batches half of what a size is known by is forgotten: machines change."""

_LEAST_WEIGHT: Final = 0.01
"""What is left of it in the end."""

_OUTLIER: Final = 3.0
"""What took longer than the mean counts at most this many times the mean: a pause of the machine
is no property of a size."""


class Costs:
    """Milliseconds per record for sizes up to `largest`, and how sure they are.

    Sizes are told apart as far as it matters; each has an index into `sizes`, and its cost at that
    index of `ms` (0 where nothing is known).
    """

    def __init__(self, largest: int) -> None:
        self.sizes = [1]
        while self.sizes[-1] < largest:
            last = self.sizes[-1]
            self.sizes.append(min(largest, max(last + 1, int(last * _STEP))))
        self.ms = [0.0] * len(self.sizes)
        self._first: list[list[float]] = [[] for _ in self.sizes]
        self._counts = [0.0] * len(self.sizes)
        self._latest = [0] * len(self.sizes)
        self._number = 0
        self._noise = 0.1

    def learn(self, records: int, ms: float) -> int:
        """`records` together took `ms`: the first few of a size count by their median, then by a
        running mean. The size's index."""
        index = min(bisect_left(self.sizes, records), len(self.sizes) - 1)
        cost = max(ms / records, _LEAST_MS)
        self._number += 1
        count, mean, first = self.weight(index), self.ms[index], self._first[index]
        self._latest[index] = self._number
        if len(first) < TRIES:
            first.append(cost)
            self._counts[index] = len(first)
            self.ms[index] = median(first)
            return index
        cost = min(cost, _OUTLIER * mean)
        self._noise += 0.05 * (abs(cost / mean - 1) - self._noise)
        self._counts[index] = count = min(count + 1, _MEMORY)
        self.ms[index] = mean + (cost - mean) / count
        return index

    def below(self, records: int) -> int:
        """The index of the largest size that is no more than so many records."""
        return max(0, bisect_right(self.sizes, records) - 1)

    def known(self, index: int) -> bool:
        """Whether a size can be compared with others."""
        return len(self._first[index]) == TRIES

    def weight(self, index: int) -> float:
        """How many micro-batches of a size are remembered; they are forgotten by and by."""
        age = self._number - self._latest[index]
        return max(_LEAST_WEIGHT, float(self._counts[index] * 0.5 ** (age / _HALF_LIFE)))

    def doubt(self, index: int) -> float:
        """How far, relatively, the cost of a size may be off: its standard error, about (which is
        1.25 times the mean deviation, over the root of the count)."""
        return 1.25 * max(self._noise, _LEAST_NOISE) / sqrt(self.weight(index))

    def hoped(self, index: int, most: float = 1.0) -> float:
        """What a record may cost at a size, seen with hope: twice the doubt less, but no more
        than the share `most`."""
        return self.ms[index] * (1 - min(2 * self.doubt(index), most))

    def predicted_ms(self, records: int) -> float | None:
        """What so many records will take, judged by the nearest size; None if nothing is known."""
        seen = [one for one, cost in enumerate(self.ms) if cost]
        if not seen:
            return None
        nearest = min(seen, key=lambda one: abs(self.sizes[one] - records))
        return self.ms[nearest] * records
