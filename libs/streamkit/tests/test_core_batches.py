"""Micro-batches: when they close, how large they are, and what a bad record does to them."""

from collections.abc import Callable, Sequence

import pytest

from scripted_stage import LANES, SERVICE, ScriptedStage
from streamkit.engine.direct import EngineDies, EngineHangs
from streamkit.engine.work import Work
from streamkit.errors import Busy, OutOfMemory, Reject, Retry
from streamkit.job import Batching, Lane
from streamkit.messages import Message
from streamkit.policy import Policy

GOOD = [f"good {number}" for number in range(31)]
WAIT_S = 0.05


def numbered(word: str, count: int) -> list[str]:
    """So many texts that begin with a word."""
    return [f"{word} {number}" for number in range(count)]


def costing(
    batch_s: float, record_s: float = 0.0, *, batching: Batching, **options: object
) -> ScriptedStage:
    """A service to whose engine a micro-batch costs something, and each record of it."""
    stages: list[ScriptedStage] = []

    def takes(_work: Work) -> float:
        size = len(stages[0].script.batches[-1]) if stages[0].script.batches else 1
        return batch_s / size + record_s

    stages.append(ScriptedStage(takes=takes, batching=batching, **options))  # type: ignore[arg-type]
    stages[0].kit.advance(1)
    return stages[0]


def learnt(stage: ScriptedStage, count: int = 1500) -> None:
    """Have a service find its size."""
    stage.pile_up(*numbered("learn", count))
    stage.kit.advance(60)
    stage.script.batches.clear()
    stage.script.calls.clear()


def whole(
    condition: Callable[[Sequence[str]], bool], error: BaseException
) -> Callable[[Sequence[Message]], None]:
    """A batch handler that fails as a whole if its texts are so."""

    def together(messages: Sequence[Message]) -> None:
        if condition([str(one.value["text"]) for one in messages]):
            raise error

    return together


def poisoned(texts: Sequence[str]) -> bool:
    """Whether there is poison among them."""
    return any(text.startswith("poison") for text in texts)


# -- when they close ------------------------------------------------------------------------------


def test_a_micro_batch_closes_at_its_largest_size() -> None:
    stage = costing(0.1, batching=Batching(largest=16, wait_ms=1000 * WAIT_S))
    learnt(stage)
    stage.pile_up(*numbered("said", 160))
    stage.kit.advance(10)
    sizes = [len(batch) for batch in stage.script.batches]
    assert max(sizes) == 16
    assert sorted(sizes)[len(sizes) // 2] == 16, "most are full"
    assert len(set(stage.done())) == 1660


def test_a_micro_batch_waits_for_more_records_so_long_and_no_longer() -> None:
    stage = costing(0.1, batching=Batching(largest=16, wait_ms=1000 * WAIT_S))
    learnt(stage)
    begin = stage.now
    stage.say("first")
    stage.kit.advance(0.02)
    stage.say("second")
    stage.kit.advance(1)
    assert stage.script.batches == [["first", "second"]]
    assert stage.times("first")[0] - begin == pytest.approx(WAIT_S, abs=0.002)


@pytest.mark.parametrize("at", [0.0, 0.1, 0.3, 0.7])
def test_the_wait_does_not_depend_on_the_moment(at: float) -> None:
    stage = costing(0.1, batching=Batching(largest=16, wait_ms=17.3))
    learnt(stage)
    stage.kit.advance(at)
    begin = stage.now
    stage.say("said")
    stage.kit.advance(1)
    assert stage.times("said")[0] - begin == pytest.approx(0.0173, abs=0.002)


def test_a_micro_batch_closes_at_a_predicted_time() -> None:
    stage = costing(0.05, 0.02, batching=Batching(largest=64, wait_ms=20, budget_ms=500))
    learnt(stage)
    stage.pile_up(*numbered("said", 300))
    stage.kit.advance(30)
    sizes = [len(batch) for batch in stage.script.batches]
    assert max(sizes) * 0.02 + 0.05 <= 0.55
    assert max(sizes) > 8


def test_a_high_record_closes_a_micro_batch_at_once() -> None:
    stage = costing(0.1, batching=Batching(largest=16, wait_ms=1000 * WAIT_S))
    learnt(stage)
    stage.pile_up(*numbered("learn", 500), lane="high")
    stage.kit.advance(30)
    begin = stage.now
    stage.say("urgent", lane="high")
    assert stage.times("urgent") == [begin]


def test_on_a_device_where_batches_gain_nothing_records_go_one_by_one() -> None:
    stage = costing(0.0, 0.02, batching=Batching(largest=16))
    learnt(stage)
    stage.pile_up(*numbered("said", 100))
    stage.kit.advance(5)
    sizes = [len(batch) for batch in stage.script.batches]
    assert sorted(sizes)[len(sizes) // 2] == 1


def test_a_lanes_concurrency_bounds_micro_batches() -> None:
    lanes = (LANES[0], Lane("batch", ("said.batch",), concurrency=3))
    stage = costing(0.1, batching=Batching(largest=16), lanes=lanes)
    learnt(stage, 300)
    stage.pile_up(*numbered("said", 30))
    stage.kit.advance(5)
    assert max(len(batch) for batch in stage.script.batches) <= 3
    assert len(stage.done()) == 330


# -- bad records ----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("error", "code", "attempts"),
    [(Retry("always"), "gave_up", 4), (Reject("too_dark", "Nothing."), "too_dark", 1)],
)
def test_a_record_that_fails_its_whole_micro_batch_is_found_and_delays_none(
    error: BaseException, code: str, attempts: int
) -> None:
    stage = costing(0.1, batching=Batching(largest=32))
    learnt(stage)
    stage.script.together = whole(poisoned, error)
    stage.pile_up(*GOOD[:15], "poison", *GOOD[15:])
    stage.kit.advance(5)
    assert set(GOOD) <= set(stage.done())
    assert {c.message.attempt for c in stage.script.calls if c.text in GOOD} == {1}
    stage.kit.advance(400)
    (letter,) = stage.kit.dead_letters()
    assert (letter.key, letter.code, letter.attempts) == ("poison", code, attempts)
    assert stage.unread() == 0


def test_a_record_that_is_answered_by_an_instruction_harms_no_other() -> None:
    stage = costing(0.1, batching=Batching(largest=32))
    learnt(stage)
    stage.script.does("poison", Retry("always"))
    stage.pile_up(*GOOD[:15], "poison", *GOOD[15:])
    stage.kit.advance(2)
    assert set(GOOD) <= set(stage.done())
    assert len([text for batch in stage.script.batches for text in batch if text in GOOD]) == 31
    stage.kit.advance(400)
    assert [letter.key for letter in stage.kit.dead_letters()] == ["poison"]


def test_a_record_that_kills_the_engine_of_its_micro_batch_delays_none() -> None:
    stage = costing(0.01, batching=Batching(largest=32))
    learnt(stage)
    stage.script.together = whole(poisoned, EngineDies())
    stage.pile_up(*GOOD[:15], "poison", *GOOD[15:])
    stage.kit.advance(4)
    assert set(GOOD) <= set(stage.done())
    stage.kit.advance(400)
    (letter,) = stage.kit.dead_letters()
    assert (letter.key, letter.code) == ("poison", "engine_died")
    assert {c.message.attempt for c in stage.script.calls if c.text in GOOD} == {1}


def test_a_micro_batch_that_hangs_is_taken_apart() -> None:
    stage = costing(0.01, batching=Batching(largest=32), policy=Policy(hard_deadline_s=5.0))
    learnt(stage)
    stage.script.together = whole(poisoned, EngineHangs())
    stage.pile_up(*GOOD[:15], "poison", *GOOD[15:])
    stage.kit.advance(20)
    assert set(GOOD) <= set(stage.done())
    stage.kit.advance(600)
    assert [letter.code for letter in stage.kit.dead_letters()] == ["deadline"]


def test_a_dependency_that_is_away_is_no_micro_batches_fault() -> None:
    stage = costing(0.01, batching=Batching(largest=32))
    learnt(stage)
    stage.script.together = whole(lambda _texts: True, Busy("no answer", dependency="catalog"))
    stage.pile_up(*GOOD)
    stage.kit.advance(60)
    assert len(stage.script.batches) < 20
    stage.script.together = whole(lambda _texts: False, Busy("never"))
    stage.kit.advance(31)
    assert set(GOOD) <= set(stage.done())
    assert {call.message.attempt for call in stage.script.calls} == {1}
    assert len(stage.kit.notices()) == 1


def test_a_record_that_cannot_be_decoded_leaves_its_micro_batch() -> None:
    stage = costing(0.01, batching=Batching(largest=32))
    learnt(stage)
    stage.freeze()
    stage.say(*GOOD)
    stage.kit.produce_raw("said.batch", b"odd", b"rubbish")
    stage.thaw()
    stage.kit.advance(2)
    assert set(GOOD) <= set(stage.done())
    assert [letter.key for letter in stage.kit.dead_letters()] == ["odd"]


# -- memory ---------------------------------------------------------------------------------------


def test_micro_batches_that_are_too_large_for_memory_are_halved_until_they_are_not() -> None:
    stage = costing(0.1, batching=Batching(largest=64, budget_ms=10_000))
    stage.script.together = whole(lambda texts: len(texts) > 11, MemoryError())
    stage.pile_up(*numbered("said", 1500))
    stage.kit.advance(100)
    assert set(stage.done()) == set(numbered("said", 1500))
    assert {call.message.attempt for call in stage.script.calls} == {1}
    assert stage.kit.dead_letters() == []
    failed = [len(batch) for batch in stage.script.batches if len(batch) > 11]
    assert len(failed) <= 4
    stage.script.batches.clear()
    stage.pile_up(*numbered("more", 300))
    stage.kit.advance(30)
    sizes = [len(batch) for batch in stage.script.batches]
    assert max(sizes) <= 11
    assert sorted(sizes)[len(sizes) // 2] >= 5, "and no smaller than they need to be"


def test_a_record_that_is_too_large_for_memory_by_itself_counts_attempts() -> None:
    stage = costing(0.1, batching=Batching(largest=32))
    learnt(stage, 300)
    stage.script.together = whole(poisoned, OutOfMemory("CUDA out of memory"))
    stage.pile_up(*GOOD[:15], "poison", *GOOD[15:])
    stage.kit.advance(500)
    assert set(GOOD) <= set(stage.done())
    (letter,) = stage.kit.dead_letters()
    assert (letter.key, letter.code, letter.attempts) == ("poison", "out_of_memory", 4)
    assert stage.unread() == 0


def test_single_records_that_need_too_much_memory_count_attempts() -> None:
    stage = ScriptedStage()
    stage.script.does("large", MemoryError())
    stage.say("large", "small")
    stage.kit.advance(400)
    assert stage.done() == ["small"]
    assert [letter.code for letter in stage.kit.dead_letters()] == ["out_of_memory"]


# -- giving up ------------------------------------------------------------------------------------


def test_records_that_are_given_up_are_no_part_of_micro_batches() -> None:
    stage = costing(0.1, batching=Batching(largest=32))
    learnt(stage, 300)
    stage.script.does("bad", Reject("too_dark", "There is nothing to see."))
    stage.pile_up(*GOOD, *numbered("bad", 10))
    stage.kit.advance(10)
    assert set(GOOD) <= set(stage.done())
    assert sorted(stage.given_up()) == [f"bad {number}: too_dark" for number in range(10)]
    assert len(stage.kit.dead_letters()) == 10
    assert stage.kit.dead_letters(SERVICE) == stage.kit.dead_letters()
