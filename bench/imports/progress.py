"""Lines about how far it is, now and then, with the time that is left."""

import time
from collections.abc import Callable
from typing import Final

from bench.imports.plan import said

_EVERY_S: Final = 10.0


class Progress:
    """Tells how many of `whole` are done, at most every ten seconds."""

    def __init__(
        self,
        what: str,
        whole: int,
        write: Callable[[str], None],
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._what, self._whole, self._write, self._clock = what, whole, write, clock
        self._began = self._told = clock()

    def __call__(self, done: int) -> None:
        """So many are done."""
        now = self._clock()
        if now - self._told < _EVERY_S or done <= 0:
            return
        self._told = now
        rate = done / (now - self._began)
        left = said((self._whole - done) / rate)
        shown = f"{rate:,.0f}" if rate >= 10 else f"{rate:.1f}"
        self._write(f"  {done:,} of {self._whole:,} {self._what}, {shown}/s, {left} left")
