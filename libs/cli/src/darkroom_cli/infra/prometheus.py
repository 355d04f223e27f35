"""Prometheus with our rules and alerts, which looks at every process of the stack."""

import json
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Final

from darkroom_cli.infra.probes import http_ok
from darkroom_cli.paths import DataFolder, repository_root
from darkroom_cli.settings import CliSettings
from darkroom_cli.supervision.spec import ProcessSpec

NAME: Final = "prometheus"

_FILES: Final = ("prometheus.yml", "rules.yml", "alerts.yml")

_KEPT: Final = ("7d", "1GB")
"""What it keeps, whichever is less: a week of this stack's ten processes takes a few 100 MB."""


def prometheus_spec(
    data: DataFolder, program: str, port: int, targets: Mapping[str, int]
) -> ProcessSpec:
    """Loopback only. `targets`: the ports at which processes serve their metrics, by name."""
    folder = data.prometheus
    kept_for, kept_size = _KEPT
    return ProcessSpec(
        name=NAME,
        argv=(
            program,
            f"--config.file={folder / 'prometheus.yml'}",
            f"--storage.tsdb.path={folder / 'tsdb'}",
            f"--storage.tsdb.retention.time={kept_for}",
            f"--storage.tsdb.retention.size={kept_size}",
            f"--web.listen-address=127.0.0.1:{port}",
            "--log.level=warn",
        ),
        port=port,
        prepare=lambda: _write(folder, targets),
        probe=http_ok(port, "/-/ready"),
        nice=CliSettings().service_nice,
    )


def _write(folder: Path, targets: Mapping[str, int]) -> None:
    """The configuration of the checkout, since paths in it are meant from where it lies, and the
    targets beside it."""
    source = repository_root() / "deploy" / "prometheus"
    (folder / "targets").mkdir(parents=True, exist_ok=True)
    for name in _FILES:
        shutil.copyfile(source / name, folder / name)
    groups = [
        {"targets": [f"127.0.0.1:{port}"], "labels": {"process": name}}
        for name, port in targets.items()
    ]
    (folder / "targets" / "local.json").write_text(json.dumps(groups, indent=1))
