"""What waits in a retry topic, and what is believed of it."""

from collections.abc import Callable
from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from streamkit.errors import Reject
from streamkit.records import RawRecord, Taken
from streamkit.retry import BrokerClock, Due, RetryPlan, class_of, retry_topic, tier_s
from streamkit.testing import FakeClock

NOW_MS = 1_800_000_000_000
LANES = {"high": ("said.high.v1",), "batch": ("said.batch.v1", "more.batch.v1")}
PLAN = RetryPlan("shouter", ("5s", "30s", "5m"))
LETTER = "0f8fad5b-d9cb-469f-a165-70867728950e"

texts = st.text(max_size=20)
headers = st.lists(st.tuples(texts, st.binary(max_size=30)), max_size=5)
records = st.builds(
    Taken,
    topic=st.sampled_from(LANES["batch"]),
    partition=st.integers(0, 2**31 - 1),
    offset=st.integers(0, 2**62 // 10),
    key=st.none() | st.binary(),
    value=st.none() | st.binary(),
    headers=headers,
    timestamp_ms=st.integers(0, 10**15),
)


def record(lane: str = "batch", **changes: object) -> Taken:
    taken = Taken(LANES[lane][0], 3, 17, b"key", b"value", [("h", b"1")], NOW_MS - 5000)
    return taken._replace(**changes)  # type: ignore[arg-type]


def waiting(attempt: int = 1, lane: str = "batch", plan: RetryPlan = PLAN) -> RawRecord:
    raw = plan.next(record(lane), lane, attempt, "slow", "It is slow.", NOW_MS, Random(1))
    assert raw is not None
    return raw


def appended(raw: RawRecord, at_ms: int = NOW_MS) -> Taken:
    return Taken(raw.topic, 0, 5, raw.key, raw.value, raw.headers, at_ms)


def due(raw: RawRecord, at_ms: int = NOW_MS) -> Due:
    read = PLAN.read(appended(raw, at_ms), LANES)
    assert isinstance(read, Due)
    return read


def with_header(raw: RawRecord, name: str, value: bytes) -> RawRecord:
    others = [header for header in raw.headers if header[0] != name]
    return raw._replace(headers=[*others, (name, value)])


def refused(raw: RawRecord, at_ms: int = NOW_MS) -> str:
    read = PLAN.read(appended(raw, at_ms), LANES)
    assert isinstance(read, Reject)
    assert read.code == "bad_retry_headers"
    return read.message


@pytest.mark.parametrize(("tier", "seconds"), [("5s", 5), ("90s", 90), ("5m", 300), ("10m", 600)])
def test_a_tier_says_how_long_it_makes_wait(tier: str, seconds: int) -> None:
    assert tier_s(tier) == seconds


@pytest.mark.parametrize("tier", ["", "5", "0s", "11m", "601s", "1h", " 5s", "5s\n", "-5s", "٥s"])
def test_what_is_no_tier_is_refused(tier: str) -> None:
    with pytest.raises(ValueError, match="is no retry tier"):
        tier_s(tier)


@pytest.mark.parametrize("tiers", [("30s", "5s"), ("5s", "5s"), ("60s", "1m")])
def test_tiers_that_do_not_rise_are_refused(tiers: tuple[str, ...]) -> None:
    with pytest.raises(ValueError, match="rising"):
        RetryPlan("shouter", tiers)


def test_more_than_ten_tiers_are_refused() -> None:
    with pytest.raises(ValueError, match="at most 10"):
        RetryPlan("shouter", [f"{n}s" for n in range(1, 12)])


def test_a_high_record_waits_apart_from_all_others() -> None:
    assert [class_of(lane) for lane in ("high", "default", "batch")] == ["high", "bulk", "bulk"]
    assert retry_topic("ocr", "5s", "high") == "darkroom.ocr.retry-5s.high"


def test_a_plan_names_its_topics_from_the_shortest_tier_on() -> None:
    assert PLAN.topics()[:3] == (
        "darkroom.shouter.retry-5s.high",
        "darkroom.shouter.retry-5s.bulk",
        "darkroom.shouter.retry-30s.high",
    )
    assert PLAN.attempts() == 4


@pytest.mark.parametrize(("attempt", "tier"), [(1, "5s"), (2, "30s"), (3, "5m")])
def test_each_failed_attempt_climbs_a_tier(attempt: int, tier: str) -> None:
    raw = waiting(attempt)
    assert raw.topic == f"darkroom.shouter.retry-{tier}.bulk"
    assert due(raw).attempt == attempt + 1


@pytest.mark.parametrize("attempt", [4, 5, 100])
def test_after_the_last_tier_there_is_no_attempt_left(attempt: int) -> None:
    assert PLAN.next(record(), "batch", attempt, "slow", "", NOW_MS, Random(1)) is None


def test_without_tiers_nothing_is_tried_again() -> None:
    plan = RetryPlan("shouter", ())
    assert plan.topics() == ()
    assert plan.next(record(), "batch", 1, "slow", "", NOW_MS, Random(1)) is None
    assert plan.replay(record(), "batch", LETTER) is None


def test_a_record_waits_its_tier_and_up_to_a_tenth_more() -> None:
    waits = set()
    for seed in range(200):
        raw = PLAN.next(record(), "batch", 2, "slow", "", NOW_MS, Random(seed))
        assert raw is not None
        waits.add(due(raw).due_ms - NOW_MS)
    assert 30_000 <= min(waits) < 30_500
    assert 32_500 < max(waits) <= 33_000


@given(records, st.integers(1, 3), st.integers(0, 1000))
def test_a_record_comes_back_as_it_was(original: Taken, attempt: int, seed: int) -> None:
    raw = PLAN.next(original, "batch", attempt, "slow", "é\ud800", NOW_MS, Random(seed))
    assert raw is not None
    came = due(raw)
    kept = [header for header in original.headers if not header[0].startswith("rt_")]
    assert came.record == original._replace(headers=kept)
    assert (came.lane, came.attempt, came.replay) == ("batch", attempt + 1, "")


def test_a_record_climbs_from_where_it_was_and_not_from_the_retry_topic() -> None:
    first = due(waiting())
    second = PLAN.next(first.record, first.lane, first.attempt, "slow", "", NOW_MS, Random(1))
    assert second is not None
    came = due(second)
    assert came.record == record()
    assert came.attempt == 3


def test_the_reason_is_kept_short() -> None:
    raw = PLAN.next(record(), "batch", 1, "slow", "x" * 9999, NOW_MS, Random(1))
    assert raw is not None
    reason = dict(raw.headers)["rt_error"]
    assert reason.startswith(b"slow: xxx")
    assert len(reason) == 200


def test_retry_headers_of_others_on_an_ordinary_topic_are_dropped() -> None:
    forged = record(headers=[("rt_attempt", b"1"), ("h", b"1"), ("rt_lane", b"high")])
    raw = PLAN.next(forged, "batch", 1, "slow", "", NOW_MS, Random(1))
    assert raw is not None
    assert due(raw).record.headers == [("h", b"1")]
    assert due(raw).lane == "batch"


@pytest.mark.parametrize("at_ms", [NOW_MS, 1])
def test_a_replay_is_due_at_once_in_the_shortest_tier_and_begins_anew(at_ms: int) -> None:
    raw = PLAN.replay(record("high"), "high", LETTER)
    assert raw is not None
    assert raw.topic == "darkroom.shouter.retry-5s.high"
    assert due(raw, at_ms) == Due(record("high"), "high", 1, 0, LETTER)
    assert PLAN.wait_s(raw.topic, due(raw, at_ms), at_ms) == 0


def test_a_record_without_a_time_stamp_of_its_own_comes_back() -> None:
    raw = PLAN.next(record(timestamp_ms=-1), "batch", 1, "slow", "", NOW_MS, Random(1))
    assert raw is not None
    assert due(raw).record.timestamp_ms == 0


@pytest.mark.parametrize("ahead_ms", [40_000, 71_000, 3_600_000])
def test_a_worker_whose_clock_is_ahead_makes_nobody_wait_longer(ahead_ms: int) -> None:
    raw = PLAN.next(record(), "batch", 1, "slow", "", NOW_MS + ahead_ms, Random(1))
    assert raw is not None
    assert due(raw).due_ms == NOW_MS + 5_500


@pytest.mark.parametrize(
    ("now_ms", "wait_s"),
    [
        (NOW_MS, 5.0),
        (NOW_MS + 4_000, 1.0),
        (NOW_MS + 9_000, 0.0),
        (NOW_MS - 7_200_000, 5.5),
    ],
)
def test_nobody_waits_longer_than_the_tier_gives_whatever_the_clock_says(
    now_ms: int, wait_s: float
) -> None:
    raw = waiting()
    coming = due(raw)._replace(due_ms=NOW_MS + 5_000)
    assert PLAN.wait_s(raw.topic, coming, now_ms) == pytest.approx(wait_s)


def test_what_has_been_due_for_long_is_due() -> None:
    assert due(waiting(), NOW_MS + 86_400_000).due_ms <= NOW_MS + 5_500


@pytest.mark.parametrize(
    ("name", "value", "why"),
    [
        ("rt_topic", b"other.v1", "neither its own 'batch' nor another, has a topic 'other.v1'"),
        ("rt_topic", b"said.high.v1", "lane 'high' does not wait in"),
        ("rt_topic", b"\xff", "has a topic"),
        ("rt_attempt", b"0", "no attempt 0"),
        ("rt_attempt", b"101", "no attempt 101"),
        ("rt_attempt", b"-1", "rt_attempt is no number"),
        ("rt_attempt", b"1_0", "rt_attempt is no number"),
        ("rt_attempt", "٣".encode(), "rt_attempt is no number"),
        ("rt_partition", b"2147483648", "rt_partition is no number"),
        ("rt_offset", b"", "rt_offset is no number"),
        ("rt_offset", b"9" * 40, "rt_offset is no number"),
        ("rt_timestamp", b"1e5", "rt_timestamp is no number"),
        ("rt_due", b"soon", "rt_due is no number"),
        ("rt_replay", b"me", "the id of its dead letter is none"),
    ],
)
def test_headers_that_this_service_cannot_have_written_are_refused(
    name: str, value: bytes, why: str
) -> None:
    assert why in refused(with_header(waiting(), name, value))


@pytest.mark.parametrize("name", [n for n, _ in waiting().headers if n not in ("h", "rt_error")])
def test_each_header_is_needed(name: str) -> None:
    raw = waiting()
    without = raw._replace(headers=[header for header in raw.headers if header[0] != name])
    assert f"lacks the header {name}" in refused(without)


def test_a_header_that_stands_twice_is_refused() -> None:
    raw = waiting()
    assert "two headers rt_lane" in refused(
        raw._replace(headers=[*raw.headers, ("rt_lane", b"high")])
    )


def test_a_record_in_a_topic_of_another_class_is_refused() -> None:
    raw = waiting(lane="high")._replace(topic="darkroom.shouter.retry-5s.bulk")
    assert "lane 'high' does not wait in" in refused(raw)


def test_a_record_in_a_topic_of_another_service_is_refused() -> None:
    assert "is no retry topic" in refused(waiting()._replace(topic="darkroom.ocr.retry-5s.bulk"))


@pytest.mark.parametrize("lane", [b"learning", b"high", b"\xff"])
def test_a_record_of_a_lane_that_was_renamed_goes_to_the_one_that_has_its_topic(
    lane: bytes,
) -> None:
    came = due(with_header(waiting(), "rt_lane", lane))
    assert (came.lane, came.record) == ("batch", record())


@pytest.mark.parametrize(
    ("name", "value", "lane"),
    [
        ("rt_attempt", b"101", "batch"),
        ("rt_due", b"soon", "batch"),
        ("rt_replay", b"me", "batch"),
        ("rt_lane", b"learning", "batch"),
    ],
)
def test_what_is_refused_still_says_where_it_came_from(name: str, value: bytes, lane: str) -> None:
    lying = appended(with_header(waiting(), name, value))
    known = PLAN.origin(lying, LANES)
    assert known is not None
    assert known.lane == lane
    assert known.record == record(headers=lying.headers)


def test_a_record_of_a_topic_that_nobody_has_any_more_says_its_old_lane() -> None:
    known = PLAN.origin(appended(with_header(waiting(), "rt_topic", b"said.v1")), LANES)
    assert known is not None
    assert (known.lane, known.record.topic) == ("batch", "said.v1")


def test_a_record_that_says_no_first_time_stamp_has_the_one_of_its_retry() -> None:
    known = PLAN.origin(appended(with_header(waiting(), "rt_timestamp", b"?")), LANES)
    assert known is not None
    assert known.record.timestamp_ms == NOW_MS


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("rt_topic", b""),
        ("rt_topic", b"\xff"),
        ("rt_topic", b"darkroom.shouter.retry-5s.bulk"),
        ("rt_topic", b"darkroom.shouter.retry-9s.bulk"),
        ("rt_partition", b"-1"),
        ("rt_offset", b""),
    ],
)
def test_a_record_that_says_of_no_place_that_it_came_from_is_of_unknown_origin(
    name: str, value: bytes
) -> None:
    assert PLAN.origin(appended(with_header(waiting(), name, value)), LANES) is None


def test_what_stands_twice_says_nothing_of_where_a_record_came_from() -> None:
    raw = waiting()
    twice = raw._replace(headers=[*raw.headers, ("rt_offset", b"1")])
    assert PLAN.origin(appended(twice), LANES) is None


OURS = ("topic", "partition", "offset", "timestamp", "lane", "attempt", "due", "error", "replay")
values = st.binary(max_size=30) | st.sampled_from(
    [b"1", b"batch", b"high", b"said.batch.v1", str(NOW_MS).encode(), b"-1", LETTER.encode()]
)


@given(
    topic=st.sampled_from([*PLAN.topics(), "elsewhere"]),
    found=st.lists(st.tuples(st.sampled_from([f"rt_{n}" for n in OURS]) | texts, values)),
    changes=st.dictionaries(st.sampled_from([f"rt_{n}" for n in OURS]), values, max_size=3),
    at_ms=st.integers(-1, 2 * NOW_MS),
)
def test_nothing_that_lies_in_a_retry_topic_can_stop_a_worker(
    topic: str, found: list[tuple[str, bytes]], changes: dict[str, bytes], at_ms: int
) -> None:
    raw = waiting()
    for name, value in changes.items():
        raw = with_header(raw, name, value)
    for lying in (found, raw.headers):
        read = PLAN.read(Taken(topic, 0, 1, b"k", b"v", lying, at_ms), LANES)
        if isinstance(read, Due):
            assert read.record.topic in LANES[read.lane]
            assert 1 <= read.attempt <= 100
            assert read.due_ms <= at_ms + 330_000
            assert 0 <= PLAN.wait_s(topic, read, at_ms) <= 330
        else:
            assert read.code == "bad_retry_headers"
        known = PLAN.origin(Taken(topic, 0, 1, b"k", b"v", lying, at_ms), LANES)
        assert known is not None or isinstance(read, Reject)


class Machine(FakeClock):
    """A machine whose clock somebody may set."""

    wall = 0.0

    def time(self) -> float:
        return super().time() + self.wall


@pytest.fixture
def machine() -> Machine:
    return Machine()


@pytest.fixture
def observe(machine: Machine) -> Callable[..., None]:
    def one(clock: BrokerClock, ahead_s: float, round_trip_s: float = 0.002) -> None:
        sent, machine.now = machine.now, machine.now + round_trip_s
        appended_s = (sent + machine.now) / 2 + ahead_s
        clock.observe(sent, machine.now, int(appended_s * 1000))

    return one


def test_without_an_acknowledgement_the_machines_clock_is_taken(machine: Machine) -> None:
    assert BrokerClock(machine).now_ms() == int(machine.time() * 1000)


def test_the_brokers_clock_is_known_from_an_acknowledgement(
    machine: Machine, observe: Callable[..., None]
) -> None:
    clock = BrokerClock(machine)
    observe(clock, ahead_s=7000)
    machine.now += 10
    assert abs(clock.now_ms() - (machine.now + 7000) * 1000) <= 2


def test_a_machines_clock_that_is_set_changes_nothing(
    machine: Machine, observe: Callable[..., None]
) -> None:
    clock = BrokerClock(machine)
    observe(clock, ahead_s=7000)
    before = clock.now_ms()
    machine.wall += 86_400
    assert clock.now_ms() == before


def test_a_machine_that_is_behind_is_put_right_by_what_it_reads(
    machine: Machine, observe: Callable[..., None]
) -> None:
    clock = BrokerClock(machine)
    read_ms = int(machine.time() * 1000) + 3_600_000
    clock.at_least(read_ms)
    clock.at_least(read_ms - 60_000)
    machine.now += 2
    assert clock.now_ms() == read_ms + 2000
    observe(clock, ahead_s=7000)
    assert abs(clock.now_ms() - (machine.now + 7000) * 1000) <= 2


def test_a_machine_that_was_suspended_is_put_right_by_what_it_reads(
    machine: Machine, observe: Callable[..., None]
) -> None:
    clock = BrokerClock(machine)
    observe(clock, ahead_s=7000)
    machine.now += 10
    clock.at_least(int((machine.now + 11_000) * 1000))
    assert abs(clock.now_ms() - (machine.now + 11_000) * 1000) <= 2


@pytest.mark.parametrize("ahead_s", [3400, 11_000])
def test_a_clock_that_was_set_is_followed_from_the_next_acknowledgement_on(
    machine: Machine, observe: Callable[..., None], ahead_s: float
) -> None:
    clock = BrokerClock(machine)
    observe(clock, ahead_s=7000)
    clock.at_least(int((machine.now + 7000) * 1000))
    machine.now += 10
    observe(clock, ahead_s=ahead_s, round_trip_s=0.5)
    assert abs(clock.now_ms() - (machine.now + ahead_s) * 1000) <= 2


def test_what_it_reads_late_puts_no_machine_back(machine: Machine) -> None:
    clock = BrokerClock(machine)
    clock.at_least(int(machine.time() * 1000) - 60_000)
    assert clock.now_ms() == int(machine.time() * 1000)


def test_a_slow_acknowledgement_teaches_less_than_a_quick_one(
    machine: Machine, observe: Callable[..., None]
) -> None:
    clock = BrokerClock(machine)
    observe(clock, ahead_s=7000)
    for _ in range(10):
        observe(clock, ahead_s=6990, round_trip_s=20)
    assert abs(clock.now_ms() - (machine.now + 7000) * 1000) <= 2


def test_after_some_minutes_an_old_acknowledgement_no_longer_counts(
    machine: Machine, observe: Callable[..., None]
) -> None:
    clock = BrokerClock(machine)
    observe(clock, ahead_s=7000, round_trip_s=0.001)
    machine.now += 200
    observe(clock, ahead_s=7001, round_trip_s=0.004)
    machine.now += 150
    assert abs(clock.now_ms() - (machine.now + 7001) * 1000) <= 2


def test_the_last_acknowledgement_counts_however_old_it_is(
    machine: Machine, observe: Callable[..., None]
) -> None:
    clock = BrokerClock(machine)
    observe(clock, ahead_s=7000)
    machine.now += 86_400
    assert abs(clock.now_ms() - (machine.now + 7000) * 1000) <= 2


@pytest.mark.parametrize(("sent", "acked", "at_ms"), [(1.0, 2.0, 0), (2.0, 1.0, 5000)])
def test_what_is_no_observation_is_ignored(
    machine: Machine, sent: float, acked: float, at_ms: int
) -> None:
    clock = BrokerClock(machine)
    clock.observe(sent, acked, at_ms)
    assert clock.now_ms() == int(machine.time() * 1000)
