"""What an engine does all day, in its process or its thread."""

from collections.abc import Iterable, Sequence
from time import perf_counter
from typing import Final, Protocol

from streamkit.engine.basket import Basket
from streamkit.engine.turns import Turns
from streamkit.engine.wire import FrameKind
from streamkit.engine.work import Work

_LONG_S: Final = 0.002
"""What took longer is reported at once."""

_LOOK_S: Final = 0.001
"""Between records that take less, nobody looks whether there is something new."""


Order = tuple[FrameKind, Sequence[Work]]
"""`work` and the works to do, `recall`, or `close`."""


class Inbox(Protocol):
    """Where an engine is told what to do."""

    def take(self, *, wait: bool) -> Iterable[Order]:
        """What has come since; `wait` for something if there is nothing. A `close` if whoever
        tells is gone."""


def loop(turns: Turns, basket: Basket, inbox: Inbox) -> None:
    """Work as told, until told to close: then what has begun is finished or ends at its next
    slice, and the rest is given back. Raises OSError if nobody takes the results."""
    closing = False

    def look(*, wait: bool) -> None:
        nonlocal closing
        for kind, works in inbox.take(wait=wait):
            if kind == "work":
                turns.put(works)
            else:
                basket.put(turns.recall(), perf_counter())
                closing = closing or kind == "close"

    while not closing:
        look(wait=True)
        before = looked = perf_counter()
        while (results := turns.step()) is not None:
            now = perf_counter()
            if results:
                basket.put(results, now)
            if not results or now - before > _LONG_S:
                basket.flush()
            if not results or now - looked > _LOOK_S:
                look(wait=False)
                looked = now = perf_counter()
            before = now
        basket.flush()
