"""Which way up lines are: along their longer side, and not upside down.

A detector does not tell. A line is read as most of its page is; if that makes little sense, it is
read the other way up as well, and the surer reading is taken.
"""

from collections import Counter
from collections.abc import Sequence
from typing import Final

from ocr.joining import Seen

_CLEARLY_LONG: Final = 2.0
"""Length by height of a strip that shows in which direction its text runs."""
_PLAINLY_LONG: Final = 8.0
"""The same from which a longer one shows it no better."""
_TALL: Final = 1.5
"""Height by length of a strip that is taken for a line that runs down or up, and ..."""
_TALL_AMONG_LINES: Final = 3.0
"""... on a page where lines run across: a lone 1 or l is tall as well."""
_MAKES_SENSE: Final = 0.9
"""Confidence of a line that says how its page lies."""
_SURE_AMONG_LINES: Final = 0.8
"""Confidence of a line, on a page that lies in a known way, that need not be read the other way."""
_KNOWN_FROM: Final = 3
"""Lines that say how a page lies, if none says otherwise."""


def along_lines(seen: Sequence[Seen]) -> list[Seen]:
    """The strips in the direction of their text, as far as shapes tell it: across or down.

    Their own directions are those of the sides that are closer to the x axis.
    """
    strips = [s.strip for s in seen]
    across = sum(_evidence(s.length, s.height) for s in strips)
    down = sum(_evidence(s.height, s.length) for s in strips)
    if across >= down:
        tall = _TALL_AMONG_LINES if across else _TALL
        turned = [s.height >= tall * s.length for s in strips]
    else:
        turned = [s.length < _TALL_AMONG_LINES * s.height for s in strips]
    return [
        Seen(s.strip.turned(1), s.score) if turn else s
        for s, turn in zip(seen, turned, strict=True)
    ]


def _evidence(along: float, over: float) -> float:
    shape = along / max(over, 1e-9)
    return min(shape, _PLAINLY_LONG) if shape >= _CLEARLY_LONG else 0.0


class Facing:
    """What the lines that were read say of a page. `unturned`: confidence that lines hardly reach
    if they are read upside down."""

    def __init__(self, unturned: float) -> None:
        self._unturned = unturned
        self._ways: Counter[int] = Counter()

    @property
    def likely(self) -> int:
        """Quarter turns after which most lines were read: 0 or 2."""
        return 2 if self._ways[2] > self._ways[0] else 0

    @property
    def sure(self) -> float:
        """The confidence from which a line, read the likely way, need not be read the other."""
        known = self._ways[self.likely] >= _KNOWN_FROM and not self._ways[2 - self.likely]
        return _SURE_AMONG_LINES if known else self._unturned

    def learn(self, way: int, confidence: float) -> None:
        """A line made sense that way, if it did."""
        if confidence >= _MAKES_SENSE:
            self._ways[way] += 1
