"""What somebody sets while a worker runs: pauses, rates, concurrency."""

from collections import Counter
from collections.abc import Sequence

import pytest
from prometheus_client import REGISTRY

from scripted_stage import SERVICE, ScriptedStage
from streamkit.core import Core
from streamkit.dispatch import Slot
from streamkit.engine.direct import DirectEngine
from streamkit.engine.work import Work
from streamkit.errors import Reject, Retry
from streamkit.events import Woken
from streamkit.job import Batching
from streamkit.memory.producer import MemoryProducer
from streamkit.metrics import Meter
from streamkit.outside import Outside
from streamkit.policy import Policy
from streamkit.rate import Rate
from streamkit.testing.clock import EPOCH


def numbered(word: str, count: int) -> list[str]:
    """So many texts that begin with a word."""
    return [f"{word} {number}" for number in range(count)]


@pytest.fixture
def stage() -> ScriptedStage:
    """A service whose worker has started."""
    stage = ScriptedStage()
    stage.kit.advance(1)
    return stage


# -- pauses ---------------------------------------------------------------------------------------


def test_a_paused_lane_does_no_work_until_it_is_resumed(stage: ScriptedStage) -> None:
    stage.control(f"{SERVICE}/batch", paused=True, owner="ann", reason="disk full")
    stage.say("said")
    stage.say("urgent", lane="high")
    stage.kit.advance(100)
    assert stage.done() == ["urgent"]
    stage.control(f"{SERVICE}/batch", paused=False)
    assert stage.done() == ["urgent", "said"]
    stage.kit.advance(1)
    assert stage.unread() == 0


def test_a_paused_service_pauses_all_its_lanes(stage: ScriptedStage) -> None:
    stage.control(paused=True)
    stage.say("said")
    stage.say("urgent", lane="high")
    stage.kit.advance(10)
    assert stage.done() == []
    stage.control()
    assert sorted(stage.done()) == ["said", "urgent"]


def test_a_pause_ends_by_itself(stage: ScriptedStage) -> None:
    stage.control(paused=True, paused_until=EPOCH + 31)
    stage.say("said")
    stage.kit.advance(29)
    assert stage.done() == []
    stage.kit.advance(2)
    assert stage.done() == ["said"]
    assert 31 <= stage.times("said")[0] <= 32


def test_what_is_taken_back_holds_no_more(stage: ScriptedStage) -> None:
    stage.control(f"{SERVICE}/batch", paused=True, rate="1/h", concurrency=1)
    stage.say(*numbered("said", 10))
    stage.kit.advance(10)
    stage.control(f"{SERVICE}/batch")
    assert len(stage.done()) == 10


def test_a_pause_shows(stage: ScriptedStage) -> None:
    def paused(lane: str) -> float | None:
        return REGISTRY.get_sample_value("darkroom_paused", {"stage": SERVICE, "lane": lane})

    stage.control(f"{SERVICE}/batch", paused=True)
    assert (paused("batch"), paused("high")) == (1, 0)
    stage.control(f"{SERVICE}/batch")
    assert paused("batch") == 0


def test_a_long_pause_keeps_the_partitions(stage: ScriptedStage) -> None:
    stage.control(paused=True)
    stage.pile_up(*numbered("said", 3000))
    stage.kit.advance(120)
    assert len(stage.worker.core.partitions()["batch"]) == 4
    stage.control()
    stage.kit.advance(10)
    assert len(stage.done()) == 3000
    assert len(stage.script.calls) == 3000


def test_retries_that_fall_due_in_a_pause_wait_for_its_end(stage: ScriptedStage) -> None:
    stage.script.does("flaky", Retry("not yet"), times=1)
    stage.say("flaky")
    stage.control(paused=True)
    stage.kit.advance(60)
    assert stage.attempts("flaky") == [1]
    stage.control()
    assert stage.attempts("flaky") == [1, 2]


def test_a_paused_lane_can_be_stopped(stage: ScriptedStage) -> None:
    stage.control(paused=True)
    stage.say("said")
    stage.worker.stop()
    stage.kit.world.settle()
    assert stage.worker.over
    stage.kit.add(stage.job)
    stage.kit.advance(1)
    assert stage.done() == ["said"], "the pause was what the other worker knew of"


def test_what_is_set_for_others_changes_nothing(stage: ScriptedStage) -> None:
    stage.control("another", paused=True)
    stage.control(f"{SERVICE}/nothing", paused=True)
    stage.say("said")
    assert stage.done() == ["said"]


# -- concurrency ----------------------------------------------------------------------------------


def test_a_lanes_concurrency_can_be_lowered(monkeypatch: pytest.MonkeyPatch) -> None:
    stage = ScriptedStage(takes=lambda _work: 0.001)
    stage.say(*numbered("before", 20))
    stage.kit.advance(1)
    stage.control(f"{SERVICE}/batch", concurrency=1)
    chunks: list[int] = []
    bulk = next(one for one in stage.kit.engines if one.name == "bulk")

    def submit(works: Sequence[Work]) -> None:
        chunks.append(len(works))
        DirectEngine.submit(bulk, works)

    monkeypatch.setattr(bulk, "submit", submit)
    stage.pile_up(*numbered("said", 50))
    stage.kit.advance(1)
    assert set(chunks) == {1}
    assert len(stage.done()) == 70


# -- rates ----------------------------------------------------------------------------------------


def test_a_rate_is_kept(stage: ScriptedStage) -> None:
    stage.control(f"{SERVICE}/batch", rate="10/s")
    begin = stage.now
    stage.pile_up(*numbered("said", 100))
    stage.kit.advance(6)
    assert 60 <= len(stage.done()) <= 71
    stage.kit.advance(4)
    assert len(stage.done()) == 100
    assert stage.script.calls[-1].at - begin == pytest.approx(9, abs=0.3)


def test_lanes_of_a_rated_service_share_its_rate(stage: ScriptedStage) -> None:
    stage.control(rate="60/m")
    stage.pile_up(*numbered("said", 100))
    stage.pile_up(*numbered("urgent", 100), lane="high")
    stage.kit.advance(30)
    assert 30 <= len(stage.done()) <= 32


def test_a_lane_may_have_a_rate_of_its_own(stage: ScriptedStage) -> None:
    stage.control(rate="1/s")
    stage.control(f"{SERVICE}/high", rate="10/s")
    stage.pile_up(*numbered("said", 100))
    stage.pile_up(*numbered("urgent", 100), lane="high")
    stage.kit.advance(5)
    words = Counter(text.split()[0] for text in stage.done())
    assert 5 <= words["said"] <= 7
    assert 50 <= words["urgent"] <= 61


def test_a_rate_can_be_changed_and_taken_back(stage: ScriptedStage) -> None:
    stage.control(rate="1/s")
    stage.pile_up(*numbered("said", 1000))
    stage.kit.advance(10)
    assert len(stage.done()) <= 12
    stage.control(rate="20/s")
    stage.kit.advance(10)
    assert 190 <= len(stage.done()) <= 235
    stage.control()
    stage.kit.advance(1)
    assert len(stage.done()) == 1000


def test_a_rate_by_setting_holds_unless_somebody_sets_another() -> None:
    stage = ScriptedStage(policy=Policy(stage_rate="1/s"))
    stage.pile_up(*numbered("said", 100))
    stage.kit.advance(5)
    assert 5 <= len(stage.done()) <= 7
    stage.control(rate="100/s")
    stage.kit.advance(2)
    assert len(stage.done()) == 100


def test_a_record_that_is_given_up_is_not_rated(stage: ScriptedStage) -> None:
    stage.control(rate="1/s")
    stage.script.does("bad", Reject("too_dark", "There is nothing to see."))
    stage.pile_up(*numbered("bad", 5))
    stage.kit.advance(5)
    assert len(stage.kit.dead_letters()) == 5


def test_micro_batches_keep_a_rate() -> None:
    stage = ScriptedStage(batching=Batching(largest=8))
    stage.control(rate="10/s")
    stage.pile_up(*numbered("said", 100))
    stage.kit.advance(5)
    assert 50 <= len(stage.done()) <= 61


class SlowBucket:
    """A bucket whose tokens come from elsewhere, and never say when."""

    def __init__(self, rate: str) -> None:
        self.rate = rate
        self.tokens = 0
        self.closed = False

    def take(self, most: int) -> int:
        """See Bucket."""
        taken, self.tokens = min(most, self.tokens), max(0, self.tokens - most)
        return taken

    def next_at(self) -> float:
        """See Bucket."""
        return float("inf")

    def change(self, rate: Rate) -> None:
        """See Bucket."""
        self.rate = str(rate.per_s)

    def close(self) -> None:
        """See Bucket."""
        self.closed = True


def test_a_shared_bucket_wakes_the_worker_when_tokens_have_come(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    buckets: dict[str, SlowBucket] = {}

    def bucket(_outside: Outside, target: str, rate: str) -> SlowBucket:
        return buckets.setdefault(target, SlowBucket(rate))

    monkeypatch.setattr(Outside, "bucket", bucket)
    stage = ScriptedStage()
    stage.control(rate="5/s")
    stage.pile_up(*numbered("said", 10))
    stage.kit.world.settle()
    assert stage.done() == []
    buckets[SERVICE].tokens = 4
    stage.worker.post(Woken())
    stage.kit.world.settle()
    assert len(stage.done()) == 4
    stage.control()
    assert buckets[SERVICE].closed
    assert len(stage.done()) == 10


def test_buckets_are_closed_with_the_worker() -> None:
    made: list[SlowBucket] = []

    def bucket(_target: str, rate: str) -> SlowBucket:
        made.append(SlowBucket(rate))
        return made[-1]

    stage = ScriptedStage()
    world = stage.kit.world
    producer = MemoryProducer(world.broker)
    outside = Outside(world.clock, producer, Meter(SERVICE), bucket_of=bucket)
    slot = Slot(stage.kit.engines[0], frozenset({"high", "batch"}))
    idle = Slot(stage.kit.engines[1], frozenset({"high"}), lazy=True)
    core = Core(stage.job, Policy(stage_rate="5/s"), [slot, idle], outside)
    core.start(tuple)
    core.turn()
    core.close()
    assert [one.closed for one in made] == [True]
