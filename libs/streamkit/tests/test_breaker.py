"""Breakers: what does not answer is left alone, and tried again, one probe at a time."""

import pickle

from hypothesis import given
from hypothesis import strategies as st

from streamkit.breaker import Breaker, Surge


def opened(**kwargs: float) -> Breaker:
    """A breaker that opened at second 100."""
    breaker = Breaker("index", **kwargs)  # type: ignore[arg-type]
    assert breaker.failed(100.0, at_once=True)
    return breaker


def half_open() -> Breaker:
    """A breaker whose probe may go, at second 101."""
    breaker = opened()
    assert breaker.allows(101.0)
    return breaker


def probing() -> Breaker:
    """A breaker whose probe went at second 101."""
    breaker = half_open()
    breaker.probing(101.0)
    return breaker


# -- closed -----------------------------------------------------------------------------------


def test_a_new_breaker_is_closed_and_lets_everything_through() -> None:
    breaker = Breaker("index")
    assert (breaker.name, breaker.state, breaker.opens_at()) == ("index", "closed", None)
    assert breaker.allows(0.0)
    assert breaker.allows(0.0)


def test_it_opens_at_the_fifth_failure_in_a_row_and_says_so_once() -> None:
    breaker = Breaker("index")
    assert [breaker.failed(float(second)) for second in range(7)] == [False] * 4 + [True] + [
        False
    ] * 2
    assert breaker.state == "open"


def test_the_threshold_may_be_set() -> None:
    breaker = Breaker("index", threshold=2)
    assert [breaker.failed(0.0), breaker.failed(0.0)] == [False, True]


def test_a_success_in_between_begins_the_count_anew() -> None:
    breaker = Breaker("index", threshold=2)
    breaker.failed(0.0)
    assert not breaker.succeeded(1.0)
    assert not breaker.failed(2.0)
    assert breaker.failed(3.0)


def test_what_is_known_to_be_away_opens_it_at_once() -> None:
    assert opened().state == "open"


def test_a_closed_breaker_has_no_probes() -> None:
    breaker = Breaker("index")
    breaker.probing(0.0)
    assert breaker.opens_at() is None
    assert not breaker.succeeded(0.0)


# -- open -------------------------------------------------------------------------------------


def test_while_open_nothing_goes_until_its_time_has_come() -> None:
    breaker = opened()
    assert breaker.opens_at() == 101.0
    assert (breaker.allows(100.999), breaker.state) == (False, "open")
    assert (breaker.allows(101.0), breaker.state) == (True, "half-open")


def test_the_first_time_may_be_set() -> None:
    assert opened(first_s=7.0).opens_at() == 107.0


def test_work_from_before_the_opening_that_succeeds_closes_nothing() -> None:
    breaker = opened()
    assert not breaker.succeeded(100.5)
    assert not breaker.allows(100.6)


def test_work_from_before_the_opening_that_fails_lengthens_nothing() -> None:
    breaker = opened()
    for _ in range(10):
        assert not breaker.failed(100.9, at_once=True)
    assert breaker.opens_at() == 101.0


def test_no_probe_begins_while_it_is_open() -> None:
    breaker = opened()
    breaker.probing(100.5)
    assert breaker.opens_at() == 101.0
    assert not breaker.succeeded(100.6)


# -- half-open --------------------------------------------------------------------------------


def test_one_probe_goes_and_no_other_while_it_is_under_way() -> None:
    breaker = probing()
    assert not breaker.allows(101.0)
    assert not breaker.allows(115.0)


def test_asking_does_not_use_the_probe_up() -> None:
    breaker = half_open()
    assert breaker.allows(101.0)
    assert breaker.opens_at() is None


def test_a_probe_that_succeeds_closes_it() -> None:
    breaker = probing()
    assert breaker.succeeded(102.0)
    assert (breaker.state, breaker.opens_at()) == ("closed", None)
    assert breaker.allows(102.0)
    assert not breaker.succeeded(103.0)


def test_a_closed_breaker_has_forgotten_what_opened_it() -> None:
    breaker = Breaker("index", threshold=2)
    breaker.failed(0.0)
    breaker.failed(0.0)
    breaker.allows(1.0)
    breaker.probing(1.0)
    breaker.succeeded(1.5)
    assert not breaker.failed(2.0)
    assert breaker.failed(2.0)
    assert breaker.opens_at() == 3.0


def test_late_news_closes_nothing_before_a_probe_went() -> None:
    breaker = half_open()
    assert not breaker.succeeded(101.0)
    assert breaker.state == "half-open"
    assert not breaker.failed(101.0, at_once=True)
    assert breaker.allows(101.0)


def test_a_probe_that_fails_opens_it_again_without_a_second_notice() -> None:
    breaker = probing()
    assert not breaker.failed(102.0)
    assert breaker.state == "open"
    assert breaker.opens_at() == 104.0


def test_the_wait_doubles_with_each_failed_probe_up_to_the_longest() -> None:
    breaker = opened()
    waits = []
    for _ in range(7):
        now = breaker.opens_at()
        assert now is not None
        assert breaker.allows(now)
        breaker.probing(now)
        breaker.failed(now)
        waits.append((breaker.opens_at() or 0.0) - now)
    assert waits == [2.0, 4.0, 8.0, 16.0, 30.0, 30.0, 30.0]


def test_the_longest_wait_may_be_set() -> None:
    breaker = opened(longest_s=1.5)
    breaker.allows(101.0)
    breaker.probing(101.0)
    breaker.failed(101.0)
    assert breaker.opens_at() == 102.5


def test_after_closing_the_waits_begin_anew() -> None:
    breaker = probing()
    breaker.failed(102.0)
    breaker.allows(104.0)
    breaker.probing(104.0)
    breaker.succeeded(104.5)
    breaker.failed(105.0, at_once=True)
    assert breaker.opens_at() == 106.0


def test_a_probe_that_was_handed_back_lets_another_go() -> None:
    breaker = probing()
    breaker.forgotten()
    assert breaker.state == "half-open"
    assert breaker.allows(101.5)


def test_a_probe_that_nobody_hears_of_is_given_up_in_the_end() -> None:
    breaker = probing()
    assert breaker.opens_at() == 131.0
    assert not breaker.allows(130.9)
    assert breaker.allows(131.0)


@given(
    st.lists(
        st.tuples(
            st.sampled_from(("failed", "busy", "succeeded", "work", "forgotten")),
            st.floats(0.0, 5.0),
        ),
        max_size=200,
    )
)
def test_whatever_happens_work_goes_on_within_the_longest_wait(
    history: list[tuple[str, float]],
) -> None:
    breaker, now, notices = Breaker("index", threshold=3, longest_s=20.0), 0.0, 0
    for what, seconds in history:
        now += seconds
        if what in {"failed", "busy"}:
            notices += breaker.failed(now, at_once=what == "busy")
        elif what == "succeeded":
            notices -= breaker.succeeded(now)
        elif what == "forgotten":
            breaker.forgotten()
        elif breaker.allows(now):
            breaker.probing(now)
        assert notices == (breaker.state != "closed")
        opens_at = breaker.opens_at()
        assert opens_at is None or opens_at <= now + 20.0
    assert breaker.allows(now + 20.0)


# -- a surge of dead letters ------------------------------------------------------------------


def test_fifty_dead_letters_and_nothing_else_are_a_surge() -> None:
    surge = Surge()
    assert [surge.record(5.0, True) for _ in range(50)] == [False] * 49 + [True]


def test_how_many_are_a_surge_may_be_set() -> None:
    surge = Surge(least=2)
    assert [surge.record(5.0, True) for _ in range(2)] == [False, True]


def test_half_of_what_is_finished_is_no_surge_and_more_is() -> None:
    surge = Surge()
    for _ in range(60):
        assert not surge.record(5.0, False)
        assert not surge.record(5.0, True)
    assert surge.record(5.0, True)


def test_good_records_never_report_a_surge() -> None:
    surge = Surge(least=3)
    surge.record(0.0, True)
    surge.record(0.0, True)
    assert not surge.record(0.0, False)
    assert surge.record(0.0, True)


def test_a_minute_later_all_is_forgotten() -> None:
    surge = Surge()
    for _ in range(49):
        surge.record(5.9, True)
    for _ in range(100):
        surge.record(5.9, False)
    assert not any(surge.record(65.0, True) for _ in range(49))
    assert surge.record(65.0, True)


def test_within_the_minute_it_is_remembered() -> None:
    surge = Surge()
    for _ in range(49):
        surge.record(5.0, True)
    assert surge.record(64.9, True)


def test_a_surge_is_reported_once_and_counting_begins_anew() -> None:
    surge = Surge(least=3)
    assert [surge.record(5.0, True) for _ in range(6)] == [False, False, True] * 2


def test_good_records_of_before_the_minute_hide_no_surge() -> None:
    surge = Surge()
    for second in range(30):
        for _ in range(20):
            surge.record(float(second), False)
    assert any(surge.record(90.0, True) for _ in range(50))


def test_it_holds_a_minute_however_long_it_runs_and_however_much_is_done() -> None:
    def size_after(seconds: int, each: int) -> int:
        surge = Surge(least=100_000)
        for second in range(1000, 1000 + seconds):
            for number in range(each):
                surge.record(float(second), number % 3 == 0)
        return len(pickle.dumps(surge))

    assert size_after(3000, 1) == size_after(60, 1)
    assert size_after(60, 100) <= size_after(60, 1) + 20
