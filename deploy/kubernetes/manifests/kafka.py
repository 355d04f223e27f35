"""Strimzi: the cluster, its topics and its users."""

from typing import Any, Final

from darkroom_schemas.catalogue import Topic, load
from manifests.names import (
    KAFKA,
    KAFKA_PORT,
    KAFKA_VERSION,
    KEDA_USER,
    NAMESPACE_OF,
    PART_OF,
    PEOPLES_USER,
    REGISTRY,
    REGISTRY_TOPICS,
    SERVICES,
    USER_SECRET,
    Manifest,
    manifest,
)
from manifests.rights import rights_of

_API: Final = "kafka.strimzi.io/v1"
_LABEL: Final = {"strimzi.io/cluster": KAFKA}
_METRICS: Final = ("kafka_server.*", "kafka_controller.*", "kafka_log.*", "kafka_network.*")


def cluster(brokers: int) -> Manifest:
    """Kafka of so many brokers; its nodes are in pools."""
    kafka: dict[str, Any] = {
        "version": KAFKA_VERSION,
        "listeners": [
            {
                "name": "scram",
                "port": KAFKA_PORT,
                "type": "internal",
                "tls": True,
                "authentication": {"type": "scram-sha-512"},
                "networkPolicyPeers": [
                    {"podSelector": {"matchLabels": PART_OF}},
                    {
                        "namespaceSelector": {
                            "matchLabels": {"kubernetes.io/metadata.name": NAMESPACE_OF["keda"]}
                        }
                    },
                ],
            }
        ],
        "authorization": {"type": "simple"},
        "config": broker_settings(brokers),
        "metricsConfig": {
            "type": "strimziMetricsReporter",
            "values": {"allowList": list(_METRICS)},
        },
    }
    if brokers > 1:
        kafka["rack"] = {"topologyKey": "topology.kubernetes.io/zone"}
    operators = {
        "topicOperator": {"resources": _resources("100m", 384)},
        "userOperator": {"secretPrefix": USER_SECRET, "resources": _resources("100m", 384)},
    }
    return manifest("Kafka", _API, KAFKA, spec={"kafka": kafka, "entityOperator": operators})


def broker_settings(brokers: int) -> dict[str, Any]:
    """Brokers' settings. Topics name none of them, so that they have these."""
    copies = min(3, brokers)
    enough = max(1, copies - 1)
    return {
        "auto.create.topics.enable": False,
        "default.replication.factor": copies,
        "min.insync.replicas": enough,
        "offsets.topic.replication.factor": copies,
        "transaction.state.log.replication.factor": copies,
        "transaction.state.log.min.isr": enough,
        "share.coordinator.state.topic.replication.factor": copies,
        "share.coordinator.state.topic.min.isr": enough,
        # As the local broker has them: a killed worker's partitions come back after 10 s.
        "group.consumer.min.session.timeout.ms": 10_000,
        "group.consumer.session.timeout.ms": 10_000,
        "group.consumer.min.heartbeat.interval.ms": 2_000,
        "group.consumer.heartbeat.interval.ms": 2_000,
        "group.min.session.timeout.ms": 2_000,
        # Longer than any topic keeps requests: a group that was away for a week goes on there.
        "offsets.retention.minutes": 31 * 24 * 60,
    }


def pools(brokers: int, disk: str) -> list[Manifest]:
    """Three brokers and three controllers, or one node that is both."""
    if brokers == 1:
        return [_pool("node", ("controller", "broker"), 1, disk, 1536)]
    return [
        _pool("controller", ("controller",), 3, "10Gi", 1024),
        _pool("broker", ("broker",), brokers, disk, 4096),
    ]


def _pool(name: str, roles: tuple[str, ...], nodes: int, disk: str, memory: int) -> Manifest:
    volume = {
        "id": 0,
        "type": "persistent-claim",
        "size": disk,
        "deleteClaim": False,
        "kraftMetadata": "shared",
    }
    spread = {
        "maxSkew": 1,
        "topologyKey": "kubernetes.io/hostname",
        "whenUnsatisfiable": "ScheduleAnyway" if nodes == 1 else "DoNotSchedule",
        "labelSelector": {"matchLabels": {**_LABEL, "strimzi.io/pool-name": name}},
    }
    heap = f"{memory // 2}m"  # the other half is for the page cache and buffers
    spec = {
        "replicas": nodes,
        "roles": list(roles),
        "storage": {"type": "jbod", "volumes": [volume]},
        "resources": _resources("500m", memory),
        "jvmOptions": {"-Xms": heap, "-Xmx": heap},
        "template": {"pod": {"topologySpreadConstraints": [spread]}},
    }
    return manifest("KafkaNodePool", _API, name, labels=_LABEL, spec=spec)


def _resources(cpu: str, memory: int) -> dict[str, Any]:
    return {
        "requests": {"cpu": cpu, "memory": f"{memory}Mi"},
        "limits": {"memory": f"{memory}Mi"},
    }


def topics() -> list[Manifest]:
    """What topics.yaml declares, as `darkroom topics apply` makes it, and the registry's own."""
    declared = [_topic(topic) for topic in load()]
    # Apicurio looks whether it is so before it starts.
    kept = {"cleanup.policy": "delete", "retention.ms": -1}
    own = [
        manifest(
            "KafkaTopic", _API, name, labels=_LABEL, spec={"partitions": 1, "config": dict(kept)}
        )
        for name in REGISTRY_TOPICS
    ]
    return [*declared, *own]


def _topic(topic: Topic) -> Manifest:
    spec = {"partitions": topic.partitions, "config": topic.config()}
    return manifest("KafkaTopic", _API, topic.name, labels=_LABEL, spec=spec)


def users() -> list[Manifest]:
    """One for each service, for the registry, for KEDA and for people."""
    names = (*SERVICES, REGISTRY, KEDA_USER, PEOPLES_USER)
    return [
        manifest(
            "KafkaUser",
            _API,
            name,
            labels=_LABEL,
            spec={
                "authentication": {"type": "scram-sha-512"},
                "authorization": {"type": "simple", "acls": rights_of(name)},
            },
        )
        for name in names
    ]
