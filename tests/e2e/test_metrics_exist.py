"""What dashboards and alerts ask for is there in the system as it runs, and Prometheus has it."""

import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Final, TypeVar

import httpx
import pytest
from docs.tools.metrics import metrics
from prometheus_client.core import Metric as Family
from prometheus_client.parser import text_string_to_metric_families

from darkroom_cli.infra.services import SERVICES
from darkroom_cli.stack import Stack
from observability import OF_PROMETHEUS, asked, rules
from promql import plain, selectors

T = TypeVar("T")

NOTHING_YET: Final[Mapping[str, str]] = {
    "darkroom_breaker_open": "of a dependency that has failed",
    "darkroom_retries_total": "of a photo that is tried again",
    "darkroom_import_files_total": "of an import",
    "darkroom_training_ended_total": "of a training",
    "darkroom_training_folds_total": "of a training",
    "darkroom_training_locks_total": "of a training",
}
"""What has no samples where one photo went through and nothing went wrong, and why."""

ENDS: Final = {"counter": ("_total",), "histogram": ("_bucket", "_sum", "_count")}
"""What the names of a family's samples end in."""


def eventually(look: Callable[[], T], right: Callable[[T], bool], within_s: float = 60.0) -> T:
    until = time.monotonic() + within_s
    while not right(found := look()) and time.monotonic() < until:
        time.sleep(0.5)
    return found


@pytest.fixture(scope="module")
def pages(system: Stack, api: httpx.Client, photo: Path) -> Callable[[], list[Family]]:
    """What all processes serve now, once a photo went through all of them."""
    answer = api.post("/v1/photos", content=photo.read_bytes(), headers={"Prefer": "wait=60"})
    assert answer.status_code == 200, answer.text
    state = system.state()
    assert state is not None
    ports = [one.port for one in state.processes if one.name in SERVICES]

    def now() -> list[Family]:
        urls = [f"http://127.0.0.1:{port}/metrics" for port in ports]
        texts = [httpx.get(url, timeout=20).text for url in urls]
        return [one for text in texts for one in text_string_to_metric_families(text)]

    return now


def test_every_metric_of_every_panel_and_alert_has_samples(
    pages: Callable[[], list[Family]],
) -> None:
    made = {rule["record"] for rule in rules("rules.yml")}
    wanted = {each.metric for one in asked() for each in selectors(one.expr)}
    wanted -= made | OF_PROMETHEUS

    def lacking() -> set[str]:
        return wanted - {sample.name for family in pages() for sample in family.samples}

    assert eventually(lacking, lambda found: found <= set(NOTHING_YET)) <= set(NOTHING_YET)
    assert set(NOTHING_YET) <= wanted


def test_what_is_served_is_what_the_catalogue_of_metrics_says(
    pages: Callable[[], list[Family]],
) -> None:
    declared = {
        family.name + end
        for family in pages()
        if family.name.startswith(("darkroom_", "kafka_")) and not family.name.endswith("_created")
        for end in ENDS.get(family.type, ("",))
    }
    assert declared == {name for one in metrics() for name in one.series}


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


@pytest.mark.usefixtures("pages")
def test_what_went_through_is_counted(prometheus: Prometheus) -> None:
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
