"""What streamkit writes without being asked goes to topics that are declared, and fits them."""

import io
import json

import fastavro
import pytest

from darkroom_schemas import avro, catalogue, names
from streamkit import control, notices
from streamkit.control import control_of
from streamkit.notices import notice
from streamkit.retry import DEFAULT_TIERS, RetryPlan

DECLARED = catalogue.load(())
SERVICES = sorted(
    {
        topic.producers[0]
        for topic in DECLARED
        if topic.name.startswith("darkroom.") and topic.append_time
    }
)


def test_workers_and_topics_have_the_same_tiers() -> None:
    assert DECLARED.tiers == DEFAULT_TIERS


def test_every_worker_has_retry_topics() -> None:
    assert SERVICES == ["detector", "embedder", "gateway", "intake", "ocr", "trainer"]


@pytest.mark.parametrize("service", SERVICES)
@pytest.mark.parametrize("tiers", [DEFAULT_TIERS, ("10s", "1m", "10m")])
def test_the_retry_topics_of_a_service_are_the_declared_ones(
    service: str, tiers: tuple[str, ...]
) -> None:
    declared = [
        topic.name
        for topic in catalogue.load(tiers)
        if topic.append_time and topic.producers == topic.consumers == (service,)
    ]
    assert list(RetryPlan(service, tiers).topics()) == declared


@pytest.mark.parametrize("service", SERVICES)
def test_a_service_that_retries_has_dead_letters_with_room_for_as_much(service: str) -> None:
    letters = DECLARED[f"darkroom.{service}.dlq"]
    retries = DECLARED[RetryPlan(service).topics()[0]]
    assert letters.max_message_bytes == retries.max_message_bytes == 2 * 1024 * 1024


def test_a_notice_fits_its_schema() -> None:
    assert names.OPS_NOTIFIED == notices.TOPIC
    emit = notice("dependency_away", "ocr", "registry", "It is away.", "Wait.", 1_795_521_600.5)
    schema = fastavro.parse_schema(avro.schema_of(emit.topic))
    out = io.BytesIO()
    fastavro.schemaless_writer(out, schema, emit.value, strict=True)
    out.seek(0)
    assert fastavro.schemaless_reader(out, schema, None) == emit.value


def test_what_an_operator_sets_is_understood() -> None:
    assert names.OPS_CONTROL == control.TOPIC
    text = (catalogue.data_folder() / "examples/ops.control.json").read_text(encoding="utf-8")
    schema = fastavro.parse_schema(avro.schema_of(control.TOPIC))
    (value,) = fastavro.json_reader(io.StringIO(json.dumps(json.loads(text))), schema)
    assert isinstance(value, dict)
    understood = control_of(value)
    assert (understood.target, understood.rate, understood.paused) == ("ocr/batch", "100/m", True)
    assert understood.paused_until == 1_795_525_200.0
