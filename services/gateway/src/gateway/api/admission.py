"""Whether a lane takes new photos in: asked before a body is read, and when it is recorded."""

import asyncio
import time
from collections.abc import Callable, Mapping, Sequence
from typing import NamedTuple

from gateway.api.catalog import Catalog
from gateway.api.problems import ProblemError
from gateway.catalog import loads
from gateway.catalog.loads import Standing
from gateway.catalog.outbox import Outbox
from gateway.db import Conn
from gateway.load import Intake, Limits

FRESH_S = 0.25
"""What was asked so lately is not asked again: refusing must cost next to nothing."""


class Sorted(NamedTuple):
    """Photos by their places, and lanes that have filled up: theirs are neither refused nor taken
    until `look` has seen to the lane."""

    refused: Mapping[int, ProblemError]
    taken: Sequence[int]
    filled: Sequence[str]


class Admission:
    """Refuses photos of lanes that are closed. One with `warn_at` or more waiting is warned of, one
    with `refuse_at` or more is closed, by whoever finds it so, until the control door measures that
    it may open again. A lane that nobody measures (any more) is open."""

    def __init__(
        self,
        catalog: Catalog,
        outbox: Outbox,
        limits: Limits,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._catalog, self._outbox, self._limits = catalog, outbox, limits
        self._clock = clock
        self._known: dict[str, tuple[float, Standing | None]] = {}
        self._asking: dict[str, asyncio.Lock] = {}

    async def require(self, lane: str) -> None:
        """Raises ProblemError (503) if the lane is closed, by what was known a moment ago."""
        async with self._asking.setdefault(lane, asyncio.Lock()):
            at, standing = self._known.get(lane, (-FRESH_S, None))
            if self._clock() - at >= FRESH_S:
                standing = await self._catalog.ask(self.look, lane)
                self._known[lane] = (self._clock(), standing)
        self._judge(lane, standing)

    def sort(self, conn: Conn, owner: str, lanes: Sequence[str]) -> Sorted:
        """The same by what is known now, for who is about to record photos of these lanes: which
        are refused and why, and which fit. What is neither would fill its lane, or the lane has
        filled up: `look` at that one, and ask again once those that fit are recorded. Writes
        nothing, so that no lane is locked as long as photos are."""
        refused: dict[int, ProblemError] = {}
        taken: list[int] = []
        filled: list[str] = []
        for lane in sorted(set(lanes)):
            places = [place for place, one in enumerate(lanes) if one == lane]
            standing = loads.standing(conn, owner, lane, self._limits.refuse_at)
            if self._has_filled_up(standing):
                filled.append(lane)
                continue
            try:
                self._judge(lane, standing)
            except ProblemError as error:
                refused |= dict.fromkeys(places, error)
            else:
                room = None if standing is None else self._limits.refuse_at - standing.records
                taken += places[:room]
        return Sorted(refused, taken, filled)

    def look(self, conn: Conn, owner: str, lane: str) -> Standing | None:
        """How the lane stands, warned of or closed if it has filled up. One transaction."""
        standing = loads.standing(conn, owner, lane, self._limits.refuse_at)
        if not self._has_filled_up(standing):
            return standing
        with conn.transaction():
            return loads.fill(conn, owner, self._outbox, lane, self._limits)

    def _has_filled_up(self, standing: Standing | None) -> bool:
        """Whether it must be warned of or closed, and is not yet."""
        return standing is not None and self._limits.exceeded(standing.state, standing.records)

    def _judge(self, lane: str, standing: Standing | None) -> None:
        if standing is None or standing.state is not Intake.CLOSED:
            return
        after_s = standing.retry_after_s
        raise ProblemError(
            503,
            "lane_full",
            f"{standing.cause} Try again in {after_s} s, or on another lane.",
            {"Retry-After": str(after_s)},
            more={"lane": lane, "records": standing.records},
        )
