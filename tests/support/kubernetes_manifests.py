"""The manifests of deploy/kubernetes, as a cluster gets them, and the schemas of its own kinds."""

import json
from collections.abc import Iterator, Mapping
from functools import cache
from importlib.resources import files
from pathlib import Path
from typing import Any, Final

import yaml
from jsonschema import Draft202012Validator
from referencing import Registry, Resource

FOLDER: Final = Path(__file__).parents[2] / "deploy/kubernetes"
OVERLAYS: Final = ("small", "production")
EXTRAS: Final = ("backup", "tools")
"""Folders that may be listed beside an overlay."""
VERSION: Final = "1.34"
"""Of Kubernetes: the oldest that the manifests are for."""

Manifest = dict[str, Any]
Labels = Mapping[str, str]

_WORKLOADS: Final = ("Deployment", "StatefulSet", "Job", "CronJob")
_CACHED: Final[dict[str, list[Manifest]]] = {}


def objects(overlay: str) -> list[Manifest]:
    """All of an overlay and the extras. Its kustomizations name resources and change nothing."""
    if overlay not in _CACHED:
        _CACHED[overlay] = [one for folder in folders(overlay) for one in _resources(folder)]
    return _CACHED[overlay]


def folders(overlay: str) -> list[Path]:
    """An overlay's, and the extras'."""
    return [FOLDER / "overlays" / overlay, *(FOLDER / "extras" / extra for extra in EXTRAS)]


def _resources(folder: Path) -> Iterator[Manifest]:
    (kustomization,) = _documents(folder / "kustomization.yaml")
    assert set(kustomization) == {"apiVersion", "kind", "resources"}
    for name in kustomization["resources"]:
        place = folder / name
        yield from _resources(place) if place.is_dir() else _documents(place)


def _documents(file: Path) -> list[Manifest]:
    text = file.read_text(encoding="utf-8")
    return [one for one in yaml.load_all(text, Loader=yaml.CSafeLoader) if one]


def of_kind(overlay: str, *kinds: str) -> list[Manifest]:
    """Those of some kinds."""
    return [one for one in objects(overlay) if one["kind"] in kinds]


def named(overlay: str, kind: str, name: str) -> Manifest:
    """The one of this kind and name."""
    (found,) = [one for one in of_kind(overlay, kind) if one["metadata"]["name"] == name]
    return found


def names(overlay: str, kind: str) -> set[str]:
    """Of all of a kind."""
    return {one["metadata"]["name"] for one in of_kind(overlay, kind)}


def templates(overlay: str) -> dict[str, Manifest]:
    """The pods of our workloads, by the workload's name."""
    return {
        one["metadata"]["name"]: one["spec"].get("jobTemplate", one)["spec"]["template"]
        for one in of_kind(overlay, *_WORKLOADS)
    }


def container(template: Manifest) -> Manifest:
    """The only one of a pod."""
    (found,) = template["spec"]["containers"]
    assert "initContainers" not in template["spec"]
    return dict(found)


def selects(selector: Manifest, labels: Labels) -> bool:
    """Whether a label selector takes a pod."""
    wanted = selector.get("matchLabels", {})
    among = selector.get("matchExpressions", [])
    assert all(one["operator"] == "In" for one in among)
    return all(labels.get(key) == value for key, value in wanted.items()) and all(
        labels.get(one["key"]) in one["values"] for one in among
    )


def variables(overlay: str, template: Manifest) -> dict[str, str]:
    """The environment of a pod's container. What is in secrets, or said of the pod, is made up."""
    program = container(template)
    found: dict[str, str] = {}
    for source in program.get("envFrom", []):
        if "configMapRef" in source:
            found |= named(overlay, "ConfigMap", source["configMapRef"]["name"])["data"]
    for one in program.get("env", []):
        value = one.get("value") or _value_of(overlay, one)
        for known in found:
            value = value.replace(f"$({known})", found[known])
        found[one["name"]] = value
    return found


def _value_of(overlay: str, variable: Manifest) -> str:
    if ref := variable["valueFrom"].get("configMapKeyRef"):
        return str(named(overlay, "ConfigMap", ref["name"])["data"][ref["key"]])
    name = variable["name"]
    return _MADE_UP.get(name, f"some-{name.lower()}")


_MADE_UP: Final = {
    "DARKROOM_DATABASE": "postgresql://darkroom:secret@catalog-rw.darkroom:5432/darkroom",
    "POD_IP": "10.1.2.3",
}


def secrets(template: Manifest) -> set[str]:
    """Names of the secrets that a pod has something of."""
    program = container(template)
    refs = [
        one["valueFrom"].get("secretKeyRef") for one in program.get("env", []) if "valueFrom" in one
    ]
    refs += [one.get("secretRef") for one in program.get("envFrom", [])]
    files_of = [
        one["secret"]["secretName"] for one in template["spec"]["volumes"] if "secret" in one
    ]
    return {ref["name"] for ref in refs if ref} | set(files_of)


# -- Kubernetes' own kinds ------------------------------------------------------------------------


def faults(manifest: Manifest) -> list[str] | None:
    """What is wrong with an object of Kubernetes' own kinds, as sentences; None: no such kind."""
    validator = _validator(manifest["apiVersion"], manifest["kind"])
    if validator is None:
        return None
    return [f"{error.json_path}: {error.message}" for error in validator.iter_errors(manifest)]


@cache
def _validator(api: str, kind: str) -> Draft202012Validator | None:
    group, _, version = api.rpartition("/")
    words = [kind.lower(), group.partition(".")[0], version]
    file = _schemas() / f"{'-'.join(word for word in words if word)}.json"
    if not file.is_file():
        return None
    schema = json.loads(file.read_text(encoding="utf-8"))
    return Draft202012Validator(schema, registry=_definitions())


@cache
def _definitions() -> "Registry[Any]":
    content = json.loads((_schemas() / "_definitions.json").read_text(encoding="utf-8"))
    return Resource.from_contents(content) @ Registry()


def _schemas() -> Path:
    """Those of one version, that refuse unknown fields."""
    folder = files("kubernetes_validate") / "kubernetes-json-schema" / f"v{VERSION}.0-local-strict"
    return Path(str(folder))
