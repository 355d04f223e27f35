"""What counts as evidence of an edge: nothing is seen where nothing was shown."""

import pytest

from darkroom_schemas.edges import edges
from edge_evidence import NO_TOPICS, Metrics, unseen
from otlp_receiver import SpanSeen

OCR = "darkroom.ocr.retry-5s.bulk"
TRAINER = "darkroom.trainer.retry-5s.bulk"


def counted(topic: str) -> str:
    return "".join(
        f'# TYPE {name} counter\n{name}{{topic="{topic}"}} 1.0\n'
        for name in ("darkroom_records_published_total", "darkroom_records_consumed_total")
    )


def retried(service: str, topic: str) -> dict[str, SpanSeen]:
    """A record that came back out of a retry topic, as its spans tell."""
    sent = SpanSeen(service, f"send {topic}", "producer", topic, "t", "a", (), 0)
    of = SpanSeen(service, "process x", "consumer", "photo.submitted.high.v1", "t", "b", ("a",), 2)
    return {"a": sent, "b": of}


def test_of_a_silent_system_nothing_is_seen() -> None:
    missing = unseen({}, Metrics())
    for edge in edges():
        assert f"no trace: {edge}" in missing
    for arrow in (*NO_TOPICS, "gateway-api → outbox → gateway-control"):
        assert f"no metric: {arrow}" in missing
    assert "no trace: client → HTTP → gateway-api" in missing
    assert "no trace: gateway-api → outbox → gateway-control" in missing


def test_a_trace_of_a_retry_stands_for_no_metric() -> None:
    edge = "ocr → darkroom.ocr.retry-{tier}.{class} → ocr"
    metrics = Metrics()
    found = unseen(retried("ocr", OCR), metrics)
    assert f"no trace: {edge}" not in found
    assert {f"no metric of publishing: {edge}", f"no metric of consuming: {edge}"} <= set(found)
    metrics.read("ocr", counted(OCR))
    assert not [one for one in unseen(retried("ocr", OCR), metrics) if edge in one]


def test_retries_that_only_a_replay_sends_are_counted_where_they_are_read() -> None:
    edge = "trainer → darkroom.trainer.retry-{tier}.{class} → trainer"
    found = unseen(retried("others", TRAINER), Metrics())
    assert f"no metric of publishing: {edge}" not in found
    assert f"no metric of consuming: {edge}" in found


@pytest.mark.parametrize("arrow", NO_TOPICS)
def test_an_arrow_that_is_no_topic_is_seen_where_it_is_counted(arrow: str) -> None:
    process, metric, labels = NO_TOPICS[arrow]
    said = ",".join(f'{name}="{text}"' for name, text in labels.items())
    kind = "counter" if metric.endswith("_total") else "gauge"

    def page(value: float) -> str:
        return f"# TYPE {metric} {kind}\n{metric}{{{said}}} {value}\n"

    metrics = Metrics()
    metrics.read(process, page(0.0))
    metrics.read("trainer", page(1.0))
    assert not metrics.has_beside(arrow)
    metrics.read(process, page(1.0))
    assert metrics.has_beside(arrow)
