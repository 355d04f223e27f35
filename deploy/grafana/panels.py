"""What dashboards are made of: panels as Grafana's JSON has them, and how they lie on a page.

A dashboard here is rows of lines of panels. Nobody gives a panel its place: a line's panels share
its 24 columns and its height. All that is said of a panel twice in JSON is said once here.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import count, pairwise
from typing import Any, Final

Json = dict[str, Any]

SOURCE: Final = {"type": "prometheus", "uid": "${datasource}"}

_COLUMNS: Final = 24
_SCHEMA: Final = 39
"""Version of the JSON that Grafana 11 writes; later ones read it and bring it up to date."""

GREEN, YELLOW, ORANGE, RED, BLUE, PURPLE, GREY = (
    *("green", "yellow", "orange", "red", "blue", "purple", "text"),
)

COLOURS: Final[Mapping[str, Mapping[str, str]]] = {
    "outcome": {"auto_labeled": GREEN, "suggested": BLUE, "review": ORANGE, "rejected": RED},
    "why": {"review": ORANGE, "suggested": BLUE, "audit": GREY},
    "lane": {"high": PURPLE, "default": BLUE, "batch": GREEN, "learning": YELLOW},
    "answer": {"confirm": GREEN, "correct": BLUE, "none": ORANGE, "skip": GREY},
}
"""By label: the same thing has the same colour on every panel."""


@dataclass(frozen=True, slots=True)
class Query:
    """PromQL, and what its series are called."""

    expr: str
    legend: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Look:
    """How values are shown. `steps`: from which value on a colour holds, rising; the first has no
    value. `most` and `least` bound the axis."""

    unit: str = "short"
    steps: Sequence[tuple[float | None, str]] = ((None, GREEN),)
    least: float | None = 0
    most: float | None = None
    decimals: int | None = None
    stacked: bool = False
    words: Mapping[int, tuple[str, str]] = field(default_factory=dict)
    """Words and colours for values that are no amounts."""


@dataclass(frozen=True, slots=True)
class Panel:
    """A panel without a place."""

    kind: str
    title: str
    about: str
    queries: tuple[Query, ...]
    look: Look
    options: Json
    custom: Json = field(default_factory=dict)
    instant: bool = False
    transformations: tuple[Json, ...] = ()


def stat(title: str, about: str, query: Query, look: Look = Look()) -> Panel:
    """One number, with how it went behind it."""
    options = {
        "colorMode": "value",
        "graphMode": "area",
        "justifyMode": "auto",
        "reduceOptions": {"calcs": ["lastNotNull"], "fields": "", "values": False},
        "textMode": "value",
    }
    return Panel("stat", title, about, (query,), look, options)


def lines(title: str, about: str, *queries: Query, look: Look = Look()) -> Panel:
    """Values over time, with their last ones and peaks in a legend that is a table."""
    options = {
        "legend": {
            "displayMode": "table",
            "placement": "bottom",
            "calcs": ["lastNotNull", "max"],
            "showLegend": True,
        },
        "tooltip": {"mode": "multi", "sort": "desc"},
    }
    custom = {
        "drawStyle": "line",
        "lineWidth": 1,
        "fillOpacity": 30 if look.stacked else 8,
        "showPoints": "never",
        "spanNulls": 120_000,
        "stacking": {"mode": "normal" if look.stacked else "none", "group": "A"},
        "thresholdsStyle": {"mode": "line" if len(look.steps) > 1 else "off"},
    }
    return Panel("timeseries", title, about, queries, look, options, custom)


def bars(title: str, about: str, query: Query, look: Look = Look()) -> Panel:
    """How much there is of each now."""
    options = {
        "displayMode": "basic",
        "orientation": "horizontal",
        "valueMode": "color",
        "showUnfilled": True,
        "reduceOptions": {"calcs": ["lastNotNull"], "fields": "", "values": False},
    }
    return Panel("bargauge", title, about, (query,), look, options, instant=True)


def states(title: str, about: str, query: Query, look: Look) -> Panel:
    """What state each was in over time; `look.words` names the states."""
    options = {
        "mergeValues": True,
        "rowHeight": 0.8,
        "showValue": "auto",
        "legend": {"displayMode": "list", "placement": "bottom", "showLegend": False},
        "tooltip": {"mode": "single", "sort": "none"},
    }
    custom = {"fillOpacity": 70, "lineWidth": 0}
    return Panel("state-timeline", title, about, (query,), look, options, custom)


def table(
    title: str,
    about: str,
    query: Query,
    columns: Mapping[str, str],
    look: Look = Look(),
) -> Panel:
    """Labels and a value, a row for each series. `columns`: labels in their order, and `Value`, to
    what they are called."""
    arranged = {
        "id": "organize",
        "options": {
            "includeByName": dict.fromkeys(columns, True),
            "indexByName": {name: place for place, name in enumerate(columns)},
            "renameByName": dict(columns),
        },
    }
    options = {"showHeader": True, "cellHeight": "sm", "footer": {"show": False}}
    custom = {"align": "auto", "filterable": True}
    merged = {"id": "merge", "options": {}}
    return Panel("table", title, about, (query,), look, options, custom, True, (merged, arranged))


@dataclass(frozen=True, slots=True)
class Line:
    """Panels beside each other, of one height."""

    height: int
    panels: tuple[Panel, ...]


def line(*panels: Panel, height: int = 8) -> Line:
    """Panels that share the width."""
    return Line(height, panels)


@dataclass(frozen=True, slots=True)
class Row:
    """Lines under a heading."""

    title: str
    lines: tuple[Line, ...]


def row(title: str, *of: Line) -> Row:
    """Lines under a heading."""
    return Row(title, of)


@dataclass(frozen=True, slots=True)
class Variable:
    """A choice of label values at the head of a dashboard, any number of them; all by default."""

    name: str
    title: str
    query: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Dashboard:
    """A page. `name` is that of its file and the end of its address."""

    name: str
    title: str
    about: str
    rows: tuple[Row, ...]
    variables: tuple[Variable, ...] = ()
    since: str = "now-1h"

    def json(self) -> Json:
        """As Grafana has it."""
        return {
            "uid": f"darkroom-{self.name}",
            "title": f"Darkroom / {self.title}",
            "description": self.about,
            "tags": ["darkroom"],
            "schemaVersion": _SCHEMA,
            "version": 1,
            "editable": False,
            "graphTooltip": 1,
            "refresh": "30s",
            "time": {"from": self.since, "to": "now"},
            "timezone": "browser",
            "links": [_others()],
            "annotations": {"list": [_alerts()]},
            "templating": {"list": [_datasource(), *map(_variable, self.variables)]},
            "panels": list(_placed(self.rows)),
        }


def _placed(rows: Iterable[Row]) -> Iterable[Json]:
    numbers, y = count(1), 0
    for each in rows:
        yield {
            "id": next(numbers),
            "type": "row",
            "title": each.title,
            "collapsed": False,
            "gridPos": {"x": 0, "y": y, "w": _COLUMNS, "h": 1},
            "panels": [],
        }
        y += 1
        for one in each.lines:
            edges = [round(n * _COLUMNS / len(one.panels)) for n in range(len(one.panels) + 1)]
            for panel, (left, right) in zip(one.panels, pairwise(edges), strict=True):
                spot = {"x": left, "y": y, "w": right - left, "h": one.height}
                yield {"id": next(numbers), "gridPos": spot, **_panel(panel)}
            y += one.height


def _panel(panel: Panel) -> Json:
    return {
        "type": panel.kind,
        "title": panel.title,
        "description": panel.about,
        "datasource": SOURCE,
        "targets": [_target(panel, place, one) for place, one in enumerate(panel.queries)],
        "fieldConfig": {"defaults": _defaults(panel), "overrides": _overrides(panel)},
        "options": panel.options,
        "transformations": list(panel.transformations),
    }


def _target(panel: Panel, place: int, query: Query) -> Json:
    return {
        "refId": chr(ord("A") + place),
        "datasource": SOURCE,
        "editorMode": "code",
        "expr": query.expr,
        "legendFormat": query.legend or "__auto",
        "instant": panel.instant,
        "range": not panel.instant,
        "format": "table" if panel.kind == "table" else "time_series",
    }


def _defaults(panel: Panel) -> Json:
    look = panel.look
    one_colour = panel.kind in ("stat", "bargauge", "state-timeline")
    defaults: Json = {
        "unit": look.unit,
        "color": {"mode": "thresholds" if one_colour else "palette-classic"},
        "custom": panel.custom,
        "mappings": _mappings(look.words),
        "thresholds": {
            "mode": "absolute",
            "steps": [{"value": value, "color": colour} for value, colour in look.steps],
        },
        "noValue": "–",
    }
    bounds = {"min": look.least, "max": look.most, "decimals": look.decimals}
    return defaults | {name: value for name, value in bounds.items() if value is not None}


def _mappings(words: Mapping[int, tuple[str, str]]) -> list[Json]:
    if not words:
        return []
    said = {str(value): {"text": text, "color": colour} for value, (text, colour) in words.items()}
    return [{"type": "value", "options": said}]


def _overrides(panel: Panel) -> list[Json]:
    """Colours, where a series is called by one of the labels alone."""
    colours: dict[str, str] = {}
    for query in panel.queries:
        colours |= COLOURS.get(query.legend.removeprefix("{{").removesuffix("}}"), {})
    return [
        {
            "matcher": {"id": "byName", "options": name},
            "properties": [{"id": "color", "value": {"mode": "fixed", "fixedColor": colour}}],
        }
        for name, colour in colours.items()
    ]


def _others() -> Json:
    return {
        "type": "dashboards",
        "title": "Darkroom",
        "tags": ["darkroom"],
        "asDropdown": False,
        "includeVars": False,
        "keepTime": True,
    }


def _alerts() -> Json:
    return {
        "name": "Alerts",
        "datasource": SOURCE,
        "enable": True,
        "expr": 'ALERTS{alertname=~"Darkroom.*", alertstate="firing", severity!="info"}',
        "iconColor": RED,
        "titleFormat": "{{alertname}}",
        "step": "60s",
    }


def _datasource() -> Json:
    return {
        "name": "datasource",
        "label": "Prometheus",
        "type": "datasource",
        "query": "prometheus",
        "hide": 0,
    }


def _variable(variable: Variable) -> Json:
    return {
        "name": variable.name,
        "label": variable.title,
        "type": "query",
        "datasource": SOURCE,
        "definition": variable.query,
        "query": {"query": variable.query, "refId": "values"},
        "refresh": 2,
        "sort": 1,
        "multi": True,
        "includeAll": True,
        "allValue": ".*",
        "current": {"text": "All", "value": "$__all"},
    }
