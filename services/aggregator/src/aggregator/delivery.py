"""Publishes in order, and acknowledges the source only when the broker has everything.

A record is admitted with what it caused: the change of its table and its events. All of that is
sent at once, without waiting, so that many records share a round trip; the source records are
acknowledged strictly in the order in which they were admitted (the consumer commits past a record
that is still in flight otherwise). If the broker does not acknowledge something, that and all that
was sent after it is sent again in the same order until it is: nothing is lost, nothing that was
overtaken stays so, and what arrives twice has the same id.

What is not ours any more, because its partition may have gone to another process, is not sent: a
change of a table that arrived after the new owner's would bring back an older state.
"""

import asyncio
import itertools
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any, Final, Protocol

import structlog
from aiokafka.errors import KafkaError
from faust.exceptions import ProducerSendError

_log = structlog.get_logger("aggregator.delivery")

_LONGEST_DELAY_S: Final = 5.0
_FIRST_DELAY_S: Final = 0.1


NOT_DELIVERED: Final = (KafkaError, ProducerSendError)
"""The broker did not acknowledge a record, though it may have it all the same."""

Acknowledgement = asyncio.Future[Any]
"""Done when the broker has the record; raises one of NOT_DELIVERED."""


@dataclass(frozen=True, slots=True)
class Outgoing:
    """A record to publish; `topic` with the prefix, `partition` None: by the key."""

    topic: str
    key: bytes | None
    value: bytes | None
    headers: Sequence[tuple[str, bytes]] = ()
    partition: int | None = None


class Send(Protocol):
    """Hands a record to the producer; may wait for room; raises one of NOT_DELIVERED."""

    async def __call__(self, record: Outgoing, /) -> Acknowledgement: ...


def _always() -> bool:
    return True


@dataclass(slots=True)
class _Entry:
    records: Sequence[Outgoing]
    done: Callable[[], None]
    ours: Callable[[], bool]
    pending: list[Acknowledgement] = field(default_factory=list)
    refused: Exception | None = None


class Delivery:
    """One agent's records in flight; `run` must be running for any of them to be acknowledged."""

    def __init__(self, send: Send, *, limit: int) -> None:
        self._send = send
        self._room = asyncio.Semaphore(limit)
        self._sending = asyncio.Lock()
        self._entries: deque[_Entry] = deque()
        self._arrived = asyncio.Event()
        self._empty = asyncio.Event()
        self._empty.set()
        self._closed = asyncio.Event()
        self.stuck = False
        """Whether the broker refuses, and everything waits for it."""

    async def admit(
        self,
        records: Sequence[Outgoing],
        done: Callable[[], None],
        ours: Callable[[], bool] = _always,
    ) -> None:
        """Send `records`, and call `done` when they and all before them are acknowledged.

        `ours` is asked before each is sent, the first time and again; once it says no, those that
        are left are dropped, and `done` is called in its turn all the same. Waits while `limit`
        records are in flight, and for ever after `close`.
        """
        await self._room.acquire()
        entry = _Entry(records, done, ours)
        async with self._sending:
            if self._closed.is_set():
                await asyncio.get_running_loop().create_future()
            self._entries.append(entry)
            self._empty.clear()
            await self._start(entry)
        self._arrived.set()

    async def run(self) -> None:
        """Wait for acknowledgements, in order, for ever."""
        while True:
            while not self._entries:
                self._arrived.clear()
                await self._arrived.wait()
            try:
                await self._acknowledged(self._entries[0])
            except NOT_DELIVERED as error:
                await self._send_again(error)
                continue
            self._entries.popleft().done()
            self._room.release()
            if not self._entries:
                self._empty.set()

    async def close(self, within_s: float) -> None:
        """Admit nothing any more and wait for what is in flight, no longer than `within_s`."""
        async with self._sending:
            self._closed.set()
        try:
            async with asyncio.timeout(within_s):
                await self._empty.wait()
        except TimeoutError:
            _log.warning("left_in_flight", records=len(self._entries))

    async def _start(self, entry: _Entry) -> None:
        entry.pending, entry.refused = [], None
        try:
            for record in entry.records:
                if not entry.ours():
                    break
                entry.pending.append(await self._send(record))
        except NOT_DELIVERED as error:
            entry.refused = error

    async def _acknowledged(self, entry: _Entry) -> None:
        for waiting in entry.pending:
            await waiting
        if entry.refused is not None:
            raise entry.refused

    async def _send_again(self, first: Exception) -> None:
        """Until all that is in flight is acknowledged, in order; meanwhile nothing is admitted."""
        self.stuck, error = True, first
        async with self._sending:
            for attempt in itertools.count():
                _log.warning("not_delivered", reason=str(error), records=len(self._entries))
                await asyncio.sleep(min(_LONGEST_DELAY_S, _FIRST_DELAY_S * 2.0 ** min(attempt, 10)))
                await self._settled()
                try:
                    for entry in self._entries:
                        await self._start(entry)
                    for entry in self._entries:
                        await self._acknowledged(entry)
                    break
                except NOT_DELIVERED as again:
                    error = again
        self.stuck = False
        _log.info("delivered_again")

    async def _settled(self) -> None:
        """Nothing sent before may still arrive after what is sent now."""
        for entry in self._entries:
            await asyncio.gather(*entry.pending, return_exceptions=True)
