"""What all our pods have alike: who they are, what they may not do, where they may write."""

from typing import Any, Final

from manifests.names import NAME, Share, labels

UID: Final = 10_001
"""Of our images."""

Volume = tuple[dict[str, Any], str]
"""What it is, and where it is mounted; read only, unless it is there to be written."""

SCRATCH: Final[Volume] = ({"name": "tmp", "emptyDir": {"sizeLimit": "2Gi"}}, "/tmp")  # noqa: S108
CACHE: Final = "/var/cache/darkroom"

_WRITTEN: Final = ("emptyDir", "ephemeral", "persistentVolumeClaim", "accessModes")

_ANYWHERE: Final = ("kubernetes.io/hostname", "topology.kubernetes.io/zone")


def pod(
    name: str, containers: list[dict[str, Any]], volumes: list[Volume], uid: int = UID
) -> dict[str, Any]:
    """The spec of a pod that the namespace's `restricted` standard lets in."""
    return {
        "serviceAccountName": name,
        "automountServiceAccountToken": False,
        "enableServiceLinks": False,
        "securityContext": {
            "runAsNonRoot": True,
            "runAsUser": uid,
            "runAsGroup": uid,
            "fsGroup": uid,
            "fsGroupChangePolicy": "OnRootMismatch",
            "seccompProfile": {"type": "RuntimeDefault"},
        },
        "topologySpreadConstraints": [
            {
                "maxSkew": 1,
                "topologyKey": key,
                "whenUnsatisfiable": "ScheduleAnyway",
                "labelSelector": {"matchLabels": {NAME: name}},
            }
            for key in _ANYWHERE
        ],
        "containers": containers,
        "volumes": [what for what, _ in volumes if "accessModes" not in what],
    }


def container(
    name: str, image: str, share: Share, volumes: list[Volume], **content: Any
) -> dict[str, Any]:
    """A container that can write nowhere but in its volumes."""
    return {
        "name": name,
        "image": image,
        **content,
        "resources": {
            "requests": {"cpu": share.cpu, "memory": f"{share.memory}Mi"},
            "limits": {"memory": f"{share.most}Mi"},
        },
        "securityContext": {
            "allowPrivilegeEscalation": False,
            "readOnlyRootFilesystem": True,
            "capabilities": {"drop": ["ALL"]},
        },
        "volumeMounts": [_mount(*volume) for volume in volumes],
    }


def _mount(what: dict[str, Any], where: str) -> dict[str, Any]:
    mount = {"name": what["name"], "mountPath": where}
    return mount if any(kind in what for kind in _WRITTEN) else {**mount, "readOnly": True}


def template(name: str, spec: dict[str, Any]) -> dict[str, Any]:
    """Of the pods of a Deployment, StatefulSet or Job."""
    return {"metadata": {"labels": labels(name)}, "spec": spec}


def probes(port: str, path_alive: str, path_ready: str, start_s: int) -> dict[str, Any]:
    """Alive and ready over HTTP; a start may take `start_s`, in which neither is asked for."""
    ask = {"periodSeconds": 10, "timeoutSeconds": 3}
    alive = {"httpGet": {"path": path_alive, "port": port}, **ask}
    return {
        "startupProbe": {**alive, "periodSeconds": 5, "failureThreshold": start_s // 5},
        # Five times: a worker whose machine was frozen for half a minute goes on by itself.
        "livenessProbe": {**alive, "failureThreshold": 5},
        "readinessProbe": {
            "httpGet": {"path": path_ready, "port": port},
            **ask,
            "failureThreshold": 2,
        },
    }


def from_secret(variable: str, secret: str, key: str) -> dict[str, Any]:
    """A variable of the environment whose value is in a secret."""
    return {"name": variable, "valueFrom": {"secretKeyRef": {"name": secret, "key": key}}}


def from_pod(variable: str, field: str) -> dict[str, Any]:
    """A variable of the environment that says something of the pod."""
    return {"name": variable, "valueFrom": {"fieldRef": {"fieldPath": field}}}


def from_config(variable: str, config: str, key: str) -> dict[str, Any]:
    """A variable of the environment whose value is in a ConfigMap."""
    return {"name": variable, "valueFrom": {"configMapKeyRef": {"name": config, "key": key}}}


def claim(disk: str) -> dict[str, Any]:
    """The spec of a claim of so much disk, for one node at a time."""
    return {"accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": disk}}}


def secret_file(name: str, secret: str, key: str, folder: str) -> Volume:
    """One key of a secret, as a file in a folder."""
    items = [{"key": key, "path": key}]
    return {"name": name, "secret": {"secretName": secret, "items": items}}, folder
