"""Token buckets: never faster than asked for, never slower, and no stop without Redis."""

import itertools
import threading
from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from streamkit.rate import (
    AWAY_S,
    HELLO_S,
    IDLE_S,
    Answer,
    LocalBucket,
    LocalTokens,
    Quota,
    Rate,
    SharedBucket,
    TokensAwayError,
    parse_quota,
    parse_rate,
)
from streamkit.testing import FakeClock


@pytest.mark.parametrize(
    ("text", "per_s", "burst"),
    [("100/m", 100 / 60, 2), ("50/s", 50, 50), ("2.5/s", 2.5, 2), ("1000/h", 1 / 3.6, 1)],
)
def test_a_rate_is_read(text: str, per_s: float, burst: int) -> None:
    rate = parse_rate(text)
    assert rate.per_s == pytest.approx(per_s)
    assert rate.burst == burst


@pytest.mark.parametrize("text", ["", "100", "0/m", "-1/s", "1/d", "1/s ", "٣/s", "1e9/s", "inf/s"])
def test_what_is_no_rate_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="is no rate"):
        parse_rate(text)


def test_a_quota_is_read_and_may_be_used_at_once_after_a_rest() -> None:
    assert parse_quota("100/m") == Quota(100, 60)
    assert parse_quota("100/m").rate == Rate(100 / 60, 100)
    assert parse_quota("5/s").rate == Rate(5.0, 5)
    assert parse_quota("10/h").rate == Rate(10 / 3600, 10)


@pytest.mark.parametrize("text", ["0/m", "2.5/s", "ten/m", "none", "100"])
def test_what_is_no_quota_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match=r"is no (rate|quota)"):
        parse_quota(text)


@pytest.mark.parametrize(
    ("factor", "rate", "quota"),
    [
        (1, Rate(0.05, 3), Quota(3, 60)),
        (2, Rate(0.1, 6), Quota(6, 60)),
        (0.5, Rate(0.025, 2), Quota(3, 120)),
    ],
)
def test_a_multiple_of_a_quota(factor: float, rate: Rate, quota: Quota) -> None:
    assert Quota(3, 60).times(factor) == quota
    assert Quota(3, 60).rate.times(factor) == pytest.approx(rate)
    assert Rate(1.0, 1).times(0.5) == Rate(0.5, 1), "one at least, else there would never be one"


def test_who_takes_at_a_multiple_of_a_rate_takes_from_the_same_tokens() -> None:
    clock, rate = FakeClock(), Rate(1.0, 10)
    tokens = LocalTokens(clock)
    assert tokens.ask(2, rate.times(0.5)) == pytest.approx(Answer(2, 0, 1, 3))
    assert tokens.ask(2, rate.times(2)) == pytest.approx(Answer(2, 0, 1, 10))
    assert tokens.ask(9, rate) == pytest.approx(Answer(5, 1, 1, 0))
    clock.now += 1
    assert tokens.ask(1, rate.times(0.5)) == pytest.approx(Answer(0, 1, 1, 0.5))
    assert tokens.ask(-3, rate) == pytest.approx(Answer(-3, 0, 1, 4))
    assert tokens.ask(-99, rate).left == 10


def test_who_asks_at_a_rate_that_holds_less_takes_nothing_from_the_others() -> None:
    clock, rate = FakeClock(), Rate(1.0, 1)
    tokens = LocalTokens(clock, left_s=0)
    clock.now += 1.5
    assert tokens.ask(0, rate).left == 1
    assert tokens.ask(0, rate.times(0.5)).left == pytest.approx(0.75)


def test_local_tokens_begin_with_what_is_left() -> None:
    assert LocalTokens(FakeClock(), left_s=2.5).ask(9, Rate(2.0, 9)) == Answer(5, 0.5, 1, 0)


def test_a_worker_has_its_share_of_a_rate() -> None:
    assert Rate(10.0, 10).share(4) == Rate(2.5, 2)
    assert Rate(1.0, 1).share(4) == Rate(0.25, 1)


@pytest.fixture
def clock() -> FakeClock:
    return FakeClock()


def test_a_rested_bucket_gives_its_burst_and_then_as_the_rate_says(clock: FakeClock) -> None:
    bucket = LocalBucket(Rate(10.0, 5), clock)
    assert bucket.take(100) == 5
    assert bucket.take(1) == 0
    assert bucket.next_at() == pytest.approx(clock.now + 0.1)
    clock.now += 0.05
    assert bucket.left == pytest.approx(0.5)
    clock.now += 0.05
    assert bucket.next_at() == pytest.approx(clock.now)
    clock.now += 0.07
    assert bucket.next_at() == pytest.approx(clock.now - 0.07), "since then there is one"
    assert bucket.take(100) == 1


@pytest.mark.parametrize("most", [0, -3])
def test_who_takes_nothing_gets_nothing(clock: FakeClock, most: int) -> None:
    bucket = LocalBucket(Rate(10.0, 5), clock)
    assert bucket.take(most) == 0
    assert bucket.take(5) == 5


def test_a_bucket_may_begin_with_less_and_never_with_more(clock: FakeClock) -> None:
    assert LocalBucket(Rate(10.0, 5), clock, 2).take(9) == 2
    assert LocalBucket(Rate(10.0, 5), clock, 7).take(9) == 5


def test_a_changed_rate_holds_from_then_on(clock: FakeClock) -> None:
    bucket = LocalBucket(Rate(10.0, 10), clock)
    bucket.change(Rate(1.0, 2))
    assert bucket.take(10) == 2
    clock.now += 1
    assert bucket.take(10) == 1
    bucket.close()


steps = st.lists(st.tuples(st.floats(0, 2), st.integers(0, 20)), max_size=60)


@given(st.floats(0.1, 1000), st.integers(1, 50), steps)
def test_in_no_stretch_of_time_does_more_pass_than_rate_and_burst_allow(
    per_s: float, burst: int, found: list[tuple[float, int]]
) -> None:
    clock = FakeClock()
    bucket = LocalBucket(Rate(per_s, burst), clock)
    passed: list[tuple[float, int]] = []
    for wait, most in found:
        clock.now += wait
        passed.append((clock.now, bucket.take(most)))
    for first, last in itertools.combinations(range(len(passed)), 2):
        stretch = passed[last][0] - passed[first][0]
        assert sum(n for _, n in passed[first : last + 1]) <= burst + per_s * stretch + 0.001


@given(st.floats(0.1, 1000), st.integers(1, 50))
def test_who_comes_back_when_told_to_gets_a_token(per_s: float, burst: int) -> None:
    clock = FakeClock()
    bucket = LocalBucket(Rate(per_s, burst), clock)
    bucket.take(burst)
    for _ in range(20):
        clock.move_to(bucket.next_at())
        assert bucket.take(1) == 1


class Shelf:
    """Tokens as Redis has them, on the test's clock; may be away."""

    def __init__(self, clock: FakeClock, rate: Rate, workers: int = 1) -> None:
        self.bucket = LocalBucket(rate, clock)
        self.clock = clock
        self.workers = workers
        self.away = False
        self.asked: list[int] = []
        self.given_back = 0
        self.left = False

    def ask(self, wanted: int, rate: Rate) -> Answer:
        if self.away:
            raise TokensAwayError("connection refused")
        self.asked.append(wanted)
        if wanted < 0:
            self.given_back -= wanted
        granted = self.bucket.take(wanted)
        wait_s = self.bucket.next_at() - self.clock.now
        return Answer(granted, wait_s, self.workers, self.bucket.left)

    def leave(self) -> None:
        self.left = True


class Seen:
    """What a bucket told."""

    def __init__(self) -> None:
        self.woken = 0
        self.local: list[bool] = []

    def wake(self) -> None:
        self.woken += 1


SLOW = Rate(2.0, 2)
FAST = Rate(1000.0, 1000)


@pytest.fixture
def seen() -> Seen:
    return Seen()


@pytest.fixture
def make(clock: FakeClock, seen: Seen) -> Callable[..., tuple[SharedBucket, Shelf]]:
    def one(rate: Rate, workers: int = 1) -> tuple[SharedBucket, Shelf]:
        shelf = Shelf(clock, rate, workers)
        bucket = SharedBucket(shelf, rate, clock, wake=seen.wake, on_local=seen.local.append)
        return bucket, shelf

    return one


Make = Callable[..., tuple[SharedBucket, Shelf]]


class GoingClock(FakeClock):
    """As a real one: it has gone on each time that it is read."""

    def monotonic(self) -> float:
        self.now += 1e-6
        return self.now


@pytest.mark.parametrize("shared", [True, False])
def test_a_bucket_that_had_tokens_when_it_was_asked_names_no_later_moment(
    shared: bool,
) -> None:
    """A worker with a backlog would else turn without rest until the backlog is gone."""
    clock = GoingClock()
    bucket: LocalBucket | SharedBucket = LocalBucket(Rate(10.0, 5), clock)
    if shared:
        bucket = SharedBucket(Shelf(clock, FAST), FAST, clock)
        bucket.take(1)
        bucket.turn()
        assert bucket.take(1) == 1
    now = clock.monotonic()
    assert bucket.take(1) == 1
    assert bucket.next_at() <= now


def test_nothing_is_granted_before_it_was_fetched(make: Make, seen: Seen) -> None:
    bucket, _ = make(SLOW)
    assert bucket.take(5) == 0
    bucket.turn()
    assert seen.woken == 1
    assert bucket.take(5) == 1


def test_a_slow_rates_tokens_are_fetched_one_by_one_and_only_when_wanted(make: Make) -> None:
    bucket, shelf = make(SLOW)
    bucket.turn()
    assert shelf.asked == [0]
    for _ in range(2):
        assert bucket.take(1) == 0
        bucket.turn()
        assert bucket.take(1) == 1
    assert shelf.asked == [0, 1, 1]


def test_when_there_is_none_it_is_asked_for_again_when_there_is(
    make: Make, clock: FakeClock
) -> None:
    bucket, shelf = make(SLOW)
    shelf.bucket.take(2)
    bucket.take(1)
    assert bucket.turn() == pytest.approx(0.5)
    assert bucket.next_at() == pytest.approx(clock.now + 0.5)
    asked = len(shelf.asked)
    assert bucket.turn() == pytest.approx(0.5)
    assert len(shelf.asked) == asked
    clock.now += 0.5
    bucket.turn()
    assert bucket.next_at() < clock.now
    assert bucket.take(1) == 1


def test_a_fast_rates_tokens_are_fetched_ahead_a_tenth_of_a_second(make: Make) -> None:
    bucket, shelf = make(FAST)
    bucket.take(1)
    bucket.turn()
    assert shelf.asked == [100]
    assert bucket.take(49) == 49
    bucket.turn()
    assert shelf.asked == [100]
    assert bucket.take(2) == 2
    bucket.turn()
    assert shelf.asked == [100, 51]
    assert bucket.take(200) == 100


def test_tokens_that_nobody_takes_are_given_back(make: Make, clock: FakeClock) -> None:
    bucket, shelf = make(FAST)
    bucket.take(1)
    bucket.turn()
    clock.now += IDLE_S
    bucket.turn()
    assert shelf.given_back == 100
    assert bucket.take(5) == 0


def test_a_worker_that_wants_nothing_still_says_that_it_is_there(
    make: Make, clock: FakeClock
) -> None:
    bucket, shelf = make(SLOW)
    bucket.turn()
    assert bucket.turn() == pytest.approx(HELLO_S)
    clock.now += HELLO_S
    bucket.turn()
    assert shelf.asked == [0, 0]


def test_without_redis_a_worker_goes_on_at_its_share_and_says_so_once(
    make: Make, clock: FakeClock, seen: Seen
) -> None:
    bucket, shelf = make(Rate(40.0, 40), workers=4)
    bucket.turn()
    shelf.away = True
    for _ in range(3):
        clock.now += HELLO_S
        bucket.turn()
    assert seen.local == [True]
    assert bucket.take(100) == 10
    assert bucket.next_at() == pytest.approx(clock.now + 0.1)
    clock.now += 0.5
    assert bucket.take(100) == 5


def test_what_was_fetched_before_redis_went_is_not_granted_twice(
    make: Make, clock: FakeClock
) -> None:
    bucket, shelf = make(FAST)
    bucket.take(1)
    bucket.turn()
    shelf.away = True
    bucket.take(60)
    bucket.turn()
    assert bucket.take(1000) == 40


def test_when_redis_is_back_the_rate_is_shared_again(
    make: Make, clock: FakeClock, seen: Seen
) -> None:
    bucket, shelf = make(SLOW, workers=2)
    shelf.away = True
    assert bucket.turn() == pytest.approx(AWAY_S)
    assert bucket.turn() == pytest.approx(AWAY_S)
    shelf.away = False
    clock.now += AWAY_S
    bucket.turn()
    assert seen.local == [True, False]
    assert bucket.take(1) == 0
    bucket.turn()
    assert bucket.take(1) == 1


def test_a_changed_rate_is_asked_for_at_once(make: Make, clock: FakeClock) -> None:
    bucket, shelf = make(FAST)
    bucket.take(1)
    bucket.turn()
    bucket.change(SLOW)
    assert bucket.take(100) == 1
    shelf.away = True
    bucket.turn()
    clock.now += 1
    bucket.change(Rate(6.0, 6))
    clock.now += 10
    assert bucket.take(100) == 6


def test_a_closed_bucket_gives_back_what_it_holds_and_leaves(make: Make) -> None:
    bucket, shelf = make(FAST)
    bucket.take(1)
    bucket.turn()
    bucket.close()
    assert (shelf.given_back, shelf.left) == (100, True)


def test_a_bucket_closes_while_redis_is_away(make: Make) -> None:
    bucket, shelf = make(FAST)
    bucket.take(1)
    bucket.turn()
    shelf.away = True
    bucket.close()
    assert shelf.left


def test_a_thread_fetches_what_is_wanted(clock: FakeClock) -> None:
    woken = threading.Event()
    shelf = Shelf(clock, FAST)
    bucket = SharedBucket(shelf, FAST, clock, wake=woken.set)
    bucket.start()
    bucket.take(1)
    assert woken.wait(10)
    assert bucket.take(10) == 10
    ended = threading.Event()
    shelf.leave = ended.set  # type: ignore[method-assign]
    bucket.close()
    assert ended.wait(10)
