"""What is read goes into inboxes, and is committed when it is finished in the epoch it is of."""

from collections.abc import Callable
from types import SimpleNamespace
from typing import Any, ClassVar

import faust
import pytest
from aiokafka.structs import TopicPartition
from faust.transport.drivers import aiokafka as driver
from mode.utils.queues import FlowControlQueue

from streamkit.faust import consuming
from streamkit.faust.consuming import Consumer, KeepingFlow, Producer, Transport, mend
from streamkit.faust.inbox import Chunk, Inbox

OURS = TopicPartition("ours", 0)
FRESH = TopicPartition("ours", 1)
THEIRS = TopicPartition("changelog", 0)


def test_resuming_keeps_what_was_fetched_and_clearing_does_not() -> None:
    flow = KeepingFlow()
    queue: Any = FlowControlQueue(flow_control=flow, clear_on_resume=True)
    flow.suspend()
    queue.force_put_nowait("record")
    flow.resume()
    assert flow.is_active()
    assert queue.qsize() == 1
    flow.clear()
    assert queue.qsize() == 0


@pytest.fixture
async def app() -> faust.App:
    return faust.App("test", broker="kafka://127.0.0.1:1", store="memory://", web_enabled=False)


@pytest.fixture
async def transport(app: faust.App) -> Transport:
    return mend(app)


@pytest.fixture
async def consumer(app: faust.App, transport: Transport) -> Any:
    transport.inboxes["ours"] = Inbox(10)
    found: Any = app.consumer
    found._thread.inboxes = transport.inboxes
    return found


async def test_the_app_has_these_parts(app: faust.App, consumer: Any) -> None:
    assert isinstance(app.flow_control, KeepingFlow)
    assert isinstance(consumer, Consumer)
    assert isinstance(app.producer, Producer)


async def test_the_broker_may_hold_back_for_long_only_a_fetch_that_leaves_nothing_wanted_out(
    app: faust.App, consumer: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    thread = consumer._thread
    kafka = thread._create_worker_consumer(consumer.transport)
    assert kafka._fetch_max_wait_ms == consuming.IMPATIENT_MS
    waits: list[int] = []

    class Fetcher:
        _records: ClassVar[dict[Any, str]] = {}
        _fetch_max_wait_ms = consuming.IMPATIENT_MS

        def _get_actions_per_node(self, assignment: str) -> str:
            waits.append(self._fetch_max_wait_ms)
            return assignment

    async def started(_self: Any) -> None:
        thread._consumer = SimpleNamespace(_fetcher=Fetcher())

    async def fetched(*_: Any, **_options: Any) -> None: ...

    monkeypatch.setattr(driver.AIOKafkaConsumerThread, "on_start", started)
    monkeypatch.setattr(driver.AIOKafkaConsumerThread, "_fetch_records", fetched)
    await thread.on_start()
    await thread._fetch_records(thread._consumer, {OURS, FRESH})
    fetcher = thread._consumer._fetcher
    for not_taken in ({}, {THEIRS: "of a table"}, {THEIRS: "", OURS: "not yet taken"}, {}):
        Fetcher._records = not_taken
        assert fetcher._get_actions_per_node("assignment") == "assignment"
    long, short = consuming.PATIENT_MS, consuming.IMPATIENT_MS
    assert waits == [long, long, short, long]


@pytest.fixture
def fetched(monkeypatch: pytest.MonkeyPatch) -> Callable[..., None]:
    """Sets what the next fetch gives."""
    records: dict[Any, Any] = {}

    async def wait_next_records(_self: Any, _timeout: float) -> tuple[Any, Any]:
        return dict(records), {OURS, THEIRS}

    monkeypatch.setattr(driver.Consumer, "_wait_next_records", wait_next_records)

    def give(**more: Any) -> None:
        records.clear()
        records.update({OURS: [1, 2], THEIRS: [3]} if not more else {})

    return give


async def test_records_of_topics_with_an_inbox_go_there_and_the_others_fausts_way(
    consumer: Any, transport: Transport, fetched: Any
) -> None:
    fetched()
    records, active = await consumer._wait_next_records(1.0)
    assert (records, active) == ({THEIRS: [3]}, {OURS, THEIRS})
    (chunk,) = await transport.inboxes["ours"].take(10)
    assert (chunk.place, list(chunk.records)) == (OURS, [1, 2])
    assert chunk.epoch == consumer.epoch


async def test_nothing_fetched_is_nothing_given(consumer: Any, fetched: Any) -> None:
    fetched(nothing=True)
    assert await consumer._wait_next_records(1.0) == ({}, {OURS, THEIRS})


@pytest.mark.parametrize("what", ["flow stopped", "position changed"])
async def test_what_is_fetched_while_reading_begins_anew_is_dropped(
    consumer: Any, transport: Transport, fetched: Any, what: str
) -> None:
    fetched()
    if what == "flow stopped":
        consumer.flow_active = False
    else:
        consumer._thread.epoch += 1
    records, _ = await consumer._wait_next_records(1.0)
    assert records == {THEIRS: [3]}
    transport.inboxes["ours"].put(Chunk(OURS, 0, ["marker"]))
    (chunk,) = await transport.inboxes["ours"].take(10)
    assert list(chunk.records) == ["marker"]


async def test_a_fetch_is_of_the_epoch_in_which_it_returns(
    consumer: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    thread = consumer._thread

    async def fetch_records(self: Any, _consumer: Any, _active: set[Any]) -> str:
        self.epoch += 1
        return "records"

    monkeypatch.setattr(driver.AIOKafkaConsumerThread, "_fetch_records", fetch_records)
    assert await thread._fetch_records(None, {OURS}) == "records"
    assert thread.fetched_in == thread.epoch == 1


async def test_assignment_and_revocation_begin_an_epoch(
    consumer: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def told(*_: Any) -> None: ...

    monkeypatch.setattr(driver.AIOKafkaConsumerThread, "on_partitions_revoked", told)
    monkeypatch.setattr(driver.AIOKafkaConsumerThread, "on_partitions_assigned", told)
    revoking = consumer._thread.on_partitions_revoked({OURS})
    assert consumer.epoch == 1
    await revoking
    await consumer._thread.on_partitions_assigned({OURS})
    assert consumer.epoch == 2


async def test_what_is_assigned_is_known_until_it_is_revoked(
    consumer: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def told(*_: Any) -> None: ...

    monkeypatch.setattr(driver.AIOKafkaConsumerThread, "on_partitions_revoked", told)
    monkeypatch.setattr(driver.AIOKafkaConsumerThread, "on_partitions_assigned", told)
    assert not consumer.assigned
    await consumer._thread.on_partitions_assigned({OURS, THEIRS})
    assert set(consumer.assigned) == {OURS, THEIRS}
    await consumer._thread.on_partitions_revoked({OURS, THEIRS})
    assert not consumer.assigned


class Kafka:
    """A consumer with committed offsets."""

    def __init__(self) -> None:
        self.position: dict[Any, int] = {}

    def assignment(self) -> set[Any]:
        return {OURS, FRESH, THEIRS}

    async def committed(self, place: Any) -> int | None:
        return 17 if place == OURS else None

    async def beginning_offsets(self, places: Any) -> dict[Any, int]:
        assert set(places) == {FRESH}
        return {FRESH: 3}

    def seek(self, place: Any, offset: int) -> None:
        self.position[place] = offset


async def test_going_back_reaches_partitions_of_which_nothing_was_committed_yet(
    consumer: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    kafka, thread = Kafka(), consumer._thread
    thread._consumer = kafka

    async def call_thread(function: Any) -> Any:
        return await function()

    monkeypatch.setattr(thread, "call_thread", call_thread)
    offsets = await thread.seek_to_committed()
    assert offsets == {OURS: 17, FRESH: None, THEIRS: None}
    assert kafka.position == {OURS: 17, FRESH: 3}
    assert consumer.epoch == 1


async def test_going_back_asks_for_no_begins_where_all_is_committed(
    consumer: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    kafka: Any = Kafka()
    monkeypatch.setattr(kafka, "assignment", lambda: {OURS})
    consumer._thread._consumer = kafka
    await consumer._thread._seek_to_committed()
    assert kafka.position == {OURS: 17}


async def test_what_is_finished_is_committed_only_in_its_epoch(consumer: Any) -> None:
    consumer.finished(0, {OURS: 5})
    assert OURS in set(consumer._filter_tps_with_pending_acks())
    assert consumer._new_offset(OURS) == 5
    consumer._thread.epoch = 1
    assert consumer._new_offset(OURS) is None
    consumer.finished(0, {OURS: 9})
    assert consumer._new_offset(OURS) is None
    consumer.finished(1, {OURS: 4})
    assert consumer._new_offset(OURS) == 4


async def test_other_topics_are_committed_as_faust_does(consumer: Any) -> None:
    consumer._acked[THEIRS] = [4, 5]
    assert consumer._new_offset(THEIRS) == 6


async def test_faust_watches_over_its_own_streams_only(
    consumer: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    watched: list[Any] = []
    monkeypatch.setattr(
        driver.Consumer, "verify_event_path", lambda _self, _now, place: watched.append(place)
    )
    consumer.verify_event_path(0.0, OURS)
    consumer.verify_event_path(0.0, THEIRS)
    assert watched == [THEIRS]


async def test_fetches_keep_a_pace(consumer: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    slept: list[float] = []

    async def sleep(seconds: float) -> None:
        slept.append(seconds)

    monkeypatch.setattr("streamkit.faust.consuming.asyncio.sleep", sleep)
    await consumer._pace()
    assert slept == []
    await consumer._pace()
    (pause,) = slept
    assert 0 < pause <= consuming.PACE_S


class Builder:
    """A batch with room for two records."""

    def __init__(self) -> None:
        self.records: list[Any] = []

    def append(self, *, timestamp: int, key: Any, value: Any, headers: Any) -> object | None:
        assert timestamp > 0
        if len(self.records) == 2:
            return None
        self.records.append((key, value, headers))
        return object()


async def test_records_are_sent_by_batches_each_as_large_as_it_may_be(
    app: faust.App, transport: Transport
) -> None:
    sent: list[Any] = []

    async def send_batch(batch: Builder, topic: str, partition: int) -> str:
        sent.append((topic, partition, [record[0] for record in batch.records]))
        return f"pending {len(sent)}"

    async def partitions_for(_topic: str) -> set[int]:
        return {0, 1, 2}

    producer: Any = app.producer
    producer._producer = SimpleNamespace(
        create_batch=Builder, send_batch=send_batch, partitions_for=partitions_for
    )
    records: list[Any] = [(bytes([number]), b"", []) for number in range(5)]
    pending = await producer.send_all(TopicPartition("t", 2), records)
    assert pending == ["pending 1", "pending 2", "pending 3"]
    assert sent == [
        ("t", 2, [b"\x00", b"\x01"]),
        ("t", 2, [b"\x02", b"\x03"]),
        ("t", 2, [b"\x04"]),
    ]
    assert await producer.partitions_of("t") == 3
