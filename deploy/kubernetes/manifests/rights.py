"""Who may do what with Kafka's topics and groups: as topics.yaml says who reads and writes."""

from collections.abc import Iterable, Iterator
from typing import Any, Final

from darkroom_schemas.catalogue import load
from manifests.names import (
    AGGREGATOR,
    KEDA_USER,
    PEOPLES_USER,
    PROCESSES,
    REGISTRY,
    REGISTRY_GROUPS,
    REGISTRY_TOPICS,
    SERVICES,
)
from manifests.scaling import LAGS
from streamkit.job import group_of

Right = dict[str, Any]

_GATEWAY: Final = "gateway"
_AGGREGATORS_GROUP: Final = "darkroom-aggregator"


def rights_of(user: str) -> list[Right]:
    """The rights of a Kafka user. An idempotent producer needs nothing beyond Write."""
    match user:
        case _ if user in SERVICES:
            return [*_of_service(user)]
        case _ if user == REGISTRY:
            return [
                *_topics(REGISTRY_TOPICS, "Read", "Write", "Describe", "DescribeConfigs"),
                _right("group", REGISTRY_GROUPS, "Read", "Describe", prefix=True),
            ]
        case _ if user == KEDA_USER:
            return [
                *_topics(dict.fromkeys(lag.topic for lag in LAGS), "Describe"),
                *(
                    _right("group", name, "Describe")
                    for name in dict.fromkeys(lag.group for lag in LAGS)
                ),
            ]
        case _ if user == PEOPLES_USER:
            waiting = [topic.name for topic in load() if _is_of_failures(topic.name)]
            return [
                _right("topic", "*", "Read", "Describe", "DescribeConfigs"),
                *_topics(waiting, "Write"),
                _right("group", "*", "Describe"),
            ]
        case _:
            raise ValueError(f"no rights are known of {user}")


def _of_service(service: str) -> Iterator[Right]:
    catalogue = load()
    for topic in catalogue:
        operations = [
            *(["Read"] if service in topic.consumers else []),
            *(["Write"] if service in topic.producers else []),
        ]
        if operations:
            yield _right("topic", topic.name, *operations, "Describe")
    for name in groups_of(service):
        yield _right("group", name, "Read")
    # Readers outside of groups have an id all the same, for which librdkafka seeks a coordinator;
    # and the control door looks how far all groups are.
    yield _right("group", "*", "Describe")
    if service == _GATEWAY:
        # It measures what waits in all topics and how long they keep it, and settles all services'
        # dead letters.
        yield _right("topic", "*", "Describe", "DescribeConfigs")
        others = (one for one in SERVICES if one != service)
        yield from _topics((catalogue.dead_letters(one) for one in others), "Write")


def groups_of(service: str) -> list[str]:
    """The consumer groups of a service, that of its retry topics too."""
    if service == AGGREGATOR:
        return [_AGGREGATORS_GROUP]
    lanes = [lane for one in PROCESSES if one.service == service for lane in one.lanes]
    return [group_of(service, lane) for lane in (*lanes, "retry")]


def _is_of_failures(topic: str) -> bool:
    return topic.endswith(".dlq") or ".retry-" in topic


def _topics(names: Iterable[str], *operations: str) -> list[Right]:
    return [_right("topic", name, *operations) for name in names]


def _right(kind: str, name: str, *operations: str, prefix: bool = False) -> Right:
    return {
        "resource": {
            "type": kind,
            "name": name,
            "patternType": "prefix" if prefix else "literal",
        },
        "operations": list(operations),
    }
