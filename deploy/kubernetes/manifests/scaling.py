"""KEDA: more workers where more waits. And what may be disturbed at a time."""

from dataclasses import dataclass
from typing import Any, Final

from darkroom_schemas.catalogue import load
from darkroom_schemas.names import (
    PHOTO_ANALYSIS_REQUESTED,
    PHOTO_EMBEDDING_REQUESTED,
    PHOTO_SUBMITTED,
    TRAINING_PREPARED,
)
from manifests.names import (
    API,
    BOOTSTRAP,
    KAFKA_CA,
    KEDA_USER,
    LANES,
    PROCESSES,
    USER_SECRET,
    Manifest,
    labels,
    manifest,
)
from streamkit.job import group_of

_API: Final = "keda.sh/v1alpha1"
_AUTHENTICATION: Final = "kafka"

PER_WORKER: Final = {"high": 5, "default": 50, "batch": 50, "learning": 50}
"""Records that may wait for one worker. For `high` a person waits. The others: four workers work
before the lane is warned of (500), and with what an import has on its way (IN_FLIGHT)."""

IN_FLIGHT: Final = 400
"""Photos of one import, or to be embedded again, that may be on their way: by default 100 and 200,
which is too few for four workers to have work."""

_PER_TRAINER: Final = 1
"""A training takes minutes; none waits behind another one."""


@dataclass(frozen=True, slots=True)
class Lag:
    """What waits for a service. `persistent`: what does not move counts, too."""

    service: str
    group: str
    topic: str
    per_worker: int
    persistent: bool = False

    @property
    def partitions(self) -> int:
        """More workers than this would have nothing to read."""
        return load()[self.topic].partitions


def _lags() -> tuple[Lag, ...]:
    found = [
        Lag(service, group_of(service, lane), topics[lane], PER_WORKER[lane])
        for service, topics in (
            ("intake", PHOTO_SUBMITTED),
            ("detector", PHOTO_ANALYSIS_REQUESTED),
            ("ocr", PHOTO_ANALYSIS_REQUESTED),
            ("embedder", PHOTO_ANALYSIS_REQUESTED),
        )
        for lane in LANES
    ]
    again = group_of("embedder", "learning")
    found.append(Lag("embedder", again, PHOTO_EMBEDDING_REQUESTED, PER_WORKER["learning"]))
    taught = group_of("trainer", "learning")
    found.append(Lag("trainer", taught, TRAINING_PREPARED, _PER_TRAINER, persistent=True))
    return tuple(found)


LAGS: Final = _lags()
SCALED: Final = tuple(dict.fromkeys(lag.service for lag in LAGS))
"""The services that KEDA gives their number; their Deployments name none."""


def authentication() -> Manifest:
    """KEDA's way into Kafka."""
    secret = f"{USER_SECRET}{KEDA_USER}"
    spec = {
        "secretTargetRef": [
            {"parameter": "password", "name": secret, "key": "password"},
            {"parameter": "ca", "name": KAFKA_CA, "key": "ca.crt"},
        ],
        "configMapTargetRef": [{"parameter": "username", "name": KEDA_USER, "key": "username"}],
    }
    return manifest("TriggerAuthentication", _API, _AUTHENTICATION, spec=spec)


def username() -> Manifest:
    """Strimzi's secret has the password alone."""
    return manifest("ConfigMap", "v1", KEDA_USER, data={"username": KEDA_USER})


def scaled_objects() -> list[Manifest]:
    """One for each service that works on lanes, and one for the api door."""
    return [*(_by_lag(service) for service in SCALED), _by_cpu()]


def _by_lag(service: str) -> Manifest:
    lags = [lag for lag in LAGS if lag.service == service]
    most = max(lag.partitions for lag in lags)
    least = 1 if service == "trainer" else 2
    spec = {
        "scaleTargetRef": {"name": service},
        "minReplicaCount": least,
        "maxReplicaCount": most,
        "pollingInterval": 30,
        "cooldownPeriod": 300,
        # Kafka can't be asked: as many as there are, two at least.
        "fallback": {
            "failureThreshold": 3,
            "replicas": least,
            "behavior": "currentReplicasIfHigher",
        },
        "advanced": {"horizontalPodAutoscalerConfig": {"behavior": _behavior(600)}},
        "triggers": [_trigger(lag) for lag in lags],
    }
    return manifest("ScaledObject", _API, service, spec=spec)


def _trigger(lag: Lag) -> dict[str, Any]:
    return {
        "type": "kafka",
        "metricType": "AverageValue",
        # Asked once in pollingInterval, so what "does not move" has stood still for that long.
        "useCachedMetrics": True,
        "authenticationRef": {"name": _AUTHENTICATION},
        "metadata": {
            "bootstrapServers": BOOTSTRAP,
            "consumerGroup": lag.group,
            "topic": lag.topic,
            "lagThreshold": str(lag.per_worker),
            "activationLagThreshold": "0",
            "offsetResetPolicy": "earliest",
            "allowIdleConsumers": "false",
            "limitToPartitionsWithLag": "true",
            "excludePersistentLag": "false" if lag.persistent else "true",
            # Of the protocol: the oldest that Kafka 4 speaks; KEDA's default is older.
            "version": "2.1.0",
            "sasl": "scram_sha512",
            "tls": "enable",
        },
    }


def _by_cpu() -> Manifest:
    spec = {
        "scaleTargetRef": {"name": API},
        "minReplicaCount": 2,
        "maxReplicaCount": 6,
        "advanced": {"horizontalPodAutoscalerConfig": {"behavior": _behavior(300)}},
        "triggers": [
            {"type": "cpu", "metricType": "Utilization", "metadata": {"value": "70"}},
        ],
    }
    return manifest("ScaledObject", _API, API, spec=spec)


def _behavior(quiet_s: int) -> dict[str, Any]:
    """Each change of number is a rebalance of four groups, so they come in steps: up by two a
    minute, down by one in two minutes after `quiet_s` without need."""
    return {
        "scaleUp": {
            "stabilizationWindowSeconds": 30,
            "policies": [{"type": "Pods", "value": 2, "periodSeconds": 60}],
        },
        "scaleDown": {
            "stabilizationWindowSeconds": quiet_s,
            "policies": [{"type": "Pods", "value": 1, "periodSeconds": 120}],
        },
    }


def budgets(names: tuple[str, ...]) -> list[Manifest]:
    """At most one pod of each may be evicted at a time; one alone may, too, or no node could ever
    be drained."""
    return [
        manifest(
            "PodDisruptionBudget",
            "policy/v1",
            name,
            spec={
                "maxUnavailable": 1,
                "unhealthyPodEvictionPolicy": "AlwaysAllow",
                "selector": {"matchLabels": labels(name)},
            },
        )
        for name in names
    ]


def all_names() -> tuple[str, ...]:
    """Of our processes."""
    return tuple(process.name for process in PROCESSES)
