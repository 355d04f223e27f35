"""Whose turn it is: lanes, their weights and bounds, and order by key."""

from collections import Counter
from collections.abc import Callable, Generator, Sequence

import pytest

from scripted_stage import LANES, SERVICE, ScriptedStage, done
from streamkit.dispatch import Slot
from streamkit.errors import Reject, Retry
from streamkit.job import Lane
from streamkit.memory.broker import MemoryBroker
from streamkit.messages import Events, Message
from streamkit.policy import Policy
from streamkit.ports import Engine, EngineGone
from streamkit.records import Partition, RawRecord, Taken

FOUR = tuple(Lane(name, (f"said.{name}",)) for name in ("high", "default", "batch", "learning"))
ORDERED = (Lane("batch", ("said.batch",), ordered=True),)


def numbered(word: str, count: int) -> list[str]:
    """So many texts that begin with a word."""
    return [f"{word} {number}" for number in range(count)]


def handled(stage: ScriptedStage) -> Counter[str]:
    """How many records of each first word were handled."""
    return Counter(call.text.split()[0] for call in stage.script.calls)


# -- shares ---------------------------------------------------------------------------------------


def test_busy_lanes_share_an_engine_by_their_weights() -> None:
    stage = ScriptedStage(lanes=FOUR, takes=lambda _work: 0.02)
    for lane in ("default", "batch", "learning"):
        stage.pile_up(*numbered(lane, 350), lane=lane)
    stage.kit.advance(9)
    counts = handled(stage)
    total = counts.total()
    assert counts["batch"] / total == pytest.approx(5 / 9, rel=0.1)
    assert counts["learning"] / total == pytest.approx(3 / 9, rel=0.1)
    assert counts["default"] / total == pytest.approx(1 / 9, rel=0.2)


def test_weights_count_milliseconds_and_not_records() -> None:
    stage = ScriptedStage(lanes=FOUR, takes=lambda work: 0.05 if work.lane == "batch" else 0.005)
    stage.pile_up(*numbered("batch", 200), lane="batch")
    stage.pile_up(*numbered("learning", 900), lane="learning")
    stage.kit.advance(9)
    counts = handled(stage)
    assert (counts["batch"] * 0.05) / (counts["learning"] * 0.005) == pytest.approx(5 / 3, rel=0.1)


def test_weights_are_policy() -> None:
    policy = Policy(weights={"batch": 1.0, "learning": 4.0})
    stage = ScriptedStage(lanes=FOUR, policy=policy, takes=lambda _work: 0.02)
    for lane in ("batch", "learning"):
        stage.pile_up(*numbered(lane, 500), lane=lane)
    stage.kit.advance(8)
    counts = handled(stage)
    assert counts["learning"] / counts["batch"] == pytest.approx(4, rel=0.15)


def test_a_lane_alone_has_the_engine_for_itself() -> None:
    stage = ScriptedStage(lanes=FOUR, takes=lambda _work: 0.02)
    stage.pile_up(*numbered("default", 100), lane="default")
    stage.kit.advance(2.2)
    assert handled(stage)["default"] == 100


def test_no_lane_waits_longer_than_a_minute_while_others_run() -> None:
    policy = Policy(weights={"batch": 1_000_000.0})
    stage = ScriptedStage(lanes=FOUR, policy=policy, takes=lambda _work: 0.5)
    stage.pile_up(*numbered("batch", 300), lane="batch")
    stage.kit.advance(1)
    stage.say("default", lane="default")
    stage.kit.advance(70)
    (at,) = stage.times("default")
    assert at <= 1 + 60 + 1.5


# -- high -----------------------------------------------------------------------------------------


def test_high_records_have_an_engine_of_their_own() -> None:
    stage = ScriptedStage(takes=lambda work: 1.0 if work.lane == "batch" else 0.001)
    stage.pile_up(*numbered("batch", 50))
    stage.kit.advance(0.5)
    stage.say("urgent", lane="high")
    assert stage.times("urgent") == [0.5]
    stage.kit.advance(0.01)
    assert stage.done() == ["urgent"]


def test_on_one_engine_a_high_record_waits_for_the_piece_of_work_in_hand_only() -> None:
    stage = ScriptedStage(isolation="thread", takes=lambda _work: 1.0)
    stage.pile_up(*numbered("batch", 50))
    stage.kit.advance(10.5)
    stage.say("urgent", lane="high")
    stage.kit.advance(2)
    (at,) = stage.times("urgent")
    assert at <= 11.01


def test_short_work_goes_to_an_engine_in_chunks_that_a_high_record_outlives() -> None:
    stage = ScriptedStage(isolation="thread", takes=lambda _work: 0.001)
    stage.pile_up(*numbered("batch", 1000))
    stage.kit.advance(0.3)
    at = stage.now
    stage.say("urgent", lane="high")
    stage.kit.advance(0.5)
    assert stage.times("urgent")[0] - at <= 0.012


def test_sliced_work_makes_way_for_a_high_record_at_its_next_slice() -> None:
    def sliced(message: Message) -> Generator[None, None, Events]:
        for _ in range(10):
            yield
        return done(message)

    stage = ScriptedStage(isolation="thread", takes=lambda work: 0.2)
    stage.script.does("long", sliced)
    stage.say("long")
    stage.kit.advance(0.5)
    stage.say("urgent", lane="high")
    stage.kit.advance(0.5)
    assert stage.done() == ["urgent"]
    stage.kit.advance(3)
    assert stage.done() == ["urgent", "long"]


def test_sliced_work_goes_on_though_high_records_never_end() -> None:
    def sliced(message: Message) -> Generator[None, None, Events]:
        for _ in range(10):
            yield
        return done(message)

    stage = ScriptedStage(isolation="thread", takes=lambda _work: 0.05)
    stage.script.does("long", sliced)
    stage.say("long")
    stage.pile_up(*numbered("urgent", 300), lane="high")
    stage.kit.advance(8)
    assert "long" in stage.done()
    assert len(stage.done()) > 80


@pytest.mark.parametrize("seconds", [0.02, 0.15])
def test_on_one_engine_high_records_take_part_by_their_weight(seconds: float) -> None:
    stage = ScriptedStage(isolation="thread", takes=lambda _work: seconds)
    stage.pile_up(*numbered("urgent", 500), lane="high")
    stage.pile_up(*numbered("batch", 500))
    stage.kit.advance(300 * seconds)
    counts = handled(stage)
    assert counts["urgent"] / counts["batch"] == pytest.approx(2, rel=0.1)


def test_a_lazy_engine_is_started_by_the_first_record_of_its_lane() -> None:
    def lazy(make: Callable[[str], Engine]) -> Sequence[Slot]:
        return [
            Slot(make("high"), frozenset({"high"}), lazy=True),
            Slot(make("bulk"), frozenset({"batch"})),
        ]

    stage = ScriptedStage()
    stage.worker.stop()
    stage.kit.advance(1)
    stage.loads = 0
    worker = stage.kit.add(stage.job, slots=lazy)
    stage.kit.advance(1)
    stage.say("usual")
    assert worker.core.waiting_for() == []
    assert stage.loads == 1
    stage.say("urgent", lane="high")
    assert stage.loads == 2
    assert stage.done() == ["usual", "urgent"]


class LateEngine:
    """An engine that takes its time to load."""

    def __init__(self, engine: Engine, later: Callable[[float, Callable[[], None]], None]) -> None:
        self._engine = engine
        self._later = later
        self.name = engine.name
        self.submit = engine.submit
        self.recall = engine.recall
        self.replace = engine.replace
        self.memory_bytes = engine.memory_bytes
        self.close = engine.close

    def start(self) -> None:
        """Load, in ten seconds."""
        self._later(10, self._engine.start)


def test_high_records_do_not_wait_for_their_engine_to_load() -> None:
    stage = ScriptedStage()

    def late(make: Callable[[str], Engine]) -> Sequence[Slot]:
        high = LateEngine(make("high"), stage.kit.world.later)
        return [
            Slot(high, frozenset({"high"}), lazy=True),
            Slot(make("bulk"), frozenset({"batch"})),
        ]

    stage.worker.stop()
    stage.kit.advance(1)
    stage.kit.add(stage.job, slots=late)
    stage.kit.advance(1)
    stage.say("urgent", lane="high")
    assert stage.done() == ["urgent"]


def test_no_partition_waits_for_a_model_to_load() -> None:
    stage = ScriptedStage()

    def late(make: Callable[[str], Engine]) -> Sequence[Slot]:
        engine = LateEngine(make("all"), stage.kit.world.later)
        return [Slot(engine, frozenset({"high", "batch"}))]

    second = stage.kit.add(stage.job, slots=late)
    stage.kit.advance(9)
    assert second.core.waiting_for() == ["engine all"]
    assert second.core.partitions() == {}
    stage.say(*numbered("said", 20))
    assert len(stage.done()) == 20
    stage.kit.advance(3)
    assert second.core.waiting_for() == []
    assert len(second.core.partitions()["batch"]) == 2


def test_readiness_says_why_an_engine_is_not_there() -> None:
    stage = ScriptedStage()

    def late(make: Callable[[str], Engine]) -> Sequence[Slot]:
        return [Slot(LateEngine(make("all"), stage.kit.world.later), frozenset({"high", "batch"}))]

    worker = stage.kit.add(stage.job, slots=late)
    stage.kit.advance(1)
    worker.core.handle(EngineGone("all", (), "its weights are missing"))
    assert worker.core.waiting_for() == ["engine all: its weights are missing"]
    stage.kit.advance(20)
    assert worker.core.waiting_for() == []


# -- bounds ---------------------------------------------------------------------------------------


def three(make: Callable[[str], Engine]) -> Sequence[Slot]:
    """Three engines for all lanes."""
    names = frozenset({"high", "batch"})
    return [Slot(make(f"all-{number}"), names) for number in (1, 2, 3)]


def test_several_engines_share_a_lane() -> None:
    stage = ScriptedStage(takes=lambda _work: 1.0)
    stage.worker.stop()
    stage.kit.advance(1)
    stage.kit.add(stage.job, slots=three)
    stage.kit.advance(1)
    stage.pile_up(*numbered("said", 12))
    stage.kit.advance(4.1)
    assert len(stage.done()) == 12


def test_a_lane_has_no_more_records_in_engines_than_its_concurrency() -> None:
    lanes = (LANES[0], Lane("batch", ("said.batch",), concurrency=2))
    stage = ScriptedStage(lanes=lanes, takes=lambda _work: 1.0)
    stage.worker.stop()
    stage.kit.advance(1)
    stage.kit.add(stage.job, slots=three)
    stage.kit.advance(1)
    stage.pile_up(*numbered("said", 12))
    stage.kit.advance(4.1)
    assert len(stage.done()) == 8
    assert max(Counter(call.at for call in stage.script.calls).values()) == 2


def count_reads(stage: ScriptedStage, monkeypatch: pytest.MonkeyPatch, topic: str) -> list[Taken]:
    """What is read of a topic from now on."""
    broker = stage.kit.world.broker
    found: list[Taken] = []

    def spy(partition: Partition, offset: int, most: int) -> list[Taken]:
        records = MemoryBroker.read(broker, partition, offset, most)
        found.extend(records if partition.topic == topic else ())
        return records

    monkeypatch.setattr(broker, "read", spy)
    return found


def test_a_lane_fetches_so_many_records_ahead_and_no_more(monkeypatch: pytest.MonkeyPatch) -> None:
    stage = ScriptedStage(policy=Policy(lane_records=50), takes=lambda _work: 1.0)
    found = count_reads(stage, monkeypatch, "said.batch")
    stage.pile_up(*numbered("said", 400))
    assert len(found) <= 60
    stage.kit.advance(20)
    assert len(found) <= 80
    stage.kit.advance(400)
    assert len(stage.done()) == 400


def test_a_lane_fetches_so_many_bytes_ahead_and_few_more(monkeypatch: pytest.MonkeyPatch) -> None:
    policy = Policy(lane_bytes=1_000_000)
    stage = ScriptedStage(policy=policy, takes=lambda _work: 1.0)
    found = count_reads(stage, monkeypatch, "said.batch")
    for number in range(60):
        stage.say(f"{number} " + 50_000 * "x", key=str(number))
    assert len(found) <= 25
    stage.kit.advance(80)
    assert len(stage.done()) == 60


def test_records_without_a_value_or_key_are_counted_too() -> None:
    stage = ScriptedStage()
    for _ in range(5):
        stage.kit.produce_raw("said.batch", None, None)
    assert len(stage.kit.dead_letters()) == 5


# -- order by key ---------------------------------------------------------------------------------


def two(make: Callable[[str], Engine]) -> Sequence[Slot]:
    """Two engines for the lane batch."""
    return [Slot(make(name), frozenset({"batch"})) for name in ("one", "two")]


def test_the_jitter_spreads_what_failed_together_in_an_ordered_lane() -> None:
    stage = ScriptedStage(lanes=ORDERED)
    stage.script.does("flaky", Retry("not yet"), times=1)
    texts = numbered("flaky", 20)
    stage.pile_up(*texts)
    stage.kit.advance(7)
    assert len({round(stage.times(text)[1], 2) for text in texts}) > 10


def test_an_ordered_lane_keeps_the_order_of_a_key_through_retries() -> None:
    stage = ScriptedStage(lanes=ORDERED)
    stage.script.does("flaky", Retry("not yet"), times=2)
    stage.pile_up("flaky 1", "second", "flaky 3", "fourth", key="a")
    stage.kit.advance(100)
    assert stage.done() == ["flaky 1", "second", "flaky 3", "fourth"]
    assert stage.attempts("flaky 1") == [1, 2, 3]
    stage.kit.advance(1)
    assert stage.unread() == 0


def test_an_ordered_lane_retries_by_the_tiers_as_others_do() -> None:
    stage = ScriptedStage(lanes=ORDERED)
    stage.script.does("flaky", Retry("not yet"), times=3)
    stage.say("flaky")
    stage.kit.advance(400)
    first, second, third, fourth = stage.times("flaky")
    for wait, tier in ((second - first, 5), (third - second, 30), (fourth - third, 300)):
        assert tier <= wait <= 1.1 * tier + 1
    assert stage.kit.world.broker.records(f"darkroom.{SERVICE}.retry-5s.bulk") == []


def test_in_an_ordered_lane_other_keys_do_not_wait() -> None:
    stage = ScriptedStage(lanes=ORDERED, partitions=1)
    stage.script.does("flaky", Retry("not yet"), times=1)
    stage.pile_up("flaky", "after it", key="a")
    stage.pile_up("one", "two", key="b")
    assert stage.done() == ["one", "two"]
    stage.kit.advance(7)
    assert stage.done() == ["one", "two", "flaky", "after it"]


def test_an_ordered_lane_works_on_one_record_of_a_key_at_a_time() -> None:
    stage = ScriptedStage(lanes=ORDERED, takes=lambda _work: 1.0)
    stage.worker.stop()
    stage.kit.advance(1)
    stage.kit.add(stage.job, slots=two)
    stage.kit.advance(1)
    begin = stage.now
    stage.pile_up(*numbered("a", 5), key="a")
    stage.pile_up(*numbered("b", 5), key="b")
    stage.kit.advance(5.1)
    assert len(stage.done()) == 10
    for key in "ab":
        ats = [call.at - begin for call in stage.script.calls if call.text.startswith(key)]
        assert ats == pytest.approx([0, 1, 2, 3, 4])


def test_a_record_that_is_given_up_lets_the_next_of_its_key_go() -> None:
    stage = ScriptedStage(lanes=ORDERED)
    stage.script.does("bad", Reject("too_dark", "There is nothing to see."))
    stage.pile_up("bad", "good", key="a")
    assert stage.done() == ["good"]
    assert len(stage.kit.dead_letters()) == 1
    stage.kit.advance(1)
    assert stage.unread() == 0


def test_what_waits_behind_a_key_counts_as_fetched(monkeypatch: pytest.MonkeyPatch) -> None:
    stage = ScriptedStage(lanes=ORDERED, policy=Policy(lane_records=50))
    stage.script.does("flaky", Retry("not yet"), times=1)
    found = count_reads(stage, monkeypatch, "said.batch")
    stage.pile_up("flaky", *numbered("behind", 300), key="a")
    assert len(found) <= 60
    stage.kit.advance(30)
    assert stage.done() == ["flaky", *numbered("behind", 300)]


def test_bytes_that_wait_behind_a_key_count_as_fetched(monkeypatch: pytest.MonkeyPatch) -> None:
    stage = ScriptedStage(lanes=ORDERED, policy=Policy(lane_bytes=1_000_000))
    stage.script.does("flaky", Retry("not yet"), times=1)
    found = count_reads(stage, monkeypatch, "said.batch")
    stage.say("flaky", key="a")
    for number in range(60):
        stage.say(f"{number} " + 50_000 * "x", key="a")
    assert len(found) <= 25
    stage.kit.advance(30)
    assert len(stage.done()) == 61


def test_a_key_is_free_again_when_its_record_was_handed_back() -> None:
    stage = ScriptedStage(lanes=ORDERED, takes=lambda _work: 2.0, partitions=1)
    stage.pile_up("a 1", "a 2", key="a")
    stage.pile_up("b 1", "b 2", key="b")
    stage.kit.advance(0.1)
    # A second worker takes the partition, and gives it back.
    other = stage.kit.add(stage.job)
    group = stage.kit.world.broker.group(f"darkroom.{SERVICE}.batch")
    stage.kit.world.settle()
    first = next(member for member in group.members if member.owned)
    second = next(member for member in group.members if member is not first)
    first.target, second.target = set(), set(first.target)
    group.changes += 1
    stage.kit.advance(2.5)
    assert other.core.partitions()["batch"] == [Partition("said.batch", 0)]
    other.stop()
    stage.kit.advance(60)
    texts = stage.done()
    assert set(texts) == {"a 1", "a 2", "b 1", "b 2"}
    for key in "ab":
        assert texts.index(f"{key} 1") < texts.index(f"{key} 2")
    stage.say("a 3", key="a")
    stage.kit.advance(5)
    assert stage.done()[-1] == "a 3"
    assert stage.unread() == 0


def test_rubbish_in_a_retry_topic_does_not_let_a_key_go_twice() -> None:
    stage = ScriptedStage(lanes=ORDERED, takes=lambda _work: 1.0)
    stage.worker.stop()
    stage.kit.advance(1)
    stage.kit.add(stage.job, slots=two)
    stage.kit.advance(1)
    begin = stage.now
    stage.pile_up("a 1", "a 2", "a 3", key="a")
    stage.kit.advance(0.5)
    stage.kit.world.broker.append(
        RawRecord(f"darkroom.{SERVICE}.retry-5s.bulk", b"a", b"rubbish", [])
    )
    stage.kit.advance(5)
    assert stage.done() == ["a 1", "a 2", "a 3"]
    assert [call.at - begin for call in stage.script.calls] == pytest.approx([0, 1, 2])
    assert len(stage.kit.dead_letters()) == 1


def test_a_lost_partition_frees_its_keys() -> None:
    stage = ScriptedStage(lanes=ORDERED, takes=lambda _work: 1.0)
    stage.script.does("flaky", Retry("not yet"), times=1)
    stage.pile_up("flaky", "second", "third", key="a")
    stage.pile_up(*numbered("other", 5))
    stage.kit.advance(0.5)
    stage.kit.world.broker.expel_all()
    stage.kit.advance(30)
    texts = stage.done()
    assert set(texts) == {"flaky", "second", "third", *numbered("other", 5)}
    stage.say("fourth", key="a")
    stage.kit.advance(3)
    assert stage.done()[-1] == "fourth"
    assert stage.unread() == 0
