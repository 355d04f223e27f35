"""Engines that die, hang, grow or cannot load, and what that does to records."""

from collections.abc import Callable, Sequence

import pytest

from scripted_stage import LANES, SERVICE, ScriptedStage
from streamkit.dispatch import Slot
from streamkit.engine.direct import DirectEngine, EngineDies, EngineHangs
from streamkit.engine.work import Result, Work
from streamkit.engines import EngineLoadError
from streamkit.errors import Busy, Reject, Retry
from streamkit.job import Job, Lane
from streamkit.messages import Events, Failure, Handlers, Message
from streamkit.policy import Policy
from streamkit.ports import Engine, EngineResults
from streamkit.testing import Kit

GOOD = [f"good {number}" for number in range(31)]


def running(**options: object) -> ScriptedStage:
    """A service that has started, whose records take a millisecond each."""
    stage = ScriptedStage(takes=lambda _work: 0.001, **options)  # type: ignore[arg-type]
    stage.kit.advance(1)
    return stage


def engine(stage: ScriptedStage, name: str = "bulk") -> DirectEngine:
    """The first worker's engine of that name."""
    return next(one for one in stage.kit.engines if one.name == name)


# -- poison ---------------------------------------------------------------------------------------


def test_a_record_that_fails_among_31_good_ones_delays_none_of_them() -> None:
    stage = running()
    stage.script.does("poison", Retry("always"))
    begin = stage.now
    stage.pile_up(*GOOD[:15], "poison", *GOOD[15:])
    stage.kit.advance(0.1)
    assert sorted(stage.done()) == sorted(GOOD)
    assert max(call.at for call in stage.script.calls) - begin <= 0.05
    stage.kit.advance(400)
    assert [letter.key for letter in stage.kit.dead_letters()] == ["poison"]
    assert stage.unread() == 0


def test_a_record_that_kills_its_engine_among_31_good_ones_delays_none_of_them() -> None:
    stage = running()
    stage.script.does("poison", EngineDies())
    stage.pile_up(*GOOD[:15], "poison", *GOOD[15:])
    stage.kit.advance(0.2)
    assert sorted(set(stage.done())) == sorted(GOOD)
    stage.kit.advance(400)
    (letter,) = stage.kit.dead_letters()
    assert (letter.key, letter.code, letter.attempts) == ("poison", "engine_died", 4)
    assert {call.message.attempt for call in stage.script.calls if call.text in GOOD} == {1}
    assert stage.unread() == 0


def test_a_record_that_kills_its_engine_never_takes_others_along_again() -> None:
    stage = running()
    stage.script.does("poison", EngineDies())
    stage.pile_up("poison", *GOOD)
    stage.kit.advance(1)
    handled = len(stage.script.calls)
    for number in range(100):
        stage.say(*(f"more {number} {part}" for part in range(4)))
        stage.kit.advance(4)
    again = [call for call in stage.script.calls[handled:] if call.text != "poison"]
    assert len(stage.kit.dead_letters()) == 1
    assert len(again) - 400 <= 3 * 6, "few were worked on twice"
    assert len(set(stage.done())) == 31 + 400


def test_an_engine_that_dies_with_many_records_in_hand_accuses_none() -> None:
    stage = running()
    stage.pile_up(*(f"said {number}" for number in range(200)))
    stage.kit.advance(0.15)
    engine(stage).die()
    stage.kit.advance(2)
    assert len(set(stage.done())) == 200
    assert {call.message.attempt for call in stage.script.calls} == {1}
    assert stage.kit.world.broker.records(f"darkroom.{SERVICE}.retry-5s.bulk") == []
    assert stage.unread() == 0


def test_an_engine_that_dies_with_one_record_in_hand_charges_it_an_attempt() -> None:
    stage = ScriptedStage(takes=lambda _work: 1.0)
    stage.say("said")
    stage.kit.advance(0.5)
    engine(stage).die()
    stage.kit.advance(8)
    assert stage.attempts("said") == [1, 2]
    wait = stage.times("said")[1]
    assert 5.5 <= wait <= 0.5 + 5.5 + 1
    assert stage.done() == ["said"]


def test_a_record_under_suspicion_does_not_wait_for_ever_behind_another_busy_lane() -> None:
    lanes = (*LANES, Lane("learning", ("said.learning",)))
    stage = ScriptedStage(lanes=lanes, takes=lambda _work: 0.02)
    stage.pile_up("learning 1", "learning 2", "learning 3", lane="learning")
    engine(stage).die()
    stage.pile_up(*(f"batch {number}" for number in range(500)))
    stage.kit.advance(5)
    assert {"learning 1", "learning 2", "learning 3"} <= set(stage.done())


def test_a_record_that_kills_engines_is_found_out_at_its_second_kill_at_the_latest() -> None:
    lanes = (*LANES, Lane("learning", ("said.learning",)))
    policy = Policy(retry_tiers=())
    stage = ScriptedStage(lanes=lanes, policy=policy, takes=lambda _work: 0.005)
    stage.say(*(f"before {number}" for number in range(20)), lane="learning")
    stage.kit.advance(1)
    stage.script.does("poison", EngineDies())
    loads = stage.loads
    stage.pile_up(*(f"learning {number}" for number in range(600)), lane="learning")
    stage.pile_up("poison", *(f"batch {number}" for number in range(600)))
    stage.kit.advance(3)
    assert [letter.code for letter in stage.kit.dead_letters()] == ["engine_died"]
    assert len(stage.times("poison")) <= 2
    assert stage.loads - loads <= 2


def test_a_lane_that_is_bounded_goes_on_after_its_engine_died() -> None:
    lanes = (LANES[0], Lane("batch", ("said.batch",), concurrency=2))
    stage = ScriptedStage(lanes=lanes, takes=lambda _work: 0.05)
    texts = [f"said {number}" for number in range(12)]
    stage.pile_up(*texts)
    for _ in range(4):
        stage.kit.advance(0.07)
        engine(stage).die()
    stage.kit.advance(20)
    assert set(stage.done()) == set(texts)


def test_a_record_under_suspicion_goes_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    lanes = (*LANES, Lane("learning", ("said.learning",)))
    policy = Policy(weights={"batch": 1.0, "learning": 1.0})
    stage = ScriptedStage(lanes=lanes, policy=policy, takes=lambda _work: 0.003)
    stage.pile_up(*(f"before {number}" for number in range(50)))
    stage.pile_up(*(f"before {number}" for number in range(50)), lane="learning")
    stage.kit.advance(1)
    bulk, handed, suspects = engine(stage), set[str](), set[str]()
    company: list[set[str]] = []
    sizes: list[int] = []

    def submit(works: Sequence[Work]) -> None:
        chunk = {(work.record.key or b"").decode() for work in works}
        busy = handed - set(stage.done())
        if (busy and chunk & suspects) or busy & suspects or len(chunk & suspects) > 1:
            company.append(busy | chunk)
        handed.update(chunk)
        sizes.append(len(chunk))
        DirectEngine.submit(bulk, works)

    monkeypatch.setattr(bulk, "submit", submit)
    learning = [f"learning {number}" for number in range(200)]
    stage.pile_up(*GOOD)
    stage.pile_up(*learning, lane="learning")
    stage.kit.advance(0.008)
    suspects |= handed - set(stage.done())
    handed.clear()
    sizes.clear()
    bulk.die()
    stage.kit.advance(1)
    assert len(suspects) > 2
    assert company == []
    assert max(sizes) > 1, "and the others go together"
    assert {*GOOD, *learning} <= set(stage.done())


# -- hanging --------------------------------------------------------------------------------------


def test_an_engine_that_works_too_long_on_a_record_is_replaced_and_the_record_charged() -> None:
    stage = running(policy=Policy(hard_deadline_s=20.0))
    stage.script.does("endless", EngineHangs(), times=1)
    stage.say("endless")
    stage.kit.advance(19)
    assert len(stage.script.calls) == 1
    stage.kit.advance(10)
    assert stage.attempts("endless") == [1, 2]
    assert stage.done() == ["endless"]
    assert 25 <= stage.times("endless")[1] - stage.times("endless")[0] <= 20 + 1 + 5.5 + 1


def test_a_record_that_always_hangs_is_given_up() -> None:
    stage = running(policy=Policy(hard_deadline_s=20.0))
    stage.script.does("endless", EngineHangs())
    stage.say("endless")
    stage.kit.advance(600)
    (letter,) = stage.kit.dead_letters()
    assert (letter.code, letter.attempts) == ("deadline", 4)


def test_records_behind_one_that_hangs_are_worked_on_by_the_next_engine() -> None:
    stage = running(policy=Policy(hard_deadline_s=20.0))
    stage.script.does("endless", EngineHangs())
    stage.pile_up(*GOOD[:10], "endless", *GOOD[10:])
    stage.kit.advance(60)
    assert sorted(set(stage.done())) == sorted(GOOD)
    assert {call.message.attempt for call in stage.script.calls if call.text in GOOD} == {1}


def test_a_slow_engine_that_goes_on_is_not_replaced() -> None:
    policy = Policy(hard_deadline_s=20.0)
    stage = ScriptedStage(policy=policy, takes=lambda _work: 15.0)
    stage.pile_up(*GOOD[:10])
    stage.kit.advance(200)
    assert stage.loads == 2
    assert len(stage.done()) == 10


def test_high_records_do_not_wait_for_an_engine_that_hangs() -> None:
    stage = running()
    stage.script.does("endless", EngineHangs())
    stage.say("endless")
    stage.say("urgent", lane="high")
    stage.kit.advance(0.1)
    assert stage.done() == ["urgent"]


# -- recycling ------------------------------------------------------------------------------------


def test_an_engine_is_replaced_after_so_many_records() -> None:
    stage = running(policy=Policy(records_per_process=10))
    assert stage.loads == 2
    for number in range(35):
        stage.say(f"said {number}")
        stage.kit.advance(0.01)
    assert stage.loads == 5
    assert len(stage.done()) == 35
    assert {call.message.attempt for call in stage.script.calls} == {1}
    assert len(stage.script.calls) == 35, "each was finished before its engine went"


def test_an_engine_above_its_memory_is_replaced_once_what_it_has_in_hand_is_done() -> None:
    stage = ScriptedStage(policy=Policy(engine_memory=1_000_000_000), takes=lambda _work: 5.0)
    stage.kit.advance(1)
    stage.say("said")
    engine(stage).memory = 1_000_000_001
    stage.kit.advance(4)
    assert stage.loads == 2
    engine(stage).memory = 0
    stage.kit.advance(2)
    assert stage.loads == 3
    assert stage.done() == ["said"]
    assert stage.attempts("said") == [1]


def test_an_engine_below_its_memory_stays() -> None:
    stage = running(policy=Policy(engine_memory=1_000_000_000))
    for one in stage.kit.engines:
        one.memory = 999_999_999
    stage.kit.advance(30)
    assert stage.loads == 2


def test_an_idle_engine_above_its_memory_is_replaced() -> None:
    stage = running(policy=Policy(engine_memory=1_000_000_000))
    engine(stage).memory = 2_000_000_000
    stage.kit.advance(1.5)
    assert stage.loads > 2


# -- loading --------------------------------------------------------------------------------------


def test_handlers_that_cannot_be_loaded_end_the_worker() -> None:
    def load() -> Handlers:
        raise FileNotFoundError("weights.bin")

    job = Job(SERVICE, "1", LANES, load, "darkroom.stage.dlq")
    with pytest.raises(EngineLoadError, match=r"can't be loaded.*weights\.bin"):
        Kit(job, schema_of=lambda _topic: {})


# -- odd moments ----------------------------------------------------------------------------------


def test_a_record_whose_last_words_kill_the_engine_is_buried_without_them() -> None:
    def die(_message: Message, _failure: Failure) -> Events:
        raise EngineDies

    stage = running()
    stage.script.does("bad", Reject("too_dark", "There is nothing to see."))
    stage.script.words = die
    stage.say("bad", "good")
    stage.kit.advance(1)
    assert [letter.code for letter in stage.kit.dead_letters()] == ["too_dark"]
    assert stage.given_up() == []
    assert stage.done() == ["good"]


def test_an_engine_that_dies_with_a_probe_does_not_keep_the_breaker_shut() -> None:
    stage = running()
    stage.script.does("said", Busy("no answer", dependency="catalog"))
    stage.pile_up(*(f"said {number}" for number in range(10)))
    stage.kit.advance(0.5)
    stage.script.does("said", EngineDies(), times=2)
    stage.kit.advance(40)
    assert len(set(stage.done())) == 10
    assert stage.unread() == 0


def test_results_of_work_that_nobody_waits_for_change_nothing() -> None:
    stage = running()
    stage.worker.post(EngineResults("bulk", [Result(10_000, "done", 1.0)]))
    stage.say("said")
    stage.kit.advance(1)
    assert stage.done() == ["said"]
    assert stage.unread() == 0


def test_work_that_dies_with_an_engine_after_its_partition_was_lost_is_not_done_twice() -> None:
    stage = ScriptedStage(takes=lambda _work: 1.0)
    stage.pile_up("one", "two")
    stage.kit.advance(0.5)
    stage.kit.world.broker.expel_all()
    stage.kit.world.settle()
    engine(stage).die()
    stage.kit.advance(10)
    assert sorted(stage.done()) == ["one", "two"]
    assert {call.message.attempt for call in stage.script.calls} == {1}
    assert stage.unread() == 0


def test_last_words_that_an_engine_hands_back_are_asked_for_again() -> None:
    stage = ScriptedStage(takes=lambda _work: 0.03)
    stage.script.does("bad", Reject("too_dark", "There is nothing to see."))
    bad = [f"bad {number}" for number in range(20)]
    stage.pile_up(*bad)
    stage.kit.advance(0.1)
    stage.kit.add(stage.job)  # so the engine hands back what it has not begun
    stage.kit.advance(5)
    assert sorted(stage.given_up()) == sorted(f"{text}: too_dark" for text in bad)
    assert len(stage.kit.dead_letters()) == 20
    assert stage.unread() == 0


def test_another_engine_works_on_while_one_is_replaced() -> None:
    stage = ScriptedStage(takes=lambda _work: 0.5)
    stage.worker.stop()
    stage.kit.advance(1)

    def two(make: Callable[[str], Engine]) -> Sequence[Slot]:
        names = frozenset({"high", "batch"})
        return [Slot(make(name), names) for name in ("one", "two")]

    stage.kit.add(stage.job, slots=two, policy=Policy(hard_deadline_s=5.0))
    stage.kit.advance(1)
    stage.script.does("endless", EngineHangs(), times=1)
    stage.pile_up("endless", *GOOD[:8])
    stage.kit.advance(4.6)
    assert len(stage.done()) == 8
    stage.kit.advance(15)
    assert len(stage.done()) == 9
