"""Rate and time left of an import: bounded, told only when known, right as often as they say."""

import math
import random
from bisect import bisect_right

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.catalog.pace import Left, Sample, recent_rate, time_left

START = 1_790_000_000.0


def steady(rate: float, seconds: int, every: int = 2) -> tuple[list[Sample], float, float]:
    """Samples of an even pace; then the time and the files ended by then."""
    samples = [(START + at, float(int(rate * at))) for at in range(0, seconds, every)]
    return samples, START + seconds, float(int(rate * seconds))


STEPS = st.lists(
    st.tuples(st.floats(0, 500), st.sampled_from((0, 0, 1, 3, 20, 1_000, 1_000_000))), max_size=64
)
History = tuple[list[Sample], float, float]


def history_of(steps: list[tuple[float, int]]) -> History:
    """Samples as the table may hold them: late, early, uneven, with jumps and stalls."""
    at, count, samples = START, 0, []
    for seconds, files in steps:
        samples.append((at, float(count)))
        at, count = at + seconds, count + files
    return samples, at, float(count)


HISTORIES = STEPS.map(history_of)


@given(HISTORIES, st.integers(-5, 10_000_000))
def test_a_time_left_is_above_zero_and_within_its_spread(history: History, files: int) -> None:
    left = time_left(*history, files)
    if left is not None:
        assert 0 < left.low <= left.seconds <= left.high
        assert math.isfinite(left.high)
        assert left.high <= left.seconds * 10.001


@given(HISTORIES)
def test_a_rate_is_never_below_zero(history: History) -> None:
    rate = recent_rate(*history)
    assert rate is None or (rate >= 0 and math.isfinite(rate))


@given(HISTORIES, st.integers(1, 10_000_000), st.integers(1, 10_000_000))
def test_more_files_take_longer(history: History, files: int, further: int) -> None:
    fewer, more = time_left(*history, files), time_left(*history, files + further)
    if fewer is not None and more is not None:
        assert fewer.seconds <= more.seconds


@given(st.integers(2, 200), st.integers(20, 5_000))
def test_the_longer_it_is_watched_the_narrower_the_spread(rate: int, files: int) -> None:
    spreads = []
    for seconds in (10, 20, 40, 80):
        left = time_left(*steady(rate, seconds), files)
        assert left is not None
        spreads.append(left.high / left.low)
    assert spreads == sorted(spreads, reverse=True)


def test_an_even_pace_gives_the_plain_quotient() -> None:
    left = time_left(*steady(10, 60), 600)
    assert left is not None
    assert left.seconds == pytest.approx(60)
    assert recent_rate(*steady(10, 60)) == pytest.approx(10)


def test_the_last_two_minutes_count_and_not_the_hour_before() -> None:
    slow = [(START + at, float(at)) for at in range(0, 3600, 60)]
    fast = [(START + 3600 + at, 3600.0 + 50 * at) for at in range(0, 130, 2)]
    left = time_left([*slow, *fast], START + 3730, 3600.0 + 50 * 130, 5_000)
    assert left is not None
    assert left.seconds == pytest.approx(100, rel=0.01)


def test_uneven_work_widens_the_spread() -> None:
    even = time_left(*steady(10, 60), 300)
    bursts = [(START + at, float(150 * (at // 15))) for at in range(0, 60, 3)]
    uneven = time_left(bursts, START + 60, 600.0, 300)
    assert even is not None
    assert uneven is not None
    assert uneven.high / uneven.low > 1.5 * even.high / even.low


@pytest.mark.parametrize(
    ("samples", "now", "done"),
    [
        ([], START, 0),
        ([(START, 0)], START + 60, 40),  # two points make no windows
        ([(START, 0), (START + 2, 1), (START + 4, 2)], START + 6, 3),  # too few files
        (steady(1, 60)[0], START + 60 + 100, 58),  # nothing for 100 s
    ],
    ids=["nothing", "no windows", "few files", "stands still"],
)
def test_little_known_is_not_told(samples: list[Sample], now: float, done: float) -> None:
    assert time_left(samples, now, done, 100) is None


def test_a_slow_import_is_not_taken_for_one_that_stands_still() -> None:
    samples = [(START + 60 * n, float(n)) for n in range(30)]
    left = time_left(samples, START + 60 * 29 + 45, 29.0, 10)
    assert left is not None
    assert left.seconds == pytest.approx(600, rel=0.1)


@pytest.mark.parametrize(("shape", "name"), [(1.0, "alike"), (0.2, "in bursts")])
def test_the_end_lies_within_the_spread_about_eight_times_of_ten(shape: float, name: str) -> None:
    """Gaps of a gamma distribution: with shape 1 a Poisson process, below 1 in bursts."""
    draw = random.Random(6)
    hits = trials = 0
    for _ in range(400):
        files = draw.randint(50, 2_000)
        known = draw.uniform(8, 120)
        ends: list[float] = []
        at = 0.0
        while at <= known or len(ends) < files:
            at += draw.gammavariate(shape, 1 / (8 * shape))
            ends.append(at)
        ticks = range(0, int(known), 2)
        samples = [(float(tick), float(bisect_right(ends, tick))) for tick in ticks]
        done = bisect_right(ends, known)
        if done >= files:
            continue
        left = time_left(samples, known, done, files - done)
        assert isinstance(left, Left)
        trials += 1
        hits += left.low <= ends[files - 1] - known <= left.high
    assert trials > 200
    assert 0.72 <= hits / trials <= 0.9, name
