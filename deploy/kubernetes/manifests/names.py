"""Every name that more than one manifest has."""

from dataclasses import dataclass
from importlib.metadata import version
from typing import Any, Final

Manifest = dict[str, Any]
"""One Kubernetes object."""

NAMESPACE: Final = "darkroom"
PART_OF: Final = {"app.kubernetes.io/part-of": "darkroom"}
"""On every pod of ours, not on those that operators make."""

NAME: Final = "app.kubernetes.io/name"
SERVICE: Final = {"app.kubernetes.io/component": "service"}
"""On what begins to work as soon as it is there: a restore applies all but this."""
RELEASE: Final = version("darkroom-streamkit")
"""Tag of our images, and part of the jobs' names: a job can't be changed, only followed."""

KAFKA: Final = "darkroom"
"""Strimzi's cluster; its services and secrets begin with it."""
KAFKA_VERSION: Final = "4.3.1"
"""The newest that Strimzi 1.2 runs."""
KAFKA_PORT: Final = 9093
BOOTSTRAP: Final = f"{KAFKA}-kafka-bootstrap.{NAMESPACE}.svc:{KAFKA_PORT}"
"""With the namespace, since KEDA asks from another one."""
KAFKA_CA: Final = f"{KAFKA}-cluster-ca-cert"
USER_SECRET: Final = "kafka-"  # noqa: S105 - a name, no secret
"""Before a user's name: the secret that Strimzi makes of it."""

CATALOG: Final = "catalog"
"""CloudNativePG's cluster; likewise."""
CATALOG_PORT: Final = 5432

REGISTRY: Final = "registry"
REGISTRY_PORT: Final = 8080
REGISTRY_URL: Final = f"http://{REGISTRY}.{NAMESPACE}.svc:{REGISTRY_PORT}/apis/ccompat/v7"
REGISTRY_TOPICS: Final = ("kafkasql-journal", "kafkasql-snapshots", "registry-events")
REGISTRY_GROUPS: Final = "registry-"

VALKEY: Final = "valkey"
VALKEY_PORT: Final = 6379

HEALTH_PORT: Final = 9100
API_PORT: Final = 8080

OBJECTS: Final = "objects"
"""A secret that whoever installs makes: the key of the object store."""
SETTINGS: Final = "darkroom-settings"
"""A ConfigMap: what all services have."""
OBJECT_SETTINGS: Final = "darkroom-objects"
"""A ConfigMap: where the objects are."""

PEOPLES_USER: Final = "tools"
"""Kafka's user for `darkroom topics`, `dlq` and the like."""
KEDA_USER: Final = "keda"

BACKUP: Final = "backup"
"""Name on the pods that back up and restore."""
TOOLS: Final = "tools"
"""Name on the pod of the `darkroom` command. It is people's, as its Kafka user."""

NAMESPACE_OF: Final = {
    "keda": "keda",
    "cnpg": "cnpg-system",
    "monitoring": "monitoring",
    "ingress": "ingress-nginx",
    "dns": "kube-system",
}
"""Where others run whom pods here talk with."""


def labels(name: str) -> dict[str, str]:
    """Labels of our own pods, which selectors name."""
    return {NAME: name, **PART_OF}


def manifest(kind: str, api: str, name: str, **content: Any) -> Manifest:
    """An object of ours. `annotations` and `labels` go into its metadata, the rest stays beside."""
    metadata: dict[str, Any] = {"name": name, "namespace": NAMESPACE}
    for part in ("labels", "annotations"):
        if part in content:
            metadata[part] = content.pop(part)
    return {"apiVersion": api, "kind": kind, "metadata": metadata, **content}


@dataclass(frozen=True, slots=True)
class Share:
    """Of a node, for one pod. Memory in Mi: asked for, and at most. CPU has no upper bound: to be
    throttled while the node idles helps nobody."""

    cpu: str
    memory: int
    most: int


@dataclass(frozen=True, slots=True)
class Process:
    """One of our programs. `service` is its image, Kafka user and settings class.

    `lanes`: its groups are `darkroom.SERVICE.LANE`. `replicas` where nothing scales it.
    """

    name: str
    service: str
    share: Share
    arguments: tuple[str, ...] = ()
    lanes: tuple[str, ...] = ()
    objects: bool = True
    redis: bool = True
    database: bool = False
    replicas: int = 2


LANES: Final = ("high", "default", "batch", "learning")

AGGREGATOR: Final = "aggregator"
API: Final = "gateway-api"
RECORDER: Final = "gateway-recorder"

PROCESSES: Final = (
    Process(API, "gateway", Share("250m", 512, 1536), ("api",), database=True),
    Process(
        RECORDER, "gateway", Share("250m", 256, 768), ("recorder",), ("recorder",), database=True
    ),
    Process("gateway-control", "gateway", Share("250m", 384, 1024), ("control",), database=True),
    Process("intake", "intake", Share("500m", 768, 3072), lanes=LANES),
    Process("detector", "detector", Share("500m", 768, 1536), lanes=LANES),
    Process("ocr", "ocr", Share("1", 1536, 3072), lanes=LANES),
    Process("embedder", "embedder", Share("500m", 1024, 2048), lanes=LANES),
    Process("trainer", "trainer", Share("250m", 512, 2048), lanes=("learning",)),
    Process(AGGREGATOR, "aggregator", Share("500m", 512, 2048), objects=False, redis=False),
)
SERVICES: Final = tuple(dict.fromkeys(process.service for process in PROCESSES))
