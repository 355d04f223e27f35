"""What a PromQL expression asks for: names of metrics and of labels."""

import re
from dataclasses import dataclass
from typing import Any, Final

import promql_parser

_OF_GRAFANA: Final = ("$__rate_interval", "$__range", "$__interval")
_CHOICE: Final = re.compile(r"\$\{?[a-z]+\}?")
_LISTS: Final = re.compile(r"\b(?:by|on|ignoring|without|group_left|group_right)\s*\(([^()]*)\)")


@dataclass(frozen=True, slots=True)
class Selector:
    """A metric that is asked for, with the labels that its matchers name."""

    metric: str
    labels: frozenset[str]


def plain(expr: str) -> str:
    """The expression without Grafana's variables, as Prometheus would get it."""
    for name in _OF_GRAFANA:
        expr = expr.replace(name, "5m")
    return _CHOICE.sub(".*", expr)


def selectors(expr: str) -> set[Selector]:
    """All that it asks for. Raises ValueError where it is no PromQL, or a selector has no name."""
    found: set[Selector] = set()

    def visit(node: Any) -> bool:
        if isinstance(node, promql_parser.VectorSelector):
            if not node.name:
                raise ValueError(f"a selector without a name in {expr}")
            found.add(Selector(node.name, frozenset(one.name for one in node.matchers.matchers)))
        return True

    promql_parser.walk(promql_parser.parse(plain(expr)), visit)
    return found


def grouped_by(expr: str) -> set[str]:
    """The labels by which it groups or matches."""
    return {
        name.strip()
        for inside in _LISTS.findall(expr)
        for name in inside.split(",")
        if name.strip()
    }
