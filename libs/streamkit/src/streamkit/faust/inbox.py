"""Records on their way from the consumer to what works on them."""

import asyncio
from collections import deque
from collections.abc import Sequence
from typing import Any, NamedTuple

Record = Any
"""As aiokafka gives it: topic, partition, offset, timestamp (ms), key, value, headers."""


class Chunk(NamedTuple):
    """Records of one partition, in order, without anything left out between them.

    `epoch` says since which beginning they were read: a chunk of an earlier one is stale, since
    the partition has gone, or is read again.
    """

    place: Any
    epoch: int
    records: Sequence[Record]


class Inbox:
    """Holds about `most` records; not thread-safe (the event loop only)."""

    def __init__(self, most: int) -> None:
        self._most = most
        self._held = 0
        self._chunks: deque[Chunk] = deque()
        self._filled = asyncio.Event()
        self._room = asyncio.Event()
        self._room.set()
        self._enough = asyncio.Event()
        self._wanted = most

    @property
    def held(self) -> int:
        """How many records it holds."""
        return self._held

    def put(self, chunk: Chunk) -> None:
        """Add a chunk, whether there is room or not."""
        self._chunks.append(chunk)
        self._held += len(chunk.records)
        self._filled.set()
        if self._held >= self._wanted:
            self._enough.set()
        if self._held >= self._most:
            self._room.clear()

    async def first(self) -> None:
        """Wait until there is a record."""
        while not self._chunks:
            self._filled.clear()
            await self._filled.wait()

    async def gather(self, most: int, seconds: float) -> None:
        """Wait so long for `most` records; not at all if there are so many already."""
        if seconds <= 0 or self._held >= most:
            return
        self._wanted = most
        self._enough.clear()
        try:
            async with asyncio.timeout(seconds):
                await self._enough.wait()
        except TimeoutError:
            pass

    async def room(self) -> None:
        """Wait until there are fewer records than it shall hold."""
        await self._room.wait()

    async def take(self, most: int) -> list[Chunk]:
        """At least one record, at most `most`, all of one epoch; waits for the first."""
        await self.first()
        taken: list[Chunk] = []
        while most > 0 and self._chunks and (not taken or self._chunks[0].epoch == taken[0].epoch):
            chunk = self._chunks.popleft()
            if len(chunk.records) > most:
                self._chunks.appendleft(chunk._replace(records=chunk.records[most:]))
                chunk = chunk._replace(records=chunk.records[:most])
            taken.append(chunk)
            most -= len(chunk.records)
            self._held -= len(chunk.records)
        if self._held < self._most:
            self._room.set()
        return taken
