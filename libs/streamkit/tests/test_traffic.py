"""Records are counted by topic, in the process itself or where an engine process tells them."""

from collections.abc import Iterator

import pytest

from streamkit.metrics import CONSUMED, PUBLISHED
from streamkit.traffic import count, tell_by


@pytest.fixture(autouse=True)
def _as_before() -> Iterator[None]:
    yield
    tell_by(None)


def value(metric: object, topic: str) -> float:
    child = metric.labels(topic)  # type: ignore[attr-defined]
    return float(child._value.get())


def test_records_are_counted_by_way_and_topic() -> None:
    count("consumed", "traffic.a")
    count("consumed", "traffic.a", 3)
    count("published", "traffic.a", 2)
    count("published", "traffic.b", 0)
    assert value(CONSUMED, "traffic.a") == 4
    assert value(PUBLISHED, "traffic.a") == 2


def test_an_engine_process_tells_its_worker_instead() -> None:
    told: list[tuple[str, str, int]] = []
    tell_by(lambda way, topic, records: told.append((way, topic, records)))
    count("consumed", "traffic.told", 2)
    assert told == [("consumed", "traffic.told", 2)]
    assert value(CONSUMED, "traffic.told") == 0
