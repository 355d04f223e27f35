"""The outbox relay: repetitions are allowed, losses are not."""

import random
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from typing import Any
from uuid import uuid4

import psycopg
import pytest
from confluent_kafka import Consumer
from confluent_kafka.admin import AdminClient, NewTopic  # type: ignore[attr-defined]

from darkroom_schemas import names
from gateway import db
from gateway.catalog.outbox import Outbox, backlog
from gateway.control.duty import Duty
from gateway.control.relay import Relay
from infrastructure import Infrastructure
from streamkit import Codec, Emit, Publisher, PublishError, RawRecord

Example = Callable[..., dict[str, Any]]


class Killed(BaseException):
    """The process is gone: nothing after this line happens."""


class Broker:
    """A broker that acknowledges all it gets, or fails as the test wants."""

    def __init__(self) -> None:
        self.taken: list[str] = []
        self.before: Callable[[], None] = lambda: None
        self.after: Callable[[], None] = lambda: None

    def publish(self, records: Sequence[RawRecord]) -> None:
        self.before()
        self.taken += [dict(record.headers)["ce_id"].decode() for record in records]
        self.after()


@pytest.fixture
def broker() -> Broker:
    return Broker()


@pytest.fixture
def write(outbox: Outbox, example: Example) -> Callable[..., list[str]]:
    """Writes events into the outbox, one transaction each; returns their ids."""

    def add(conn: db.Conn, count: int) -> list[str]:
        event_ids = [str(uuid4()) for _ in range(count)]
        for event_id in event_ids:
            with conn.transaction():
                outbox.add(conn, [event(example, event_id)])
        return event_ids

    return add


def event(example: Example, event_id: str, key: str = "key") -> Emit:
    value = example(names.PHOTO_SUBMITTED["high"], submission_id=event_id)
    return Emit(names.PHOTO_SUBMITTED["high"], key, value, event_id)


def drain(conn: db.Conn, relay: Relay) -> None:
    while relay.turn(conn):
        pass


def raise_killed() -> None:
    raise Killed


def until(condition: Callable[[], object], what: str, seconds: float = 20) -> None:
    """Wait for a condition; fails after `seconds`."""
    pause = threading.Event()
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, f"in vain: {what}"
        pause.wait(0.02)


def test_events_are_published_in_order_and_forgotten(
    conn: db.Conn, broker: Broker, write: Callable[..., list[str]]
) -> None:
    written = write(conn, 25)
    drain(conn, Relay(broker.publish, rows=10))

    assert broker.taken == written
    assert backlog(conn).rows == 0


def test_a_relay_killed_between_publishing_and_forgetting_only_repeats(
    database: str, conn: db.Conn, broker: Broker, write: Callable[..., list[str]]
) -> None:
    written = write(conn, 5)
    broker.after = raise_killed
    with pytest.raises(Killed), db.connect(database, name="killed") as first:
        Relay(broker.publish).turn(first)
    broker.after = lambda: None

    drain(conn, Relay(broker.publish))
    assert broker.taken == written * 2
    assert backlog(conn).rows == 0


@pytest.mark.parametrize("seed", range(5))
def test_whenever_the_relay_is_killed_nothing_is_lost(
    database: str, conn: db.Conn, broker: Broker, write: Callable[..., list[str]], seed: int
) -> None:
    written = write(conn, 60)
    chance = random.Random(seed)

    def perhaps() -> None:
        if chance.random() < 0.3:
            raise Killed

    broker.before = broker.after = perhaps
    while backlog(conn).rows:
        with pytest.raises(Killed), db.connect(database, name="relay") as own:  # noqa: PT012
            drain(own, Relay(broker.publish, rows=7))
            raise_killed()

    assert list(dict.fromkeys(broker.taken)) == written


def test_a_row_that_is_committed_late_is_not_forgotten_unpublished(
    database: str, conn: db.Conn, broker: Broker, outbox: Outbox, example: Example
) -> None:
    slow, quick = str(uuid4()), str(uuid4())
    relay = Relay(broker.publish)
    with db.connect(database, name="slow door") as door:
        with door.transaction():
            outbox.add(door, [event(example, slow)])
            outbox.add(conn, [event(example, quick)])
            drain(conn, relay)
            assert broker.taken == [quick]
        drain(conn, relay)

    assert broker.taken == [quick, slow]


def test_a_row_written_while_others_are_published_stays(
    database: str, conn: db.Conn, broker: Broker, write: Callable[..., list[str]]
) -> None:
    first = write(conn, 3)
    second: list[str] = []
    with db.connect(database, name="door") as door:
        broker.after = lambda: second.extend(write(door, 2))
        Relay(broker.publish).turn(conn)

    assert backlog(conn).rows == len(second) == 2
    assert broker.taken == first


def test_an_event_of_a_transaction_that_failed_is_never_seen(
    conn: db.Conn, broker: Broker, outbox: Outbox, example: Example
) -> None:
    with pytest.raises(psycopg.errors.DivisionByZero), conn.transaction():  # noqa: PT012
        outbox.add(conn, [event(example, str(uuid4()))])
        conn.execute("SELECT 1 / 0")
    drain(conn, Relay(broker.publish))

    assert broker.taken == []


@contextmanager
def running(*duties: Duty) -> Iterator[list[threading.Event]]:
    """Runs duties in threads; gives the events that stop them."""
    stops = [threading.Event() for _ in duties]
    threads = [
        threading.Thread(target=duty.run, args=(stop,))
        for duty, stop in zip(duties, stops, strict=True)
    ]
    for thread in threads:
        thread.start()
    try:
        yield stops
    finally:
        for stop in stops:
            stop.set()
        for thread in threads:
            thread.join(timeout=20)
        assert not any(thread.is_alive() for thread in threads)


def relaying(database: str, relay: Relay, name: str = "relay") -> Duty:
    return Duty("relay", 1, partial(db.connect, database, name=name), relay.work)


def test_a_running_relay_hears_of_a_commit_at_once(
    database: str, conn: db.Conn, broker: Broker, write: Callable[..., list[str]]
) -> None:
    with running(relaying(database, Relay(broker.publish))):
        first = write(conn, 1)
        until(lambda: broker.taken == first, "the relay has started")
        committed = time.monotonic()
        second = write(conn, 1)
        until(lambda: broker.taken == first + second, "the second event", seconds=0.9)
        assert time.monotonic() - committed < 0.9  # the poll alone would take a second


def test_a_broker_that_is_away_is_waited_for(
    database: str, conn: db.Conn, broker: Broker, write: Callable[..., list[str]]
) -> None:
    outages = iter([True, True, True])

    def fail_at_first() -> None:
        if next(outages, False):
            raise PublishError("no broker")

    broker.before = fail_at_first
    written = write(conn, 3)
    with running(relaying(database, Relay(broker.publish))):
        until(lambda: backlog(conn).rows == 0, "the outbox is empty")

    assert broker.taken == written


def test_a_relay_whose_connection_is_cut_goes_on(
    database: str, conn: db.Conn, broker: Broker, write: Callable[..., list[str]]
) -> None:
    with running(relaying(database, Relay(broker.publish), "cut")):
        written = write(conn, 1)
        until(lambda: broker.taken == written, "the first event")
        conn.execute(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = 'cut'"
            " AND datname = current_database()"
        )
        written += write(conn, 2)
        until(lambda: list(dict.fromkeys(broker.taken)) == written, "events after the cut")


def test_of_two_replicas_one_relays_and_the_other_takes_over(
    database: str, conn: db.Conn, write: Callable[..., list[str]]
) -> None:
    brokers = Broker(), Broker()
    duties = [relaying(database, Relay(one.publish)) for one in brokers]
    with running(*duties) as stops:
        written = write(conn, 4)
        until(lambda: backlog(conn).rows == 0, "the outbox is empty")
        leader = 0 if brokers[0].taken else 1
        assert brokers[leader].taken == written
        assert brokers[1 - leader].taken == []

        stops[leader].set()
        written = write(conn, 3)
        until(lambda: brokers[1 - leader].taken == written, "the other has taken over")


# --- on a real broker ------------------------------------------------------------------------


@pytest.fixture
def prefix(infrastructure: Infrastructure) -> Iterator[str]:
    """A topic prefix of the test's own, with the topic of submissions."""
    prefix = f"outbox-{uuid4().hex}."
    admin = AdminClient({"bootstrap.servers": infrastructure.kafka})
    topic = NewTopic(prefix + names.PHOTO_SUBMITTED["high"], num_partitions=4)
    admin.create_topics([topic])[topic.topic].result(timeout=30)
    yield prefix
    admin.delete_topics([topic.topic])[topic.topic].result(timeout=30)


def read(kafka: str, topic: str, count: int) -> list[Any]:
    """`count` records of a topic, or what came within 30 s."""
    group = {"bootstrap.servers": kafka, "group.id": str(uuid4()), "auto.offset.reset": "earliest"}
    consumer = Consumer(group)
    consumer.subscribe([topic])
    found: list[Any] = []
    deadline = time.monotonic() + 30
    while len(found) < count and time.monotonic() < deadline:
        found += consumer.consume(count, timeout=1)
    consumer.close()
    return found


@pytest.fixture
def publisher(infrastructure: Infrastructure, prefix: str, codec: Codec) -> Iterator[Publisher]:
    """Publishes to the real broker."""
    publisher = Publisher(infrastructure.kafka, source="gateway", codec=codec, prefix=prefix)
    yield publisher
    publisher.close()


def test_events_reach_kafka_once_in_the_order_of_their_key(
    *,
    infrastructure: Infrastructure,
    publisher: Publisher,
    prefix: str,
    database: str,
    conn: db.Conn,
    outbox: Outbox,
    example: Example,
) -> None:
    topic = names.PHOTO_SUBMITTED["high"]
    given: dict[str, list[str]] = {}
    for number in range(300):
        event_id = str(uuid4())
        given.setdefault(f"key-{number % 17}", []).append(event_id)
        outbox.add(conn, [event(example, event_id, f"key-{number % 17}")])
    rows = conn.execute("SELECT event_id, value FROM outbox")
    values = {str(row["event_id"]): row["value"] for row in rows}

    with running(relaying(database, Relay(publisher.publish_raw, rows=64))):
        until(lambda: backlog(conn).rows == 0, "the outbox is empty", seconds=60)

    taken: dict[str, list[str]] = {}
    for record in read(infrastructure.kafka, prefix + topic, 300):
        ce_id = dict(record.headers())["ce_id"].decode()
        assert record.value() == values[ce_id]
        taken.setdefault(record.key().decode(), []).append(ce_id)
    assert taken == given
