"""Hours of faults in seconds: workers, their broker and their engines, all from one seed.

Two services read the same topics; each record's parts meet again in a join. Meanwhile workers are
killed and stopped, the broker goes away or acknowledges nothing, groups forget their members,
engines die and hang, and some records never succeed. Cores, feeds, retry plans, trackers and joins
are the real ones. At the end everything is healed, and what was promised is looked at:

- every record of each service ended, by its event or as a dead letter, and nothing is left;
- no offset was ever committed below which something was unfinished;
- every key has an outcome, and an outcome is the same whenever it is said again.

The same seed gives the same run, so a failure can be repeated and stepped through.
"""

import json
import random
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Any, Final

from streamkit.engine.work import Kind, Result, Work
from streamkit.job import Job, Lane
from streamkit.memory.broker import MemoryBroker
from streamkit.memory.groups import Group, Member
from streamkit.messages import Emit, Handlers
from streamkit.policy import Policy
from streamkit.ports import EngineGone, EngineReady, EngineResults, Report
from streamkit.records import Offsets, Partition, RawRecord, Taken
from streamkit.testing.joining import SteppedJoin
from streamkit.testing.world import SteppedWorker, World
from streamkit.workflow import Failures, Join, Joined, Part

SERVICES: Final = ("left", "right")
LANES: Final = {"high": "said.high", "batch": "said.batch"}
HEALING_S: Final = 900.0

Origin = tuple[str, str, int, int]
"""A service, and the topic, partition and offset of a record that it is to work on."""


@dataclass(frozen=True, slots=True)
class Faults:
    """Mean seconds between two faults of a kind; 0: none."""

    kill: float = 40.0
    freeze: float = 90.0
    broker: float = 150.0
    acks: float = 120.0
    expel: float = 200.0
    engine: float = 25.0


@dataclass(slots=True)
class Verdict:
    """What came of a simulation; sound if `broken` is empty."""

    seed: int
    simulated_s: float = 0.0
    records: int = 0
    events: int = 0
    dead_letters: int = 0
    outcomes: int = 0
    faults: Counter[str] = field(default_factory=Counter)
    broken: list[str] = field(default_factory=list)

    @property
    def duplicates(self) -> int:
        """Events that were published more than once; allowed, and to be few."""
        return self.events - 2 * self.records + self.dead_letters


class WatchedBroker(MemoryBroker):
    """Knows when every record was last worked on, and checks each commit against that."""

    def __init__(self, world: World, broken: list[str]) -> None:
        super().__init__(world.clock, partitions=3)
        self._broken = broken
        self._appended = 0
        self._born: dict[Partition, list[int]] = {}
        self._settled: dict[Origin, int] = {}
        self._watched: dict[str, Group] = {}

    def append(self, record: RawRecord) -> Taken:
        """See MemoryBroker."""
        taken = super().append(record)
        self._appended += 1
        self._born.setdefault(taken.place, []).append(self._appended)
        origin = origin_of(taken)
        if origin is not None:
            self._settled[origin] = self._appended
        return taken

    def group(self, name: str) -> Group:
        """See MemoryBroker."""
        if name not in self._watched:
            group = WatchedGroup(self.clock, self.partitions_of)
            group.check = partial(self.check, name)
            self._watched[name] = self._groups[name] = group
        return self._watched[name]

    def check(self, group: str, before: Offsets, after: Offsets) -> None:
        """Note every record that a commit passes although nothing came of it yet."""
        service = group.split(".")[1]
        if service not in SERVICES:
            return
        for place, offset in after.items():
            for record in self.read(place, before.get(place, 0), offset - before.get(place, 0)):
                origin = origin_of(record) if ".retry-" in place.topic else None
                origin = origin or (service, *record.place, record.offset)
                if self._settled.get(origin, 0) <= self._born[place][record.offset]:
                    self._broken.append(f"{group} committed past {origin}, unfinished")


class WatchedGroup(Group):
    """Tells of each commit."""

    check: Callable[[Offsets, Offsets], None]

    def commit(self, member: Member, offsets: Offsets) -> bool:
        """See Group."""
        before = dict(self.committed)
        done = super().commit(member, offsets)
        if done:
            self.check(before, self.committed)
        return done


def origin_of(record: Taken | RawRecord) -> Origin | None:
    """What a record was made of: an event, a retry or a dead letter of which."""
    headers = dict(record.headers)
    if "src" in headers:
        service, topic, number, offset = headers["src"].decode().split("|")
        return service, topic, int(number), int(offset)
    if record.topic.endswith(".dlq"):
        service, prefix = headers["dl_service"].decode(), "dl_"
    elif ".retry-" in record.topic:
        service, prefix = record.topic.split(".")[1], "rt_"
    else:
        return None
    place = [headers[prefix + name] for name in ("topic", "partition", "offset")]
    return service, place[0].decode(), int(place[1]), int(place[2])


class SimulatedEngine:
    """An Engine that works in simulated time, and answers as a record's own words say:
    `KIND-TIMES`: it fails so often in that way, then succeeds."""

    def __init__(
        self, name: str, report: Report, service: str, world: World, chance: random.Random
    ) -> None:
        self.name = name
        self._report = report
        self._service = service
        self._world = world
        self._chance = chance
        self._works: list[Work] = []
        self._life = 0
        self._loaded = False

    def start(self) -> None:
        """See Engine."""
        life = self._life
        self._world.later(self._chance.uniform(0.1, 2.0), lambda: self._ready(life))

    def submit(self, works: Sequence[Work]) -> None:
        """See Engine."""
        idle = not self._works
        self._works += works
        if idle:
            self._begin()

    def recall(self) -> None:
        """See Engine."""
        back, self._works = self._works[1:], self._works[:1]
        if back:
            self._tell([Result(work.id, "returned", 0.0) for work in back])

    def replace(self, why: str) -> None:
        """See Engine."""
        self._life += 1
        self._loaded = False
        unfinished, self._works = [work.id for work in self._works], []
        self._report(EngineGone(self.name, unfinished, why))
        self.start()

    def die(self) -> None:
        """End as by a segmentation fault, if it lives."""
        if self._loaded:
            self.replace("died")

    def memory_bytes(self) -> int:
        """See Engine."""
        return 0

    def close(self, timeout_s: float) -> None:  # noqa: ARG002 - nothing to wait for
        """See Engine."""
        self._life += 1

    def _ready(self, life: int) -> None:
        if life == self._life:
            self._loaded = True
            self._report(EngineReady(self.name, 0.5))

    def _begin(self) -> None:
        life, work = self._life, self._works[0]
        kind, seconds = self._fate(work), self._chance.choice((0.0, 0.001, 0.02, 0.3))
        if kind == "hang":
            return
        self._world.later(seconds, lambda: self._end(life, kind, seconds))

    def _end(self, life: int, kind: str, seconds: float) -> None:
        if life != self._life:
            return
        if kind == "die":
            self.die()
            return
        work = self._works.pop(0)
        self._tell([_answer(self._service, work, kind, seconds)])
        if self._works:
            self._begin()

    def _tell(self, results: Sequence[Result]) -> None:
        self._report(EngineResults(self.name, results))

    def _fate(self, work: Work) -> str:
        if work.failure is not None:
            return "done"
        kind, times = json.loads(work.record.value or b"{}")["fate"]
        return str(kind) if work.attempt <= times else "done"


_KINDS: Final[Mapping[str, Kind]] = {"reject": "reject", "retry": "retry", "deadline": "deadline"}


def _answer(service: str, work: Work, kind: str, seconds: float) -> Result:
    record, ms = work.record, 1000 * seconds
    if kind != "done":
        return Result(work.id, _KINDS[kind], ms, (), kind, "simulated")
    failed = work.failure is not None
    value = json.dumps({"stage": service, "failed": failed}).encode()
    source = f"{service}|{record.topic}|{record.partition}|{record.offset}"
    headers = [("src", source.encode())] if not failed else []
    topic = "failed" if failed else service
    return Result(work.id, "done", ms, (RawRecord(topic, record.key, value, headers),))


class JsonCodec:
    """Values as JSON."""

    def decode(self, _topic: str, data: bytes | None) -> dict[str, Any]:
        """See Codec."""
        return dict(json.loads(data or b"{}"))


def _decide(joined: Joined) -> dict[str, Any]:
    return {"parts": sorted(joined.parts), "failed": sorted(joined.failed)}


JOIN: Final = Join(
    name="meeting",
    parts=tuple(Part(name, name) for name in SERVICES),
    failures=(Failures("failed", lambda value: str(value["stage"])),),
    into="outcome",
    decide=_decide,
)


class Simulation:
    """See the module."""

    def __init__(
        self,
        seed: int,
        *,
        hours: float = 1.0,
        workers: int = 3,
        records_per_s: float = 1.0,
        faults: Faults = Faults(),
    ) -> None:
        self.verdict = Verdict(seed)
        self._chance = random.Random(seed)  # noqa: S311 - to be repeatable is the point
        self._end = hours * 3600
        self._faults = faults
        self._rate = records_per_s
        self.world = World()
        self.world.broker = WatchedBroker(self.world, self.verdict.broken)
        self._engines: dict[int, list[SimulatedEngine]] = {}
        self._workers: list[SteppedWorker] = []
        self._policy = Policy(hard_deadline_s=20.0, drain_s=5.0)
        for service in SERVICES:
            for _ in range(workers):
                self._start(service)
        self._states: dict[str, Any] = {}
        self._join = self._start_join()

    def run(self) -> Verdict:
        """The whole of it; a minute of real time is several hours of simulated time."""
        self._plan(1 / self._rate, self._produce)
        for name, mean_s in ((f, getattr(self._faults, f)) for f in Faults.__slots__):
            if mean_s:
                self._plan(mean_s, partial(self._fault, name))
        self.world.advance(self._end)
        self._heal()
        self.world.advance(HEALING_S)
        self._judge()
        self.verdict.simulated_s = self.world.clock.now
        return self.verdict

    # -- what happens ---------------------------------------------------------------------------

    def _plan(self, mean_s: float, what: Callable[[], None]) -> None:
        """Have it happen at random moments until the end."""

        def happen() -> None:
            if self.world.clock.now < self._end:
                what()
                self._plan(mean_s, what)

        self.world.later(self._chance.expovariate(1 / mean_s), happen)

    def _produce(self) -> None:
        fate = self._chance.choices(
            (["done", 0], ["retry", 1], ["retry", 3], ["retry", 99], ["reject", 99],
             ["die", 1], ["die", 99], ["hang", 1], ["deadline", 2]),
            (80, 5, 3, 2, 3, 2, 1, 1, 3),
        )[0]  # fmt: skip
        self.verdict.records += 1
        key = f"key-{self.verdict.records}".encode()
        topic = self._chance.choice(list(LANES.values()))
        value = json.dumps({"fate": fate}).encode()
        self.world.broker.append(RawRecord(topic, key, value, []))

    def _fault(self, name: str) -> None:
        self.verdict.faults[name] += 1
        getattr(self, f"_fault_{name}")()

    def _fault_kill(self) -> None:
        if self._chance.random() < 0.1:
            self._join.kill()
            self._join = self._start_join()
            return
        worker = self._chance.choice(self._workers)
        self._workers.remove(worker)
        if self._chance.random() < 0.3:
            worker.stop()
        else:
            worker.kill()
        service = worker.job.service
        self.world.later(self._chance.uniform(0.0, 15.0), lambda: self._start(service))

    def _fault_freeze(self) -> None:
        worker = self._chance.choice(self._workers)
        worker.frozen = True
        self.world.later(self._chance.uniform(1.0, 60.0), partial(_thaw, worker))

    def _fault_broker(self) -> None:
        broker = self.world.broker
        broker.down = True
        self.world.later(self._chance.uniform(1.0, 50.0), lambda: setattr(broker, "down", False))

    def _fault_acks(self) -> None:
        broker, fault = self.world.broker, self._chance.choice(("drop_acks", "drop_sends"))
        setattr(broker, fault, True)
        self.world.later(self._chance.uniform(0.1, 3.0), lambda: setattr(broker, fault, False))

    def _fault_expel(self) -> None:
        self.world.broker.expel_all()

    def _fault_engine(self) -> None:
        worker = self._chance.choice(self._workers)
        self._chance.choice(self._engines[id(worker)]).die()

    def _heal(self) -> None:
        broker = self.world.broker
        broker.down = broker.drop_acks = broker.drop_sends = False
        for worker in self._workers:
            worker.frozen = False

    # -- who lives ------------------------------------------------------------------------------

    def _start(self, service: str) -> None:
        engines: list[SimulatedEngine] = []
        job = Job(
            service,
            "1",
            tuple(Lane(name, (topic,)) for name, topic in LANES.items()),
            _no_handlers,
            f"darkroom.{service}.dlq",
        )

        def engine(name: str, *, report: Report) -> SimulatedEngine:
            engines.append(SimulatedEngine(name, report, service, self.world, self._chance))
            return engines[-1]

        seed = self._chance.randrange(2**32)
        worker = SteppedWorker(self.world, job, engine, policy=self._policy, seed=seed)
        self._engines[id(worker)] = engines
        self._workers.append(worker)

    def _start_join(self) -> SteppedJoin:
        return SteppedJoin(self.world, JOIN, JsonCodec(), _encode, self._states)

    # -- what must hold -------------------------------------------------------------------------

    def _judge(self) -> None:
        verdict, broker = self.verdict, self.world.broker
        said = [record for topic in LANES.values() for record in broker.records(topic)]
        for service in SERVICES:
            self._judge_service(service, said)
        outcomes: dict[str, set[bytes]] = {}
        for record in broker.records("outcome"):
            name = dict(record.headers)["id"].decode()
            outcomes.setdefault(name, set()).add(record.value or b"")
        verdict.outcomes = len(outcomes)
        verdict.broken += [f"outcome {n} was said in two ways" for n, v in outcomes.items()
                           if len(v) > 1]  # fmt: skip
        ended = {record.key for record in broker.records("outcome")}
        verdict.broken += [f"{one.key!r} has no outcome" for one in said if one.key not in ended]

    def _judge_service(self, service: str, said: Sequence[Taken]) -> None:
        verdict, broker = self.verdict, self.world.broker
        events = [origin_of(record) for record in broker.records(service)]
        letters = [origin_of(record) for record in broker.records(f"darkroom.{service}.dlq")]
        verdict.events += len(events)
        verdict.dead_letters += len(set(letters))
        ended = {*events, *letters}
        for record in said:
            origin = (service, *record.place, record.offset)
            if origin not in ended:
                verdict.broken.append(f"{origin} was lost: {record.value!r}")
        for lane, topic in LANES.items():
            committed = broker.committed(f"darkroom.{service}.{lane}")
            for number in range(broker.partitions_of(topic)):
                place = Partition(topic, number)
                if committed.get(place, 0) != broker.end(place):
                    verdict.broken.append(f"{service} left {place} at {committed.get(place, 0)}")


def _thaw(worker: SteppedWorker) -> None:
    worker.frozen = False


def _no_handlers() -> Handlers:
    return Handlers({})


def _encode(emit: Emit) -> RawRecord:
    value = json.dumps(emit.value, sort_keys=True).encode()
    return RawRecord(emit.topic, emit.key.encode(), value, [("id", emit.id.encode())])
