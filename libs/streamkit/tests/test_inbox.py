"""Dead letters: what is told of them, and what a replay does and doesn't do."""

import threading
from collections.abc import Callable, Mapping
from dataclasses import replace
from random import Random
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from streamkit.clock import Clock
from streamkit.deadletters import dead_letter, letter_id, without_value
from streamkit.errors import Reject
from streamkit.inbox import DeadLetterBox, InboxError
from streamkit.job import Job, Lane
from streamkit.letters import (
    WAITING,
    Filter,
    Ledger,
    Letter,
    Place,
    by_code,
    letter_of,
    mark_record,
)
from streamkit.marking import CHUNK, Report
from streamkit.memory.broker import MemoryBroker
from streamkit.memory.log import MemoryLog
from streamkit.memory.producer import MemoryProducer
from streamkit.messages import Emit, Events, Failure, Handlers, Message
from streamkit.publishing import MESSAGE_TIMEOUT_S
from streamkit.rate import Rate
from streamkit.records import RawRecord, Taken
from streamkit.retry import Due, RetryPlan
from streamkit.testing import FakeClock, Kit

SAID = "said.batch.v1"
LETTERS = "darkroom.shouter.dlq"
RETRY = "darkroom.shouter.retry-5s.bulk"
LANES = {"batch": (SAID,), "high": ("said.high.v1",)}


@pytest.fixture
def clock() -> FakeClock:
    return FakeClock()


@pytest.fixture
def broker(clock: FakeClock) -> MemoryBroker:
    def pass_time(seconds: float) -> None:
        clock.now += seconds

    broker = MemoryBroker(clock, idle=pass_time)
    broker.declare(LETTERS, 1)
    return broker


@pytest.fixture
def box(broker: MemoryBroker, clock: FakeClock) -> DeadLetterBox:
    return DeadLetterBox(
        MemoryLog(broker), MemoryProducer(broker), "shouter", who="mia", clock=clock
    )


Bury = Callable[..., str]


@pytest.fixture
def bury(broker: MemoryBroker, clock: FakeClock) -> Bury:
    """Has a record die; gives its letter's id."""

    def one(
        offset: int,
        code: str = "slow",
        message: str = "It is slow.",
        lane: str = "batch",
        topic: str = SAID,
        **changes: object,
    ) -> str:
        record = Taken(topic, 3, offset, b"k%d" % offset, b"v%d" % offset, [("h", b"1")], 7)
        record = record._replace(**changes)  # type: ignore[arg-type]
        failure = Failure(code, message, 4)
        letter = dead_letter(
            LETTERS,
            record,
            failure,
            service="shouter",
            version="1.2",
            lane=lane,
            now_s=clock.time(),
        )
        broker.append(letter)
        return letter_id("shouter", topic, 3, offset)

    return one


def waiting(broker: MemoryBroker, topic: str = RETRY) -> list[Due]:
    """What lies in a retry topic."""
    plan = RetryPlan("shouter")
    read = [plan.read(record, LANES) for record in broker.records(topic)]
    assert not [one for one in read if isinstance(one, Reject)]
    return [one for one in read if isinstance(one, Due)]


# -- a letter ---------------------------------------------------------------------------------


def test_a_letter_is_the_record_and_says_where_from_and_why(
    box: DeadLetterBox, bury: Bury, clock: FakeClock
) -> None:
    name = bury(17)
    letter, died = box.show(name)
    assert died == Taken(SAID, 3, 17, b"k17", b"v17", [("h", b"1")], 7)
    assert (letter.state, letter.code, letter.message) == ("waiting", "slow", "It is slow.")
    assert (letter.attempts, letter.service, letter.version) == (4, "shouter", "1.2")
    assert (letter.lane, letter.key, letter.size) == ("batch", "k17", 3)
    assert letter.died_ms == int(clock.time() * 1000)


def test_letter_headers_that_a_record_brought_are_dropped(box: DeadLetterBox, bury: Bury) -> None:
    name = bury(1, headers=[("dl_code", b"forged"), ("dl_mark", b"discarded"), ("h", b"1")])
    letter, died = box.show(name)
    assert (letter.code, letter.state, died.headers) == ("slow", "waiting", [("h", b"1")])


def test_without_a_moment_given_a_letter_is_dated_by_the_machines_clock() -> None:
    record = Taken(SAID, 0, 1, None, None, [], 0)
    letter = dead_letter(LETTERS, record, Failure("a", "b", 1), service="s", version="1")
    headers = dict(letter.headers)
    assert headers["dl_time"].startswith(b"20")
    assert headers["dl_lane"] == b""


def test_a_letter_is_found_by_the_beginning_of_its_id(box: DeadLetterBox, bury: Bury) -> None:
    name = bury(1)
    bury(2)
    assert box.show(name[:8])[0].id == name


def test_an_id_that_is_none_or_ambiguous_is_refused(box: DeadLetterBox, bury: Bury) -> None:
    for offset in range(20):
        bury(offset)
    with pytest.raises(InboxError, match="no letters of shouter have an id that begins"):
        box.show("zzzz")
    with pytest.raises(InboxError, match="20 letters of shouter"):
        box.show("")


def test_a_letter_that_stands_there_twice_is_one(box: DeadLetterBox, bury: Bury) -> None:
    bury(1, message="first")
    bury(1, message="again")
    (letter,) = box.letters()
    assert (letter.deaths, letter.message) == (2, "again")


def test_a_service_without_a_topic_for_letters_says_what_helps(clock: FakeClock) -> None:
    class Empty(MemoryLog):
        def has(self, topic: str) -> bool:
            return False

    broker = MemoryBroker(clock)
    box = DeadLetterBox(Empty(broker), MemoryProducer(broker), "shouter")
    with pytest.raises(InboxError, match="darkroom topics apply"):
        box.letters()


# -- filters ----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "wanted",
    [
        Filter(code="bad"),
        Filter(topic="said.high.v1"),
        Filter(lane="high"),
        Filter(key="k2"),
        Filter(text="NOTHING"),
        Filter(ids=(letter_id("shouter", "said.high.v1", 3, 2)[:9],)),
        Filter(code="bad", lane="high", text="there"),
    ],
)
def test_a_filter_takes_what_fits_all_of_it(box: DeadLetterBox, bury: Bury, wanted: Filter) -> None:
    bury(1)
    bad = bury(2, "bad", "There is nothing.", "high", "said.high.v1")
    assert [letter.id for letter in box.letters(wanted)] == [bad]
    assert wanted.narrow
    assert not WAITING.narrow


def test_a_filter_bounds_when_a_record_died(
    box: DeadLetterBox, bury: Bury, clock: FakeClock
) -> None:
    names = []
    for offset in range(3):
        names.append(bury(offset))
        clock.now += 60
    start = int(clock.time() * 1000) - 180_000
    second = Filter(since_ms=start + 60_000, until_ms=start + 120_000)
    assert [letter.id for letter in box.letters(second)] == [names[1]]


def test_the_last_letter_comes_first(box: DeadLetterBox, bury: Bury, clock: FakeClock) -> None:
    first = bury(5)
    clock.now += 1
    last = bury(1)
    assert [letter.id for letter in box.letters()] == [last, first]


def test_letters_are_counted_by_their_code(box: DeadLetterBox, bury: Bury) -> None:
    for offset, code in enumerate(["slow", "bad", "slow"]):
        bury(offset, code)
    assert list(by_code(box.letters()).items()) == [("slow", 2), ("bad", 1)]


# -- replay -----------------------------------------------------------------------------------


def test_a_replay_gives_the_record_to_the_failing_service_alone(
    broker: MemoryBroker, box: DeadLetterBox, bury: Bury, clock: FakeClock
) -> None:
    name = bury(17)
    report = box.replay(WAITING)
    assert (report.meant, report.done, report.failed, report.stopped) == (1, 1, [], "")
    (due,) = waiting(broker)
    assert due.record == Taken(SAID, 3, 17, b"k17", b"v17", [("h", b"1")], 7)
    assert (due.lane, due.attempt, due.replay) == ("batch", 1, name)
    assert due.due_ms <= clock.time() * 1000
    assert broker.records(SAID) == []


def test_a_persons_record_is_replayed_among_those_of_its_class(
    broker: MemoryBroker, box: DeadLetterBox, bury: Bury
) -> None:
    bury(1, lane="high", topic="said.high.v1")
    box.replay(WAITING)
    assert [due.lane for due in waiting(broker, "darkroom.shouter.retry-5s.high")] == ["high"]


def test_what_was_replayed_no_longer_waits_and_says_who_did_it(
    box: DeadLetterBox, bury: Bury, clock: FakeClock
) -> None:
    name = bury(1)
    clock.now += 60
    box.replay(WAITING)
    assert box.letters() == []
    (mark,) = box.show(name)[0].marks
    assert (mark.action, mark.by, mark.at_ms) == ("replayed", "mia", int(clock.time() * 1000))
    assert [one.id for one in box.letters(Filter(state="replayed"))] == [name]


def test_a_record_that_dies_again_waits_again(
    box: DeadLetterBox, bury: Bury, clock: FakeClock
) -> None:
    bury(1)
    box.replay(WAITING)
    clock.now += 60
    bury(1, message="It is still slow.")
    (letter,) = box.letters()
    assert (letter.deaths, letter.message, len(letter.marks)) == (2, "It is still slow.", 1)


def test_a_record_that_dies_again_before_its_mark_is_written_waits_again(
    broker: MemoryBroker, box: DeadLetterBox, bury: Bury
) -> None:
    bury(1)
    (before,) = box.letters()
    bury(1, message="It is still slow.")
    broker.append(mark_record(LETTERS, before, "replayed", "mia", "", "2026-01-01T00:00:00"))
    (letter,) = box.letters()
    assert letter.message == "It is still slow."


def test_a_dry_run_counts_and_does_nothing(
    broker: MemoryBroker, box: DeadLetterBox, bury: Bury
) -> None:
    for offset, code in enumerate(["slow", "bad", "slow"]):
        bury(offset, code)
    bury(9, lane="")
    before = broker.records(LETTERS)
    report = box.replay(WAITING, dry_run=True)
    assert (report.meant, report.by_code, report.dry_run) == (4, {"slow": 3, "bad": 1}, True)
    assert (report.done, report.untouched) == (0, 3)
    assert box.discard(WAITING, "why", dry_run=True).untouched == 4
    assert broker.records(LETTERS) == before
    assert broker.records(RETRY) == []


def test_the_oldest_go_first_and_all_are_told_of(
    broker: MemoryBroker, box: DeadLetterBox, bury: Bury
) -> None:
    count = 2 * CHUNK + 50
    for offset in range(count):
        bury(offset, key=b"same")
    told: list[tuple[int, int]] = []
    report = box.replay(WAITING, progress=lambda over, of: told.append((over, of)))
    assert report.done == count
    assert told == [(0, count), (CHUNK, count), (2 * CHUNK, count), (count, count)]
    assert [due.record.offset for due in waiting(broker)] == list(range(count))


def test_a_throttled_replay_takes_its_time(
    broker: MemoryBroker, box: DeadLetterBox, bury: Bury, clock: FakeClock
) -> None:
    class Patience(threading.Event):
        def wait(self, timeout: float | None = None) -> bool:
            clock.now += timeout or 0
            return self.is_set()

    for offset in range(120):
        bury(offset)
    began = clock.now
    report = box.replay(WAITING, rate=Rate(10.0, 10), stop=Patience())
    assert report.done == 120
    assert clock.now - began == pytest.approx(11.0, abs=0.001)


def test_letters_that_were_looked_at_can_be_named_themselves(
    broker: MemoryBroker, box: DeadLetterBox, bury: Bury
) -> None:
    bury(1)
    letters = box.letters()
    bury(2)
    assert box.replay(letters).done == 1
    assert [due.record.offset for due in waiting(broker)] == [1]


def test_who_stops_a_replay_finds_what_was_done_marked_and_the_rest_waiting(
    broker: MemoryBroker, box: DeadLetterBox, bury: Bury
) -> None:
    for offset in range(3 * CHUNK):
        bury(offset)
    stop = threading.Event()

    def after_the_first_chunk(over: int, _of: int) -> None:
        if over:
            stop.set()

    report = box.replay(WAITING, progress=after_the_first_chunk, stop=stop)
    assert (report.done, report.untouched, report.stopped) == (CHUNK, 2 * CHUNK, "asked to stop")
    assert len(waiting(broker)) == CHUNK
    assert len(box.letters()) == 2 * CHUNK
    assert box.replay(WAITING).done == 2 * CHUNK


@pytest.mark.parametrize(
    ("changes", "why"),
    [
        ({"lane": ""}, "the letter does not say its lane"),
        ({"topic": ""}, "the letter does not say where it came from"),
    ],
)
def test_a_letter_that_does_not_say_enough_is_named_and_still_waits(
    box: DeadLetterBox, bury: Bury, changes: dict[str, str], why: str
) -> None:
    bury(1, **changes)
    bury(2)
    report = box.replay(WAITING)
    assert [reason for _, reason in report.failed] == [why]
    assert report.done == 1
    assert len(box.letters()) == 1


def test_a_value_that_was_too_large_for_its_letter_is_fetched_from_where_it_came(
    broker: MemoryBroker, box: DeadLetterBox
) -> None:
    origin = broker.append(RawRecord(SAID, b"k", b"large", []))
    bury_without_value(broker, origin)
    bury_without_value(broker, origin._replace(offset=origin.offset + 1))
    report = box.replay(WAITING)
    assert report.done == 1
    assert [due.record.value for due in waiting(broker)] == [b"large"]
    ((name, why),) = report.failed
    assert why == f"its value no longer lies at {SAID}/{origin.partition}/1"
    assert box.show(name)[1].value is None


def bury_without_value(broker: MemoryBroker, record: Taken) -> None:
    failure = Failure("slow", "It is slow.", 4)
    letter = dead_letter(LETTERS, record, failure, service="shouter", version="1", lane="batch")
    broker.append(without_value(letter))


def test_a_record_without_a_value_is_replayed_without_one(
    broker: MemoryBroker, box: DeadLetterBox, bury: Bury
) -> None:
    bury(1, value=None)
    assert box.replay(WAITING).done == 1
    assert [due.record.value for due in waiting(broker)] == [None]


@pytest.mark.parametrize("count", [1, 20])
def test_a_letter_that_goes_while_others_are_replayed_is_named(
    broker: MemoryBroker, box: DeadLetterBox, bury: Bury, count: int
) -> None:
    for offset in range(count):
        bury(offset)
    letters = box.letters()
    broker.topic(LETTERS).logs[0].pop(0)
    broker.topic(LETTERS).appended.pop(0)
    report = box.replay(letters)
    assert report.done == count - 1
    assert report.failed == [(letters[-1].id, "it has gone meanwhile")]


def test_a_letter_that_is_gone_cannot_be_shown(
    broker: MemoryBroker, box: DeadLetterBox, bury: Bury
) -> None:
    name = bury(1)
    broker.topic(LETTERS).logs[0].clear()
    with pytest.raises(InboxError, match="gone meanwhile"):
        box.show(name)


def test_a_service_without_retry_topics_cannot_be_replayed_to(
    broker: MemoryBroker, clock: FakeClock, bury: Bury
) -> None:
    bury(1)
    box = DeadLetterBox(MemoryLog(broker), MemoryProducer(broker), "shouter", tiers=(), clock=clock)
    with pytest.raises(InboxError, match="has no retry topics"):
        box.replay(WAITING)
    assert len(box.letters()) == 1


def test_nothing_to_replay_is_no_failure(box: DeadLetterBox) -> None:
    assert box.replay(WAITING) == Report(0, {})


def test_a_record_that_the_broker_refuses_is_named_and_the_others_go_on(
    broker: MemoryBroker, box: DeadLetterBox, bury: Bury
) -> None:
    refused = bury(1, lane="high", topic="said.high.v1")
    bury(2)
    broker.refused.add("darkroom.shouter.retry-5s.high")
    report = box.replay(WAITING)
    assert (report.done, report.stopped) == (1, "")
    assert [name for name, _ in report.failed] == [refused]


def test_a_replay_ends_when_the_broker_goes(
    broker: MemoryBroker, box: DeadLetterBox, bury: Bury, clock: FakeClock
) -> None:
    for offset in range(2 * CHUNK):
        bury(offset)
    broker.down = True
    began = clock.now
    report = box.replay(WAITING)
    assert (report.done, len(report.failed), report.untouched) == (0, CHUNK, CHUNK)
    assert report.stopped.startswith("Kafka did not acknowledge")
    assert clock.now - began <= 2 * MESSAGE_TIMEOUT_S
    broker.down = False
    assert len(box.letters()) == 2 * CHUNK


def test_what_was_published_but_not_acknowledged_still_waits(
    broker: MemoryBroker, box: DeadLetterBox, bury: Bury
) -> None:
    bury(1)
    broker.drop_acks = True
    assert box.replay(WAITING).done == 0
    broker.drop_acks = False
    assert len(box.letters()) == 1


def test_a_mark_that_is_refused_is_told(
    broker: MemoryBroker, box: DeadLetterBox, bury: Bury
) -> None:
    bury(1)
    broker.refused.add(LETTERS)
    report = box.replay(WAITING)
    ((_, why),) = report.failed
    assert why.startswith("done, but not marked as such")


def test_a_producer_that_never_decides_ends_the_replay(
    broker: MemoryBroker, bury: Bury, clock: FakeClock
) -> None:
    class Silent(MemoryProducer):
        def send(self, ticket: int, records: object, *, urgent: bool = False) -> None:
            """Forget it."""

    bury(1)
    box = DeadLetterBox(MemoryLog(broker), Silent(broker), "shouter", clock=clock)
    report = box.replay(WAITING)
    assert report.stopped == "Kafka did not acknowledge: no acknowledgement"


# -- discard ----------------------------------------------------------------------------------


def test_what_is_discarded_no_longer_waits_and_says_why(
    broker: MemoryBroker, box: DeadLetterBox, bury: Bury
) -> None:
    name = bury(1)
    bury(2, "bad")
    report = box.discard(Filter(code="slow"), "a test's leavings")
    assert (report.meant, report.done) == (1, 1)
    assert [letter.code for letter in box.letters()] == ["bad"]
    letter, _ = box.show(name)
    assert letter.state == "discarded"
    assert [(mark.by, mark.why) for mark in letter.marks] == [("mia", "a test's leavings")]
    assert broker.records(RETRY) == []


def test_what_was_discarded_can_still_be_replayed(
    broker: MemoryBroker, box: DeadLetterBox, bury: Bury, clock: FakeClock
) -> None:
    name = bury(1)
    box.discard(WAITING, "by mistake")
    clock.now += 1
    assert box.replay(Filter(state="discarded")).done == 1
    letter, _ = box.show(name)
    assert letter.state == "replayed"
    assert [mark.action for mark in letter.marks] == ["discarded", "replayed"]


# -- a letter that lies in several partitions ---------------------------------------------------


def keyless_letter_in_two_partitions() -> list[Taken]:
    record = Taken(SAID, 3, 17, None, b"v", [], 7)
    failure = Failure("slow", "", 1)
    letter = dead_letter(LETTERS, record, failure, service="shouter", version="1", now_s=5.0)
    return [
        Taken(LETTERS, number, offset, None, b"v", letter.headers, 7)
        for number, offset in ((0, 3), (0, 8), (1, 2))
    ]


def folded(*records: Taken) -> Letter:
    ledger = Ledger("shouter")
    for record in records:
        ledger.add(record)
    (letter,) = ledger.letters()
    return letter


def discarding(letter: Letter) -> Taken:
    raw = mark_record(LETTERS, letter, "discarded", "mia", "", "2026-01-01T00:00:00")
    return Taken(LETTERS, 0, 20, raw.key, None, raw.headers, 9)


def test_a_record_without_a_key_that_died_in_two_partitions_can_be_put_away() -> None:
    lying = keyless_letter_in_two_partitions()
    letter = folded(*lying)
    assert (letter.state, letter.deaths, letter.ends) == ("waiting", 3, (Place(0, 8), Place(1, 2)))
    done = folded(*lying, discarding(letter))
    assert (done.state, len(done.marks)) == ("discarded", 1)


@pytest.mark.parametrize("place", [(0, 9), (1, 3), (2, 0)])
def test_a_letter_put_away_in_all_partitions_waits_again_when_it_dies_in_any(
    place: tuple[int, int],
) -> None:
    lying = keyless_letter_in_two_partitions()
    mark = discarding(folded(*lying))
    again = lying[0]._replace(partition=place[0], offset=place[1])
    assert folded(*lying, mark, again).state == "waiting"


# -- what anybody may have written ------------------------------------------------------------

names = st.sampled_from(
    ["id", "topic", "partition", "offset", "time", "mark", "upto", "by", "value", "attempts"]
)
headers = st.lists(
    st.tuples(
        names.map("dl_".__add__) | st.text(max_size=5),
        st.binary(max_size=20)
        | st.sampled_from(
            [
                *(b"replayed", b"discarded", b"0/0", b"0/7", b"1", b"-1", "٣".encode(), b"9" * 30),
                *(b"9999-12-31T23:59:59+00:00", b"0001-01-01T00:00:00", b"2026-01-01"),
            ]
        ),
    ),
    max_size=8,
)


@given(st.lists(headers, max_size=6))
def test_nothing_that_lies_among_the_letters_can_hide_the_others(
    found: list[list[tuple[str, bytes]]],
) -> None:
    ledger = Ledger("shouter")
    for offset, about in enumerate(found):
        ledger.add(Taken(LETTERS, 0, offset, b"\xff", None, about, -1))
    record = Taken(SAID, 3, 17, b"k", b"v", [], 7)
    real = dead_letter(
        LETTERS, record, Failure("slow", "", 1), service="shouter", version="1", lane="batch"
    )
    ledger.add(Taken(LETTERS, 0, 1000, b"k", b"v", real.headers, 7))
    letters = {letter.id: letter for letter in ledger.letters()}
    assert letters[letter_id("shouter", SAID, 3, 17)].state == "waiting"


def test_a_record_that_says_nothing_of_itself_is_a_letter_of_unknown_origin() -> None:
    letter = letter_of(Taken(LETTERS, 0, 5, None, b"junk", [], 99), "shouter")
    assert (letter.code, letter.topic, letter.partition, letter.attempts) == ("unknown", "", -1, -1)
    assert (letter.id, letter.died_ms) == (letter_id("shouter", LETTERS, 0, 5), 99)


@given(st.randoms(use_true_random=False), st.integers(1, 3))
def test_the_order_in_which_letters_and_marks_are_read_does_not_matter(
    random: Random, partitions: int
) -> None:
    record = Taken(SAID, 3, 17, b"k", b"v", [], 7)
    letter = dead_letter(
        LETTERS, record, Failure("slow", "", 1), service="shouter", version="1", now_s=5.0
    )
    lying = [
        Taken(LETTERS, number, offset, b"k", b"v", letter.headers, 7)
        for number in range(partitions)
        for offset in (0, 5)
    ]
    marks = []
    for one in lying[1::2]:
        mark = mark_record(
            LETTERS, letter_of(one, "shouter"), "discarded", "mia", "", "2026-01-01T00:00:00"
        )
        marks.append(Taken(LETTERS, random.randrange(3), 9, mark.key, None, mark.headers, 7))
    for missing in (0, 1):
        ledger = Ledger("shouter")
        everything = [*lying, *marks[missing:]]
        random.shuffle(everything)
        for one in everything:
            ledger.add(one)
        (found,) = ledger.letters()
        assert found.state == ("waiting" if missing else "discarded")
        assert found.deaths == 2 * partitions


# -- a worker and its letters -----------------------------------------------------------------

TEXT: Mapping[str, Any] = {
    "type": "record",
    "name": "Text",
    "fields": [{"name": "text", "type": "string"}],
}


class Shouter:
    """Gives everything up until it is mended."""

    def __init__(self, lane: str = "batch") -> None:
        self.mended = False
        self.attempts: list[int] = []
        job = Job("shouter", "1", (Lane(lane, (SAID,)),), self.handlers, LETTERS)
        self.kit = Kit(job, schema_of=lambda _topic: TEXT)
        broker = self.kit.world.broker
        self.box = DeadLetterBox(
            MemoryLog(broker), MemoryProducer(broker), "shouter", clock=self.kit.world.clock
        )

    def handlers(self) -> Handlers:
        return Handlers({SAID: self.shout})

    def shout(self, message: Message) -> Events:
        self.attempts.append(message.attempt)
        if not self.mended:
            raise Reject("mute", "It has lost its voice.")
        loud = {"text": message.value["text"].upper()}
        return [Emit("shouted.v1", message.key, loud, f"shout-{message.key}")]

    def heard(self) -> list[str]:
        return [event.value["text"] for event in self.kit.outputs("shouted.v1")]


def test_a_replayed_record_is_worked_on_by_the_service_as_if_it_came_anew() -> None:
    shouter = Shouter()
    shouter.kit.produce(SAID, "k", {"text": "hello"})
    assert len(shouter.box.letters()) == 1
    shouter.mended = True
    assert shouter.box.replay(WAITING).done == 1
    shouter.kit.advance(1)
    assert (shouter.heard(), shouter.attempts) == (["HELLO"], [1, 1])
    assert shouter.box.letters() == []


def test_a_replay_that_fails_again_is_the_same_letter_once_more() -> None:
    shouter = Shouter()
    shouter.kit.produce(SAID, "k", {"text": "hello"})
    (first,) = shouter.box.letters()
    shouter.box.replay(WAITING)
    shouter.kit.advance(1)
    (again,) = shouter.box.letters()
    assert (again.id, again.deaths, len(again.marks)) == (first.id, 2, 1)
    assert again.offset == first.offset


class Ahead(FakeClock):
    """Another clock, two minutes ahead of it."""

    def __init__(self, clock: Clock) -> None:
        super().__init__()
        self.clock = clock

    def monotonic(self) -> float:
        return self.clock.monotonic()

    def time(self) -> float:
        return self.clock.time() + 120


def test_a_replay_by_a_machine_whose_clock_is_ahead_is_worked_on_at_once() -> None:
    shouter = Shouter()
    shouter.kit.produce(SAID, "k", {"text": "hello"})
    shouter.mended = True
    broker, clock = shouter.kit.world.broker, Ahead(shouter.kit.world.clock)
    box = DeadLetterBox(MemoryLog(broker), MemoryProducer(broker), "shouter", clock=clock)
    assert box.replay(WAITING).done == 1
    shouter.kit.advance(1)
    assert shouter.heard() == ["HELLO"]


def in_a_retry_topic(shouter: Shouter, **changes: bytes) -> None:
    """Have a record that died come out of a retry topic, with other headers there."""
    shouter.kit.produce(SAID, "k", {"text": "hello"})
    (letter,) = shouter.box.letters()
    _, died = shouter.box.show(letter.id)
    shouter.box.discard(WAITING, "it is another's")
    raw = RetryPlan("shouter").replay(died, "batch", letter.id)
    assert raw is not None
    about = {**dict(raw.headers), **{f"rt_{name}": value for name, value in changes.items()}}
    shouter.kit.world.broker.append(raw._replace(headers=list(about.items())))
    shouter.kit.advance(1)


@pytest.mark.parametrize(
    "changes", [{"attempt": b"101"}, {"due": b"soon"}, {"replay": b"me"}, {"timestamp": b"?"}]
)
def test_a_record_that_came_out_of_a_retry_topic_with_bad_headers_can_be_replayed(
    changes: dict[str, bytes],
) -> None:
    shouter = Shouter()
    in_a_retry_topic(shouter, **changes)
    (letter,) = shouter.box.letters()
    assert (letter.code, letter.topic, letter.deaths) == ("bad_retry_headers", SAID, 2)
    shouter.mended = True
    assert shouter.box.replay(WAITING).done == 1
    shouter.kit.advance(1)
    assert shouter.heard() == ["HELLO"]
    assert shouter.box.letters() == []


def test_a_record_whose_topic_was_renamed_while_it_waited_tells_the_operator_so() -> None:
    shouter = Shouter()
    in_a_retry_topic(shouter, topic=b"said.batch.v0")
    (letter,) = shouter.box.letters()
    assert (letter.code, letter.topic, letter.lane) == (
        "bad_retry_headers",
        "said.batch.v0",
        "batch",
    )
    assert "has a topic 'said.batch.v0'" in letter.message
    shouter.box.replay(WAITING)
    shouter.kit.advance(1)
    (again,) = shouter.box.letters()
    assert (again.id, again.topic, again.deaths) == (letter.id, "said.batch.v0", 2)


def test_a_record_whose_lane_was_renamed_while_it_waited_is_worked_on_in_the_new_one() -> None:
    shouter = Shouter("import")
    shouter.kit.produce(SAID, "k", {"text": "hello"})
    shouter.mended = True
    (letter,) = shouter.box.letters()
    assert shouter.box.replay([replace(letter, lane="batch")]).done == 1
    shouter.kit.advance(1)
    assert shouter.heard() == ["HELLO"]


def test_a_letter_that_names_a_retry_topic_is_replayed_by_what_is_written_on_its_record(
    broker: MemoryBroker, box: DeadLetterBox, bury: Bury
) -> None:
    record = Taken(SAID, 3, 17, b"k17", b"v17", [("h", b"1")], 7)
    waited = RetryPlan("shouter").replay(record, "batch", letter_id("shouter", SAID, 3, 17))
    assert waited is not None
    bury(5, topic=RETRY, lane="high", headers=waited.headers)
    nowhere = bury(6, topic=RETRY)
    assert [letter for letter, _ in box.replay(WAITING, dry_run=True).failed] == [nowhere]
    report = box.replay(WAITING)
    assert (report.done, len(report.failed)) == (1, 1)
    assert report.failed[0][0] == nowhere
    assert "does not say where it came from; discard it" in report.failed[0][1]
    (due,) = waiting(broker)
    assert due.record == Taken(SAID, 3, 17, b"k5", b"v5", [("h", b"1")], 7)
    assert due.lane == "batch"


def test_a_letter_that_names_a_retry_topic_and_whose_record_says_no_lane_keeps_its_own(
    broker: MemoryBroker, box: DeadLetterBox, bury: Bury
) -> None:
    place = [("rt_topic", SAID.encode()), ("rt_partition", b"3"), ("rt_offset", b"17")]
    bury(5, topic=RETRY, headers=place)
    assert box.replay(WAITING).done == 1
    (due,) = waiting(broker)
    assert (due.lane, due.record.offset, due.record.timestamp_ms) == ("batch", 17, 7)
