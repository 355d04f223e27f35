"""Sends what people are to be told, by the channels that they set up."""

import asyncio
import random
import threading
from collections.abc import Callable, Mapping
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from typing import Final

import psycopg
import structlog

from gateway.catalog import deliveries
from gateway.catalog.deliveries import Due
from gateway.catalog.notice_shapes import ChannelKind
from gateway.catalog.notices import NOTICES_CHANNEL, TEST, ensure_defaults
from gateway.control import metrics
from gateway.db import Conn, away, wait_for_notice
from gateway.notifications.sending import SendError, line, pause_s
from gateway.notifications.ways import Way

_log = structlog.get_logger("gateway.notices")

_AT_ONCE: Final = 16
"""Deliveries under way, of each channel at most one."""

_LONGEST_S: Final = 60.0
"""After so long a delivery is given up for this time, whatever it does."""

_POLL_S: Final = 1.0
_LOOK_S: Final = 0.25
"""How often it is looked for more while something is under way."""

_DRAIN_S: Final = 1.0
_AFTER_DEFECT_S: Final = 30.0

Open = Callable[[], AbstractAsyncContextManager[Mapping[ChannelKind, Way]]]
"""Opens the ways of sending, on the event loop that uses them."""


@dataclass(frozen=True, slots=True)
class _Result:
    """How a try ended: `error` None if it was sent; else `final` where no other try would help."""

    error: str | None = None
    final: bool = False
    remark: str | None = None


_Sending = asyncio.Task[_Result]


class Notifier:
    """Sends deliveries as they fall due, at least once: one that was under way when the process
    was killed is sent again, with the same id."""

    def __init__(self, open_ways: Open, chance: random.Random | None = None) -> None:
        self._open = open_ways
        self._chance = chance or random.Random()  # noqa: S311 - jitter

    def work(self, conn: Conn, stop: threading.Event) -> None:
        """Send until `stop`. Raises psycopg.Error where the database is away.

        A defect is logged and what it hit is tried again later: relay and imports share the
        process, and shall not end for what a receiver brought about.
        """
        while not stop.is_set():
            try:
                asyncio.run(self._work(conn, stop))
            except Exception as error:
                if isinstance(error, psycopg.Error) and away(error):
                    raise
                _log.exception("notices_failed")
                stop.wait(_AFTER_DEFECT_S)

    async def _work(self, conn: Conn, stop: threading.Event) -> None:
        conn.execute(f"LISTEN {NOTICES_CHANNEL}")
        ensure_defaults(conn)
        under_way: dict[_Sending, Due] = {}
        async with self._open() as ways:
            try:
                while not stop.is_set():
                    self._begin(conn, ways, under_way)
                    if under_way:
                        await self._settle(conn, under_way, _LOOK_S)
                    else:
                        wait_for_notice(conn, _POLL_S)
                await self._settle(conn, under_way, _DRAIN_S)
            finally:
                for sending in under_way:
                    sending.cancel()
                await asyncio.gather(*under_way, return_exceptions=True)

    def _begin(
        self, conn: Conn, ways: Mapping[ChannelKind, Way], under_way: dict[_Sending, Due]
    ) -> None:
        room = _AT_ONCE - len(under_way)
        if not room:
            return
        busy = {due.channel_id for due in under_way.values()}
        for due in deliveries.due(conn, busy, room):
            under_way[asyncio.create_task(_sent(ways[due.channel_kind], due))] = due

    async def _settle(self, conn: Conn, under_way: dict[_Sending, Due], longest_s: float) -> None:
        """Wait until something is over, and write down what came of it."""
        if not under_way:
            return
        over, _ = await asyncio.wait(
            under_way, timeout=longest_s, return_when=asyncio.FIRST_COMPLETED
        )
        for sending in over:
            self._record(conn, under_way.pop(sending), sending.result())

    def _record(self, conn: Conn, due: Due, result: _Result) -> None:
        if result.error is None:
            deliveries.delivered(conn, due, result.remark)
            metrics.NOTIFICATIONS.labels(due.channel_kind, "delivered").inc()
            return
        # Somebody waits for what comes of a test, and can repeat it.
        over = result.final or due.told.kind == TEST
        pause = None if over else pause_s(due.attempts + 1, self._chance)
        deliveries.failed(conn, due, result.error, pause)
        outcome = "failed" if pause is None else "retry"
        metrics.NOTIFICATIONS.labels(due.channel_kind, outcome).inc()
        _log.warning(
            "not_notified",
            notice=str(due.told.notice_id),
            channel=str(due.channel_id),
            by=due.channel_kind,
            reason=result.error,
            again_in_s=None if pause is None else round(pause),
        )


async def _sent(way: Way, due: Due) -> _Result:
    try:
        async with asyncio.timeout(_LONGEST_S):
            remark = await way(due)
    except SendError as error:
        return _Result(str(error), error.final)
    except TimeoutError:
        return _Result(f"not done within {_LONGEST_S:g} s")
    except Exception as error:  # noqa: BLE001 - nothing that a receiver does ends the duty
        _log.exception("way_of_notices_broken", by=due.channel_kind)
        return _Result(f"a defect of Darkroom: {type(error).__name__}; its log says more")
    return _Result(remark=line(remark)[:500] if remark else None)
