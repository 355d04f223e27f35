"""Who may talk with whom. Everything else of our pods is refused, in and out.

Kafka's pods have policies of Strimzi's, by its listener's peers; the catalog's have one here.
"""

from collections.abc import Sequence
from typing import Any, Final

from manifests.names import (
    API,
    API_PORT,
    BACKUP,
    CATALOG,
    CATALOG_PORT,
    HEALTH_PORT,
    KAFKA,
    KAFKA_PORT,
    NAME,
    NAMESPACE_OF,
    PART_OF,
    PROCESSES,
    REGISTRY,
    REGISTRY_PORT,
    TOOLS,
    VALKEY,
    VALKEY_PORT,
    Manifest,
    labels,
    manifest,
)
from manifests.services import MIGRATE, SCHEMAS

_OTLP_PORTS: Final = (4317, 4318)
_OUTSIDE_PORTS: Final = (443, 465, 587)
"""The object store and webhooks; mail."""
_CATALOG_STATUS: Final = 8000
_CATALOG_METRICS: Final = 9187
_MANAGEMENT: Final = 9000
_METADATA: Final = "169.254.0.0/16"
"""Where clouds hand keys of the node to whoever asks."""

_KAFKA_PODS: Final = {"podSelector": {"matchLabels": {"strimzi.io/cluster": KAFKA}}}
_CATALOG_PODS: Final = {"podSelector": {"matchLabels": {"cnpg.io/cluster": CATALOG}}}


def policies() -> list[Manifest]:
    """All of them."""
    ours = tuple(one.name for one in PROCESSES)
    with_kafka = (*ours, BACKUP, TOOLS)
    with_registry = (*ours, SCHEMAS, BACKUP, TOOLS)
    with_catalog = (*(one.name for one in PROCESSES if one.database), MIGRATE, BACKUP)
    with_valkey = tuple(one.name for one in PROCESSES if one.redis)
    with_outside = (*(one.name for one in PROCESSES if one.objects), BACKUP)
    return [
        _policy("default-deny", PART_OF, ingress=[], egress=[]),
        _policy("to-dns", PART_OF, egress=[_rule("to", [_others("dns")], (53,), ("UDP", "TCP"))]),
        _to("to-kafka", (*with_kafka, REGISTRY), _KAFKA_PODS, KAFKA_PORT),
        _to("to-registry", with_registry, _pods(REGISTRY), REGISTRY_PORT),
        _to("to-catalog", with_catalog, _CATALOG_PODS, CATALOG_PORT),
        _to("to-valkey", with_valkey, _pods(VALKEY), VALKEY_PORT),
        _policy(
            "to-outside",
            None,
            with_outside,
            egress=[
                _rule(
                    "to",
                    [{"ipBlock": {"cidr": "0.0.0.0/0", "except": [_METADATA]}}],
                    _OUTSIDE_PORTS,
                )
            ],
        ),
        _policy("to-traces", PART_OF, egress=[_rule("to", [_others("monitoring")], _OTLP_PORTS)]),
        _policy(
            API,
            labels(API),
            ingress=[_rule("from", [_others("ingress"), _others("monitoring")], (API_PORT,))],
        ),
        _policy(
            "metrics",
            None,
            ours,
            ingress=[_rule("from", [_others("monitoring")], (HEALTH_PORT,))],
        ),
        _policy(
            REGISTRY,
            labels(REGISTRY),
            ingress=[
                _rule("from", _each(with_registry), (REGISTRY_PORT,)),
                _rule("from", [_others("monitoring")], (_MANAGEMENT,)),
            ],
        ),
        _policy(
            VALKEY, labels(VALKEY), ingress=[_rule("from", _each(with_valkey), (VALKEY_PORT,))]
        ),
        _policy(
            CATALOG,
            {"cnpg.io/cluster": CATALOG},
            ingress=[
                _rule("from", [*_each(with_catalog), _CATALOG_PODS], (CATALOG_PORT,)),
                _rule("from", [_others("cnpg"), _CATALOG_PODS], (_CATALOG_STATUS,)),
                _rule("from", [_others("monitoring")], (_CATALOG_METRICS,)),
            ],
        ),
    ]


def _policy(
    name: str,
    selected: dict[str, str] | None,
    names: Sequence[str] = (),
    *,
    ingress: list[dict[str, Any]] | None = None,
    egress: list[dict[str, Any]] | None = None,
) -> Manifest:
    """For pods with labels, or with one of these names."""
    among = {"key": NAME, "operator": "In", "values": list(names)}
    selector = {"matchLabels": selected} if selected else {"matchExpressions": [among]}
    ways = {"Ingress": ingress, "Egress": egress}
    return manifest(
        "NetworkPolicy",
        "networking.k8s.io/v1",
        name,
        spec={
            "podSelector": selector,
            "policyTypes": [way for way, rules in ways.items() if rules is not None],
            **{way.lower(): rules for way, rules in ways.items() if rules},
        },
    )


def _to(name: str, names: Sequence[str], peer: dict[str, Any], port: int) -> Manifest:
    return _policy(name, None, names, egress=[_rule("to", [peer], (port,))])


def _rule(
    way: str,
    peers: list[dict[str, Any]],
    ports: Sequence[int],
    protocols: Sequence[str] = ("TCP",),
) -> dict[str, Any]:
    doors = [{"protocol": kind, "port": port} for port in ports for kind in protocols]
    return {way: peers, "ports": doors}


def _pods(name: str) -> dict[str, Any]:
    return {"podSelector": {"matchLabels": labels(name)}}


def _each(names: Sequence[str]) -> list[dict[str, Any]]:
    return [_pods(name) for name in names]


def _others(who: str) -> dict[str, Any]:
    namespace = {"kubernetes.io/metadata.name": NAMESPACE_OF[who]}
    return {"namespaceSelector": {"matchLabels": namespace}}
