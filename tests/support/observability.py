"""The rules, alerts and dashboards of the checkout, as tests look at them."""

import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any, Final

import yaml
from docs.tools.metrics import built_in, metrics

ROOT: Final = Path(__file__).parents[2]
PROMETHEUS: Final = ROOT / "deploy/prometheus"
DASHBOARDS: Final = ROOT / "deploy/grafana/dashboards"

OF_PROMETHEUS: Final = frozenset({"up", "ALERTS"})
"""Metrics that Prometheus itself makes."""

OF_TARGETS: Final = frozenset({"process", "instance", "job"})
"""Labels that targets have."""

_VALUES: Final = re.compile(r"label_values\((.+),\s*(\w+)\)")
"""What Grafana asks for the choices of a variable."""


@dataclass(frozen=True, slots=True)
class Asked:
    """An expression and where it stands."""

    where: str
    expr: str


@cache
def rules(name: str) -> list[dict[str, Any]]:
    """The rules of a file of deploy/prometheus, of all groups."""
    text = (PROMETHEUS / name).read_text(encoding="utf-8")
    return [
        rule for group in yaml.load(text, yaml.CSafeLoader)["groups"] for rule in group["rules"]
    ]


@cache
def dashboards() -> list[dict[str, Any]]:
    """The dashboards as Grafana reads them."""
    files = sorted(DASHBOARDS.glob("*.json"))
    return [json.loads(file.read_text(encoding="utf-8")) for file in files]


def panels(dashboard: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Those that show something."""
    return [panel for panel in dashboard["panels"] if panel["type"] != "row"]


def asked() -> Iterator[Asked]:
    """All expressions of rules, alerts, panels, variables and annotations."""
    for rule in (*rules("rules.yml"), *rules("alerts.yml")):
        yield Asked(rule.get("record") or rule["alert"], rule["expr"])
    for board in dashboards():
        for panel in panels(board):
            for target in panel["targets"]:
                where = f"{board['title']}: {panel['title']}"
                yield Asked(where, target["expr"])
        for variable in board["templating"]["list"]:
            if variable["type"] == "query":
                where = f"{board['title']}: ${variable['name']}"
                yield Asked(where, _choices(variable["query"]["query"]))
        for note in board["annotations"]["list"]:
            yield Asked(f"{board['title']}: {note['name']}", note["expr"])


def _choices(query: str) -> str:
    """What a variable's choices come from, as an expression."""
    found = _VALUES.fullmatch(query)
    if found is None:
        raise ValueError(f"not by label_values: {query}")
    return f"count by ({found[2]}) ({found[1]})"


@cache
def known() -> Mapping[str, frozenset[str]]:
    """The labels of every name that can be queried: of processes and of recording rules (which say
    theirs in their names)."""
    ours = {
        name: OF_TARGETS | {*one.labels, *(("le",) if name.endswith("_bucket") else ())}
        for one in (*metrics(), *built_in())
        for name in one.series
    }
    made = {
        rule["record"]: frozenset(rule["record"].split(":")[0].split("_"))
        for rule in rules("rules.yml")
    }
    prometheus = dict.fromkeys(OF_PROMETHEUS, OF_TARGETS | {"alertname", "alertstate", "severity"})
    return {**ours, **made, **prometheus}
