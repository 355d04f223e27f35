"""A world of topics for one test, and workers in it, each a process of its own."""

import json
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final, NamedTuple
from uuid import uuid4

import httpx
from confluent_kafka import (
    OFFSET_BEGINNING,
    Consumer,
    TopicPartition,
)
from confluent_kafka.admin import AdminClient, NewTopic  # type: ignore[attr-defined]

import worker_tasks
from streamkit import Codec, Emit, Publisher, RawRecord, SchemaIds, Taken
from streamkit.control import TOPIC as CONTROLS
from streamkit.heartbeat import TOPIC as HEARTBEATS
from streamkit.kafka.consumer import taken
from streamkit.notices import TOPIC as NOTICES
from worker_process import DEADLINE_S, WorkerProcess, until
from worker_tasks import DONE, LANES, LETTERS, Trail, retry_topics, schema_of

TIERS: Final = "1s,2s"

_ASK_S: Final = 3.0
_STUCK_S: Final = 10.0


@dataclass(frozen=True, slots=True)
class Places:
    """Where the broker and the others are."""

    kafka: str
    registry: str
    redis: str


class Task(NamedTuple):
    """A record to be: see worker_tasks. Without a key it has its name's."""

    name: str
    do: str = "echo"
    amount: object = ""
    lane: str = "batch"
    key: str = ""

    @property
    def emit(self) -> Emit:
        """As an event."""
        value = {"name": self.name, "do": self.do, "amount": str(self.amount)}
        return Emit(LANES[self.lane], self.key or self.name, value, f"asked-{self.name}")


@dataclass(frozen=True, slots=True)
class Done:
    """What the sink has of a record. `partition` and `offset` are those that it came from; `at` is
    the broker's second of its arrival."""

    id: str
    name: str
    lane: str
    worker: str
    failure: str
    attempt: int
    engine: int
    partition: int
    offset: int
    at: float
    headers: Mapping[str, str]


class Tail:
    """Reads a topic from its beginning, whenever it is looked at."""

    def __init__(self, kafka: str, topic: str, prefix: str) -> None:
        self.records: list[Taken] = []
        self._kafka, self._prefix = kafka, prefix
        self._consumer = _consumer(kafka, "nobody")
        name = prefix + topic
        numbers = self._consumer.list_topics(name, timeout=20).topics[name].partitions
        self.places = [TopicPartition(name, number, OFFSET_BEGINNING) for number in numbers]
        self._read = dict.fromkeys(numbers, 0)
        self._consumer.assign(self.places)

    def look(self) -> Sequence[Taken]:
        """All that has come, as far as it is here."""
        self._poll(0.05)
        return self.records

    def read_to(self, ends: Mapping[int, int]) -> None:
        """Read on until each partition is read to its end."""
        deadline = time.monotonic() + DEADLINE_S
        stuck = time.monotonic() + _STUCK_S
        while any(self._read[number] < end for number, end in ends.items()):
            assert time.monotonic() < deadline, "the end was not reached"
            self._poll(0.1)
            if time.monotonic() > stuck:
                self._reopen()
                stuck = time.monotonic() + _STUCK_S

    def _reopen(self) -> None:
        """Begin anew where it stands: librdkafka may never fetch again from a broker that was
        started anew while it looked for its place there."""
        self._consumer.close()
        self._consumer = _consumer(self._kafka, "nobody")
        self.places = [
            TopicPartition(one.topic, one.partition, self._read[one.partition] or OFFSET_BEGINNING)
            for one in self.places
        ]
        self._consumer.assign(self.places)

    def close(self) -> None:
        """Read no more."""
        self._consumer.close()

    def _poll(self, timeout_s: float) -> None:
        for message in self._consumer.consume(1000, timeout_s):
            if message.error() is None:
                one = taken(message, self._prefix)
                self._read[one.partition] = one.offset + 1
                self.records.append(one)


class World:
    """Topics of a prefix, and who writes and reads them."""

    def __init__(self, places: Places, folder: Path, *, partitions: int = 4) -> None:
        self.places = places
        self.prefix = f"w{uuid4().hex[:8]}."
        self.folder = folder
        self.trail = Trail(folder / "trail")
        self.workers: list[WorkerProcess] = []
        self._partitions = partitions
        self._askers: dict[str, Consumer] = {}
        ids = SchemaIds(places.registry, folder / "ids")
        self._codec = Codec(ids, schema_of, self.prefix)
        self._tails: dict[str, Tail] = {}
        self._sink: list[Done] = []
        self._make()
        self.publisher = Publisher(
            places.kafka, source="test", codec=self._codec, prefix=self.prefix
        )

    def _make(self) -> None:
        appended = {"message.timestamp.type": "LogAppendTime"}
        settings: dict[str, tuple[int, dict[str, str]]] = {
            **dict.fromkeys(LANES.values(), (self._partitions, {})),
            **dict.fromkeys(retry_topics(TIERS), (2, appended)),
            DONE: (self._partitions, appended),
            LETTERS: (1, {}),
            NOTICES: (1, {}),
            CONTROLS: (1, {"cleanup.policy": "compact"}),
            HEARTBEATS: (1, {}),
        }
        new = [
            NewTopic(self.prefix + name, count, 1, config=config)
            for name, (count, config) in settings.items()
        ]
        admin = AdminClient({"bootstrap.servers": self.places.kafka})
        for made in admin.create_topics(new).values():
            made.result(30)
        with httpx.Client(base_url=self.places.registry, timeout=30) as http:
            for topic in (*LANES.values(), DONE, NOTICES, CONTROLS, HEARTBEATS):
                body = {"schema": json.dumps(schema_of(topic))}
                subject = f"{self.prefix}{topic}-value"
                http.post(f"/subjects/{subject}/versions", json=body).raise_for_status()

    def close(self) -> None:
        """End all workers, and read and write no more."""
        for worker in self.workers:
            worker.end()
        for tail in self._tails.values():
            tail.close()
        for asker in self._askers.values():
            asker.close()
        self.publisher.close()

    # -- writing --------------------------------------------------------------------------------

    def ask(self, *tasks: Task, traceparent: str | None = None) -> None:
        """Publish, and wait until it is there."""
        self.publisher.publish([task.emit for task in tasks], traceparent)

    def set(self, target: str, **what: object) -> None:
        """Say on `ops.control.v1` what holds for a target."""
        value = {
            "target": target,
            "rate": None,
            "paused": False,
            "paused_until": None,
            "concurrency": None,
            "owner": "mia",
            "reason": "a test",
            "changed_at": datetime.now(UTC),
            **what,
        }
        self.publisher.publish([Emit(CONTROLS, target, value, str(uuid4()))])

    def unset(self, target: str) -> None:
        """Take it back."""
        self.publisher.publish_raw([RawRecord(CONTROLS, target.encode(), None, [])])

    # -- reading --------------------------------------------------------------------------------

    def tail(self, topic: str) -> Tail:
        """The reader of a topic."""
        if topic not in self._tails:
            self._tails[topic] = Tail(self.places.kafka, topic, self.prefix)
        return self._tails[topic]

    def done(self) -> Sequence[Done]:
        """What the sink has so far."""
        self.tail(DONE).look()
        return self._decoded_done()

    def names(self) -> Sequence[str]:
        """Of the records that the sink has, in the order of their arrival."""
        return [one.name for one in self.done()]

    def await_done(self, *names: str, timeout_s: float = DEADLINE_S) -> Sequence[Done]:
        """What the sink has, once it has all of these."""
        wanted = set(names)
        until(lambda: wanted <= set(self.names()), f"{sorted(wanted)} are done", timeout_s)
        return self.done()

    def all_of(self, topic: str) -> Sequence[Taken]:
        """What lies in a topic at this moment."""
        self.catch_up(topic)
        return self.tail(topic).records

    def all_done(self) -> Sequence[Done]:
        """What the sink has at this moment."""
        self.catch_up(DONE)
        return self._decoded_done()

    def decoded(self, topic: str) -> Sequence[Mapping[str, Any]]:
        """The values of a topic."""
        return [self._codec.decode(topic, one.value) for one in self.all_of(topic)]

    def catch_up(self, *topics: str) -> None:
        """Read topics to where they end now. Raises KafkaException while the broker is away."""
        ends = self.ends(*topics)
        for topic in topics:
            self.tail(topic).read_to({n: end for (name, n), end in ends.items() if name == topic})

    def ends(self, *topics: str) -> Mapping[tuple[str, int], int]:
        """How far topics reach at this moment, by topic and partition; raises as `catch_up`."""
        asker = self._asker("nobody")
        return {
            self._named(place): asker.get_watermark_offsets(place, timeout=_ASK_S)[1]
            for topic in topics
            for place in self.tail(topic).places
        }

    def committed(self, lane: str) -> Mapping[tuple[str, int], int]:
        """What a lane's group has committed, by topic and partition; raises as `catch_up`."""
        topics = retry_topics(TIERS) if lane == "retry" else (LANES[lane],)
        places = [place for topic in topics for place in self.tail(topic).places]
        asker = self._asker(f"darkroom.{worker_tasks.SERVICE}.{lane}")
        found = asker.committed(places, timeout=_ASK_S)
        return {self._named(one): one.offset for one in found if one.offset >= 0}

    def _asker(self, group: str) -> Consumer:
        """A consumer that fetches nothing, so that its questions wait behind nothing."""
        if group not in self._askers:
            self._askers[group] = _consumer(self.places.kafka, self.prefix + group)
        return self._askers[group]

    def _named(self, place: TopicPartition) -> tuple[str, int]:
        return (place.topic.removeprefix(self.prefix), place.partition)

    def _decoded_done(self) -> Sequence[Done]:
        records = self.tail(DONE).records
        self._sink += [self._done(record) for record in records[len(self._sink) :]]
        return self._sink

    def _done(self, record: Taken) -> Done:
        headers = {name: value.decode() for name, value in record.headers}
        value = self._codec.decode(DONE, record.value)
        return Done(headers["ce_id"], at=record.timestamp_ms / 1000, headers=headers, **value)

    # -- workers --------------------------------------------------------------------------------

    def worker(self, name: str = "a", **settings: object) -> WorkerProcess:
        """Start a worker; `settings` by their names, but those in capitals as variables."""
        told = {
            "kafka": self.places.kafka,
            "registry": self.places.registry,
            "redis": self.places.redis,
            "cache": self.folder / "ids",
            "topic_prefix": self.prefix,
            "retry_tiers": TIERS,
            "trail": self.folder / "trail",
            **settings,
        }
        log = self.folder / f"{self.prefix}{len(self.workers)}-{name}.log"
        worker = WorkerProcess(name, log, told)
        self.workers.append(worker)
        return worker


def _consumer(kafka: str, group: str) -> Consumer:
    """One that joins no group and commits nothing, and keeps quiet while the broker is away."""
    return Consumer(
        {
            "bootstrap.servers": kafka,
            "group.id": group,
            "enable.auto.commit": False,
            "log_level": 0,
        }
    )
