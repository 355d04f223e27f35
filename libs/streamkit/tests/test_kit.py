"""The test kit itself: what an author of a service sees of a run."""

import pytest

from scripted_stage import DONE, SERVICE, ScriptedStage, schema_of
from streamkit.errors import Busy, Reject
from streamkit.job import Job, Lane
from streamkit.messages import Emit, Events, Handlers, Message
from streamkit.policy import Policy
from streamkit.testing import FakeClock, Kit, MemoryIds, World
from streamkit.testing.clock import EPOCH


def test_what_is_produced_is_worked_on_at_once() -> None:
    stage = ScriptedStage()
    stage.kit.produce("said.batch", "key", {"text": "said"})
    (event,) = stage.kit.outputs(DONE)
    assert (event.topic, event.key, event.value) == (DONE, "key", {"text": "said"})
    assert event.id == "done-said"
    assert event.headers["ce_source"] == f"/darkroom/{SERVICE}"
    assert stage.now == 0.0


def test_only_advance_moves_the_clock() -> None:
    stage = ScriptedStage(takes=lambda _work: 2.0)
    stage.say("said")
    assert stage.done() == []
    stage.kit.advance(1.9)
    assert stage.done() == []
    stage.kit.advance(0.1)
    assert stage.done() == ["said"]
    assert stage.now == pytest.approx(2.0)


def test_a_slip_of_the_pen_is_told() -> None:
    kit = ScriptedStage().kit
    with pytest.raises(
        ValueError, match=r"nobody reads said\.bach; they read said\.batch, said\.h"
    ):
        kit.produce("said.bach", "key", {"text": "said"})
    with pytest.raises(ValueError, match=f"no job of 'nope' is here; there are {SERVICE}"):
        kit.dead_letters("nope")
    with pytest.raises(ValueError, match="does not go back"):
        kit.advance(-1)


def test_headers_and_ids_can_be_given() -> None:
    stage = ScriptedStage()
    stage.kit.produce(
        "said.batch", "key", {"text": "said"}, headers={"tenant": "7"}, event_id="mine"
    )
    headers = stage.script.calls[0].message.headers
    assert (headers["tenant"], headers["ce_id"]) == ("7", "mine")


def test_outputs_are_in_the_order_of_their_publication() -> None:
    stage = ScriptedStage()
    texts = [str(number) for number in range(20)]
    stage.say(*texts)
    assert stage.done() == texts


def test_a_topic_that_nothing_was_published_to_has_no_outputs() -> None:
    stage = ScriptedStage()
    assert stage.kit.outputs("nothing") == []
    assert stage.kit.notices() == []
    assert stage.kit.dead_letters() == []


def test_dead_letters_of_each_service_can_be_seen() -> None:
    stage = ScriptedStage()
    stage.script.does("bad", Reject("too_dark", "There is nothing to see."))
    stage.say("bad")
    assert len(stage.kit.dead_letters()) == len(stage.kit.dead_letters(SERVICE)) == 1


def test_unread_says_what_a_lane_has_left() -> None:
    stage = ScriptedStage()
    stage.script.does("said", Busy("no answer", dependency="catalog"))
    stage.say("said 1", "said 2")
    stage.say("urgent", lane="high")
    assert stage.kit.unread(stage.job, "batch") == 2
    stage.script.forgets("said")
    stage.kit.advance(5)
    assert stage.kit.unread(stage.job, "batch") == 0


def test_jobs_may_feed_each_other() -> None:
    def pass_on(message: Message) -> Events:
        return [Emit("end", message.key, message.value, f"end-{message.key}")]

    first, lanes = ScriptedStage(), (Lane("batch", (DONE,)),)
    first.kit.add(Job("chained", "1", lanes, lambda: Handlers({DONE: pass_on}), "chained.dlq"))
    first.say("said")
    (event,) = first.kit.outputs("end")
    assert event.value == {"text": "said"}


def test_a_kit_may_have_several_jobs_from_the_start() -> None:
    heard: list[str] = []

    def job(name: str) -> Job:
        def hear(_message: Message) -> Events:
            heard.append(name)
            return ()

        lanes = (Lane("batch", ("said",)),)
        return Job(name, "1", lanes, lambda: Handlers({"said": hear}), f"darkroom.{name}.dlq")

    kit = Kit(job("one"), job("two"), schema_of=schema_of, policy=Policy(retry_tiers=("10s",)))
    kit.produce("said", "key", {"text": "x"})
    assert sorted(heard) == ["one", "two"]
    assert len(kit.workers) == 2


def test_the_same_calls_give_the_same_run() -> None:
    def run() -> list[tuple[str, float]]:
        stage = ScriptedStage(takes=lambda _work: 0.013)
        stage.script.does("flaky", Busy("no answer", dependency="catalog"), times=2)
        stage.pile_up(*(f"flaky {number}" for number in range(30)))
        stage.kit.add(stage.job)
        stage.kit.advance(30)
        return [(call.text, call.at) for call in stage.script.calls]

    assert run() == run()


def test_a_world_that_never_rests_says_so() -> None:
    class Restless:
        def step(self) -> bool:
            return True

        def next_at(self) -> float | None:
            return None

    world = World()
    world.members.append(Restless())
    with pytest.raises(RuntimeError, match="does not come to rest"):
        world.settle(most=100)


def test_a_world_waits_for_something_so_long_and_no_longer() -> None:
    world = World()
    happened: list[float] = []
    world.later(5.0, lambda: happened.append(world.clock.now))
    assert not world.wait_for(lambda: bool(happened), 2.0)
    assert world.clock.now == 2.0
    assert world.wait_for(lambda: bool(happened), 10.0)
    assert happened == [5.0]


def test_what_is_planned_happens_in_its_order() -> None:
    world = World()
    happened: list[str] = []
    for seconds, name in ((2.0, "b"), (1.0, "a"), (2.0, "c")):
        world.later(seconds, lambda name=name: happened.append(name))  # type: ignore[misc]
    world.advance(3.0)
    assert happened == ["a", "b", "c"]


def test_a_worker_may_stand_still_and_be_killed() -> None:
    stage = ScriptedStage()
    stage.freeze()
    stage.say("said")
    stage.kit.advance(5)
    assert stage.done() == []
    stage.thaw()
    assert stage.done() == ["said"]
    stage.worker.kill()
    stage.say("after")
    stage.kit.advance(60)
    assert stage.done() == ["said"]
    assert not stage.worker.step()


def test_a_frozen_worker_is_due_for_nothing() -> None:
    stage = ScriptedStage()
    stage.freeze()
    assert stage.worker.next_at() is None


def test_a_topic_can_be_declared_more_than_once() -> None:
    world = World()
    world.declare("said", 3)
    world.declare("said", 5)
    assert world.broker.partitions_of("said") == 3


def test_a_clock_in_a_test_never_goes_back() -> None:
    clock = FakeClock()
    clock.move_to(5.0)
    clock.move_to(3.0)
    assert clock.monotonic() == 5.0
    assert clock.time() == EPOCH + 5.0


def test_a_schema_keeps_its_number() -> None:
    ids = MemoryIds()
    first, second = {"type": "record", "name": "a"}, {"type": "record", "name": "b"}
    assert [ids.id_of("x", first), ids.id_of("y", second), ids.id_of("z", first)] == [0, 1, 0]
    assert ids.schema(1) == second
    with pytest.raises(Reject, match="no schema 2"):
        ids.schema(2)
