"""Tells a fold what time it is: tables can't be written from timers, so ticks are events."""

import asyncio
import json
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from itertools import islice
from typing import Final

import structlog

from streamkit.errors import Busy
from streamkit.faust.delivery import NOT_DELIVERED, Delivery
from streamkit.faust.folding import Fold, Folding, State
from streamkit.faust.tables import FoldTable

_log = structlog.get_logger("streamkit.faust.sweeping")

_EVERY_S: Final = 15.0
_AT_ONCE: Final = 500
"""States that are looked at without letting records have their turn."""


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
        self._folding = folding
        self._table = table
        self._delivery = delivery
        self._active = active

    async def run(self) -> None:
        """Sweep now and then, for ever; what fails is done by the next sweep."""
        while self._due is not None:
            await asyncio.sleep(_EVERY_S)
            try:
                await self.sweep(datetime.now(UTC))
            except (*NOT_DELIVERED, Busy) as error:
                _log.warning("not_swept", lane=self._folding.lane, reason=str(error))

    async def sweep(self, now: datetime) -> None:
        """Publish all ticks that are due. Raises Busy or one of NOT_DELIVERED."""
        states = self._states()
        while self._active() and (some := list(islice(states, _AT_ONCE))):
            ticks = () if self._due is None else self._due(some, now)
            await self._delivery.publish(self._folding.event(tick) for tick in ticks)
            await asyncio.sleep(0)

    def _states(self) -> Iterator[tuple[str, State]]:
        for key, value in self._table.entries():
            yield key.decode(), json.loads(value)
