"""The pipeline that is declared is the one that topics.yaml and the services are."""

from typing import Any

import pytest

import aggregator.handlers
import aggregator.join
import detector.app
import embedder.app
import intake.app
import ocr.app
from aggregator.handlers import Rules
from aggregator_events import detected, embedded, failed, read
from aggregator_machine import OUTCOMES, Machine
from darkroom_schemas import catalogue, names, stages
from stagekit.pipeline import PHOTO
from streamkit.workflow import Join, Stage, Topic

OUTSIDE = {"gateway", "others"}
"""They hand photos in and look at what came of them, and are no steps of the pipeline."""

ABOUT_IMPORTS = {
    names.PHOTO_REJECTED,
    names.PHOTO_BATCH_JOINED,
    names.PHOTO_ANALYSIS_CANCELLED,
    names.ANALYSIS_DEADLINE_REACHED,
    names.PHOTO_TICKED,
}
"""The aggregator reads these, too, so that everything ends; they are no parts of a photo."""

AGAIN = {names.PHOTO_RESCORED}
"""So it does these, of photos that have been through the pipeline."""

BESIDE = ABOUT_IMPORTS | AGAIN

ABOUT_MODELS = {names.PHOTO_MODEL_COMPARED, names.PHOTO_REEMBEDDED}
"""What a stage says of its model is no part of a photo either."""

STAGES = (detector.app.DETECTOR, ocr.app.OCR, embedder.app.EMBEDDER)


def join() -> Join:
    step = PHOTO.step("aggregator")
    assert isinstance(step, Join)
    return step


@pytest.mark.parametrize("topic", PHOTO.events(), ids=lambda topic: topic.name)
def test_a_topic_of_the_pipeline_is_declared_with_the_same_key_partitions_and_ways(
    topic: Topic,
) -> None:
    declared = catalogue.load()[topic.name]
    assert (declared.key, declared.partitions) == (topic.key, topic.partitions)
    assert declared.group == topic.group
    assert set(declared.producers) - OUTSIDE == set(topic.producers)
    readers = set(declared.consumers) - OUTSIDE
    if topic.name in ABOUT_IMPORTS:
        readers.discard("aggregator")
    assert readers == set(topic.consumers)


def test_every_topic_about_a_photo_is_in_the_pipeline() -> None:
    declared = {one.name for one in catalogue.load().with_schema() if one.group == "photo"}
    assert declared - BESIDE == {topic.name for topic in PHOTO.events()} - BESIDE


def test_retries_and_dead_letters_of_every_step_are_declared_alike() -> None:
    for topic in PHOTO.all_topics():
        if topic.kind in ("retries", "dead_letters"):
            declared = catalogue.load()[topic.name]
            assert declared.producers == topic.producers
            assert declared.partitions == topic.partitions
            assert topic.config().items() <= declared.config().items()


@pytest.mark.parametrize("stage", STAGES, ids=lambda stage: stage.name)
def test_a_stage_reads_and_writes_what_the_pipeline_says(stage: Any) -> None:
    step = PHOTO.step(stage.name)
    assert isinstance(step, Stage)
    assert set(step.writes) == set(stage.writes) - ABOUT_MODELS
    read = {topic for lane in step.lanes for topic in lane.topics}
    assert read == set(names.PHOTO_ANALYSIS_REQUESTED.values())
    assert [lane.name for lane in step.lanes] == list(names.LANES)


def test_intake_writes_what_the_pipeline_says() -> None:
    step = PHOTO.step("intake")
    assert isinstance(step, Stage)
    assert set(step.writes) == set(intake.app.WRITES)


def test_the_aggregator_joins_the_parts_that_the_pipeline_says() -> None:
    assert {part.name for part in join().parts} == set(stages.STAGES)
    routes = aggregator.handlers.routes(Rules())
    photos = {topic for topic, route in routes.items() if route.table == "analyses"}
    assert photos - BESIDE == set(join().reads)


def test_the_aggregator_names_an_outcome_as_the_pipeline_does() -> None:
    machine, states, ids = Machine(), dict[str, Any](), list[str]()
    decided = PHOTO.bind({"aggregator": lambda joined: {"outcome": "review"}}).join("aggregator")
    for topic, key, value in (failed("ocr"), detected(), embedded(), read()):
        machine.feed((topic, key, value))
        states[key], emits = decided.step(states.get(key), topic, key, value, {})
        ids += [emit.id for emit in emits]
    assert ids == list(machine.said(*OUTCOMES))
    assert len(ids) == 2


def test_the_aggregator_routes_as_the_pipeline_says() -> None:
    assert set(join().writes) == set(aggregator.join.OUTCOME_TOPICS.values())
    for outcome, topic in aggregator.join.OUTCOME_TOPICS.items():
        assert topic == join().into.topic_of({"outcome": outcome})  # type: ignore[union-attr]
