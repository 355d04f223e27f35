"""`python -m bench.overload`: what `./darkroom bench overload` runs."""

import argparse
import json
import os
import signal
import sys
import tempfile
import time
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

from bench.overload import standstill, storm, system
from bench.overload.report import Found, as_json, figures, judged, tell
from bench.runtime.machine import machine
from bench.runtime.report import met
from rich.console import Console

from darkroom_cli.client import GatewayError
from darkroom_cli.errors import DarkroomError

_WIDTH: Final = 120
_QUIET_LOAD: Final = 0.5
_PARTS: Final = ("storm", "standstill")
_TIMES: Final = 5.0
_PUSHED: Final = 1_500


def main() -> int:
    """Measure, write, tell; the exit code: 1 if --check was given and a limit is missed; 2 if
    something could not be measured."""
    chosen = _arguments()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    try:
        return _measure(chosen)
    except (DarkroomError, GatewayError, OSError, ValueError) as error:
        _write(f"not measured: {error}")
        return 2
    except KeyboardInterrupt:
        _write("interrupted; all programs are ended")
        return 130


def _measure(chosen: argparse.Namespace) -> int:
    if os.getloadavg()[0] > _QUIET_LOAD:
        _write(f"This machine is busy (load average {os.getloadavg()[0]:.1f}): don't trust times.")
    parts = chosen.only or _PARTS
    began = time.monotonic()
    about = {
        "measured_at": datetime.now(UTC).isoformat("T", "seconds"),
        "machine": dict(machine()),
        "seconds": chosen.seconds,
    }
    with (
        tempfile.TemporaryDirectory(prefix="darkroom-bench-") as folder,
        system.running(Path(folder) / "whole", _write) as whole,
    ):
        stormy = "storm" in parts
        found = Found(
            storm.measure(whole, chosen.seconds, _TIMES, _write) if stormy else None,
            standstill.measure(whole, _PUSHED, _write) if "standstill" in parts else None,
        )
    tell(found, Console(width=_WIDTH))
    if chosen.json:
        result = as_json(found, {**about, "took_s": round(time.monotonic() - began, 1)})
        chosen.json.write_text(json.dumps(result, indent=2) + "\n", encoding="utf-8")
    return 1 if chosen.check and not met(judged(figures(found))) else 0


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="bench.overload", description=__doc__)
    parser.add_argument("--seconds", type=float, default=60.0, help="that it storms")
    parser.add_argument("--only", action="append", choices=_PARTS, help="a part; may be repeated")
    parser.add_argument("--json", type=Path, help="write everything to this file")
    parser.add_argument("--check", action="store_true", help="exit with 1 if a limit is missed")
    return parser.parse_args()


def _write(line: str) -> None:
    sys.stderr.write(f"{line}\n")
    sys.stderr.flush()


if __name__ == "__main__":
    sys.exit(main())
