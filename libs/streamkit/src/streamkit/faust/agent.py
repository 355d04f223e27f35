"""What runs a fold: takes records out of its inbox, works on them, delivers, again and again."""

import asyncio
import itertools
import time
from collections import Counter, deque
from collections.abc import Callable, Mapping
from typing import Any, Protocol

import structlog

from streamkit.backoff import delay_s
from streamkit.errors import Busy
from streamkit.faust.delivery import Delivery
from streamkit.faust.folding import Batch, Folding, Service
from streamkit.faust.inbox import Chunk, Inbox, Record

_log = structlog.get_logger("streamkit.faust.agent")


class Progress(Protocol):
    """Faust's consumer, as streamkit.faust.consuming has it."""

    @property
    def epoch(self) -> int:
        """What is of an earlier one is not ours any more."""

    def finished(self, epoch: int, offsets: Mapping[Any, int]) -> None:
        """Have these offsets committed soon, if the epoch still lasts."""


class Agent:
    """One fold at work; `most` records at a time."""

    def __init__(
        self,
        folding: Folding,
        service: Service,
        delivery: Delivery,
        progress: Callable[[], Progress],
        *,
        most: int,
    ) -> None:
        self.inbox = Inbox(2 * most)
        self.delivery = delivery
        self.in_hand = 0
        """Records that it works on."""
        self.outcomes: Counter[str] = Counter()
        """Records that are over, by what became of them."""
        self._folding = folding
        self._service = service
        self._progress = progress
        self._most = most
        self._next_s = 0.0
        self._closed = False
        self._idle = asyncio.Event()
        self._idle.set()

    @property
    def waiting(self) -> int:
        """Records that wait for it."""
        return self.inbox.held

    async def run(self) -> None:
        """Work for ever. Raises only what is a defect: records never make it raise."""
        while True:
            chunks = await self._next()
            if self._closed:
                await asyncio.get_running_loop().create_future()
            self._idle.clear()
            await self._work(chunks)
            self._idle.set()

    async def close(self, within_s: float) -> None:
        """Begin nothing any more and wait for what is in hand, no longer than `within_s`."""
        self._closed = True
        try:
            async with asyncio.timeout(within_s):
                await self._idle.wait()
        except TimeoutError:
            _log.warning("left_in_flight", lane=self._folding.lane)

    async def _next(self) -> list[Chunk]:
        """What to work on: not before it is time, unless very much waits."""
        await self.inbox.first()
        await self.inbox.gather(self._most, self._next_s - time.monotonic())
        self._next_s = time.monotonic() + self._folding.pace_s
        return await self.inbox.take(self._most)

    async def _work(self, chunks: list[Chunk]) -> None:
        """Work on these, for as long as they are ours."""
        taken, epoch = time.monotonic(), chunks[0].epoch
        progress = self._progress()

        def ours() -> bool:
            return progress.epoch == epoch

        waiting: deque[tuple[Any, Record]] = deque(
            (chunk.place, record) for chunk in chunks for record in chunk.records
        )
        pauses = itertools.count(1)
        while waiting and ours():
            self.in_hand = len(waiting)
            batch, busy = Batch(), None
            try:
                await self._fill(batch, waiting)
            except Busy as reason:
                busy = reason
            if batch.offsets and ours():
                await self._finish(batch)
                if await self.delivery.deliver(batch, ours):
                    progress.finished(epoch, batch.offsets)
                    self._count(batch, taken)
                    self._folding.over(batch, 1000 * (time.monotonic() - taken))
            if busy is not None:
                await self._pause(busy, next(pauses))
        self.in_hand = 0

    async def _fill(self, batch: Batch, waiting: deque[tuple[Any, Record]]) -> None:
        """Work a batch out: at once, or all that waits where states are not to be told of often."""
        self._folding.work(waiting, batch)
        while self._folding.pace_s and waiting and not batch.full:
            await asyncio.sleep(0)
            self._folding.work(waiting, batch)

    async def _finish(self, batch: Batch) -> None:
        for times in itertools.count(1):
            try:
                self._folding.finish(batch)
            except Busy as reason:
                await self._pause(reason, times)
            else:
                return

    async def _pause(self, reason: Busy, times: int) -> None:
        lane = self._folding.lane
        _log.warning("busy", lane=lane, reason=str(reason), times=times)
        self._service.meter.retried(lane, "here", type(reason).__name__)
        await asyncio.sleep(delay_s(times))

    def _count(self, batch: Batch, taken: float) -> None:
        took, now = time.monotonic() - taken, time.time()
        for outcome, stamps in batch.stamps.items():
            ages = [now - stamp / 1000 for stamp in stamps]
            durations = [took] * len(stamps)
            self.outcomes[outcome] += len(stamps)
            self._service.meter.finished(self._folding.lane, outcome, durations, ages)
