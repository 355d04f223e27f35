"""A test kit for the author of a service: produce, let time go by, look at what came out."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

from streamkit.codec import AvroSchema, Codec
from streamkit.deadletters import PREFIX as LETTER
from streamkit.engine.direct import DirectEngine
from streamkit.engine.work import Work
from streamkit.errors import Reject
from streamkit.headers import event_headers, readable
from streamkit.job import Job
from streamkit.messages import Emit
from streamkit.notices import TOPIC as NOTICES
from streamkit.policy import Policy
from streamkit.ports import Engine, Report
from streamkit.publishing import event_record
from streamkit.records import RawRecord, Taken
from streamkit.standing import Tell
from streamkit.testing.joining import SteppedJoin
from streamkit.testing.world import MakeSlots, SteppedWorker, World
from streamkit.workflow import Workflow


@dataclass(frozen=True, slots=True)
class Event:
    """An event as a reader of its topic gets it."""

    topic: str
    key: str
    value: Mapping[str, Any]
    id: str
    headers: Mapping[str, str]


@dataclass(frozen=True, slots=True)
class Letter:
    """A dead letter: what was given up, and why. `value` is the original's bytes."""

    topic: str
    key: str
    value: bytes | None
    code: str
    message: str
    attempts: int
    headers: Mapping[str, str]


class MemoryIds:
    """Schema ids without a registry: a schema gets one when it is first used."""

    def __init__(self) -> None:
        self._schemas: list[AvroSchema] = []

    def id_of(self, _subject: str, schema: AvroSchema) -> int:
        """See Ids."""
        if schema not in self._schemas:
            self._schemas.append(schema)
        return self._schemas.index(schema)

    def schema(self, number: int) -> AvroSchema:
        """See Ids. Raises Reject for a number that was never given."""
        if number >= len(self._schemas):
            raise Reject("unknown_schema", f"There is no schema {number}.")
        return self._schemas[number]


class Kit:
    """Runs jobs, or the stages and joins of workflows, on a broker in memory, with a clock that
    only `advance` moves.

    `schema_of` gives the Avro schema of a topic's values. `takes` says how many seconds of the
    kit's time a piece of work lasts; nothing, if it is None. `policy` is what a worker's settings
    make: retry tiers, weights, deadlines.

    >>> kit = Kit(job, schema_of=schema_of)
    >>> kit.produce("text.said.high.v1", "key", {"text": "hello"})
    >>> kit.outputs("text.shouted.v1")[0].value["text"]
    'HELLO'
    """

    def __init__(
        self,
        *work: Job | Workflow,
        schema_of: Callable[[str], AvroSchema],
        policy: Policy | None = None,
        takes: Callable[[Work], float] | None = None,
        partitions: int = 4,
    ) -> None:
        self.world = World(partitions=partitions)
        self._codec = Codec(MemoryIds(), schema_of)
        self._takes = takes
        self._knows_notices = _knows(schema_of, NOTICES)
        self._read: set[str] = set()
        """Topics that somebody here reads."""
        self.workers: list[SteppedWorker] = []
        self.engines: list[DirectEngine] = []
        """All engines of all workers, to be told to die or to hang."""
        self.joins: list[SteppedJoin] = []
        for one in work:
            if isinstance(one, Workflow):
                self._add_workflow(one, policy)
            else:
                self.add(one, policy=policy)
        self.world.settle()

    def add(
        self,
        job: Job,
        *,
        policy: Policy | None = None,
        slots: MakeSlots | None = None,
        tell: Tell | None = None,
    ) -> SteppedWorker:
        """One more worker, of the same job or another one; `slots` gives it other engines, `tell`
        is told how it stands."""
        worker = SteppedWorker(
            self.world,
            job,
            partial(self._engine, job),
            policy=policy,
            encode=partial(event_record, self._codec, job.service) if self._knows_notices else None,
            slots=slots,
            tell=tell,
        )
        self.workers.append(worker)
        self._read.update(topic for lane in job.lanes for topic in lane.topics)
        return worker

    def produce(
        self,
        topic: str,
        key: str,
        value: Mapping[str, Any],
        *,
        headers: Mapping[str, str] | None = None,
        event_id: str = "",
    ) -> None:
        """Publish an event, and let all happen that then does without time going by.

        Raises ValueError for a topic that nobody here reads: a slip of the pen would make every
        test green that expects nothing.
        """
        if topic not in self._read:
            raise ValueError(f"nobody reads {topic}; they read {', '.join(sorted(self._read))}")
        named = dict(event_headers(Emit(topic, key, value, event_id or key), source="test"))
        named |= {name: text.encode() for name, text in (headers or {}).items()}
        self.produce_raw(topic, key.encode(), self._codec.encode(topic, value), [*named.items()])

    def produce_raw(
        self,
        topic: str,
        key: bytes | None,
        value: bytes | None,
        headers: Sequence[tuple[str, bytes]] = (),
    ) -> None:
        """Publish bytes as they are, as any producer could."""
        self.world.broker.append(RawRecord(topic, key, value, list(headers)))
        self.world.settle()

    def advance(self, seconds: float) -> None:
        """Let time go by, and everything happen that then does; raises ValueError below 0."""
        if seconds < 0:
            raise ValueError("time does not go back")
        self.world.advance(seconds)

    def outputs(self, topic: str) -> list[Event]:
        """All events of a topic, in the order in which they were published."""
        return [self._event(record) for record in self.world.broker.records(topic)]

    def dead_letters(self, service: str = "") -> list[Letter]:
        """What was given up, by a service or by that of the first job; raises ValueError for a
        service that is not here."""
        letters = {worker.job.service: worker.job.dead_letters for worker in self.workers}
        if service and service not in letters:
            raise ValueError(f"no job of {service!r} is here; there are {', '.join(letters)}")
        topic = letters[service or self.workers[0].job.service]
        records = self.world.broker.records(topic)
        return [_letter(one) for one in records if f"{LETTER}mark" not in dict(one.headers)]

    def notices(self) -> list[Event]:
        """What a person would have been told."""
        return self.outputs(NOTICES)

    def unread(self, job: Job, lane: str) -> int:
        """Records of a lane that its group has not committed."""
        broker = self.world.broker
        committed = broker.committed(f"darkroom.{job.service}.{lane}")
        topics = next(one.topics for one in job.lanes if one.name == lane)
        ends = {record.place: broker.end(record.place)
                for topic in topics for record in broker.records(topic)}  # fmt: skip
        return sum(end - committed.get(place, 0) for place, end in ends.items())

    def _add_workflow(self, workflow: Workflow, policy: Policy | None) -> None:
        for topic in workflow.all_topics():
            self.world.declare(topic.name, topic.partitions)
            self._read.add(topic.name)
        for job in workflow.jobs():
            self.add(job, policy=policy)
        for join in workflow.joins():
            encode = partial(event_record, self._codec, join.name)
            self.joins.append(SteppedJoin(self.world, join, self._codec, encode))

    def _engine(self, job: Job, name: str, *, report: Report) -> Engine:
        engine = DirectEngine(
            name,
            job.handlers,
            self._codec,
            report,
            source=job.service,
            batching=job.batching is not None,
            later=self.world.later,
            takes=self._takes,
        )
        self.engines.append(engine)
        return engine

    def _event(self, record: Taken) -> Event:
        headers = readable(record.headers)
        return Event(
            record.topic,
            (record.key or b"").decode(),
            self._codec.decode(record.topic, record.value),
            headers.get("ce_id", ""),
            headers,
        )


def _knows(schema_of: Callable[[str], AvroSchema], topic: str) -> bool:
    try:
        schema_of(topic)
    except LookupError:
        return False
    return True


def _letter(record: Taken) -> Letter:
    headers = readable(record.headers)
    return Letter(
        topic=headers[f"{LETTER}topic"],
        key=(record.key or b"").decode("utf-8", "replace"),
        value=record.value,
        code=headers[f"{LETTER}code"],
        message=headers[f"{LETTER}message"],
        attempts=int(headers[f"{LETTER}attempts"]),
        headers=headers,
    )
