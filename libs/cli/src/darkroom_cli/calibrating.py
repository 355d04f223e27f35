"""Fits the confidences of the detector's active version, by the detector's own program."""

import json
import os
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, Final

from darkroom_cli.client import GatewayError, Json
from darkroom_cli.models_door import ModelsDoor, files_of
from darkroom_cli.paths import DataFolder
from darkroom_cli.plan import service_environment
from darkroom_cli.show_models import CALIBRATION
from darkroom_cli.supervision.state import read_state

MODEL: Final = "detector"

_PROGRAM: Final = "detector.calibrate"
_CALIBRATED: Final = 0
_DOUBTFUL: Final = 3
"""Its exit codes: calibrated; fitted, but to too few photos or for the worse."""

_PACKAGED: Final = ("efficientnet-lite0",)
"""Engines that are the same without any setting."""

_SHOWN: Final = ("n", "temperature", "ece_before", "ece_after", "source", "fitted_at")


@dataclass(frozen=True, slots=True)
class Examples:
    """Photos whose labels are known: a folder `LABEL/photo.jpg`, or (None) people's answers."""

    folder: Path | None
    checkpoint: Path | None = None
    """Where the active version's files lie here, if it has any."""


@dataclass(frozen=True, slots=True)
class Fitted:
    """A calibration as the detector writes it, and the version that it was fitted for, which held
    as of `generation`. `calibrated`: whether its confidences will count as that."""

    version: Json
    generation: int
    calibration: Json
    calibrated: bool


def calibrate(registry: ModelsDoor, data: DataFolder, examples: Examples) -> Fitted:
    """A calibration of what holds; the program tells a person what it does.

    Raises GatewayError where there is nothing to calibrate, or the program does not fit it.
    """
    version, generation = active_version(registry)
    with TemporaryDirectory() as folder:
        file = Path(folder, "calibration.json")
        command = [sys.executable, "-m", _PROGRAM, "--json", str(file)]
        if examples.folder is not None:
            command.append(str(examples.folder))
        else:
            command += ["--reviews", registry.gateway.url]
        environment = {**os.environ, **_services(data), **_settings(version, examples.checkpoint)}
        code = subprocess.run(command, env=environment, check=False).returncode
        if code not in (_CALIBRATED, _DOUBTFUL):
            raise GatewayError("the confidences were not fitted; nothing is changed")
        found: Json = json.loads(file.read_text(encoding="utf-8"))
    return Fitted(version, generation, found, code == _CALIBRATED)


def as_version(fitted: Fitted, by: str) -> Json:
    """What to register: the version as it was, with these confidences."""
    version, calibration = fitted.version, fitted.calibration
    return {
        "engine": version["engine"],
        "options": {**version["options"], CALIBRATION: json.dumps(calibration)},
        "files": version["files"],
        "licence": version["licence"],
        "source": version["source"],
        "metrics": {
            **version["metrics"],
            "calibration": {name: calibration.get(name) for name in _SHOWN},
        },
        "notes": f"{version['version']} with confidences fitted to {calibration['n']} photos",
        "by": by,
    }


def active_version(registry: ModelsDoor) -> tuple[Json, int]:
    """The version of the detector that holds, and since which generation. Raises GatewayError."""
    model = registry.one(MODEL)
    found = [one for one in model["versions"] if one["version"] == model["active"]]
    if not found:
        raise GatewayError("no version of the detector is known to work yet: is it up?")
    return found[0], model["generation"]


def _services(data: DataFolder) -> Mapping[str, str]:
    state = read_state(data.state_file)
    if state is None:
        return {}
    return service_environment(data, state.addresses)


def _settings(version: Json, checkpoint: Path | None) -> dict[str, str]:
    """The version's options as the settings of the program."""
    if version["built_in"] and version["engine"] not in _PACKAGED:
        raise GatewayError(
            f"{version['version']} comes from the detector's own settings, which are not known"
            " here: register it (darkroom models register detector), activate that, and calibrate"
        )
    options: dict[str, Any] = {**version["options"]}
    options.pop(CALIBRATION, None)
    if version["files"]:
        if checkpoint is None:
            raise GatewayError(
                f"{version['version']} has files: say by --files in which folder they lie here"
            )
        _check(version, checkpoint)
        options.setdefault("detector_checkpoint", "./")
    settings = {
        name: str(checkpoint / value) if checkpoint and str(value).startswith("./") else value
        for name, value in options.items()
    }
    named = {f"DARKROOM_{name.upper()}": str(value) for name, value in settings.items()}
    return {"DARKROOM_DETECTOR_ENGINE": version["engine"], **named}


def _quiet(_what: str) -> None:
    """Which files are left out was told when they were registered."""


def _check(version: Json, checkpoint: Path) -> None:
    """Raises GatewayError unless the folder has exactly the version's files."""
    here = {path: file.sha256 for path, file in files_of(checkpoint, _quiet).items()}
    wanted = {one["path"]: one["sha256"] for one in version["files"]}
    if apart := sorted(path for path, sha256 in wanted.items() if here.get(path) != sha256):
        raise GatewayError(f"{checkpoint / apart[0]} is not the file of {version['version']}")
