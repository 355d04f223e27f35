"""A load counts each outcome once, keeps its bound, and says when something is missing."""

import queue
from collections.abc import Sequence

import pytest
from bench.runtime.load import closed, paced
from bench.runtime.load.closed import Closed
from bench.runtime.load.ledger import LateError, Ledger
from bench.runtime.load.paced import Paced
from bench.runtime.workload import Event, request


class Echo:
    """A system that answers at once; `times` how often, `most` what it had in hand at most."""

    def __init__(self, times: int = 1) -> None:
        self._times = times
        self._answers: queue.SimpleQueue[str] = queue.SimpleQueue()
        self.sent: list[str] = []

    def send(self, request: Event) -> None:
        self.sent.append(request["lane"])
        for _ in range(self._times):
            self._answers.put(request["photo_id"])

    def flush(self) -> None:
        pass

    def arrived(self, timeout_s: float) -> Sequence[str]:
        try:
            return [self._answers.get(timeout=timeout_s)]
        except queue.Empty:
            return ()


class Silent(Echo):
    """A system that loses everything."""

    def arrived(self, timeout_s: float) -> Sequence[str]:
        return ()


def test_every_photo_of_a_closed_loop_is_counted_once() -> None:
    seen = closed.run(Echo(times=2), Closed(photos=50, window=10, warm_up=5, timeout_s=10))
    came = seen["came"]
    assert isinstance(came, list)
    assert len(came) == 50
    assert came == sorted(came)
    assert seen["repeats"] in (54, 55)  # the last one's may not have been seen


def test_a_closed_loop_sends_no_more_than_its_bound_ahead() -> None:
    target = Silent()
    with pytest.raises(LateError, match="measured run"):
        closed.run(target, Closed(photos=50, window=10, warm_up=0, timeout_s=0.05))
    assert len(target.sent) == 10


def test_what_does_not_come_back_is_told() -> None:
    ledger = Ledger(Silent())
    with ledger.following():
        ledger.send(request(1, "batch"))
        with pytest.raises(LateError, match="0 outcomes of 1 came"):
            ledger.wait_for(1, 0.05, "a photo")


def test_trouble_of_the_target_ends_the_wait() -> None:
    class Broken(Echo):
        def arrived(self, timeout_s: float) -> Sequence[str]:
            raise ConnectionError("gone")

    ledger = Ledger(Broken())
    with ledger.following(), pytest.raises(ConnectionError, match="gone"):
        ledger.wait_for(1, 10, "a photo")


def test_urgent_records_are_measured_before_and_beside_the_backlog(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(paced, "_BETWEEN_S", (0.0, 0.0))
    target = Echo()
    seen = paced.run(target, Paced(records=5, backlog=60, timeout_s=10))
    urgent = paced._WARM_UP + 5
    assert target.sent == ["high"] * urgent + ["batch"] * 60 + ["high"] * 5
    for phase in ("idle", "loaded"):
        times = seen[phase]
        assert isinstance(times, dict)
        assert len(times["ms"]) == 5
        assert all(ms >= 0 for ms in times["ms"])
