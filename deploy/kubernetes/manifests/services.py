"""Our own programs: Deployments, the aggregator's StatefulSet, the jobs, the api door's Service."""

import json
from typing import Any, Final

from manifests.names import (
    AGGREGATOR,
    API,
    API_PORT,
    BACKUP,
    BOOTSTRAP,
    CATALOG,
    HEALTH_PORT,
    KAFKA_CA,
    NAMESPACE,
    OBJECT_SETTINGS,
    OBJECTS,
    PEOPLES_USER,
    PROCESSES,
    REGISTRY_URL,
    RELEASE,
    SERVICE,
    SETTINGS,
    TOOLS,
    USER_SECRET,
    VALKEY,
    VALKEY_PORT,
    Manifest,
    Process,
    Share,
    labels,
    manifest,
)
from manifests.pods import (
    CACHE,
    SCRATCH,
    Volume,
    claim,
    container,
    from_config,
    from_pod,
    from_secret,
    pod,
    probes,
    secret_file,
    template,
)
from manifests.scaling import IN_FLIGHT, SCALED

HOST: Final = "photos.example.com"
"""What people call the api door; whoever installs has another name."""

GRACE_S: Final = 40
"""From SIGTERM to SIGKILL: what a door waits for its last requests, or a worker for its work in
hand (DARKROOM_DRAIN_S, 8), and for the broker's answers after that."""
_LEAVE_S: Final = 5
"""The api door is still asked until every node knows that it goes."""

_KAFKA_FOLDER: Final = "/etc/darkroom/kafka"
_CATALOG_FOLDER: Final = "/etc/darkroom/catalog"
_SMALL: Final = Share("100m", 256, 512)
_START_S: Final = 180
"""Loading models takes seconds, the aggregator's tables are read back before it is ready."""

MIGRATE: Final = "migrate"
SCHEMAS: Final = "schemas"
_COMMAND: Final = "darkroom-cli"
"""Image of the `darkroom` command."""

_HOST_KEY: Final = "PUBLIC_HOST"
_SPOOL: Final = "/var/spool/darkroom"
_UPLOAD_DISK: Final = "12Gi"
"""What one upload takes at most (DARKROOM_ARCHIVE_MAX_BYTES, DARKROOM_MODEL_FILE_MAX_BYTES), and
what the door leaves free."""
_UPLOADS_DISK: Final = "48Gi"
"""As many of them as a door takes at once."""

_BACKUP_FOLDER: Final = "/backup"
_BACKUP_DISK: Final = "500Gi"
RESTORE: Final = "restore"


def settings() -> list[Manifest]:
    """What is set for all services, and where the objects are."""
    common = {
        "DARKROOM_KAFKA": BOOTSTRAP,
        "DARKROOM_KAFKA_SECURITY": "sasl_ssl",
        "DARKROOM_KAFKA_MECHANISM": "SCRAM-SHA-512",
        "DARKROOM_KAFKA_CA": f"{_KAFKA_FOLDER}/ca.crt",
        "DARKROOM_REGISTRY": REGISTRY_URL,
        "DARKROOM_CACHE": f"{CACHE}/schemas",
        "DARKROOM_HEALTH_HOST": "0.0.0.0",  # noqa: S104 - the network policies say who comes
        "DARKROOM_HEALTH_PORT": str(HEALTH_PORT),
        # Where traces go, by OTLP over HTTP; nowhere while it is empty.
        "OTEL_EXPORTER_OTLP_ENDPOINT": "",
    }
    objects = {
        "DARKROOM_OBJECTS": "s3://darkroom/objects",
        "DARKROOM_STORES": json.dumps([]),
        "AWS_REGION": "us-east-1",
    }
    return [
        manifest("ConfigMap", "v1", SETTINGS, data=common),
        manifest("ConfigMap", "v1", OBJECT_SETTINGS, data=objects),
        manifest("ConfigMap", "v1", API, data={_HOST_KEY: HOST}),
    ]


def accounts(names: tuple[str, ...]) -> list[Manifest]:
    """An account for each program, none of which talks with the cluster."""
    return [
        manifest("ServiceAccount", "v1", name, automountServiceAccountToken=False) for name in names
    ]


def workloads(many: bool) -> list[Manifest]:
    """All our programs. `many`: as many as Process says and KEDA decides, else one of each."""
    return [
        _stateful(one, many) if one.name == AGGREGATOR else _deployment(one, many)
        for one in PROCESSES
    ]


def _deployment(process: Process, many: bool) -> Manifest:
    scaled = process.name in (*SCALED, API)
    replicas = {} if many and scaled else {"replicas": process.replicas if many else 1}
    # A worker beyond the partitions would wait for some, and so never be ready: one goes before
    # the next comes. A door has no such limit, and nobody shall knock in vain.
    steps = {"maxSurge": 0, "maxUnavailable": 1}
    if process.name in (API, "gateway-control"):
        steps = {"maxSurge": 1, "maxUnavailable": 0}
    spec = {
        **replicas,
        "revisionHistoryLimit": 3,
        "selector": {"matchLabels": labels(process.name)},
        "strategy": {"type": "RollingUpdate", "rollingUpdate": steps},
        "template": template(process.name, _pod(process, many)),
    }
    return manifest(
        "Deployment", "apps/v1", process.name, labels=labels(process.name) | SERVICE, spec=spec
    )


def _stateful(process: Process, many: bool) -> Manifest:
    """Its pods' names stay, and with them the members of its group: a restarted one has its
    partitions back at once. Its tables are in Kafka and in memory, so there is no volume."""
    spec = {
        "replicas": process.replicas if many else 1,
        "revisionHistoryLimit": 3,
        "serviceName": process.name,
        "podManagementPolicy": "Parallel",
        "selector": {"matchLabels": labels(process.name)},
        "updateStrategy": {"type": "RollingUpdate"},
        "template": template(process.name, _pod(process, many)),
    }
    return manifest(
        "StatefulSet", "apps/v1", process.name, labels=labels(process.name) | SERVICE, spec=spec
    )


def _pod(process: Process, many: bool) -> dict[str, Any]:
    volumes = _volumes(process, many)
    is_api = process.name == API
    port = {
        "name": "http" if is_api else "health",
        "containerPort": API_PORT if is_api else HEALTH_PORT,
    }
    content: dict[str, Any] = {"args": list(process.arguments)} if process.arguments else {}
    if is_api:
        content["lifecycle"] = {"preStop": {"sleep": {"seconds": _LEAVE_S}}}
    program = container(
        process.name,
        f"darkroom-{process.service}:{RELEASE}",
        process.share,
        volumes,
        **content,
        ports=[port],
        envFrom=_settings_of(process),
        env=_environment(process, many),
        **probes(str(port["name"]), "/livez", "/readyz", _START_S),
    )
    spec = pod(process.name, [program], volumes)
    return {**spec, "terminationGracePeriodSeconds": GRACE_S}


def _volumes(process: Process, many: bool) -> list[Volume]:
    volumes = [
        SCRATCH,
        ({"name": "cache", "emptyDir": {"sizeLimit": "4Gi"}}, CACHE),
        secret_file("kafka-ca", KAFKA_CA, "ca.crt", _KAFKA_FOLDER),
    ]
    if process.database:
        volumes.append(_CATALOG_CA)
    if process.name == API:
        volumes.append((_spool(_UPLOADS_DISK if many else _UPLOAD_DISK), _SPOOL))
    return volumes


def _spool(disk: str) -> dict[str, Any]:
    """A disk of the pod's own: the door sees how full it is, and refuses with 507; of an emptyDir
    it would see the node's, and be evicted."""
    return {"name": "spool", "ephemeral": {"volumeClaimTemplate": {"spec": claim(disk)}}}


_CATALOG_CA: Final = secret_file("catalog-ca", f"{CATALOG}-ca", "ca.crt", _CATALOG_FOLDER)


def _settings_of(process: Process) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = [{"configMapRef": {"name": SETTINGS}}]
    if process.objects:
        found += [{"configMapRef": {"name": OBJECT_SETTINGS}}, {"secretRef": {"name": OBJECTS}}]
    return found


def _environment(process: Process, many: bool) -> list[dict[str, Any]]:
    user = process.service
    found = [
        {"name": "DARKROOM_KAFKA_USER", "value": user},
        from_secret("DARKROOM_KAFKA_PASSWORD", f"{USER_SECRET}{user}", "password"),
        # Engines would take a thread for each core of the node.
        *({"name": name, "value": "1"} for name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS")),
    ]
    if process.redis:
        found += [
            from_secret("VALKEY_PASSWORD", VALKEY, "password"),
            {
                "name": "DARKROOM_REDIS",
                "value": f"redis://:$(VALKEY_PASSWORD)@{VALKEY}.{NAMESPACE}.svc:{VALKEY_PORT}/0",
            },
        ]
    if process.database:
        found += _of_catalog()
    if process.service == "gateway" and many:
        found += [
            {"name": "DARKROOM_IMPORT_IN_FLIGHT", "value": str(IN_FLIGHT)},
            {"name": "DARKROOM_REEMBED_IN_FLIGHT", "value": str(IN_FLIGHT)},
        ]
    if process.name == API:
        # The kubelet and Prometheus come by the pod's address.
        inside = (API, f"{API}.{NAMESPACE}", f"{API}.{NAMESPACE}.svc", "$(POD_IP)")
        hosts = json.dumps([f"$({_HOST_KEY})", *inside])
        found += [
            {"name": "DARKROOM_SPOOL", "value": _SPOOL},
            from_config(_HOST_KEY, API, _HOST_KEY),
            from_pod("POD_IP", "status.podIP"),
            {"name": "DARKROOM_API_HOST", "value": "0.0.0.0"},  # noqa: S104 - as above
            {"name": "DARKROOM_API_PORT", "value": str(API_PORT)},
            {"name": "DARKROOM_ALLOWED_HOSTS", "value": hosts},
        ]
    if process.service in ("detector", "ocr", "embedder"):
        found.append({"name": "DARKROOM_MODELS_CACHE", "value": f"{CACHE}/models"})
        found.append({"name": "HF_HOME", "value": f"{CACHE}/hub"})
    if process.name == AGGREGATOR:
        found.append(from_pod("DARKROOM_AGGREGATOR_INSTANCE", "metadata.name"))
    return found


def _of_catalog() -> list[dict[str, Any]]:
    """libpq reads the latter two."""
    return [
        from_secret("DARKROOM_DATABASE", f"{CATALOG}-app", "uri"),
        {"name": "PGSSLMODE", "value": "verify-full"},
        {"name": "PGSSLROOTCERT", "value": f"{_CATALOG_FOLDER}/ca.crt"},
    ]


def jobs() -> list[Manifest]:
    """What a release needs once: the catalog's tables, and schemas in the registry."""
    return [
        _job(
            MIGRATE,
            "darkroom-gateway",
            [MIGRATE],
            [SCRATCH, _CATALOG_CA],
            _of_catalog(),
        ),
        _job(
            SCHEMAS,
            _COMMAND,
            ["schemas", "apply"],
            [SCRATCH],
            [
                {"name": "DARKROOM_REGISTRY", "value": REGISTRY_URL},
                {"name": "HOME", "value": "/tmp"},  # noqa: S108 - a volume
            ],
        ),
    ]


def _job(
    name: str, image: str, arguments: list[str], volumes: list[Volume], env: list[dict[str, Any]]
) -> Manifest:
    program = container(name, f"{image}:{RELEASE}", _SMALL, volumes, args=arguments, env=env)
    spec = {**pod(name, [program], volumes), "restartPolicy": "OnFailure"}
    return manifest(
        "Job",
        "batch/v1",
        f"{name}-{RELEASE}",
        labels=labels(name) | SERVICE,
        spec={
            # Database and registry come up meanwhile.
            "backoffLimit": 20,
            # A job can't be changed, so the next `apply` with other images needs it gone.
            "ttlSecondsAfterFinished": 3600,
            "template": template(name, spec),
        },
    )


def backups() -> list[Manifest]:
    """Nightly backups onto a disk of their own, and the way back, which begins by hand alone."""
    return [
        manifest("PersistentVolumeClaim", "v1", BACKUP, spec=claim(_BACKUP_DISK)),
        *accounts((BACKUP,)),
        _cron_job(BACKUP, suspended=False),
        _cron_job(RESTORE, suspended=True),
    ]


def _cron_job(door: str, *, suspended: bool) -> Manifest:
    """Both have the same name on their pods: who may restore reaches what who backs up does."""
    process = Process(
        BACKUP,
        "gateway",
        Share("250m", 512, 2048),
        (door, "--folder", f"{_BACKUP_FOLDER}/darkroom"),
        redis=False,
        database=True,
    )
    disk = {"name": BACKUP, "persistentVolumeClaim": {"claimName": BACKUP}}
    volumes = [*_volumes(process, many=False), (disk, _BACKUP_FOLDER)]
    program = container(
        BACKUP,
        f"darkroom-gateway:{RELEASE}",
        process.share,
        volumes,
        args=list(process.arguments),
        envFrom=_settings_of(process),
        env=_environment(process, many=False),
    )
    spec = {**pod(BACKUP, [program], volumes), "restartPolicy": "Never"}
    return manifest(
        "CronJob",
        "batch/v1",
        door,
        labels=labels(BACKUP),
        spec={
            "schedule": "15 3 * * *",
            "suspend": suspended,
            "concurrencyPolicy": "Forbid",
            "jobTemplate": {"spec": {"backoffLimit": 2, "template": template(BACKUP, spec)}},
        },
    )


def tools() -> list[Manifest]:
    """A pod to work in with `kubectl exec`: the `darkroom` command as Kafka's user for people."""
    volumes: list[Volume] = [
        SCRATCH,
        secret_file("kafka-ca", KAFKA_CA, "ca.crt", _KAFKA_FOLDER),
    ]
    program = container(
        TOOLS,
        f"{_COMMAND}:{RELEASE}",
        _SMALL,
        volumes,
        command=["sleep", "infinity"],
        envFrom=[{"configMapRef": {"name": SETTINGS}}],
        env=[
            {"name": "DARKROOM_KAFKA_USER", "value": PEOPLES_USER},
            from_secret("DARKROOM_KAFKA_PASSWORD", f"{USER_SECRET}{PEOPLES_USER}", "password"),
            {"name": "HOME", "value": "/tmp"},  # noqa: S108 - a volume
        ],
    )
    # `sleep` is the first process, which signals do not end.
    spec = {**pod(TOOLS, [program], volumes), "terminationGracePeriodSeconds": 1}
    content = {
        "replicas": 1,
        "revisionHistoryLimit": 1,
        "selector": {"matchLabels": labels(TOOLS)},
        "template": template(TOOLS, spec),
    }
    return [
        *accounts((TOOLS,)),
        manifest("Deployment", "apps/v1", TOOLS, labels=labels(TOOLS), spec=content),
    ]


def api_service() -> Manifest:
    """The one door for people, inside the cluster."""
    return manifest(
        "Service",
        "v1",
        API,
        labels=labels(API),
        spec={
            "selector": labels(API),
            "ports": [{"name": "http", "port": API_PORT, "targetPort": "http"}],
        },
    )


def headless() -> Manifest:
    """The StatefulSet's, for its pods' names."""
    return manifest(
        "Service",
        "v1",
        AGGREGATOR,
        labels=labels(AGGREGATOR),
        spec={
            "clusterIP": "None",
            "selector": labels(AGGREGATOR),
            "ports": [{"name": "health", "port": HEALTH_PORT, "targetPort": "health"}],
        },
    )


def ingress() -> Manifest:
    """The api door from outside, with TLS; the secret is cert-manager's or one's own."""
    backend = {"service": {"name": API, "port": {"name": "http"}}}
    return manifest(
        "Ingress",
        "networking.k8s.io/v1",
        API,
        annotations={
            # Of ingress-nginx; others have names of their own. As DARKROOM_ARCHIVE_MAX_BYTES.
            "nginx.ingress.kubernetes.io/proxy-body-size": "10g",
            "nginx.ingress.kubernetes.io/proxy-request-buffering": "off",
            "nginx.ingress.kubernetes.io/proxy-read-timeout": "3600",
        },
        spec={
            "tls": [{"hosts": [HOST], "secretName": f"{API}-tls"}],
            "rules": [
                {
                    "host": HOST,
                    "http": {"paths": [{"path": "/", "pathType": "Prefix", "backend": backend}]},
                }
            ],
        },
    )
