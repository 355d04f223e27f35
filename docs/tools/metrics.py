"""All metrics of all processes: what they are called, what they mean, who serves them."""

from collections.abc import Iterator
from dataclasses import dataclass
from types import ModuleType
from typing import Any, Final

import prometheus_client
from prometheus_client.core import Metric as Family

import gateway.api.metrics
import gateway.control.metrics
import gateway.disks
import gateway.metrics
import gateway.recorder.metrics
import streamkit.metrics
import trainer.counting
from gateway.snapshot import Snapshot
from streamkit.histogram import Histogram

_KINDS: Final = (
    prometheus_client.Counter,
    prometheus_client.Gauge,
    prometheus_client.Histogram,
    Histogram,
    Snapshot,
)

_OF_HISTOGRAM: Final = ("_bucket", "_sum", "_count")


@dataclass(frozen=True, slots=True)
class Metric:
    """A metric as Prometheus has it. `name` is the one to query, but for a histogram, which has
    three."""

    name: str
    kind: str
    labels: tuple[str, ...]
    meaning: str

    @property
    def series(self) -> tuple[str, ...]:
        """The names to query."""
        if self.kind != "histogram":
            return (self.name,)
        return tuple(self.name + end for end in _OF_HISTOGRAM)


@dataclass(frozen=True, slots=True)
class Group:
    """Metrics that the same processes serve; `module` declares them."""

    title: str
    about: str
    module: ModuleType

    @property
    def metrics(self) -> tuple[Metric, ...]:
        """In the order in which they are declared."""
        declared = vars(self.module).values()
        return tuple(one for made in declared if isinstance(made, _KINDS) for one in _metrics(made))


GROUPS: Final = (
    Group(
        "Workers",
        "`intake`, `detector`, `ocr`, `embedder`, `trainer` and `gateway-recorder`; of these"
        " metrics the `aggregator` has those of records. `stage` is the service (of the recorder:"
        " `gateway`), `lane` what it works on apart from other work: for the aggregator one of its"
        " folds, for the recorder `recorder`.",
        streamkit.metrics,
    ),
    Group(
        "The recorder",
        "`gateway-recorder`.",
        gateway.recorder.metrics,
    ),
    Group(
        "The control door",
        "`gateway-control`. Of several replicas one does each duty; what is measured by a duty"
        " comes from that one alone, so no sum counts twice.",
        gateway.control.metrics,
    ),
    Group("The api door", "`gateway-api`.", gateway.api.metrics),
    Group(
        "Doors that write to disks",
        "`gateway-api` (objects, spool) and `gateway-control` (objects), each of its own disks.",
        gateway.disks,
    ),
    Group("Doors that tell news", "`gateway-recorder` and `gateway-api`.", gateway.metrics),
    Group("The trainer", "`trainer`.", trainer.counting),
)


def metrics() -> tuple[Metric, ...]:
    """All that are Darkroom's own."""
    return tuple(one for group in GROUPS for one in group.metrics)


def built_in() -> tuple[Metric, ...]:
    """Those of prometheus-client, which every process serves."""
    ours = (
        prometheus_client.PROCESS_COLLECTOR,
        prometheus_client.PLATFORM_COLLECTOR,
        prometheus_client.GC_COLLECTOR,
    )
    return tuple(
        _metric(family, tuple(family.samples[0].labels) if family.samples else ())
        for collector in ours
        for family in collector.collect()
    )


def _metrics(made: Any) -> Iterator[Metric]:
    if isinstance(made, Snapshot):
        for family in made.families:
            yield Metric(family.name, "gauge", family.labels, family.documentation)
        return
    (described,) = made.describe()
    yield _metric(described, _labels(made))


def _labels(made: Any) -> tuple[str, ...]:
    if isinstance(made, Histogram):
        return made.labelnames
    # prometheus_client has no public name for it.
    return tuple(made._labelnames)


def _metric(family: Family, labels: tuple[str, ...]) -> Metric:
    name = f"{family.name}_total" if family.type == "counter" else family.name
    return Metric(name, family.type, labels, family.documentation)
