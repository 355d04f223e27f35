"""Rules, alerts and dashboards hold together: with each other, with the metrics that there are,
with the runbook and with Prometheus itself."""

import ast
import re
import shutil
import subprocess
from collections.abc import Iterator
from functools import cache
from itertools import combinations
from pathlib import Path
from typing import Any

import pytest
import typer
import yaml
from deploy.grafana.generate import stale
from docs.tools.metrics import metrics
from docs.tools.metrics_page import metrics_page
from typer.core import TyperGroup

from darkroom_cli.app import build
from darkroom_cli.infra.services import SERVICES
from observability import PROMETHEUS, ROOT, asked, dashboards, known, panels, rules
from promql import grouped_by, selectors

RUNBOOK = ROOT / "docs/runbook"
ALERTS = [*rules("alerts.yml"), *rules("kubernetes.yml")]
NAMES = [alert["alert"] for alert in ALERTS]
LEGEND = re.compile(r"\{\{ *(\w+) *\}\}")
COMMAND = re.compile(r"\./darkroom ([a-z]+)(?: ([a-z]+))?")


def promtool(*arguments: str | Path) -> str:
    program = shutil.which("promtool")
    assert program, "promtool is missing: apt-get install prometheus"
    done = subprocess.run(
        (program, *map(str, arguments)), capture_output=True, text=True, timeout=120, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def test_prometheus_reads_its_configuration_with_all_rules() -> None:
    promtool("check", "config", PROMETHEUS / "prometheus.yml")


def test_every_alert_fires_when_it_should_and_not_when_it_should_not() -> None:
    promtool("test", "rules", *sorted((PROMETHEUS / "tests").glob("*.yml")))


@cache
def cases() -> list[dict[str, Any]]:
    files = (PROMETHEUS / "tests").glob("*.yml")
    texts = [file.read_text(encoding="utf-8") for file in files]
    return [case for text in texts for case in yaml.load(text, yaml.CSafeLoader)["tests"]]


@pytest.mark.parametrize("alert", NAMES)
def test_every_alert_has_a_test_in_which_it_fires_and_one_in_which_it_does_not(alert: str) -> None:
    asked_of = f'ALERTS{{alertname="{alert}", alertstate="firing"}}'
    found = [
        bool(test["exp_samples"])
        for case in cases()
        for test in case.get("promql_expr_test", ())
        if test["expr"] == asked_of
    ]
    assert set(found) == {False, True}


@cache
def labels_of(alert: str) -> frozenset[str]:
    """Those that it has where it fires, by its tests."""
    asked_of = f'ALERTS{{alertname="{alert}", alertstate="firing"}}'
    return frozenset(
        label
        for case in cases()
        for test in case.get("promql_expr_test", ())
        if test["expr"] == asked_of
        for sample in test["exp_samples"]
        for label in re.findall(r"(\w+)=", sample["labels"])
    ) - {"alertname", "alertstate"}


def test_a_process_that_is_gone_is_missed_whichever_it_is() -> None:
    (alert,) = [one for one in ALERTS if one["alert"] == "DarkroomProcessMissing"]
    assert set(re.findall(r'absent\(up\{process="([a-z-]+)"\}\)', alert["expr"])) == set(SERVICES)


def test_a_worse_alert_silences_one_that_is_about_the_same() -> None:
    text = (ROOT / "deploy/compose/alertmanager.yml").read_text(encoding="utf-8")
    for rule in yaml.safe_load(text)["inhibit_rules"]:
        (source,), (target,) = (
            [re.fullmatch(r'alertname=~?"([A-Za-z|]+)"', one) for one in rule[f"{end}_matchers"]]
            for end in ("source", "target")
        )
        assert source, rule
        assert target, rule
        for name in (*source[1].split("|"), *target[1].split("|")):
            assert name in NAMES
            assert set(rule["equal"]) <= labels_of(name), (name, rule["equal"])


def test_the_list_of_alerts_shows_every_label_that_one_has() -> None:
    (overview,) = [one for one in dashboards() if one["uid"] == "darkroom-overview"]
    (table,) = [one for one in panels(overview) if one["title"] == "Alerts that fire"]
    (arranged,) = [one for one in table["transformations"] if one["id"] == "organize"]
    told = {label for name in NAMES for label in labels_of(name)} - {"instance"}
    assert told <= set(arranged["options"]["includeByName"])


def test_links_of_alerts_have_a_beginning() -> None:
    site = yaml.safe_load((ROOT / "docs/site.yml").read_text(encoding="utf-8"))
    assert site["use_directory_urls"] is False, "pages end with .html in runbook_url"
    for file in ("prometheus/prometheus.yml", "compose/prometheus.yml"):
        config = yaml.safe_load((ROOT / "deploy" / file).read_text(encoding="utf-8"))
        assert config["global"]["external_labels"]["docs"].startswith("http://")
        assert {"regex": "docs", "action": "labeldrop"} in config["alerting"][
            "alert_relabel_configs"
        ]


def test_from_a_trace_its_lines_are_found_by_labels_that_they_have() -> None:
    file = ROOT / "deploy/grafana/provisioning/datasources/datasources.yml"
    sources = {one["uid"]: one for one in yaml.safe_load(file.read_text("utf-8"))["datasources"]}
    asked_of = sources["jaeger"]["jsonData"]["tracesToLogsV2"]
    assert asked_of["customQuery"] is True
    found = re.fullmatch(
        r"\{(\w+)=~\"\.\+\"\} \| (\w+)=\"\$\$\{__trace\.traceId\}\"", asked_of["query"]
    )
    assert found
    shipper = (ROOT / "deploy/compose/config.alloy").read_text(encoding="utf-8")
    label, beside = found.groups()
    assert f'target_label  = "{label}"' in shipper
    assert re.search(rf"structured_metadata \{{\s+values = {{[^}}]*\b{beside} ", shipper)


def page_of(alert: str) -> Path:
    words = re.findall("[A-Z][a-z]*", alert.removeprefix("Darkroom"))
    return RUNBOOK / ("-".join(words).lower() + ".md")


@pytest.mark.parametrize("alert", ALERTS, ids=NAMES)
def test_every_alert_says_how_bad_it_is_and_leads_to_its_page(alert: dict[str, Any]) -> None:
    assert alert["labels"]["severity"] in ("critical", "warning", "info")
    notes = alert["annotations"]
    assert set(notes) == {"summary", "description", "runbook_url"}
    page = page_of(alert["alert"])
    link = f"{{{{ $externalLabels.docs }}}}/runbook/{page.stem}.html"
    assert notes["runbook_url"] == link
    text = page.read_text(encoding="utf-8")
    assert text.startswith(f"# {alert['alert']}\n")
    assert f"```promql\n{alert['expr'].strip()}\n```" in text, "the page shows another condition"
    assert f"*{alert['labels']['severity']}*" in text
    assert [line for line in text.splitlines() if line.startswith("## ")] == [
        "## What it means",
        "## Look at",
        "## Do",
    ]


def test_every_page_of_the_runbook_belongs_to_an_alert_and_is_listed() -> None:
    pages = {file.name for file in RUNBOOK.glob("*.md")} - {"README.md"}
    assert pages == {page_of(name).name for name in NAMES}
    listed = re.findall(r"\]\(([a-z-]+\.md)\)", (RUNBOOK / "README.md").read_text(encoding="utf-8"))
    assert sorted(listed) == sorted(pages)


def test_the_runbook_names_commands_that_there_are() -> None:
    root = typer.main.get_command(build())
    assert isinstance(root, TyperGroup)
    unknown = []
    for file in RUNBOOK.glob("*.md"):
        for first, second in COMMAND.findall(file.read_text(encoding="utf-8")):
            command = root.commands.get(first)
            if command is None or (
                isinstance(command, TyperGroup) and second not in ("", *command.commands)
            ):
                unknown.append(f"{file.name}: {first} {second}".rstrip())
    assert not unknown


def test_everything_that_is_asked_for_is_measured_with_the_labels_that_it_is_asked_by() -> None:
    wrong = {
        one.where: selector
        for one in asked()
        for selector in selectors(one.expr)
        if selector.metric not in known() or not selector.labels <= known()[selector.metric]
    }
    assert not wrong


def test_everything_is_grouped_by_labels_that_what_is_asked_for_has() -> None:
    wrong = {}
    for one in asked():
        there = {label for each in selectors(one.expr) for label in known()[each.metric]}
        if lacking := grouped_by(one.expr) - there:
            wrong[one.where] = lacking
    assert not wrong


def test_series_on_panels_are_called_by_labels_that_they_have() -> None:
    wrong = {}
    for board in dashboards():
        for panel in panels(board):
            for target in panel["targets"]:
                there = {
                    label for each in selectors(target["expr"]) for label in known()[each.metric]
                }
                if lacking := set(LEGEND.findall(target["legendFormat"])) - there:
                    wrong[f"{board['title']}: {panel['title']}"] = lacking
    assert not wrong


def test_what_variables_and_annotations_ask_for_is_asked() -> None:
    exprs = {one.where: one.expr for one in asked()}
    assert exprs["Darkroom / Kafka: $topic"] == "count by (topic) (kafka_topic_partitions)"
    assert exprs["Darkroom / Kafka: Alerts"].startswith("ALERTS{")


def test_every_rule_is_used() -> None:
    used = {selector.metric for one in asked() for selector in selectors(one.expr)}
    assert {rule["record"] for rule in rules("rules.yml")} <= used


@pytest.mark.parametrize("rule", rules("rules.yml"), ids=lambda rule: rule["record"])
def test_a_rule_divides_only_by_what_is_more_than_nothing(rule: dict[str, Any]) -> None:
    divided = re.split(r"\s/\s", " ".join(rule["expr"].split()))
    assert all(part.startswith("(") and "> 0)" in part for part in divided[1:])


def test_the_dashboards_are_those_that_the_code_makes() -> None:
    assert not stale(), "run: python -m deploy.grafana.generate"


def test_dashboards_are_told_apart_and_explain_every_panel() -> None:
    boards = list(dashboards())
    assert len({board["uid"] for board in boards}) == len(boards) == 6
    for board in boards:
        numbers = [panel["id"] for panel in board["panels"]]
        assert len(set(numbers)) == len(numbers)
        for panel in panels(board):
            assert panel["description"].endswith("."), panel["title"]
            assert panel["fieldConfig"]["defaults"]["unit"], panel["title"]


def test_no_panel_lies_on_another_or_beyond_the_page() -> None:
    for board in dashboards():
        places = [panel["gridPos"] for panel in board["panels"]]
        assert all(place["x"] + place["w"] <= 24 for place in places)
        for one, other in combinations(places, 2):
            beside = one["x"] + one["w"] <= other["x"] or other["x"] + other["w"] <= one["x"]
            above = one["y"] + one["h"] <= other["y"] or other["y"] + other["h"] <= one["y"]
            assert beside or above, (board["title"], one, other)


def test_the_page_of_metrics_is_current() -> None:
    page = ROOT / "docs/metrics.md"
    assert page.read_text(encoding="utf-8") == metrics_page(), "run: python -m docs.tools.generate"


MAKERS = ("Counter", "Gauge", "Histogram", "Family")


def declared(file: Path) -> Iterator[str]:
    """Names of metrics that a source file makes."""
    text = file.read_text(encoding="utf-8")
    if '"darkroom_' not in text and '"kafka_' not in text:
        return
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.args:
            first = node.args[0]
            if node.func.id in MAKERS and isinstance(first, ast.Constant):
                yield str(first.value)


def test_every_metric_that_is_made_anywhere_is_in_the_catalogue() -> None:
    sources = [
        file for folder in ("libs", "services") for file in (ROOT / folder).glob("*/src/**/*.py")
    ]
    made = {name for file in sources for name in declared(file)}
    assert made == {one.name for one in metrics()}
    assert all(name.startswith(("darkroom_", "kafka_")) for name in made)
