"""How much of each lane is let in, as an api door knows it."""

import asyncio
import time
from collections.abc import Callable, Mapping
from typing import Final

import structlog

from gateway.api.catalog import Catalog
from gateway.api.problems import DATABASE_AWAY
from gateway.catalog import shares
from gateway.catalog.shares import Share

_log = structlog.get_logger("gateway.api.shares")

FRESH_S: Final = 1.0
"""What was asked so lately is not asked again: a request that is limited must cost no question."""


class Shares:
    """What the catalog says, asked once in a while. While it is away, nothing is known: then what
    is configured holds."""

    def __init__(self, catalog: Catalog, clock: Callable[[], float] = time.monotonic) -> None:
        self._catalog, self._clock = catalog, clock
        self._known: Mapping[str, Share] = {}
        self._at = -FRESH_S
        self._asking = asyncio.Lock()

    async def of(self, lane: str) -> Share | None:
        """A lane's; None if nothing is known of it."""
        async with self._asking:
            if self._clock() - self._at >= FRESH_S:
                self._known = await self._ask()
                self._at = self._clock()
        return self._known.get(lane)

    def forget(self) -> None:
        """Somebody has changed it."""
        self._at = -FRESH_S

    async def _ask(self) -> Mapping[str, Share]:
        try:
            return {share.lane: share for share in await self._catalog.ask(shares.shares)}
        except DATABASE_AWAY as error:
            _log.warning("shares_unknown", reason=str(error).strip())
            return {}
