"""What the control door tells Prometheus of broker and catalog."""

import threading
from collections.abc import Collection, Mapping
from typing import Any
from unittest.mock import MagicMock

import pytest
from prometheus_client import REGISTRY, CollectorRegistry, generate_latest

from gateway.control import measuring, metrics
from gateway.control.broker_values import broker_values
from gateway.control.lag import Hop, Layout, Look
from gateway.control.loads import Loads
from gateway.control.measuring import Measuring
from gateway.control.relay import Relay
from gateway.load import Limits
from gateway.recorder.metrics import PHOTO_DURATION, PHOTOS_ENDED, count_durations, count_ends
from gateway.snapshot import Family, Snapshot
from streamkit import Busy

TOPIC = "photo.submitted.high.v1"
GROUP = "darkroom.intake.high"

LAYOUT = Layout(brokers=3, replicas={(TOPIC, 0): (3, 3), (TOPIC, 1): (3, 2), ("other", 0): (3, 3)})
LOOK = Look(
    committed={GROUP: {(TOPIC, 0): 7}},
    starts={(TOPIC, 0): 2, (TOPIC, 1): 0, ("other", 0): 0},
    ends={(TOPIC, 0): 10, (TOPIC, 1): 5, ("other", 0): 4},
)


def test_series_that_the_next_look_does_not_find_are_gone_with_it() -> None:
    registry = CollectorRegistry()
    snapshot = Snapshot(Family("lag", "Lag.", ("topic",)), registry=registry)
    snapshot.tell({"lag": {("a",): 1.0, ("b",): 2.0}})
    assert registry.get_sample_value("lag", {"topic": "b"}) == 2

    snapshot.tell({"lag": {("a",): 3.0}})
    assert registry.get_sample_value("lag", {"topic": "a"}) == 3
    assert registry.get_sample_value("lag", {"topic": "b"}) is None

    snapshot.forget()
    assert generate_latest(registry).decode().splitlines() == [
        "# HELP lag Lag.",
        "# TYPE lag gauge",
    ]


def test_lag_is_told_as_kafka_exporter_tells_it() -> None:
    found = broker_values(LAYOUT, LOOK, {GROUP: 2}, "t.")
    ours, topic = f"t.{GROUP}", f"t.{TOPIC}"
    assert found["kafka_brokers"] == {(): 3}
    assert found["kafka_consumergroup_members"] == {(ours,): 2}
    assert found["kafka_topic_partitions"] == {(topic,): 2, ("t.other",): 1}
    assert found["kafka_topic_partition_current_offset"][topic, "0"] == 10
    assert found["kafka_topic_partition_oldest_offset"][topic, "0"] == 2
    under = found["kafka_topic_partition_under_replicated_partition"]
    assert (under[topic, "0"], under[topic, "1"]) == (0, 1)
    # Nothing is committed in the second partition, and the group does not read the other topic.
    assert found["kafka_consumergroup_lag"] == {(ours, topic, "0"): 3, (ours, topic, "1"): -1}
    assert found["kafka_consumergroup_current_offset"] == {
        (ours, topic, "0"): 7,
        (ours, topic, "1"): -1,
    }
    assert found["kafka_consumergroup_lag_sum"] == {(ours, topic): 3}


def test_a_group_that_is_ahead_of_a_topic_made_anew_has_no_lag() -> None:
    look = Look({GROUP: {(TOPIC, 0): 50}}, LOOK.starts, LOOK.ends)
    lags = broker_values(LAYOUT, look, {}, "")["kafka_consumergroup_lag"]
    assert lags[GROUP, TOPIC, "0"] == 0


class Broker:
    """One with a topic and a group, or none at all."""

    def __init__(self) -> None:
        self.away = False

    def groups(self, beginning: str) -> Collection[str]:
        assert beginning == "darkroom"
        return [GROUP]

    def layout(self, topics: Collection[str]) -> Layout:
        if self.away:
            raise Busy("nobody answers", dependency="kafka")
        return LAYOUT

    def look(self, hops: Collection[Hop], optional: Collection[str] = ()) -> Look:
        assert {hop.group for hop in hops} == {GROUP}
        return LOOK

    def members(self, groups: Collection[str]) -> Mapping[str, int]:
        return dict.fromkeys(groups, 1)

    def kept_s(self, topics: Collection[str]) -> Mapping[str, float]:
        return dict.fromkeys(topics, 86_400.0)


def told(snapshot: Snapshot) -> dict[str, dict[tuple[str, ...], float]]:
    return {
        family.name: {tuple(one.labels.values()): one.value for one in family.samples}
        for family in snapshot.collect()
        if family.samples
    }


def test_a_broker_that_is_away_is_not_told_of_and_the_catalog_is(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(measuring, "totals", lambda conn: {"darkroom_photos": {("review",): 4.0}})
    broker, conn = Broker(), Any
    looks = Measuring(broker)
    looks.turn(conn)  # type: ignore[arg-type]
    assert told(metrics.BROKER)["darkroom_stage_retention_seconds"] == {("intake", "high"): 86_400}
    assert told(metrics.BROKER)["kafka_consumergroup_lag_sum"] == {(GROUP, TOPIC): 3}

    broker.away = True
    looks.turn(conn)  # type: ignore[arg-type]
    assert told(metrics.BROKER) == {}
    assert told(metrics.CATALOG)["darkroom_photos"] == {("review",): 4}


def ended(lane: str, outcome: str) -> float:
    return float(PHOTOS_ENDED.labels(lane, outcome)._value.get())


def test_first_outcomes_and_rejections_are_counted_and_later_revisions_are_not() -> None:
    before = ended("high", "review"), ended("high", "rejected"), ended("other", "review")
    count_ends(
        [
            {"revision": 1, "lane": "high", "outcome": "review"},
            {"revision": 2, "lane": "high", "outcome": "review"},
            {"revision": 1, "lane": "high"},
            {"revision": 1, "lane": "no lane of ours", "outcome": "review"},
        ]
    )
    after = ended("high", "review"), ended("high", "rejected"), ended("other", "review")
    assert [now - then for now, then in zip(after, before, strict=True)] == [1, 1, 1]


def test_how_long_photos_took_is_counted_by_lane() -> None:
    before = PHOTO_DURATION.labels("batch")._sum.get()
    count_durations([("batch", 1.5), ("batch", 2.0)])
    assert PHOTO_DURATION.labels("batch")._sum.get() - before == pytest.approx(3.5)


def test_who_leads_no_more_tells_no_more_how_much_waits() -> None:
    over = threading.Event()
    over.set()
    metrics.LANE_LOAD.labels("high").set(700)
    metrics.OUTBOX_OLDEST.set(90)
    Loads(MagicMock(), MagicMock(), Limits(500, 1_000)).work(MagicMock(), over)
    Relay(MagicMock()).work(MagicMock(), over)
    assert REGISTRY.get_sample_value("darkroom_lane_load", {"lane": "high"}) is None
    assert REGISTRY.get_sample_value("darkroom_outbox_oldest_seconds") == 0
