"""How much of each lane waits, measured on a real broker and written into a real catalog."""

import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any, cast
from unittest.mock import ANY
from uuid import uuid4

import pytest
from confluent_kafka import Consumer, Producer, TopicPartition
from confluent_kafka.admin import AdminClient, NewTopic  # type: ignore[attr-defined]

from darkroom_schemas.ids import LOCAL_OWNER
from darkroom_schemas.names import OPS_LOAD, PHOTO_ANALYSIS_REQUESTED, PHOTO_SUBMITTED
from gateway import db
from gateway.api.admission import Admission
from gateway.api.catalog import Catalog
from gateway.api.problems import ProblemError
from gateway.api.writes import Recorded, Writes
from gateway.catalog import loads
from gateway.catalog.outbox import Outbox, Row, Tombstone
from gateway.catalog.submissions import HandedIn, Submission
from gateway.control.lag import Hop, KafkaOffsets
from gateway.control.loads import Loads
from gateway.load import Intake, LaneLoad, Limits
from infrastructure import Infrastructure
from streamkit import Busy, Emit

OWNER = "owner"
LIMITS = Limits(50, 100)
TOPICS = (*PHOTO_SUBMITTED.values(), *PHOTO_ANALYSIS_REQUESTED.values())
WORK = PHOTO_ANALYSIS_REQUESTED["default"]
SUBMITTED = PHOTO_SUBMITTED["default"]


class Rig:
    """A broker with the topics of photos, under a prefix of the test's own."""

    def __init__(self, kafka: str, conn: db.Conn, outbox: Outbox) -> None:
        self.kafka, self.conn = kafka, conn
        self.prefix = f"t{uuid4().hex[:8]}."
        self._admin = AdminClient({"bootstrap.servers": kafka})
        self._producer = Producer({"bootstrap.servers": kafka})
        made = self._admin.create_topics([NewTopic(self.prefix + topic, 2) for topic in TOPICS])
        for done in made.values():
            done.result(20)
        self.offsets = KafkaOffsets(kafka, prefix=self.prefix)
        self.loads = Loads(outbox, self.offsets, LIMITS)

    def close(self) -> None:
        self._admin.delete_topics([self.prefix + topic for topic in TOPICS])

    def turn(self) -> dict[str, LaneLoad]:
        """One look; what was made a moment ago may have no leader yet."""
        until = time.monotonic() + 20
        while True:
            try:
                return {load.lane: load for load in self.loads.turn(self.conn)}
            except Busy:
                if time.monotonic() > until:
                    raise

    def write(self, topic: str, records: int) -> None:
        for number in range(records):
            self._producer.produce(self.prefix + topic, b"x", partition=number % 2)
        assert self._producer.flush(20) == 0

    def member(self, service: str, topic: str = WORK) -> Consumer:
        """A worker of lane default that has its partitions."""
        config = {
            "bootstrap.servers": self.kafka,
            "group.id": f"{self.prefix}darkroom.{service}.default",
            "group.protocol": "consumer",
            "enable.auto.commit": False,
            "auto.offset.reset": "earliest",
        }
        worker = Consumer(config)
        worker.subscribe([self.prefix + topic])
        until = time.monotonic() + 30
        while len(worker.assignment()) < 2:
            assert time.monotonic() < until, "it gets no partitions"
            worker.poll(0.1)
        return worker

    def commit(self, worker: Consumer, offset: int) -> None:
        places = [TopicPartition(self.prefix + WORK, number, offset) for number in (0, 1)]
        worker.commit(offsets=places, asynchronous=False)

    def noticed(self) -> list[tuple[str, str]]:
        rows = self.conn.execute(
            "SELECT severity, title FROM notices ORDER BY recorded_at, severity"
        )
        return [(row["severity"], row["title"]) for row in rows]

    def told(self) -> list[str]:
        rows = self.conn.execute("SELECT key FROM outbox WHERE topic = %s ORDER BY id", (OPS_LOAD,))
        return [row["key"] for row in rows]


@pytest.fixture
def rig(infrastructure: Infrastructure, conn: db.Conn, outbox: Outbox) -> Iterator[Rig]:
    rig = Rig(infrastructure.kafka, conn, outbox)
    yield rig
    rig.close()


def test_a_lane_is_warned_of_refused_and_opened_again(rig: Rig) -> None:
    quiet = rig.turn()
    assert {load.state for load in quiet.values()} == {Intake.OPEN}
    assert set(rig.told()) == {"high", "default", "batch", "learning"}, "how it begins is told"
    rig.write(WORK, 60)
    assert rig.turn()["default"].state is Intake.WARNED
    rig.write(WORK, 60)
    full = rig.turn()
    assert (full["default"].records, full["default"].state) == (120, Intake.CLOSED)
    assert full["default"].most.workers == 0
    assert full["default"].retry_after_s == 60
    assert full["default"].cause == ("detector is not running: 120 photos of lane default wait.")
    assert full["high"].state is Intake.OPEN, "a lane is its own"

    workers = [rig.member(service) for service in ("detector", "ocr", "embedder")]
    for worker in workers:
        rig.commit(worker, 20)
    slower = rig.turn()["default"]
    assert (slower.records, slower.state, slower.most.workers) == (80, Intake.CLOSED, 1)
    for worker in workers:
        rig.commit(worker, 50)
        worker.close()
    assert rig.turn()["default"].state is Intake.OPEN
    assert rig.told()[4:] == ["default", "default", "default"]
    assert rig.noticed() == [
        ("critical", "New photos of lane default are refused"),
        ("info", "Photos of lane default are taken in again"),
    ]
    shown = {load.lane: load for load in loads.loads(rig.conn, OWNER)}
    assert [stage.records for stage in shown["default"].stages] == [0, 20, 20, 20]


def test_intake_and_the_outbox_count_beside_the_most_loaded_stage(
    rig: Rig, outbox: Outbox, example: Any
) -> None:
    rig.write(PHOTO_SUBMITTED["default"], 5)
    rig.write(WORK, 7)
    add_submissions(rig.conn, outbox, example, 3)
    load = rig.turn()["default"]
    assert (load.outbox, load.records) == (3, 15)


def test_who_takes_over_knows_what_was_closed(rig: Rig, outbox: Outbox) -> None:
    rig.turn()
    rig.write(WORK, 100)
    assert rig.turn()["default"].state is Intake.CLOSED
    worker = rig.member("detector")
    for service in ("ocr", "embedder"):
        other = rig.member(service)
        rig.commit(other, 50)
        other.close()
    rig.commit(worker, 20)
    worker.close()
    successor = Loads(outbox, rig.offsets, LIMITS)
    (load,) = [one for one in successor.turn(rig.conn) if one.lane == "default"]
    assert (load.records, load.state) == (60, Intake.CLOSED)


def test_what_was_handed_in_since_counts_until_it_is_measured(
    rig: Rig, outbox: Outbox, example: Any
) -> None:
    rig.turn()
    for _ in range(2):
        submit(rig.conn, lane="default")
    submit(rig.conn, lane="batch")
    standing = loads.standing(rig.conn, OWNER, "default", 100)
    assert standing == loads.Standing(Intake.OPEN, 2, None, 0)
    rig.turn()
    assert loads.standing(rig.conn, OWNER, "default", 100) == loads.Standing(
        Intake.OPEN, 0, None, 0
    )


def test_a_lane_that_fills_up_between_two_looks_is_closed_until_enough_is_done(
    rig: Rig, outbox: Outbox
) -> None:
    """However fast it drains: what the next look measures is below the mark by then."""
    rig.write(WORK, 90)
    assert rig.turn()["default"].state is Intake.WARNED
    told = len(rig.told())
    for _ in range(10):
        submit(rig.conn, lane="default")
    asks = Admission(cast(Catalog, None), outbox, LIMITS)
    assert asks.sort(rig.conn, OWNER, ["default"]) == ({}, [], ["default"])
    for _ in range(2):
        asks.look(rig.conn, OWNER, "default")
        refused, taken, filled = asks.sort(rig.conn, OWNER, ["default"])
        assert (taken, filled) == ([], [])
        assert refused[0].headers == {"Retry-After": "60"}
        assert str(refused[0].detail).startswith(
            "detector is not running: 100 photos of lane default wait."
        )
    for service in ("detector", "ocr", "embedder"):
        worker = rig.member(service)
        rig.commit(worker, 20)
        worker.close()
    later = rig.turn()["default"]
    assert (later.records, later.state) == (50, Intake.CLOSED)
    assert rig.told()[told:] == ["default"]
    assert rig.noticed() == [("critical", "New photos of lane default are refused")]
    refused, taken, _ = asks.sort(rig.conn, OWNER, ["default"])
    assert (list(refused), taken) == ([0], [])


def test_what_leaves_the_outbox_while_the_broker_is_asked_counts_once(
    rig: Rig, outbox: Outbox, example: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    rig.turn()
    add_submissions(rig.conn, outbox, example, 8)
    committed = rig.offsets._committed

    def relayed(*asked: Any) -> Any:
        """The longest part of a look, in which the relay goes on."""
        rig.conn.execute("DELETE FROM outbox WHERE topic = %s", (SUBMITTED,))
        rig.write(SUBMITTED, 8)
        return committed(*asked)

    monkeypatch.setattr(rig.offsets, "_committed", relayed)
    assert rig.turn()["default"].records == 8


def test_what_fills_an_idle_lane_between_two_looks_is_no_stages_fault(
    rig: Rig, outbox: Outbox
) -> None:
    rig.write(SUBMITTED, 34)
    worker = rig.member("intake", SUBMITTED)
    assert rig.turn()["default"].records == 34
    worker.close()
    for _ in range(66):
        submit(rig.conn, lane="default")
    asks = Admission(cast(Catalog, None), outbox, LIMITS)
    asks.look(rig.conn, OWNER, "default")
    refused, _, _ = asks.sort(rig.conn, OWNER, ["default"])
    assert str(refused[0].detail).startswith(
        "100 photos of lane default wait; 66 came in within the last "
    )
    assert refused[0].headers == {"Retry-After": "3"}
    (shown,) = [load for load in loads.loads(rig.conn, OWNER) if load.lane == "default"]
    assert (shown.state, shown.records) == (Intake.CLOSED, 100), "as the cause says"
    standing = loads.standing(rig.conn, OWNER, "default", 100)
    assert standing is not None
    assert standing.records == 100, "nothing counts twice"


def test_a_lane_that_fills_up_is_warned_of_and_closed_where_it_is_so_now_and_not_before(
    rig: Rig, outbox: Outbox
) -> None:
    rig.turn()
    told = len(rig.told())

    def fill(more: int) -> loads.Standing | None:
        for _ in range(more):
            submit(rig.conn, lane="default")
        with rig.conn.transaction():
            return loads.fill(rig.conn, OWNER, outbox, "default", LIMITS)

    assert fill(49) == loads.Standing(Intake.OPEN, 49, None, 0)
    assert len(rig.told()) == told
    warned = "50 photos of lane default wait; 50 came in within the last "
    assert fill(1) == loads.Standing(Intake.WARNED, 50, ANY, 0)
    (shown,) = [load for load in loads.loads(rig.conn, OWNER) if load.lane == "default"]
    assert (shown.state, str(shown.cause)[: len(warned)]) == (Intake.WARNED, warned)
    assert fill(49) == loads.Standing(Intake.WARNED, 99, shown.cause, 0)
    assert len(rig.told()) == told + 1
    closed = fill(1)
    assert closed is not None
    assert (closed.state, closed.records) == (Intake.CLOSED, 100)
    assert len(rig.told()) == told + 2


def test_of_photos_that_come_at_once_those_are_taken_that_the_lane_has_room_for(
    rig: Rig, outbox: Outbox
) -> None:
    rig.write(WORK, 97)
    rig.turn()
    door = Writes(outbox, 10_000, Admission(cast(Catalog, None), outbox, LIMITS))
    known = HandedIn(photo(0))
    (first,) = door.photos(rig.conn, LOCAL_OWNER, [known])
    assert isinstance(first, Recorded)

    # The first is no new work, so that of the others there is room for two.
    answers = door.photos(rig.conn, LOCAL_OWNER, [HandedIn(photo(n)) for n in range(6)])
    taken = [one for one in answers if isinstance(one, Recorded)]
    assert [one.submitted.status for one in taken] == ["joined", "new", "new"]
    assert [one.photo.photo_id for one in taken] == [photo(n).photo_id for n in range(3)]
    assert {one.code for one in answers if isinstance(one, ProblemError)} == {"lane_full"}
    assert loads.standing(rig.conn, OWNER, "default", 1000) == loads.Standing(
        Intake.CLOSED, 100, ANY, 60
    )
    asked = rig.conn.execute("SELECT key FROM outbox WHERE topic = %s", (SUBMITTED,)).fetchall()
    assert [row["key"] for row in asked] == [photo(n).photo_id for n in range(3)]


def test_a_lane_that_fills_up_again_and_again_is_refused_each_time_and_told_once(
    rig: Rig, outbox: Outbox
) -> None:
    rig.turn()
    door = Writes(outbox, 10_000, Admission(cast(Catalog, None), outbox, LIMITS))
    for fill in range(3):
        rig.conn.execute(
            "UPDATE lane_loads SET state = 'open', records = 100, measured_at = %s, since = %s",
            (clock := loads.clock(rig.conn), clock),
        )
        (answer,) = door.photos(rig.conn, LOCAL_OWNER, [HandedIn(photo(fill))])
        assert isinstance(answer, ProblemError)
        assert answer.code == "lane_full"
    assert {title for _, title in rig.noticed()} == {"New photos of lane default are refused"}
    assert len(rig.noticed()) <= 2, "once, or on both sides of a full ten minutes"


def test_what_cannot_be_said_is_not_recorded_however_its_lane_stands_by_then(
    rig: Rig, outbox: Outbox, monkeypatch: pytest.MonkeyPatch
) -> None:
    rig.turn()
    told = len(rig.told())
    for _ in range(50):
        submit(rig.conn, lane="default")
    door = Writes(outbox, 10_000, Admission(cast(Catalog, None), outbox, LIMITS))
    row, unsayable = outbox.row, {OPS_LOAD, SUBMITTED}

    def said(event: Emit | Tombstone) -> Row:
        if event.topic in unsayable:
            raise Busy("the registry is away")
        return row(event)

    monkeypatch.setattr(outbox, "row", said)

    def stands() -> tuple[int, int, Intake]:
        photos = rig.conn.execute("SELECT FROM photos JOIN analyses USING (photo_id)").fetchall()
        standing = loads.standing(rig.conn, OWNER, "default", 100)
        assert standing is not None
        return len(photos), len(rig.told()) - told, standing.state

    before, *_ = stands()
    answers = door.photos(rig.conn, LOCAL_OWNER, [HandedIn(photo(1)), HandedIn(photo(2, "batch"))])
    assert [type(answer) for answer in answers] == [Busy, Recorded]
    before += 1
    assert stands() == (before, 0, Intake.OPEN), "the lane can't be warned of, the other needs none"

    unsayable.remove(OPS_LOAD)
    with pytest.raises(Busy):
        door.photos(rig.conn, LOCAL_OWNER, [HandedIn(photo(1))])
    assert stands() == (before, 1, Intake.WARNED), "it is, but the photo can't be asked for"

    unsayable.clear()
    (answer,) = door.photos(rig.conn, LOCAL_OWNER, [HandedIn(photo(1))])
    assert isinstance(answer, Recorded)
    assert answer.submitted.status == "new"
    assert stands() == (before + 1, 1, Intake.WARNED)


def test_who_finds_a_lane_full_holds_it_no_longer_than_it_takes_to_say_so(
    rig: Rig, outbox: Outbox, database: str
) -> None:
    """Whoever records a photo may wait for somebody who holds it, however long."""
    rig.turn()
    door = Writes(outbox, 10_000, Admission(cast(Catalog, None), outbox, LIMITS))
    known = HandedIn(photo(1))
    assert isinstance(door.photos(rig.conn, LOCAL_OWNER, [known])[0], Recorded)
    for _ in range(49):
        submit(rig.conn, lane="default")
    with (
        db.connect(database, name="test") as holder,
        db.connect(database, name="test") as waiting,
        ThreadPoolExecutor(1) as pool,
    ):
        with holder.transaction():
            holder.execute(
                "SELECT FROM photos WHERE photo_id = %s FOR UPDATE", (known.submission.photo_id,)
            )
            answers = pool.submit(door.photos, waiting, LOCAL_OWNER, [known])
            until(lambda: is_waiting(holder, waiting))
            rig.conn.execute("SELECT FROM lane_loads FOR UPDATE NOWAIT")
        assert isinstance(answers.result(20)[0], Recorded)
    standing = loads.standing(rig.conn, OWNER, "default", 100)
    assert standing is not None
    assert standing.state is Intake.WARNED


def is_waiting(conn: db.Conn, other: db.Conn) -> bool:
    """Whether the other one waits for a lock of this one's."""
    row = conn.execute(
        "SELECT pg_backend_pid() = ANY(pg_blocking_pids(%s)) AS so", (other.info.backend_pid,)
    ).fetchone()
    return row is not None and bool(row["so"])


def until(true: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 20
    while not true():
        assert time.monotonic() < deadline
        time.sleep(0.01)


def photo(number: int, lane: str = "default") -> Submission:
    """A photo that is handed in."""
    return Submission(
        owner=LOCAL_OWNER,
        sha256=f"{number:064x}",
        source_uri=f"file:///objects/{number}",
        byte_size=1,
        file_name=None,
        lane=lane,
        submission_id="once",
    )


def test_what_was_measured_long_ago_says_nothing(rig: Rig) -> None:
    rig.turn()
    rig.conn.execute("UPDATE lane_loads SET measured_at = now() - interval '1 minute'")
    assert loads.standing(rig.conn, OWNER, "default", 100) is None


def test_a_broker_that_is_away_is_told_as_busy() -> None:
    offsets = KafkaOffsets("127.0.0.1:1", timeout_s=0.2)
    with pytest.raises(Busy):
        offsets.members(["darkroom.detector.default"])


def test_members_are_counted_and_a_group_that_never_was_has_none(rig: Rig) -> None:
    rig.turn()
    worker = rig.member("detector")
    groups = ["darkroom.detector.default", "darkroom.ocr.default"]
    assert rig.offsets.members(groups) == {groups[0]: 1, groups[1]: 0}
    worker.close()
    assert rig.offsets.members([]) == {}
    assert rig.offsets.look([Hop(groups[0], (WORK,))]).behind(Hop(groups[0], (WORK,))) == 0


def add_submissions(conn: db.Conn, outbox: Outbox, example: Any, count: int) -> None:
    """Photos that wait in the outbox for Kafka."""
    topic = PHOTO_SUBMITTED["default"]
    events = [
        Emit(topic, "key", example(topic, submission_id=str(number)), str(uuid4()))
        for number in range(count)
    ]
    with conn.transaction():
        outbox.add(conn, events)


def submit(conn: db.Conn, lane: str) -> None:
    """An analysis that was asked for just now."""
    photo = uuid4()
    conn.execute(
        "INSERT INTO analyses (analysis_id, photo_id, owner, submission_id, lane, submitted_at)"
        " VALUES (%s, %s, %s, %s, %s, now())",
        (uuid4(), photo, uuid4(), str(photo), lane),
    )
