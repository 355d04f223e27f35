"""The confidence route."""

import math
from typing import Any

import pytest

from aggregator.routing import Policy, Thresholds
from aggregator_events import at, detected, embedded, failed, labels, read
from aggregator_machine import OUTCOMES, Machine, values


def outcome_of(*events: Any, policy: Policy | None = None) -> tuple[str, Any]:
    (emit,) = Machine(policy).feed(*events)
    return emit.topic, emit.value


def route(confidence: float, policy: Policy | None = None) -> str:
    topic, value = outcome_of(detected(confidence=confidence), read(), embedded(), policy=policy)
    assert value["label"] == "cat"
    assert value["confidence"] == confidence
    return topic


@pytest.mark.parametrize(
    ("confidence", "topic"),
    [
        (1.0, "photo.auto-labeled.v1"),
        (math.nextafter(0.8, 1), "photo.auto-labeled.v1"),
        (0.8, "photo.suggested.v1"),
        (0.65, "photo.suggested.v1"),
        (0.5, "photo.suggested.v1"),
        (math.nextafter(0.5, 0), "photo.review-requested.v1"),
        (0.0, "photo.review-requested.v1"),
    ],
)
def test_confidence_decides_and_both_thresholds_are_suggested(
    confidence: float, topic: str
) -> None:
    assert route(confidence) == topic


def test_a_label_may_have_thresholds_of_its_own() -> None:
    policy = Policy(labels={"cat": Thresholds(0.95, 0.9)})
    assert route(0.96, policy) == "photo.auto-labeled.v1"
    assert route(0.92, policy) == "photo.suggested.v1"
    assert route(0.85, policy) == "photo.review-requested.v1"


def test_the_users_own_labels_go_before_the_general_ones() -> None:
    own = [{**labels(("our cat", 0.6))[0], "head": "pets", "head_version": "3"}]
    topic, value = outcome_of(detected(confidence=0.9), read(), embedded(labels=own))
    assert topic == "photo.suggested.v1"
    assert (value["label"], value["confidence"]) == ("our cat", 0.6)
    assert [one["name"] for one in value["labels"]] == ["cat", "our cat", "dog"]


def test_labels_are_best_first_and_each_is_there_once() -> None:
    seen = labels(("dog", 0.1), ("cat", 0.7))
    own = [{**one, "head": "h", "head_version": "1"} for one in labels(("dog", 0.3))]
    _, value = outcome_of(detected(labels=seen), read(), embedded(labels=own))
    assert value["labels"] == labels(("cat", 0.7), ("dog", 0.3))


def test_an_outcome_says_what_it_rests_on() -> None:
    topic, value = outcome_of(read(), embedded(), detected())
    assert topic == "photo.auto-labeled.v1"
    assert value["calibrated"] is True
    assert value["category"] == "animal"
    assert value["partial"] is False
    assert value["failed_stages"] == []
    assert value["parts"] == [
        {
            "stage": stage,
            "revision": 1,
            "engine": f"stub-{stage}",
            "model_version": f"stub-{stage}@1",
        }
        for stage in ("detector", "ocr", "embedder")
    ]
    assert value["decided_at"] == at(3)
    assert "0.900" in value["reason"]
    assert "0.8" in value["reason"]


@pytest.mark.parametrize("stage", ["detector", "ocr", "embedder"])
def test_a_failed_stage_makes_the_outcome_partial_and_asks_a_person(stage: str) -> None:
    others = [one for one in (detected(), read(), embedded()) if one[2]["stage"] != stage]
    topic, value = outcome_of(*others, failed(stage))
    assert topic == "photo.review-requested.v1"
    assert value["partial"] is True
    assert value["failed_stages"] == [stage]
    assert value["label"] == (None if stage == "detector" else "cat")
    assert stage in value["reason"]
    assert value["decided_at"] == at(4)


def test_when_all_stages_failed_a_person_is_asked_without_a_label() -> None:
    topic, value = outcome_of(failed("ocr"), failed("detector"), failed("embedder"))
    assert topic == "photo.review-requested.v1"
    assert value["failed_stages"] == ["detector", "ocr", "embedder"]
    assert value["label"] is None
    assert value["confidence"] is None
    assert value["labels"] == []
    assert value["parts"] == []


def test_a_photo_without_any_label_goes_to_a_person() -> None:
    topic, value = outcome_of(detected(labels=[], category=None), read(), embedded())
    assert topic == "photo.review-requested.v1"
    assert value["label"] is None
    assert value["partial"] is False


def test_nothing_is_said_before_the_last_stage_has_ended() -> None:
    machine = Machine()
    assert machine.feed(detected(), read()) == []
    assert len(values(machine.feed(embedded()), *OUTCOMES)) == 1
