"""Hours of faults from a seed: what was promised holds, and what breaks it is found out."""

import itertools
from typing import Any

import pytest
import structlog

from streamkit import feeding
from streamkit.items import Item
from streamkit.records import RawRecord
from streamkit.retry import RetryPlan
from streamkit.settle import Settler
from streamkit.testing import simulation
from streamkit.testing.simulation import Faults, Simulation, Verdict
from streamkit.tracker import OffsetTracker
from streamkit.workflow import Failures, Join, Joined, Part

OFTEN = Faults(kill=8.0, freeze=30.0, broker=40.0, acks=30.0, expel=30.0, engine=10.0)


@pytest.fixture(autouse=True)
def quiet() -> Any:
    """No log lines: there are thousands."""
    before = structlog.get_config()
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(50))
    yield
    structlog.configure(**before)


def log_of(run: Simulation) -> dict[str, list[tuple[object, ...]]]:
    """All that was published in a run."""
    broker = run.world.broker
    topics = [*simulation.SERVICES, *simulation.LANES.values(), "outcome"]
    return {topic: [tuple(record) for record in broker.records(topic)] for topic in topics}


@pytest.mark.parametrize("seed", range(3))
def test_nothing_is_lost_and_nothing_committed_too_early(seed: int) -> None:
    verdict = Simulation(seed, hours=0.1).run()
    assert verdict.broken == []
    assert verdict.outcomes == verdict.records > 200
    assert verdict.faults.total() > 15
    assert verdict.duplicates < verdict.records, "few records are worked on twice"


def test_the_same_seed_gives_the_same_run(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(simulation, "HEALING_S", 0.0)
    runs = [Simulation(seed, hours=0.03, faults=OFTEN) for seed in (7, 7, 8)]
    verdicts = [run.run() for run in runs]
    assert verdicts[0] == verdicts[1]
    assert log_of(runs[0]) == log_of(runs[1])
    assert log_of(runs[0]) != log_of(runs[2])


def test_without_faults_nothing_is_done_twice() -> None:
    verdict = Simulation(1, hours=0.02, faults=Faults(0, 0, 0, 0, 0, 0)).run()
    assert verdict.broken == []
    assert verdict.faults.total() == 0
    assert verdict.duplicates == 0


# -- what is broken is found out ------------------------------------------------------------------


def broken(monkeypatch: pytest.MonkeyPatch, hours: float = 0.03, seed: int = 4) -> list[str]:
    """What a short run with many faults finds, not waiting for all to heal."""
    monkeypatch.setattr(simulation, "HEALING_S", 0.0)
    return Simulation(seed, hours=hours, faults=OFTEN, records_per_s=5.0).run().broken


class HighestFinished(OffsetTracker):
    """Commits the highest offset that is finished, instead of the lowest that is not."""

    def __init__(self, *args: Any) -> None:
        super().__init__(*args)
        self._finished = -1

    def complete(self, offset: int) -> None:
        """See OffsetTracker."""
        if not self.closed:
            self._finished = max(self._finished, offset)
        super().complete(offset)

    def position(self) -> int | None:
        """See OffsetTracker."""
        return None if self.closed or self._finished < 0 else self._finished + 1


class HighestSeen(OffsetTracker):
    """Commits the highest offset that was taken."""

    def position(self) -> int | None:
        """See OffsetTracker."""
        return None if super().position() is None else self._highest + 1


@pytest.mark.parametrize("tracker", [HighestFinished, HighestSeen])
def test_a_tracker_that_commits_too_much_is_found_out(
    monkeypatch: pytest.MonkeyPatch, tracker: type[OffsetTracker]
) -> None:
    monkeypatch.setattr(feeding, "OffsetTracker", tracker)
    assert any("unfinished" in what for what in broken(monkeypatch))


def test_a_record_that_is_acknowledged_when_its_events_are_sent_is_found_out(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    send = Settler._send

    def hasty(self: Settler, item: Item, records: tuple[RawRecord, ...]) -> None:
        send(self, item, records)
        self.finish(item, item.outcome, self._clock.monotonic())

    monkeypatch.setattr(Settler, "_send", hasty)
    assert any("unfinished" in what for what in broken(monkeypatch))


def test_a_worker_that_forgets_retries_is_found_out(monkeypatch: pytest.MonkeyPatch) -> None:
    def forget(self: Settler, item: Item, code: str, message: str) -> None:
        self.finish(item, "retry", self._clock.monotonic())

    monkeypatch.setattr(Settler, "again", forget)
    found = broken(monkeypatch)
    assert any("unfinished" in what for what in found)
    assert any("was lost" in what for what in found)


def test_records_that_nobody_reads_are_found_out(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(RetryPlan, "topics", lambda _plan: ())
    assert any("was lost" in what for what in broken(monkeypatch))


def test_a_join_that_says_one_thing_in_two_ways_is_found_out(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    numbers = itertools.count()

    def decide(_joined: Joined) -> dict[str, Any]:
        return {"number": next(numbers)}

    join = Join(
        name="meeting",
        parts=tuple(Part(name, name) for name in simulation.SERVICES),
        failures=(Failures("failed", lambda value: str(value["stage"])),),
        into="outcome",
        decide=decide,
    )
    monkeypatch.setattr(simulation, "JOIN", join)
    assert any("in two ways" in what for what in broken(monkeypatch))


def test_a_verdict_counts_what_was_said_more_than_once() -> None:
    assert Verdict(seed=0, records=10, events=23, dead_letters=1).duplicates == 4
