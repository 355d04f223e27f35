"""What dashboards and alerts ask for is there in the system as it runs, and Prometheus has it."""

import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, TypeVar

import httpx
import pytest
from docs.tools.metrics import metrics
from prometheus_client.parser import text_string_to_metric_families

from darkroom_cli.infra.services import SERVICES
from darkroom_cli.stack import Stack
from observability import OF_PROMETHEUS, asked, rules
from promql import plain, selectors

T = TypeVar("T")


def eventually(look: Callable[[], T], right: Callable[[T], bool], within_s: float = 60.0) -> T:
    until = time.monotonic() + within_s
    while not right(found := look()) and time.monotonic() < until:
        time.sleep(0.5)
    return found


@pytest.fixture(scope="module")
def served(system: Stack, api: httpx.Client, photo: Path) -> dict[str, set[str]]:
    """The names of what each process serves, once a photo went through all of them."""
    answer = api.post("/v1/photos", content=photo.read_bytes(), headers={"Prefer": "wait=60"})
    assert answer.status_code == 200, answer.text
    state = system.state()
    assert state is not None
    ports = {one.name: one.port for one in state.processes if one.name in SERVICES}
    return {name: set(series(f"http://127.0.0.1:{port}/metrics")) for name, port in ports.items()}


def series(url: str) -> Iterator[str]:
    """The names that can be queried of a page; of what has no series yet, those it will have."""
    for family in text_string_to_metric_families(httpx.get(url, timeout=20).text):
        yield from {sample.name for sample in family.samples}
        if not family.samples:
            ends = {"counter": ("_total",), "histogram": ("_bucket", "_sum", "_count")}
            yield from (family.name + end for end in ends.get(family.type, ("",)))


def test_every_metric_of_every_panel_and_alert_is_served(served: dict[str, set[str]]) -> None:
    made = {rule["record"] for rule in rules("rules.yml")}
    there = set().union(*served.values(), made, OF_PROMETHEUS)
    lacking = {
        one.where: selector.metric
        for one in asked()
        for selector in selectors(one.expr)
        if selector.metric not in there
    }
    assert not lacking


def test_what_is_served_is_what_the_catalogue_of_metrics_says(served: dict[str, set[str]]) -> None:
    ours = {
        name.removesuffix("_created")
        for names in served.values()
        for name in names
        if name.startswith(("darkroom_", "kafka_")) and not name.endswith("_created")
    }
    assert ours == {name for one in metrics() for name in one.series}


class Prometheus:
    """The one that runs beside the system."""

    def __init__(self, url: str) -> None:
        self._client = httpx.Client(base_url=url, timeout=20)

    def ask(self, path: str, **params: str) -> Any:
        answer = self._client.get(f"/api/v1/{path}", params=params).json()
        assert answer["status"] == "success", answer
        return answer["data"]


@pytest.fixture(scope="module")
def prometheus(system: Stack) -> Prometheus:
    return Prometheus(system.address("prometheus"))


def test_prometheus_looks_at_every_process_and_can_reckon_every_rule(
    prometheus: Prometheus,
) -> None:
    def health() -> dict[str, str]:
        targets = prometheus.ask("targets", state="active")["activeTargets"]
        return {one["labels"]["process"]: one["health"] for one in targets}

    assert eventually(health, lambda found: found == dict.fromkeys(SERVICES, "up")) == (
        dict.fromkeys(SERVICES, "up")
    )

    def trouble() -> list[tuple[str, str]]:
        groups = prometheus.ask("rules")["groups"]
        found = [rule for group in groups for rule in group["rules"]]
        assert len(found) == len(rules("rules.yml")) + len(rules("alerts.yml"))
        return [(one["name"], one["health"]) for one in found if one["health"] != "ok"]

    assert eventually(trouble, lambda found: not found) == []


def test_prometheus_understands_every_panel(prometheus: Prometheus) -> None:
    for one in asked():
        prometheus.ask("query", query=plain(one.expr))


def test_what_went_through_is_counted(served: dict[str, set[str]], prometheus: Prometheus) -> None:
    def value(query: str) -> Callable[[], float]:
        return lambda: sum(
            float(one["value"][1]) for one in prometheus.ask("query", query=query)["result"]
        )

    for query in (
        "sum(darkroom_photos_ended_total)",
        "sum(darkroom_photo_duration_seconds_count)",
        "sum(darkroom_photos)",
        "max(kafka_consumergroup_current_offset)",
        "kafka_brokers",
        'sum(darkroom_engine_ready{stage="ocr"})',
        'min(darkroom_stage_retention_seconds{service="intake"})',
        'sum(darkroom_disk_size_bytes{place="objects"})',
    ):
        assert eventually(value(query), lambda found: found > 0) > 0, query
