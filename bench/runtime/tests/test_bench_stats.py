"""Rates and percentiles are what they are said to be."""

import pytest
from bench.runtime.stats import at, median, percentile, spread, steady
from hypothesis import given
from hypothesis import strategies as st


def test_the_steady_part_leaves_out_the_first_and_the_last_tenth() -> None:
    window = steady([float(second) for second in range(101)])
    assert (window.began, window.ended, window.count) == (10.0, 90.0, 80)
    assert window.rate == pytest.approx(1.0)


def test_a_slow_start_and_a_slow_end_do_not_change_the_rate() -> None:
    start = [float(second) for second in range(10)]
    middle = [10 + number / 100 for number in range(180)]
    end = [60.0 + second for second in range(10)]
    assert steady([*start, *middle, *end]).rate == pytest.approx(100, rel=0.02)


def test_the_order_in_which_times_are_given_does_not_matter() -> None:
    times = [float(number % 7) * 3 + number for number in range(50)]
    assert steady(times) == steady(sorted(times, reverse=True))


@pytest.mark.parametrize("times", [[], [1.0], [2.0] * 100])
def test_what_has_no_steady_part_is_refused(times: list[float]) -> None:
    with pytest.raises(ValueError, match="steady"):
        steady(times)


def test_a_percentile_lies_between_its_neighbours() -> None:
    assert percentile([4.0, 1.0, 3.0, 2.0], 50) == 2.5
    assert percentile([float(number) for number in range(101)], 95) == 95.0
    assert percentile([7.0], 95) == 7.0


def test_no_values_have_no_percentile() -> None:
    with pytest.raises(ValueError, match="no values"):
        percentile([], 95)


@given(st.lists(st.floats(0, 1e6), min_size=1), st.floats(0, 100))
def test_a_percentile_is_within_the_values(values: list[float], q: float) -> None:
    assert min(values) <= percentile(values, q) <= max(values)


def test_the_median_of_three_is_the_middle_one() -> None:
    assert median([30.0, 10.0, 20.0]) == 20.0


def test_the_spread_is_a_share_of_the_median() -> None:
    assert spread([90.0, 100.0, 110.0]) == pytest.approx(0.2)
    assert spread([5.0]) == 0.0


def test_what_was_used_between_samples_is_interpolated() -> None:
    samples = [(10.0, 0.0), (11.0, 2.0), (12.0, 2.0)]
    assert at(samples, 10.5) == 1.0
    assert at(samples, 11.5) == 2.0


def test_beyond_the_samples_the_nearest_one_counts() -> None:
    samples = [(10.0, 1.0), (11.0, 2.0)]
    assert at(samples, 5.0) == 1.0
    assert at(samples, 99.0) == 2.0
