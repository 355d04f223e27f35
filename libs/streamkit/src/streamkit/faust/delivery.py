"""Publishes what a batch of records came to, and has their offsets committed only then.

First the changes of the table, and when the broker has all of them, the events: what an outcome
rests on is never younger than the outcome. If the broker does not acknowledge something, all of
the batch is sent again until it does: nothing is lost, and what arrives twice has the same id and
the same value. Batches follow each other: nothing overtakes.

What is not ours any more, because its partition may have gone to another process, is not sent: a
change of a table that arrived after the new owner's would bring back an older state.
"""

import asyncio
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from typing import Any, Final, Protocol

import structlog
from aiokafka.errors import KafkaError
from aiokafka.partitioner import DefaultPartitioner
from aiokafka.structs import TopicPartition
from faust.exceptions import ProducerSendError

from streamkit.faust.folding import Batch, Outgoing
from streamkit.records import RawHeaders
from streamkit.traffic import count

_log = structlog.get_logger("streamkit.faust.delivery")

_FIRST_DELAY_S: Final = 0.1
_LONGEST_DELAY_S: Final = 5.0
_KNOWN_KEYS: Final = 1_000

NOT_DELIVERED: Final = (KafkaError, ProducerSendError)
"""The broker did not acknowledge a record, though it may have it all the same."""

Entry = tuple[bytes | None, bytes | None, RawHeaders]
"""Key, value and headers of a record to publish."""


class Sender(Protocol):
    """Faust's producer, as streamkit.faust.consuming has it."""

    async def partitions_of(self, topic: str) -> int:
        """How many partitions a topic has; raises one of NOT_DELIVERED."""

    async def send_all(
        self, place: TopicPartition, records: Sequence[Entry]
    ) -> Sequence[Awaitable[Any]]:
        """Hand records to the producer, in order; what it gives is done when the broker has them.
        It and that raise one of NOT_DELIVERED."""


class Delivery:
    """Publishes one fold's batches. `changelog` is with the prefix, which is `prefix`."""

    def __init__(
        self, sender: Callable[[], Sender], *, changelog: str, partitions: int, prefix: str = ""
    ) -> None:
        self._sender = sender
        self._changelog = changelog
        self._partitions = partitions
        self._prefix = prefix
        self._by_key = DefaultPartitioner()
        self._known: dict[tuple[bytes, int], int] = {}
        self.stuck = False
        """Whether the broker refuses, and everything waits for it."""

    async def deliver(self, batch: Batch, ours: Callable[[], bool]) -> bool:
        """Until the broker has everything; False if it was not ours any more before that."""
        try:
            attempt = 0
            while True:
                try:
                    return await self._sent(batch, ours)
                except NOT_DELIVERED as error:
                    self.stuck = True
                    _log.warning("not_delivered", reason=str(error), records=len(batch.events))
                await asyncio.sleep(_delay_s(attempt))
                attempt += 1
        finally:
            self.stuck = False

    async def publish(self, events: Iterable[Outgoing]) -> None:
        """Events that no record caused. Raises one of NOT_DELIVERED."""
        await self._acknowledged(await self._places(events))

    async def _sent(self, batch: Batch, ours: Callable[[], bool]) -> bool:
        changes: dict[TopicPartition, list[Entry]] = {
            TopicPartition(self._changelog, partition): [
                (key, value, []) for key, value in some.items()
            ]
            for partition, some in batch.changes.items()
        }
        if not ours():
            return False
        await self._acknowledged(changes)
        events = await self._places(batch.events)
        if not ours():
            return False
        await self._acknowledged(events)
        if self.stuck:
            _log.info("delivered_again")
        return ours()

    async def _places(self, events: Iterable[Outgoing]) -> dict[TopicPartition, list[Entry]]:
        places: dict[TopicPartition, list[Entry]] = {}
        counts: dict[str, int] = {}
        for topic, beside, key, value, headers in events:
            if topic not in counts:
                counts[topic] = await self._sender().partitions_of(self._prefix + topic)
            number = beside
            if number is None or counts[topic] != self._partitions:
                number = self._place(key, counts[topic])
            place = TopicPartition(self._prefix + topic, number)
            places.setdefault(place, []).append((key, value, headers))
        return places

    def _place(self, key: bytes | None, count: int) -> int:
        """The partition of a key; few keys cause most events, and murmur2 in Python takes 20 µs."""
        if key is None or (number := self._known.get((key, count))) is None:
            everywhere = list(range(count))
            number = self._by_key(key, everywhere, everywhere)
            if key is not None:
                if len(self._known) >= _KNOWN_KEYS:
                    self._known.clear()
                self._known[key, count] = number
        return number

    async def _acknowledged(self, places: Mapping[TopicPartition, Sequence[Entry]]) -> None:
        """Send, and wait for the broker; whatever it raises, nothing is on its way any more."""
        pending: list[Awaitable[Any]] = []
        failed: list[BaseException] = []
        for place, entries in places.items():
            try:
                pending += await self._sender().send_all(place, entries)
            except NOT_DELIVERED as error:
                failed.append(error)
        results = await asyncio.gather(*pending, return_exceptions=True)
        failed += [one for one in results if isinstance(one, BaseException)]
        if failed:
            raise failed[0]
        for place, entries in places.items():
            count("published", place.topic.removeprefix(self._prefix), len(entries))


def _delay_s(attempt: int) -> float:
    return min(_LONGEST_DELAY_S, _FIRST_DELAY_S * 2.0 ** min(attempt, 10))
