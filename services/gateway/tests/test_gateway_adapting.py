"""How much is let in follows how busy the workers are: slowly, in order, and never far."""

from collections.abc import Mapping

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from gateway.adapting import (
    HALF,
    HOLD_S,
    NOBODY_SAYS,
    ROOM_S,
    SHARES,
    Adapting,
    Marks,
    Measure,
    Usage,
)
from gateway.settings import Settings

LANES = ("default", "learning", "batch", "high")
MARKS = Marks(above=0.8, below=0.3, high_p95_s=10.0)
LOOK_S = 2.0

Shares = dict[str, float]


class Watch:
    """Lanes that are looked at every two seconds, and when their shares changed."""

    def __init__(self) -> None:
        self.adapting = Adapting(LANES, MARKS)
        self.now = 1_000.0
        self.last: Mapping[str, Measure] = {}
        self.changes: list[tuple[float, Shares]] = []

    @property
    def shares(self) -> Shares:
        return {lane: one.share for lane, one in self.last.items()}

    def look(self, usage: Usage | None, p95_s: float | None = None) -> Shares:
        before = self.shares
        self.last = self.adapting.saw(self.now, usage, p95_s)
        if before and self.shares != before:
            self.changes.append((self.now, self.shares))
        self.now += LOOK_S
        return self.shares

    def stay(self, seconds: float, cpu: float, p95_s: float | None = None) -> Shares:
        """Looks at that CPU until so many seconds have passed since the first of them."""
        until = self.now + seconds
        while self.now <= until:
            self.look(Usage(cpu, 0.1), p95_s)
        return self.shares


@pytest.fixture
def watch() -> Watch:
    return Watch()


def of(*shares: float) -> Shares:
    return dict(zip(LANES, shares, strict=True))


def test_busy_workers_halve_one_lane_after_the_other_and_leave_the_highest(watch: Watch) -> None:
    assert watch.stay(HOLD_S - LOOK_S, 0.91) == of(1, 1, 1, 1)
    assert watch.stay(0, 0.91) == of(HALF, 1, 1, 1)
    assert watch.last["default"].cause == "the workers' CPU is at 91 %"
    assert watch.last["learning"].cause is None
    assert watch.stay(HOLD_S - LOOK_S, 0.95) == of(HALF, HALF, 1, 1)
    assert watch.last["default"].cause == "the workers' CPU is at 91 %", "when it was halved"
    assert watch.stay(600, 0.95, p95_s=9.9) == of(HALF, HALF, HALF, 1)


def test_the_highest_lane_is_halved_where_its_photos_take_too_long(watch: Watch) -> None:
    watch.stay(2 * HOLD_S, 0.9, p95_s=30)
    assert watch.shares == of(HALF, HALF, 1, 1), "the others come before"
    watch.stay(HOLD_S, 0.9)
    assert watch.stay(HOLD_S, 0.9, p95_s=12.4) == of(HALF, HALF, HALF, HALF)
    assert watch.last["high"].cause == (
        "the workers' CPU is at 90 %, and single photos take 12 s where 10 s are wanted"
    )
    assert watch.stay(600, 0.9, p95_s=60) == of(HALF, HALF, HALF, HALF), "never a quarter"


def test_what_was_halved_comes_back_in_reverse_order_once_there_is_room(watch: Watch) -> None:
    watch.stay(5 * HOLD_S, 0.9, p95_s=30)
    assert watch.stay(600, 0.75) == of(HALF, HALF, HALF, HALF), "neither busy nor not"
    for shares in (of(HALF, HALF, HALF, 1), of(HALF, HALF, 1, 1), of(HALF, 1, 1, 1)):
        watch.stay(HOLD_S - LOOK_S, 0.65)
        assert watch.stay(0, 0.65) == shares
        assert watch.last["high"].cause is None
    assert watch.stay(600, 0.65) == of(1, 1, 1, 1)


def test_memory_counts_as_much_as_cpu(watch: Watch) -> None:
    for _ in range(12):
        watch.look(Usage(0.2, 0.86))
    assert watch.shares == of(HALF, 1, 1, 1)
    assert watch.last["default"].cause == "the workers' memory is at 86 %"


def test_idle_workers_double_from_the_highest_lane_down_and_load_ends_that(watch: Watch) -> None:
    for shares in (of(1, 1, 1, 2), of(1, 1, 2, 2), of(1, 2, 2, 2), of(2, 2, 2, 2)):
        watch.stay(ROOM_S - LOOK_S, 0.12)
        assert watch.shares != shares
        assert watch.stay(0, 0.12) == shares
        watch.now -= LOOK_S
    assert watch.last["batch"].cause == "the workers' CPU is at 12 %, their memory at 10 %"
    assert watch.stay(600, 0.35) == of(2, 2, 2, 2), "between the marks nothing changes"
    watch.stay(HOLD_S - LOOK_S, 0.45)
    assert watch.shares == of(2, 2, 2, 2)
    assert watch.stay(0, 0.45) == of(1, 1, 1, 1)


def test_one_busy_worker_keeps_lanes_from_being_doubled(watch: Watch) -> None:
    for _ in range(200):
        watch.look(Usage(0.05, 0.31))
    assert watch.shares == of(1, 1, 1, 1)


def test_a_peak_changes_nothing(watch: Watch) -> None:
    for _ in range(20):
        watch.stay(HOLD_S - 2 * LOOK_S, 0.99)
        watch.look(Usage(0.5, 0.1))
    assert watch.changes == []


def test_where_nobody_says_anything_what_is_configured_holds_at_once(watch: Watch) -> None:
    watch.stay(2 * HOLD_S, 0.9)
    assert watch.look(None) == of(1, 1, 1, 1)
    assert {one.cause for one in watch.last.values()} == {NOBODY_SAYS}
    assert watch.stay(HOLD_S - LOOK_S, 0.9) == of(1, 1, 1, 1), "it begins anew"
    assert {one.cause for one in watch.last.values()} == {None}
    assert watch.stay(0, 0.9) == of(HALF, 1, 1, 1)


@pytest.mark.parametrize(
    ("shares", "cpu"),
    [
        (of(HALF, HALF, 1, 1), 0.75),
        (of(HALF, HALF, HALF, HALF), 0.75),
        (of(1, 1, 2, 2), 0.35),
        (of(1, 1, 1, 1), 0.5),
    ],
)
def test_who_takes_over_goes_on(watch: Watch, shares: Shares, cpu: float) -> None:
    watch.adapting.restore({lane: Measure(share, "so it was") for lane, share in shares.items()})
    assert watch.look(Usage(cpu, 0.1)) == shares
    assert {one.cause for one in watch.last.values() if one.share != 1} <= {"so it was"}


def test_what_makes_no_sense_any_more_is_not_taken_over(watch: Watch) -> None:
    watch.adapting.restore({"high": Measure(HALF, "other weights"), "learning": Measure(2, None)})
    assert watch.look(Usage(0.5, 0.5)) == of(1, 1, 1, 1)


LOADS = st.one_of(
    st.none(),
    st.tuples(st.floats(0, 1), st.floats(0, 1)),
    st.sampled_from([(0.95, 0.5), (0.1, 0.1)]),
)
STAYS = st.lists(
    st.tuples(LOADS, st.integers(1, 60), st.sampled_from([None, 5.0, 20.0])),
    min_size=1,
    max_size=20,
)


@given(STAYS)
def test_whatever_the_load_is_steps_are_small_ordered_and_apart(
    stays: list[tuple[tuple[float, float] | None, int, float | None]],
) -> None:
    watch = Watch()
    blind_at = set()
    for load, looks, p95_s in stays:
        for _ in range(looks):
            if load is None:
                blind_at.add(watch.now)
            watch.look(Usage(*load) if load else None, p95_s)
            shares = list(watch.shares.values())
            assert set(shares) <= set(SHARES)
            assert shares == sorted(shares), "less of the lower ones, more of the higher ones"
            assert not {0.5, 2.0} <= set(shares)
    previous, stepped_at = of(1, 1, 1, 1), 0.0
    for at, now in watch.changes:
        changed = [lane for lane in LANES if now[lane] != previous[lane]]
        if at not in blind_at:
            assert at - stepped_at >= HOLD_S
            assert len(changed) == 1 or set(now.values()) == {1.0}
            stepped_at = at
        previous = now


def test_the_marks_are_settings() -> None:
    assert Settings(_cli_parse_args=[]).marks == Marks()
    settings = Settings(adapt_above=0.9, adapt_below=0.2, high_p95_s=3, _cli_parse_args=[])
    assert settings.marks == Marks(0.9, 0.2, 3)
    assert Settings(adapt=False, _cli_parse_args=[]).marks is None
    with pytest.raises(ValidationError, match=r"adapt_below is not 0\.2 below adapt_above"):
        Settings(adapt_above=0.5, adapt_below=0.4, _cli_parse_args=[])


def test_trainings_are_limited_by_a_setting() -> None:
    assert Settings(_cli_parse_args=[]).training_every_s == 3600
    assert Settings(rate_training="2/h", _cli_parse_args=[]).training_every_s == 1800
    assert Settings(rate_training="none", _cli_parse_args=[]).training_every_s == 0
