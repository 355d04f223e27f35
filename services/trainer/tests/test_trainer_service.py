"""What a trainer is made of beside its handler: settings, cancellations, progress, counts."""

import subprocess
import sys
from collections.abc import Sequence
from threading import Event

import pytest
from prometheus_client import REGISTRY

from streamkit import Emit, PublishError, Reject
from trainer.cancelling import Cancellations
from trainer.counting import Counting, Counts
from trainer.progress import Progress, Teller
from trainer.settings import Settings


def test_help_lists_the_settings() -> None:
    done = subprocess.run(
        [sys.executable, "-m", "trainer", "--help"],
        capture_output=True,
        text=True,
        check=True,
        timeout=60,
    )
    for name in ("--training-time-limit-s", "--training-lock-s", "--objects", "--redis"):
        assert name in done.stdout


def test_the_worker_waits_for_longer_than_a_training_may_take() -> None:
    told = Settings(training_time_limit_s=7200).of_worker()
    assert told.soft_deadline_s > 7200
    assert told.policy.hard_deadline_s > told.soft_deadline_s


def test_a_lock_ends_before_the_soft_deadline_of_who_waits_for_it() -> None:
    with pytest.raises(ValueError, match="training_lock_s"):
        Settings(training_lock_s=60)


# -- cancellations ------------------------------------------------------------------------------


def decode(_topic: str, data: bytes) -> dict[str, str]:
    if data == b"junk":
        raise Reject("bad", "junk")
    request_id, _, by = data.decode().partition(" ")
    return {"request_id": request_id, "by": by}


def test_cancellations_are_remembered_and_bounded() -> None:
    cancellations = Cancellations(decode, most=2)
    for value in (b"a ada", None, b"junk", b"b bob", b"a eve"):
        cancellations.tell(b"key", value)
    assert [cancellations.by(one) for one in "abc"] == ["ada", "bob", None]
    cancellations.tell(b"key", b"c cem")
    assert [cancellations.by(one) for one in "abc"] == [None, "bob", "cem"]


# -- progress -----------------------------------------------------------------------------------


class Publisher:
    def __init__(self) -> None:
        self.said: list[tuple[str, float]] = []
        self.some = Event()
        self.away = False
        self.closed = False

    def publish(self, emits: Sequence[Emit]) -> None:
        if self.away:
            raise PublishError("away")
        self.said += [(emit.value["step"], emit.value["done"]) for emit in emits]
        self.some.set()

    def close(self) -> None:
        self.closed = True


def progress(step: str, done: float) -> Progress:
    return Progress("request", "owner", "model", 4, "worker", step, done)


def test_a_new_step_is_told_at_once_and_more_of_it_in_its_time() -> None:
    publisher = Publisher()
    teller = Teller(publisher, lambda: None, every_s=3600)
    teller.say(progress("reading", 0))
    assert publisher.some.wait(10)
    for share in (0.1, 0.2, 0.3):
        teller.say(progress("reading", share))
    assert publisher.said == [("reading", 0)]
    publisher.some.clear()
    teller.say(progress("fitting", 0.4))
    assert publisher.some.wait(10)
    teller.say(progress("fitting", 1.0))
    teller.flush()
    assert publisher.said == [("reading", 0), ("fitting", 0.4), ("fitting", 1.0)]
    teller.close()
    assert publisher.closed


def test_what_can_t_be_told_is_counted_and_stops_nothing() -> None:
    publisher, lost = Publisher(), list[int]()
    publisher.away = True
    teller = Teller(publisher, lambda: lost.append(1), every_s=0.001)
    teller.say(progress("reading", 0))
    teller.flush()
    assert lost == [1]
    publisher.away = False
    teller.say(progress("reading", 0.5))
    teller.flush()
    assert publisher.said == [("reading", 0.5)]
    teller.close()


# -- counts -------------------------------------------------------------------------------------


def value(name: str, **labels: str) -> float:
    return REGISTRY.get_sample_value(name, labels) or 0.0


def test_what_engines_count_is_what_the_worker_serves() -> None:
    before = value("darkroom_training_ended_total", end="trained", publish="yes")
    seconds = value("darkroom_training_seconds_sum")
    with Counting() as counting:
        counts = Counts(counting.path)
        counts.ended("trained", True, 2.5)
        counts.fold("kept")
        counts.lock("lost")
        counts.progress_lost()
        counts.close()
    assert value("darkroom_training_ended_total", end="trained", publish="yes") == before + 1
    assert value("darkroom_training_seconds_sum") == seconds + 2.5
    assert value("darkroom_training_folds_total", how="kept") >= 1
    assert value("darkroom_training_locks_total", what="lost") >= 1
    assert value("darkroom_training_progress_lost_total") >= 1


def test_nobody_waits_for_who_counts() -> None:
    with Counting() as counting:
        pass
    for path in ("", counting.path):
        counts = Counts(path)
        counts.fold("kept")
        counts.close()
