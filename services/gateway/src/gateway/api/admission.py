"""Whether a lane takes new photos in: asked before a body is read, and when it is recorded."""

import asyncio
import time
from collections.abc import Callable

from gateway.api.catalog import Catalog
from gateway.api.problems import ProblemError
from gateway.catalog import loads
from gateway.catalog.loads import Standing
from gateway.db import Conn
from gateway.load import Intake

FRESH_S = 0.25
"""What was asked so lately is not asked again: refusing must cost next to nothing."""


class Admission:
    """Refuses photos of lanes with `refuse_at` or more waiting, and of those that are yet to open
    again after that. A lane that nobody measures (any more) is open."""

    def __init__(
        self, catalog: Catalog, refuse_at: int, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._catalog, self._refuse_at, self._clock = catalog, refuse_at, clock
        self._known: dict[str, tuple[float, Standing | None]] = {}
        self._asking: dict[str, asyncio.Lock] = {}

    async def require(self, lane: str) -> None:
        """Raises ProblemError (503) if the lane is closed, by what was known a moment ago."""
        async with self._asking.setdefault(lane, asyncio.Lock()):
            at, standing = self._known.get(lane, (-FRESH_S, None))
            if self._clock() - at >= FRESH_S:
                standing = await self._catalog.ask(loads.standing, lane, self._refuse_at)
                self._known[lane] = (self._clock(), standing)
        self._judge(lane, standing)

    def check(self, conn: Conn, owner: str, lane: str) -> None:
        """The same by what is known now, for who is about to record a photo."""
        self._judge(lane, loads.standing(conn, owner, lane, self._refuse_at))

    def _judge(self, lane: str, standing: Standing | None) -> None:
        if standing is None:
            return
        full = standing.records >= self._refuse_at
        if standing.state is not Intake.CLOSED and not full:
            return
        waits = f"{standing.records:,} photos of lane {lane} wait."
        # Between two looks nobody has measured yet when it may be open again.
        after_s = standing.retry_after_s or 5
        raise ProblemError(
            503,
            "lane_full",
            f"{standing.cause or waits} Try again in {after_s} s, or on another lane.",
            {"Retry-After": str(after_s)},
            more={"lane": lane, "records": standing.records},
        )
