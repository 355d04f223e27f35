"""Partitions that come and go: what is finished, handed back, committed."""

from collections import Counter
from collections.abc import Callable, Sequence

import pytest
from prometheus_client import REGISTRY

from scripted_stage import LANES, SERVICE, ScriptedStage
from streamkit.dispatch import Slot
from streamkit.engine.direct import EngineHangs
from streamkit.engine.work import Work
from streamkit.errors import Busy, Reject, Retry
from streamkit.events import Assigned, Drain, FeedClosed, Lost, Records, Revoking
from streamkit.job import Lane
from streamkit.memory.broker import MemoryBroker
from streamkit.messages import Events, Failure, Message
from streamkit.policy import Policy
from streamkit.ports import ConsumerLostError, Engine, EngineReady
from streamkit.records import Partition, Taken
from streamkit.settle import HandlerDefectError

BATCH = f"darkroom.{SERVICE}.batch"


def numbered(word: str, count: int) -> list[str]:
    """So many texts that begin with a word."""
    return [f"{word} {number}" for number in range(count)]


def finished(stage: ScriptedStage, partition: Partition) -> int:
    """The offset up to which everything in a partition was published."""
    done = set(stage.done())
    records = stage.kit.world.broker.read(partition, 0, 10_000)
    unfinished = [one.offset for one in records if (one.key or b"").decode() not in done]
    return min(unfinished, default=stage.kit.world.broker.end(partition))


def places(stage: ScriptedStage) -> list[Partition]:
    """The partitions of the lane batch."""
    count = stage.kit.world.broker.partitions_of("said.batch")
    return [Partition("said.batch", number) for number in range(count)]


def committed(stage: ScriptedStage) -> dict[Partition, int]:
    """What is committed of each partition of the lane batch."""
    found = stage.kit.world.broker.committed(BATCH)
    return {place: found.get(place, 0) for place in places(stage)}


# -- rebalances -----------------------------------------------------------------------------------


def test_a_second_worker_takes_half_and_nothing_is_done_twice() -> None:
    stage = ScriptedStage(takes=lambda _work: 0.1)
    stage.pile_up(*numbered("said", 200))
    stage.kit.advance(1)
    other = stage.kit.add(stage.job)
    stage.kit.advance(3)
    assert len(stage.worker.core.partitions()["batch"]) == 2
    assert len(other.core.partitions()["batch"]) == 2
    stage.kit.advance(20)
    assert Counter(stage.done()) == Counter(numbered("said", 200))
    assert stage.unread() == 0


def test_a_partition_goes_when_the_work_in_hand_is_finished_and_not_before() -> None:
    stage = ScriptedStage(takes=lambda _work: 3.0, partitions=2)
    stage.pile_up(*numbered("said", 20))
    stage.kit.advance(0.5)
    other = stage.kit.add(stage.job)
    stage.kit.world.settle()
    (gone,) = other.core.partitions()["batch"]
    assert 3.0 <= stage.now <= 6.1, "one piece of work in hand, or one more"
    assert committed(stage)[gone] == finished(stage, gone)
    stage.kit.advance(70)
    assert Counter(stage.done()) == Counter(numbered("said", 20))


def test_what_has_not_begun_is_handed_back_for_the_next_worker() -> None:
    stage = ScriptedStage(takes=lambda _work: 0.001)
    stage.say(*numbered("before", 50))
    stage.kit.advance(1)
    stage.script.does("endless", EngineHangs(), times=1)
    stage.pile_up(*numbered("said", 100))
    stage.kit.advance(0.004)
    calls = len(stage.script.calls)
    stage.kit.add(stage.job)
    stage.kit.world.settle()
    assert len(stage.script.calls) - calls <= 2
    stage.kit.advance(2)
    assert Counter(stage.done()) == Counter(numbered("before", 50) + numbered("said", 100))


def test_exactly_what_is_finished_is_committed_when_a_partition_goes() -> None:
    stage = ScriptedStage(takes=lambda work: 6.0 if b"slow" in (work.record.key or b"") else 0.01,
                          partitions=2)  # fmt: skip
    stage.worker.stop()
    stage.kit.advance(1)
    worker = stage.kit.add(stage.job, policy=Policy(drain_s=2.0))
    stage.kit.advance(1)
    stage.script.does("flaky", Retry("not yet"), times=1)
    stage.pile_up(*numbered("said", 20), "slow", *numbered("more", 20))
    stage.kit.advance(0.5)
    stage.kit.add(stage.job)
    stage.kit.advance(4)
    (gone,) = set(places(stage)) - set(worker.core.partitions()["batch"])
    assert committed(stage)[gone] <= finished(stage, gone)
    stage.kit.advance(30)
    assert set(stage.done()) == {*numbered("said", 20), "slow", *numbered("more", 20)}
    assert stage.unread() == 0


def test_work_that_is_not_over_by_the_drains_deadline_is_left_to_the_next_worker() -> None:
    def overruns() -> float:
        labels = {"stage": SERVICE, "lane": "batch"}
        return REGISTRY.get_sample_value("darkroom_drain_overruns_total", labels) or 0.0

    before = overruns()
    stage = ScriptedStage(takes=lambda _work: 30.0, partitions=1)
    stage.say("said")
    stage.kit.advance(1)
    other = stage.kit.add(stage.job)
    group = stage.kit.world.broker.group(BATCH)
    stage.kit.world.settle()
    assert other.core.partitions()["batch"] == []
    stage.worker.stop()
    stage.kit.world.settle()
    assert stage.now == pytest.approx(1 + 8)
    assert overruns() == before + 1
    assert other.core.partitions()["batch"] == [Partition("said.batch", 0)]
    assert group.committed.get(Partition("said.batch", 0), 0) == 0
    stage.kit.advance(60)
    assert len(stage.times("said")) == 2
    assert stage.unread() == 0


def test_nothing_is_committed_of_partitions_that_were_lost() -> None:
    stage = ScriptedStage(takes=lambda _work: 0.5)
    stage.pile_up(*numbered("said", 20))
    stage.kit.advance(1.2)
    stage.worker.frozen = True
    stage.kit.advance(11)  # its session ends
    stage.kit.world.broker.group(BATCH).expel_all()
    before = committed(stage)
    broker = stage.kit.world.broker
    stage.worker.frozen = False
    stage.kit.world.settle()
    assert committed(stage) == before
    stage.kit.advance(30)
    assert set(stage.done()) == set(numbered("said", 20))
    assert all(broker.committed(BATCH).get(p, 0) == broker.end(p) for p in places(stage))


def test_records_of_partitions_that_were_lost_are_not_begun_any_more() -> None:
    stage = ScriptedStage(takes=lambda _work: 0.5)
    stage.pile_up(*numbered("said", 40))
    stage.kit.advance(1.2)
    calls = len(stage.script.calls)
    stage.worker.post(Lost("batch", places(stage)))
    stage.kit.advance(10)
    assert len(stage.script.calls) <= calls + 2


def test_what_finishes_late_of_an_old_assignment_changes_nothing() -> None:
    stage = ScriptedStage(takes=lambda _work: 5.0, partitions=1)
    stage.say("one")
    stage.kit.advance(1)
    stage.kit.world.broker.expel_all()
    # The worker has the partition again at once, and its engine is still at work for the old one.
    stage.kit.world.settle()
    stage.kit.advance(4.5)
    assert stage.done() == [], "its late result is of no account"
    stage.kit.advance(1)
    assert committed(stage)[Partition("said.batch", 0)] == 0
    stage.kit.advance(6)
    assert stage.done() == ["one"]
    assert stage.unread() == 0


def test_a_worker_that_stood_still_does_not_commit_what_another_one_has_now() -> None:
    stage = ScriptedStage(takes=lambda _work: 2.0, partitions=1)
    stage.pile_up(*numbered("said", 10))
    stage.kit.advance(1)
    stage.worker.frozen = True
    stage.kit.add(stage.job)
    stage.kit.advance(13)
    stage.worker.frozen = False
    place = Partition("said.batch", 0)
    for _ in range(60):
        stage.kit.advance(1)
        assert committed(stage)[place] <= finished(stage, place)
    assert set(stage.done()) == set(numbered("said", 10))
    assert stage.unread() == 0


def test_three_workers_restart_one_after_the_other_without_loss_or_doubles() -> None:
    stage = ScriptedStage(takes=lambda _work: 0.05, partitions=6)
    workers = [stage.worker, stage.kit.add(stage.job), stage.kit.add(stage.job)]
    texts = numbered("said", 300)
    for number, text in enumerate(texts):
        stage.say(text)
        stage.kit.advance(0.02)
        if number % 60 == 30:
            workers.pop(0).stop()
            workers.append(stage.kit.add(stage.job))
    stage.kit.advance(20)
    assert Counter(stage.done()) == Counter(texts)
    assert stage.unread() == 0


def test_a_killed_worker_loses_nothing() -> None:
    stage = ScriptedStage(takes=lambda _work: 0.05, partitions=6)
    stage.script.does("flaky", Retry("not yet"), times=1)
    stage.kit.add(stage.job)
    texts = numbered("said", 150) + numbered("flaky", 50)
    stage.pile_up(*texts)
    stage.kit.advance(2)
    stage.worker.kill()
    stage.kit.advance(60)
    assert set(stage.done()) == set(texts)
    assert stage.unread() == 0


def test_retries_that_wait_move_with_their_partition() -> None:
    stage = ScriptedStage(takes=lambda _work: 0.001)
    stage.script.does("flaky", Retry("not yet"), times=2)
    texts = numbered("flaky", 40)
    stage.pile_up(*texts)
    stage.kit.advance(10)
    other = stage.kit.add(stage.job)
    stage.kit.advance(2)
    assert other.core.partitions()["retry"]
    stage.kit.advance(40)
    assert Counter(stage.done()) == Counter(texts)
    assert all(stage.attempts(text) == [1, 2, 3] for text in texts)


@pytest.mark.parametrize("leave", ["a worker joins", "it is asked to stop"])
def test_what_lies_before_a_finished_record_is_finished_before_its_partition_goes(
    leave: str,
) -> None:
    # The delays of a tier differ a little, so records of a retry topic end out of their order.
    for hundredths in range(0, 60, 5):
        stage = ScriptedStage(takes=lambda _work: 0.001, policy=Policy(retry_tiers=("5s",)))
        stage.script.does("flaky", Retry("not yet"), times=1)
        texts = numbered("flaky", 60)
        stage.pile_up(*texts)
        stage.kit.advance(5.0 + hundredths / 100)
        stage.kit.add(stage.job)
        if leave == "it is asked to stop":
            stage.worker.stop()
        stage.kit.advance(20)
        assert all(stage.attempts(text) == [1, 2] for text in texts)
        assert Counter(stage.done()) == Counter(texts)
        assert stage.unread() == 0


def test_what_can_not_be_finished_soon_holds_no_partition_up() -> None:
    lanes = (Lane("high", ("said.high",)), Lane("batch", ("said.batch",)),
             Lane("learning", ("said.learning",)))  # fmt: skip
    stage = ScriptedStage(lanes=lanes, takes=lambda _work: 0.001)
    stage.script.does("flaky", Retry("not yet"), times=1)
    texts = numbered("flaky", 20)
    for text in texts:
        stage.say(text, lane="learning")
        stage.say(f"{text} batch", lane="batch")
    stage.kit.advance(1)
    stage.control(f"{SERVICE}/learning", paused=True)
    stage.kit.advance(10)
    began = stage.now
    stage.worker.stop()
    stage.kit.world.settle()
    assert stage.worker.over
    assert stage.now - began <= 1.1
    stage.kit.add(stage.job)
    stage.kit.advance(60)
    assert set(stage.done()) == {*texts, *(f"{text} batch" for text in texts)}


def test_what_is_not_due_is_not_begun_before_its_partition_goes() -> None:
    # A record that nobody can read is done with at once, behind others that wait.
    stage = ScriptedStage(takes=lambda _work: 0.001)
    stage.script.does("flaky", Retry("not yet"))
    texts = numbered("flaky", 40)
    stage.pile_up(*texts)
    stage.kit.advance(45)
    assert all(stage.attempts(text) == [1, 2, 3] for text in texts)
    for number in range(4):
        key = b"odd %d" % number
        stage.kit.produce_raw(f"darkroom.{SERVICE}.retry-5m.bulk", key, b"", [])
    stage.kit.advance(1)
    stage.worker.stop()
    stage.kit.world.settle()
    assert stage.worker.over
    stage.kit.add(stage.job)
    stage.kit.advance(60)
    assert all(stage.attempts(text) == [1, 2, 3] for text in texts)
    stage.kit.advance(400)
    assert all(stage.attempts(text) == [1, 2, 3, 4] for text in texts)


def test_what_begins_late_holds_no_partition_up() -> None:
    times = {"slow": 0}

    def takes(work: Work) -> float:
        times["slow"] += work.record.key == b"slow"
        return 20.0 if work.record.key == b"slow" and times["slow"] > 1 else 0.3

    stage = ScriptedStage(takes=takes, partitions=1)
    stage.script.does("slow", Busy("It is away.", dependency="db"), times=1)
    stage.pile_up("slow", *numbered("said", 20))
    stage.kit.advance(0.8)
    began = stage.now
    stage.worker.stop()
    stage.kit.world.settle()
    assert stage.worker.over
    assert stage.now - began <= 1.7, "what was in hand, and a second"


@pytest.mark.parametrize("leave", ["another joins", "it is stopped"])
def test_last_words_are_said_in_a_paused_lane(leave: str) -> None:
    stage = ScriptedStage(takes=lambda _work: 0.5, partitions=2)
    stage.script.does("bad", Reject("bad", "It is bad."))
    stage.pile_up(*numbered("bad", 6))
    stage.kit.advance(0.2)
    stage.control(f"{SERVICE}/batch", paused=True)
    stage.kit.advance(5)
    assert stage.kit.dead_letters(), "one was given up when the pause began"
    began = stage.now
    if leave == "another joins":
        other = stage.kit.add(stage.job)
        while not other.core.partitions().get("batch"):
            stage.kit.advance(0.01)
    else:
        stage.worker.stop()
        stage.kit.world.settle()
    assert stage.now - began <= 1.6


def test_a_dead_letter_that_is_to_be_sent_again_goes_before_its_partition() -> None:
    stage = ScriptedStage(takes=lambda _work: 0.001, partitions=1)
    stage.script.does("bad", Reject("bad", "It is bad."))
    broker = stage.kit.world.broker
    broker.drop_sends = True
    stage.pile_up("bad", *numbered("said", 5))
    stage.kit.advance(0.2)
    stage.worker.stop()
    broker.drop_sends = False
    stage.kit.advance(5)
    assert stage.worker.over
    stage.kit.add(stage.job)
    stage.kit.advance(10)
    assert [letter.key for letter in stage.kit.dead_letters()] == ["bad"]
    assert set(stage.done()) == set(numbered("said", 5))


@pytest.mark.parametrize("waits", ["ordered", "in a retry topic"])
def test_the_age_of_the_oldest_record_counts_those_that_wait(waits: str) -> None:
    lanes = (Lane("high", ("said.high",)), Lane("batch", ("said.batch",), ordered=True))
    stage = ScriptedStage(
        lanes=lanes if waits == "ordered" else LANES, policy=Policy(retry_tiers=("5m",))
    )
    stage.script.does("flaky", Retry("not yet"), times=1)
    stage.say("flaky")
    stage.kit.advance(200)
    labels = {"stage": SERVICE, "lane": "batch"}
    age = REGISTRY.get_sample_value("darkroom_oldest_record_age_seconds", labels)
    assert age == pytest.approx(200, abs=2)


def test_a_worker_without_partitions_is_ready_and_idle() -> None:
    stage = ScriptedStage(partitions=1)
    other = stage.kit.add(stage.job)
    stage.kit.advance(2)
    assert other.core.waiting_for() == []
    assert other.core.partitions()["batch"] == []


def test_a_partition_that_comes_again_without_having_gone_begins_anew() -> None:
    stage = ScriptedStage(takes=lambda _work: 2.0, partitions=1)
    stage.pile_up("one", "two")
    stage.kit.advance(1)
    stage.worker.post(Assigned("batch", [Partition("said.batch", 0)]))
    stage.kit.advance(5)
    assert stage.done() == [], "what was begun for the old assignment is of no account"
    stage.worker.kill()
    stage.kit.add(stage.job)
    stage.kit.advance(20)
    assert stage.done() == ["one", "two"]
    assert stage.unread() == 0


def test_a_partition_that_comes_again_while_it_is_drained_is_not_released_twice() -> None:
    stage = ScriptedStage(takes=lambda _work: 2.0, partitions=1)
    place, drain = Partition("said.batch", 0), Drain()
    stage.pile_up("one", "two")
    stage.kit.advance(1)
    stage.worker.post(Revoking("batch", [place], drain))
    stage.kit.world.settle()
    assert not drain.over
    stage.say("between")
    stage.worker.post(Assigned("batch", [place]))
    stage.kit.advance(2)
    assert drain.over
    assert stage.times("between") == [], "it came for what was about to go"
    assert drain.offsets == {}
    assert stage.worker.core.partitions()["batch"] == [place]
    stage.say("three")
    stage.kit.advance(3)
    assert stage.done() == ["three"]


def test_partitions_that_the_worker_does_not_have_are_given_up_at_once() -> None:
    stage, drain = ScriptedStage(), Drain()
    stage.worker.post(Revoking("batch", [Partition("said.batch", 77)], drain))
    stage.kit.world.settle()
    assert drain.over
    assert drain.offsets == {}


def test_records_that_come_twice_or_of_foreign_partitions_are_passed_over() -> None:
    stage = ScriptedStage()
    stage.say("said")
    (taken,) = stage.kit.world.broker.records("said.batch")
    stage.worker.post(Records("batch", [taken, taken._replace(partition=77)]))
    stage.kit.advance(1)
    assert stage.done() == ["said"]
    assert stage.unread() == 0


def test_a_worker_that_is_stopped_before_it_has_loaded_joins_nothing() -> None:
    stage = ScriptedStage()

    def unready(make: Callable[[str], Engine]) -> Sequence[Slot]:
        engine = make("all")
        engine.start = lambda: None  # type: ignore[method-assign]
        return [Slot(engine, frozenset({"high", "batch"}))]

    worker = stage.kit.add(stage.job, slots=unready)
    worker.stop()
    worker.post(EngineReady("all", 0.1))
    stage.kit.world.settle()
    assert worker.over
    assert worker.core.partitions() == {}


def test_a_feed_that_breaks_ends_the_worker() -> None:
    stage = ScriptedStage()
    stage.worker.post(FeedClosed("batch", ConsumerLostError("no rights")))
    with pytest.raises(ConsumerLostError, match="no rights"):
        stage.kit.advance(1)


# -- stopping -------------------------------------------------------------------------------------


def test_a_worker_that_is_stopped_finishes_what_it_has_in_hand_and_leaves() -> None:
    stage = ScriptedStage(takes=lambda _work: 2.0, partitions=1)
    stage.pile_up(*numbered("said", 10))
    stage.kit.advance(3)
    stage.worker.stop()
    stage.kit.world.settle()
    assert stage.worker.over
    assert stage.now == pytest.approx(4.0)
    assert len(stage.done()) == 2
    assert committed(stage)[Partition("said.batch", 0)] == 2
    stage.kit.add(stage.job)
    stage.kit.advance(30)
    assert Counter(stage.done()) == Counter(numbered("said", 10))


def test_an_idle_worker_stops_at_once() -> None:
    stage = ScriptedStage()
    stage.worker.stop()
    stage.kit.world.settle()
    assert stage.worker.over


def test_a_worker_can_be_told_to_stop_twice() -> None:
    stage = ScriptedStage(takes=lambda _work: 1.0)
    stage.say("said")
    stage.worker.stop()
    stage.worker.stop()
    stage.kit.advance(2)
    assert stage.worker.over
    assert stage.done() == ["said"]


def test_a_worker_stops_while_its_broker_is_away() -> None:
    stage = ScriptedStage(takes=lambda _work: 1.0)
    stage.say("said")
    stage.kit.world.broker.down = True
    stage.worker.stop()
    stage.kit.advance(10)
    assert stage.worker.over
    stage.kit.world.broker.down = False
    stage.kit.add(stage.job)
    stage.kit.advance(20)
    assert set(stage.done()) == {"said"}
    assert stage.unread() == 0


def test_a_worker_stops_while_a_rebalance_is_under_way() -> None:
    stage = ScriptedStage(takes=lambda _work: 3.0)
    stage.pile_up(*numbered("said", 8))
    stage.kit.advance(0.5)
    stage.kit.add(stage.job)
    stage.kit.world.settle()
    stage.worker.stop()
    stage.kit.advance(10)
    assert stage.worker.over
    stage.kit.advance(30)
    assert Counter(stage.done()) == Counter(numbered("said", 8))


def test_last_words_are_said_before_a_worker_leaves_and_nothing_behind_them_is_repeated() -> None:
    stage = ScriptedStage(takes=lambda _work: 2.0, partitions=1)
    stage.script.does("bad", Reject("bad", "It is bad."))
    stage.pile_up("bad", *numbered("said", 5))
    stage.kit.advance(3)
    stage.worker.stop()
    stage.kit.world.settle()
    assert stage.worker.over
    (letter,) = stage.kit.dead_letters()
    assert letter.code == "bad"
    assert stage.done() == ["said 0"]
    assert committed(stage)[Partition("said.batch", 0)] == 2
    stage.kit.add(stage.job)
    stage.kit.advance(30)
    assert Counter(stage.done()) == Counter(numbered("said", 5))


def test_last_words_are_said_before_a_partition_goes_and_nothing_behind_them_is_repeated() -> None:
    stage = ScriptedStage(takes=lambda work: 0.5 if work.failure else 0.001, partitions=2)
    before, bad, said = numbered("before", 50), numbered("bad", 6), numbered("said", 20)
    stage.script.does("bad", Reject("bad", "It is bad."))
    stage.say(*before)
    stage.kit.advance(1)
    stage.pile_up(*bad, *said)
    stage.kit.advance(0.6)
    assert stage.kit.dead_letters(), "some last words were said, others wait"
    stage.kit.add(stage.job)
    stage.kit.advance(60)
    assert Counter(letter.key for letter in stage.kit.dead_letters()) == Counter(bad)
    assert Counter(stage.done()) == Counter(before + said)
    assert stage.unread() == 0


def test_last_words_that_can_not_be_said_are_left_to_the_next_worker() -> None:
    stage = ScriptedStage(takes=lambda _work: 0.5)
    stage.script.does("bad", Reject("bad", "It is bad."))

    def away(_message: Message, _failure: Failure) -> Events:
        raise Busy("It is away.")

    stage.script.words = away
    stage.say("bad")
    stage.kit.advance(1)
    stage.worker.stop()
    stage.kit.advance(10)
    assert stage.worker.over
    assert stage.kit.dead_letters() == []
    stage.script.words = None
    stage.kit.add(stage.job)
    stage.kit.advance(60)
    assert [letter.key for letter in stage.kit.dead_letters()] == ["bad"]


def test_a_record_that_failed_while_draining_is_not_lost() -> None:
    stage = ScriptedStage(takes=lambda _work: 2.0)
    stage.script.does("flaky", Retry("not yet"), times=1)
    stage.say("flaky")
    stage.kit.advance(1)
    stage.worker.stop()
    stage.kit.advance(3)
    assert stage.worker.over
    stage.kit.add(stage.job)
    stage.kit.advance(20)
    assert stage.done() == ["flaky"]
    assert stage.attempts("flaky") == [1, 2]


# -- after a defect -------------------------------------------------------------------------------


def test_a_worker_that_fails_commits_what_is_finished_and_leaves() -> None:
    stage = ScriptedStage(partitions=1)
    stage.script.does("bug", ZeroDivisionError("in the handler"))
    with pytest.raises(HandlerDefectError):
        stage.pile_up(*numbered("said", 10), "bug")
    stage.worker.leave()
    stage.kit.advance(5)
    assert stage.worker.over
    done = len(stage.done())
    assert committed(stage)[Partition("said.batch", 0)] == done > 0
    stage.script.forgets("bug")
    stage.kit.add(stage.job)
    stage.kit.advance(2)
    assert Counter(stage.done()) == Counter([*numbered("said", 10), "bug"])


def test_a_worker_that_fails_does_not_wait_for_its_engines() -> None:
    stage = ScriptedStage(takes=lambda work: 60.0 if work.lane == "high" else 0.1, partitions=1)
    stage.script.does("bug", ZeroDivisionError("in the handler"))
    stage.say("slow", lane="high")
    stage.pile_up(*numbered("said", 5), "bug")
    with pytest.raises(HandlerDefectError):
        stage.kit.advance(2)
    stage.worker.leave()
    begin = stage.now
    stage.kit.advance(1)
    assert stage.worker.over
    assert stage.now - begin <= 1.01
    assert committed(stage)[Partition("said.batch", 0)] == len(stage.done()) == 5


def test_a_worker_that_fails_leaves_though_its_broker_is_away() -> None:
    stage = ScriptedStage(takes=lambda work: 0.1 if work.lane == "batch" else 4.0)
    stage.script.does("bug", ZeroDivisionError("in the handler"))
    stage.pile_up("slow", lane="high")
    stage.pile_up("said")
    stage.kit.world.broker.down = True
    stage.kit.advance(1)
    stage.kit.world.broker.down = False
    stage.kit.world.broker.drop_acks = True
    stage.say("bug", "more")
    with pytest.raises(HandlerDefectError):
        stage.kit.advance(2)
    stage.worker.leave()
    stage.worker.post(FeedClosed("publisher", ConsumerLostError("no rights")))
    begin = stage.now
    stage.kit.advance(5)
    assert stage.worker.over
    assert stage.now - begin <= 5.01


def test_a_worker_that_fails_waits_for_acknowledgements_for_half_of_the_drain_only() -> None:
    stage = ScriptedStage(takes=lambda _work: 0.1, partitions=1)
    stage.script.does("bug", ZeroDivisionError("in the handler"))
    stage.freeze()
    stage.say("said", "bug")
    stage.worker.frozen = False
    stage.kit.world.step()
    stage.kit.world.broker.down = True
    with pytest.raises(HandlerDefectError):
        stage.kit.advance(1)
    stage.worker.leave()
    begin = stage.now
    stage.kit.advance(3)
    assert stage.worker.over
    assert 3.9 <= stage.now - begin <= 4.1, "so that it is over when the process must be"


# -- windows --------------------------------------------------------------------------------------


def spied(stage: ScriptedStage, monkeypatch: pytest.MonkeyPatch) -> list[Taken]:
    """Everything that is read of said.batch from now on."""
    broker, found = stage.kit.world.broker, list[Taken]()

    def read(partition: Partition, offset: int, most: int) -> list[Taken]:
        records = MemoryBroker.read(broker, partition, offset, min(most, 10))
        found.extend(records if partition.topic == "said.batch" else ())
        return records

    monkeypatch.setattr(broker, "read", read)
    return found


def test_a_record_that_is_not_over_holds_up_its_partition_only_at_the_windows_end(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    lanes = (LANES[0], Lane("batch", ("said.batch",), ordered=True))
    stage = ScriptedStage(lanes=lanes, policy=Policy(window=50), partitions=2)
    found = spied(stage, monkeypatch)
    stage.script.does("head", Retry("not yet"), times=1)
    texts = ["head", *numbered("said", 400)]
    stage.pile_up(*texts)
    stage.kit.advance(3)
    head = next(one.partition for one in found if one.key == b"head")
    others = {number: [one for one in found if one.partition == number] for number in (0, 1)}
    assert 50 <= len(others[head]) <= 75
    assert len(others[1 - head]) > 150
    stage.kit.advance(10)
    assert Counter(stage.done()) == Counter(texts)
    stage.kit.advance(1)
    assert stage.unread() == 0


def test_a_partition_that_was_held_moves_on_with_its_next_worker(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    lanes = (LANES[0], Lane("batch", ("said.batch",), ordered=True))
    stage = ScriptedStage(lanes=lanes, policy=Policy(window=50), partitions=2)
    spied(stage, monkeypatch)
    stage.script.does("head", Retry("not yet"), times=1)
    texts = ["head", *numbered("said", 400)]
    stage.pile_up(*texts)
    stage.kit.advance(1)
    for _ in range(4):
        stage.kit.world.broker.expel_all()
        stage.kit.advance(1)
    other = stage.kit.add(stage.job, policy=Policy(window=50))
    stage.kit.advance(1)
    other.stop()
    stage.kit.advance(20)
    assert set(stage.done()) == set(texts)
    assert stage.unread() == 0


def test_a_partition_that_was_held_when_it_was_lost_is_fetched_when_it_comes_again() -> None:
    lanes = (LANES[0], Lane("batch", ("said.batch",), ordered=True))
    stage = ScriptedStage(lanes=lanes, policy=Policy(window=50), partitions=1)
    stage.script.does("head", Retry("not yet"), times=1)
    stage.pile_up("head", *numbered("said", 100))
    stage.kit.advance(1)
    place = Partition("said.batch", 0)
    # The feed is told to hold it, and the group takes it away at the same moment.
    stage.worker.post(Lost("batch", [place]))
    stage.worker.post(Assigned("batch", [place]))
    stage.kit.advance(1)
    stage.say("after")
    stage.kit.advance(1)
    assert "after" in stage.done()


def test_gaps_in_a_log_hold_nothing_up() -> None:
    stage = ScriptedStage(partitions=1, policy=Policy(window=100))
    place = Partition("said.batch", 0)
    for number in range(20):
        stage.kit.world.broker.skip(place, 37)
        stage.say(f"said {number}")
    stage.kit.advance(1)
    assert len(stage.done()) == 20
    assert committed(stage)[place] == 20 * 38
