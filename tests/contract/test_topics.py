"""Who topics.yaml says reads and writes a topic is who does."""

from types import SimpleNamespace
from typing import Any, cast

import pytest

import aggregator.handlers
import detector.app
import embedder.app
import gateway.catalog.produced
import gateway.recorder.handlers
import intake.app
import intake.handlers
import ocr.app
import trainer.app
import trainer.handlers
from aggregator.handlers import Rules
from darkroom_schemas import catalogue, names
from stagekit import Loaded, Servings, Stage, handlers
from streamkit import control, heartbeat, notices

ENGINE = cast(Any, SimpleNamespace(name="none", model_version="none"))
NOT_USED = cast(Any, None)

STAGES: tuple[tuple[Stage[Any], Loaded], ...] = (
    (detector.app.DETECTOR, detector.app.with_engine(ENGINE)),
    (ocr.app.OCR, ocr.app.with_engine(ENGINE)),
    (embedder.app.EMBEDDER, embedder.app.with_engine(ENGINE)),
)

READS: dict[str, set[str]] = {
    "intake": set(intake.handlers.handlers(NOT_USED)),
    "aggregator": {*aggregator.handlers.routes(Rules()), names.OPS_POLICY},
    "gateway": set(
        gateway.recorder.handlers.handlers(
            gateway.recorder.handlers.Recorder(NOT_USED, NOT_USED, NOT_USED)
        )
    ),
    "trainer": {
        *trainer.handlers.handlers(
            trainer.handlers.Trainer(NOT_USED, NOT_USED, NOT_USED, NOT_USED, NOT_USED, 1.0),
            NOT_USED,
        ).by_topic,
        names.TRAINING_CANCELLED,
    },
    **{
        stage.name: {
            *handlers(stage, Servings.of(loaded), NOT_USED).by_topic,
            names.MODEL_ACTIVATED,
        }
        for stage, loaded in STAGES
    },
}
WRITES: dict[str, set[str]] = {
    "intake": set(intake.app.WRITES),
    "aggregator": set(aggregator.handlers.PRODUCED),
    "gateway": set(gateway.catalog.produced.PRODUCED),
    "trainer": set(trainer.app.WRITES),
    **{stage.name: {*stage.writes, names.MODEL_REPORTED} for stage, _ in STAGES},
}

WORKERS = {"intake", "gateway", "trainer", *(stage.name for stage, _ in STAGES)}
for name in WORKERS:
    READS[name].add(control.TOPIC)
    WRITES[name].update((notices.TOPIC, heartbeat.TOPIC))
WRITES["aggregator"].add(heartbeat.TOPIC)
READS["gateway"].add(heartbeat.TOPIC)


@pytest.mark.parametrize("service", READS)
def test_a_service_reads_the_topics_that_name_it_as_a_consumer(service: str) -> None:
    declared = catalogue.load().with_schema()
    assert READS[service] == {topic.name for topic in declared if service in topic.consumers}


@pytest.mark.parametrize("service", WRITES)
def test_a_service_writes_the_topics_that_name_it_as_a_producer(service: str) -> None:
    declared = catalogue.load().with_schema()
    assert WRITES[service] == {topic.name for topic in declared if service in topic.producers}


def test_topics_name_no_service_that_does_not_exist() -> None:
    named = {name for topic in catalogue.load() for name in (*topic.producers, *topic.consumers)}
    assert named - {"others"} == set(READS)
