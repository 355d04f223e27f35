"""A consumer of Kafka, over a librdkafka that says what the test wants."""

import threading
from collections import deque
from collections.abc import Callable, Sequence
from typing import Any, ClassVar

import pytest
from confluent_kafka import KafkaError, KafkaException, TopicPartition
from structlog.testing import capture_logs

from streamkit.kafka.backend import KafkaBackend
from streamkit.kafka.consumer import KafkaConsumer, consumer_config, taken
from streamkit.ports import ConsumerLostError
from streamkit.records import Offsets, Partition

ASKED_0, ASKED_1 = Partition("asked", 0), Partition("asked", 1)


class FakeMessage:
    def __init__(self, offset: int = 0, partition: int = 0, headers: Any = None) -> None:
        self._offset, self._partition, self._headers = offset, partition, headers

    def error(self) -> KafkaError | None:
        return None

    def topic(self) -> str:
        return "p.asked"

    def partition(self) -> int:
        return self._partition

    def offset(self) -> int:
        return self._offset

    def key(self) -> bytes:
        return b"k"

    def value(self) -> bytes:
        return b"v"

    def headers(self) -> Any:
        if isinstance(self._headers, Exception):
            raise self._headers
        return self._headers

    def timestamp(self) -> tuple[int, int]:
        return (1, 99)


class FailedMessage:
    def __init__(self, code: int) -> None:
        self._error = KafkaError(code)

    def error(self) -> KafkaError:
        return self._error


class FakeConsumer:
    """Does what is in `script`, a step for each message asked for: an int is an error's code, a
    tuple calls one of the callbacks with partitions, None is that nothing more is there."""

    script: ClassVar[deque[Any]] = deque()
    opened: ClassVar[list["FakeConsumer"]] = []
    refuses: ClassVar[KafkaException | None] = None

    def __init__(self, config: dict[str, Any]) -> None:
        self.config = config
        self.asked: list[tuple[int, float]] = []
        self.stored: dict[int, int] = {}
        self.commits: list[int | None] = []
        self.paused: set[int] = set()
        self.member: str | None = "m-1"
        self.closed = threading.Event()
        self.may_close = threading.Event()
        self.may_close.set()
        self.opened.append(self)

    def subscribe(self, topics: list[str], **callbacks: Callable[..., None]) -> None:
        self.topics, self.callbacks = topics, callbacks

    def consume(self, most: int, timeout: float) -> list[Any]:
        self.asked.append((most, timeout))
        found: list[Any] = []
        while self.script and len(found) < most:
            step = self.script.popleft()
            if step is None:
                break
            if isinstance(step, tuple):
                what, *numbers = step
                self.tell(what, *numbers)
            else:
                found.append(FailedMessage(step) if isinstance(step, int) else step)
        return found

    def tell(self, what: str, *numbers: int) -> None:
        self.callbacks[what](self, [TopicPartition("p.asked", number) for number in numbers])

    def memberid(self) -> str | None:
        return self.member

    def store_offsets(self, offsets: Sequence[TopicPartition]) -> None:
        if self.refuses:
            raise self.refuses
        self.stored |= {one.partition: one.offset for one in offsets}

    def pause(self, partitions: Sequence[TopicPartition]) -> None:
        self.paused |= {one.partition for one in partitions}

    def resume(self, partitions: Sequence[TopicPartition]) -> None:
        self.paused -= {one.partition for one in partitions}

    def commit(self, *, asynchronous: bool) -> None:
        """What the broker answers comes out of the script: an error's code, or None."""
        assert not asynchronous
        self.commits.append(self.script.popleft() if self.script else None)
        if self.commits[-1] is not None:
            raise KafkaException(KafkaError(self.commits[-1]))

    def close(self) -> None:
        self.may_close.wait()
        self.tell("on_revoke", 0, 1)
        self.closed.set()


class Notes:
    """A Listener that notes what it is told."""

    def __init__(self) -> None:
        self.trail: list[tuple[Any, ...]] = []
        self.answer: Offsets = {}

    def assigned(self, partitions: Sequence[Partition]) -> None:
        self.trail.append(("assigned", *(one.number for one in partitions)))

    def revoked(self, partitions: Sequence[Partition]) -> Offsets:
        self.trail.append(("revoked", *(one.number for one in partitions)))
        return self.answer

    def lost(self, partitions: Sequence[Partition]) -> None:
        self.trail.append(("lost", *(one.number for one in partitions)))


class Now:
    """The time, as the consumer sees it."""

    def __init__(self) -> None:
        self.now = 0.0

    def monotonic(self) -> float:
        return self.now


@pytest.fixture
def now(monkeypatch: pytest.MonkeyPatch) -> Now:
    now = Now()
    monkeypatch.setattr("streamkit.kafka.consumer.time", now)
    return now


@pytest.fixture
def notes() -> Notes:
    return Notes()


@pytest.fixture
def consumer(monkeypatch: pytest.MonkeyPatch, now: Now, notes: Notes) -> KafkaConsumer:
    monkeypatch.setattr("streamkit.kafka.consumer.Consumer", FakeConsumer)
    monkeypatch.setattr("streamkit.kafka.consumer.delay_s", lambda _attempt: 2.0)
    monkeypatch.setattr(FakeConsumer, "opened", [])
    monkeypatch.setattr(FakeConsumer, "refuses", None)
    return KafkaConsumer(consumer_config("b", "g", "consumer"), ["asked"], notes, "p.")


def after(consumer: KafkaConsumer, *script: Any, calls: int = 1, most: int = 100) -> list[int]:
    """The offsets that so many calls of consume bring, while the script is played."""
    FakeConsumer.script = deque(script)
    return [one.offset for _ in range(calls) for one in consumer.consume(most, 0.1)]


# -- settings -----------------------------------------------------------------------------------


def test_nothing_is_acknowledged_by_being_fetched() -> None:
    config = consumer_config("b", "g", "consumer")
    assert config["enable.auto.offset.store"] is False


@pytest.mark.parametrize("protocol", ["consumer", "classic"])
def test_timeouts_and_static_ids_are_for_the_classic_protocol_only(protocol: Any) -> None:
    config = consumer_config("b", "g", protocol, member="slot-1")
    classic = protocol == "classic"
    assert ("session.timeout.ms" in config) == classic
    assert (config.get("group.instance.id") == "slot-1") == classic


def test_a_member_without_a_slot_has_no_static_id() -> None:
    assert "group.instance.id" not in consumer_config("b", "g", "classic")


def test_what_the_installation_sets_goes_before_our_settings() -> None:
    config = consumer_config("b", "g", "classic", options={"session.timeout.ms": 1, "sasl": "x"})
    assert (config["session.timeout.ms"], config["sasl"]) == (1, "x")


def test_a_backend_makes_consumers_with_the_prefix_and_the_slot(
    consumer: KafkaConsumer, notes: Notes
) -> None:
    backend = KafkaBackend("b:1", prefix="p.", protocol="classic", member="slot-1")
    backend.consumer("g", ["asked"], notes)
    made = FakeConsumer.opened[-1]
    assert made.topics == ["p.asked"]
    assert (made.config["group.id"], made.config["group.instance.id"]) == ("p.g", "slot-1")


def test_trouble_with_connections_is_a_line_of_our_log_but_not_each_time(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    now = Now()
    monkeypatch.setattr("streamkit.kafka.trouble.time", now)
    config = consumer_config("b", "g", "consumer")
    away, refused = KafkaError(KafkaError._TRANSPORT), KafkaError(KafkaError._AUTHENTICATION)
    with capture_logs() as logs:
        for now.now, error in ((0, away), (1, away), (1, refused), (29, away), (31, away)):
            config["error_cb"](error)
    assert [line["error"] for line in logs] == [str(away), str(refused), str(away)]
    assert {(line["event"], line["client"]) for line in logs} == {("kafka_trouble", "g")}


# -- records ------------------------------------------------------------------------------------


def test_topics_are_read_with_the_prefix_and_shown_without(consumer: KafkaConsumer) -> None:
    FakeConsumer.script = deque([FakeMessage(7, 1, [("h", b"x"), ("none", None)])])
    (record,) = consumer.consume(10, 0)
    assert FakeConsumer.opened[0].topics == ["p.asked"]
    assert record.place == ASKED_1
    assert record == ("asked", 1, 7, b"k", b"v", [("h", b"x"), ("none", b"")], 99)


def test_a_lone_record_is_not_kept_until_others_come(consumer: KafkaConsumer) -> None:
    """librdkafka waits for as many as it was asked for, or for the end of the time-out."""
    asked = FakeConsumer.opened[0].asked
    assert after(consumer, None, FakeMessage(1), FakeMessage(2), most=50) == [1, 2]
    assert asked == [(50, 0), (1, 0.1), (49, 0)]
    asked.clear()
    assert after(consumer, FakeMessage(3), FakeMessage(4), most=50) == [3, 4]
    assert asked == [(50, 0)]


def test_headers_that_cannot_be_read_cost_no_record(consumer: KafkaConsumer) -> None:
    bad = FakeMessage(1, headers=SystemError("a header's name is not UTF-8"))
    FakeConsumer.script = deque([FakeMessage(0, headers=[("a", b"")]), bad, FakeMessage(2)])
    records = consumer.consume(10, 0)
    assert [(one.offset, one.headers) for one in records] == [(0, [("a", b"")]), (1, []), (2, [])]


def test_an_error_among_records_loses_none_of_them(consumer: KafkaConsumer) -> None:
    script = (FakeMessage(0), KafkaError._TRANSPORT, FakeMessage(1), KafkaError.UNKNOWN, None)
    assert after(consumer, *script) == [0, 1]


def test_what_came_while_nothing_was_wanted_comes_first_later(consumer: KafkaConsumer) -> None:
    assert after(consumer, FakeMessage(0), FakeMessage(1), most=0) == []
    assert after(consumer, FakeMessage(1), most=0) == []
    assert after(consumer, FakeMessage(2), None, most=1) == [0]
    assert after(consumer, FakeMessage(3), most=100) == [1, 2, 3]
    assert after(consumer, FakeMessage(4), most=100) == [4]


def test_a_record_for_readers_outside_of_groups() -> None:
    message: Any = FakeMessage(3, 2, [("none", None)])
    assert taken(message, "p.") == ("asked", 2, 3, b"k", b"v", [("none", b"")], 99)


# -- partitions that come and go ----------------------------------------------------------------


def test_what_the_listener_answers_is_stored_before_partitions_go(
    consumer: KafkaConsumer, notes: Notes
) -> None:
    notes.answer = {ASKED_1: 5}
    after(consumer, ("on_assign", 0, 1), ("on_revoke", 1))
    assert notes.trail == [("assigned", 0, 1), ("revoked", 1)]
    assert FakeConsumer.opened[0].stored == {1: 5}


def test_records_of_a_partition_that_has_gone_are_dropped(consumer: KafkaConsumer) -> None:
    script = (FakeMessage(5, 1), FakeMessage(8, 0), ("on_revoke", 1), FakeMessage(9, 0))
    after(consumer, ("on_assign", 0, 1))
    assert after(consumer, *script) == [8, 9]


def test_records_kept_for_later_go_with_their_partition(consumer: KafkaConsumer) -> None:
    after(consumer, ("on_assign", 0, 1))
    assert after(consumer, FakeMessage(5, 1), None, FakeMessage(6, 0), calls=2, most=0) == []
    assert after(consumer, ("on_revoke", 1)) == [6]


def test_a_partition_that_goes_and_comes_back_at_once_is_read_anew(
    consumer: KafkaConsumer, notes: Notes
) -> None:
    script = (FakeMessage(5, 1), ("on_revoke", 1), ("on_assign", 1), FakeMessage(3, 1), None)
    after(consumer, ("on_assign", 0, 1))
    assert after(consumer, *script, ("on_assign", 0, 1), FakeMessage(3, 1), calls=2) == [3]
    assert notes.trail[-2:] == [("lost", 0, 1), ("assigned", 0, 1)]


def test_the_last_commit_is_repeated_until_a_rebalance_under_way_is_over(
    consumer: KafkaConsumer, notes: Notes
) -> None:
    after(consumer, ("on_assign", 0, 1))
    notes.answer = {ASKED_1: 5}
    refused = KafkaError.ILLEGAL_GENERATION
    FakeConsumer.script = deque([refused, ("on_assign", 0), None, refused, None, None])
    consumer.close()
    (only,) = FakeConsumer.opened
    assert (only.commits, only.stored) == ([refused, refused, None], {1: 5})
    assert only.closed.is_set()
    assert notes.trail == [("assigned", 0, 1), ("revoked", 0, 1)]


@pytest.mark.parametrize("code", [KafkaError._NO_OFFSET, KafkaError.UNKNOWN_MEMBER_ID])
def test_a_last_commit_that_is_refused_for_good_holds_nothing_up(
    consumer: KafkaConsumer, code: int
) -> None:
    after(consumer, ("on_assign", 0, 1))
    FakeConsumer.script = deque([code])
    consumer.close()
    assert (FakeConsumer.opened[0].commits, FakeConsumer.opened[0].closed.is_set()) == (
        [code],
        True,
    )


def test_a_pause_ends_when_its_partition_goes(consumer: KafkaConsumer) -> None:
    after(consumer, ("on_assign", 0, 1))
    consumer.pause([ASKED_0, ASKED_1, Partition("other", 0)])
    assert FakeConsumer.opened[0].paused == {0, 1}
    after(consumer, ("on_revoke", 1))
    assert FakeConsumer.opened[0].paused == {0}
    consumer.resume([ASKED_0, ASKED_1])
    assert FakeConsumer.opened[0].paused == set()


def test_what_is_not_ours_is_not_touched(consumer: KafkaConsumer) -> None:
    consumer.store({ASKED_0: 1})
    consumer.pause([ASKED_0])
    consumer.resume([ASKED_0])
    assert (FakeConsumer.opened[0].stored, FakeConsumer.opened[0].paused) == ({}, set())


def test_storing_what_librdkafka_has_just_given_up_is_harmless(
    consumer: KafkaConsumer, monkeypatch: pytest.MonkeyPatch
) -> None:
    after(consumer, ("on_assign", 0))
    gone = KafkaException(KafkaError(KafkaError._STATE))
    monkeypatch.setattr(FakeConsumer, "refuses", gone)
    consumer.store({ASKED_0: 1})
    other = KafkaException(KafkaError(KafkaError._FATAL))
    monkeypatch.setattr(FakeConsumer, "refuses", other)
    with pytest.raises(KafkaException):
        consumer.store({ASKED_0: 1})


# -- troubles -----------------------------------------------------------------------------------


def test_after_losing_its_partitions_it_goes_on_with_a_new_consumer(
    consumer: KafkaConsumer, notes: Notes
) -> None:
    after(consumer, ("on_assign", 0, 1), ("on_lost", 0, 1), None, None, ("on_assign", 0), calls=2)
    old, new = FakeConsumer.opened
    assert (old.closed.is_set(), new.closed.is_set()) == (True, False)
    assert notes.trail == [("assigned", 0, 1), ("lost", 0, 1), ("assigned", 0)]


@pytest.mark.parametrize(
    "code",
    [KafkaError.NOT_COORDINATOR, KafkaError.UNKNOWN_MEMBER_ID, KafkaError._MAX_POLL_EXCEEDED],
)
def test_what_librdkafka_does_not_get_over_is_left_to_a_new_consumer(
    consumer: KafkaConsumer, notes: Notes, code: int
) -> None:
    after(consumer, ("on_assign", 0), code, None, ("on_assign", 0), calls=2)
    old, _new = FakeConsumer.opened
    assert old.closed.is_set()
    assert notes.trail == [("assigned", 0), ("lost", 0), ("assigned", 0)]


def test_reopening_again_waits_until_a_record_has_come(consumer: KafkaConsumer, now: Now) -> None:
    broken = KafkaError.NOT_COORDINATOR
    after(consumer, broken, broken, None, broken, None, None, calls=3)
    assert len(FakeConsumer.opened) == 2
    now.now = 2.0
    after(consumer, FakeMessage(0), None, broken, None, None, calls=3)
    assert len(FakeConsumer.opened) == 4


@pytest.mark.parametrize(
    "code", [KafkaError._TRANSPORT, KafkaError._ALL_BROKERS_DOWN, KafkaError.UNKNOWN_TOPIC_OR_PART]
)
def test_troubles_with_connections_are_left_to_librdkafka(
    consumer: KafkaConsumer, code: int
) -> None:
    after(consumer, code, None, None, calls=2)
    assert len(FakeConsumer.opened) == 1


@pytest.mark.parametrize("code", [KafkaError.GROUP_AUTHORIZATION_FAILED, KafkaError._FATAL])
def test_missing_rights_and_a_second_process_with_our_id_stop_the_worker(
    consumer: KafkaConsumer, code: int
) -> None:
    after(consumer, ("on_assign", 0), None)
    with pytest.raises(ConsumerLostError):
        after(consumer, code)


def test_who_is_fenced_while_it_joins_tries_again_but_not_for_ever(
    consumer: KafkaConsumer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("streamkit.kafka.consumer.delay_s", lambda _times: 0.0)
    for times in range(1, 4):
        after(consumer, KafkaError._FATAL, None, None, calls=2)
        assert len(FakeConsumer.opened) == times + 1
    with pytest.raises(ConsumerLostError):
        after(consumer, KafkaError._FATAL, None)


def test_whom_its_own_late_commits_fenced_after_an_outage_goes_on_as_a_new_member(
    consumer: KafkaConsumer, notes: Notes
) -> None:
    after(consumer, ("on_assign", 0, 1), None)
    FakeConsumer.opened[0].member = None  # its session ran out
    after(consumer, ("on_lost", 0, 1), KafkaError._FATAL, None, None, ("on_assign", 0), calls=2)
    assert len(FakeConsumer.opened) == 2
    assert notes.trail == [("assigned", 0, 1), ("lost", 0, 1), ("assigned", 0)]


def test_whom_another_process_fenced_stops_though_it_is_told_of_its_loss_as_well(
    consumer: KafkaConsumer,
) -> None:
    after(consumer, ("on_assign", 0, 1), None)
    with pytest.raises(ConsumerLostError):
        after(consumer, KafkaError._FATAL, ("on_lost", 0, 1), None)
    assert len(FakeConsumer.opened) == 1


def test_a_commit_that_fails_is_told_once_until_one_succeeds(
    consumer: KafkaConsumer, capsys: pytest.CaptureFixture[str]
) -> None:
    on_commit = FakeConsumer.opened[0].config["on_commit"]
    fine, bad = TopicPartition("p.asked", 0), KafkaError(KafkaError.UNKNOWN_MEMBER_ID)
    for error in (bad, bad, None, bad, None):
        on_commit(error, [fine])
    assert capsys.readouterr().out.count("commit_failed") == 2
    assert consumer.consume(1, 0) == []


# -- the end ------------------------------------------------------------------------------------


def test_closing_gives_up_what_it_has(consumer: KafkaConsumer, notes: Notes) -> None:
    notes.answer = {ASKED_0: 3}
    after(consumer, ("on_assign", 0, 1))
    consumer.close()
    (only,) = FakeConsumer.opened
    assert only.closed.is_set()
    assert only.stored == {0: 3}
    assert notes.trail == [("assigned", 0, 1), ("revoked", 0, 1)]


def test_closing_without_partitions_bothers_nobody(consumer: KafkaConsumer, notes: Notes) -> None:
    consumer.close()
    assert notes.trail == []


def test_closing_does_not_wait_for_a_broker_that_stands_still(
    consumer: KafkaConsumer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("streamkit.kafka.consumer.CLOSE_S", 0.01)
    (only,) = FakeConsumer.opened
    only.may_close.clear()
    consumer.close()
    assert not only.closed.is_set()
    only.may_close.set()
    assert only.closed.wait(10)


def test_a_consumer_that_is_left_behind_is_not_listened_to(
    consumer: KafkaConsumer, notes: Notes
) -> None:
    after(consumer, ("on_assign", 0), ("on_lost", 0), None, None, ("on_assign", 1), calls=2)
    trail = list(notes.trail)
    old = FakeConsumer.opened[0]
    for what in ("on_assign", "on_revoke", "on_lost"):
        old.tell(what, 1)
    assert notes.trail == trail
