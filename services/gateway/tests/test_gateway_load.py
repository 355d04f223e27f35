"""How much waits, how fast it goes, and when a lane is closed: on a clock of the test's own."""

import pytest

from gateway.load import (
    LOOK_RETRY_S,
    MOST_RETRY_S,
    STUCK_RETRY_S,
    Fresh,
    Intake,
    LaneLoad,
    Lanes,
    Limits,
    Progress,
    StageLoad,
    Watched,
    filled,
)

STAGES = ("intake", "detector", "ocr", "embedder")
LIMITS = Limits(500, 1_000)


def found(**records: int) -> dict[str, Progress]:
    return {name: Progress(records.get(name, 0), 100, 1) for name in STAGES}


def lanes() -> Lanes:
    return Lanes(STAGES, LIMITS)


def test_a_load_is_the_outbox_and_intake_and_the_most_loaded_stage() -> None:
    load = lanes().saw(0.0, "batch", 7, found(intake=20, detector=300, ocr=100, embedder=5))
    assert (load.records, load.most.name, load.state) == (327, "detector", Intake.OPEN)
    assert load.cause is None
    assert load.retry_after_s == 0


@pytest.mark.parametrize(
    ("before", "records", "after"),
    [
        (Intake.OPEN, 499, Intake.OPEN),
        (Intake.OPEN, 500, Intake.WARNED),
        (Intake.WARNED, 999, Intake.WARNED),
        (Intake.OPEN, 1_000, Intake.CLOSED),
        (Intake.CLOSED, 999, Intake.CLOSED),
        (Intake.CLOSED, 500, Intake.CLOSED),
        (Intake.CLOSED, 499, Intake.OPEN),
        (Intake.WARNED, 499, Intake.OPEN),
    ],
)
def test_a_closed_lane_opens_only_below_where_it_is_warned_of(
    before: Intake, records: int, after: Intake
) -> None:
    assert LIMITS.after(before, records) is after


def test_a_watcher_that_takes_over_knows_that_a_lane_was_closed() -> None:
    watch = lanes()
    watch.restore({"high": Intake.CLOSED})
    assert watch.saw(0.0, "high", 0, found(ocr=700)).state is Intake.CLOSED
    assert watch.saw(0.0, "batch", 0, found(ocr=700)).state is Intake.WARNED


def drained(watch: Lanes, per_s: float, seconds: int, start: int = 1_200) -> LaneLoad:
    """A detector that has `start` records, does nothing for 30 s, and then `per_s` a second."""
    for second in range(30):
        load = watch.saw(float(second), "default", 0, detector(start, 0))
    for second in range(1, seconds + 1):
        done = round(per_s * second)
        load = watch.saw(29.0 + second, "default", 0, detector(start - done, done))
    return load


def detector(records: int, done: int, workers: int | None = 1) -> dict[str, Progress]:
    return {**found(), "detector": Progress(records, done, workers)}


@pytest.mark.parametrize("seconds", [1, 2, 5, 30])
def test_when_to_come_back_follows_from_the_rate_since_it_goes_on(seconds: int) -> None:
    load = drained(lanes(), 10.0, seconds)
    left = (1_200 - 10 * seconds - 499) / 10
    assert load.most.per_s == pytest.approx(10.0)
    assert load.retry_after_s == pytest.approx(left, abs=1)


def test_the_rate_is_that_of_the_last_seconds() -> None:
    watched = Watched()
    done = 0
    for second in range(100):
        done += 50 if second < 50 else 2
        watched.saw(float(second), Progress(1_000, done))
    assert watched.per_s() == pytest.approx(2.0)


def test_of_a_slow_stage_more_seconds_count_until_it_stands_still() -> None:
    watched = Watched()
    now, done = 0.0, 0
    for _ in range(60):  # a record in 8 seconds
        now += 2.0
        done += now % 8 == 0
        watched.saw(now, Progress(1_000, done))
    assert watched.per_s() == pytest.approx(1 / 8, rel=0.1)
    for _ in range(15):
        now += 2.0
        watched.saw(now, Progress(1_000, done))
    assert watched.per_s() > 0, "four records take longer than that"
    for _ in range(10):
        now += 2.0
        watched.saw(now, Progress(1_000, done))
    assert watched.per_s() == 0


def test_the_look_in_which_it_goes_on_counts_for_one_look_only() -> None:
    watched = Watched()
    rates = []
    for second, done in enumerate((0, 0, 0, 3, 43, 83, 123)):
        watched.saw(2.0 * second, Progress(1_000, done))
        rates.append(watched.per_s())
    assert rates == [0, 0, 0, 1.5, 20, 20, 20]


def test_offsets_that_go_back_begin_a_new_rate() -> None:
    watched = Watched()
    for second, done in enumerate((0, 100, 200, 50, 60, 70)):
        watched.saw(float(second), Progress(10, done))
    assert watched.per_s() == pytest.approx(10.0)


def test_a_very_slow_lane_has_an_end_to_the_waiting() -> None:
    watch = lanes()
    for second in range(10):
        load = watch.saw(1000.0 * second, "default", 0, detector(90_000, second))
    assert load.retry_after_s == MOST_RETRY_S


@pytest.mark.parametrize(
    ("workers", "words"),
    [
        (0, "detector is not running: 1,200 photos of lane default wait."),
        (2, "1,200 of them for detector, which finishes none"),
        (None, "1,200 of them for detector, which finishes none"),
    ],
)
def test_where_nothing_is_done_the_cause_is_named_and_a_minute_is_said(
    workers: int | None, words: str
) -> None:
    watch = lanes()
    for second in range(5):
        load = watch.saw(float(second), "default", 0, detector(1_200, 0, workers))
    assert load.retry_after_s == STUCK_RETRY_S
    assert words in (load.cause or "")


def test_a_lane_that_fills_up_waits_for_the_stage_that_does_not_run() -> None:
    """Also while most lies before another one, which is fast."""
    intake = StageLoad("intake", 528, 40.9, 3.0, 1)
    stopped = StageLoad("detector", 400, 0.0, 9.0, 0)
    load = filled("default", 1_002, Fresh(474, 2.0), 0, [intake, stopped], LIMITS)
    assert (load.state, load.retry_after_s) == (Intake.CLOSED, STUCK_RETRY_S)
    assert load.cause == "detector is not running: 1,002 photos of lane default wait."
    running = StageLoad("detector", 400, 20.0, 9.0, 1)
    load = filled("default", 1_002, Fresh(474, 2.0), 0, [intake, running], LIMITS)
    assert (load.retry_after_s, load.cause) == (
        13,
        "1,002 photos of lane default wait, 528 of them for intake, which does 40.9 a second.",
    )


@pytest.mark.parametrize(
    ("detector", "retry_after_s"),
    [
        (StageLoad("detector", 0, 0.0, 0.0, None), LOOK_RETRY_S),
        (StageLoad("detector", 30, 0.0, 0.0, 1), LOOK_RETRY_S),
        (StageLoad("detector", 30, 0.1, 0.0, 1), LOOK_RETRY_S),
        (StageLoad("detector", 30, 20.0, 2.0, 1), 26),
    ],
)
def test_what_came_in_since_the_last_look_is_no_stages_fault(
    detector: StageLoad, retry_after_s: int
) -> None:
    """The rate of a stage that keeps up is only that of what comes in."""
    intake = StageLoad("intake", 34, 0.0, 0.0, 1)
    load = filled("default", 1_000, Fresh(966, 1.2), 0, [intake, detector], LIMITS)
    assert load.cause == "1,000 photos of lane default wait; 966 came in within the last 2 s."
    assert (load.state, load.records) == (Intake.CLOSED, 1_000)
    assert load.retry_after_s == retry_after_s


@pytest.mark.parametrize(
    ("detector", "cause"),
    [
        (
            StageLoad("detector", 4, 0.0, 0.0, 0),
            "detector is not running: 1,000 photos of lane default wait.",
        ),
        (
            StageLoad("detector", 34, 0.0, 2.0, 1),
            "1,000 photos of lane default wait, 34 of them for detector, which finishes none: it"
            " may be paused, load a model, or lack what it needs.",
        ),
    ],
)
def test_a_stage_that_stood_still_before_is_to_blame_for_what_came_in_since(
    detector: StageLoad, cause: str
) -> None:
    intake = StageLoad("intake", 0, 40.0, 0.0, None)
    load = filled("default", 1_000, Fresh(966, 2.0), 0, [intake, detector], LIMITS)
    assert (load.cause, load.retry_after_s) == (cause, STUCK_RETRY_S)


def test_what_waits_for_the_broker_is_said_to() -> None:
    load = lanes().saw(0.0, "default", 2_000, found(detector=1))
    assert "2,000 of them for Kafka" in (load.cause or "")


def test_the_oldest_waits_since_its_place_was_first_seen() -> None:
    watched = Watched()
    history = [(0.0, 5, 0), (10.0, 10, 0), (20.0, 8, 7), (30.0, 5, 10), (40.0, 0, 15)]
    ages = []
    for now, records, done in history:
        watched.saw(now, Progress(records, done))
        ages.append(watched.oldest_s(now, Progress(records, done)))
    assert ages == [0.0, 10.0, 10.0, 10.0, 0.0]


def test_what_is_remembered_is_bounded() -> None:
    watched = Watched()
    for second in range(20_000):
        watched.saw(float(second), Progress(second, 0))
    assert len(watched._published) <= 1_000
    assert watched.oldest_s(20_000.0, Progress(20_000, 0)) >= 19_990
