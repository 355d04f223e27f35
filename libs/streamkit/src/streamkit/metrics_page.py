"""The page `docs/metrics.md`: `python -m streamkit.metrics_page > docs/metrics.md`."""

import sys
from typing import Final

from streamkit.histogram import Histogram
from streamkit.metrics import CATALOGUE, Metric

_HEAD: Final = """\
# Metrics of a worker

Every service that runs a streamkit worker serves these at `/metrics`, beside those that its README
names and prometheus-client's own (`process_…`, `python_…`). `stage` is the service. This page is
generated: `python -m streamkit.metrics_page > docs/metrics.md`.

| metric | type | labels | meaning |
|---|---|---|---|
"""

_TAIL: Final = """
Labels whose values are not the worker's to choose (`error`, `code`, `dependency`, `why`) have 50
values at most; what comes later counts as `other`. A lane's series begin at 0 when the worker
starts. Engine processes have no endpoint of their own: the worker counts for them.
"""


def page() -> str:
    """The page, as it should be."""
    return _HEAD + "".join(map(_row, CATALOGUE)) + _TAIL


def _row(metric: Metric) -> str:
    (family,) = metric.describe()
    name = f"{family.name}_total" if family.type == "counter" else family.name
    labels = ", ".join(f"`{label}`" for label in _labels(metric))
    return f"| `{name}` | {family.type} | {labels} | {family.documentation} |\n"


def _labels(metric: Metric) -> tuple[str, ...]:
    if isinstance(metric, Histogram):
        return metric.labelnames
    # prometheus_client has no public name for it.
    return tuple(metric._labelnames)


if __name__ == "__main__":
    sys.stdout.write(page())
