"""Lanes share an engine's milliseconds by weight, urgent work goes first, nobody waits for ever."""

from collections.abc import Callable, Mapping

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from streamkit.scheduler import Scheduler

WEIGHTS = {"high": 10.0, "batch": 5.0, "learning": 3.0, "default": 1.0}


class Engine:
    """An engine that serves lanes one piece of work at a time; `now` is its clock."""

    def __init__(self, scheduler: Scheduler) -> None:
        self.scheduler = scheduler
        self.now = 1000.0
        self.used: dict[str, float] = {}
        self.served: list[str] = []

    def serve(self, waiting: Mapping[str, float], ms: Callable[[str], float]) -> str:
        """Serve whichever lane is chosen; which."""
        lane = self.scheduler.choose(waiting, self.now)
        assert lane is not None
        cost = ms(lane)
        self.scheduler.charge(lane, cost)
        self.now += cost / 1000
        self.used[lane] = self.used.get(lane, 0.0) + cost
        self.served.append(lane)
        return lane

    def run(self, seconds: float, lanes: Mapping[str, float]) -> dict[str, float]:
        """Serve lanes that always have work, which costs them so much; their shares of the time."""
        begun, self.used = self.now, {}
        while self.now < begun + seconds:
            self.serve(dict.fromkeys(lanes, begun), lanes.__getitem__)
        total = sum(self.used.values())
        return {lane: self.used.get(lane, 0.0) / total for lane in lanes}


def engine(**kwargs: float) -> Engine:
    """An engine whose lanes don't age, unless said otherwise."""
    return Engine(Scheduler(WEIGHTS, **{"age_limit_s": 1e9, **kwargs}))


# -- shares -----------------------------------------------------------------------------------


@settings(deadline=None, max_examples=40)
@given(
    costs=st.dictionaries(
        st.sampled_from((*WEIGHTS, "unknown")),
        st.lists(st.floats(1.0, 50.0), min_size=1, max_size=5),
        min_size=2,
    )
)
def test_shares_of_time_are_as_the_weights_whatever_records_cost(
    costs: dict[str, list[float]],
) -> None:
    one, turns = engine(), dict.fromkeys(costs, 0)

    def cost(lane: str) -> float:
        turns[lane] += 1
        return costs[lane][turns[lane] % len(costs[lane])]

    while one.now < 1040:
        one.serve(dict.fromkeys(costs, 0.0), cost)
    weight = sum(WEIGHTS.get(lane, 1.0) for lane in costs)
    total = sum(one.used.values())
    for lane in costs:
        fair = WEIGHTS.get(lane, 1.0) / weight
        assert abs(one.used[lane] / total - fair) <= 0.05 * fair


def test_shares_hold_when_costs_are_predicted_wrongly_and_corrected_later() -> None:
    scheduler = Scheduler(WEIGHTS, age_limit_s=1e9)
    used = dict.fromkeys(WEIGHTS, 0.0)
    real = {"high": 30.0, "batch": 1.0, "learning": 7.0, "default": 90.0}
    late: list[tuple[str, float]] = []
    for _ in range(40_000):
        lane = scheduler.choose(dict.fromkeys(WEIGHTS, 0.0), 0.0)
        assert lane is not None
        scheduler.charge(lane, 10.0)
        late.append((lane, real[lane] - 10.0))
        if len(late) > 2:
            scheduler.charge(*late.pop(0))
        used[lane] += real[lane]
    total = sum(used.values())
    for lane, weight in WEIGHTS.items():
        assert used[lane] / total == pytest.approx(weight / 19, rel=0.05)


def test_a_lane_without_a_weight_weighs_one() -> None:
    shares = engine().run(30, {"default": 5.0, "mine": 2.0})
    assert shares["mine"] == pytest.approx(0.5, abs=0.02)


def test_a_lane_alone_gets_everything() -> None:
    one = engine()
    assert {one.serve({"default": 0.0}, lambda _: 5000.0) for _ in range(20)} == {"default"}


def test_a_lane_has_several_turns_in_a_row_while_its_quantum_lasts() -> None:
    one = engine()
    both = {"learning": 0.0, "default": 0.0}
    for _ in range(20):
        one.serve(both, lambda _: 4.9)
    assert "".join(lane[0] for lane in one.served) == "ldllllllddllllllddll"


def test_the_quantum_sets_the_length_of_a_turn() -> None:
    one = engine(quantum_ms=1.0)
    both = {"learning": 0.0, "default": 0.0}
    for _ in range(12):
        one.serve(both, lambda _: 1.0)
    assert "".join(lane[0] for lane in one.served) == "ldllldllldll"


# -- who goes first ---------------------------------------------------------------------------


def test_nothing_waits_so_nobody_goes() -> None:
    assert Scheduler(WEIGHTS).choose({}, 1.0) is None


def test_of_lanes_that_have_not_been_served_the_heaviest_goes_first() -> None:
    one = engine()
    lanes = {"default": 0.0, "learning": 0.0, "high": 0.0, "batch": 0.0}
    assert [one.serve(lanes, lambda _: 500.0) for _ in range(4)] == list(WEIGHTS)


def test_when_a_new_round_begins_the_heaviest_goes_first_again() -> None:
    one = engine()
    lanes = {"default": 0.0, "learning": 0.0, "high": 0.0, "batch": 0.0}
    for _ in range(8):
        one.serve(lanes, lambda lane: 10.0 * WEIGHTS[lane])
    assert one.served == [*WEIGHTS, *WEIGHTS]


def test_lanes_of_equal_weight_go_in_the_order_in_which_they_are_named() -> None:
    one = engine()
    for _ in range(6):
        one.serve({"b": 0.0, "a": 0.0, "c": 0.0}, lambda _: 10.0)
    assert one.served == ["b", "a", "c", "b", "a", "c"]


def test_urgent_work_that_arrives_waits_only_for_the_piece_under_way() -> None:
    one = engine()
    one.serve({"high": one.now}, lambda _: 20.0)
    for _ in range(20):
        one.serve({"batch": 0.0}, lambda _: 2.0)
    assert one.scheduler.choose({"batch": 0.0, "default": 0.0}, one.now) == "batch"
    assert one.serve({"batch": 0.0, "high": one.now}, lambda _: 20.0) == "high"


def test_asking_who_is_next_charges_nothing() -> None:
    one = engine()
    lanes = dict.fromkeys(WEIGHTS, 0.0)
    for _ in range(3):
        one.serve(lanes, lambda _: 30.0)
    asked = {one.scheduler.choose(lanes, one.now) for _ in range(5)}
    assert len(asked) == 1
    one.serve(lanes, lambda _: 30.0)
    assert asked == {one.served[-1]}


def test_a_choice_that_cannot_be_served_leaves_the_others_their_turn() -> None:
    """The caller takes out a lane whose micro-batch is not full yet, and asks again."""
    one = engine()
    assert one.scheduler.choose({"high": 0.0, "batch": 0.0}, one.now) == "high"
    assert one.scheduler.choose({"batch": 0.0}, one.now) == "batch"


# -- lanes that come and go -------------------------------------------------------------------


def test_a_lane_that_had_no_work_saved_no_credit() -> None:
    one = engine()
    one.serve({"batch": one.now, "default": one.now}, lambda _: 1.0)
    one.run(10, {"default": 5.0})
    one.served = []
    while one.served.count("default") < 5:
        one.serve({"batch": one.now, "default": 0.0}, lambda _: 10.0)
    assert one.served.count("batch") <= 30


def test_credit_that_was_left_over_is_gone_when_a_lane_comes_back() -> None:
    """Learning has 20 ms left of its round when it runs dry; back again it goes once, as any lane
    that arrives, and then it is the others' turn."""
    one = engine()
    both = {"learning": 0.0, "default": 0.0}
    for _ in range(3):
        one.serve(both, lambda _: 10.0)
    assert one.served == ["learning", "default", "learning"]
    one.now += 0.001
    back = {"learning": one.now, "default": 0.0}
    one.now += 0.001
    one.served = []
    for _ in range(2):
        one.serve(back, lambda _: 0.5)
    assert one.served == ["learning", "default"]


def test_a_lane_that_was_away_for_long_owes_nothing() -> None:
    one = engine()
    one.serve({"batch": one.now}, lambda _: 5000.0)
    one.now += 5.1
    one.serve({"default": 0.0}, lambda _: 20.0)
    assert one.serve({"default": 0.0, "batch": one.now}, lambda _: 20.0) == "batch"


def rounds_until(one: Engine, lane: str) -> int:
    """How many pieces of 10 ms, a round's worth, `default` gets before a lane that is back."""
    waiting = {"default": 0.0, lane: one.now}
    one.now += 0.001
    before = 0
    while one.serve(waiting, lambda _: 10.0) != lane:
        before += 1
    return before


def test_a_lane_that_was_away_while_nothing_was_done_owes_that_much_less() -> None:
    """Batch uses 100 s; a minute after that it is back and owes 40 s, which is 800 rounds."""
    one = engine()
    one.run(1.0, {"batch": 10.0, "default": 10.0})
    one.scheduler.choose({"batch": 0.0}, one.now)
    one.serve({"batch": 0.0}, lambda _: 100_000.0)
    one.now += 60.0
    one.scheduler.choose({"default": 0.0}, one.now)
    assert 798 <= rounds_until(one, "batch") <= 802


def test_a_lane_that_was_away_owes_less_by_the_rounds_that_it_missed() -> None:
    """Batch uses 1 s and owes 20 rounds; it is away for 12 of them."""
    one = engine()
    one.run(1.0, {"batch": 10.0, "default": 10.0})
    one.serve({"batch": 0.0}, lambda _: 1000.0)
    for _ in range(12):
        one.serve({"default": 0.0}, lambda _: 10.0)
    assert 7 <= rounds_until(one, "batch") <= 9


def test_a_lane_that_was_away_while_the_engine_was_busy_has_paid_nothing_for_that() -> None:
    one = Engine(Scheduler({}, quantum_ms=1.0, age_limit_s=1e9))
    one.serve({"a": one.now}, lambda _: 3.0)
    one.serve({"b": one.now}, lambda _: 1.0)
    lanes = {"a": one.now - 0.0005, "b": 0.0}
    assert [one.serve(lanes, lambda _: 1.0) for _ in range(4)] == ["b", "b", "a", "b"]


def test_a_lane_that_never_queues_more_than_one_record_gets_no_more_than_its_share() -> None:
    """It sends the next one when the last was done. If debts were forgiven whenever nothing of it
    waits, it would have 100 of every 110 ms with a weight of five in six."""
    one = engine()
    arrives = one.now
    while one.now < 1060:
        waiting = {"default": 0.0}
        if arrives <= one.now:
            waiting["batch"] = arrives
        cost = {"batch": 100.0, "default": 10.0}
        if one.serve(waiting, cost.__getitem__) == "batch":
            arrives = one.now
    assert one.used["batch"] / sum(one.used.values()) == pytest.approx(5 / 6, abs=0.01)


def test_lanes_of_another_engine_lose_nothing_while_that_one_asks() -> None:
    """Engines that serve different lanes may share a scheduler: a choice without a lane doesn't
    mean that the lane has no work."""
    one = engine()
    bulk = {"batch": 25.0, "learning": 5.0, "default": 40.0}
    used = dict.fromkeys(bulk, 0.0)
    for _ in range(6000):
        one.serve({"high": one.now}, lambda _: 3.0)
        lane = one.serve(dict.fromkeys(bulk, 0.0), bulk.__getitem__)
        used[lane] += bulk[lane]
    total = sum(used.values())
    for lane in bulk:
        assert used[lane] / total == pytest.approx(WEIGHTS[lane] / 9, rel=0.05)


# -- ageing -----------------------------------------------------------------------------------


def aged(limit: float = 60.0) -> Engine:
    """An engine whose lane `default` is deep in debt."""
    one = engine(age_limit_s=limit)
    one.serve({"default": one.now}, lambda _: 100_000.0)
    return one


def until(one: Engine, lane: str, lanes: Mapping[str, float], ms: float = 100.0) -> float:
    """Seconds until a lane is served."""
    begun = one.now
    while one.serve(lanes, lambda _: ms) != lane:
        assert one.now < begun + 1000
    return one.now - ms / 1000 - begun


def test_a_lane_waits_no_longer_than_the_limit_while_others_run() -> None:
    one = aged()
    one.now += 0.01
    waited = until(one, "default", {"high": 0.0, "default": one.now})
    assert 60.0 <= waited <= 60.3


def test_a_lane_that_waited_just_as_long_as_the_limit_is_not_late_yet() -> None:
    one = engine(age_limit_s=60.0)
    assert one.scheduler.choose({"high": 1060.0, "default": 1000.0}, 1060.0) == "high"
    assert one.scheduler.choose({"high": 1060.0, "default": 1000.0}, 1060.1) == "default"


def test_the_limit_is_a_minute_unless_said_otherwise() -> None:
    scheduler = Scheduler(WEIGHTS)
    lanes = {"high": 60.0, "default": 0.0}
    assert scheduler.choose(lanes, 60.0) == "high"
    assert scheduler.choose(lanes, 60.1) == "default"


def test_the_longest_waiting_lane_goes_first() -> None:
    one = engine(age_limit_s=60.0)
    lanes = {"high": 1000.0, "batch": 930.0, "learning": 910.0, "default": 920.0}
    assert one.serve(lanes, lambda _: 1.0) == "learning"


def test_late_lanes_alternate_with_the_regular_choice() -> None:
    one = engine(age_limit_s=60.0)
    lanes = {"high": 999.0, "batch": 930.0, "learning": 910.0, "default": 920.0}
    served = [one.serve(lanes, lambda _: 1.0) for _ in range(4)]
    assert served == ["learning", "high", "default", "batch"]


def test_a_lane_that_is_served_is_not_late_however_deep_its_queue() -> None:
    one = engine(age_limit_s=60.0)
    lanes = {"high": 999.0, "batch": 0.0}
    assert [one.serve(lanes, lambda _: 1.0) for _ in range(4)] == ["batch", "high", "high", "high"]


def test_a_late_lane_that_could_not_be_served_stays_late() -> None:
    """It was chosen, but for want of something nothing was taken, and nothing charged."""
    one = engine(age_limit_s=60.0)
    lanes = {"high": 1000.0, "default": 900.0}
    assert one.scheduler.choose(lanes, one.now) == "default"
    assert one.scheduler.choose(lanes, one.now) == "high"
    assert one.scheduler.choose(lanes, one.now) == "default"


def test_a_correction_downwards_is_no_service() -> None:
    one = engine(age_limit_s=60.0)
    lanes = {"high": 1000.0, "default": 900.0}
    for _ in range(2):
        one.scheduler.choose(lanes, one.now)
    one.scheduler.charge("default", -5.0)
    assert one.scheduler.choose(lanes, one.now) == "default"


def test_work_that_is_predicted_to_take_no_time_is_service_all_the_same() -> None:
    one = engine(age_limit_s=60.0)
    lanes = {"high": 1000.0, "default": 900.0}
    for _ in range(2):
        one.scheduler.choose(lanes, one.now)
    one.scheduler.charge("default", 0.0)
    assert one.scheduler.choose(lanes, one.now) == "high"


def test_what_a_late_lane_uses_is_charged_like_any_other_work() -> None:
    """By its weight it would have 100 ms of every 1100; being late after 500 it has them of every
    500, and no regular turn besides."""
    shares = engine(age_limit_s=0.5).run(300, {"high": 10.0, "default": 100.0})
    assert shares["default"] == pytest.approx(0.2, abs=0.01)


# -- mistakes ---------------------------------------------------------------------------------


@pytest.mark.parametrize("weight", [0.0, -1.0, float("nan")])
def test_a_weight_must_be_above_zero(weight: float) -> None:
    with pytest.raises(ValueError, match="above zero"):
        Scheduler({"high": 10.0, "batch": weight})


def test_a_lane_that_was_never_chosen_cannot_be_charged() -> None:
    with pytest.raises(KeyError):
        Scheduler(WEIGHTS).charge("high", 1.0)


def test_tiny_and_huge_costs_always_leave_somebody_to_choose() -> None:
    scheduler = Scheduler({"a": 0.1, "b": 1e-9}, quantum_ms=0.1, age_limit_s=1e18)
    for ms in (0.3, 1e-12, 1e9, 0.7, 1e-300, 1e12):
        lane = scheduler.choose({"a": 0.0, "b": 0.0}, 0.0)
        assert lane in {"a", "b"}
        scheduler.charge(lane, ms)
