"""Check manifests against the schemas of a cluster's own kinds.

    kubectl get customresourcedefinitions -o yaml > crds.yaml
    kubectl kustomize deploy/kubernetes/overlays/production > darkroom.yaml
    python deploy/kubernetes/validate.py --crds crds.yaml darkroom.yaml

Without a cluster, `--crds` takes the files that an operator's release has. Exits with 1 and says
what is wrong; a field that a kind does not know is wrong, too: the API server would drop it.
Kinds without a definition are counted, not checked. Rules in CEL are left to the API server.
"""

import argparse
import sys
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any, Final

import yaml
from jsonschema import Draft202012Validator

Schemas = Mapping[tuple[str, str], Mapping[str, Any]]
"""JSON schemas by apiVersion and kind."""

_ENVELOPE: Final[dict[str, Any]] = {"apiVersion": {}, "kind": {}, "metadata": {}}
"""What every object has, and no definition describes."""


def documents(files: Iterable[Path]) -> Iterator[dict[str, Any]]:
    """The objects in YAML files; lists are opened."""
    for file in files:
        for one in yaml.load_all(file.read_text(encoding="utf-8"), Loader=yaml.CSafeLoader):
            if one and one.get("kind") == "List":
                yield from one["items"]
            elif one:
                yield one


def schemas(definitions: Iterable[Mapping[str, Any]]) -> Schemas:
    """The schemas of what CustomResourceDefinitions define."""
    found = {}
    for one in definitions:
        spec = one["spec"]
        for version in spec["versions"]:
            schema = strict(version["schema"]["openAPIV3Schema"])
            schema["properties"] = {**schema.get("properties", {}), **_ENVELOPE}
            found[f"{spec['group']}/{version['name']}", spec["names"]["kind"]] = schema
    return found


def strict(schema: Any) -> Any:
    """A structural schema as JSON Schema that refuses what it does not name."""
    if isinstance(schema, list):
        return [strict(one) for one in schema]
    if not isinstance(schema, dict):
        return schema
    made = {key: strict(value) for key, value in schema.items() if not key.startswith("x-")}
    if isinstance(schema.get("properties"), dict):
        made["properties"] = {key: strict(value) for key, value in schema["properties"].items()}
        if not schema.get("x-kubernetes-preserve-unknown-fields"):
            made.setdefault("additionalProperties", False)
    if schema.get("x-kubernetes-int-or-string"):
        made["type"] = ["integer", "string"]
    if schema.get("nullable") and isinstance(made.get("type"), str):
        made["type"] = [made["type"], "null"]
    return made


def problems(manifest: Mapping[str, Any], known: Schemas) -> list[str] | None:
    """What is wrong with it, as sentences; None if its kind is not known."""
    schema = known.get((manifest["apiVersion"], manifest["kind"]))
    if schema is None:
        return None
    name = f"{manifest['kind']} {manifest['metadata']['name']}"
    errors = Draft202012Validator(schema).iter_errors(manifest)
    return [f"{name}: {error.json_path}: {error.message[:300]}" for error in errors]


def main() -> int:
    """Says what is wrong."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("manifests", nargs="+", type=Path)
    parser.add_argument("--crds", nargs="+", type=Path, required=True)
    given = parser.parse_args()
    known = schemas(
        one for one in documents(given.crds) if one["kind"] == "CustomResourceDefinition"
    )
    checked, unknown, wrong = 0, 0, []
    for one in documents(given.manifests):
        found = problems(one, known)
        checked += found is not None
        unknown += found is None
        wrong += found or []
    print(*wrong, f"{checked} checked, {unknown} of kinds without a definition", sep="\n")  # noqa: T201
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
