"""How many photos of an import are under way, against a pipeline on a clock of the test's own."""

from collections import deque
from uuid import UUID

import pytest

from gateway.api.windows import Windows
from gateway.pacing import LEAST, Pacer

LOOK_S = 0.05
WAIT_S = 10.0


class Pipeline:
    """Ends photos in their order: `rate` a second, none before `latency_s`."""

    def __init__(self, rate: float, latency_s: float) -> None:
        self.rate, self.latency_s = rate, latency_s
        self.now = 0.0
        self.waits: list[float] = []
        self._inside: deque[float] = deque()
        self._spare = 0.0

    @property
    def in_flight(self) -> int:
        return len(self._inside)

    def submit(self, photos: int) -> None:
        self._inside.extend([self.now] * photos)

    def go_on(self) -> int:
        """Time passes; how many photos ended."""
        self.now += LOOK_S
        self._spare = min(self._spare + self.rate * LOOK_S, max(1.0, self.rate * LOOK_S))
        ended = 0
        while self._inside and self._spare >= 1 and self.now - self._inside[0] >= self.latency_s:
            self.waits.append(self.now - self._inside.popleft())
            self._spare -= 1
            ended += 1
        return ended


def imported(pipeline: Pipeline, pacer: Pacer, seconds: float) -> None:
    """An import with files enough keeps the window full."""
    until = pipeline.now + seconds
    while pipeline.now < until:
        pipeline.submit(max(0, pacer.window - pipeline.in_flight))
        pacer.saw(pipeline.now, 0, pipeline.in_flight)
        pacer.saw(pipeline.now, pipeline.go_on(), pipeline.in_flight)


def pacer(most: int = 100) -> Pacer:
    return Pacer(most, WAIT_S, 0.0)


def test_an_import_begins_with_few_photos() -> None:
    assert pacer().window == LEAST
    assert pacer(most=3).window == 3


def test_a_quick_pipeline_is_filled_within_seconds() -> None:
    paced, pipeline = pacer(), Pipeline(rate=60, latency_s=0.3)
    imported(pipeline, paced, 3)

    assert paced.window == 100
    assert len(pipeline.waits) > 100


@pytest.mark.parametrize("rate", [2.0, 5.0])
def test_no_photo_waits_much_longer_than_it_should(rate: float) -> None:
    paced, pipeline = pacer(), Pipeline(rate, latency_s=0.3)
    imported(pipeline, paced, 60)

    assert max(pipeline.waits) < 1.5 * WAIT_S
    assert paced.window == pytest.approx(rate * WAIT_S, rel=0.25)
    assert paced.rate == pytest.approx(rate, rel=0.2)


def test_a_pipeline_that_becomes_slow_gets_less_and_one_that_recovers_gets_more() -> None:
    paced, pipeline = pacer(), Pipeline(rate=30, latency_s=0.3)
    imported(pipeline, paced, 20)
    assert paced.window == 100

    pipeline.rate = 1.0
    imported(pipeline, paced, 120)
    assert paced.window <= 15
    assert pipeline.waits[-1] < 1.5 * WAIT_S

    pipeline.rate = 30
    imported(pipeline, paced, 30)
    assert paced.window == 100


def test_a_pipeline_that_stands_still_keeps_the_least() -> None:
    paced, pipeline = pacer(), Pipeline(rate=30, latency_s=0.3)
    imported(pipeline, paced, 20)
    pipeline.rate = 0
    imported(pipeline, paced, 120)

    assert paced.window == LEAST


def test_time_without_photos_says_nothing() -> None:
    paced, pipeline = pacer(), Pipeline(rate=30, latency_s=0.3)
    imported(pipeline, paced, 20)
    while pipeline.in_flight:
        paced.saw(pipeline.now, pipeline.go_on(), pipeline.in_flight)
    before = paced.window

    paced.saw(pipeline.now + 3600, 0, 0)
    assert paced.window == before


def test_a_clock_that_stands_still_is_no_trouble() -> None:
    paced = pacer()
    for _ in range(3):
        paced.saw(0.0, 5, 8)
    assert LEAST <= paced.window <= 100


def test_uploads_have_windows_of_their_own_that_grow_with_what_ends() -> None:
    now = 0.0
    windows = Windows(100, WAIT_S, lambda: now)
    quick, slow = UUID(int=1), UUID(int=2)
    for second in range(20):
        now = float(second)
        at_last = [windows.see(quick, 8, second * 20), windows.see(slow, 8, second // 2)]

    assert at_last == [100, LEAST]
    assert windows.see(quick, 8, 0) > LEAST  # totals that come late take nothing back


def test_not_all_windows_are_remembered() -> None:
    windows = Windows(100, WAIT_S, lambda: 0.0)
    first = UUID(int=1)
    windows.see(first, 50, 0)
    assert windows.see(first, 50, 1000) == 100
    for number in range(2, 200):
        windows.see(UUID(int=number), 0, 0)
    assert windows.see(first, 50, 2000) == LEAST


def test_many_uploads_share_what_may_be_under_way() -> None:
    windows = Windows(100, WAIT_S, lambda: 0.0)
    for number in range(20):
        windows.see(UUID(int=number), 0, 0)
    assert windows.see(UUID(int=0), 0, 10_000) == 4 * 100 // 20


def test_the_next_end_is_expected_after_what_lies_between_two() -> None:
    pacer = Pacer(100, WAIT_S, 0.0, 50)
    for second in range(1, 100):
        pacer.saw(float(second), 4, 50)
    assert pacer.next_end_s == pytest.approx(0.25, rel=0.01)
    for second in range(100, 10_000):
        pacer.saw(float(second), 0, 50)
    assert pacer.next_end_s > 1e6
