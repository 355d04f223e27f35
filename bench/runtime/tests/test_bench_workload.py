"""The work is the real events' work, and small enough to be the queue's rather than its own."""

import io
import json
import time

import fastavro
import pytest
from bench.runtime import workload
from bench.runtime.darkroom import wire
from bench.runtime.darkroom.pipeline import JOIN, WORKFLOW

from darkroom_schemas import avro


def encoded(topic: str, value: workload.Event) -> bytes:
    body = io.BytesIO()
    schema = fastavro.parse_schema(avro.schema_of(topic))
    fastavro.schemaless_writer(body, schema, value, strict=True)
    return body.getvalue()


def test_a_request_is_a_realistic_event() -> None:
    emit = wire.asked(workload.request(7, "batch"))
    assert 600 <= len(encoded(emit.topic, dict(emit.value))) <= 900


def test_requests_differ_by_number_and_lane() -> None:
    made = [workload.request(number, lane) for number in (1, 2) for lane in ("high", "batch")]
    assert len({one["photo_id"] for one in made}) == 4


@pytest.mark.parametrize("stage", workload.STAGES)
def test_parts_and_outcomes_fit_their_schemas_and_json(stage: str) -> None:
    request = workload.request(1, "batch")
    parts = [workload.part(request, one) for one in workload.STAGES]
    outcome = workload.outcome([workload.kept(one) for one in parts])
    assert encoded(workload.PART_TOPICS[stage], workload.part(request, stage))
    assert encoded(workload.OUTCOME_TOPIC, outcome)
    assert json.loads(json.dumps(outcome)) == outcome


def test_the_same_part_has_the_same_id() -> None:
    request = workload.request(1, "batch")
    first, again = (wire.answered(request, "ocr") for _ in range(2))
    assert first.id == again.id
    assert first.id != wire.answered(request, "detector").id


def test_burning_uses_the_cpu_that_it_is_told_to() -> None:
    began = time.thread_time()
    workload.burn(5.0)
    assert 0.005 <= time.thread_time() - began < 0.02


def test_the_workflow_joins_the_parts_of_all_stages() -> None:
    assert [job.service for job in WORKFLOW.jobs()] == list(workload.STAGES)
    assert {part.name for part in WORKFLOW.join(JOIN).parts} == set(workload.STAGES)
