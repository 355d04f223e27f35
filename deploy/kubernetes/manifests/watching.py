"""Prometheus: whom to ask, the rules of deploy/prometheus; Grafana: the dashboards of
deploy/grafana."""

from pathlib import Path
from typing import Any, Final

import yaml

from manifests.names import (
    API,
    CATALOG,
    KAFKA,
    NAME,
    PROCESSES,
    REGISTRY,
    Manifest,
    labels,
    manifest,
)

_API: Final = "monitoring.coreos.com/v1"


def monitors() -> list[Manifest]:
    """Every process of ours, and what it stands on."""
    own = [one.name for one in PROCESSES]
    among = {"key": NAME, "operator": "In", "values": [name for name in own if name != API]}
    return [
        _monitor("services", {"matchExpressions": [among]}, "health"),
        _monitor(API, {"matchLabels": labels(API)}, "http"),
        _monitor(REGISTRY, {"matchLabels": labels(REGISTRY)}, "management"),
        _monitor(
            "kafka",
            {"matchLabels": {"strimzi.io/cluster": KAFKA, "strimzi.io/kind": "Kafka"}},
            "tcp-prometheus",
        ),
        _monitor(CATALOG, {"matchLabels": {"cnpg.io/cluster": CATALOG}}, "metrics"),
    ]


def _monitor(name: str, selector: dict[str, Any], port: str) -> Manifest:
    # As deploy/prometheus/prometheus.yml asks.
    named = {"sourceLabels": [_LABEL_OF_POD], "targetLabel": "process", "regex": "(.+)"}
    endpoint = {
        "port": port,
        "path": "/metrics",
        "interval": "15s",
        "honorLabels": True,
        "relabelings": [named],
    }
    spec = {"selector": selector, "sampleLimit": 50_000, "podMetricsEndpoints": [endpoint]}
    return manifest("PodMonitor", _API, name, spec=spec)


_LABEL_OF_POD: Final = "__meta_kubernetes_pod_label_app_kubernetes_io_name"


def rules(folder: Path) -> list[Manifest]:
    """A PrometheusRule of each file of rules; none while there is none."""
    files = [folder / name for name in ("rules.yml", "alerts.yml", "kubernetes.yml")]
    return [
        manifest(
            "PrometheusRule",
            _API,
            f"darkroom-{file.stem}",
            spec=yaml.safe_load(file.read_text(encoding="utf-8")),
        )
        for file in files
        if file.is_file()
    ]


def dashboards(folder: Path) -> list[Manifest]:
    """A ConfigMap of each dashboard, by the label at which Grafana's sidecar knows them."""
    return [
        manifest(
            "ConfigMap",
            "v1",
            f"dashboard-{file.stem}",
            labels={"grafana_dashboard": "1"},
            annotations={"grafana_folder": "Darkroom"},
            data={f"darkroom-{file.name}": file.read_text(encoding="utf-8")},
        )
        for file in sorted(folder.glob("*.json"))
    ]
