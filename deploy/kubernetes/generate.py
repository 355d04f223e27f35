"""Write base/, overlays/ and extras/ from topics.yaml, deploy/prometheus,
deploy/grafana and manifests/.

    python deploy/kubernetes/generate.py [--check]

`--check` writes nothing and exits with 1 if a file is not what it would write.
"""

import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Final

import yaml
from manifests import kafka, network, scaling, services, surroundings, watching
from manifests.names import NAMESPACE, REGISTRY, VALKEY, Manifest

_HERE: Final = Path(__file__).parent
_NOTE: Final = "# Made by deploy/kubernetes/generate.py; change manifests/ instead.\n"
_RULES: Final = _HERE.parent / "prometheus"
_DASHBOARDS: Final = _HERE.parent / "grafana/dashboards"


class _Plain(yaml.SafeDumper):
    """YAML without anchors: readers shall not have to look elsewhere."""

    def ignore_aliases(self, data: object) -> bool:  # noqa: ARG002
        return True

    def increase_indent(self, flow: bool = False, indentless: bool = False) -> None:  # noqa: ARG002
        super().increase_indent(flow, False)

    def as_it_is(self, text: str) -> yaml.ScalarNode:
        """Lines stay lines."""
        style = "|" if "\n" in text else None
        return self.represent_scalar("tag:yaml.org,2002:str", text, style)


_Plain.add_representer(str, _Plain.as_it_is)


def files() -> dict[str, str]:
    """Text of each file, by its path below this folder."""
    found = dict(_folder("base", _base()))
    for name, objects, beside in (
        ("small", _small(), ["../../base"]),
        ("production", _production(), ["../../base"]),
    ):
        found |= dict(_folder(f"overlays/{name}", objects, beside))
    for name, extra in _extras().items():
        found |= dict(_folder(f"extras/{name}", {name: extra}))
    return found


def _base() -> dict[str, list[Manifest]]:
    """What every installation has."""
    everybody = (*scaling.all_names(), REGISTRY, VALKEY, services.MIGRATE, services.SCHEMAS)
    return {
        "namespace": [_namespace()],
        "settings": services.settings(),
        "accounts": services.accounts(everybody),
        "topics": kafka.topics(),
        "users": kafka.users(),
        "services": [services.api_service(), services.headless()],
        "jobs": services.jobs(),
        "valkey": surroundings.valkey(),
        "network": network.policies(),
        "budgets": scaling.budgets((*scaling.all_names(), REGISTRY)),
        "monitors": watching.monitors(),
        "rules": watching.rules(_RULES),
        "dashboards": watching.dashboards(_DASHBOARDS),
    }


def _small() -> dict[str, list[Manifest]]:
    """One of each, for a trial: nothing survives the loss of its node's disk."""
    return {
        "kafka": [kafka.cluster(1), *kafka.pools(1, "20Gi")],
        "catalog": [surroundings.catalog(1, "10Gi", backed_up=False)],
        "registry": surroundings.registry(1),
        "workloads": services.workloads(many=False),
    }


def _production() -> dict[str, list[Manifest]]:
    """Three brokers, three databases, workers by what waits."""
    return {
        "kafka": [kafka.cluster(3), *kafka.pools(3, "200Gi")],
        "catalog": [
            surroundings.catalog(3, "100Gi", backed_up=True),
            *surroundings.catalog_backups(),
        ],
        "registry": surroundings.registry(2),
        "workloads": services.workloads(many=True),
        "scaling": [scaling.username(), scaling.authentication(), *scaling.scaled_objects()],
        "ingress": [services.ingress()],
    }


def _extras() -> dict[str, list[Manifest]]:
    """What an overlay may list beside one of ours."""
    return {"backup": services.backups(), "tools": services.tools()}


def _namespace() -> Manifest:
    levels = ("enforce", "audit", "warn")
    marks = {f"pod-security.kubernetes.io/{level}": "restricted" for level in levels}
    return {
        "apiVersion": "v1",
        "kind": "Namespace",
        "metadata": {"name": NAMESPACE, "labels": marks},
    }


def _folder(
    folder: str, content: Mapping[str, list[Manifest]], beside: list[str] | None = None
) -> Iterator[tuple[str, str]]:
    names = [name for name, objects in content.items() if objects]
    for name in names:
        yield f"{folder}/{name}.yaml", _NOTE + _documents(content[name])
    kustomization = {
        "apiVersion": "kustomize.config.k8s.io/v1beta1",
        "kind": "Kustomization",
        "resources": [*(beside or []), *(f"{name}.yaml" for name in names)],
    }
    yield f"{folder}/kustomization.yaml", _NOTE + _documents([kustomization])


def _documents(objects: list[Any]) -> str:
    return yaml.dump_all(objects, Dumper=_Plain, sort_keys=False, allow_unicode=True, width=100)


def main() -> int:
    """Write, or with `--check` compare."""
    wanted = files()
    there = {
        str(file.relative_to(_HERE)): file.read_text(encoding="utf-8")
        for folder in ("base", "overlays", "extras")
        for file in (_HERE / folder).rglob("*.yaml")
    }
    stale = sorted(name for name in {*wanted, *there} if wanted.get(name) != there.get(name))
    if "--check" in sys.argv[1:]:
        for name in stale:
            print(f"{name} is not what generate.py writes", file=sys.stderr)  # noqa: T201
        return 1 if stale else 0
    for name in stale:
        file = _HERE / name
        if name not in wanted:
            file.unlink()
            continue
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(wanted[name], encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
