"""Which edges of the architecture a running system has shown, by its traces and its metrics."""

from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping
from typing import Final, NamedTuple

import httpx
from prometheus_client.parser import text_string_to_metric_families

from darkroom_cli.stack import SERVICES, Stack
from darkroom_schemas import catalogue
from darkroom_schemas.edges import OTHERS, Edge, edges, family
from otlp_receiver import SpanSeen

_WAYS: Final = {
    "darkroom_records_consumed": "consumed",
    "darkroom_records_published": "published",
}

_ONLY_REPLAYED: Final = frozenset({"trainer", "gateway"})
"""Services that send themselves no retries, they wait instead: who replays dead letters does, by a
command, which serves no metrics."""


class Counted(NamedTuple):
    """What a process counts of an arrow that is no topic: samples of this name and these labels."""

    process: str
    metric: str
    labels: Mapping[str, str]


NO_TOPICS: Final[Mapping[str, Counted]] = {
    "client → HTTP → gateway": Counted(
        "gateway-api", "darkroom_api_requests_total", {"method": "POST", "route": "/v1/photos"}
    ),
    "recorder → SQL → catalog": Counted("gateway-recorder", "darkroom_photos_ended_total", {}),
    "catalog → SQL → gateway": Counted("gateway-control", "darkroom_photos", {}),
}
"""Arrows of the picture that are no records of Kafka's."""

_OUTBOX: Final = "gateway-api → outbox → gateway-control"
_NOT_TOPICS: Final[Mapping[str, Counted]] = {
    **NO_TOPICS,
    _OUTBOX: Counted("gateway-control", "darkroom_outbox_published_total", {}),
}


def service_of(process: str) -> str:
    """The service that a process is of: the gateway's doors are one."""
    names = {name.partition("-")[0] for name in SERVICES}
    name = process.partition("-")[0]
    return name if name in names else OTHERS


class Metrics:
    """What processes have counted, of topics and of what is none, in any scrape so far."""

    def __init__(self) -> None:
        self._seen: dict[tuple[str, str], set[str]] = defaultdict(set)
        self._beside: set[str] = set()

    def scrape(self, stack: Stack) -> None:
        """Look at every process; one that is not there now is left out."""
        state = stack.state()
        for process in state.processes if state else ():
            if process.name not in SERVICES or not process.port:
                continue
            try:
                page = httpx.get(f"http://127.0.0.1:{process.port}/metrics", timeout=10)
            except httpx.HTTPError:
                continue
            self.read(process.name, page.text)

    def read(self, process: str, page: str) -> None:
        """What a process serves."""
        of_process = {arrow: one for arrow, one in _NOT_TOPICS.items() if one.process == process}
        for found in text_string_to_metric_families(page):
            for sample in found.samples:
                if sample.value <= 0:
                    continue
                if found.name in _WAYS and sample.name.endswith("_total"):
                    self._seen[_WAYS[found.name], service_of(process)].add(sample.labels["topic"])
                self._beside |= {
                    arrow
                    for arrow, one in of_process.items()
                    if sample.name == one.metric and one.labels.items() <= sample.labels.items()
                }

    def has(self, way: str, service: str, topics: Iterable[str]) -> bool:
        """Whether a service has counted records of one of the topics; of others nothing is known,
        and so nothing is missed."""
        return service == OTHERS or not self._seen[way, service].isdisjoint(topics)

    def has_beside(self, arrow: str) -> bool:
        """Whether a process has counted something of an arrow that is no topic."""
        return arrow in self._beside


class Traces:
    """Spans, asked by what an edge is."""

    def __init__(self, spans: dict[str, SpanSeen]) -> None:
        self._spans = spans
        self._consumers: dict[tuple[str, str], list[SpanSeen]] = defaultdict(list)
        self._sent: dict[tuple[str, str], list[SpanSeen]] = defaultdict(list)
        for one in spans.values():
            where = self._consumers if one.kind == "consumer" else self._sent
            where[service_of(one.service), one.topic].append(one)

    def consumed(self, consumer: str, topic: str) -> bool:
        """Whether a service has a span of working on a record of the topic."""
        return bool(self._consumers[consumer, topic])

    def has(self, edge: Edge, topics: Iterable[str]) -> bool:
        """Whether a span of the consumer is caused by one of the producer."""
        if not edge.consumer:
            return any(self._sent[edge.producer, topic] for topic in topics)
        if ".retry-" in edge.topic:
            return any(self._retried(edge, topic) for topic in topics)
        return any(
            service_of(cause.service) == edge.producer
            for topic in topics
            for one in self._consumers[edge.consumer, topic]
            for cause in self._causes(one)
        )

    def _retried(self, edge: Edge, topic: str) -> bool:
        """A record out of a retry topic is worked on under the name of its first topic. Who sent it
        there: the service itself, or whoever replays its dead letters."""
        return any(
            cause.kind == "producer" and cause.topic == topic
            for (service, _), some in list(self._consumers.items())
            if service == edge.consumer
            for one in some
            for cause in self._causes(one)
        )

    def _causes(self, span: SpanSeen) -> Iterator[SpanSeen]:
        return (self._spans[name] for name in span.causes if name in self._spans)


def unseen(spans: dict[str, SpanSeen], metrics: Metrics) -> list[str]:
    """What of the edges has not been seen, by name."""
    traces = Traces(spans)
    return [
        *_edges(traces, metrics),
        *_lanes(traces, metrics),
        *_doors(spans),
        *(f"no metric: {arrow}" for arrow in _NOT_TOPICS if not metrics.has_beside(arrow)),
    ]


def _edges(traces: Traces, metrics: Metrics) -> Iterator[str]:
    topics = defaultdict(list)
    for topic in catalogue.load():
        topics[family(topic)].append(topic.name)
    for edge in edges():
        of = topics[edge.topic]
        if not traces.has(edge, of):
            yield f"no trace: {edge}"
        replayed = ".retry-" in edge.topic and edge.producer in _ONLY_REPLAYED
        if not replayed and not metrics.has("published", edge.producer, of):
            yield f"no metric of publishing: {edge}"
        if edge.consumer and not metrics.has("consumed", edge.consumer, of):
            yield f"no metric of consuming: {edge}"


def _lanes(traces: Traces, metrics: Metrics) -> Iterator[str]:
    """Every lane is read by everybody that shall read it."""
    for topic in catalogue.load():
        for consumer in topic.consumers if topic.lane else ():
            if not traces.consumed(consumer, topic.name):
                yield f"no trace: {topic.name} → {consumer}"
            if not metrics.has("consumed", consumer, [topic.name]):
                yield f"no metric of consuming: {topic.name} → {consumer}"


def _doors(spans: dict[str, SpanSeen]) -> Iterator[str]:
    """What is no topic: the client's request, and the outbox. SQL makes no spans."""
    served = [one for one in spans.values() if one.kind == "server"]
    if not any(one.causes for one in served):
        yield "no trace: client → HTTP → gateway-api"
    requests = {one.span_id for one in served}
    relayed = (
        one for one in spans.values() if one.kind == "producer" and one.service == "gateway-control"
    )
    if not any(requests & set(one.causes) for one in relayed):
        yield f"no trace: {_OUTBOX}"
