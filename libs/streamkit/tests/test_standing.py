"""What a worker tells of itself, and when."""

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest

from scripted_stage import LANES, SERVICE, ScriptedStage
from streamkit.engine.direct import DirectEngine
from streamkit.engine.work import Work
from streamkit.errors import Reject, Retry
from streamkit.job import Lane
from streamkit.policy import Policy
from streamkit.records import Partition
from streamkit.standing import (
    MOST_TASKS,
    LaneStanding,
    Pulse,
    Standing,
    State,
    readable_key,
)
from streamkit.testing.clock import EPOCH

EVERY_S = 5.0


class Telling:
    """A ScriptedStage whose first worker tells how it stands."""

    def __init__(self, **options: Any) -> None:
        self.told: list[Standing] = []
        self.times: list[float] = []
        self.stage: ScriptedStage | None = None
        self.stage = ScriptedStage(tell=self._tell, **options)

    def _tell(self, standing: Standing) -> None:
        self.told.append(standing)
        self.times.append(self.stage.now if self.stage is not None else 0.0)

    @property
    def last(self) -> Standing:
        return self.told[-1]

    def lane(self, name: str = "batch") -> LaneStanding:
        """How a lane stands, by what was told last."""
        return next(one for one in self.last.lanes if one.lane == name)


def begun(**options: Any) -> tuple[Telling, ScriptedStage]:
    telling = Telling(**options)
    assert telling.stage is not None
    telling.stage.kit.advance(2)
    return telling, telling.stage


def slowly(_work: Work) -> float:
    return 100.0


# -- what -----------------------------------------------------------------------------------------


def test_it_tells_its_lanes_and_their_partitions() -> None:
    telling, _ = begun(partitions=3)
    assert [one.lane for one in telling.last.lanes] == ["high", "batch"]
    assert telling.lane().partitions == tuple(Partition("said.batch", n) for n in range(3))
    assert telling.lane("high").partitions == tuple(Partition("said.high", n) for n in range(3))
    assert telling.last.work == ()


def test_it_tells_what_engines_hold_since_when_and_what_waits() -> None:
    telling, stage = begun(takes=slowly, policy=Policy(chunk_records=1, hard_deadline_s=1e6))
    began = stage.now
    stage.pile_up("a", "b", "c", key="one")
    stage.kit.advance(2 * EVERY_S)
    assert (telling.lane().in_engine, telling.lane().waiting) == (2, 1)
    (first, second) = telling.last.work
    assert (first.lane, first.topic, first.key, first.attempt) == ("batch", "said.batch", "one", 1)
    assert (first.engine, first.offset, second.offset) == ("bulk", 0, 1)
    assert first.since == EPOCH + began
    assert telling.lane("high") == replace(telling.lane("high"), waiting=0, in_engine=0)


def test_a_record_that_is_tried_again_is_told_as_what_it_first_was() -> None:
    telling, stage = begun(takes=lambda work: 100.0 if work.attempt > 1 else 0.001)
    stage.script.does("flaky", Retry("not yet"), times=1)
    stage.say("before", "flaky", key="one")
    stage.kit.advance(20)
    (task,) = telling.last.work
    assert (task.topic, task.offset, task.attempt) == ("said.batch", 1, 2)


def test_the_work_of_all_engines_is_told_the_oldest_first_and_not_all_of_much() -> None:
    lasts = [0.0001]
    policy = Policy(hard_deadline_s=1e6)
    telling, stage = begun(takes=lambda _work: lasts[0], policy=policy)
    stage.say(*(f"quick {number}" for number in range(100)))
    stage.kit.advance(1)
    lasts[0] = 100.0
    stage.say("urgent", lane="high")
    stage.kit.advance(1)
    stage.pile_up(*(f"slow {number}" for number in range(100)))
    stage.kit.advance(1)
    stage.say("more urgent", lane="high")
    stage.kit.advance(EVERY_S)
    assert telling.lane().in_engine > MOST_TASKS
    assert len(telling.last.work) == MOST_TASKS
    times = [task.since for task in telling.last.work]
    assert times == sorted(times)
    assert [task.engine for task in telling.last.work[:2]] == ["high", "bulk"]
    assert "more urgent" not in {task.key for task in telling.last.work}


def test_it_tells_what_is_finished_and_what_was_given_up() -> None:
    telling, stage = begun()
    stage.script.does("bad", Reject("bad", "It is bad."))
    stage.script.does("flaky", Retry("not yet"), times=1)
    stage.say("a", "b", "bad", "flaky")
    stage.say("urgent", lane="high")
    stage.kit.advance(EVERY_S - 1)
    assert (telling.lane().done, telling.lane().failed) == (3, 1), "one waits for its second try"
    assert (telling.lane("high").done, telling.lane("high").failed) == (1, 0)
    stage.kit.advance(20)
    assert (telling.lane().done, telling.lane().failed) == (4, 1)


def test_in_an_ordered_lane_those_behind_their_key_wait_too() -> None:
    lanes = (replace(LANES[0]), Lane("batch", ("said.batch",), ordered=True))
    telling, stage = begun(lanes=lanes)
    stage.control(f"{SERVICE}/batch", paused=True)
    stage.say("a", "b", "c", key="one")
    stage.say("d", key="other")
    stage.kit.advance(EVERY_S)
    assert telling.lane().waiting == 4


def test_keys_may_be_anything_and_are_cut() -> None:
    assert readable_key(b"\xff\xfephoto") == "��photo"
    assert len(readable_key(b"x" * 10_000)) == 200
    assert readable_key(None) == ""


# -- when -----------------------------------------------------------------------------------------


def test_it_tells_how_it_stands_every_few_seconds() -> None:
    telling, stage = begun(policy=Policy(heartbeat_s=EVERY_S))
    before = len(telling.told)
    stage.kit.advance(20 * EVERY_S)
    assert len(telling.told) - before == 20
    assert {one.state for one in telling.told[before:]} == {"working"}


def test_a_pause_and_its_end_are_told_within_a_second() -> None:
    telling, stage = begun(policy=Policy(heartbeat_s=60.0))
    before = len(telling.told)
    stage.control(f"{SERVICE}/batch", paused=True, paused_until=EPOCH + stage.now + 10)
    stage.kit.advance(1.5)
    assert (telling.lane().paused, telling.lane("high").paused) == (True, False)
    stage.kit.advance(10)
    assert not telling.lane().paused
    assert len(telling.told) - before == 2


def test_rate_and_concurrency_are_told_as_they_hold() -> None:
    telling, stage = begun(policy=Policy(heartbeat_s=60.0))
    assert (telling.lane().rate, telling.lane().concurrency) == (None, None)
    stage.control(f"{SERVICE}/batch", rate="30/m", concurrency=3)
    stage.kit.advance(1.5)
    assert (telling.lane().rate, telling.lane().concurrency) == (0.5, 3)
    assert (telling.lane("high").rate, telling.lane("high").concurrency) == (None, None)
    stage.control(f"{SERVICE}/batch")
    stage.kit.advance(1.5)
    assert (telling.lane().rate, telling.lane().concurrency) == (None, None)


def test_partitions_that_come_and_go_are_told_within_a_second() -> None:
    telling, stage = begun(policy=Policy(heartbeat_s=60.0))
    other = stage.kit.add(stage.job)
    stage.kit.advance(3)
    assert len(telling.lane().partitions) == 2
    other.stop()
    stage.kit.advance(3)
    assert len(telling.lane().partitions) == 4


def test_a_stop_is_told_at_once_and_what_is_finished_by_then_at_the_end() -> None:
    telling, stage = begun(takes=lambda _work: 3.0)
    stage.say("said")
    stage.kit.advance(1)
    asked = stage.now
    stage.worker.stop()
    stage.kit.world.settle()
    first = next(n for n, one in enumerate(telling.told) if one.state == "stopping")
    assert telling.times[first] == asked
    assert telling.told[first].work != ()
    stage.kit.advance(4)
    assert stage.worker.over
    stage.worker.core.close()
    assert telling.last.state == "stopping"
    assert telling.lane() == LaneStanding("batch", done=1)


def test_while_its_engines_load_it_starts(monkeypatch: pytest.MonkeyPatch) -> None:
    with monkeypatch.context() as loading:
        loading.setattr(DirectEngine, "start", lambda _self: None)
        telling, stage = begun()
        stage.kit.advance(2 * EVERY_S)
    assert {one.state for one in telling.told} == {"starting"}
    assert len(telling.told) == 3
    assert telling.lane().partitions == ()
    for engine in stage.kit.engines:
        engine.start()
    stage.kit.advance(2)
    assert telling.last.state == "working"
    assert len(telling.lane().partitions) == 4


# -- a pulse --------------------------------------------------------------------------------------


def taken(states: list[State]) -> Callable[[State], Standing]:
    def take(state: State) -> Standing:
        states.append(state)
        return Standing(state)

    return take


def test_a_pulse_looks_once_a_second_and_tells_when_it_is_due() -> None:
    told: list[Standing] = []
    looked: list[State] = []
    pulse = Pulse(told.append, 5.0, taken(looked))
    for tenth in range(101):
        pulse.turn("working", tenth / 10)
    assert (len(looked), len(told)) == (11, 3)
    assert pulse.next_at() == 11.0


def test_a_pulse_that_is_quicker_than_a_second_keeps_its_time() -> None:
    told: list[Standing] = []
    pulse = Pulse(told.append, 0.5, taken([]))
    pulse.turn("working", 10.0)
    assert pulse.next_at() == 10.5
    pulse.turn("working", 10.5)
    assert len(told) == 2


@pytest.mark.parametrize(
    "change",
    [
        {"paused": True},
        {"rate": 2.0},
        {"concurrency": 1},
        {"partitions": (Partition("t", 0),)},
    ],
)
def test_a_pulse_tells_what_somebody_changed_and_not_what_work_changes(
    change: dict[str, Any],
) -> None:
    told: list[Standing] = []
    lane = LaneStanding("batch")
    pulse = Pulse(told.append, 60.0, lambda state: Standing(state, (lane,)))
    pulse.turn("working", 0.0)
    lane = replace(lane, waiting=7, in_engine=3, done=8, failed=1)
    pulse.turn("working", 2.0)
    assert len(told) == 1
    lane = replace(lane, **change)
    pulse.turn("working", 4.0)
    assert told[1:] == [Standing("working", (lane,))]
