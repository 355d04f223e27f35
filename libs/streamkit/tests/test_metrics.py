"""The metrics: what a Meter counts, and the histogram that counts in bulk."""

import random
import threading
from collections.abc import Callable

import prometheus_client
import pytest
from hypothesis import given
from hypothesis import strategies as st
from prometheus_client import REGISTRY, CollectorRegistry, generate_latest

from streamkit import metrics
from streamkit.histogram import Histogram
from streamkit.metrics import OTHER, Bounded, Meter

BOUNDS = (0.1, 0.5, 1, 5)


def exposed(text: bytes) -> list[str]:
    """What a scrape says, but for when the series began."""
    return [line for line in text.decode().splitlines() if "_created" not in line]


@given(st.lists(st.lists(st.sampled_from((*BOUNDS, 0.0, 0.3, 0.75, 7.0, 1e9)))))
def test_many_observations_at_once_are_counted_as_prometheus_counts_each(
    batches: list[list[float]],
) -> None:
    ours, theirs = CollectorRegistry(), CollectorRegistry()
    bulk = Histogram("x_seconds", "X.", ["lane"], buckets=BOUNDS, registry=ours)
    plain = prometheus_client.Histogram(
        "x_seconds", "X.", ["lane"], buckets=BOUNDS, registry=theirs
    )
    bulk.labels("high").observe(2.0)
    plain.labels("high").observe(2.0)
    for batch in batches:
        bulk.labels("high").observe_all(batch)
        for value in batch:
            plain.labels("high").observe(value)
    one, other = exposed(generate_latest(ours)), exposed(generate_latest(theirs))
    assert one[:-1] == other[:-1]
    assert float(one[-1].split()[-1]) == pytest.approx(float(other[-1].split()[-1]))


def test_no_observation_is_lost_between_threads() -> None:
    registry = CollectorRegistry()
    series = Histogram("y_seconds", "Y.", ["lane"], buckets=BOUNDS, registry=registry).labels("a")
    values = [random.expovariate(1) for _ in range(100)]

    def observe() -> None:
        for _ in range(200):
            series.observe_all(values)

    threads = [threading.Thread(target=observe) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    counts, total = series.snapshot()
    assert counts[-1] == 4 * 200 * 100
    assert total == pytest.approx(800 * sum(values))


def test_a_histogram_knows_how_many_labels_it_has() -> None:
    histogram = Histogram(
        "z_seconds", "Z.", ["stage", "lane"], buckets=BOUNDS, registry=CollectorRegistry()
    )
    with pytest.raises(ValueError, match="stage, lane"):
        histogram.labels("only one")


def test_a_histogram_keeps_its_name_for_itself() -> None:
    registry = CollectorRegistry()
    Histogram("w_seconds", "W.", ["lane"], buckets=BOUNDS, registry=registry)
    with pytest.raises(ValueError, match="Duplicated"):
        Histogram("w_seconds", "W.", ["lane"], buckets=BOUNDS, registry=registry)


def value(name: str, **labels: str) -> float | None:
    return REGISTRY.get_sample_value(f"darkroom_{name}", labels)


def test_finished_records_are_counted_with_their_times() -> None:
    meter = Meter("m-finished")
    meter.finished("high", "done", [0.002, 0.2], [1.0, 400.0])
    meter.finished("high", "dead_letter", [3.0], [4.0])
    here = {"stage": "m-finished", "lane": "high"}
    assert value("messages_processed_total", outcome="done", **here) == 2
    assert value("messages_processed_total", outcome="dead_letter", **here) == 1
    assert value("processing_duration_seconds_bucket", le="0.25", **here) == 2
    assert value("processing_duration_seconds_sum", **here) == pytest.approx(3.202)
    assert value("end_to_end_duration_seconds_bucket", le="300.0", **here) == 2
    assert value("end_to_end_duration_seconds_count", **here) == 3


def test_a_record_from_the_future_is_of_no_age() -> None:
    Meter("m-future").finished("high", "done", [0.1, 0.1], [-5.0, 2.0])
    assert value("end_to_end_duration_seconds_sum", stage="m-future", lane="high") == 2


def test_the_series_of_a_lane_are_there_before_its_first_record() -> None:
    Meter("m-start", ["high", "batch"])
    for lane in ("high", "batch"):
        here = {"stage": "m-start", "lane": lane}
        for outcome in ("done", "retry", "dead_letter"):
            assert value("messages_processed_total", outcome=outcome, **here) == 0
        assert value("processing_duration_seconds_count", **here) == 0
        for gauge in ("in_flight", "oldest_record_age_seconds", "paused", "rate_limit"):
            assert value(gauge, **here) == 0


COUNTED: list[tuple[Callable[[Meter], None], str, dict[str, str], float]] = [
    (lambda m: m.in_flight("high", 7), "in_flight", {"lane": "high"}, 7),
    (lambda m: m.oldest("high", 1.5), "oldest_record_age_seconds", {"lane": "high"}, 1.5),
    (
        lambda m: m.retried("high", "5s", "deadline", 3),
        "retries_total",
        {"lane": "high", "tier": "5s", "error": "deadline"},
        3,
    ),
    (
        lambda m: m.dead_letter("high", "bad_key"),
        "dead_letters_total",
        {"lane": "high", "code": "bad_key"},
        1,
    ),
    (lambda m: m.publish_retried(), "publish_retries_total", {}, 1),
    (lambda m: m.batch("bulk", 3, 4), "batch_size_sum", {"engine": "bulk"}, 3),
    (lambda m: m.batch("bulk", 3, 4), "batch_fill_sum", {"engine": "bulk"}, 0.75),
    (
        lambda m: m.worked("bulk", "high", 0.5),
        "engine_seconds_total",
        {"engine": "bulk", "lane": "high"},
        0.5,
    ),
    (
        lambda m: m.engine_restarted("bulk", "deadline"),
        "engine_restarts_total",
        {"engine": "bulk", "why": "deadline"},
        1,
    ),
    (lambda m: m.engine_ready("bulk", True), "engine_ready", {"engine": "bulk"}, 1),
    (lambda m: m.engine_memory("bulk", 2**30), "engine_memory_bytes", {"engine": "bulk"}, 2**30),
    (
        lambda m: m.rebalance("high", "lost"),
        "rebalances_total",
        {"lane": "high", "kind": "lost"},
        1,
    ),
    (lambda m: m.drain_overrun("high"), "drain_overruns_total", {"lane": "high"}, 1),
    (lambda m: m.breaker("redis", True), "breaker_open", {"dependency": "redis"}, 1),
    (lambda m: m.paused("high", True), "paused", {"lane": "high"}, 1),
    (lambda m: m.rate("high", 2.5), "rate_limit", {"lane": "high"}, 2.5),
    (lambda m: m.rate_local(True), "rate_local", {}, 1),
    (lambda m: m.concurrency("high", 4), "concurrency_limit", {"lane": "high"}, 4),
    (lambda m: m.stalled(), "stalls_total", {}, 1),
    (lambda m: m.noticed("surge"), "notices_total", {"kind": "surge"}, 1),
]


@pytest.mark.parametrize(
    ("tell", "name", "labels", "expected"), COUNTED, ids=[one[1] for one in COUNTED]
)
def test_what_a_worker_tells_its_meter_is_exposed(
    tell: Callable[[Meter], None], name: str, labels: dict[str, str], expected: float
) -> None:
    stage = f"m-{name}"
    tell(Meter(stage, ["high"]))
    assert value(name, stage=stage, **labels) == expected


def test_a_breaker_closes_again() -> None:
    meter = Meter("m-closes")
    meter.breaker("redis", True)
    meter.breaker("redis", False)
    assert value("breaker_open", stage="m-closes", dependency="redis") == 0


def test_a_label_takes_only_so_many_values() -> None:
    bounded = Bounded(2)
    assert [bounded(code) for code in ("a", "b", "c", "a", "d")] == ["a", "b", OTHER, "a", OTHER]
    assert len(Bounded()("x" * 5000)) == 100


def test_codes_without_end_make_no_series_without_end() -> None:
    meter = Meter("m-codes")
    for number in range(1000):
        meter.dead_letter("high", f"code-{number}")
        meter.retried("high", "5s", f"error-{number}")
    here = {"stage": "m-codes", "lane": "high"}
    assert value("dead_letters_total", code="code-0", **here) == 1
    assert value("dead_letters_total", code=OTHER, **here) == 950
    assert value("retries_total", tier="5s", error=OTHER, **here) == 950


def test_every_metric_is_in_the_catalogue() -> None:
    kinds = (prometheus_client.Counter, prometheus_client.Gauge, Histogram)
    declared = [one for one in vars(metrics).values() if isinstance(one, kinds)]
    assert declared == list(metrics.CATALOGUE)
