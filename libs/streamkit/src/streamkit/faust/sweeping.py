"""Tells a fold what time it is: tables can't be written from timers, so ticks are events."""

import asyncio
import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from itertools import groupby, islice
from typing import Final

import structlog

from streamkit.errors import Busy
from streamkit.faust.delivery import NOT_DELIVERED, Delivery
from streamkit.faust.folding import Fold, Folding
from streamkit.faust.states import State
from streamkit.faust.tables import FoldTable

_log = structlog.get_logger("streamkit.faust.sweeping")

_FIRST_S: Final = 15.0
_AT_ONCE: Final = 200
"""States that are looked at without letting records have their turn."""

_REST: Final = 4.0
"""For every second of looking, so many seconds of records' turns."""


class Sweeper:
    """Publishes the ticks of one fold for the keys in `table`, while `active`."""

    def __init__(
        self,
        fold: Fold,
        folding: Folding,
        table: FoldTable,
        delivery: Delivery,
        active: Callable[[], bool],
    ) -> None:
        self._due = fold.due
        self._every_s = fold.sweep_s
        self._folding = folding
        self._table = table
        self._delivery = delivery
        self._active = active

    async def run(self) -> None:
        """Sweep now and then, for ever; what fails is done by the next sweep."""
        pause_s = min(self._every_s, _FIRST_S)
        while self._due is not None:
            await asyncio.sleep(pause_s)
            pause_s = self._every_s if self._active() else min(self._every_s, _FIRST_S)
            try:
                await self.sweep(datetime.now(UTC))
            except (*NOT_DELIVERED, Busy) as error:
                _log.warning("not_swept", lane=self._folding.lane, reason=str(error))

    async def sweep(self, now: datetime) -> None:
        """Publish all ticks that are due. Raises Busy or one of NOT_DELIVERED."""
        states, begun = self._states(), time.monotonic()
        while self._active() and (some := list(islice(states, _AT_ONCE))):
            ticks = () if self._due is None else self._due(some, now)
            events = [self._folding.event(tick) for tick in ticks]
            looked_s = time.monotonic() - begun
            for _, of_one_topic in groupby(events, lambda event: event.topic):
                await self._delivery.publish(of_one_topic)
            await asyncio.sleep(_REST * looked_s)
            begun = time.monotonic()

    def _states(self) -> Iterator[tuple[str, State]]:
        for key, value in self._table.entries():
            yield key.decode(), self._folding.state(value)
