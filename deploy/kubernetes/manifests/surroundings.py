"""What the services stand on, beside Kafka: the catalog, the registry, Valkey."""

from typing import Any, Final

from manifests.names import (
    BOOTSTRAP,
    CATALOG,
    KAFKA_CA,
    REGISTRY,
    REGISTRY_GROUPS,
    REGISTRY_PORT,
    USER_SECRET,
    VALKEY,
    VALKEY_PORT,
    Manifest,
    Share,
    labels,
    manifest,
)
from manifests.pods import (
    SCRATCH,
    Volume,
    container,
    from_secret,
    pod,
    probes,
    secret_file,
    template,
)

_POSTGRES_IMAGE: Final = "ghcr.io/cloudnative-pg/postgresql:18-standard-trixie"
"""`standard` has pgvector; `minimal` has it not."""
_REGISTRY_IMAGE: Final = "quay.io/apicurio/apicurio-registry:3.3.3"
_VALKEY_IMAGE: Final = "docker.io/valkey/valkey:8.1-alpine"

BACKUPS: Final = "catalog-backups"
_BARMAN: Final = "barman-cloud.cloudnative-pg.io"

_MANAGEMENT_PORT: Final = 9000
_REGISTRY_UID: Final = 1001
_VALKEY_UID: Final = 999
_CA_FOLDER: Final = "/etc/darkroom/kafka"


def catalog(instances: int, disk: str, backed_up: bool) -> Manifest:
    """PostgreSQL with pgvector. The extension is made at once, since only a superuser may."""
    spec: dict[str, Any] = {
        "instances": instances,
        "imageName": _POSTGRES_IMAGE,
        "storage": {"size": disk},
        "bootstrap": {
            "initdb": {
                "database": "darkroom",
                "owner": "darkroom",
                "encoding": "UTF8",
                "localeProvider": "builtin",
                "builtinLocale": "C.UTF-8",
                "locale": "C",
                "dataChecksums": True,
                "postInitApplicationSQL": ["CREATE EXTENSION IF NOT EXISTS vector"],
            }
        },
        "postgresql": {
            # A dozen for a control door, up to ten for an api door, one for a recorder.
            "parameters": {"max_connections": "200", "jit": "off"},
        },
        "resources": {
            "requests": {"cpu": "500m", "memory": "1Gi"},
            "limits": {"memory": "2Gi"},
        },
    }
    if instances > 1:
        # What is told to a client as recorded is on two machines.
        spec["postgresql"]["synchronous"] = {
            "method": "any",
            "number": 1,
            "dataDurability": "required",
        }
        spec["affinity"] = {
            "enablePodAntiAffinity": True,
            "podAntiAffinityType": "required",
            "topologyKey": "kubernetes.io/hostname",
        }
    if backed_up:
        spec["plugins"] = [
            {
                "name": _BARMAN,
                "isWALArchiver": True,
                "parameters": {"barmanObjectName": BACKUPS},
            }
        ]
    return manifest("Cluster", "postgresql.cnpg.io/v1", CATALOG, spec=spec)


def catalog_backups() -> list[Manifest]:
    """Where the catalog's WAL and nightly backups go, by CloudNativePG's plugin."""
    key = [
        {parameter: {"name": BACKUPS, "key": name}}
        for parameter, name in (
            ("accessKeyId", "AWS_ACCESS_KEY_ID"),
            ("secretAccessKey", "AWS_SECRET_ACCESS_KEY"),
        )
    ]
    store = {
        "retentionPolicy": "30d",
        "configuration": {
            "destinationPath": "s3://darkroom-backups/catalog",
            "s3Credentials": {**key[0], **key[1]},
            "wal": {"compression": "gzip"},
            "data": {"compression": "gzip"},
        },
    }
    nightly = {
        "schedule": "0 30 2 * * *",
        "cluster": {"name": CATALOG},
        "method": "plugin",
        "pluginConfiguration": {"name": _BARMAN},
        "backupOwnerReference": "self",
    }
    return [
        manifest("ObjectStore", "barmancloud.cnpg.io/v1", BACKUPS, spec=store),
        manifest("ScheduledBackup", "postgresql.cnpg.io/v1", CATALOG, spec=nightly),
    ]


def registry(replicas: int) -> list[Manifest]:
    """Apicurio, which keeps the schemas in Kafka: each replica reads all of them at its start."""
    user = f"{USER_SECRET}{REGISTRY}"
    volumes: list[Volume] = [
        SCRATCH,
        secret_file("kafka-ca", KAFKA_CA, "ca.p12", _CA_FOLDER),
    ]
    common = {
        "SECURITY_PROTOCOL": "SASL_SSL",
        "SASL_MECHANISM": "SCRAM-SHA-512",
        "SSL_TRUSTSTORE_TYPE": "PKCS12",
        "SSL_TRUSTSTORE_LOCATION": f"{_CA_FOLDER}/ca.p12",
    }
    env = {
        "APICURIO_STORAGE_KIND": "kafkasql",
        "APICURIO_KAFKASQL_BOOTSTRAP_SERVERS": BOOTSTRAP,
        "APICURIO_KAFKASQL_TOPIC_AUTO_CREATE": "false",
        "APICURIO_KAFKASQL_CONSUMER_GROUP_PREFIX": REGISTRY_GROUPS,
        **{f"APICURIO_KAFKA_COMMON_{name}": value for name, value in common.items()},
    }
    program = container(
        REGISTRY,
        _REGISTRY_IMAGE,
        Share("250m", 512, 1024),
        volumes,
        ports=[
            {"name": "http", "containerPort": REGISTRY_PORT},
            {"name": "management", "containerPort": _MANAGEMENT_PORT},
        ],
        env=[
            *({"name": name, "value": value} for name, value in env.items()),
            from_secret("APICURIO_KAFKA_COMMON_SASL_JAAS_CONFIG", user, "sasl.jaas.config"),
            from_secret("APICURIO_KAFKA_COMMON_SSL_TRUSTSTORE_PASSWORD", KAFKA_CA, "ca.password"),
        ],
        **probes("management", "/health/live", "/health/ready", 180),
    )
    spec = {
        "replicas": replicas,
        "revisionHistoryLimit": 3,
        "selector": {"matchLabels": labels(REGISTRY)},
        "strategy": {
            "type": "RollingUpdate",
            "rollingUpdate": {"maxSurge": 1, "maxUnavailable": 0},
        },
        "template": template(REGISTRY, pod(REGISTRY, [program], volumes, uid=_REGISTRY_UID)),
    }
    return [
        manifest("Deployment", "apps/v1", REGISTRY, labels=labels(REGISTRY), spec=spec),
        _service(REGISTRY, {"name": "http", "port": REGISTRY_PORT, "targetPort": "http"}),
    ]


def valkey() -> list[Manifest]:
    """One, with its data on a volume: while it is away each door counts by itself, and no training
    begins."""
    data = {"name": "data", "accessModes": ["ReadWriteOnce"]}
    volumes: list[Volume] = [SCRATCH, (data, "/data")]
    ping = {"exec": {"command": ["sh", "-c", "valkey-cli ping | grep -q PONG"]}}
    program = container(
        VALKEY,
        _VALKEY_IMAGE,
        Share("100m", 128, 512),
        volumes,
        args=[
            "valkey-server",
            "--requirepass",
            "$(VALKEY_PASSWORD)",
            "--appendonly",
            "yes",
            "--maxmemory",
            "384mb",
        ],
        ports=[{"name": VALKEY, "containerPort": VALKEY_PORT}],
        env=[
            from_secret("VALKEY_PASSWORD", VALKEY, "password"),
            from_secret("REDISCLI_AUTH", VALKEY, "password"),
        ],
        readinessProbe={**ping, "periodSeconds": 10, "timeoutSeconds": 3},
        livenessProbe={**ping, "periodSeconds": 20, "timeoutSeconds": 5, "failureThreshold": 5},
    )
    claim = {
        "metadata": {"name": "data"},
        "spec": {
            "accessModes": data["accessModes"],
            "resources": {"requests": {"storage": "2Gi"}},
        },
    }
    spec = {
        "replicas": 1,
        "serviceName": VALKEY,
        "selector": {"matchLabels": labels(VALKEY)},
        "template": template(VALKEY, pod(VALKEY, [program], volumes, uid=_VALKEY_UID)),
        "volumeClaimTemplates": [claim],
    }
    return [
        manifest("StatefulSet", "apps/v1", VALKEY, labels=labels(VALKEY), spec=spec),
        _service(VALKEY, {"name": VALKEY, "port": VALKEY_PORT, "targetPort": VALKEY}),
    ]


def _service(name: str, port: dict[str, Any]) -> Manifest:
    return manifest(
        "Service",
        "v1",
        name,
        labels=labels(name),
        spec={"selector": labels(name), "ports": [port]},
    )
