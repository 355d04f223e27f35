"""Gauges that are measured together, told together and forgotten together."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from prometheus_client import REGISTRY, CollectorRegistry
from prometheus_client.core import GaugeMetricFamily
from prometheus_client.registry import Collector

Values = Mapping[tuple[str, ...], float]
"""Label values, in the order of the family's labels, to what was measured."""


@dataclass(frozen=True, slots=True)
class Family:
    """A gauge: its name, what it means, its labels."""

    name: str
    documentation: str
    labels: tuple[str, ...] = ()


class Snapshot(Collector):
    """What one look found, of all its families. Series that the next look does not find are gone
    with it, and all are gone where this process looks no more: a gauge that stands still would
    say something of a time that is over. Thread-safe."""

    def __init__(self, *families: Family, registry: CollectorRegistry = REGISTRY) -> None:
        self.families = families
        self._values: Mapping[str, Values] = {}
        registry.register(self)

    def tell(self, values: Mapping[str, Values]) -> None:
        """So it is now, by the families' names; of others there is nothing."""
        self._values = values

    def forget(self) -> None:
        """Nobody looks any more."""
        self._values = {}

    def describe(self) -> Iterable[GaugeMetricFamily]:
        """As CollectorRegistry asks."""
        return [GaugeMetricFamily(f.name, f.documentation, labels=f.labels) for f in self.families]

    def collect(self) -> Iterable[GaugeMetricFamily]:
        """As CollectorRegistry asks."""
        values = self._values
        for family in self.families:
            told = GaugeMetricFamily(family.name, family.documentation, labels=family.labels)
            for labels, value in values.get(family.name, {}).items():
                told.add_metric(labels, value)
            yield told
