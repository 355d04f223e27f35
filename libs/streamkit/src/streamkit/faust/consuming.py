"""Where Faust's way of reading is changed: it loses records, delays them, and is slow with many.

Faust hands every record through two tasks, a queue and a stream, and finds out which offset to
commit from a list of acknowledged ones; in doing so it commits past records that it threw away.
Here the records of the topics that have an inbox go there straight from the fetcher, by chunks, and
an offset is committed when what was read before it, in order, is finished.
"""

import asyncio
import time
from collections.abc import Awaitable, Callable, Collection, Iterator, Mapping
from typing import Any, Final

import faust
from aiokafka import AIOKafkaConsumer
from aiokafka.structs import RecordMetadata, TopicPartition
from faust.transport.drivers import aiokafka as driver
from mode.utils.queues import FlowControlEvent

from streamkit.faust.inbox import Chunk, Inbox

PATIENT_MS: Final = 1_000
"""Longest wait of the broker for records to answer with, if no partition is left out: one that is
assigned or wanted meanwhile waits for it, but nothing else does."""

IMPATIENT_MS: Final = 50
"""The same if one is: bounds what its records may be delayed by.

aiokafka has one fetch request under way to a broker. A partition that was being read when the
request was made is not in it, so its new records wait until the request returns: after 1.5 s, as
Faust has it, where nothing else arrives. That would be most of a single record's way.
"""

LARGEST_BATCH: Final = 900_000
"""Bytes of records that are sent together: what a broker takes as one, 1,048,588 by default, has
room for it. A larger record goes alone."""

PACE_S: Final = 0.015
"""Least time between two fetches: under load, records come by dozens instead of one by one."""


class KeepingFlow(FlowControlEvent):
    """Flow control that throws nothing away when the flow goes on.

    When its tables are recovered, Faust lets the fetcher read on, then seeks, then resumes the
    flow, by which it also clears its queues, and with them what was fetched in between. What must
    be cleared, the queues at a revocation, Faust clears apart from this.
    """

    def resume(self) -> None:
        """Let agents have records."""
        self._suspend.clear()
        self._resume.set()


class _Thread(driver.AIOKafkaConsumerThread):
    """Faust's thread with a consumer.

    `epoch` counts how often reading began anew: by an assignment, a revocation, or going back to
    the committed offsets. It changes on this thread in the same step as the position does, so a
    fetch belongs to the epoch that holds when it returns.
    """

    epoch = 0
    fetched_in = 0
    assigned: Collection[Any] = ()
    inboxes: Mapping[str, Inbox]
    _wanted: Collection[Any] = ()

    def _create_worker_consumer(self, transport: driver.Transport) -> AIOKafkaConsumer:
        consumer: Any = super()._create_worker_consumer(transport)
        # Neither Faust nor a public name of aiokafka lets it be set once the consumer exists;
        # it is read when the consumer starts.
        consumer._fetch_max_wait_ms = IMPATIENT_MS
        return consumer

    async def on_start(self) -> None:
        """Start the consumer."""
        await super().on_start()
        wait_by_what_is_asked(self._ensure_consumer(), lambda: self._wanted)

    async def _fetch_records(
        self, consumer: Any, active_partitions: set[Any], *args: Any, **options: Any
    ) -> Any:
        self._wanted = active_partitions
        records = await super()._fetch_records(consumer, active_partitions, *args, **options)
        self.fetched_in = self.epoch
        return records

    def on_partitions_revoked(self, revoked: Any) -> Any:
        self.epoch += 1
        self.assigned = ()
        return super().on_partitions_revoked(revoked)

    async def on_partitions_assigned(self, assigned: Any, generation_id: int = 0) -> None:
        self.epoch += 1
        self.assigned = frozenset(assigned)
        await super().on_partitions_assigned(assigned, generation_id)

    async def seek_to_committed(self) -> Mapping[Any, int]:
        """Go back to what is committed, in all partitions at once."""
        found: Mapping[Any, int] = await self.call_thread(self._seek_to_committed)
        return found

    async def _seek_to_committed(self) -> Mapping[Any, int | None]:
        """As AIOKafkaConsumer.seek_to_committed, which however leaves a partition where it is if
        nothing was committed of it, so that what was read of it and dropped would be lost."""
        consumer: Any = self._ensure_consumer()
        places = consumer.assignment()
        offsets = {place: await consumer.committed(place) for place in places}
        fresh = [place for place in places if not offsets[place] and place.topic in self.inboxes]
        begins = await consumer.beginning_offsets(fresh) if fresh else {}
        for place in places:
            offset = offsets[place] or begins.get(place)
            if offset is not None:
                consumer.seek(place, offset)
        self.epoch += 1
        return offsets


def wait_by_what_is_asked(consumer: Any, wanted: Callable[[], Collection[Any]]) -> None:
    """Have a started AIOKafkaConsumer's fetches wait long if no wanted partition is left out.

    Nothing public says that of one something was fetched and not yet taken. (Of tables' partitions
    something always is: Faust takes no more of them once they are recovered.)
    """
    fetcher = consumer._fetcher
    actions = fetcher._get_actions_per_node

    def with_patience(assignment: Any) -> Any:
        left_out = not fetcher._records.keys().isdisjoint(wanted())
        fetcher._fetch_max_wait_ms = IMPATIENT_MS if left_out else PATIENT_MS
        return actions(assignment)

    fetcher._get_actions_per_node = with_patience


class Consumer(driver.Consumer):
    """Faust's consumer, whose records for inboxes go there, past conductor and streams."""

    _thread: _Thread

    def __init__(self, *args: Any, **options: Any) -> None:
        super().__init__(*args, **options)
        self._finished: dict[Any, int] = {}
        self._finished_in = 0
        self._next_fetch = 0.0

    def _new_consumer_thread(self) -> driver.AIOKafkaConsumerThread:
        thread = _Thread(self, loop=self.loop, beacon=self.beacon)
        thread.inboxes = self._inboxes
        return thread

    @property
    def _inboxes(self) -> Mapping[str, Inbox]:
        transport: Any = self.transport
        inboxes: Mapping[str, Inbox] = transport.inboxes
        return inboxes

    @property
    def epoch(self) -> int:
        """The present one; what is of an earlier one is not ours any more."""
        return self._thread.epoch

    @property
    def assigned(self) -> Collection[Any]:
        """The partitions that the group has given us."""
        return self._thread.assigned

    def finished(self, epoch: int, offsets: Mapping[Any, int]) -> None:
        """Everything before these offsets that was read in this epoch is done, in order."""
        if epoch != self.epoch:
            return
        if self._finished_in != epoch:
            self._finished, self._finished_in = {}, epoch
        self._finished.update(offsets)

    async def _wait_next_records(self, timeout: float) -> tuple[Any, Any]:  # noqa: ASYNC109
        """What was fetched, but without what went into inboxes."""
        for inbox in self._inboxes.values():
            await inbox.room()
        await self._pace()
        records, active = await super()._wait_next_records(timeout)
        if not records:
            return records, active
        epoch = self._thread.fetched_in
        rest: dict[Any, Any] = {}
        for place, some in records.items():
            if place.topic not in self._inboxes:
                rest[place] = some
            elif self.flow_active and epoch == self.epoch:
                self._inboxes[place.topic].put(Chunk(place, epoch, some))
        return rest, active

    async def _pace(self) -> None:
        now = self.loop.time()
        if now < self._next_fetch:
            await asyncio.sleep(self._next_fetch - now)
        self._next_fetch = self.loop.time() + PACE_S

    def _filter_tps_with_pending_acks(self, topics: Any = None) -> Iterator[Any]:
        yield from super()._filter_tps_with_pending_acks(topics)
        yield from self._finished

    def _new_offset(self, tp: Any) -> int | None:
        if tp.topic not in self._inboxes:
            offset: int | None = super()._new_offset(tp)
            return offset
        return self._finished.get(tp) if self._finished_in == self.epoch else None

    def verify_event_path(self, now: float, tp: Any) -> None:
        """Faust's watch over its streams; those of inboxes are not in use."""
        if tp.topic not in self._inboxes:
            super().verify_event_path(now, tp)


Pending = Awaitable[RecordMetadata]
"""Done when the broker has a batch; raises KafkaError."""


class Producer(driver.Producer):
    """Faust's producer, which also takes records by batches: one future instead of hundreds."""

    async def partitions_of(self, topic: str) -> int:
        """How many partitions a topic has."""
        return len(await self._ensure_producer().partitions_for(topic))

    async def send_all(self, place: TopicPartition, records: list[Any]) -> list[Pending]:
        """Hand (key, value, headers) to the producer, in order; may wait for room."""
        producer: Any = self._ensure_producer()
        pending: list[Pending] = []
        now_ms = int(1000 * time.time())
        batch = producer.create_batch()
        for key, value, headers in records:
            if batch.append(timestamp=now_ms, key=key, value=value, headers=headers) is None:
                pending.append(
                    await producer.send_batch(batch, place.topic, partition=place.partition)
                )
                batch = producer.create_batch()
                batch.append(timestamp=now_ms, key=key, value=value, headers=headers)
        pending.append(await producer.send_batch(batch, place.topic, partition=place.partition))
        return pending


class Transport(driver.Transport):
    """Faust's Kafka transport with these parts; `inboxes` are by topic, with the prefix."""

    Consumer = Consumer
    Producer = Producer

    def __init__(self, *args: Any, **options: Any) -> None:
        super().__init__(*args, **options)
        self.inboxes: dict[str, Inbox] = {}


def mend(app: faust.App) -> Transport:
    """Change an app so, and give its transport; to be called before it has topics or agents.

    For consumer and producer alike: an app makes a transport for each, which here is the same.
    """
    app.flow_control = KeepingFlow()
    transport = Transport(app.conf.broker_consumer, app)
    app.transport = transport
    app.producer_transport = transport
    return transport
