"""`docs/metrics.md`: all metrics of all processes, out of where they are declared."""

from typing import Final

from docs.tools.markdown import cell, code, page, table
from docs.tools.metrics import GROUPS, Group, Metric

_HEAD: Final = """\
# Metrics

Every process serves its metrics at `/metrics` of its health port (`DARKROOM_HEALTH_PORT`; the api
door at its own port), in Prometheus' text format. Names are final. What is made of them: the rules,
alerts and dashboards in [deploy/prometheus](../deploy/prometheus) and
[deploy/grafana](../deploy/grafana); what to do when an alert fires stands in the
[runbook](runbook/README.md). `./darkroom up --with prometheus` runs a Prometheus that has it all.

Prometheus adds what its targets say of themselves: `job` is `darkroom`, `process` the process
(`gateway-control`, `ocr`, …), which alerts and dashboards go by, and `instance` where it answers.

Histograms are queried as `NAME_bucket`, `NAME_sum` and `NAME_count`. A label whose values are not
Darkroom's to choose (`error`, `code`, `dependency`, `why`) has 50 values at most; what comes later
counts as `other`. Series that alerts are about are there from the start, at 0, so that the first
failure is a rise. Engine processes have no endpoint of their own: the worker counts for them.
"""

_LAG: Final = """\
## Lag, as kafka_exporter has it

The leading control door asks the broker every `DARKROOM_MEASURE_EVERY_S` and tells it by the names
of [kafka_exporter](https://github.com/danielqsj/kafka_exporter): of the topics that Darkroom
declares and the groups whose names begin with `darkroom`. So what asks for lag, offsets, members
and under-replicated partitions by them works; its families of leaders, replicas, in-sync replicas
and single brokers, and ZooKeeper's, are not told. As there, a partition in which a group has
committed nothing has the lag -1, and the sum leaves it out; `darkroom_stage_waiting`, which
admission goes by, counts such records as waiting. Run kafka_exporter itself only for topics of
others, and not for the same groups: sums would count twice.
"""

_BUILT_IN: Final = """\
## Of every process

prometheus-client's own: `process_cpu_seconds_total`, `process_resident_memory_bytes`,
`process_open_fds`, `process_max_fds`, `process_start_time_seconds`, `process_virtual_memory_bytes`,
`python_info` and `python_gc_…`.
"""


def metrics_page() -> str:
    """The page, as it should be."""
    return page(_HEAD, *map(_group, GROUPS), _LAG, _BUILT_IN)


def _group(group: Group) -> str:
    rows = map(_row, group.metrics)
    return page(
        f"## {group.title}", group.about, table(("metric", "type", "labels", "meaning"), rows)
    )


def _row(metric: Metric) -> tuple[str, str, str, str]:
    labels = ", ".join(map(code, metric.labels))
    return code(metric.name), metric.kind, labels, cell(metric.meaning)
